"""What the book's page on forgetting a class shows, made from the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import combinations
from statistics import fmean

from rlap.experiments.forgetting.account import title
from rlap.experiments.forgetting.parameters import SoftPruningParameters
from rlap.figures.forgetting import STILL_KNOWN
from rlap.ledger.claims import PAPER, ClaimRow
from rlap.ledger.claims.quantities import KNOWN, correlation, nearer_by, selectivity
from rlap.ledger.evidence import Place, Runs, common
from rlap.ledger.summary import counted, interval
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages.ledger import claim_bounds, run_told
from rlap.pages.markup import (
    NETWORKS,
    html,
    mark,
    network_told,
    plain,
    points,
    table,
    table_of,
)

USUAL_STRENGTH = SoftPruningParameters().strength
MEASURES = {
    "forget_test": "class",
    "retain_test": "other classes",
    "probe_linear_forget": "class, linear probe",
    "probe_nearest_mean_forget": "class, nearest mean",
    "relearn": "relearned",
    "relearn_fresh_head": "with a new head",
    "mia_efficacy_svc_confidence": "MIA-efficacy",
    "told_from_retrain_auc": "told from retrained",
    "average_gap": "average gap",
}


def verdicts(rows: Sequence[ClaimRow], about: str) -> object:
    """The claims of a paper, a column of verdicts for each network, tier and strength;
    ``rows`` of ``rlap.ledger.claims.forgetting_claims``."""
    columns: dict[str, dict[str, ClaimRow]] = {}
    for row in rows:
        if row.about == about and row.network:
            columns.setdefault(run_told(row), {})[row.key] = row
    if not columns:
        return nothing()
    lines = [
        [
            escape(claim.words),
            source(claim),
            *(verdict(found[claim.key]) for found in columns.values()),
            f"<small>{escape(claim.rule)}</small>",
        ]
        for claim in next(iter(columns.values())).values()
    ]
    return html(table(["claim", "source", *columns, "rule"], lines, "whole"))


def nothing() -> object:
    """What stands where no run is recorded yet."""
    return html(f"<p>{mark(NOT_RUN)}: no run is recorded yet</p>")


def told(rows: Sequence[ClaimRow], network: str, tier: str) -> dict[str, str]:
    """Claim -> what it came to on a network in a tier, for a sentence: "-13.5 [-14.5,
    -12.6] points, n = 3: contradicted"; of penalties the usual strength."""
    found = {row.key: NOT_RUN for row in rows}
    for row in rows:
        usual = row.strength in (None, USUAL_STRENGTH)
        if (row.network, row.tier) == (network, tier) and usual and row.n:
            found[row.key] = f"{plain(with_n(row))}: {row.verdict}"
    return found


def source(claim: ClaimRow) -> str:
    """Where a claim is made, or that it is a control and why."""
    said = escape(claim.source)
    if claim.family == PAPER:
        return said
    return f"control<br><small>{said}</small>" if said else "control"


def heading(place: Place) -> str:
    """The network and tier of a place, with the penalty's strength where it has one."""
    return network_told(place.model, place.tier, place.strength)


def verdict(row: ClaimRow) -> str:
    """A verdict with what was measured."""
    sign = mark(row.verdict, row.reason)
    return f"{sign}<br>{with_n(row)}" if row.n else sign


def with_n(row: ClaimRow) -> str:
    """Mean and interval in a claim's unit, and the number of seeds."""
    return f"{claim_bounds(row)}, n = {row.n}"


def arms_of(runs: Runs) -> list[str]:
    """The arms of the records, those that fewer classes have last."""
    names: dict[str, None] = {}
    for record in sorted(runs.all(), key=lambda r: len(r["arms"])):
        names |= dict.fromkeys(record["arms"])
    return list(names)


def everywhere(runs: Runs) -> list[str]:
    """The arms that every record has."""
    return [arm for arm in arms_of(runs) if all(arm in r["arms"] for r in runs.all())]


def parts(runs: Runs) -> list[Runs]:
    """The same classes for all arms of a table: all records with the arms that all
    have, and apart those that have every arm, where some have not."""
    arms = arms_of(runs)
    fuller = runs.only(arms)
    few = len(everywhere(runs)) < len(arms)
    return [runs, fuller] if few and fuller.seeds else [runs]


