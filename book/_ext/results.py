"""Sphinx extension: pages ask the ledger by name, and need no kernel for it.

    {ledger}`gap: F-FT, retrain, released`

    ```{ledger-figure} headline
    :name: fig-headline
    :alt: Accuracy of ...
    The caption, which may ask {ledger}`seeds: released`.
    ```

    ```{ledger-table} verdict counts
    :fold: How many verdicts there are
    The caption.
    ```

What can be asked for is in ``rlap.pages``; a name that is not there is an error at its
own line. Figures are drawn as SVG in the page's own text colour, and can be downloaded
as SVG with their numbers as CSV. Pages are read again when records or the code that
shows them change.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from lean_svg import lean
from sphinx.util.docutils import SphinxDirective, SphinxRole

FILES, ROWS = "_downloads/figures", "_downloads/ledger"
DOT = "\u00a0· "  # begins no line
BOOKS: dict[str, Any] = {}


def the_book() -> Any:
    """The records, read once a build and only if a page asks."""
    from rlap.pages.asked import Book

    return BOOKS.setdefault("now", Book())


def ask(kind: str, words: str) -> Any:
    """What ``rlap.pages`` answers."""
    from rlap.pages import asked

    return asked.ask(kind, " ".join(words.split()), the_book())


class Ledger(SphinxRole):
    """A number in a sentence."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The text, or an error at the role's line."""
        note(self.env)
        try:
            return [nodes.Text(ask("number", self.text))], []
        except LookupError as error:
            told = self.inliner.reporter.error(str(error), line=self.own_line())
            return [self.inliner.problematic(self.rawtext, self.rawtext, told)], [told]

    def own_line(self) -> int:
        """Where in the page the role stands: what is known is its paragraph's line."""
        path = Path(self.env.doc2path(self.env.docname))
        lines = path.read_text(encoding="utf-8").splitlines()
        asked = " ".join(f"{{ledger}}`{self.text}`".split())
        for i in range(max(0, self.lineno - 1), len(lines)):
            if 0 <= " ".join(lines[i : i + 3]).find(asked) < len(lines[i]):
                return i + 1
        return self.lineno  # of a notebook, whose lines are others


