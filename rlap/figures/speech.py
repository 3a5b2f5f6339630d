"""What only speech has to show: recordings to hear and to see, features, simple scores.

Stamped and coloured as in ``rlap.figures.run``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from rlap.data.speech.audio import SAMPLE_RATE
from rlap.data.speech.mfcc import SIGNAL_FRAMES
from rlap.figures.run import BLUE, GREY, ORANGE, WIDTH, drawing, legend_above

LIMIT = 60.0  # of the colours: the first coefficients are larger, the others smaller


def players(rows: Mapping[str, Tensor], words: Sequence[str], stamp: str):
    """A table of audio players, a row a name and a column a word; stamped below.

    ``rows`` hold waves (n, T) in about [-1, 1], ``words`` (n,) what is said. The sound
    is inside the page, 43 kB a second: it plays without a network. Returns
    ``IPython.display.HTML``.
    """
    from IPython.display import HTML, Audio

    heads = (f'<th scope="col">{escape(word)}</th>' for word in words)
    lines = ["<thead><tr><td></td>", *heads, "</tr></thead><tbody>"]
    for name, waves in rows.items():
        lines.append(f'<tr><th scope="row">{escape(name)}</th>')
        for wave, word in zip(waves, words, strict=True):
            # not normalised: noise must not make the voice quieter
            wave = wave.clamp(-1, 1).cpu().numpy()
            sound = Audio(wave, rate=SAMPLE_RATE, normalize=False).src_attr()
            label = escape(f"{word}, {name}", quote=True)
            lines.append(
                f'<td data-label="{escape(word, quote=True)}">'
                f'<audio controls style="width: 8.5em" aria-label="{label}" '
                f'src="{sound}"></audio></td>'
            )
        lines.append("</tr>")
    small = '<p style="font-size: 70%">' + escape(stamp).replace("\n", "<br>") + "</p>"
    return HTML(f'<table class="cards">{"".join(lines)}</tbody></table>{small}')


def waveforms(rows: Mapping[str, Tensor], words: Sequence[str], stamp: str) -> Figure:
    """Waves (n, T) over a second, a row a name and a column a word."""
    shape = len(rows), len(words)
    size = {"figsize": (WIDTH, 0.9 * shape[0] + 0.9), "squeeze": False}
    options = {"sharex": True, "sharey": True, **size}
    with drawing(stamp, *shape, **options) as (figure, axes):
        for line, (name, waves) in zip(axes, rows.items(), strict=True):
            line[0].set_ylabel(name)
            for ax, wave in zip(line, waves.cpu().numpy(), strict=True):
                ax.plot(
                    np.arange(len(wave)) / SAMPLE_RATE,
                    wave,
                    lw=0.4,
                    color=BLUE,
                    rasterized=True,
                )
                ax.set_ylim(-1, 1)
        for ax, word in zip(axes[0], words, strict=True):
            ax.set_title(word)
        for ax in axes[-1]:
            ax.set_xlabel("seconds")
        return figure


def features(rows: Mapping[str, Tensor], words: Sequence[str], stamp: str) -> Figure:
    """MFCCs (n, 1, 40, frames), a row a name and a column a word.

    A dotted line shows where the recording ends and padding begins.
    """
    shape = len(rows), len(words)
    size = {"figsize": (WIDTH, 1.2 * shape[0] + 1.2), "squeeze": False}
    with drawing(stamp, *shape, sharex=True, sharey=True, **size) as (figure, axes):
        for line, (name, values) in zip(axes, rows.items(), strict=True):
            line[0].set_ylabel(name)
            for ax, picture in zip(line, values[:, 0].cpu().numpy(), strict=True):
                image = ax.imshow(
                    picture, vmin=-LIMIT, vmax=LIMIT, cmap="RdBu_r", aspect="auto",
                    origin="lower", interpolation="nearest",
                )  # fmt: skip
                if picture.shape[1] > SIGNAL_FRAMES:
                    ax.axvline(SIGNAL_FRAMES - 0.5, color=GREY, ls=":")
        for ax, word in zip(axes[0], words, strict=True):
            ax.set_title(word)
        for ax in axes[-1]:
            ax.set_xlabel("frame")
        bar = figure.colorbar(image, ax=axes, shrink=0.8, extend="both",
                              location="bottom", aspect=40)  # fmt: skip
        bar.set_label("MFCC")
        return figure


def score_histograms(scores: Mapping[str, Tensor], truth: Tensor, stamp: str) -> Figure:
    """Scores (N,) of clean and of corrupted samples, a panel a score."""
    corrupted = truth.cpu().numpy()
    size = {"figsize": (WIDTH, 1.5 * len(scores) + 0.7), "squeeze": False}
    with drawing(stamp, len(scores), 1, **size) as (figure, axes):
        for ax, (name, score) in zip(axes[:, 0], scores.items(), strict=True):
            x = score.cpu().numpy()
            shown = [x[~corrupted], x[corrupted]]
            names = ["clean", "corrupted"]
            ax.hist(shown, 40, color=[BLUE, ORANGE], label=names, histtype="stepfilled",
                    alpha=0.7)  # fmt: skip
            ax.set(xlabel=name, ylabel="training clips")
        legend_above(figure, axes[0, 0])
        return figure
