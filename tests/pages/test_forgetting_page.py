"""The page on forgetting says who was judged, and by how much."""

from __future__ import annotations

import re

import pytest

from rlap.data.images import CIFAR10_CLASSES
from rlap.experiments.forgetting.account import RELATIVE
from rlap.figures.forgetting import STILL_KNOWN, still_known
from rlap.files import paths
from rlap.ledger.claims.quantities import KNOWN
from rlap.ledger.evidence import Runs
from rlap.ledger.verdicts import MIN_SEEDS
from rlap.pages import asked
from rlap.pages.forgetting import bias, methods, papers

FEW = {"bias": {"original": {"forget": 0.6}, "damp": {"forget": 0.5}}}


def with_left(left: float) -> dict:
    """A record of DAMP that leaves this much of the class."""
    return FEW | {"arms": {"damp": {"forget_test": left}}}


def test_of_little_taken_no_share_is_told():
    share = bias.share_of_much("damp")
    assert share(with_left(0.1)) == pytest.approx(0.8)
    assert share(with_left(0.55)) is None
    assert share({"arms": {}}) is None


def test_a_name_in_a_list_has_no_comma():
    assert methods.plainly("ssd_chosen") == "SSD (chosen)"
    assert methods.plainly("sap_chosen") == "SAP for a class (chosen)"
    assert methods.plainly("osp") == "OSP"


def runs_of(arm: str, seeds: int, classes: int = 10) -> Runs:
    """Runs that have one method, which leaves nothing of the class."""
    record = {"arms": {arm: {"forget_test": 0.0}}}
    names = CIFAR10_CLASSES[:classes]
    return Runs(found={name: dict.fromkeys(range(seeds), record) for name in names})


def test_methods_are_named_by_how_many_seeds_they_have(tmp_path, monkeypatch):
    found = {"small": [("ssd", runs_of("ssd", 3)), ("esc", runs_of("esc", 1)),
                       ("damp", runs_of("damp", 3, 9)),
                       ("fine_tune", runs_of("fine_tune", 3, 3))],
             "vgg": [("ssd", runs_of("ssd", 3))]}  # fmt: skip
    monkeypatch.setattr(methods, "arms", lambda book, model: found[model])
    book = asked.Book(tmp_path)
    assert asked.ask("number", "methods judged: small", book) == "SSD"
    few = asked.ask("number", "methods of few seeds: small", book)
    assert few == "ESC, DAMP (reconstructed)"  # of one seed, and of nine classes
    assert asked.ask("number", "methods of few seeds: vgg", book) == "none"
    absent = asked.ask("number", "methods absent: vgg", book)
    assert absent == "ESC, DAMP (reconstructed)"
    told = asked.ask("number", "behind: esc, small", book)
    assert told == "all 10 classes and 1 seed"
    told = asked.ask("number", "behind: damp, small", book)
    assert told == "9 of 10 classes and 3 seeds"


def test_the_short_table_has_each_papers_method_once():
    """At its chosen setting where one is recorded; what trains and parts are left out,
    few seeds come last."""
    arms = ["damp", "original", "retrained", "retrained again", "continued", "ssd",
            "logit_mask", "damp_head", "lra_npp", "lra_npp_chosen", "lra_npp_layers",
            "lra_npp_target", "ssd_chosen", "osp", "salun"]  # fmt: skip
    few = {"damp": 1, "damp_head": 1}
    found = [(arm, runs_of(arm, few.get(arm, MIN_SEEDS))) for arm in arms]
    shown = methods.once(found)
    assert [arm for arm, _ in shown] == [
        "original", "retrained", "logit_mask",
        "lra_npp", "lra_npp_chosen", "ssd_chosen", "osp", "damp",
    ]  # fmt: skip
    assert all(runs is dict(found)[arm] for arm, runs in shown)
    assert methods.once([]) == []


def test_the_page_begins_with_a_sentence_a_picture_and_a_short_table():
    """The short table is the only open one before the words begin, its rows are those
    of the whole one."""
    text = (paths.checkout() / "book" / "forgetting.md").read_text(encoding="utf-8")
    blocks = [b for b in text.split("\n\n") if b.strip()]
    assert blocks[1].count(". ") == 0  # after the title
    assert blocks[2].startswith("```{ledger-figure}")
    assert blocks[3].startswith("```{ledger-table} signs in short: small")
    begin = text[: text.index("Each method is compared")]
    tables = re.findall(r"```{ledger-table} (.*)\n(:fold:)?", begin)
    assert [words for words, fold in tables if not fold] == ["signs in short: small"]
    book = asked.Book()
    short, whole = (
        asked.ask("table", f"{name}: small", book).frame.set_index("method")
        for name in ("signs in short", "signs")
    )
    assert 5 < len(short) < len(whole) and len(short) <= 12
    assert short.equals(whole.loc[short.index])


def test_marks_of_few_seeds_are_open():
    known = {n: dict.fromkeys(STILL_KNOWN, 0.2) for n in ("SSD", "ESC")}
    ax = still_known(known, "", {"ESC"}).axes[0]
    marks = [line.get_markerfacecolor() for line in ax.lines]
    assert marks.count("none") == len(STILL_KNOWN) == len(marks) / 2


def test_relearning_has_one_name_in_figures_tables_and_claims():
    """The class may be relearned in two ways, with two results."""
    key = "relearn_fresh_head"
    name, *_ = STILL_KNOWN[key]
    assert RELATIVE[key] == papers.LEFT[key] == papers.MEASURES[key] == name
    assert methods.HEADS["relearning"] == name
    assert RELATIVE["relearn"] == papers.MEASURES["relearn"] != name
    (told,) = (words for words, keys in KNOWN.items() if key in keys)
    assert told == name.replace("relearned", "relearning")


def test_the_records_behind_a_picture_are_told():
    """Pictures show the classes and seeds that have every method, tables may rest on
    more of them."""
    book = asked.Book()
    told = {every: asked.ask("number", f"forgetting runs: npp, small{every}", book)
            for every in ("", ", all")}  # fmt: skip
    shown = asked.ask("picture", "still known by: npp, small", book).records
    assert told[", all"].startswith(f"{len(shown)} records, seeds 0 to ")
    shown = asked.ask("table", "left: npp, small", book).records
    assert told[""].startswith(f"{len(shown)} records, seeds 0 to ")
