"""Tensors in safetensors files that say what they are."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor


def read_tensors(
    path: str | Path, form: str, refusal: str
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a file whose "format" is ``form``.

    Raises ``ValueError``: no safetensors file, or of another form (``refusal`` ends
    that sentence).
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    if about.get("format") != form:
        raise ValueError(f"{path} {refusal}")
    return about, tensors
