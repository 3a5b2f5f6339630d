"""What notebooks show reads as the rest of the book does."""

from __future__ import annotations

import importlib
import re
import sys
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

EXT = Path(__file__).resolve().parents[2] / "book" / "_ext"
sys.path.insert(0, str(EXT))
plain_outputs = importlib.import_module("plain_outputs")
check_tables = importlib.import_module("check_tables").check_tables


def shown(frame: pd.DataFrame) -> str:
    """A table of pandas as a page of the book has it."""
    return plain_outputs.plain(f"<div>{frame.to_html()}</div>")


def output(text: str, kind: str = "stream") -> str:
    """What a cell printed, as MyST-NB writes it."""
    box = f'<div class="output {kind} highlight-myst-ansi notranslate">'
    inner = f'<div class="highlight"><pre><span></span>{text}\n</pre></div>'
    return f"{box}{inner}\n</div>"


def test_a_table_of_pandas_has_the_books_words_and_signs():
    rows = {"initial": [-0.5, None], "continue": [1.0, 2.0]}
    made = shown(pd.DataFrame(rows, index=["f1 %", "n"]).T)
    assert "NaN" not in made and "\u22120.5" in made and ">F1 %<" in made
    assert ">initial network<" in made and ">continued training<" in made
    assert '<td data-label="F1 %">' in made
    assert '<th scope="col">arm</th>' in made, "what the rows are"
    assert plain_outputs.plain(made) == made, "the same once more"


def test_per_cent_and_arrows_are_those_of_the_book():
    assert "25\u00a0%" in shown(pd.DataFrame({"a": ["25%"]}, index=["x"]))
    made = plain_outputs.plain(output("the class: 92.3% -&gt; 0.0%"))
    assert "the class: 92.3\u00a0% → 0.0\u00a0%" in made
    assert plain_outputs.plain(made) == made, "the same once more"


def test_a_page_that_is_made_lean_keeps_the_spaces_of_its_tables(tmp_path):
    lean = importlib.import_module("lean_site")
    frame = pd.DataFrame({"f1 %": [1.0]}, index=["LRA-NPP through layers, class's"])
    (tmp_path / "page.html").write_text(f"<div>{frame.to_html()}</div>", "utf-8")
    builder = SimpleNamespace(format="html")
    lean.tidy(SimpleNamespace(outdir=tmp_path, builder=builder), None)
    made = (tmp_path / "page.html").read_text("utf-8")
    told = unescape(re.sub("<[^>]*>", "", made))
    assert "LRA-NPP through layers, class’s" in told and "F1\u00a0%" in told


def test_the_name_of_an_index_is_the_first_heading():
    frame = pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="what is wrong"))
    made = shown(frame)
    assert made.count("<tr") == 2 and ">what is wrong<" in made


def test_a_first_column_has_a_heading_and_counts_nothing():
    made = shown(pd.DataFrame({"a": [1]}, index=["x"]))
    assert '<th scope="col"><span class="visually-hidden">row</span></th>' in made
    counted = shown(pd.DataFrame({"name": ["x", "y"], "score": [2, 3]}))
    assert ">name</th>" in counted and "visually-hidden" not in counted
    assert '<th data-label="name">x</th>' in counted and ">0<" not in counted
    assert plain_outputs.plain(counted) == counted, "the same once more"


def test_a_wide_table_of_pandas_shows_five_columns_and_folds_the_others():
    made = shown(pd.DataFrame([range(5)], columns=list("abcde"), index=["row"]))
    assert "<details" not in made and made.count("<table") == 2
    made = shown(pd.DataFrame([range(7)], columns=list("abcdefg"), index=["row"]))
    first, rest = made.split("<details")
    assert re.findall(r'data-label="(\w+)"', first) == ["row", "a", "b", "c", "d"]
    assert "continued" not in first and rest.count(">continued<") == 1
    assert "3 more columns" in rest and 'data-label="g"' in rest and ">row<" in rest


def test_a_long_listing_is_folded_and_what_is_said_stays():
    fields = ",\n".join(f"       field{i}=(1, 2)" for i in range(8))
    text = f"Recipe({fields})\nF-FT: -1.0 points against continue"
    made = plain_outputs.plain(output(text))
    folded, said = made.split("</details>")
    assert "<summary>Recipe, 8 lines</summary>" in folded and "field7" in folded
    assert "\u22121.0 points against continued training" in said
    assert "<details" not in said
    assert plain_outputs.plain(made) == made, "the same once more"
    short = output("{&#39;a&#39;: 1}")
    assert "<details" not in plain_outputs.plain(short)
    assert plain_outputs.plain(output("'record.json'", "text_plain")) == ""


def test_drawings_of_kernels_take_the_colour_of_the_text(tmp_path):
    drawn = (
        '<svg width="72pt" viewBox="0 0 72 9"><text style="fill:#7a7a7a">a</text></svg>'
    )
    (tmp_path / "ab12.svg").write_text(drawn)
    page = '<figure><img alt="A &lt; B" src="../_images/ab12.svg" /></figure>'
    made = plain_outputs.with_drawings(page, tmp_path)
    assert "currentColor" in made and "<img" not in made
    assert "<title>A &lt; B</title>" in made and 'role="img"' in made
    other = '<img alt="a" src="../_images/gone.svg" />'
    assert plain_outputs.with_drawings(other, tmp_path) == other


def test_a_link_to_a_term_says_on_hover_what_it_means():
    said = '<dd><p>Full "fine"\n tuning.</p></dd>'
    glossary = f'<dt id="term-F-FT">F-FT<a href="#x">#</a></dt>{said}'
    told = plain_outputs.terms(glossary)
    link = '<a class="reference internal" href="../glossary.html#term-F-FT">F-FT</a>'
    made = plain_outputs.with_terms(link, told)
    assert 'title="Full &quot;fine&quot; tuning.">F-FT' in made
    assert plain_outputs.with_terms(made, told) == made


@pytest.mark.parametrize(
    ("rows", "folded", "found"),
    [(5, False, 0), (30, False, 1), (30, True, 0)],
)
def test_long_tables_are_folded(rows, folded, found):
    table = f"<table>{(rows + 1) * '<tr><td>1</td></tr>'}</table>"
    page = f"<details>{table}</details>" if folded else table
    assert len(check_tables("gain.html", page)) == found
    assert check_tables("api.html", page) == []