class Shown(SphinxDirective):
    """What table and figure share: the name, the caption, the line on the records."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True

    def answer(self, kind: str) -> Any:
        """What was asked for; ``DirectiveError`` at this line for a wrong name."""
        note(self.env)
        try:
            return ask(kind, self.arguments[0])
        except LookupError as error:
            raise self.error(str(error)) from None

    def caption(self) -> list[nodes.Node]:
        """The content as inline nodes."""
        text, messages = self.state.inline_text("\n".join(self.content), self.lineno)
        return [*text, *messages]

    def source(self, found: Any) -> str:
        """What it rests on; "" where no record is behind it."""
        from rlap.pages.words import made_from

        told = made_from(found.records, found.grids) if found.records else ""
        return told.replace(" · ", DOT)


class LedgerTable(Shown):
    """A table of a page, with its caption above and its records below."""

    option_spec = {"fold": directives.unchanged, "name": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """A container; in ``details`` with the option fold, and nothing where such a
        table is idle: a reader would open it for nothing."""
        from rlap.pages import html

        found = self.answer("table")
        fold = self.options.get("fold")
        if fold and found.idle:
            return []
        box = nodes.container(classes=["ledger-table"])
        label = f"table-{self.env.new_serialno('ledger-table')}"
        if self.content:
            caption = nodes.paragraph(
                "", "", *self.caption(), classes=["table-caption"]
            )
            caption["ids"] = [label]
            box += caption
        shown = html.table(found.frame, label=label if self.content else None,
                           kind=found.kind, named=fold)  # fmt: skip
        if line := self.source(found):
            shown = html.joined(shown, html.tag("p", line, class_="made-by"))
        box += nodes.raw("", shown, format="html")
        if not fold:
            return [box]
        opened = html.tag("summary", fold)
        start = f'<details class="ledger-fold">{opened}'
        return [
            nodes.raw("", start, format="html"),
            box,
            nodes.raw("", "</details>", format="html"),
        ]


class LedgerFigure(Shown):
    """A picture, drawn here, with a number, its caption and its downloads."""

    option_spec = {
        "name": directives.unchanged_required,
        "alt": directives.unchanged_required,
        "class": directives.class_option,
    }

    def run(self) -> list[nodes.Node]:
        """A figure node; ``DirectiveError`` without words for who cannot see it."""
        from rlap.pages import html

        alt, name = (self.options.get(key) for key in ("alt", "name"))
        if not alt or not name or not self.content:
            raise self.error("a figure needs :name:, :alt: and a caption")
        found = self.answer("picture")
        drawn = svg_of(found.figure, name)
        folder = Path(self.env.app.outdir) / FILES
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.svg").write_text(drawn, encoding="utf-8")
        (folder / f"{name}.csv").write_text(found.data.to_csv(index=False), "utf-8")
        up = "../" * self.env.docname.count("/") + FILES
        source = self.source(found)
        links = html.tag(
            "p", source, DOT if source else "",
            html.tag("a", "SVG", href=f"{up}/{name}.svg", download=""), DOT,
            html.tag("a", "numbers (CSV)", href=f"{up}/{name}.csv", download=""),
            class_="made-by",
        )  # fmt: skip
        box = inline(drawn, alt)
        figure = nodes.figure("", nodes.raw("", box, format="html"))
        figure["classes"] += ["ledger-figure", *self.options.get("class", [])]
        figure += nodes.caption("", "", *self.caption())
        figure += nodes.legend("", nodes.raw("", links, format="html"))
        self.add_name(figure)
        self.set_source_info(figure)
        return [figure]


class LedgerExplorer(Shown):
    """States to choose among; ``explore.js`` draws the one that is chosen. The option
    beside says what the line marks that stands beside a bar."""

    option_spec = {"beside": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """A container with a caption, the first state as a table, and all of them."""
        from rlap.pages import html

        found = self.answer("explorer")
        is_area = found.frame["what"].isin(found.areas)
        frame = found.frame.round(1)
        frame.loc[is_area, "value"] = found.frame["value"].round()  # two digits of it
        beside = self.options.get("beside", "beside")
        unit = "per cent; AUROC from 0 to 1" if found.areas else "per cent"
        named = {"value": unit, "beside": beside}
        first = frame.loc[:, list(found.keys)].iloc[0]
        still = frame[(frame[list(found.keys)] == first).all(axis=1)]
        told = [
            f"{v / 100:.2f}" if area else f"{v:.1f}"
            for v, area in zip(still["value"], is_area[still.index], strict=True)
        ]
        shown = still.drop(columns=list(found.keys)).assign(value=told)
        shown = shown.dropna(axis=1, how="all").rename(columns=named)
        chosen = "; ".join(f"{key}: {value}" for key, value in first.items())
        caption = nodes.paragraph("", "", *self.caption(), classes=["table-caption"])
        data = frame.to_json(orient="split", index=False)
        box = html.tag(
            "div", html.tag("p", chosen),
            html.table(shown.fillna(""), named=chosen),
            class_="explorer", data_states=data, data_keys="|".join(found.keys),
            data_beside=beside, data_unit=unit, data_areas="|".join(found.areas),
        )  # fmt: skip
        box = html.joined(box, html.tag("p", self.source(found), class_="made-by"))
        shown = nodes.container(classes=["ledger-table"])
        shown += [caption, nodes.raw("", box, format="html")]
        return [shown]


class LedgerRows(Shown):
    """Every row of the ledger, with filters, and to download."""

    has_content = False
    required_arguments = 0

    def run(self) -> list[nodes.Node]:
        """Where ``ledger.js`` puts the rows."""
        from rlap.pages import html
        from rlap.pages.ledger import rows

        note(self.env)
        folder = Path(self.env.app.outdir) / ROWS
        folder.mkdir(parents=True, exist_ok=True)
        frame = rows.rows_frame(the_book())
        (folder / "rows.js").write_text(rows.rows_script(the_book()), encoding="utf-8")
        packed(folder / "rows.csv.zip", frame.to_csv(index=False))
        packed(folder / "rows.json.zip", frame.to_json(orient="split", index=False))
        mute = html.tag("p", "The filters need JavaScript; the pages of the six tables "
                        "show the same rows without it.")  # fmt: skip
        files = [
            html.tag("a", kind.upper(), href=f"{ROWS}/rows.{kind}.zip", download="")
            for kind in ("csv", "json")
        ]
        shown = "All rows, zipped: ", files[0], DOT, files[1]
        links = html.tag("p", *shown, class_="made-by")
        box = html.joined(html.tag("div", mute, id="rlap-ledger"), links,
                          html.tag("script", src=f"{ROWS}/rows.js"))  # fmt: skip
        return [nodes.raw("", box, format="html")]


def packed(path: Path, text: str) -> None:
    """Write a text zipped, under its name without ".zip"; equal text, equal file."""
    about = zipfile.ZipInfo(path.stem)  # of 1980
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(about, text, zipfile.ZIP_DEFLATED)


def svg_of(figure: Any, name: str) -> str:
    """A figure as SVG: text stays text, and the same drawing is the same file."""
    import matplotlib.pyplot as plt

    page = io.StringIO()
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(page, format="svg", metadata={"Date": None, "Creator": None})
    return lean(page.getvalue(), name)


def inline(svg: str, alt: str) -> str:
    """The drawing for a page: grey lines and text take the page's colour."""
    from rlap.figures.run import GREY
    from rlap.pages import html

    size = re.search(r'width="([\d.]+)pt"', svg)
    width = 1.7 * float(size.group(1))
    svg = re.sub(r'(<svg[^>]*?) width="[^"]+"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]+"', r"\1", svg, count=1)
    named = str(html.tag("title", alt))
    svg = re.sub(r"<svg([^>]*)>", r'<svg\1 role="img">{}', svg, count=1)
    svg = svg.replace("{}", named, 1).replace(GREY, "currentColor")
    return f'<div class="drawing" style="--drawn: {width:.0f}px">{svg}</div>'


def note(env: Any) -> None:
    """Remember that a page asks the ledger."""
    if not hasattr(env, "rlap_pages"):
        env.rlap_pages = set()
    env.rlap_pages.add(env.docname)


def outdated(app: Any, env: Any, added: set, changed: set, removed: set) -> list[str]:
    """The pages that asked, if what they asked has changed since."""
    now, before = app.rlap_results, getattr(env, "rlap_results", None)
    env.rlap_results = now  # kept with the environment between builds
    BOOKS.clear()
    asking = getattr(env, "rlap_pages", set()) & set(env.found_docs)
    return sorted(asking) if before != now else []


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_role("ledger", Ledger())
    app.add_directive("ledger-table", LedgerTable)
    app.add_directive("ledger-figure", LedgerFigure)
    app.add_directive("ledger-explorer", LedgerExplorer)
    app.add_directive("ledger-rows", LedgerRows)
    app.connect("env-get-outdated", outdated)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
