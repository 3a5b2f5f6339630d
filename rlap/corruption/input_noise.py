"""Input noise on plain tensors; ``rlap.corruption.corrupted`` is the way in."""

from __future__ import annotations

import torch
from torch import Tensor

from rlap import checks
from rlap.data.base import Normalisation, Split

INPUT_KINDS = ("gaussian_clamped", "gaussian", "gaussian_pixel")

# none, how many from the start, or from a first to before a last
Frames = int | tuple[int, int] | None


def noisy(
    x: Tensor,
    kind: str,
    level: float,
    normalisation: Normalisation | None,
    generator: torch.Generator,
    frames: Frames,
) -> Tensor:
    """Return ``x`` (n, ...) with fresh noise of one of ``INPUT_KINDS``."""
    noise = torch.randn(x.shape, generator=generator, device=generator.device)
    noise = noise.mul_(level).to(x.device)
    if kind == "gaussian_pixel":
        assert normalisation is not None  # checked by need_normalisation
        pixels = noise.add_(normalisation.undo(x)).clamp_(0, 1)
        result = normalisation.apply(pixels)
    else:
        result = noise.add_(x)
        if kind == "gaussian_clamped":
            result.clamp_(0, 1)
    if frames is None:
        return result
    where = frame_slice(frames, x)
    part = x.clone()
    part[..., where] = result[..., where]
    return part


def frame_slice(frames: Frames, x: Tensor) -> slice:
    """Return the positions of the last axis of ``x`` (N, ..., T) that get noise.

    Raises:
        TypeError, ValueError: not positions of that axis.
    """
    if frames is None:
        return slice(None)
    first, last = frames if isinstance(frames, tuple) else (0, frames)
    if x.ndim < 2:
        raise ValueError(f"inputs of shape {tuple(x.shape)} have no frames")
    last = checks.check_count(last, "frames", maximum=x.shape[-1])
    checks.check_count(first, "the first of frames", minimum=0, maximum=last - 1)
    return slice(first, last)


def need_normalisation(split: Split, kind: str) -> None:
    """Raise ``ValueError`` where pixels are wanted and nobody says what they are."""
    if kind == "gaussian_pixel" and split.normalisation is None:
        raise ValueError(
            "'gaussian_pixel' needs to know the pixels: give the split its "
            "normalisation, Split(inputs, labels, normalisation=Normalisation(...))"
        )
