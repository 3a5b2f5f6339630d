"""The claims of the first paper, its missing controls, and what we were led to expect.

Each is a quantity a seed and a rule (``rlap.ledger.claims.rules``); Holm's correction
runs over a family in one protocol and tier.
"""

from __future__ import annotations

from functools import partial

from rlap.experiments.protocol import CIFAR10, SPEECH
from rlap.ledger import paper
from rlap.ledger.cells import CLAMPED, FULL, Setting, headline
from rlap.ledger.claims.quantities import (
    attacked_gap,
    auroc,
    decayed_gap,
    gap,
    noisier_part_costs,
    saved_an_epoch,
    saved_in_all,
    split_accuracy,
)
from rlap.ledger.claims.rules import (
    CONTROL,
    GOOD_SHARE,
    IDENTICAL,
    PAPER,
    Claim,
    Rule,
    at_every,
    at_headline,
    beside,
    flat_over,
    identical_features,
    label_noise,
    near_chance,
    on_average,
    takes_the_purer,
    where_noisy_kept,
)
from rlap.ledger.summary import per_cent
from rlap.ledger.verdicts import MARGIN

LEADS = "leads"
# the authors' notebook, reduced: their code at the size that it was run at
REDUCED = ("released", "small/resnet18-16+epochs=20+finetune_epochs=10")
LEVELS = tuple(float(v) for v in range(2, 10))
RATES = (0.2, 0.4, 0.5, 0.7, 0.9)
SIZES = (FULL, 25_000, 12_500)
ATTACKS = ("0.2", "0.4", "0.6", "0.8")  # shares of the test set
RIVALS = ("abs", "rms", "freq", "std")
GOOD_AUROC = 0.9
FAIR_AUROC = 0.7
NEAR_PERFECT = 0.95  # of the samples on their right side
CHANCE = 0.05  # an AUROC so near to a half is none
SAVING, SAVING_MARGIN = 0.47, 0.05  # of the seconds

T1 = tuple(Setting(CIFAR10, CLAMPED, 0.5, 8.0, size) for size in SIZES)
T3 = tuple(Setting(CIFAR10, CLAMPED, 0.5, level, FULL) for level in LEVELS)
T4 = tuple(Setting(CIFAR10, CLAMPED, rate, 2.0, FULL) for rate in RATES)
T5 = (Setting(CIFAR10, CLAMPED, 0.5, 4.5, FULL),)
HEAD, KEYWORDS = at_headline(), at_headline(SPEECH)
INPUT_NOISE = tuple(dict.fromkeys((*T1, *T3, *T4, *T5, headline(SPEECH))))

ABOVE_ZERO = (
    "reproduced: surely above zero; contradicted: else, surely less than 2 points"
)
SAVED = (
    f"reproduced: surely saves more than {per_cent(SAVING - SAVING_MARGIN)}; "
    "contradicted: surely less"
)
EVERY = "in every setting that was run; the one that decides is shown"


MOVED = {"pruned minus initial network": gap("pruned", "initial")}
TESTED = {
    f"{per_cent(float(rate))} of the test set noisy": attacked_gap(rate)
    for rate in ATTACKS
}


def ahead_by(arm: str, other: str, *, margin: float) -> Rule:
    """Rule: one arm beats another at the headline setting."""
    return on_average(HEAD, gap(arm, other), 0.0, margin)


