"""Claims in words, each with a rule: what the paper says, and what decides the matter.

The first family holds the paper's own claims, the second the controls that its tables
leave out. Each is a quantity a seed, tested by ``rlap.ledger.verdicts``; Holm's
correction runs over a family in one protocol and tier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rlap.experiments.protocol import CIFAR10, SPEECH
from rlap.ledger import paper
from rlap.ledger.claim_rules import (
    GOOD_SHARE,
    IDENTICAL,
    Rule,
    at_every,
    beside,
    flat_over,
    identical_features,
    label_noise,
    near_chance,
    on_average,
    takes_the_purer,
    where_noisy_kept,
)
from rlap.ledger.evidence import CLAMPED, FULL, Evidence, Setting, headline
from rlap.ledger.quantities import (
    attacked_gap,
    auroc,
    decayed_gap,
    gap,
    noisier_part_costs,
    saved_an_epoch,
    saved_in_all,
    split_accuracy,
)
from rlap.ledger.rows import Ledger, tidy_float
from rlap.ledger.verdicts import MARGIN, Judgement, corrected

RLAP = "RLAP"
# LEADS: what two runs of a prototype, and one of the authors' own notebook at a reduced
# size, let us expect at their settings
PAPER, CONTROL, LEADS = "the paper's claims", "controls", "leads"
# the authors' notebook, reduced: their code at the size that it was run at
REDUCED = ("released", "small/resnet18-16+epochs=20+finetune_epochs=10")
LEVELS = tuple(float(v) for v in range(2, 10))
RATES = (0.2, 0.4, 0.5, 0.7, 0.9)
SIZES = (FULL, 25_000, 12_500)
RIVALS = ("abs", "rms", "freq", "std")
GOOD_AUROC = 0.9
FAIR_AUROC = 0.7
NEAR_PERFECT = 0.95  # of the samples on their right side
CHANCE = 0.05  # an AUROC so near to a half is none
SAVING, SAVING_MARGIN = 0.47, 0.05  # of the seconds


@dataclass(frozen=True)
class Claim:
    """A claim and how it is decided.

    ``words`` in ours, ``source`` where the paper says it ("" for a control), ``rule``
    in words, ``judge`` the same in code, ``printed`` the paper's own figure computed
    from its tables, ``unit`` "points", "share" or "". ``place`` is the one protocol and
    scale that it is about, None for all of them.
    """

    key: str
    family: str
    words: str
    source: str
    rule: str
    judge: Rule
    printed: float | None = None
    unit: str = "points"
    place: tuple[str, str] | None = None


@dataclass(frozen=True)
class ClaimRow:
    """A claim in one protocol and tier; ours, low, high (cut where no value can be) and
    detectable are fractions, or seconds where the unit is "ms".

    ``about`` names the paper. Runs that forget a class have no protocol, but a
    ``network`` and, for OSP, a ``strength`` of the penalty in training.
    """

    key: str
    family: str
    words: str
    source: str
    rule: str
    unit: str
    paper: float | None
    protocol: str
    tier: str
    n: int
    ours: float | None
    low: float | None
    high: float | None
    verdict: str
    reason: str
    detectable: float | None
    p_holm: float | None
    about: str = RLAP
    network: str = ""
    strength: float | None = None


# where the numbers of a unit can lie: differences of accuracy and of correlations,
# saved shares (more than none can be lost), seconds saved, areas
RANGES = {
    "points": (-1.0, 1.0),
    "correlation": (-1.0, 1.0),
    "share": (-math.inf, 1.0),
    "ms": (-math.inf, math.inf),
    "": (0.0, 1.0),
}

# --- the claims ------------------------------------------------------------------

T1 = tuple(Setting(CIFAR10, CLAMPED, 0.5, 8.0, size) for size in SIZES)
T3 = tuple(Setting(CIFAR10, CLAMPED, 0.5, level, FULL) for level in LEVELS)
T4 = tuple(Setting(CIFAR10, CLAMPED, rate, 2.0, FULL) for rate in RATES)
T5 = (Setting(CIFAR10, CLAMPED, 0.5, 4.5, FULL),)
HEAD, KEYWORDS = (headline(),), (headline(SPEECH),)
INPUT_NOISE = tuple(dict.fromkeys((*T1, *T3, *T4, *T5, *KEYWORDS)))


def printed_gap(table: int, first: str, second: str) -> float:
    """Mean difference in accuracy that a table prints, as a fraction."""
    scores = {m: [] for m in (first, second)}
    for cell in paper.of_table(table):
        if cell.metric == "accuracy" and cell.method in scores:
            scores[cell.method].append(cell.value / paper.UNITS[cell.unit])
    return float(np.mean(scores[first]) - np.mean(scores[second]))


def printed_saving(method: str) -> float:
    """Share of retraining's seconds an epoch saved in Table 1, full size."""
    own, base = beside_retraining(method, "time")
    return 1 - own / base


