"""What each method of a paper on forgetting leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import fmean

import pandas as pd

from rlap.experiments.forgetting.account import RELATIVE, title
from rlap.experiments.forgetting.parameters import SoftPruningParameters
from rlap.figures.forgetting import STILL_KNOWN, still_known
from rlap.ledger.claims.quantities import KNOWN, correlation, nearer_by, selectivity
from rlap.ledger.evidence import NPP, OSP, RIVALS, Place, Runs
from rlap.ledger.summary import interval
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages import words
from rlap.pages.asked import (
    Book,
    Explorer,
    Picture,
    Table,
    explorer,
    number,
    picture,
    table,
)

PAPERS = {"npp": NPP, "osp": OSP, "rivals": RIVALS}
USUAL_STRENGTH = SoftPruningParameters().strength
USUAL = (None, USUAL_STRENGTH)
ABOUT = {"npp": "LRA-NPP", "osp": "OSP", "rivals": "DAMP"}
GRIDS = {
    "npp": ("forgetting",),
    "osp": ("forgetting_osp",),
    "rivals": ("forgetting_rivals",),
}
LEFT = {
    "forget_test": "class",
    "retain_test": "other classes",
    "probe_linear_forget": "class, by a probe",
    "relearn_fresh_head": RELATIVE["relearn_fresh_head"],
}
MEASURES = {
    "forget_test": "class",
    "retain_test": "other classes",
    "probe_linear_forget": "class, linear probe",
    "probe_nearest_mean_forget": "class, nearest mean",
    "relearn_fresh_head": RELATIVE["relearn_fresh_head"],
    "relearn": RELATIVE["relearn"],
    "told_from_retrain_auc": "told from retrained",
    "average_gap": "average gap",
}
OTHER = {
    "ua": ("UA, %", 100, 1),
    "ra": ("RA, %", 100, 1),
    "ta": ("TA, %", 100, 1),
    "mia_efficacy_svc_confidence": ("MIA-efficacy, %", 100, 0),
    "mia_efficacy_svc_confidence_held_out": ("its accuracy, %", 100, 0),
    "loss_auc": ("loss attack, AUROC", 1, 2),
    "output_distance_forget": ("output distance, class", 1, 2),
    "output_distance_retain": ("others", 1, 2),
    "forgetting_rate_svc_original": ("Fr", 1, 2),
    "forgetting_score_loss": ("Fs", 1, 2),
}


def where(book: Book, which: str, model: str = "") -> dict[Place, Runs]:
    """The places of a paper (npp, osp), those of the usual strength of a penalty; of
    one network if it is named. ``LookupError`` for names that are not there."""
    if which not in PAPERS or (model and model not in words.NETWORKS):
        raise LookupError(
            f"no runs of {which!r} on {model!r}: npp, osp or rivals; small, vgg or vit"
        )
    return {
        p: r for p, r in book.places.items()
        if p.notebook == PAPERS[which] and p.strength in USUAL
        and model in ("", p.model)
    }  # fmt: skip


def one(book: Book, which: str, model: str) -> Runs:
    """The runs of a paper's methods on a network; empty if there are none."""
    found = list(where(book, which, model).values())
    return found[0] if found else Runs()


def everywhere(runs: Runs) -> list[str]:
    """The arms that every record has."""
    found = runs.all()
    names = dict.fromkeys(a for r in found for a in r["arms"])
    return [arm for arm in names if all(arm in r["arms"] for r in found)]


def fullest(runs: Runs) -> Runs:
    """The records that have every arm that any has; all where none has."""
    arms = {arm for r in runs.all() for arm in r["arms"]}
    fuller = runs.only(list(arms))
    return fuller if fuller.seeds else runs


@table
def left(book: Book, which: str, model: str) -> Table:
    """What the methods that all runs have leave, in per cent: means over the classes
    that all seeds have, and over seeds."""
    runs = one(book, which, model)
    rows = []
    for arm in everywhere(runs):
        found = [runs.values(lambda r, a=arm, k=k: r["arms"][a][k])[0] for k in LEFT]
        told = (words.fixed(100 * fmean(v), 1) if v else "" for v in found)
        rows.append([title(arm), *told])
    header = ["method, %", *LEFT.values()]
    return Table(pd.DataFrame(rows, columns=header), runs.all(), GRIDS[which])


