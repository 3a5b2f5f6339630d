"""Orderings: whether the arms of a table stand in the order that the paper prints.

At each setting of a table the printed accuracies order the methods (initial, L-FT, F-FT
and retrain); in Table 2, at each stage, the criteria. Equal numbers impose no order. An
ordering is a chain of adjacent pairs, each tested by the differences of its two arms,
paired by seed: reproduced when all of them surely hold, which needs no correction;
contradicted when one is surely reversed, after Holm's correction over the pairs; else
inconclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, product

from rlap.ledger import paper
from rlap.ledger.cells import setting_for
from rlap.ledger.evidence import Evidence
from rlap.ledger.paper import Cell
from rlap.ledger.rows import differences, short
from rlap.ledger.verdicts import (
    NOT_RUN,
    REPRODUCED,
    Judgement,
    all_of,
    corrected,
    judge_above,
)

Chain = list[list[Cell]]  # best first; equal numbers together


@dataclass(frozen=True)
class Ordering:
    """The printed order at one setting of a table, in one protocol and tier.

    ``printed`` reads "F-FT > L-FT > retraining > initial network"; ``n`` counts the
    seeds that every pair has; ``reason`` says which pair decided.
    """

    table: int
    setting_value: str
    printed: str
    protocol: str
    tier: str
    n: int
    verdict: str
    reason: str


def chains(table: int) -> Iterator[Chain]:
    """The orders that a table prints; ``ValueError`` unless it is 1 to 6."""
    cells = [c for c in paper.of_table(table) if c.metric == "accuracy"]
    by_criterion = table == 2
    families: dict[tuple, list[Cell]] = {}
    for cell in cells:
        family = (cell.setting_value, cell.method if by_criterion else "")
        families.setdefault(family, []).append(cell)
    for family in families.values():
        family.sort(key=lambda c: -c.value)
        yield [list(same) for _, same in groupby(family, key=lambda c: c.value)]


def pairs(chain: Chain) -> list[tuple[Cell, Cell]]:
    """Who is printed right above whom."""
    return [pair for two in pairwise(chain) for pair in product(*two)]


def told(chain: Chain) -> str:
    """ "F-FT > L-FT = retraining > initial network"."""
    return " > ".join(" = ".join(map(short, same)) for same in chain)


def judge(chain: Chain, evidence: Evidence, protocol: str, tier: str) -> Ordering:
    """The verdict on one printed order."""
    first = chain[0][0]
    seeds = evidence.at(protocol, tier, setting_for(first))
    tests = {
        f"{short(above)} minus {short(below)}": judge_above(
            differences(seeds, above, below), 0.0, 0.0
        )
        for above, below in pairs(chain)
    }
    verdict = all_of(list(tests.values()))
    if verdict != REPRODUCED:
        judged = corrected(list(tests.values()))
        tests = dict(zip(tests, judged, strict=True))
        verdict = all_of(judged)
    counts = [j.found.n if j.found else 0 for j in tests.values()]
    return Ordering(
        table=first.table,
        setting_value=first.setting_value,
        printed=told(chain),
        protocol=protocol,
        tier=tier,
        n=min(counts),
        verdict=verdict,
        reason=why(verdict, tests),
    )


def why(verdict: str, tests: dict[str, Judgement]) -> str:
    """What decided: the pairs that have the verdict of the whole."""
    if verdict == REPRODUCED:
        return "each surely above the next"
    if verdict == NOT_RUN:
        some = any(j.verdict != NOT_RUN for j in tests.values())
        return "these runs do not have every arm" if some else "no records"
    own = {k: j for k, j in tests.items() if j.verdict == verdict}
    found = {k: f"{j.found.points()} points" for k, j in own.items()}
    return "; ".join(f"{k} {found[k]}, {j.worded()}" for k, j in own.items())


def orderings(
    evidence: Evidence, places: Sequence[tuple[str, str]], table: int
) -> list[Ordering]:
    """Every order that a table prints, in each of ``places`` (protocol, tier)."""
    return [
        judge(chain, evidence, *place) for chain in chains(table) for place in places
    ]
