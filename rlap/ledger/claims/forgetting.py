"""The claims of the two papers on forgetting a class, and the controls they lack.

A quantity belongs to one record, that is one class and seed. For each seed it is
averaged over the classes (or its worst class is taken); Holm's correction runs over the
claims of a notebook, and over its controls, for each network and tier.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rlap.ledger.claims.classes import above, above_each
from rlap.ledger.claims.quantities import (
    KNOWN,
    LEFT,
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
from rlap.ledger.claims.rules import CONTROL, PAPER, Claim, Rule
from rlap.ledger.evidence import NPP, OSP, RIVALS
from rlap.ledger.summary import per_cent
from rlap.ledger.verdicts import MARGIN
from rlap.unlearning.methods.lra_npp import SELECTIONS

ABOUT = {NPP: "LRA-NPP", OSP: "OSP", RIVALS: "DAMP"}
AUTHORS_LEFT = 0.0526  # in their result files: training images, mean of five runs
SAVED = 0.9  # of retraining's seconds, to be called cheap
MILLISECONDS = 0.1  # seconds, on a busy machine

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


def than_the_mask(
    claim: Callable[..., Claim], key: str, arm: str, name: str
) -> list[Claim]:
    """Is an arm nearer to retraining than a mask, by anything but its answers?"""
    return [
        claim(
            f"{key}-mask-{measures[0].split('_')[1]}",
            f"{name} comes nearer to retraining than a logit mask, by {words}",
            "",
            NEARER.format(
                both="" if len(measures) == 1 else ", mean of the class and the others"
            ),
            above(nearer_by(arm, "logit_mask", measures), 0.0, 0.0),
        )
        for words, measures in KNOWN.items()
    ]


def more_selective_than(arm: str, other: str, *, margin: float) -> Rule:
    """Rule: one arm is more selective than another."""
    return above(more_selective(arm, other), 0.0, margin)


def npp_claims(margin: float = MARGIN) -> list[Claim]:
    """What the paper on LRA-NPP says of itself."""
    claim = partial(Claim, family=PAPER, about=ABOUT[NPP])
    return [
        claim("npp-forgets", "LRA-NPP forgets the class, as far as its "
            "authors print", "result files",
            f"{100 * AUTHORS_LEFT:.1f} points, the mean of their five runs, less "
            f"accuracy on the class's training images as there; {SURELY}",
            above(left("lra_npp", AUTHORS_LEFT, "forget_train"), 0.0, 0.0)),
        claim("npp-keeps", "LRA-NPP keeps the other classes", "abstract",
            KEPT.format(100 * NPP_LOSS), above(kept("lra_npp"), -NPP_LOSS, 0.0)),
        claim("npp-relevance", "LRA-NPP: relevance finds the right units", "title",
            f"selectivity ({SELECTIVITY}as many units) minus that of each of five "
            f"other selections; {BETTER}",
            above_each({name: more_selective("controls: relevance", f"controls: {name}")
                        for name in OTHERS}, margin)),
        claim("npp-zero-shot", "LRA-NPP needs no training data", "title",
            f"selectivity with held-out images minus with training images; {NO_WORSE}",
            above(more_selective("controls: relevance", "controls: training images"),
                  -margin, 0.0)),
        claim("npp-cheap", "LRA-NPP costs little", "abstract",
            f"share of retraining's seconds saved; reproduced: surely more than "
            f"{per_cent(SAVED)}; contradicted: surely less",
            above(saved("lra_npp"), SAVED, 0.0), unit="share"),
    ]  # fmt: skip


def npp_controls(margin: float = MARGIN) -> list[Claim]:
    """What it leaves out."""
    claim = partial(Claim, family=CONTROL, about=ABOUT[NPP])
    better = partial(more_selective_than, margin=margin)
    return [
        claim("npp-forgets-each", "LRA-NPP leaves nothing of any class, on test "
            "images", "", NOTHING_LEFT, above(left("lra_npp"), 0.0, 0.0, min)),
        claim("npp-layers", "LRA-NPP through several layers, at a setting chosen "
            "on held-out samples, is better than at the last",
            "our reading of the title's 'layer-wise'; no text claims it",
            f"selectivity; {BETTER}", better("lra_npp_layers", "lra_npp")),
        claim("npp-layers-random", "LRA-NPP through several layers finds better "
            "units than chance", "",
            f"selectivity minus that of as many random units; {BETTER}",
            better("lra_npp_layers", "controls: layers, random")),
        claim("npp-no-images", "LRA-NPP needs no images at all",
            "the word 'zero-shot'", "selectivity with images that the network made "
            f"from noise minus with held-out images; {NO_WORSE}",
            above(more_selective("controls: synthetic images", "controls: relevance"),
                  -margin, 0.0)),
        claim("npp-mask", "LRA-NPP is more selective than a logit mask", "",
            f"selectivity; {SURELY}",
            above(more_selective("lra_npp", "logit_mask"), 0.0, 0.0)),
        claim("npp-chosen-mask", "LRA-NPP with its two numbers of units chosen on "
            "held-out samples is more selective than a logit mask",
            "the authors' are for a wider network",
            f"selectivity; {SURELY}",
            above(more_selective("lra_npp_chosen", "logit_mask"), 0.0, 0.0)),
        claim("npp-gap", "LRA-NPP comes nearer to retraining than a logit mask",
            "", GAP, above(nearer("lra_npp", "logit_mask"), 0.0, 0.0)),
        claim("npp-features", "After LRA-NPP the features forget, too", "", PROBE,
            above(features_know("lra_npp"), -margin, 0.0)),
        claim("npp-features-layers", "After LRA-NPP through several layers the "
            "features forget", "", PROBE,
            above(features_know("lra_npp_layers"), -margin, 0.0)),
        *than_the_mask(claim, "npp-layers", "lra_npp_layers",
                       "LRA-NPP through the layers"),
    ]  # fmt: skip


def osp_claims(margin: float = MARGIN) -> list[Claim]:
    """What the paper on OSP says of itself."""
    claim = partial(Claim, family=PAPER, about=ABOUT[OSP])
    better = partial(more_selective_than, margin=margin)
    return [
        claim("osp-forgets", "OSP forgets the class completely", "abstract",
            NOTHING_LEFT, above(left("osp"), 0.0, 0.0, min)),
        claim("osp-keeps", "The loss of OSP on the other classes is minimal",
            "abstract", KEPT.format(100 * OSP_LOSS),
            above(kept("osp"), -OSP_LOSS, 0.0)),
        claim("osp-milliseconds", "OSP takes milliseconds", "abstract",
            f"{1000 * MILLISECONDS:g} ms less the seconds of the scaling; reproduced: "
            "surely above zero; contradicted: surely below",
            above(lambda r: MILLISECONDS - r["arms"]["osp"]["seconds"], 0.0, 0.0),
            unit="ms"),
        claim("osp-orthogonal", "Orthogonal training helps OSP", "abstract",
            "selectivity of the same pruning, orthogonal minus plain network; "
            f"{BETTER}",
            better("osp", "plain/osp")),
        claim("osp-decorrelates", "Orthogonal training makes channels respond "
            "less together", "abstract", "mean |correlation|, plain minus orthogonal; "
            "reproduced: surely above zero; contradicted: else, surely below 0.02",
            above(decorrelated, 0.0, margin), unit="correlation"),
        claim("osp-soft", "OSP: weakening is better than removing", "title",
            f"selectivity; {BETTER}",
            better("osp", "controls: orthogonal, hard")),
        claim("osp-channels", "OSP: the scores find the right channels", "abstract",
            f"selectivity minus that of as many random channels; {BETTER}",
            better("osp", "controls: orthogonal, random channels")),
    ]  # fmt: skip


def osp_controls(margin: float = MARGIN) -> list[Claim]:
    """What it leaves out."""
    claim = partial(Claim, family=CONTROL, about=ABOUT[OSP])
    better = partial(more_selective_than, margin=margin)
    return [
        claim("osp-standardised", "The scores of OSP do better than differences of "
            "any sign in standard deviations", "", f"selectivity; {BETTER}",
            better("osp", "controls: orthogonal, standardised score")),
        claim("osp-mask", "OSP is more selective than a logit mask", "",
            f"selectivity; {SURELY}",
            above(more_selective("osp", "logit_mask"), 0.0, 0.0)),
        claim("osp-gap", "OSP comes nearer to retraining than a logit mask",
            "", GAP, above(nearer("osp", "logit_mask"), 0.0, 0.0)),
        claim("osp-features", "After OSP the features forget, too", "", PROBE,
            above(features_know("osp"), -margin, 0.0)),
        *than_the_mask(claim, "osp", "osp", "OSP"),
        claim("osp-chosen-forgets", "OSP at a setting chosen on held-out samples "
            "forgets the class completely", "our setting is a guess",
            NOTHING_LEFT, above(left("osp_chosen"), 0.0, 0.0, min)),
        claim("osp-chosen-keeps", "The loss of OSP at a chosen setting on the other "
            "classes is minimal", "", KEPT.format(100 * OSP_LOSS),
            above(kept("osp_chosen"), -OSP_LOSS, 0.0)),
        claim("osp-chosen-orthogonal", "Orthogonal training helps OSP, each network "
            "at its chosen setting", "", f"selectivity; {BETTER}",
            better("osp_chosen", "plain/osp_chosen")),
        *than_the_mask(claim, "osp-chosen", "osp_chosen", "OSP at a chosen setting"),
        claim("osp-price", "OSP saves time with its preparation", "",
            "share of one retraining's seconds saved, the pass over the data and the "
            "longer training included; reproduced: surely above zero; contradicted: "
            "surely below",
            above(saved_with_preparation, 0.0, 0.0), unit="share"),
    ]  # fmt: skip


def claims(margin: float = MARGIN) -> list[Claim]:
    """All of them, as they would be judged with this margin."""
    families = (npp_claims, npp_controls, osp_claims, osp_controls)
    return [claim for family in families for claim in family(margin)]
