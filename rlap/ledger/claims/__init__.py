"""What the three papers claim, and what our records say of it.

``noise``, ``forgetting`` and ``rivals`` list the claims, each with its rule; ``rules``
has the rules, ``quantities`` what they measure in one record. Here they are judged:
Holm's correction runs over a family of claims in one place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlap.ledger.claims import forgetting, noise, rivals
from rlap.ledger.claims.rules import CONTROL, PAPER, RLAP, Claim, ClaimRow
from rlap.ledger.counts import amount
from rlap.ledger.evidence import Evidence, Runs
from rlap.ledger.verdicts import (
    MARGIN,
    Judgement,
    corrected,
    not_run,
    tail,
    tidy_float,
)

__all__ = ["CONTROL", "PAPER", "RLAP", "Claim", "ClaimRow", "amount"]

# where the numbers of a unit can lie: differences of accuracy and of correlations,
# saved shares (more than none can be lost), seconds saved, areas
RANGES = {
    "points": (-1.0, 1.0),
    "correlation": (-1.0, 1.0),
    "scale": (-1.0, 1.0),
    "deviations": (0.0, math.inf),
    "share": (-math.inf, 1.0),
    "ms": (-math.inf, math.inf),
    "": (0.0, 1.0),
}


def judged_claims(evidence: Evidence, margin: float = MARGIN) -> list[ClaimRow]:
    """Every claim of the first paper in every protocol and scale of the ledger, and in
    that of the authors' notebook, reduced."""
    places = dict.fromkeys([*evidence.places(), noise.REDUCED])
    return [row for place in places for row in at_place(evidence, *place, margin)]


def at_place(
    evidence: Evidence, protocol: str, tier: str, margin: float = MARGIN
) -> list[ClaimRow]:
    """The claims of the first paper in one protocol and scale."""
    place = protocol, tier
    # the reduced notebook's runs answer what they were made for, and nothing else
    asked = {place} if place == noise.REDUCED else {place, None}
    here = [claim for claim in noise.claims(margin) if claim.place in asked]
    return [
        as_row(claim, judged, protocol, tier)
        for claim, judged in by_family(here, evidence.runs(*place))
    ]


def forgetting_claims(evidence: Evidence, margin: float = MARGIN) -> list[ClaimRow]:
    """Every claim of the papers on forgetting at each place (network, tier, strength of
    a penalty) that was run; for a paper without runs, a row a claim, not run."""
    claims, rows = [*forgetting.claims(margin), *rivals.claims(margin)], []
    run = {forgetting.ABOUT[place.notebook] for place in evidence.files}
    for place, runs in sorted(evidence.files.items()):
        here = [c for c in claims if c.about == forgetting.ABOUT[place.notebook]]
        where = {"tier": place.tier, "network": place.model}
        for claim, judged in by_family(here, runs):
            rows.append(as_row(claim, judged, **where, strength=place.strength))
    idle = [claim for claim in claims if claim.about not in run]
    return rows + [as_row(claim, not_run("no records")) for claim in idle]


def by_family(claims: Sequence[Claim], runs: Runs) -> list[tuple[Claim, Judgement]]:
    """Claims judged by the runs of a place, each family corrected on its own."""
    found = []
    for family in dict.fromkeys(claim.family for claim in claims):
        members = [claim for claim in claims if claim.family == family]
        judged = corrected([claim.judge(runs) for claim in members])
        found += zip(members, judged, strict=True)
    return found


def as_row(
    claim: Claim, judged: Judgement, protocol: str = "", tier: str = "", **where: object
) -> ClaimRow:
    """A claim and its judgement in one row."""
    found = judged.found
    if found is not None and found.n > 1:
        found = found.within(*RANGES[claim.unit])
    shown = ("key", "family", "words", "source", "rule", "unit", "about")
    return ClaimRow(
        **{name: getattr(claim, name) for name in shown},
        paper=tidy_float(claim.printed),
        protocol=protocol,
        tier=tier,
        **where,
        **tail(judged, found, family=True, unit=claim.unit),
    )
