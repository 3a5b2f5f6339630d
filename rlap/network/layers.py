"""Layers found by name: look them up, read them, and leave the model as it was.

Nothing here knows a network class. A *layer* is the dotted name of an ``nn.Linear``
or a convolution (1d, 2d, 3d) inside any ``nn.Module``; its *units* are output features
or output channels; its *pre-activation* is what the layer itself returns, before any
ReLU.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from rlap.checks import check_count, check_inputs, check_model
from rlap.network.modes import alone, keeping_buffers
from rlap.network.precision import autocast, own_precision
from rlap.network.watching import Call, watching

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
SUPPORTED = (nn.Linear, *CONVOLUTIONS)
# model -> what it was made of and tried on, and whether it takes channels_last; gone
# with the model
TRIED: WeakKeyDictionary[nn.Module, tuple[tuple, bool]] = WeakKeyDictionary()


def get_layer(model: nn.Module, name: str) -> nn.Module:
    """The linear layer or convolution (1d, 2d or 3d) called ``name`` inside ``model``.

    Raises ``KeyError`` when there is no such module (with the nearest names) and
    ``TypeError`` when it is of another kind.
    """
    modules = dict(check_model(model).named_modules())
    usable = [n for n, m in modules.items() if isinstance(m, SUPPORTED)]
    if not isinstance(name, str):
        raise TypeError(
            f"layer must be the dotted name of a module, not {type(name).__name__}; "
            f"for example one of {usable[-3:]}"
        )
    if name in modules and isinstance(modules[name], SUPPORTED):
        return modules[name]
    if name not in modules:
        near = difflib.get_close_matches(name, usable, n=3) or usable[-3:]
        told = f"the model has no layer {name!r:.80}"
        raise KeyError(f"{told}; did you mean one of {near}?")
    raise TypeError(
        f"layer {name!r} is a {type(modules[name]).__name__} and has no units to score "
        f"or prune; name an nn.Linear or a convolution, for example {usable[-3:]}"
    )


def num_units(layer: nn.Module) -> int:
    """Output features of a linear layer, output channels of a convolution."""
    return layer.weight.shape[0]


def model_device(model: nn.Module) -> torch.device:
    """Where the model's first parameter or buffer lives; CPU when it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def pass_size(inputs: Tensor, batch_size: int | None) -> int:
    """Samples a batch of a pass over the data: ``batch_size``, or a good size for it.

    By default about half a million values, 128 to 1,024 samples: measured on two CPU
    cores, images run fastest in small batches and feature vectors in large ones.
    """
    if batch_size is not None:
        return check_count(batch_size, "batch_size")
    return max(128, min(1024, 2**19 // max(1, inputs[:1].numel())))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[nn.Module]:
    """Put ``model`` in eval mode, then give every submodule its own mode back.

    Buffers and the global random state are restored too, in case a forward pass changes
    the ones (observers of quantisation do, in any mode) or draws from the other.
    """
    modes = [(module, module.training) for module in model.modules()]
    device = model_device(model)
    with alone(model), keeping_buffers(model), preserved_random_state(device):
        model.eval()
        try:
            yield model
        finally:
            for module, training in modes:
                module.training = training


@contextmanager
def reading(
    model: nn.Module,
    inputs: Tensor,
    *,
    batch_size: int | None = None,
    precision: str = "fp32",
) -> Iterator[Iterator[Tensor]]:
    """The batches of ``inputs`` (N, ...), ready for ``model``, which is in eval mode
    while the block runs, and in ``precision``, "fp32" (its own) or "bf16".

    Every pass over data is made in such a block. ``batch_size`` as in ``pass_size``;
    where batches are put, and what is raised, see ``placing``.

    >>> import torch
    >>> model = torch.nn.Dropout()
    >>> with reading(model, torch.ones(5, 2), batch_size=3) as batches:
    ...     [model(x).sum().item() for x in batches]
    [6.0, 4.0]
    """
    check_model(model)
    check_inputs(inputs)
    size = pass_size(inputs, batch_size)
    with own_precision(), evaluating(model):
        place = placing(model, usable(inputs[:1]))
        with autocast(precision, model_device(model)):
            yield (apart(place(usable(b)), b) for b in inputs.split(size))


def apart(placed: Tensor, given: Tensor) -> Tensor:
    """A placed batch that is not the caller's own memory: a model may work in place on
    its input."""
    return placed.clone() if placed.data_ptr() == given.data_ptr() else placed


def stacked(batches: Iterable[Sequence[Tensor]], n: int) -> list[Tensor]:
    """What ``n`` samples gave batch by batch, as whole tensors (n, ...).

    Each batch is written where it belongs as it comes: torch.cat of a list would need
    the memory twice.

    >>> import torch
    >>> [x.tolist() for x in stacked(([torch.ones(k)] for k in (2, 1)), 3)]
    [[1.0, 1.0, 1.0]]
    """
    whole: list[Tensor] = []
    start = 0
    for batch in batches:
        if not whole:
            whole = [like(part, n) for part in batch]
        stop = start + len(batch[0])
        for into, part in zip(whole, batch, strict=True):
            into[start:stop] = part
        start = stop
    return whole


def like(part: Tensor, n: int) -> Tensor:
    """Room for ``n`` samples laid out as those of ``part`` (B, ...)."""
    last = part.dim() == 4 and part.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    size = n, *part.shape[1:]
    return torch.empty(size, dtype=part.dtype, device=part.device, memory_format=layout)


def usable(tensor: Tensor) -> Tensor:
    """``tensor``, or a copy of one made in inference mode, which autograd refuses."""
    return tensor.clone() if tensor.is_inference() else tensor


@contextmanager
def preserved_random_state(
    device: torch.device, seed: int | None = None
) -> Iterator[None]:
    """Restore the global random state of CPU and ``device`` on leaving.

    With ``seed`` the block starts from that seed (dropout inside a training run).
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        if seed is not None:
            # not torch.manual_seed: it would reseed every other device as well
            torch.default_generator.manual_seed(seed)
            if device.type == "cuda":
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
        yield


def channels_last(inputs: Tensor) -> Tensor:
    """Images (B, C, H, W) in channels_last memory, which CPUs and GPUs prefer."""
    if inputs.dim() == 4:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs


def placing(
    model: nn.Module, inputs: Tensor, *, training: bool = False
) -> Callable[[Tensor], Tensor]:
    """How to give batches of ``inputs`` (N, ...) to ``model``: on its device, images in
    the memory layout that suits it. Ask before you register hooks.

    That is ``channels_last``, except where the model cannot take it (it flattens with
    ``.view``: tried on one sample, in eval mode), or where, in ``training``, PyTorch's
    CPU backend (oneDNN) would corrupt memory or gradients: in the backward pass of a
    strided 1x1 convolution of float32 with few channels. Raises ``ValueError`` where
    such a layer's model is itself in channels_last, and ``TypeError`` for a model of
    another precision than its inputs.
    Source: https://github.com/uxlfoundation/oneDNN/issues/6035
    """
    device = model_device(model)
    check_precision(model, inputs)
    if inputs.dim() != 4:
        return lambda batch: batch.to(device)
    thin = device.type == "cpu" and any(map(is_thin, model.modules()))
    if training and thin:
        check_contiguous(model)
    if (training and thin) or not takes_channels_last(model, inputs[:1].to(device)):
        return lambda batch: batch.to(device).contiguous()
    return lambda batch: channels_last(batch.to(device))


@torch.no_grad()
def takes_channels_last(model: nn.Module, sample: Tensor) -> bool:
    """Whether ``model`` runs on a sample (1, C, H, W) in that layout. It is tried once
    for each make of it: where passes are short, the trial is a tenth of them."""
    make = sample.shape, *map(type, model.modules())
    if TRIED.get(model, ((), False))[0] != make:
        with evaluating(model):
            try:
                model(apart(channels_last(sample), sample))
                takes = True
            except RuntimeError as error:
                if "view size is not compatible" not in str(error):
                    raise
                takes = False
        TRIED[model] = make, takes
    return TRIED[model][1]


def check_precision(model: nn.Module, inputs: Tensor) -> None:
    """Raise ``TypeError`` where no weight has the precision of the inputs."""
    held = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if held and inputs.dtype not in held:
        raise TypeError(
            f"the model's weights are {held.pop()} and the inputs {inputs.dtype}; "
            "training is in float32: convert the model with model.float() and the "
            "inputs with .float()"
        )


def check_contiguous(model: nn.Module) -> None:
    """Raise ``ValueError`` where convolutions of ``model`` are in channels_last."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and not layer.weight.is_contiguous():
            raise ValueError(
                "a strided 1x1 convolution of few channels cannot be trained in "
                "channels_last on a CPU (PyTorch's backend corrupts memory); call "
                "model.to(memory_format=torch.contiguous_format) first"
            )


def is_thin(layer: nn.Module) -> bool:
    """Whether ``layer`` is a strided 1x1 convolution of fewer than 16 input channels:
    the block of oneDNN with AVX-512 (8 with AVX2)."""
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and max(layer.stride) > 1
        and layer.in_channels // layer.groups < 16
    )


def unit_sum(values: Tensor, layer: nn.Module) -> Tensor:
    """Sum a layer's (B, units, H, W) or (B, positions, units) values over positions:
    steps, pixels or voxels of a convolution, tokens of a linear layer on sequences.
    Returns (B, d).
    """
    if isinstance(layer, CONVOLUTIONS):
        return values.sum(dim=tuple(range(2, values.dim())))
    while values.dim() > 2:
        values = values.sum(dim=-2)
    return values


def positions(output: Tensor, layer: nn.Module) -> int:
    """Positions at which each unit of ``layer`` was evaluated for one sample."""
    return output[0].numel() // num_units(layer)


def check_logits(output: object, samples: int | None = None) -> Tensor:
    """``output`` if it is a (B, C) tensor of logits, else a clear ``TypeError``;
    ``ValueError`` where B is not the number of ``samples`` that went in."""
    right = isinstance(output, Tensor) and output.is_floating_point()
    if not right or output.dim() != 2:
        kind = type(output)
        if isinstance(output, Tensor):
            kind = f"{output.dtype} of shape {tuple(output.shape)}"
        raise TypeError(f"the model must return logits (B, C); it returned {kind}")
    if len(output) != (len(output) if samples is None else samples):
        raise ValueError(
            f"the model returned {len(output)} rows of logits for {samples} samples: "
            "one row a sample is needed"
        )
    return output


def check_output(output: object, name: str, samples: int | None = None) -> Tensor:
    """``output`` if it is a finite (B, C) tensor of logits, else a clear error."""
    if not torch.isfinite(check_logits(output, samples)).all():
        raise ValueError(f"the model returned NaN or infinite logits (layer {name!r})")
    return output


def check_rows(model: nn.Module, name: str, shape: torch.Size, x: Tensor) -> None:
    """Raise ``ValueError`` where the rows of a layer's output of this ``shape`` are not
    those of the inputs ``x`` (B, ...): positions come first, or are rows of their own.
    """
    rows, samples = shape[0], len(x)
    # where there are as many positions as samples, one sample tells which is which
    if rows == samples > 1 and rows in shape[1:-1]:
        found: list[int] = []
        with (
            torch.no_grad(),
            evaluating(model),
            watching(model, [name], lambda call: found.append(len(call.output))),
        ):
            model(x[:1])
        rows, samples = found[0], 1
    if rows != samples:
        raise ValueError(
            f"layer {name!r} returned {rows} rows for {samples} samples; its rows must "
            "be the samples, (B, ...): choose a layer behind which positions are "
            "pooled, or a model with the batch first (batch_first=True)"
        )


def check_calls(calls: int, name: str) -> None:
    """A layer must run exactly once in a forward pass."""
    if calls != 1:
        hint = "choose a layer that runs exactly once"
        if name.startswith("_orig_mod."):
            hint = "nothing can be watched in a compiled model: give model._orig_mod"
        raise ValueError(
            f"layer {name!r} ran {calls} times in one forward pass; {hint}"
        )


@torch.no_grad()
def activations(
    model: nn.Module, inputs: Tensor, *, layer: str, batch_size: int | None = None
) -> Tensor:
    """Pre-activations of ``layer``, averaged over positions: (N, ...) -> (N, d).

    Eval mode, float32, in batches; the model, its mode, hooks and buffers and the
    global random state stay as they were. Source: paper section 3.3 (the regressors).

    >>> rlap.activations(model, data.inputs, layer="fc").shape
    torch.Size([120, 16])
    """
    module = get_layer(model, layer)

    def of_batch(x: Tensor) -> Tensor:
        seen: list[tuple[torch.Size, Tensor]] = []

        def see(call: Call) -> None:
            # at once: a ReLU that works in place would overwrite what is read later
            z = call.output.float()
            seen.append((z.shape, unit_sum(z, module) / positions(z, module)))

        with watching(model, [layer], see):
            model(x)
        check_calls(len(seen), layer)
        ((shape, mean),) = seen
        check_rows(model, layer, shape, x)
        return mean

    with reading(model, inputs, batch_size=batch_size) as batches:
        return stacked(([of_batch(x)] for x in batches), len(inputs))[0]
