"""What the rivals' runs alone tell: what the bias gives back and how much DAMP takes
from each layer; and what has no runs yet."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from rlap.experiments.forgetting.account import title
from rlap.ledger.claims.rivals import bias_share
from rlap.ledger.evidence import Quantity
from rlap.ledger.verdicts import MIN_SEEDS, NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Table, number, table
from rlap.pages.forgetting import methods, seeds
from rlap.pages.forgetting.methods import frame, mean
from rlap.pages.forgetting.papers import GRIDS, one

MUCH = 0.1  # of the class's accuracy


@number
def still_to_run(book: Book) -> str:
    """What the page has no runs for yet, or too few, in a sentence."""
    asked = {
        "the VGG-like network by all methods": (methods.signs, "vgg"),
        "the small transformer": (methods.signs, "vit"),
        "the bias fitted anew, small network": (given_back, "small"),
        "DAMP, ESC, SAP and the bias, VGG-like network": (given_back, "vgg"),
        "what DAMP takes from each layer": (depth, "small"),
    }
    names = [name for name, (of, model) in asked.items() if of(book, model).idle]
    names += seeds.still_to_run(book, "small")
    few = [
        words.NETWORKS[model] for model in ("small", "vgg", "vit")
        if methods.methods_of_few_seeds(book, model) != "none"
    ]  # fmt: skip
    if few:
        wanted = f"{MIN_SEEDS} seeds of all methods and classes"
        names.append(f"{wanted}, {' and '.join(few)}")
    if not names:
        return "Everything that this page asks has been run."
    return f"Still to be run: {'; '.join(names)}."


@table
def given_back(book: Book, model: str) -> Table:
    """What comes back of the class when the bias of its logit is fitted anew."""
    runs, rows = one(book, "rivals", model), []
    for arm in dict.fromkeys(a for r in runs.all() for a in r["bias"]):
        having = runs.only([arm])
        back = {
            key: fmean(having.values(lambda r, a=arm, k=key: r["bias"][a][k])[0])
            for key in ("forget", "retain", "auc")
        }
        share, _ = having.values(share_of_much(arm))
        change = back["retain"] - mean(having, arm, "retain_test")
        rows.append([
            title(arm),
            words.fixed(100 * mean(having, arm, "forget_test"), 1),
            words.fixed(100 * back["forget"], 1),
            words.fixed(100 * fmean(share), 0) if share and arm != "original" else "",
            words.points(change),
            words.fixed(back["auc"], 2),
        ])  # fmt: skip
    header = ["method", "class, %", "with the bias fitted, %", "of the loss, %",
              "others, points", "AUROC of the logit"]  # fmt: skip
    return Table(frame(rows, header), runs.all(), GRIDS["rivals"])


def share_of_much(arm: str) -> Quantity:
    """The share that the bias gives back, where the method took ``MUCH`` and more: of
    little a share says nothing."""
    share = bias_share(arm)

    def of(record: Mapping) -> float | None:
        if arm not in record["arms"]:
            return None
        lost = record["bias"]["original"]["forget"] - record["arms"][arm]["forget_test"]
        return share(record) if lost >= MUCH else None

    return of


@number
def by_the_bias(book: Book, arm: str, model: str) -> str:
    """The share of what a method took that the bias alone gives back: "61 %"."""
    share, _ = one(book, "rivals", model).values(share_of_much(arm))
    return words.percent(fmean(share), 0) if share else NOT_RUN


@table
def depth(book: Book, model: str) -> Table:
    """DAMP's scale by layer: the mean over classes, with half the interval over
    seeds."""
    runs = one(book, "rivals", model)
    layers = dict.fromkeys(name for r in runs.all() for name in r["depth"])
    rows = []
    for name in layers:
        values, _ = runs.values(lambda r, n=name: r["depth"][n]["scale"])
        rows.append([name, words.fixed(fmean(values), 2)])
    header = ["layer, the first first", "removed, 0 to 1"]
    return Table(frame(rows, header), runs.all(), GRIDS["rivals"])