OTHER_MEASURES = {
    "ua": ("UA, %", 100, 1),
    "ra": ("RA, %", 100, 1),
    "ta": ("TA, %", 100, 1),
    "mia_efficacy_svc_confidence": ("MIA-efficacy, %", 100, 0),
    "mia_efficacy_svc_confidence_held_out": ("its accuracy, %", 100, 0),
    "mia_logreg_entropy_member_rate": ("called members by entropy, %", 100, 0),
    "mia_logreg_entropy_member_rate_held_out": ("its accuracy, %", 100, 0),
    "loss_auc": ("loss attack, AUC", 1, 2),
    "loss_tpr_at_1_fpr": ("TPR at 1 % FPR, %", 100, 1),
    "output_distance_forget": ("output distance, class", 1, 2),
    "output_distance_retain": ("others", 1, 2),
    "forgetting_rate_svc_original": ("Fr", 1, 2),
    "forgetting_score_loss": ("Fs", 1, 2),
}


def other_measures(runs: Runs) -> object:
    """What else the examiner measures of the methods that all runs have, as it is:
    means over the classes that all seeds have, and over seeds; and the memory."""
    rows = []
    for arm in everywhere(runs):
        row = []
        for key, (_, scale, digits) in OTHER_MEASURES.items():
            values, _ = runs.values(lambda r, a=arm, k=key: r["arms"][a].get(k))
            row.append(f"{scale * fmean(values):.{digits}f}" if values else "")
        peaks = [a["peak_bytes"] for a in rows_of(runs, arm)]
        known = None not in peaks
        row.append(f"{fmean(peaks) / 1e6:.0f}" if known else "")
        rows.append([escape(title(arm)), *row])
    header = ["method", *(name for name, *_ in OTHER_MEASURES.values()), "memory, MB"]
    return html(table(header, rows, "whole"))


def controls(runs: Runs) -> object:
    """The controls of the records: accuracy on the class and on the others, and the
    selectivity with its interval over seeds."""
    names = dict.fromkeys(name for r in runs.all() for name in r["controls"])
    rows = []
    for name in names:
        cells = []
        for part in ("forget", "retain"):
            values, _ = runs.values(
                lambda r, n=name, p=part: r["controls"].get(n, {}).get(p)
            )
            cells.append(f"{100 * fmean(values):.1f}" if values else "")
        found, _ = runs.values(lambda r, n=name: control_selectivity(r, n))
        rows.append([escape(name), *cells, relative_cell(found)])
    header = ["control", "class, %", "others, %", "selectivity, points"]
    return html(table(header, rows, "whole"))


def control_selectivity(record: Mapping, name: str) -> float | None:
    """The selectivity of a control; None where the record lacks it."""
    known = name in record["controls"]
    return selectivity(record, f"controls: {name}") if known else None


def rows_of(runs: Runs, arm: str) -> list[Mapping]:
    """What the records say of an arm, one row a run."""
    return [record["arms"][arm] for record in runs.all()]


def account(runs: Runs) -> object:
    """The methods that all runs have, as differences from the retrained networks: means
    over the classes that all seeds have, and over seeds with their interval; then
    seconds and data."""
    rows = []
    for arm in everywhere(runs):
        row = []
        for key in MEASURES:
            values, _ = runs.values(lambda r, a=arm, k=key: relative(r, a, k))
            row.append(relative_cell(values))
        found = rows_of(runs, arm)
        seconds = fmean(a["seconds"] for a in found)
        shown = f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2g}"
        rows.append([escape(title(arm)), *row, shown, escape(found[0]["data"])])
    header = ["method", *MEASURES.values(), "seconds", "data"]
    seeds, classes = common(runs.seeds)
    over = f"Means over {', '.join(classes)}; {counted(len(seeds), 'seed')}."
    return html(f"<p>{over}</p>{table(header, rows, 'whole')}")


HEADLINE = {
    "forget_test": "class",
    "retain_test": "others",
    "probe_linear_forget": "probe",
    "relearn_fresh_head": "relearned",
}


def headline(places: Mapping[Place, Runs], notebook: str) -> object:
    """The methods that all runs of a notebook have, on all networks side by side, as
    they are: means in per cent over the classes that all seeds have, and over seeds.
    Of penalties the usual strength."""
    here = {
        place: runs
        for place, runs in places.items()
        if place.notebook == notebook and place.strength in (None, USUAL_STRENGTH)
    }
    having = [everywhere(runs) for runs in here.values()]
    first = having[0] if having else []
    arms = [arm for arm in first if all(arm in names for names in having)]
    lines = []
    for arm in arms:
        cells = [escape(title(arm))]
        for runs in here.values():
            for key in HEADLINE:
                found, _ = runs.values(lambda r, a=arm, k=key: r["arms"][a][k])
                cells.append(f"{100 * fmean(found):.1f}")
        lines.append(cells)
    header = ["method, %"]
    for place in here:
        name = NETWORKS.get(place.model, place.model)
        header += [f"{name}: {word}" for word in HEADLINE.values()]
    if not lines:
        return nothing()
    return html(table(header, lines, "whole"))


