"""The claims of DAMP's abstract, its controls, and four signs for every method.

The abstract (arXiv 2604.15166): smaller edits in early layers and larger ones in deeper
layers; a closer resemblance to retraining than "some of the prior methods", with more
selective forgetting, the other classes better preserved, and less structure of the
class left in deep layers. Our DAMP is made from that abstract alone. A sign answers for
any method: are the answers gone, are the others kept, do the features know the class no
better than those of networks that never saw it, and is it relearned no sooner?
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean

from rlap.ledger.claims.classes import ALL, above, of_classes
from rlap.ledger.claims.forgetting import (
    BETTER,
    KEPT,
    NOTHING_LEFT,
    NPP_LOSS,
    PROBE,
    SELECTIVITY,
    SURELY,
    than_the_mask,
)
from rlap.ledger.claims.quantities import (
    KNOWN,
    features_know,
    kept,
    left,
    minus,
    more_selective,
    nearer_by,
)
from rlap.ledger.claims.rules import CONTROL, PAPER, Claim
from rlap.ledger.evidence import Quantity, Runs
from rlap.ledger.verdicts import (
    CONTRADICTED,
    INCONCLUSIVE,
    MARGIN,
    MIN_SEEDS,
    REPRODUCED,
    judge_above,
)

DAMP = "DAMP"
EARLIER = ("ssd_chosen", "svd_projection_chosen")  # of one shot, before DAMP


def not_sooner(arm: str) -> Quantity:
    """Minus how much sooner than in retrained networks the class is relearned with a
    new last layer; None where that diverged."""
    return lambda record: minus(
        0.0, record["arms"][arm]["relative"].get("relearn_fresh_head")
    )


# column -> what is measured of an arm, and what it has to exceed surely
SIGNS: Mapping[str, tuple[Callable[[str], Quantity], float]] = {
    "class outputs": (left, 0.0),
    "others kept": (kept, -NPP_LOSS),
    "probe": (features_know, -MARGIN),
    "relearning": (not_sooner, -MARGIN),
}
YES, NO, OPEN = "✓", "✗", "?"
SIGN = {REPRODUCED: YES, CONTRADICTED: NO, INCONCLUSIVE: OPEN}


# these take long: they, and mere training on, were planned for three classes
TRAINED = ("fine_tune", "neggrad_plus", "random_labels", "salun", "boundary_shrink",
           "scrub_chosen", "delete_chosen")  # fmt: skip
PLANNED = dict.fromkeys((*TRAINED, "continued"), 3)


def classes_asked(arm: str) -> int:
    """How many classes decide about a method: all, as in the claims, or as many as were
    planned for one that trains."""
    return PLANNED.get(arm, ALL)


def sign(runs: Runs, arm: str, column: str) -> str:
    """``YES``: surely so; ``NO``: surely not; ``OPEN``: neither, as always for fewer
    seeds or classes than a verdict needs; "" where not run."""
    of, threshold = SIGNS[column]
    values, classes = runs.only([arm]).values(of(arm))
    judged = judge_above(values, threshold, 0.0)
    judged = of_classes(judged, classes, asked=classes_asked(arm))
    return SIGN.get(judged.verdict, "")


def has_enough(runs: Runs, arm: str) -> bool:
    """Whether a method was run with as many seeds, of as many classes, as a verdict
    needs."""
    found, classes = runs.only([arm]).values(left(arm))
    return len(found) >= MIN_SEEDS and classes >= classes_asked(arm)


def in_the_features(runs: Runs, arm: str) -> str:
    """Whether features forgot and the other classes are kept: ``YES``, both surely;
    ``NO``, one surely not; else ``OPEN``."""
    signs = {sign(runs, arm, column) for column in ("others kept", "probe")}
    if NO in signs:
        return NO
    return YES if signs == {YES} else OPEN


def deeper(record: Mapping) -> float:
    """How much more of its direction DAMP takes from the last layer than the first."""
    scales = [layer["scale"] for layer in record["depth"].values()]
    return scales[-1] - scales[0]


def than_earlier(of: Callable[[str, str], Quantity]) -> Quantity:
    """A comparison of DAMP with each of the earlier methods: the mean."""

    def mean(record: Mapping) -> float | None:
        found = [of("damp", other)(record) for other in EARLIER]
        return None if None in found else fmean(found)

    return mean


def nearer_known(measures: Sequence[str]) -> Callable[[str, str], Quantity]:
    """By how much an arm is nearer to retrained networks than another."""
    return lambda arm, other: nearer_by(arm, other, measures)


def probe_lost(record: Mapping) -> float:
    """What a linear probe of the class finds less than in the original's features."""
    arms = record["arms"]
    return arms["original"]["probe_linear_forget"] - arms["damp"]["probe_linear_forget"]


