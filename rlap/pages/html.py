"""HTML is made here and nowhere else, so that text is escaped in one place."""

from __future__ import annotations

import re
from html import escape

import pandas as pd

SIGNS = {"reproduced": "●", "contradicted": "✕", "inconclusive": "○", "not run": "–"}
# of our own hypotheses: "reproduced" is a word for what a paper says
OWN = {"reproduced": "holds", "contradicted": "fails", "inconclusive": "open"}


class Html(str):
    """Text that is HTML already: what ``tag`` returns."""

    __slots__ = ()


def tag(name: str, *inside: object, **attributes: object) -> Html:
    """An element; whatever is in it is escaped unless ``tag`` made it.

    ``class_`` is the attribute "class", ``data_x`` is "data-x"; None leaves one out.

    >>> tag("td", "1 < 2", title='"so"')
    '<td title="&quot;so&quot;">1 &lt; 2</td>'
    """
    named = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{named}>{joined(*inside)}</{name}>")


def joined(*parts: object) -> Html:
    """The parts side by side, escaped unless ``tag`` made them."""
    return Html("".join(p if isinstance(p, Html) else escaped(p) for p in parts))


def escaped(text: object) -> str:
    """Text with the apostrophes of the prose around it.

    >>> escaped("1 < 2, after Holm's")
    '1 &lt; 2, after Holm’s'
    """
    return escape(re.sub(r"(?<=\w)'", "’", str(text)))


def lines(*parts: object) -> Html:
    """The parts one below the other; empty ones are left out."""
    kept = [joined(p) for p in parts if p not in ("", None)]
    return Html("<br>".join(kept))


def small(text: object) -> Html:
    """A remark; nothing for none."""
    return tag("small", text) if text else Html()


def mark(verdict: str, *, own: bool = False) -> Html:
    """A verdict with its sign; ``own``: of a hypothesis of ours."""
    word = OWN.get(verdict, verdict) if own else verdict
    kind = "verdict " + verdict.replace(" ", "-")
    return tag("span", f"{SIGNS[verdict]} {word}", class_=kind)


def because(verdict: str, why: str, *, own: bool = False, brief: str = "") -> Html:
    """A verdict that tells its reason when it is opened, by any means there is;
    ``brief``: what is seen of it before, and not said again."""
    shown = joined(mark(verdict, own=own), small(brief))
    if not why:
        return shown
    kind = "why brief" if brief else "why"
    return tag("details", tag("summary", shown), small(why), class_=kind)


MOST = 5  # columns that a reader takes in side by side


def table(
    frame: pd.DataFrame,
    *,
    label: str | None = None,
    kind: str = "",
    named: str | None = None,
) -> Html:
    """A frame's columns, its index left out; of more than ``MOST`` as several tables,
    each with the first column. ``label``: the id of the caption; ``named``: what stands
    for one. On a narrow screen each row becomes a card, for which cells know their
    column's name."""
    parts = [frame]
    if frame.shape[1] > MOST:
        each = range(1, frame.shape[1], MOST - 1)
        parts = [frame.iloc[:, [0, *range(frame.shape[1])[i : i + MOST - 1]]]
                 for i in each]  # fmt: skip
    shown = [one_table(part, label, None if label else named) for part in parts]
    return tag("div", *shown, class_=f"ledger-box {kind}".strip())


def one_table(frame: pd.DataFrame, label: str | None, named: str | None) -> Html:
    """A table as wide as the frame."""
    names = [str(name) for name in frame.columns]
    head = tag("tr", *(tag("th", n, scope="col", role="columnheader") for n in names),
               role="row")  # fmt: skip
    body = []
    for row in frame.itertuples(index=False):
        first, *rest = zip(names, row, strict=True)
        cells = [
            tag("th", first[1], scope="row", role="rowheader", data_label=first[0])
        ]
        cells += [tag("td", v, role="cell", data_label=n) for n, v in rest]
        body.append(tag("tr", *cells, role="row"))
    inside = tag("thead", head, role="rowgroup"), tag("tbody", *body, role="rowgroup")
    return tag("table", *inside, class_="table", role="table", aria_labelledby=label,
               aria_label=named)  # fmt: skip
