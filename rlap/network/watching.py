"""Watch what layers take in and give out while a network runs.

The one place where forward hooks are registered, and removed again whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn


class Call(NamedTuple):
    """One call of a module: its name, itself, its first input, and its output."""

    name: str
    module: nn.Module
    input: Any
    output: Any = None


@contextmanager
def watching(
    model: nn.Module,
    names: Iterable[str],
    see: Callable[[Call], Tensor | None],
    *,
    before: bool = False,
) -> Iterator[None]:
    """Tell ``see`` of every ``Call`` of the modules ``names`` while the block runs.

    It is told after the module has run, and a tensor that it returns takes the place of
    the output; with ``before`` it is told first, and there is no output yet. What
    follows may overwrite the tensors in place: copy what is to be kept.

    >>> from torch import nn, ones
    >>> model, shapes = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), {}
    >>> with watching(model, ["0"], lambda c: shapes.update({c.name: c.output.shape})):
    ...     _ = model(ones(5, 2))
    >>> shapes
    {'0': torch.Size([5, 3])}
    """
    with ExitStack() as stack:
        for name in names:
            module = model.get_submodule(name)
            register = module.register_forward_hook
            if before:
                register = module.register_forward_pre_hook
            handle = register(_hook(name, see, before), with_kwargs=True)
            stack.callback(handle.remove)
        yield


def _hook(name: str, see: Callable[[Call], Tensor | None], before: bool) -> Callable:
    def hook(module: nn.Module, args: tuple, kwargs: dict, *output: Any) -> Any:
        first = next(iter((*args, *kwargs.values())), None)
        replaced = see(Call(name, module, first, *output))
        return None if before else replaced

    return hook