def printed_lead(method: str) -> float:
    """Accuracy over retraining's in Table 1, full size, as a fraction."""
    own, base = beside_retraining(method, "accuracy")
    return own - base


def beside_retraining(method: str, metric: str) -> tuple[float, float]:
    """A method's number and retraining's in Table 1, full size; fractions, seconds."""
    known = paper.by_key()
    cells = [known[1, "50000", m, "ours", metric] for m in (method, "retrain")]
    own, base = (cell.value / paper.UNITS[cell.unit] for cell in cells)
    return own, base


ABOVE_ZERO = (
    "reproduced: surely above zero; contradicted: else, surely less than 2 points"
)
SAVED = (
    f"reproduced: surely saves more than {SAVING - SAVING_MARGIN:.0%}; contradicted: "
    "surely less"
)
EVERY = "in every setting that was run; the worst one is shown"
CLAIMS = (
    Claim("gain-10", PAPER, "F-FT beats retraining by about 10 points", "abstract",
          "mean over the noise levels of Table 3; reproduced: surely more than 8 "
          "points; contradicted: surely less",
          on_average(T3, gap("F-FT", "retrain"), 0.1 - MARGIN, 0.0),
          printed_gap(3, "f_ft", "retrain")),
    Claim("time-epoch", PAPER, "Up to 47 % less time: L-FT, seconds an epoch",
          "abstract", f"Table 1, full size; {SAVED}",
          on_average(HEAD, saved_an_epoch("L-FT"), SAVING - SAVING_MARGIN, 0.0),
          printed_saving("l_ft"), "share"),
    Claim("time-total", PAPER, "Up to 47 % less time: L-FT, all stages after the "
          "initial training", "abstract", f"Table 1, full size; {SAVED}",
          on_average(HEAD, saved_in_all("L-FT"), SAVING - SAVING_MARGIN, 0.0),
          None, "share"),
    Claim("time-fft", PAPER, "Up to 47 % less time: F-FT, seconds an epoch",
          "abstract", f"the arm with the accuracy; Table 1, full size; {SAVED}",
          on_average(HEAD, saved_an_epoch("F-FT"), SAVING - SAVING_MARGIN, 0.0),
          printed_saving("f_ft"), "share"),
    Claim("separates", PAPER, "The partition separates clean from noisy without "
          "assumptions", "abstract", f"AUROC of at least {GOOD_AUROC} for input "
          f"noise, whichever part it calls good, {EVERY}",
          at_every(INPUT_NOISE, {"": auroc}, GOOD_AUROC, 0.0),
          None, ""),
    Claim("names", PAPER, "It knows which part is the clean one", "abstract",
          "share of runs with input noise whose kept part is the purer one, where the "
          f"partition separates (AUROC of at least {FAIR_AUROC}); "
          "contradicted by one run; reproduced: all, and surely more than "
          f"{GOOD_SHARE:.0%}",
          takes_the_purer(FAIR_AUROC), None, "share"),
    Claim("separates-labels", PAPER, "The same for wrong labels", "abstract",
          f"AUROC of at least {GOOD_AUROC}, {EVERY}",
          at_every(label_noise, {"": auroc}, GOOD_AUROC, 0.0), None, ""),
    Claim("criteria", PAPER, "Pruning by regression beats the other criteria",
          "Table 2", "F-FT minus F-FT with each other criterion; reproduced: all "
          "surely above zero; contradicted: one surely below",
          beside(at_every(T1, {v: gap("F-FT", f"F-FT/{v}") for v in RIVALS}, 0.0, 0.0),
                 T1, {"pruned minus initial": gap("pruned", "initial")})),
    Claim("levels", PAPER, "Robust over noise levels", "Table 3",
          "change of F-FT along a line from level 2 to 9; reproduced: surely within "
          "2 points; contradicted: surely beyond", flat_over(T3)),
    Claim("rates", PAPER, "Robust over attack rates", "Table 4",
          f"F-FT minus retrain, {EVERY}; {ABOVE_ZERO}",
          at_every(T4, {"": gap("F-FT", "retrain")}, 0.0),
          printed_gap(4, "f_ft", "retrain")),
    Claim("test-rates", PAPER, "Robust to attacks on the test set", "Table 5",
          f"F-FT minus retrain at each rate; {ABOVE_ZERO}",
          at_every(T5, {r: attacked_gap(r) for r in ("0.2", "0.4", "0.6", "0.8")}, 0.0),
          printed_gap(5, "f_ft", "retrain")),
    Claim("speech", PAPER, "Works on speech", "Table 6",
          f"F-FT minus retrain; {ABOVE_ZERO}",
          on_average(KEYWORDS, gap("F-FT", "retrain"), 0.0),
          printed_gap(6, "f_ft", "retrain")),
    Claim("label-noise", PAPER, "Repairs a network trained on wrong labels", "abstract",
          f"F-FT minus the initial model, {EVERY}; {ABOVE_ZERO}",
          at_every(label_noise, {"": gap("F-FT", "initial")}, 0.0)),
    Claim("gradients", PAPER, "The attribution uses gradients", "abstract",
          f"contradicted: standardised attribution and activation differ by less than "
          f"{IDENTICAL:g} in every run", identical_features, None, ""),
    Claim("decayed-retrain", CONTROL, "F-FT beats a retrain whose learning rate decays",
          "", f"equal total epochs; {ABOVE_ZERO}",
          on_average(HEAD, decayed_gap("F-FT"), 0.0)),
    Claim("decayed-initial", CONTROL, "F-FT beats training on everything with a "
          "decaying rate", "", f"equal total epochs; {ABOVE_ZERO}",
          on_average(HEAD, gap("F-FT", "initial decayed"), 0.0)),
    Claim("gains", CONTROL, "F-FT beats the network that it starts from", "",
          ABOVE_ZERO, on_average(HEAD, gap("F-FT", "initial"), 0.0)),
    Claim("gains-head", CONTROL, "L-FT beats the network that it starts from", "",
          ABOVE_ZERO, on_average(HEAD, gap("L-FT", "initial"), 0.0)),
    Claim("do-nothing", CONTROL, "F-FT beats fine-tuning on all noisy data", "",
          f"no partition, no pruning; {ABOVE_ZERO}",
          on_average(HEAD, gap("F-FT", "continue"), 0.0)),
    Claim("pruning-adds", CONTROL, "Pruning adds to fine-tuning on the kept part", "",
          f"F-FT minus F-FT without pruning; {ABOVE_ZERO}",
          beside(on_average(HEAD, gap("F-FT", "F-FT/none"), 0.0), HEAD,
                 {"pruned minus initial": gap("pruned", "initial")})),
    Claim("pruning-alone", CONTROL, "Pruning adds to fine-tuning on all noisy data", "",
          "no partition for the tuning: pruned and tuned on all minus tuned on all; "
          f"asked for when the runs had been seen; {ABOVE_ZERO}",
          beside(on_average(HEAD, gap("pruned+continue", "continue"), 0.0), HEAD,
                 {"pruned minus initial": gap("pruned", "initial")})),
    Claim("not-random-units", CONTROL, "Pruning by regression beats random units", "",
          f"{ABOVE_ZERO}; inconclusive where neither pruning moves the initial model "
          "by 2 points",
          beside(on_average(HEAD, gap("F-FT", "F-FT/random"), 0.0), HEAD,
                 {"pruned minus initial": gap("pruned", "initial"),
                  "random units minus initial": gap("pruned/random", "initial")},
                 MARGIN)),
    Claim("not-random-part", CONTROL, "The kept part beats a random part of its size",
          "", ABOVE_ZERO, on_average(HEAD, gap("F-FT", "F-FT/random subset"), 0.0)),
    Claim("beats-trivial", CONTROL, "The partition beats counting pixels at 0 or 1", "",
          ABOVE_ZERO, on_average(HEAD, gap("F-FT", "F-FT/trivial subset"), 0.0)),
    Claim("clean-part", CONTROL, "Even the truly clean part beats fine-tuning on all "
          "noisy data", "", "F-FT on the truly clean images minus fine-tuning on all, "
          f"with as many epochs and so with half the steps; {ABOVE_ZERO}",
          on_average(HEAD, gap("F-FT/clean subset", "continue"), 0.0)),
    Claim("clean-size", CONTROL, "The truly clean part beats a random part of the kept "
          "part's size", "", "with about as many steps; F-FT on either, asked for when "
          f"the runs had been seen; {ABOVE_ZERO}",
          on_average(HEAD, gap("F-FT/clean subset", "F-FT/random subset"), 0.0)),
    Claim("like-clean", CONTROL, "The kept part does as well as the truly clean one",
          "", "F-FT minus F-FT on the truly clean images, with as many epochs; asked "
          "for when the runs had been seen; reproduced: surely loses less than 2 "
          "points; contradicted: surely more",
          on_average(HEAD, gap("F-FT", "F-FT/clean subset"), -MARGIN, 0.0)),
    Claim("lead-head", LEADS, "L-FT loses against the network that it starts from",
          "", f"level 4.5: initial minus L-FT; {ABOVE_ZERO}",
          on_average(T5, gap("initial", "L-FT"), 0.0)),
    Claim("lead-full", LEADS, "F-FT loses against the network that it starts from",
          "", f"level 4.5: initial minus F-FT; {ABOVE_ZERO}",
          on_average(T5, gap("initial", "F-FT"), 0.0)),
    Claim("lead-noise", LEADS, "The partition finds the noise fairly well", "",
          f"level 4.5: AUROC; reproduced: surely above {FAIR_AUROC}; contradicted: "
          "surely below", on_average(T5, auroc, FAIR_AUROC, 0.0), None, ""),
    Claim("lead-labels", LEADS, "Under wrong labels the partition is chance", "",
          f"AUROC; reproduced: surely within {CHANCE:g} of a half; contradicted: "
          "surely beyond", near_chance(auroc, CHANCE), None, ""),
    Claim("reduced-split", LEADS, "The authors' notebook, reduced: the partition is "
          "near-perfect", "", "share of samples on their right side, whichever part is "
          f"called good; reproduced: surely above {NEAR_PERFECT:.0%}; contradicted: "
          "surely below",
          on_average(HEAD, split_accuracy, NEAR_PERFECT, 0.0), None, "share", REDUCED),
    Claim("reduced-collapse", LEADS, "The authors' notebook, reduced: F-FT collapses "
          "where the noisy part was kept", "", "initial minus F-FT in those runs, if "
          f"the partition separates (AUROC of at least {FAIR_AUROC}); reproduced: "
          "surely more than 2 points; contradicted: surely less",
          where_noisy_kept(HEAD, gap("initial", "F-FT"), FAIR_AUROC, MARGIN),
          place=REDUCED),
    Claim("reduced-head", LEADS, "The authors' notebook, reduced: L-FT loses against "
          "the network that it starts from", "", f"initial minus L-FT; {ABOVE_ZERO}",
          on_average(HEAD, gap("initial", "L-FT"), 0.0), place=REDUCED),
    Claim("reduced-full", LEADS, "The authors' notebook, reduced: F-FT loses against "
          "the network that it starts from", "", f"initial minus F-FT; {ABOVE_ZERO}",
          on_average(HEAD, gap("initial", "F-FT"), 0.0), place=REDUCED),
    Claim("batchnorm", CONTROL, "Re-estimating BatchNorm alone gains over the "
          "initial model", "", ABOVE_ZERO,
          on_average(HEAD, gap("recalibrated", "initial"), 0.0)),
    Claim("wrong-part", CONTROL, "Fine-tuning on the noisier part costs accuracy", "",
          f"initial minus F-FT on that part, whichever was kept; {ABOVE_ZERO}",
          on_average(HEAD, noisier_part_costs, 0.0)),
)  # fmt: skip