def paper_claims(margin: float = MARGIN) -> list[Claim]:
    """What the paper says of itself."""
    claim = partial(Claim, family=PAPER)
    return [
        claim("gain-10", "F-FT beats retraining by about 10 points", "abstract",
            "mean over the noise levels of Table 3; reproduced: surely more than 8 "
            "points; contradicted: surely less",
            on_average(T3, gap("F-FT", "retrain"), 0.1 - margin, 0.0),
            paper.printed_gap(3, "f_ft", "retrain")),
        claim("time-epoch", "Up to 47\u00a0% less time: L-FT, seconds an epoch",
            "abstract", f"Table 1, full size; {SAVED}",
            on_average(HEAD, saved_an_epoch("L-FT"), SAVING - SAVING_MARGIN, 0.0),
            paper.printed_saving("l_ft"), "share"),
        claim("time-total", "Up to 47\u00a0% less time: L-FT, all stages after the "
            "initial training", "abstract", f"Table 1, full size; {SAVED}",
            on_average(HEAD, saved_in_all("L-FT"), SAVING - SAVING_MARGIN, 0.0),
            None, "share"),
        claim("time-fft", "Up to 47\u00a0% less time, were it said of F-FT: seconds an "
            "epoch", "our reading; beside it, what Table 1 prints of F-FT",
            "the abstract names no arm, and F-FT is the one with the accuracy; "
            f"Table 1, full size; {SAVED}",
            on_average(HEAD, saved_an_epoch("F-FT"), SAVING - SAVING_MARGIN, 0.0),
            paper.printed_saving("f_ft"), "share"),
        claim("separates", "The partition separates clean from noisy without "
            "assumptions", "abstract", f"AUROC of at least {GOOD_AUROC} for input "
            f"noise, whichever part it calls good, {EVERY}",
            at_every(INPUT_NOISE, {"": auroc}, GOOD_AUROC, 0.0),
            None, ""),
        claim("names", "The partition knows which part is the clean one", "abstract",
            "share of runs with input noise, of images and speech, whose kept part is "
            f"the purer one, where the partition separates (AUROC of at least "
            f"{FAIR_AUROC}); contradicted by one run; reproduced: all, and surely more "
            f"than {per_cent(GOOD_SHARE)}",
            takes_the_purer(FAIR_AUROC), None, "share"),
        claim("separates-labels", "The partition separates wrong labels, too",
            "abstract", f"AUROC of at least {GOOD_AUROC}, {EVERY}",
            at_every(label_noise, {"": auroc}, GOOD_AUROC, 0.0), None, ""),
        claim("criteria", "Pruning by regression beats the other criteria",
            "Table 2", "F-FT minus F-FT with each other criterion; reproduced: all "
            "surely above zero; contradicted: one surely below",
            beside(at_every(T1, {f"against {rival}": gap("F-FT", f"F-FT/{rival}")
                                 for rival in RIVALS}, 0.0, 0.0),
                   T1, MOVED)),
        claim("levels", "RLAP is robust over noise levels", "Table 3",
            "change of F-FT along a line from level 2 to 9; reproduced: surely within "
            "2 points; contradicted: surely beyond", flat_over(T3, margin)),
        claim("rates", "RLAP is robust over attack rates", "Table 4",
            f"F-FT minus retraining, {EVERY}; {ABOVE_ZERO}",
            at_every(T4, {"": gap("F-FT", "retrain")}, 0.0, margin),
            paper.printed_gap(4, "f_ft", "retrain")),
        claim("test-rates", "RLAP is robust to attacks on the test set", "Table 5",
            f"F-FT minus retraining at each rate; {ABOVE_ZERO}",
            at_every(T5, TESTED, 0.0, margin),
            paper.printed_gap(5, "f_ft", "retrain")),
        claim("speech", "RLAP works on speech", "Table 6",
            f"F-FT minus retraining; {ABOVE_ZERO}",
            on_average(KEYWORDS, gap("F-FT", "retrain"), 0.0, margin),
            paper.printed_gap(6, "f_ft", "retrain")),
        claim("label-noise", "RLAP repairs a network trained on wrong labels",
            "abstract", f"F-FT minus the initial network, {EVERY}; {ABOVE_ZERO}",
            at_every(label_noise, {"": gap("F-FT", "initial")}, 0.0, margin)),
        claim("gradients", "The attribution uses gradients", "abstract",
            "difference of attribution and activation, both standardised; "
            f"contradicted: less than {IDENTICAL:g} in every run",
            identical_features, None, "deviations"),
    ]  # fmt: skip


