"""The ledger's rows of the two papers on forgetting a class: their claims and our
controls, with verdicts, as those of the first paper have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlap.ledger import claims
from rlap.ledger.claims import ClaimRow
from rlap.ledger.forgetting_claims import CLAIMS, judged
from rlap.ledger.forgetting_evidence import NPP, OSP, Place, Runs, filed
from rlap.ledger.verdicts import not_run

ABOUT = {NPP: "LRA-NPP", OSP: "OSP"}


def claim_rows(records: Sequence[Mapping]) -> list[ClaimRow]:
    """A row for each claim at each place (paper, network, tier, strength of a penalty)
    that ``records`` hold any run of; for a paper without runs, a row a claim, not run.
    """
    places = filed(records)
    run = {place.notebook for place in places}
    nothing = not_run("no records")
    idle = [
        replace(claims.as_row(claim, nothing, "", ""), about=ABOUT[claim.notebook])
        for claim in CLAIMS
        if claim.notebook not in run
    ]
    return [row for place, runs in places.items() for row in at(place, runs)] + idle


def at(place: Place, runs: Runs) -> list[ClaimRow]:
    """The rows of one place."""
    here = {"network": place.model, "strength": place.strength}
    return [
        replace(
            claims.as_row(claim, found, "", place.tier),
            about=ABOUT[place.notebook],
            **here,
        )
        for claim, found in judged(place, runs)
    ]
