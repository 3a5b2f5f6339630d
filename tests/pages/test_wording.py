"""Whatever a page asks for is said in the book's words, with numbers as it writes
them: every table, number and state, from the committed records."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from conftest import overlaps

from rlap.pages import asked
from rlap.pages.ledger import rows
from rlap.pages.tables.numbers import told_by
from rlap.pages.tables.told import reason

PAGES = Path(__file__).resolve().parents[2] / "book"
ASKED = re.compile(r"^```\{ledger-(table|explorer)\} (.+)$|\{ledger\}`([^`]+)`", re.M)
# what must not be read anywhere -> an example of it
NEVER = {
    r"[-+−]0\.0*(?![\d.])": "[−4.7, −0.0]",
    r"\d ?%": "47 %",  # a space that may break, or none
    r"p = 0\.000": "p = 0.000 (Holm)",
    r"\{limit\}": "surely below {limit}",
    r"(?<!area under )\bthe (margin|threshold)\b": "surely below the threshold",
    r"\bworst of 1\b": "worst of 1: level 9",
    r"could have told|could be seen": "which could have told 8.5 points",
    r"\b(gaussian|symmetric|asymmetric)_\w+|\bcifar10n?\b": "gaussian_clamped rate 0.9",
    r"\bspeech_c\w+": "speech_cnn",
    r"\b(mixture from kmeans|of width \d+)": "mixture from kmeans",
    r"\b(minus|a|>) (retrain|initial(?! network))\b": "F-FT minus retrain",
    r"\binitial (minus|decayed)\b": "initial minus L-FT",
    r"\btable \d": "table 5, 0, F-FT",
    r"\bs an epoch": "L-FT, s an epoch",
    r"\bnew head\b": "relearned with a new head",
    r"\bpercent\b": "in percent",
}
CODE = ("protocol fields",)  # a table of names and values of the code


@pytest.fixture(scope="module")
def book():
    return asked.Book()


@pytest.mark.parametrize(("never", "example"), NEVER.items())
def test_the_examples_are_found(never, example):
    assert re.search(never, example)


def said(book) -> dict[str, str]:
    """What each page gets to its questions, as a reader sees it."""
    found = {}
    for page in sorted([*PAGES.glob("*.md"), *PAGES.glob("tables/*.md")]):
        for kind, name, number in ASKED.findall(page.read_text(encoding="utf-8")):
            if name in CODE:
                continue
            where = f"{page.stem}, {name or number}"
            answer = asked.ask(
                kind or "number", " ".join((name or number).split()), book
            )
            if not number:
                frame = answer.frame
                if kind == "explorer":
                    frame = frame.drop(columns=["value", "beside"])
                rows = [frame.columns, *frame.drop_duplicates().itertuples(index=False)]
                answer = "\n".join("\n".join(map(str, row)) for row in rows)
            found[where] = unescape(re.sub(r"<[^>]*>", "\n", answer))
    return found


def test_pages_say_it_in_the_books_words(book):
    texts = said(book)
    texts["every row"] = "\n".join(
        "\n".join(map(str, rows.row_told(r)[:-1])) for r in book.ledger.rows if r.n
    )
    wrong = [
        (where, line, never)
        for where, text in texts.items()
        for line in text.splitlines()
        for never in NEVER
        if re.search(never, line)
    ]
    assert wrong == []


def test_a_reason_tells_its_p_once(book):
    told = [told_by(g) for g in book.ledger.gains if g.n]
    assert told and all(len(re.findall(r"\bp [=<]", text)) <= 1 for text in told)
    told += [reason(r) for r in book.ledger.rows if r.n]
    assert not any("of 0.0 would" in text for text in told)


def test_words_that_lie_on_one_another_are_seen():
    figure = plt.figure(figsize=(4, 0.5))
    figure.subplots().set_yticks([0, 1], ["one\ntwo\nthree"] * 2)
    assert overlaps(figure)
    figure.set_figheight(4)
    assert overlaps(figure) == []
    plt.close(figure)


@pytest.mark.parametrize("which", "123456")
def test_a_grid_of_verdicts_says_once_what_varies(book, which):
    figure = asked.ask("picture", f"verdict grid: {which}", book).figure
    assert bool(figure.get_supxlabel()) == (which not in "26")
    assert overlaps(figure) == []


@pytest.mark.parametrize("which", "123456")
def test_a_tables_figure_says_what_varies(book, which):
    """Below the last panel of each column, unless the places have names."""
    figure = asked.ask("picture", f"paper and ours: {which}", book).figure
    assert overlaps(figure) == []
    shown = [ax for ax in figure.axes if ax.get_visible()]
    last = {ax.get_subplotspec().colspan.start: ax for ax in shown}
    assert last
    for ax in last.values():
        assert bool(ax.get_xlabel()) == (which not in "26")