def controls(margin: float = MARGIN) -> list[Claim]:
    """What its tables leave out."""
    claim = partial(Claim, family=CONTROL)
    ahead = partial(ahead_by, margin=margin)
    return [
        claim("decayed-retrain", "F-FT beats retraining with a decaying "
            "learning rate", "", f"equal total epochs; {ABOVE_ZERO}",
            on_average(HEAD, decayed_gap("F-FT"), 0.0, margin)),
        claim("decayed-initial", "F-FT beats training from scratch on all "
            "images, with a decaying rate", "", f"equal total epochs; {ABOVE_ZERO}",
            ahead("F-FT", "initial decayed")),
        claim("gains", "F-FT beats the network that it starts from", "",
            ABOVE_ZERO, ahead("F-FT", "initial")),
        claim("gains-head", "L-FT beats the network that it starts from", "",
            ABOVE_ZERO, ahead("L-FT", "initial")),
        claim("do-nothing", "F-FT beats continued training", "",
            f"all images, no partition, no pruning; {ABOVE_ZERO}",
            ahead("F-FT", "continue")),
        claim("pruning-adds", "Pruning adds to fine-tuning on the kept part", "",
            f"F-FT minus F-FT without pruning; {ABOVE_ZERO}",
            beside(ahead("F-FT", "F-FT/none"), HEAD,
                   MOVED)),
        claim("pruning-alone", "Pruning adds to continued training", "",
            "all images, no partition: pruned and trained on minus trained on; "
            f"asked for when the runs had been seen; {ABOVE_ZERO}",
            beside(ahead("pruned+continue", "continue"), HEAD,
                   MOVED)),
        claim("not-random-units", "Pruning by regression beats random units", "",
            f"{ABOVE_ZERO}; inconclusive where neither pruning moves the initial "
            "network by 2 points",
            beside(ahead("F-FT", "F-FT/random"), HEAD,
                   MOVED | {"random units minus initial network":
                            gap("pruned/random", "initial")}, margin)),
        claim("not-random-part", "The kept part beats a random part of its size",
            "", ABOVE_ZERO, ahead("F-FT", "F-FT/random subset")),
        claim("beats-trivial", "The partition beats counting pixels at 0 or 1", "",
            ABOVE_ZERO, ahead("F-FT", "F-FT/trivial subset")),
        claim("clean-part", "Even the truly clean part beats continued training", "",
            "F-FT on the truly clean images minus continued training on all, with as "
            f"many epochs and so with half the steps; {ABOVE_ZERO}",
            ahead("F-FT/clean subset", "continue")),
        claim("clean-size", "The truly clean part beats a random part of the kept "
            "part's size", "", "with about as many steps; F-FT on either, asked for "
            f"when the runs had been seen; {ABOVE_ZERO}",
            ahead("F-FT/clean subset", "F-FT/random subset")),
        claim("like-clean", "The kept part does as well as the truly clean one",
            "", "F-FT minus F-FT on the truly clean images, with as many epochs; asked "
            "for when the runs had been seen; reproduced: surely loses less than 2 "
            "points; contradicted: surely more",
            on_average(HEAD, gap("F-FT", "F-FT/clean subset"), -margin, 0.0)),
        claim("batchnorm", "Re-estimating BatchNorm alone gains over the "
            "initial network", "", ABOVE_ZERO,
            ahead("recalibrated", "initial")),
        claim("wrong-part", "Fine-tuning on the noisier part costs accuracy", "",
            "initial network minus F-FT on that part, whichever was kept; "
            f"{ABOVE_ZERO}",
            on_average(HEAD, noisier_part_costs, 0.0, margin)),
    ]  # fmt: skip


def leads(margin: float = MARGIN) -> list[Claim]:
    """What two runs of a prototype, and one of the authors' own notebook at a reduced
    size, let us expect at their settings."""
    claim = partial(Claim, family=LEADS)
    ahead = partial(ahead_by, margin=margin)
    return [
        claim("lead-head", "L-FT loses against the network that it starts from",
            "", f"level 4.5: initial network minus L-FT; {ABOVE_ZERO}",
            on_average(T5, gap("initial", "L-FT"), 0.0, margin)),
        claim("lead-full", "F-FT loses against the network that it starts from",
            "", f"level 4.5: initial network minus F-FT; {ABOVE_ZERO}",
            on_average(T5, gap("initial", "F-FT"), 0.0, margin)),
        claim("lead-noise", "The partition finds the noise fairly well", "",
            f"level 4.5: AUROC; reproduced: surely above {FAIR_AUROC}; contradicted: "
            "surely below", on_average(T5, auroc, FAIR_AUROC, 0.0), None, ""),
        claim("lead-labels", "Under wrong labels the partition is chance", "",
            f"AUROC; reproduced: surely within {CHANCE:g} of a half; contradicted: "
            "surely beyond", near_chance(auroc, CHANCE), None, ""),
        claim("reduced-split", "The authors' notebook, reduced: the partition is "
            "near-perfect", "", "share of samples on their right side, whichever part "
            f"is called good; reproduced: surely above {per_cent(NEAR_PERFECT)}; "
            "contradicted: surely below",
            on_average(HEAD, split_accuracy, NEAR_PERFECT, 0.0), None, "share",
            REDUCED),
        claim("reduced-collapse", "The authors' notebook, reduced: F-FT collapses "
            "where the noisy part was kept", "", "initial network minus F-FT in those "
            f"runs, if the partition separates (AUROC of at least {FAIR_AUROC}); "
            "reproduced: surely more than 2 points; contradicted: surely less",
            where_noisy_kept(HEAD, gap("initial", "F-FT"), FAIR_AUROC, margin),
            place=REDUCED),
        claim("reduced-head", "The authors' notebook, reduced: L-FT loses against "
            "the network that it starts from", "",
            f"initial network minus L-FT; {ABOVE_ZERO}",
            ahead("initial", "L-FT"), place=REDUCED),
        claim("reduced-full", "The authors' notebook, reduced: F-FT loses against "
            "the network that it starts from", "",
            f"initial network minus F-FT; {ABOVE_ZERO}",
            ahead("initial", "F-FT"), place=REDUCED),
    ]  # fmt: skip


def claims(margin: float = MARGIN) -> list[Claim]:
    """All of them, as they would be judged with this margin."""
    return [*paper_claims(margin), *controls(margin), *leads(margin)]
