"""Layers found by name: look them up, read them, and leave the model as it was.

Nothing here knows a network class. A *layer* is the dotted name of an ``nn.Linear``
or ``nn.Conv2d`` inside any ``nn.Module``; its *units* are output features or output
channels; its *pre-activation* is what the layer itself returns, before any ReLU.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from rlap.checks import check_count, check_inputs

SUPPORTED = (nn.Linear, nn.Conv2d)


def get_layer(model: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    """The ``nn.Linear`` or ``nn.Conv2d`` called ``name`` inside ``model``.

    Raises ``KeyError`` when there is no such module (with the nearest names) and
    ``TypeError`` when it is not a Linear or Conv2d layer.
    """
    modules = dict(model.named_modules())
    if name in modules and isinstance(modules[name], SUPPORTED):
        return modules[name]
    usable = [n for n, m in modules.items() if isinstance(m, SUPPORTED)]
    if name not in modules:
        near = difflib.get_close_matches(name, usable, n=3) or usable[-3:]
        raise KeyError(f"the model has no layer {name!r}; did you mean one of {near}?")
    raise TypeError(
        f"layer {name!r} is a {type(modules[name]).__name__} and has no units to score "
        f"or prune; name an nn.Linear or nn.Conv2d, for example {usable[-3:]}"
    )


def num_units(layer: nn.Module) -> int:
    """Output features of a Linear layer, output channels of a Conv2d layer."""
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

    The global random state is restored too, in case a forward pass draws from it.
    """
    modes = [(module, module.training) for module in model.modules()]
    with preserved_random_state(model_device(model)):
        model.eval()
        try:
            yield model
        finally:
            for module, training in modes:
                module.training = training


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


def to_train(inputs: Tensor, model: nn.Module) -> Tensor:
    """Inputs in the memory layout in which ``model`` may be trained on them.

    That is ``channels_last``, except where PyTorch's CPU backend (oneDNN) would corrupt
    memory, or gradients: in the backward pass of a strided 1x1 convolution of float32
    with few channels.
    Source: https://github.com/uxlfoundation/oneDNN/issues/6035
    """
    images_on_cpu = inputs.dim() == 4 and inputs.device.type == "cpu"
    if images_on_cpu and any(map(is_thin, model.modules())):
        return inputs.contiguous()
    return channels_last(inputs)


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
    pixels of a convolution, tokens of a linear layer on sequences. Returns (B, d).
    """
    if isinstance(layer, nn.Conv2d):
        return values.sum(dim=(-2, -1))
    while values.dim() > 2:
        values = values.sum(dim=-2)
    return values


def positions(output: Tensor, layer: nn.Module) -> int:
    """Positions at which each unit of ``layer`` was evaluated for one sample."""
    return output[0].numel() // num_units(layer)


def check_output(output: object, name: str) -> Tensor:
    """``output`` if it is a finite (B, C) tensor of logits, else a clear error."""
    if not isinstance(output, Tensor) or output.dim() != 2:
        kind = tuple(output.shape) if isinstance(output, Tensor) else type(output)
        raise TypeError(f"the model must return logits (B, C); it returned {kind}")
    if not torch.isfinite(output).all():
        raise ValueError(f"the model returned NaN or infinite logits (layer {name!r})")
    return output


def check_calls(calls: int, name: str) -> None:
    """A layer must run exactly once in a forward pass."""
    if calls != 1:
        raise ValueError(
            f"layer {name!r} ran {calls} times in one forward pass; "
            "choose a layer that runs exactly once"
        )


@torch.no_grad()
def activations(
    model: nn.Module, inputs: Tensor, *, layer: str, batch_size: int | None = None
) -> Tensor:
    """Pre-activations of ``layer``, averaged over positions: (N, ...) -> (N, d).

    Eval mode, float32, in batches; the model, its mode, hooks and buffers and the
    global random state stay as they were. Source: paper section 3.3 (the regressors).
    """
    module = get_layer(model, layer)
    check_inputs(inputs)
    batch_size = pass_size(inputs, batch_size)
    device, rows, seen = model_device(model), [], []
    hook = module.register_forward_hook(lambda mod, args, out: seen.append(out))
    try:
        with evaluating(model):
            for batch in inputs.split(batch_size):
                seen.clear()
                model(channels_last(batch.to(device)))
                check_calls(len(seen), layer)
                z = seen[0].float()
                rows.append(unit_sum(z, module) / positions(z, module))
    finally:
        hook.remove()
    return torch.cat(rows)
