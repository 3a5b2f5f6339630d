"""What the two papers on forgetting a class say, and the rules that decide it.

The rules are fixed before the runs. A quantity belongs to one record, that is one class
and seed. For each seed it is averaged over the classes (or its worst class is taken),
and the seeds are tested by ``rlap.ledger.verdicts``; Holm's correction runs over
the claims of a notebook, and over its controls, for each network and tier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from rlap.data.images import CIFAR10_CLASSES
from rlap.ledger.claims import CONTROL, PAPER
from rlap.ledger.forgetting_evidence import (
    AUTHORS_LEFT,
    KNOWN,
    LEFT,
    NPP,
    OSP,
    Place,
    Quantity,
    Runs,
    decorrelated,
    features_know,
    kept,
    left,
    more_selective,
    nearer,
    nearer_by,
    saved,
    saved_with_preparation,
)
from rlap.ledger.verdicts import (
    ALPHA,
    CONTRADICTED,
    INCONCLUSIVE,
    MARGIN,
    Judgement,
    all_of,
    corrected,
    judge_above,
    not_run,
)
from rlap.unlearning.methods.lra_npp import SELECTIONS

SAVED = 0.9  # of retraining's seconds, to be called cheap
MILLISECONDS = 0.1  # seconds, on a busy machine

# --- rules --------------------------------------------------------------------------


def above(
    of: Quantity,
    threshold: float = 0.0,
    margin: float = MARGIN,
    over: Callable[[list[float]], float] = fmean,
) -> Callable[[Runs], Judgement]:
    """Rule: surely above the threshold; contradicted: else, surely below threshold and
    margin."""

    def judge(runs: Runs) -> Judgement:
        found, classes = runs.values(of, over)
        judged = judge_above(found, threshold, margin)
        return of_classes(judged, classes, one_decides=over is min)

    return judge


def above_each(quantities: Mapping[str, Quantity]) -> Callable[[Runs], Judgement]:
    """Rule: all of them surely above zero; one that falls short contradicts. The
    interval shown is the worst one's.

    That all hold needs no correction for their number: each is tested at 5 %, and all
    have to pass. That any one falls short needs one (Bonferroni's).
    """

    def judge(runs: Runs) -> Judgement:
        found = {name: above(of)(runs) for name, of in quantities.items()}
        if any(j.found is None for j in found.values()):
            return not_run("no records")
        verdict = all_of(list(found.values()))
        deciding = {k: j for k, j in found.items() if j.verdict == verdict}
        name = min(deciding, key=lambda k: deciding[k].found.mean)
        # those of too few seeds have no p-value
        p = max((j.p for j in deciding.values() if j.p is not None), default=None)
        if verdict == CONTRADICTED:
            name = min(deciding, key=lambda k: (deciding[k].p, deciding[k].found.mean))
            p = min(1.0, len(found) * deciding[name].p)
            verdict = CONTRADICTED if p <= ALPHA else INCONCLUSIVE
        worst = deciding[name]
        reason = f"worst of {len(found)}: {name}; {worst.reason}"
        return replace(worst, verdict=verdict, p=p, reason=reason)

    return judge


def of_classes(judged: Judgement, classes: int, one_decides: bool = False) -> Judgement:
    """The judgement with the number of classes. Only all of them decide, either way;
    but where the worst class is asked for, any one contradicts (``one_decides``)."""
    if judged.found is None:
        return judged
    reason = f"{classes} of {len(CIFAR10_CLASSES)} classes; {judged.reason}"
    known = classes == len(CIFAR10_CLASSES)
    known = known or (one_decides and judged.verdict == CONTRADICTED)
    return replace(
        judged, reason=reason, verdict=judged.verdict if known else INCONCLUSIVE
    )


# --- the claims ---------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A claim in our words, where it is made (for a control: why it is asked, if that
    needs saying), and how it is decided: in words and in code. ``unit``: "points",
    "share", "ms" or "correlation"; ``printed`` is there for the ledger's rows: neither
    paper prints a number of these quantities."""

    key: str
    notebook: str
    family: str
    words: str
    source: str
    rule: str
    judge: Callable[[Runs], Judgement]
    unit: str = "points"
    printed: None = None


NOTHING_LEFT = (
    f"{100 * LEFT:g} points less accuracy on the class, the worst class; reproduced: "
    "surely above zero; contradicted: surely below"
)
# what the others may lose: about a point by the one paper's numbers, half a point by
# what is told of the other's
NPP_LOSS, OSP_LOSS = 0.01, 0.005
KEPT = (
    "accuracy on the others minus the original's, in points; reproduced: surely above "
    "-{:g}; contradicted: surely below"
)
BETTER = "reproduced: surely above zero; contradicted: else, surely less than 2 points"
# to do without something and be the better for it is not to need it
NO_WORSE = "reproduced: surely no more than 2 points worse; contradicted: surely more"
SELECTIVITY = "what the class loses in accuracy less what the others lose; "
PROBE = (
    "linear probe of the class, retrained networks minus the method; reproduced: "
    "surely no more than 2 points below; contradicted: surely more"
)
# no difference from a mask is an answer, and contradicts nothing
SURELY = "reproduced: surely above zero; contradicted: surely below"
GAP = f"average gap to the retrained networks, mask minus the method; {SURELY}"
NEARER = (
    "absolute difference from the retrained networks{both}, mask minus the method; "
    f"{SURELY}"
)
OTHERS = [name for name in SELECTIONS if name != "relevance"]


def than_the_mask(key: str, notebook: str, arm: str, name: str) -> list[Claim]:
    """Is an arm nearer to retraining than a mask, by anything but its answers?"""
    return [
        Claim(
            f"{key}-mask-{measures[0].split('_')[1]}",
            notebook,
            CONTROL,
            f"{name} comes nearer to retraining than a logit mask, by {words}",
            "",
            NEARER.format(
                both="" if len(measures) == 1 else ", mean of the class and the others"
            ),
            above(nearer_by(arm, "logit_mask", measures), 0.0, 0.0),
        )
        for words, measures in KNOWN.items()
    ]


CLAIMS = (
    Claim("npp-forgets", NPP, PAPER, "LRA-NPP forgets the class, as far as its "
          "authors print", "result files",
          f"{100 * AUTHORS_LEFT:.1f} points, the mean of their five runs, less "
          f"accuracy on the class's training images as there; {SURELY}",
          above(left("lra_npp", AUTHORS_LEFT, "forget_train"), 0.0, 0.0)),
    Claim("npp-keeps", NPP, PAPER, "It keeps the other classes", "abstract",
          KEPT.format(100 * NPP_LOSS), above(kept("lra_npp"), -NPP_LOSS, 0.0)),
    Claim("npp-relevance", NPP, PAPER, "Relevance finds the right units", "title",
          f"selectivity ({SELECTIVITY}as many units) minus that of each of five other "
          f"selections; {BETTER}",
          above_each({name: more_selective("controls: relevance", f"controls: {name}")
                      for name in OTHERS})),
    Claim("npp-zero-shot", NPP, PAPER, "It needs no training data", "title",
          f"selectivity with held-out images minus with training images; {NO_WORSE}",
          above(more_selective("controls: relevance", "controls: training images"),
                -MARGIN, 0.0)),
    Claim("npp-cheap", NPP, PAPER, "It costs little", "abstract",
          f"share of retraining's seconds saved; reproduced: surely more than "
          f"{SAVED:.0%}; contradicted: surely less",
          above(saved("lra_npp"), SAVED, 0.0), "share"),
    Claim("npp-forgets-each", NPP, CONTROL, "Nothing is left of any class, on test "
          "images", "", NOTHING_LEFT, above(left("lra_npp"), 0.0, 0.0, min)),
    Claim("npp-layers", NPP, CONTROL, "Relevance through several layers, at a setting "
          "chosen on held-out samples, is better than at the last",
          "our reading of the title's 'layer-wise'; no text claims it",
          f"selectivity; {BETTER}", above(more_selective("lra_npp_layers", "lra_npp"))),
    Claim("npp-layers-random", NPP, CONTROL, "There, relevance finds better units than "
          "chance", "", f"selectivity minus that of as many random units; {BETTER}",
          above(more_selective("lra_npp_layers", "controls: layers, random"))),
    Claim("npp-no-images", NPP, CONTROL, "It needs no images at all",
          "the word 'zero-shot'", "selectivity with images that the network made from "
          f"noise minus with held-out images; {NO_WORSE}",
          above(more_selective("controls: synthetic images", "controls: relevance"),
                -MARGIN, 0.0)),
    Claim("npp-mask", NPP, CONTROL, "It is more selective than a logit mask", "",
          f"selectivity; {SURELY}",
          above(more_selective("lra_npp", "logit_mask"), 0.0, 0.0)),
    Claim("npp-chosen-mask", NPP, CONTROL, "So it is with its two numbers of units "
          "chosen on held-out samples", "the authors' are for a wider network",
          f"selectivity; {SURELY}",
          above(more_selective("lra_npp_chosen", "logit_mask"), 0.0, 0.0)),
    Claim("npp-gap", NPP, CONTROL, "It comes nearer to retraining than a logit mask",
          "", GAP, above(nearer("lra_npp", "logit_mask"), 0.0, 0.0)),
    Claim("npp-features", NPP, CONTROL, "The features forget, too", "", PROBE,
          above(features_know("lra_npp"), -MARGIN, 0.0)),
    Claim("npp-features-layers", NPP, CONTROL, "Through several layers, the features "
          "forget", "", PROBE, above(features_know("lra_npp_layers"), -MARGIN, 0.0)),
    *than_the_mask("npp-layers", NPP, "lra_npp_layers", "LRA-NPP through the layers"),
    Claim("osp-forgets", OSP, PAPER, "OSP forgets the class completely", "abstract",
          NOTHING_LEFT, above(left("osp"), 0.0, 0.0, min)),
    Claim("osp-keeps", OSP, PAPER, "Its loss on the other classes is minimal",
          "abstract", KEPT.format(100 * OSP_LOSS),
          above(kept("osp"), -OSP_LOSS, 0.0)),
    Claim("osp-milliseconds", OSP, PAPER, "It takes milliseconds", "abstract",
          f"{1000 * MILLISECONDS:g} ms less the seconds of the scaling; reproduced: "
          "surely above zero; contradicted: surely below",
          above(lambda r: MILLISECONDS - r["arms"]["osp"]["seconds"], 0.0, 0.0), "ms"),
    Claim("osp-orthogonal", OSP, PAPER, "Orthogonal training helps", "abstract",
          f"selectivity of the same pruning, orthogonal minus plain network; {BETTER}",
          above(more_selective("osp", "plain/osp"))),
    Claim("osp-decorrelates", OSP, PAPER, "Orthogonal training makes channels respond "
          "less together", "abstract", "mean |correlation|, plain minus orthogonal; "
          "reproduced: surely above zero; contradicted: else, surely below 0.02",
          above(decorrelated), "correlation"),
    Claim("osp-soft", OSP, PAPER, "Weakening is better than removing", "title",
          f"selectivity; {BETTER}",
          above(more_selective("osp", "controls: orthogonal, hard"))),
    Claim("osp-channels", OSP, PAPER, "The scores find the right channels", "abstract",
          f"selectivity minus that of as many random channels; {BETTER}",
          above(more_selective("osp", "controls: orthogonal, random channels"))),
    Claim("osp-standardised", OSP, CONTROL, "They do better than differences of any "
          "sign in standard deviations", "", f"selectivity; {BETTER}",
          above(more_selective("osp", "controls: orthogonal, standardised score"))),
    Claim("osp-mask", OSP, CONTROL, "It is more selective than a logit mask", "",
          f"selectivity; {SURELY}",
          above(more_selective("osp", "logit_mask"), 0.0, 0.0)),
    Claim("osp-gap", OSP, CONTROL, "It comes nearer to retraining than a logit mask",
          "", GAP, above(nearer("osp", "logit_mask"), 0.0, 0.0)),
    Claim("osp-features", OSP, CONTROL, "The features forget, too", "", PROBE,
          above(features_know("osp"), -MARGIN, 0.0)),
    *than_the_mask("osp", OSP, "osp", "OSP"),
    Claim("osp-chosen-forgets", OSP, CONTROL, "At a setting chosen on held-out "
          "samples, it forgets the class completely", "our setting is a guess",
          NOTHING_LEFT, above(left("osp_chosen"), 0.0, 0.0, min)),
    Claim("osp-chosen-keeps", OSP, CONTROL, "There, its loss on the other classes is "
          "minimal", "", KEPT.format(100 * OSP_LOSS),
          above(kept("osp_chosen"), -OSP_LOSS, 0.0)),
    Claim("osp-chosen-orthogonal", OSP, CONTROL, "Orthogonal training helps, each "
          "network at its chosen setting", "", f"selectivity; {BETTER}",
          above(more_selective("osp_chosen", "plain/osp_chosen"))),
    *than_the_mask("osp-chosen", OSP, "osp_chosen", "OSP at a chosen setting"),
    Claim("osp-price", OSP, CONTROL, "It saves time with its preparation", "",
          "share of one retraining's seconds saved, the pass over the data and the "
          "longer training included; reproduced: surely above zero; contradicted: "
          "surely below",
          above(saved_with_preparation, 0.0, 0.0), "share"),
)  # fmt: skip


def judged(place: Place, runs: Runs) -> list[tuple[Claim, Judgement]]:
    """The notebook's claims at a place, each family corrected on its own."""
    found = []
    for family in (PAPER, CONTROL):
        claims = [
            c for c in CLAIMS if (c.notebook, c.family) == (place.notebook, family)
        ]
        judgements = corrected([claim.judge(runs) for claim in claims])
        found += zip(claims, judgements, strict=True)
    return found
