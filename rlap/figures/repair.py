"""Pictures of a diagnosis: the worst samples, who is confused with whom, how surely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rlap.data import Split
from rlap.figures.run import BLUE, ORANGE, SMALL, WIDTH, as_pixels, drawing
from rlap.repair import Diagnosis

NAMED = 12  # classes, at most, that a matrix names


def diagnosis(
    found: Diagnosis, data: Split, classes: Sequence[str], stamp: str, count: int = 8
) -> Figure:
    """The likeliest bad samples (images are shown) with the label given and a likelier
    one; the transition matrix; how probable wrong labels and bad inputs are."""
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


def _worst(figure, found: Diagnosis, data: Split, classes: Sequence[str], count: int):
    """The likeliest bad samples, four to a row."""
    columns = min(4, count)
    axes = figure.subplots(-(-count // columns), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_visible(False)
    for ax, i in zip(axes.flat, found.ranked[:count].tolist(), strict=False):
        ax.set_visible(True)
        ax.set(xticks=[], yticks=[])
        if data.inputs.dim() == 4:
            ax.imshow(as_pixels(data, i), interpolation="nearest")
        given, likely = int(found.labels[i]), int(found.suggested[i])
        said = classes[given]
        if likely != given:
            said += f" \N{RIGHTWARDS ARROW}\n{classes[likely]}"
        ax.set_title(said, fontsize=SMALL)
        ax.set_xlabel(f"no. {found.ids[i]}", fontsize=SMALL)