@table
def account(book: Book, which: str, model: str, methods: str = "") -> Table:
    """Methods as differences from the retrained networks, with half their interval over
    seeds. ``methods``: "all", for the classes that have every method."""
    runs = one(book, which, model)
    runs = fullest(runs) if methods == "all" else runs
    rows = []
    for arm in everywhere(runs):
        cells = []
        for key in MEASURES:
            values, _ = runs.values(lambda r, a=arm, k=key: relative(r, a, k))
            cells.append(half_told(values))
        taken = fmean(r["arms"][arm]["seconds"] for r in runs.all())
        rows.append([title(arm), *cells, words.seconds(taken)])
    header = ["method", *MEASURES.values(), "seconds"]
    return Table(pd.DataFrame(rows, columns=header), runs.all(), GRIDS[which], "wide")


def relative(record: Mapping, arm: str, key: str) -> float | None:
    """A measure of an arm against the retrained networks; None where it lacks one."""
    return record["arms"].get(arm, {}).get("relative", {}).get(key)


def half_told(values: Sequence[float]) -> str:
    """A difference in points with half its interval over seeds."""
    if not values:
        return ""
    found = interval(values)
    half = words.fixed(100 * (found.high - found.mean), 1)
    return f"{words.points(found.mean)} ±{half}" if half else words.points(found.mean)


@table
def other_measures(book: Book, which: str, model: str) -> Table:
    """What else the examiner measures, as it is: means over classes and seeds."""
    runs = one(book, which, model)
    rows = []
    for arm in everywhere(runs):
        cells = []
        for key, (_, scale, digits) in OTHER.items():
            values, _ = runs.values(lambda r, a=arm, k=key: r["arms"][a].get(k))
            cells.append(words.fixed(scale * fmean(values), digits) if values else "")
        peaks = [r["arms"][arm]["peak_bytes"] for r in runs.all()]
        known = None not in peaks
        rows.append([title(arm), *cells, words.fixed(fmean(peaks) / 1e6, 0) if known
                     else ""])  # fmt: skip
    header = ["method", *(name for name, *_ in OTHER.values()), "memory, MB"]
    return Table(pd.DataFrame(rows, columns=header), runs.all(), GRIDS[which], "wide")


@table
def against_mask(book: Book, which: str, model: str) -> Table:
    """By how much each method is nearer to the retrained networks than a logit mask of
    the same network, in points; an interval that holds zero is no difference."""
    runs, rows = one(book, which, model), []
    for arm in everywhere(runs):
        network, _, name = arm.rpartition("/")
        mask = f"{network}/logit_mask" if network else "logit_mask"
        if name in ("logit_mask", "original") or name.startswith("retrained"):
            continue
        found = [runs.values(nearer_by(arm, mask, keys))[0] for keys in KNOWN.values()]
        rows.append([title(arm), *map(half_told, found)])
    header = ["nearer than the mask, by", *KNOWN]
    return Table(pd.DataFrame(rows, columns=header), runs.all(), GRIDS[which])


@table
def controls(book: Book, which: str, model: str) -> Table:
    """The controls: accuracy on the class and on the others, and the selectivity with
    half its interval over seeds."""
    runs, rows = one(book, which, model), []
    for name in dict.fromkeys(n for r in runs.all() for n in r["controls"]):
        cells = []
        for part in ("forget", "retain"):
            values, _ = runs.values(
                lambda r, n=name, p=part: r["controls"].get(n, {}).get(p)
            )
            cells.append(words.fixed(100 * fmean(values), 1) if values else "")
        found, _ = runs.values(lambda r, n=name: control_selectivity(r, n))
        rows.append([name.replace("_", " "), *cells, half_told(found)])
    header = ["control", "class, %", "others, %", "selectivity, points"]
    return Table(pd.DataFrame(rows, columns=header), runs.all(), GRIDS[which])


def control_selectivity(record: Mapping, name: str) -> float | None:
    """The selectivity of a control; None where the record lacks it."""
    known = name in record["controls"]
    return selectivity(record, f"controls: {name}") if known else None


