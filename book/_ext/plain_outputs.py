"""What notebooks show, as the rest of the book writes it.

Their cells are bound to records and stay as they are, so this is done to the page: a
table tells its columns on a phone and has at most five of them at once, a value that is
missing is an empty cell, arms have the names of the book, long listings of settings are
folded, and drawings stand in the page and take its text colour.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from bs4 import BeautifulSoup
from bs4.element import Tag
from lean_svg import lean

TABLE = re.compile(r"<table\b(?![^>]*\b(?:role|cards))[^>]*>.*?</table>", re.DOTALL)
# what stands right below a summary has been folded by an earlier build
PRINTED = re.compile(
    r"(?<!</summary>)"
    r'(<div class="output (?:stream|text_plain)[^"]*"><div class="highlight">)'
    r"<pre><span></span>(.*?)</pre>(\s*</div>\s*</div>)", re.DOTALL
)  # fmt: skip
IMAGE = re.compile(r'<img alt="([^"]*)" src="(?:\.\./)*_images/([\w-]+\.svg)"[^>]*/?>')
TERM = re.compile(r'<a class="reference internal" href="([^"]*#term-[^"]*)">')
SAID = re.compile(r'<dt id="(term-[^"]*)">.*?<dd>(.*?)</dd>', re.DOTALL)
OPENS = re.compile(r"(?:\w+\(|\{)")  # of a value with its fields, a line each
MOST = 5  # columns that are shown side by side
LONG = 6  # lines of a listing that is folded
HEADS = {"auroc": "AUROC", "f1 %": "F1 %", "top3 %": "top-3 %"}
MISSING = {"NaN", "nan", "None"}
# what rows are that begin with such a one, where the table does not say
ROWS = {"initial network": "arm", "as it came": "arm", "original": "network"}


def plain(page: str) -> str:
    """A page of the book whose tables and printed cells read as all others."""
    page = TABLE.sub(lambda found: cards(found[0]), page)
    return PRINTED.sub(printed, page)


# --- tables -----------------------------------------------------------------------


def cards(table: str) -> str:
    """A table whose cells know their column's name, for which a phone shows each row as
    a card; one of pandas in the book's words, and in parts if it is wide."""
    soup = BeautifulSoup(table, "html.parser")
    made = soup.table
    head = made.thead.find_all("tr") if made.thead else []
    if not head:
        return table
    if is_pandas := "dataframe" in made.get("class", []):
        one_head(head)
        in_words(made)
        without_count(made)
        corner(made)
        del made["border"]
    names = [cell.get_text(" ", strip=True) for cell in head[0].find_all(["th", "td"])]
    for row in made.tbody.find_all("tr"):
        for cell, name in zip(row.find_all(["th", "td"]), names, strict=False):
            cell["data-label"] = name
    made["class"] = [*made.get("class", []), "cards"]
    return in_parts(made, len(names)) if is_pandas else str(made)


def one_head(head: list[Tag]) -> None:
    """pandas names the index in a second row: put it into the empty corner."""
    if len(head) > 1:
        head[0].find("th").string = head[1].find("th").get_text().strip()
        head[1].decompose()


def without_count(table: Tag) -> None:
    """Rows that are merely counted begin with their first value."""
    first = [row.find("th") for row in table.tbody.find_all("tr")]
    told = [cell.get_text().strip() if cell else "" for cell in first]
    empty = table.thead.find(["th", "td"])
    if empty.get_text(strip=True) or told != [str(i) for i in range(len(told))]:
        return
    if len(table.thead.find_all(["th", "td"])) < 2:
        return
    for cell in [empty, *first]:
        cell.decompose()
    for row in table.tbody.find_all("tr"):
        row.find("td").name = "th"


def corner(table: Tag) -> None:
    """The heading above the names of the rows: what they are, if that is known, else a
    word for those who hear it."""
    first = table.thead.find(["th", "td"])
    if first.get_text(strip=True):
        return
    first.name, first["scope"] = "th", "col"
    row = table.tbody.find(["th", "td"])
    if known := ROWS.get(row.get_text(strip=True) if row else ""):
        first.string = known
    else:
        word = BeautifulSoup('<span class="visually-hidden">row</span>', "html.parser")
        first.clear()
        first.append(word)


def typeset(text: str) -> str:
    """A text whose per cent signs stand as in the rest of the book."""
    return re.sub(r"(?<=\d)%", "\u00a0%", text)


