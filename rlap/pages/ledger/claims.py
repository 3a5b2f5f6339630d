"""The papers' claims in words, and our own, with verdicts."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

from rlap.experiments.protocol import PROTOCOLS
from rlap.ledger.claims import CONTROL, PAPER
from rlap.ledger.claims.noise import LEADS
from rlap.ledger.verdicts import INCONCLUSIVE, NOT_RUN
from rlap.pages import words
from rlap.pages.asked import Book, Table, number, table
from rlap.pages.html import OWN, Html, because, lines, mark, small, tag

FAMILIES = {"paper": PAPER, "controls": CONTROL, "leads": LEADS}
WHERE = ("worst of ", "at ", "a verdict needs")  # parts of a reason that are no reason


def row_of(book: Book, key: str, protocol: str, scale: str) -> pd.Series:
    """A claim's row; ``LookupError`` where there is none."""
    found = book.claims
    mine = found[(found["key"] == key) & (found["protocol"] == protocol)
                 & (found["tier"] == scale)]  # fmt: skip
    if len(mine) != 1:
        known = sorted(found["key"].unique())
        raise LookupError(f"no claim {key!r} in {protocol}, {scale}; there is {known}")
    return mine.iloc[0]


@number
def claim(book: Book, key: str, protocol: str, scale: str = "small") -> str:
    """What a claim came to: "−2.8 [−4.1, −1.5] points"."""
    return words.claim(row_of(book, key, protocol, scale))


@number
def verdict(book: Book, key: str, protocol: str, scale: str = "small") -> str:
    """The verdict on a claim, in the word for its family."""
    row = row_of(book, key, protocol, scale)
    said = row["verdict"]
    return said if row["family"] == PAPER else OWN.get(said, said)


@number
def printed(book: Book, key: str) -> str:
    """What the paper's tables say of a claim, with its unit."""
    found = book.claims[book.claims["key"] == key]
    if found.empty or pd.isna(found.iloc[0]["paper"]):
        raise LookupError(f"the paper prints nothing of a claim {key!r}")
    row = found.iloc[0]
    return words.amount(row["unit"], row["paper"]) + words.UNITS.get(row["unit"], "")


@table
def claims(book: Book, family: str) -> Table:
    """The claims of a family, in every protocol and scale that has records for them;
    one line each where nothing was run."""
    if family not in FAMILIES:
        raise LookupError(f"no family {family!r}; there is {', '.join(FAMILIES)}")
    found = book.claims[book.claims["family"] == FAMILIES[family]]
    return shown(book, found)


@table
def claims_about(book: Book, *keys: str) -> Table:
    """Some claims, where they were run."""
    if unknown := set(keys) - set(book.claims["key"]):
        raise LookupError(f"no claim {sorted(unknown)}")
    return shown(book, book.claims[book.claims["key"].isin(keys)])


@table
def claims_in_short(book: Book, *asked: str) -> Table:
    """Claims of a family, or those of these keys, by the small network: a column for
    each named protocol."""
    found = book.claims
    if len(asked) == 1 and asked[0] in FAMILIES:
        mine = found[found["family"] == FAMILIES[asked[0]]]
    elif unknown := set(asked) - set(found["key"]):
        raise LookupError(f"no claim {sorted(unknown)}, nor such a family")
    else:
        mine = found[found["key"].isin(asked)]
    rows = []
    for key in mine["key"].unique():
        every = mine[mine["key"] == key]
        first = every.iloc[0]
        row = {"claim": lines(first["words"], small(rule_told(first)))}
        for protocol in PROTOCOLS:
            at = every[(every["protocol"] == protocol) & (every["tier"] == "small")]
            row[protocol] = in_short(at.iloc[0]) if len(at) else mark(NOT_RUN)
        rows.append(row)
    frame = pd.DataFrame(rows, columns=["claim", *PROTOCOLS])
    return Table(frame, list(book.evidence))


