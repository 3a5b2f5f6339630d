"""What the page on differences shows, made from the records.

As in ``rlap.pages.ledger``, functions lay out what was computed elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from html import escape

from rlap.experiments.protocol import PROTOCOLS, Protocol, spelled
from rlap.ledger import differences
from rlap.ledger.cells import headline
from rlap.ledger.differences import Difference, Effect
from rlap.ledger.evidence import Evidence
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages.markup import html, mark, of_change, table


def register(evidence: Evidence) -> object:
    """The 43 differences with what each is worth."""
    lines = []
    for d in differences.register():
        how = " and ".join(f"<code>{name}</code>" for name in d.fields)
        how = how or " minus ".join(d.arms or ())
        how = "the printed numbers" if d.tables else how or "all runs" * bool(d.records)
        where = differences.PLACES[d.where]
        lines.append([str(d.number), escape(d.title), where, how, worth(evidence, d)])
    header = ["no.", "difference", "where", "measured by", "effect on accuracy, points"]
    return html(table(header, lines, "register"))


def worth(evidence: Evidence, d: Difference) -> str:
    """What was measured of a difference, or why nothing was."""
    if d.none:
        return f"{mark(NOT_RUN)}: {escape(d.none)}"
    told = [escape(line) for line in differences.from_records(evidence, d)]
    if d.tables:
        return "<br>".join([escape(differences.from_tables(d.tables)), *told])
    found = together(differences.effects(evidence, d))
    if found or (told and not d.fields):
        return "<br>".join(told + found)
    names = differences.wanted(d)
    todo = " or ".join(f"<code>{t}</code>" for t in names[:3])
    todo += f" and {len(names) - 3} more" if len(names) > 3 else ""
    return "<br>".join([*told, mark(NOT_RUN) + (f": would be {todo}" if todo else "")])


def protocol_fields() -> object:
    """Every field of a protocol: what it says, its values in the named ones, and the
    numbers of the differences that it stands for."""
    lines = []
    for f in fields(Protocol):
        values = [spelled(getattr(p, f.name)) for p in PROTOCOLS.values()]
        numbers = ", ".join(map(str, f.metadata["audit"]))
        says = escape(f.metadata["meaning"])
        lines.append([f"<code>{f.name}</code>", says, *values, numbers])
    return html(table(["field", "what it says", *PROTOCOLS, "no."], lines, "register"))


def together(found: Sequence[Effect]) -> list[str]:
    """Measured effects in words, a line for all arms of the same runs."""
    lines: dict[str, list[str]] = {}
    for e in found:
        where = [differences.short_name(e.base, e.setting.dataset), e.tier]
        if e.setting != headline(e.setting.dataset):
            where.append(str(e.setting))
        runs = f"{', '.join(where)}: {e.what}, n = {e.difference.n}"
        lines.setdefault(runs, []).append(f"{e.arm} {of_change(e.difference)}")
    return [f"{runs}: {'; '.join(arms)}" for runs, arms in lines.items()]