@table
def orthogonality(book: Book) -> Table:
    """What the penalty did to kernels and to channels: means over layers and runs."""
    rows = []
    for place, runs in book.places.items():
        for kind in ("plain", "orthogonal") if place.strength is not None else ():
            found = [record["mechanism"][kind] for record in runs.all()]
            parts = [part for m in found for part in m["gram_parts"].values()]
            cells = (
                fmean(part["cosine"] for part in parts),
                fmean(part["norm"] for part in parts),
                fmean(correlation(m) for m in found),
                fmean(overlap(r["channels"][kind]) for r in runs.all()),
            )
            told = words.network(place.model, place.tier, place.strength)
            rows.append([f"{told}: {kind}", *(words.fixed(v, 3) for v in cells)])
    header = [
        "runs",
        "mean |cosine| of two kernels",
        "squared lengths, off 1",
        "mean |correlation| of channels",
        "channels shared by classes",
    ]
    used = [r for p, runs in book.places.items() if p.strength is not None
            for r in runs.all()]  # fmt: skip
    return Table(pd.DataFrame(rows, columns=header), used, GRIDS["osp"])


def overlap(channels: Mapping[str, Mapping[str, Sequence[int]]]) -> float:
    """Share of the channels chosen for a class that are chosen for another one, too:
    the mean over pairs of classes and over layers. ``channels``: class -> layer ->
    channels."""
    return fmean(
        len(set(first[layer]) & set(second[layer])) / len(first[layer])
        for first, second in combinations(channels.values(), 2)
        for layer in first
    )


@number
def told_apart(book: Book, which: str, model: str) -> str:
    """With which AUROC two retrained networks are told from one another."""
    names = ("retrained", "plain/retrained")
    told = [r["arms"][n]["told_from_retrain_auc"] for r in one(book, which, model).all()
            for n in names if n in r["arms"]]  # fmt: skip
    return words.fixed(fmean(told), 2) if told else NOT_RUN


@number
def forgetting_runs(book: Book, which: str, model: str, methods: str = "") -> str:
    """The records of a paper's methods on a network, with their seeds. ``methods``:
    "all", those that have every method, as ``still known by`` shows them."""
    runs = one(book, which, model)
    runs = fullest(runs) if methods == "all" else runs
    return words.made_from(runs.all()).partition(" · ")[0]


@picture
def still_known_by(book: Book, which: str, model: str) -> Picture:
    """What is known of the class after each method, over the classes that have all."""
    runs = fullest(one(book, which, model))
    known = {
        title(arm): {k: mean_of(runs.all(), arm, k) for k in STILL_KNOWN}
        for arm in everywhere(runs)
    }
    data = pd.DataFrame(known).T.rename_axis("method").reset_index()
    return Picture(still_known(known, ""), data.round(4), runs.all(), GRIDS[which])


def mean_of(found: Sequence[Mapping], arm: str, key: str) -> float | None:
    """The mean of a measure over records; None where one of them has no number, as of a
    relearning that diverged."""
    values = [record["arms"][arm][key] for record in found]
    return None if None in values else fmean(values)


@explorer
def methods(book: Book, which: str) -> Explorer:
    """Network, class and method -> what is left of the class, beside retraining: means
    over seeds."""
    keys, lines, used = ("network", "class", "method"), [], []
    for place, runs in where(book, which).items():
        network = words.NETWORKS.get(place.model, place.model)
        for label, seeds in runs.found.items():
            found = list(seeds.values())
            used += found
            arms = [a for a in found[0]["arms"] if all(a in r["arms"] for r in found)]
            for arm in arms:
                plain = "plain/" if arm.startswith("plain/") else ""
                gold = f"{plain}retrained"
                for key, what in LEFT.items():
                    here = mean_of(found, arm, key)
                    there = mean_of(found, gold, key) if gold in arms else None
                    if here is not None:
                        told = 100 * here, None if there is None else 100 * there
                        lines.append((network, label, title(arm), what, *told))
    frame = pd.DataFrame(lines, columns=[*keys, "what", "value", "beside"])
    return Explorer(keys, frame, used, GRIDS[which])