def in_words(table: Tag) -> None:
    """The book's names and signs in a table of pandas."""
    from rlap.figures.said import said, true_minus

    for cell in table.find_all(["th", "td"]):
        text = typeset(re.sub(r"(?<=\w)'", "’", cell.get_text().strip()))
        told = "" if text in MISSING else HEADS.get(text, true_minus(text))
        cell.string = said(told) if cell.name == "th" or told == said(told) else told
    for row in table.thead.find_all("tr"):
        del row["style"]  # to the right
        for cell in row.find_all("th"):
            cell["scope"] = "col"


def in_parts(table: Tag, columns: int) -> str:
    """A table of more than ``MOST`` columns: two halves, of many the first columns and
    the others folded."""
    if columns <= MOST:
        return str(table)
    few = columns < 2 * MOST - 2
    each = columns // 2 if few else MOST - 1  # beside the first, which all parts have
    parts = []
    for start in range(1, columns, each):
        part = BeautifulSoup(str(table), "html.parser").table
        for row in part.find_all("tr"):
            for i, cell in enumerate(row.find_all(["th", "td"])):
                if i and not start <= i < start + each:
                    cell.decompose()
        if start > 1:
            told = BeautifulSoup("<caption>continued</caption>", "html.parser")
            part.insert(0, told)
        parts.append(str(part))
    if few:
        return "".join(parts)
    rest = f"<summary>{columns - MOST} more columns</summary>{''.join(parts[1:])}"
    return f'{parts[0]}<details class="ledger-fold">{rest}</details>'


# --- what was printed -------------------------------------------------------------


def printed(found: re.Match) -> str:
    """What a cell printed, its listings folded; a file's bare name says nothing."""
    from rlap.figures.said import in_words

    before, text, after = found[1], found[2].rstrip("\n"), found[3]
    if text in ("'record.json'", "&#39;record.json&#39;"):
        return ""
    made = []
    for is_listing, lines in blocks(text.split("\n")):
        shown = "\n".join(lines)
        if not is_listing:
            told = typeset(in_words(shown)).replace(" -&gt; ", " → ")
            shown = f"{before}<pre><span></span>{told}\n</pre>{after}"
            made.append(shown)
            continue
        shown = f"{before}<pre><span></span>{shown}\n</pre>{after}"
        name = f"{lines[0].split('(')[0]}, " if lines[0][0] != "{" else "Values, "
        told = f"<summary>{name}{len(lines)} lines</summary>"
        made.append(f'<details class="ledger-fold">{told}{shown}</details>')
    return "".join(made)


def blocks(lines: list[str]) -> list[tuple[bool, list[str]]]:
    """The lines in turns: what is said, and listings of at least ``LONG`` lines."""
    found: list[tuple[bool, list[str]]] = []
    while lines:
        length = listing(lines)
        taken = lines[: max(1, length)]
        if length or not found or found[-1][0]:
            found.append((bool(length), taken))
        else:
            found[-1][1].extend(taken)
        lines = lines[len(taken) :]
    return found


def listing(lines: list[str]) -> int:
    """How many lines the value has that begins here; 0 if none does, or a short one."""
    if not OPENS.match(lines[0]):
        return 0
    depth = 0
    for i, line in enumerate(lines, 1):
        text = unescape(line)
        depth += sum(text.count(c) for c in "([{") - sum(text.count(c) for c in ")]}")
        if depth <= 0:
            return i if i >= LONG else 0
    return 0


# --- drawings and terms -----------------------------------------------------------


def with_drawings(page: str, images: Path) -> str:
    """A page that holds its kernel's drawings itself, in its own text colour."""
    from results import inline

    def drawn(found: re.Match) -> str:
        file = images / found[2]
        if not file.is_file():
            return found[0]
        return inline(lean(file.read_text("utf-8"), found[2]), unescape(found[1]))

    return IMAGE.sub(drawn, page)


def terms(glossary: str) -> dict[str, str]:
    """Each term's anchor and what the glossary says of it, as an attribute's text."""
    told = {}
    for anchor, text in SAID.findall(glossary):
        plain = re.sub(r"\\\((.*?)\\\)", r"\1", re.sub(r"<[^>]*>", "", text))
        told[anchor] = " ".join(plain.split()).replace('"', "&quot;")
    return told


def with_terms(page: str, told: dict[str, str]) -> str:
    """A page whose links to the glossary say on hover what stands there."""

    def titled(found: re.Match) -> str:
        text = told.get(found[1].partition("#")[2])
        return f'{found[0][:-1]} title="{text}">' if text else found[0]

    return TERM.sub(titled, page)
