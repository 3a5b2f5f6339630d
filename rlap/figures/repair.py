"""Pictures of a diagnosis: the worst samples, who is confused with whom, how surely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rlap.data import Split
from rlap.figures.run import BLUE, ORANGE, SMALL, WIDTH, as_pixels, drawing
from rlap.repair import Diagnosis
from rlap.repair.samples import Samples

NAMED = 12  # classes, at most, that a matrix names


def diagnosis(
    found: Diagnosis,
    data: Any,
    classes: Sequence[str] | None = None,
    stamp: str = "",
    count: int = 8,
) -> Figure:
    """The likeliest bad samples (images are shown) with the label given and a likelier
    one; the transition matrix; how probable wrong labels and bad inputs are.

    Args:
        found: of ``diagnose`` or ``repair``.
        data: what was diagnosed, in any form that ``diagnose`` takes.
        classes: names, in the order of the model's outputs; by default the numbers.
        stamp: printed small in a corner.
        count: how many samples.
    """
    classes = classes or [str(c) for c in range(len(found.transition))]
    with drawing(stamp, figsize=(WIDTH, 8.6)) as (figure, whole):
        whole.remove()
        above, below = figure.subfigures(2, 1, height_ratios=(2, 3))
        _worst(above, found, data, classes, count)
        matrix, histogram = below.subplots(2, 1, height_ratios=(3, 2))
        image = matrix.imshow(found.transition.numpy(), vmin=0, vmax=1, cmap="viridis")
        matrix.set(xlabel="label given", ylabel="true class", title="P(label | class)")
        if len(classes) <= NAMED:
            places = range(len(classes))
            matrix.set_xticks(places, classes, rotation=90)
            matrix.set_yticks(places, classes)
        below.colorbar(image, ax=matrix)
        shown = [found.wrong_label.numpy(), found.bad_input.numpy()]
        names = ["wrong label", "bad input"]
        bins = np.linspace(0, 1, 26)
        histogram.hist(shown, bins, color=[BLUE, ORANGE], label=names, log=True)
        histogram.set(xlabel="probability", ylabel="samples")
        histogram.yaxis.set_major_formatter("{x:g}")  # no small exponents
        histogram.legend()
        return figure


def _worst(figure, found: Diagnosis, data: Any, classes: Sequence[str], count: int):
    """The likeliest bad samples, four to a row."""
    columns = min(4, count)
    rows = found.ranked[:count].tolist()
    images = pictures(data, rows)
    axes = figure.subplots(-(-count // columns), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_visible(False)
    for n, (ax, i) in enumerate(zip(axes.flat, rows, strict=False)):
        ax.set_visible(True)
        ax.set(xticks=[], yticks=[])
        if images:
            ax.imshow(images[n], cmap="gray", interpolation="nearest")
        given, likely = int(found.labels[i]), int(found.suggested[i])
        said = classes[given]
        if likely != given:
            said += f" \N{RIGHTWARDS ARROW}\n{classes[likely]}"
        ax.set_title(said, fontsize=SMALL)
        ax.set_xlabel(f"no. {found.ids[i]}", fontsize=SMALL)


def pictures(data: Any, rows: list[int]) -> list[np.ndarray]:
    """The samples as pictures (H, W, C), or (H, W) of one channel, in [0, 1]; empty
    where they are no images. Where nobody says how images were normalised each is
    stretched to its own range."""
    if isinstance(data, Split):
        split = data.subset(rows)
        if split.inputs.dim() == 4 and split.normalisation is not None:
            return [as_pixels(split, i) for i in range(len(rows))]
    else:
        split, _ = Samples(data).read(rows)
    if split.inputs.dim() != 4:
        return []
    found = []
    for image in split.inputs.cpu():
        image = image if len(image) >= 3 else image[:1]
        low, high = image.min(), image.max()
        if low < 0 or high > 1:
            image = (image - low) / (high - low).clamp(min=1e-12)
        found.append(image[:3].permute(1, 2, 0).squeeze(2).numpy())
    return found