def judged_claims(ledger: Ledger) -> list[ClaimRow]:
    """Every claim in every protocol and tier that the ledger's rows have, and in that
    of the authors' notebook, reduced."""
    places = dict.fromkeys([*((r.protocol, r.tier) for r in ledger.rows), REDUCED])
    return [
        row
        for place in places
        for family in (PAPER, CONTROL, LEADS)
        for row in one_family(ledger.evidence, family, *place)
    ]


def one_family(
    evidence: Evidence, family: str, protocol: str, scale: str
) -> list[ClaimRow]:
    """The claims of a family in one protocol and tier, corrected together."""
    here = (protocol, scale)
    # the reduced notebook's runs answer what they were made for, and nothing else
    asked = {here} if here == REDUCED else {here, None}
    claims = [c for c in CLAIMS if c.family == family and c.place in asked]
    judged = corrected([c.judge(evidence, protocol, scale) for c in claims])
    return [as_row(c, j, protocol, scale) for c, j in zip(claims, judged, strict=True)]


def as_row(claim: Claim, judged: Judgement, protocol: str, scale: str) -> ClaimRow:
    """A claim, or one of ``forgetting_claims``, and its judgement in one row."""
    found, two = judged.found, judged.found is not None and judged.found.n > 1
    if two:
        found = found.within(*RANGES[claim.unit])
    shown = ("key", "family", "words", "source", "rule", "unit")
    return ClaimRow(
        **{name: getattr(claim, name) for name in shown},
        paper=tidy_float(claim.printed),
        protocol=protocol,
        tier=scale,
        n=found.n if found else 0,
        ours=tidy_float(found.mean) if found else None,
        low=tidy_float(found.low) if two else None,
        high=tidy_float(found.high) if two else None,
        verdict=judged.verdict,
        reason=judged.reason,
        detectable=tidy_float(judged.detectable) if two else None,
        p_holm=tidy_float(judged.p) if two else None,
    )


def amount(row: ClaimRow, name: str = "ours", *, sign: bool = True) -> str:
    """One of a claim's numbers in its unit; "" where it has none. Points and
    correlations are differences and have a sign."""
    value = getattr(row, name)
    if value is None:
        return ""
    plus = "+" if sign else ""
    forms = {
        "points": f"{100 * value:{plus}.1f} points",
        "correlation": f"{value:{plus}.3f}",
        "share": f"{value:.0%}",
        "ms": f"{1000 * value:.1f} ms",
    }
    return forms.get(row.unit, f"{value:.3g}")
