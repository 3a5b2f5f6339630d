"""Validation of arguments: one place, one clear error each.

Every function returns its argument in the form that the rest of the package
relies on, or raises ``TypeError`` (wrong kind of thing) or ``ValueError`` (right
kind, wrong content) with what was wrong and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader, Dataset

from rlap.stored import Stored

_CHUNK = 1 << 22  # elements looked at together


def check_tensor(value: Any, name: str) -> Tensor:
    """Return ``value`` if it is a dense tensor with values, or raise ``TypeError``."""
    if isinstance(value, DataLoader):
        # two passes over a loader that shuffles would pair inputs with wrong labels
        raise TypeError(
            f"{name} must be a torch.Tensor, not DataLoader; take both from one pass: "
            "x, y = zip(*loader), then torch.cat(x) and torch.cat(y)"
        )
    if isinstance(value, Dataset):
        raise TypeError(
            f"{name} must be a torch.Tensor, not {type(value).__name__}; take both "
            "from one pass: x, y = zip(*data), then torch.stack(x) and "
            "torch.tensor(y); rlap.diagnose and rlap.repair take a Dataset as it is"
        )
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor, not {type(value).__name__}; "
            "convert it with torch.as_tensor"
        )
    if value.is_nested or value.layout is not torch.strided:
        raise TypeError(f"{name} must be a dense tensor; give .to_dense() or padded")
    if value.is_meta or is_lazy(value):
        raise TypeError(f"{name} is a tensor without values")
    if value.is_quantized:
        raise TypeError(f"{name} is quantised; give .dequantize()")
    return value


def as_indices(values: Any) -> Tensor:
    """A tensor as it is; a list as one on the CPU, whatever the default device."""
    return (
        values if isinstance(values, Tensor) else torch.as_tensor(values, device="cpu")
    )


def check_model(model: object, name: str = "model") -> nn.Module:
    """Return ``model`` if it is an nn.Module with all its weights, or raise
    ``TypeError``."""
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"{name} must be a torch.nn.Module, not {type(model).__name__}; "
            "a function can be wrapped in one"
        )
    if any(map(is_lazy, model.parameters())):
        raise TypeError(
            f"{name} has lazy layers without weights yet: run it once on some inputs"
        )
    if any(parameter.is_meta for parameter in model.parameters()):
        raise TypeError(f"{name} has weights without values, on the device 'meta'")
    return model


def check_logit_values(logits: Tensor) -> Tensor:
    """Return logits (N, C), or raise ``ValueError`` where they are probabilities."""
    sums = logits.sum(1)
    if bool((logits >= 0).all()) and torch.allclose(sums, torch.ones_like(sums)):
        raise ValueError(
            "the model's outputs are probabilities (none is negative and they add up "
            "to 1); give a model that returns logits, without the softmax at its end"
        )
    return logits


def check_gradients() -> None:
    """Raise ``RuntimeError`` inside torch.inference_mode, where nothing can be trained
    (torch.no_grad is no obstacle)."""
    if torch.is_inference_mode_enabled():
        raise RuntimeError("training needs gradients: leave torch.inference_mode first")


def check_finite(values: Tensor, name: str) -> Tensor:
    """Return ``values`` (N, ...) if all are finite; looks at a block at a time.

    Raises:
        ValueError: NaN or infinity somewhere.
    """
    check_tensor(values, name)
    if values.ndim == 0 or values.is_complex():
        raise ValueError(
            f"{name} must be real numbers of shape (N, ...), not {values.dtype} of "
            f"shape {tuple(values.shape)}"
        )
    rows = max(1, _CHUNK // max(1, values[:1].numel()))
    for block in values.detach().split(rows):
        # aminmax passes NaN and infinity on, and needs no temporary tensor
        if block.numel() and not all(map(math.isfinite, map(float, block.aminmax()))):
            raise ValueError(
                f"{name} holds NaN or infinite values; remove or replace them first"
            )
    return values


def check_inputs(inputs: Tensor, name: str = "inputs") -> Tensor:
    """Return samples (N, ...) as given: floating point, N >= 1, all finite.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: no samples, no features, or values that are not finite.
    """
    if isinstance(inputs, Stored):
        return inputs  # whose reader sees to that
    check_tensor(inputs, name)
    if not inputs.is_floating_point():
        raise TypeError(
            f"{name} must be floating point, not {inputs.dtype}; convert with .float() "
            "(and scale or normalise; for token numbers wrap the model in a module "
            "whose forward calls .long())"
        )
    if inputs.ndim < 2:
        raise ValueError(
            f"{name} must have shape (N, ...) with one row a sample, "
            f"not {tuple(inputs.shape)}"
        )
    if inputs.numel() == 0:
        raise ValueError(
            f"{name} is empty, shape {tuple(inputs.shape)}; at least 1 sample is needed"
        )
    return check_finite(inputs, name)


def check_labels(
    labels: Tensor, n: int, num_classes: int | None = None, name: str = "labels"
) -> Tensor:
    """Return class labels (n,) as int64, each in 0..num_classes-1.

    Raises:
        TypeError: not an integer tensor.
        ValueError: wrong shape or length, or a label out of range.
    """
    check_tensor(labels, name)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(
            f"{name} must be integers (class numbers), not {labels.dtype}; "
            "convert with .long()"
        )
    if labels.ndim != 1:
        raise ValueError(f"{name} must have shape (N,), not {tuple(labels.shape)}")
    if len(labels) != n:
        raise ValueError(
            f"{name} has {len(labels)} entries for {n} samples; give one label a sample"
        )
    labels = labels.long()
    low, high = (int(v) for v in labels.aminmax()) if n else (0, -1)
    if low < 0:
        raise ValueError(f"{name} must not be negative; the smallest is {low}")
    if num_classes is not None and high >= num_classes:
        raise ValueError(
            f"{name} must lie in 0..{num_classes - 1} for {num_classes} classes; "
            f"the largest is {high}"
        )
    return labels


def check_two_classes(labels: Tensor, name: str = "labels") -> Tensor:
    """Return ``labels`` (N,) if at least two classes occur.

    Raises:
        ValueError: fewer than two classes.
    """
    if len(labels) == 0 or bool((labels == labels[0]).all()):
        raise ValueError(f"{name} holds one class only; at least two are needed")
    return labels


def check_mask(mask: Tensor, n: int, name: str = "mask") -> Tensor:
    """Return a boolean mask of shape (n,).

    Raises:
        TypeError: not a boolean tensor.
        ValueError: another shape.
    """
    check_tensor(mask, name)
    if mask.dtype != torch.bool:
        raise TypeError(f"{name} must be boolean, not {mask.dtype}")
    if mask.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), not {tuple(mask.shape)}")
    return mask


def check_number(value: float, name: str) -> float:
    """Return ``value`` as a finite float.

    Raises:
        TypeError: not a number.
        ValueError: NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value}")
    return float(value)


