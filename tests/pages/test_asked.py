"""What pages ask for by name is there, and a wrong name is told."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from conftest import overlaps

from rlap.ledger import counts
from rlap.ledger.verdicts import CONTRADICTED, REPRODUCED
from rlap.pages import asked

BOOK = Path(__file__).resolve().parents[2] / "book"
ROLE = re.compile(r"\{ledger\}`([^`]+)`")
BLOCK = re.compile(
    r"```\{ledger-(table|figure|explorer)\} ([^\n]+)\n(.*?)```", re.DOTALL
)
PAGES = sorted(BOOK.rglob("*.md"))
NOTEBOOKS = sorted((BOOK.parent / "notebooks").glob("*.py"))
sys.path.insert(0, str(BOOK / "_ext"))
from check_site import LEAST, on_a_phone  # noqa: E402

from results import svg_of  # noqa: E402


@pytest.fixture(scope="module")
def book():
    """The committed records."""
    return asked.Book()


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda p: p.stem)
def test_every_number_and_table_of_a_page_is_answered(page, book):
    text = page.read_text(encoding="utf-8").replace("\n# ", "\n")
    for words in ROLE.findall(text):
        said = asked.ask("number", words, book)
        assert said and "-0.0" not in said and "nan" not in said, words
    for kind, words, _ in BLOCK.findall(text):
        if kind != "figure":
            found = asked.ask(kind, words, book)
            assert len(found.frame.columns) and found.frame.columns.all(), words
            assert len(found.frame), f"{words}: no row"


def test_the_numbers_that_were_run_are_counted_once_each(book):
    ways = ("reproduced", "contradicted", "both ways", "decided nowhere")
    told = {name: int(asked.ask("number", f"count: {name}", book)) for name in ways}
    assert sum(told.values()) == int(asked.ask("number", "count: numbers run", book))
    verdicts = {}
    for row in book.ledger.rows:
        verdicts.setdefault(counts.key(row), set()).add(row.verdict)
    alone = [v for v in verdicts.values() if REPRODUCED in v and CONTRADICTED not in v]
    assert told["reproduced"] == len(alone)


def test_the_lead_of_the_ledger_is_its_table(book):
    """By protocol, at the small scale: as the table of verdicts counts them."""
    shown = asked.ask("table", "verdict counts", book).frame.set_index("run")
    for protocol in ("released", "controlled"):
        row = shown.loc[f"{protocol}, small"]
        for verdict in (REPRODUCED, CONTRADICTED, "inconclusive"):
            column = next(c for c in shown.columns if c.endswith(f" {verdict}"))
            told = asked.ask("number", f"decided: {protocol}, {verdict}", book)
            assert told == str(row[column])
    with pytest.raises(LookupError, match="no verdict 'sure'"):
        asked.ask("number", "decided: released, sure", book)


def test_the_lead_over_retraining_by_what_was_found(book):
    """The mean over all runs lies between those that found the noise and the others."""
    missed, found = (
        float(asked.ask("number", f"by found: controlled, {w}", book).replace("−", "-"))
        for w in ("missed", "found")
    )
    assert missed > found
    with pytest.raises(LookupError, match="there is missed, found"):
        asked.ask("number", "by found: controlled, lost", book)


def test_each_difference_is_measured_printed_or_open(book):
    ways = ("measured", "printed", "open")
    told = [asked.ask("number", f"count: differences {way}", book) for way in ways]
    assert sum(map(int, told)) == int(asked.ask("number", "count: differences", book))
    listed = asked.ask("table", "not run", book).frame
    assert len(listed) == int(told[-1])


def test_a_picture_is_the_same_in_every_build(book):
    def drawn():
        axes = asked.ask("picture", "every run", book).figure.axes
        return [dots.get_offsets().tolist() for a in axes for dots in a.collections]

    assert drawn() == drawn() and any(drawn())


def test_pictures_can_be_read_on_a_phone(book):
    for page in PAGES:
        for kind, words, _ in BLOCK.findall(page.read_text(encoding="utf-8")):
            if kind == "figure":
                figure = asked.ask("picture", words, book).figure
                assert overlaps(figure) == [], words
                assert on_a_phone(svg_of(figure, "name")) >= LEAST, words


def test_tables_outside_folds_have_five_columns_at_most(book):
    for page in PAGES:
        for kind, words, options in BLOCK.findall(page.read_text(encoding="utf-8")):
            if kind == "table" and ":fold:" not in options and page.stem != "records":
                found = asked.ask("table", words, book)
                assert len(found.frame.columns) <= 5, f"{page.name}: {words}"


def test_states_to_choose_among_are_told_once_each(book):
    for words in ("levels", "walk by step", "methods: npp", "methods: osp"):
        found = asked.ask("explorer", words, book)
        assert list(found.frame) == [*found.keys, "what", "value", "beside"]
        assert not found.frame.duplicated([*found.keys, "what"]).any()
        assert found.frame["value"].between(0, 100).all(), words


def test_every_picture_has_a_name_words_for_the_blind_and_a_caption():
    names = []
    for page in PAGES:
        for kind, words, options in BLOCK.findall(page.read_text(encoding="utf-8")):
            if kind == "figure":
                assert re.search(r"^:alt: .{30}", options, re.MULTILINE), words
                names += re.findall(r"^:name: (\S+)", options, re.MULTILINE)
                assert options.strip().splitlines()[-1][0] != ":", f"{words}: caption"
    assert len(names) > 20 and len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        ("number", "acuracy: F-FT, released", "there is accuracy"),
        ("number", "accuracy: F-FT", "takes arm, protocol"),
        ("number", "accuracy: FFT, released", "no run has such an arm"),
        ("number", "wins: nobody", "over retrain or continue"),
        ("number", "count: apples", "there is numbers"),
        ("number", "auroc: 10, partition", "there is 2"),
        ("number", "claim: nothing, released", "there is ["),
        ("number", "forgets: nothing", "no claim"),
        ("table", "numbers: 7", "no Table '7'"),
        ("table", "claims: mine", "there is paper"),
        ("table", "register: Z", "no place"),
        ("picture", "headlin", "there is headline"),
    ],
)
def test_a_wrong_name_is_told_with_what_there_is(kind, words, told, book):
    with pytest.raises(LookupError, match=re.escape(told)):
        asked.ask(kind, words, book)


def test_two_functions_of_one_name_are_refused():
    asked.ask("number", "count: numbers", asked.Book())
    with pytest.raises(ValueError, match="two functions"):
        asked.number(asked.KINDS["number"]["count"])
