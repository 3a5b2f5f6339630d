"""What more epochs do to the gain."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rlap.figures import GREY, WIDTH, drawing
from rlap.figures.run import BLUE, GREEN, ORANGE
from rlap.ledger.claims.quantities import accuracy
from rlap.ledger.summary import interval
from rlap.pages import words
from rlap.pages.asked import Book, Picture, number, picture
from rlap.pages.gain.protocols import ENDS


def longer_scales(book: Book) -> list[tuple[str, str]]:
    """Where the small network was trained as long as its tier says, or longer."""
    counted_in = ("epochs", "finetune_epochs")
    return [
        (protocol, scale)
        for protocol, scale in book.evidence.files
        if protocol in ENDS and scale.split("+")[0] == "small"
        and all(c.split("=")[0] in counted_in for c in scale.split("+")[1:])
    ]  # fmt: skip


def by_epochs(book: Book, arms: Sequence[str]) -> pd.DataFrame:
    """The small network trained as long as its tier says, and longer: a row a run and
    arm."""
    lines = [
        {"protocol": protocol, "epochs": run["parameters"]["epochs"],
         "seed": run["seed"], "arm": words.arm(arm),
         "accuracy": 100 * accuracy(run, arm)}
        for protocol, scale in longer_scales(book)
        for run in book.records(protocol, scale)
        for arm in arms
        if arm in run["arms"]
    ]  # fmt: skip
    names = ["protocol", "epochs", "seed", "arm", "accuracy"]
    return pd.DataFrame(lines, columns=names).sort_values(names[:3])


@picture
def over_epochs(book: Book) -> Picture:
    """Accuracy of four arms against the epochs of training."""
    import seaborn

    arms = ("initial", "F-FT", "continue", "retrain")
    data = by_epochs(book, arms)
    names = list(map(words.arm, arms))
    colours = dict(zip(names, (GREY, BLUE, GREEN, ORANGE), strict=True))
    beside = {name: 2 ** (0.08 * (i - 1.5)) for i, name in enumerate(names)}
    placed = data.assign(at=data["epochs"] * data["arm"].map(beside))
    with drawing("", 2, 1, figsize=(WIDTH, 4.6), sharex=True) as (figure, axes):
        for ax, protocol in zip(axes, ENDS, strict=True):
            mine = placed[placed["protocol"] == protocol]
            common = {"x": "at", "y": "accuracy", "hue": "arm", "palette": colours,
                      "hue_order": names, "ax": ax, "legend": False}  # fmt: skip
            if len(mine):
                seaborn.lineplot(mine, errorbar=None, **common)
                seaborn.scatterplot(mine, s=18, **common)
            ax.set_xscale("log", base=2)
            ticks = sorted(data["epochs"].unique())
            ax.set_xticks(ticks, [str(n) for n in ticks])
            ax.set(title=protocol, xlabel="epochs of training", ylabel="accuracy, %")
        handles = [axes[0].plot([], [], color=c, lw=2, label=n)[0]
                   for n, c in colours.items()]  # fmt: skip
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    used = [r for p, s in longer_scales(book) for r in book.records(p, s)]
    return Picture(figure, data.round(4), used, ("epochs", "table1"))


@number
def longer(book: Book, arm: str, other: str, protocol: str, epochs: str) -> str:
    """One arm minus another after so many epochs, in points."""
    found = by_epochs(book, (arm, other))
    mine = found[(found["protocol"] == protocol) & (found["epochs"] == int(epochs))]
    if mine.empty:
        raise LookupError(f"nothing was trained for {epochs} epochs in {protocol!r}")
    wide = mine.pivot(index="seed", columns="arm", values="accuracy")
    gaps = (wide[words.arm(arm)] - wide[words.arm(other)]).dropna()
    return words.gap(interval([g / 100 for g in gaps]))
