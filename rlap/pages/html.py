"""HTML is made here and nowhere else, so that text is escaped in one place."""

from __future__ import annotations

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
    return Html("".join(p if isinstance(p, Html) else escape(str(p)) for p in parts))


def lines(*parts: object) -> Html:
    """The parts one below the other; empty ones are left out."""
    kept = [joined(p) for p in parts if p not in ("", None)]
    return Html("<br>".join(kept))


def small(text: object) -> Html:
    """A remark."""
    return tag("small", text)


def mark(verdict: str, *, own: bool = False) -> Html:
    """A verdict with its sign; ``own``: of a hypothesis of ours."""
    word = OWN.get(verdict, verdict) if own else verdict
    kind = "verdict " + verdict.replace(" ", "-")
    return tag("span", f"{SIGNS[verdict]} {word}", class_=kind)


def because(verdict: str, why: str, *, own: bool = False) -> Html:
    """A verdict that tells its reason when it is opened, by any means there is."""
    shown = mark(verdict, own=own)
    if not why:
        return shown
    return tag("details", tag("summary", shown), small(why), class_="why")


def table(frame: pd.DataFrame, *, label: str | None = None, kind: str = "") -> Html:
    """A table of a frame's columns; its index is not shown. ``label``: the id of its
    caption. On a narrow screen each row becomes a card, for which cells know their
    column's name."""
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
    shown = tag("table", *inside, class_="table", role="table", aria_labelledby=label)
    return tag("div", shown, class_=f"ledger-box {kind}".strip())
