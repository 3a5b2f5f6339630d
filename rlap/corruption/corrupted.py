"""What goes wrong with the training data: noise on the inputs, noise on the labels.

The paper's abstract speaks of label noise; its released code adds Gaussian noise to
the inputs, after normalisation, and clamps to [0, 1]. Both are here, and so are input
noise without the clamp and in pixel space, where being clamped gives nothing away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import fields as dataclass_fields
from typing import Any, ClassVar

import torch
from torch import Tensor

from rlap import checks
from rlap.corruption.input_noise import (
    INPUT_KINDS,
    Frames,
    frame_slice,
    need_normalisation,
    noisy,
)
from rlap.corruption.label_noise import CIFAR10_PAIRS, LABEL_KINDS, choose, noisy_labels
from rlap.corruption.streams import stream
from rlap.data.base import Split, check_split
from rlap.wording import in_brief

__all__ = [
    "CIFAR10_PAIRS",
    "INPUT_KINDS",
    "KINDS",
    "LABEL_KINDS",
    "Corrupted",
    "NoisySplit",
    "corrupt",
]

KINDS = INPUT_KINDS + LABEL_KINDS

_CHUNK = 1 << 22  # elements of noise drawn together


@dataclass(frozen=True, eq=False)
class NoisySplit(Split):
    """A split that draws fresh noise for its marked samples at every access.

    As released: only which samples are noisy is fixed, so that each epoch and each
    pass (attribution, regression) sees other inputs. ``inputs`` are the clean ones;
    use ``at``, or ``to_tensors`` for one draw to keep.

    Args:
        marked: (N,) bool, the samples that get noise.
        kind: one of ``INPUT_KINDS``.
        level: of the noise, in the units that ``corrupt`` states.
        seed: of the draws where ``at`` is given no generator.
        frames: which positions of the last axis get noise, as for ``corrupt``.

    >>> made = rlap.corrupt(
    ...     data, kind="gaussian", rate=0.5, level=1.0, seed=0, redraw=True
    ... )
    >>> torch.equal(made.split.at(slice(0, 9)), made.split.at(slice(0, 9)))
    False
    """

    marked: Tensor | None = None
    kind: str = "gaussian_clamped"
    level: float = 0.0
    seed: int = 0
    frames: Frames = None

    __repr__ = in_brief
    _per_sample: ClassVar[tuple[str, ...]] = (*Split._per_sample, "marked")

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.check_mask(self.marked, len(self), "marked")  # type: ignore[arg-type]
        checks.check_one_of(self.kind, INPUT_KINDS, "kind of input noise")
        checks.check_level(self.level)
        need_normalisation(self, self.kind)
        frame_slice(self.frames, self.inputs)
        own = torch.Generator(self.inputs.device).manual_seed(self.seed)
        object.__setattr__(self, "_own", own)

    def at(self, index: Any, generator: torch.Generator | None = None) -> Tensor:
        """Return these samples (n, ...) with noise drawn now; a slice or (n,) index.

        Draws come from ``generator``, else from the split's own, which moves on.
        """
        inputs, marked = self.inputs[index], self.marked[index]
        if marked.ndim != 1:
            raise ValueError("at() takes a slice, a list or a tensor of indices")
        if not bool(marked.any()):
            return inputs
        inputs = inputs.clone()  # indexing by a slice gives a view
        inputs[marked] = noisy(
            inputs[marked],
            self.kind,
            self.level,
            self.normalisation,
            generator or self._own,  # type: ignore[attr-defined]
            self.frames,
        )
        return inputs

    def fixed_inputs(self) -> Tensor:
        """Raise ``ValueError``: ``inputs`` are clean, the noise is drawn at access."""
        raise ValueError(
            "this split redraws its noise at every access and cannot be evaluated as "
            "it is; take one draw, split.to_tensors(seed)"
        )

    def to_tensors(self, seed: int = 0) -> Split:
        """Return a plain split holding one draw of the noise."""
        chosen = self.marked.nonzero().squeeze(1)  # type: ignore[union-attr]
        generator = torch.Generator().manual_seed(checks.check_seed(seed))
        return _frozen(self, chosen, self.kind, self.level, generator, self.frames)


@dataclass(frozen=True, eq=False)
class Corrupted:
    """A corrupted split and the truth about it.

    ``is_corrupted`` (N,) bool: the samples given noise, or those whose label really
    changed; ``realised_rate`` is its mean. The other fields are what was asked for.

    >>> wrong = rlap.corrupt(data, kind="pair", rate=0.25, seed=0)
    >>> int(wrong.is_corrupted.sum()), wrong.realised_rate
    (30, 0.25)
    """

    split: Split
    is_corrupted: Tensor
    realised_rate: float
    kind: str
    rate: float
    level: float | None
    seed: int

    __repr__ = in_brief


def corrupt(
    split: Split,
    *,
    kind: str,
    rate: float,
    level: float | None = None,
    seed: int,
    redraw: bool = False,
    num_classes: int | None = None,
    pairs: Mapping[int, int] | None = None,
    frames: Frames = None,
) -> Corrupted:
    """Corrupt a share of a split's inputs or labels; the split itself stays as it is.

    Input noise x' on exactly round(rate * N) samples, n standard normal:

    - ``gaussian_clamped``: clamp(x + level * n, 0, 1) on the normalised inputs. As
      released, although normalised images reach from about -2 to 2.1.
    - ``gaussian``: x + level * n, in the units of the inputs.
    - ``gaussian_pixel``: the same in pixels: normalisation undone, level * n added
      (pixels are in [0, 1]), clamped to [0, 1], normalised again.

    Label noise, C classes:

    - ``symmetric_exclusive``: round(rate * N) samples get one of the other C - 1.
    - ``symmetric_inclusive``: round(rate * N) samples get one of all C classes, so
      about 1 in C of them keeps its own.
    - ``pair``: round(rate * N) samples of class c get (c + 1) mod C.
    - ``asymmetric``: in each class named by ``pairs``, round(rate * n_c) samples get
      the class that it names; by default ``CIFAR10_PAIRS``.

    One seed chooses the same samples at every level, and at a higher rate also those
    of a lower one (``asymmetric``: within each class), so that comparisons are paired.

    Args:
        split: inputs (N, ...) and labels (N,).
        kind: one of ``KINDS``.
        rate: share to corrupt, 0 to 1.
        level: standard deviation of input noise; none for label noise.
        seed: of everything drawn; the global random state is not touched.
        redraw: fresh input noise at every access (``NoisySplit``; as released) in
            place of noise drawn once.
        num_classes: C for label noise, by default the split's.
        pairs: class to class, for ``asymmetric`` only.
        frames: input noise on part of the last axis only: its first ``frames``
            positions (32 are the signal of a one-second clip, and what comes after is
            padding, difference 39), or those from a first to before a last; the noise
            there is the same as without.

    Raises:
        TypeError, ValueError: an argument is out of range, missing, or not for this
            kind; ``gaussian_pixel`` on a split without normalisation.

    >>> noisy = rlap.corrupt(data, kind="gaussian", rate=0.5, level=1.0, seed=0)
    >>> torch.equal(noisy.split.inputs[~noisy.is_corrupted],
    ...             data.inputs[~noisy.is_corrupted])
    True
    """
    check_split(split)
    checks.check_one_of(kind, KINDS, "kind of corruption")
    rate, seed = checks.check_rate(rate), checks.check_seed(seed)
    generator = stream(seed, "corruption")
    if pairs is not None and kind != "asymmetric":
        raise ValueError(f"pairs are for kind 'asymmetric', not {kind!r}")
    if kind in LABEL_KINDS:
        if level is not None:
            raise ValueError(f"{kind!r} is label noise and takes no level")
        if redraw:
            raise ValueError(f"redraw is for input noise, not {kind!r}")
        if frames is not None:
            raise ValueError(f"frames are for input noise, not {kind!r}")
        count = split.num_classes if num_classes is None else num_classes
        labels = noisy_labels(split.labels, kind, rate, count, pairs, generator)
        labels = labels.to(split.labels.device)
        new = replace(split, labels=labels, num_classes=count, targets=None)
        return _corrupted(new, labels != split.labels, kind, rate, None, seed)
    if level is None:
        raise ValueError(f"{kind!r} needs a level, the standard deviation of the noise")
    level = checks.check_level(level)
    new, marked = _input_noise(split, kind, rate, level, redraw, generator, frames)
    return _corrupted(new, marked, kind, rate, level, seed)


def _corrupted(
    split: Split, mask: Tensor, kind: str, rate: float, level: float | None, seed: int
) -> Corrupted:
    realised = int(mask.sum()) / len(mask)
    return Corrupted(split, mask, realised, kind, rate, level, seed)


# --- inputs -------------------------------------------------------------------------


def _input_noise(
    split: Split,
    kind: str,
    rate: float,
    level: float,
    redraw: bool,
    generator: torch.Generator,
    frames: Frames,
) -> tuple[Split, Tensor]:
    if isinstance(split, NoisySplit):
        raise ValueError(
            "this split redraws input noise already; take .to_tensors(seed) first"
        )
    need_normalisation(split, kind)
    frame_slice(frames, split.inputs)
    n = len(split)
    chosen = choose(n, rate, generator).sort().values.to(split.inputs.device)
    marked = torch.zeros(n, dtype=torch.bool, device=split.inputs.device)
    marked[chosen] = True
    if not redraw:
        return _frozen(split, chosen, kind, level, generator, frames), marked
    noise_seed = int(torch.randint(2**62, (), generator=generator, device="cpu"))
    fields = {item.name: getattr(split, item.name) for item in dataclass_fields(split)}
    noise = {"marked": marked, "kind": kind, "level": level, "seed": noise_seed}
    return NoisySplit(**fields, **noise, frames=frames), marked


def _frozen(
    split: Split,
    chosen: Tensor,
    kind: str,
    level: float,
    generator: torch.Generator,
    frames: Frames,
) -> Split:
    inputs = split.inputs.clone()
    rows = max(1, _CHUNK // inputs[0].numel())
    for some in chosen.split(rows):
        inputs[some] = noisy(
            split.inputs[some], kind, level, split.normalisation, generator, frames
        )
    fields = {item.name: getattr(split, item.name) for item in dataclass_fields(Split)}
    return Split(**fields | {"inputs": inputs})