def against_mask(runs: Runs) -> object:
    """By how much each method is nearer to the retrained networks than a logit mask of
    the same network, in points; an interval that holds zero is no difference."""
    rows = []
    for arm in everywhere(runs):
        network, _, name = arm.rpartition("/")
        mask = f"{network}/logit_mask" if network else "logit_mask"
        if name in ("logit_mask", "original") or name.startswith("retrained"):
            continue
        found = [runs.values(nearer_by(arm, mask, keys))[0] for keys in KNOWN.values()]
        rows.append([escape(title(arm)), *map(relative_cell, found)])
    return html(table(["nearer than the mask, by", *KNOWN], rows, "whole"))


def orthogonality(places: Mapping[Place, Runs]) -> object:
    """What the penalty did to kernels and to channels: means over layers and runs."""
    rows = []
    for place, runs in places.items():
        if place.strength is None:
            continue
        for kind in ("plain", "orthogonal"):
            found = [record["mechanism"][kind] for record in runs.all()]
            parts = [part for m in found for part in m["gram_parts"].values()]
            together = [correlation(m) for m in found]
            shared = [overlap(r["channels"][kind]) for r in runs.all()]
            numbers = (
                fmean(part["cosine"] for part in parts),
                fmean(part["norm"] for part in parts),
                fmean(together),
                fmean(shared),
            )
            rows.append([heading(place), kind, *(f"{v:.3f}" for v in numbers)])
    header = ["runs", "network", "mean |cosine| of two kernels"]
    header += ["deviation of squared lengths from 1", "mean |correlation| of channels"]
    header += ["share of a class's channels that are another's, too"]
    return table_of(header, rows)


def overlap(channels: Mapping[str, Mapping[str, Sequence[int]]]) -> float:
    """Share of the channels chosen for a class that are chosen for another one, too:
    the mean over pairs of classes and over layers. ``channels``: class -> layer ->
    channels."""
    shares = [
        len(set(one[layer]) & set(other[layer])) / len(one[layer])
        for one, other in combinations(channels.values(), 2)
        for layer in one
    ]
    return fmean(shares)


def told_apart(places: Mapping[Place, Runs]) -> object:
    """What being told from a retrained network can say at most: two of them are."""
    found = []
    for place, runs in places.items():
        names = ("retrained", "plain/retrained")
        told = [
            record["arms"][name]["told_from_retrain_auc"]
            for record in runs.all()
            for name in names
            if name in record["arms"]
        ]
        found.append(f"{fmean(told):.2f} ({heading(place)})")
    if not found:
        return html("<p>No run is recorded yet.</p>")
    return html(
        "<p>Two retrained networks are told from one another, too, with an area under "
        f"the ROC curve of {', '.join(found)}, where 0.5 is chance. The higher that "
        "is, the less room is left above it, and the less this measure can show.</p>"
    )


def relative_cell(values: list[float]) -> str:
    """A difference in points with its interval over seeds."""
    if not values:
        return ""
    found = interval(values)
    if found.n < 2:
        return points(found.mean)
    return f"{points(found.mean)} <small>±{100 * (found.high - found.mean):.1f}</small>"


def relative(record: Mapping, arm: str, key: str) -> float | None:
    """A measure of an arm against the retrained networks; None where it lacks one."""
    return record["arms"].get(arm, {}).get("relative", {}).get(key)


def mean_account(runs: Runs) -> dict[str, dict[str, float]]:
    """What is known of the class by the arms that all runs have: means over these."""
    return {
        title(arm): {
            key: fmean(a[key] for a in rows_of(runs, arm)) for key in STILL_KNOWN
        }
        for arm in everywhere(runs)
    }


def stamp(place: Place, runs: Runs) -> str:
    """What stands under a figure of several runs."""
    found = runs.all()
    data = found[0]["data"]
    classes = {record["parameters"]["forget"] for record in found}
    return " · ".join(
        [
            f"{place.tier} tier",
            f"{data['name']}, {data['n_train']:,} samples",
            NETWORKS.get(place.model, place.model),
            *([] if place.strength is None else [f"λ = {place.strength:g}"]),
            f"{len(classes)} class{'es' if len(classes) > 1 else ''}",
            f"{counted(len(runs.seeds), 'seed')}, {counted(len(found), 'run')}",
        ]
    )
