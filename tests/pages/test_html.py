"""HTML is made in one place, and text in it is text whatever it says."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from rlap.pages import html

MARK = '<b title="x">&\'"</b>'  # harmless, and plain to see if it got through


@pytest.mark.parametrize(
    "made",
    [
        html.tag("p", MARK),
        html.tag("p", title=MARK),
        html.tag("p", html.tag("b", MARK)),
        html.joined(MARK, html.small(MARK)),
        html.lines(MARK, "", MARK),
        html.small(MARK),
        html.because("reproduced", MARK),
        html.because("reproduced", MARK, brief=MARK),
        html.table(pd.DataFrame({MARK: [MARK], "b": [MARK]}), label=MARK, kind=MARK),
    ],
)
def test_text_is_escaped_wherever_it_stands(made):
    assert '<b title="x"' not in made and "&lt;b title=" in made
    assert not re.search(r'="[^"]*<', made), "an attribute holds a bare mark"


def test_what_was_made_is_not_escaped_again():
    assert html.tag("p", html.tag("b", "1 < 2")) == "<p><b>1 &lt; 2</b></p>"
    assert html.tag("td", "a", class_="x", data_label="b", id=None) == (
        '<td class="x" data-label="b">a</td>'
    )


def test_verdicts_have_a_sign_and_a_word_each():
    assert len(set(html.SIGNS.values())) == len(html.SIGNS)
    assert "✕ contradicted" in html.mark("contradicted")
    assert "✕ fails" in html.mark("contradicted", own=True)
    assert "– not run" in html.mark("not run", own=True)
    opened = html.because("inconclusive", "too few", own=True)
    assert "<details" in opened and "○ open" in opened and "too few" in opened
    assert "title=" not in opened  # no touch, no keyboard and no reader finds that
    assert "<details" not in html.because("not run", "")
    brief = html.because("inconclusive", "n = 3", brief="not sure")
    summary, _, rest = brief.partition("</summary>")
    assert 'class="why brief"' in summary and "style=" not in brief
    assert "not sure" in summary and rest == "<small>n = 3</small></details>"


def test_a_table_names_columns_for_narrow_screens_and_readers():
    made = html.table(pd.DataFrame({"a": ["x"], "b": [2]}), label="cap")
    assert '<th scope="col" role="columnheader">b</th>' in made
    assert '<th scope="row" role="rowheader" data-label="a">x</th>' in made
    assert '<td role="cell" data-label="b">2</td>' in made
    assert 'aria-labelledby="cap"' in made


def test_a_wide_table_comes_in_parts_of_five_columns():
    made = html.table(pd.DataFrame([list(range(12))]), named="told")
    parts = made.split("<table")[1:]
    assert [part.count('<th scope="col"') for part in parts] == [5, 5, 4]
    assert all('data-label="0">0</th>' in part for part in parts)
    assert made.count('aria-label="told"') == 3