def in_short(row: pd.Series) -> Html:
    """What a claim came to, and its verdict with the reason; in brief without opening
    it."""
    if row["verdict"] == NOT_RUN:
        return mark(NOT_RUN)
    return lines(came_to(row), verdict_of(row))


def verdict_of(row: Mapping) -> Html:
    """The verdict on a claim: in brief why, and the rest when it is opened."""
    return because(row["verdict"], the_rest(row), own=row["family"] != PAPER,
                   brief=in_brief(row))  # fmt: skip


def rule_told(row: Mapping) -> str:
    """The rule of a claim in the words of its family's verdicts."""
    rule = words.told(row["rule"])
    if row["family"] == PAPER:
        return rule
    return re.sub("|".join(OWN), lambda found: OWN[found[0]], rule)


def came_to(row: Mapping) -> str:
    """What a claim came to; what has no unit is an AUROC."""
    return f"AUROC {words.claim(row)}" if row["unit"] == "" else words.claim(row)


def in_brief(row: Mapping) -> str:
    """Of which settings a claim shows the worst, and why it is open.

    >>> in_brief({"verdict": INCONCLUSIVE, "reason": "worst of 5: rate 0.9; surely "
    ...           "above, but not after Holm's correction (p = 0.167)"})
    "worst of 5 settings; surely above, but not after Holm's correction (p = 0.167)"
    """
    told, _ = divided(row)
    return words.told("; ".join(told))


def the_rest(row: Mapping) -> str:
    """What ``in_brief`` does not say of the reason, and the number of seeds.

    >>> the_rest({"verdict": INCONCLUSIVE, "n": 3,
    ...           "reason": "worst of 5: level 9; not sure either way"})
    'the worst: level 9; n = 3'
    """
    _, rest = divided(row)
    return words.told("; ".join([*rest, f"n = {row['n']}"]))


def divided(row: Mapping) -> tuple[list[str], list[str]]:
    """The parts of a claim's reason that are told in brief, and the others. Why one is
    open stands last, but where settings have not been run."""
    brief, rest = [], []
    parts = row["reason"].split("; ")
    why = [p for p in parts if not p.startswith(WHERE)]
    first = [p for p in why if p.endswith("settings run")]
    shown = (first or why[-1:]) if row["verdict"] == INCONCLUSIVE else []
    for part in parts:
        worst, colon, where = part.partition(": ")
        if worst.startswith("worst of ") and colon:
            brief.append(f"{worst} settings")
            rest.append(f"the worst: {where}")
        else:
            (brief if part in shown else rest).append(part)
    return brief, rest


def shown(book: Book, found: pd.DataFrame) -> Table:
    """Claims as a table: words and rule, where, ours, verdict."""
    rows = []
    for key in found["key"].unique():
        mine = found[found["key"] == key]
        run = mine[mine["verdict"] != NOT_RUN]
        for i, row in enumerate((run if len(run) else mine[:1]).to_dict("records")):
            rows.append(line_of(row, first=i == 0))
    frame = pd.DataFrame(rows, columns=["claim", "paper", "run", "ours", "verdict"])
    if not any(frame["paper"]):  # of controls it prints nothing
        frame = frame.drop(columns="paper")
    return Table(frame, list(book.evidence), (), "claims")


def line_of(row: dict, *, first: bool) -> list:
    """A claim in one protocol and scale; its rule stands in its first line alone, and
    its words are seen there, or where rows are cards."""
    ran = row["verdict"] != NOT_RUN
    told, printed = tag("span", row["words"], class_="again"), ""
    if first:
        told = lines(row["words"], small(rule_told(row)))
        printed = words.amount(row["unit"], row["paper"])
        printed = lines(printed, small(row["source"]) if row["source"] else "")
    run = words.run(row["protocol"], row["tier"]) if ran else ""
    if not ran:
        return [told, printed, run, "", mark(NOT_RUN)]
    return [told, printed, run, came_to(row), verdict_of(row)]