def by_the_body(record: Mapping) -> float:
    """Accuracy on the class that DAMP takes beyond its edit of the classifier alone."""
    arms = record["arms"]
    return arms["damp_head"]["forget_test"] - arms["damp"]["forget_test"]


def bias_share(arm: str) -> Quantity:
    """Share of the lost accuracy on the class that comes back when the bias of its
    logit is fitted anew, as the original's is too; None where nothing was lost."""

    def of(record: Mapping) -> float | None:
        if arm not in record["arms"]:
            return None
        after = record["arms"][arm]["forget_test"]
        before, back = (record["bias"][n]["forget"] for n in ("original", arm))
        return (back - after) / (before - after) if before > after else None

    return of


def claims(margin: float = MARGIN) -> list[Claim]:
    """What the abstract says, and what it leaves out."""
    says = partial(Claim, family=PAPER, about=DAMP, source="abstract")
    asks = partial(Claim, family=CONTROL, about=DAMP)
    linear = KNOWN["a linear probe"]
    half = "reproduced: surely less than half; contradicted: surely more"
    return [
        says("damp-depth", "DAMP edits deeper layers more",
            rule="scale (0 to 1) of the last layer minus that of the first; "
            f"{SURELY}", judge=above(deeper, 0.0, 0.0), unit="scale"),
        says("damp-some", "DAMP resembles retraining more than methods before it, by a "
            "linear probe", rule="distance from the retrained networks, the class and "
            f"the others, mean of SSD and the SVD projection minus DAMP; {SURELY}",
            judge=above(than_earlier(nearer_known(linear)), 0.0, 0.0)),
        says("damp-selective", "DAMP forgets more selectively than methods before it",
            rule=f"selectivity ({SELECTIVITY[:-2]}) minus their mean; {SURELY}",
            judge=above(than_earlier(more_selective), 0.0, 0.0)),
        says("damp-keeps", "DAMP keeps the other classes",
            rule=KEPT.format(100 * NPP_LOSS),
            judge=above(kept("damp"), -NPP_LOSS, 0.0)),
        says("damp-deep", "DAMP leaves less of the class in deep features",
            rule=f"linear probe of the class, original minus DAMP; {BETTER}",
            judge=above(probe_lost, 0.0, margin)),
        asks("damp-forgets", "DAMP leaves nothing of any class", "", NOTHING_LEFT,
            above(left("damp"), 0.0, 0.0, min)),
        asks("damp-features", "After DAMP the features forget", "", PROBE,
            above(features_know("damp"), -margin, 0.0)),
        asks("damp-body", "DAMP's inner layers do more to the answers than its "
            "classifier alone", "", "accuracy on the class, classifier alone minus "
            f"DAMP; {BETTER}", above(by_the_body, 0.0, margin)),
        asks("damp-bias", "After DAMP one number, the bias of the class's logit, gives "
            "less than half of the lost answers back", "the abstract says of other "
            "methods that they rely on it",
            f"one half less the share given back; {half}",
            above(lambda r: minus_half(bias_share("damp")(r)), 0.0, 0.0),
            unit="share"),
        *than_the_mask(asks, "damp", "damp", "DAMP"),
    ]  # fmt: skip


def minus_half(share: float | None) -> float | None:
    """One half less a share; None of none."""
    return None if share is None else 0.5 - share