def check_rate(rate: float, name: str = "rate") -> float:
    """Return a share between 0 and 1, ends included; raises as ``check_number``."""
    if not 0 <= check_number(rate, name) <= 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {rate}")
    return float(rate)


def check_level(level: float, name: str = "level") -> float:
    """Return a finite number that is not negative; raises as ``check_number``."""
    if check_number(level, name) < 0:
        raise ValueError(f"{name} must not be negative, not {level}")
    return float(level)


def check_positive(value: float, name: str) -> float:
    """Return a finite number above 0; raises as ``check_number``."""
    if check_number(value, name) <= 0:
        raise ValueError(f"{name} must be positive, not {value}")
    return float(value)


def check_inside(share: float, name: str = "share") -> float:
    """Return a share between 0 and 1, ends excluded; raises as ``check_number``."""
    if not 0 < check_number(share, name) < 1:
        raise ValueError(f"{name} must lie inside 0..1, not {share}")
    return float(share)


def check_count(
    value: int, name: str, *, minimum: int = 1, maximum: int | None = None
) -> int:
    """Return a whole number in minimum..maximum.

    Raises:
        TypeError: not a whole number.
        ValueError: out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value}")
    if maximum is not None and value > maximum:
        raise ValueError(f"{name} must be at most {maximum}, not {value}")
    return int(value)


def check_seed(seed: int, name: str = "seed") -> int:
    """Return a seed in 0..2**63-1; raises as ``check_count``."""
    return check_count(seed, name, minimum=0, maximum=2**63 - 1)


def check_one_of(value: str, allowed: Collection[str], name: str) -> str:
    """Return ``value`` if it is one of ``allowed``.

    Raises:
        ValueError: unknown; the message lists what is known.
    """
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(
            f"unknown {name} {value!r}; choose one of {', '.join(sorted(allowed))}"
        )
    return value
