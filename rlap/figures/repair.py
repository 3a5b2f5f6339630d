"""Pictures of a diagnosis: the worst samples, who is confused with whom, how surely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rlap.data import Split
from rlap.figures.run import BLUE, ORANGE, as_pixels, drawing
from rlap.repair import Diagnosis


def diagnosis(
    found: Diagnosis, data: Split, classes: Sequence[str], stamp: str, count: int = 8
) -> Figure:
    """The likeliest bad samples (images are shown) with the label given and a likelier
    one; the transition matrix; how probable wrong labels and bad inputs are."""
    with drawing(stamp, figsize=(9, 5.2)) as (figure, whole):
        whole.remove()
        above, below = figure.subfigures(2, 1, height_ratios=(1, 2))
        _worst(above, found, data, classes, count)
        left, right = below.subplots(1, 2)
        image = left.imshow(found.transition.numpy(), vmin=0, vmax=1, cmap="viridis")
        left.set(xlabel="label given", ylabel="true class", title="P(label | class)")
        below.colorbar(image, ax=left)
        shown = [found.wrong_label.numpy(), found.bad_input.numpy()]
        names = ["wrong label", "bad input"]
        bins = np.linspace(0, 1, 26)
        right.hist(shown, bins, color=[BLUE, ORANGE], label=names, log=True)
        right.set(xlabel="probability", ylabel="samples")
        right.legend()
        return figure


def _worst(figure, found: Diagnosis, data: Split, classes: Sequence[str], count: int):
    """A row of the likeliest bad samples."""
    for ax, i in zip(
        figure.subplots(1, count), found.ranked[:count].tolist(), strict=False
    ):
        ax.set(xticks=[], yticks=[])
        if data.inputs.dim() == 4:
            ax.imshow(as_pixels(data, i), interpolation="nearest")
        given, likely = int(found.labels[i]), int(found.suggested[i])
        said = classes[given]
        if likely != given:
            said += f" \N{RIGHTWARDS ARROW}\n{classes[likely]}"
        ax.set_title(said, fontsize=7)
        ax.set_xlabel(str(found.ids[i]), fontsize=6)
