"""Which seed moves what, on a few made-up records of one class."""

from __future__ import annotations

import pytest
from test_rivals_claims import book_of, rival, ten

from rlap.ledger.claims import seeds
from rlap.ledger.claims.seeds import EXAMINING, FORGETTING, SEEDS, TRAINING
from rlap.ledger.verdicts import NOT_RUN
from rlap.pages.forgetting import bias, methods
from rlap.pages.forgetting import seeds as page

ROWS = [f"{FORGETTING}: {NOT_RUN}", f"{EXAMINING}: {NOT_RUN}"]


def moved(one: dict, key: str, by: float) -> dict:
    """The record with a measure of every method so much higher."""
    for found in one["arms"].values():
        found[key] += by
    return one


@pytest.fixture
def made() -> list[dict]:
    """Seeds of training move the probe by 4 points, the judges' relearning by 5, those
    of the methods the class by half a point; and runs that do not count."""
    relearned, probe = "relearn_fresh_head", "probe_linear_forget"
    found = [moved(rival(s), probe, 0.04 * (s - 1)) for s in range(3)]
    found += [moved(rival(forget_seed=k), "forget_test", 0.005 * k) for k in (1, 2)]
    found += [
        moved(rival(examine_seed=k), relearned, by) for k, by in ((1, 0.05), (2, -0.05))
    ]
    for one in found:  # the first run's probe is as its fellows' with the same networks
        if one["seed"] == 0:
            moved(one, probe, -one["arms"]["damp"][probe] + 0.84)
    smoke = rival(forget_seed=3, tier="smoke", epochs=1) | {"tier": "smoke"}
    return [*found, rival(1, "cat"), smoke, rival(forget_seed=4, epochs=2)]


def test_runs_are_sorted_by_the_seed_in_which_they_differ(made):
    found = seeds.groups(made, "small")
    assert {s: len(runs) for s, runs in found.items()} == dict.fromkeys(SEEDS, 3)
    assert not any(seeds.groups(made, "vgg").values())
    # they are not among the usual runs
    assert len(methods.one(book_of(made), "rivals", "small").all()) == 4


def test_runs_of_other_weights_do_not_count_beside_one_another(made):
    """As where the first run was made by another processor."""
    for one in made[3:7]:
        one["networks"] = {"original": "here"}
    found = seeds.groups(made, "small")
    assert {s: len(runs) for s, runs in found.items()} == {
        TRAINING: 3, FORGETTING: 2, EXAMINING: 2
    }  # fmt: skip
    assert made[0] not in found[FORGETTING] and made[0] in found[TRAINING]


def test_spreads_by_hand(made):
    found = seeds.groups(made, "small")
    assert seeds.spread(found[EXAMINING], "damp", "relearn_fresh_head") == (
        seeds.Spread(pytest.approx(0.05), pytest.approx(0.1))
    )
    wide = seeds.together(found, "probe_linear_forget")
    assert wide[TRAINING].deviation == pytest.approx(0.04)
    assert wide[FORGETTING].deviation == pytest.approx(0)
    assert seeds.smaller(found) == {
        "class": False, "others": False, "probe": True, "relearning": False
    }  # fmt: skip
    assert seeds.by_the_judges(found) == pytest.approx(0.05)
    assert seeds.as_expected(0.069) and not seeds.as_expected(0.02)


def test_of_a_relearning_that_diverged_nothing_is_told(made):
    made[0]["arms"]["damp"]["relearn_fresh_head"] = None
    found = seeds.groups(made, "small")
    assert seeds.spread(found[TRAINING], "damp", "relearn_fresh_head") is None
    assert seeds.by_the_judges(found) == pytest.approx(0.05)  # of the other methods
    frame = page.seeds_apart_by_method(book_of(made), "small").frame
    frame = frame.set_index("method: seed of")
    assert frame.loc["DAMP: training"].to_list() == [
        "0.0", "0.0", "4.0\u00a0(8.0)", ""
    ]  # fmt: skip
    assert frame.index.str.startswith("original").sum() == 0


def test_the_page_tells_which_moves_what(made):
    book = book_of(made)
    assert page.seeds_move(book, "small") == (
        "The seed of forgetting moves the class most, that of training moves the "
        "others and the probe most, that of examining moves relearning most; this came "
        "from 7 runs"
    )
    assert page.methods_seed_expected(book, "small") == "came true for 1 of 4 measures"
    told = page.judges_seed_expected(book, "small")
    assert told == "came true, give or take 2: 5.0"
    frame = page.seeds_apart(book, "small").frame
    assert list(frame.iloc[:, 0]) == [f"{s} (3 runs)" for s in SEEDS]
    assert len(frame.columns) == 5
    assert "other seeds" not in bias.still_to_run(book)


def test_of_a_measure_without_numbers_the_page_says_nothing(made):
    for one in made:
        for found in one["arms"].values():
            found["relearn_fresh_head"] = None
    told = page.seeds_move(book_of(made), "small")
    assert told == (
        "The seed of forgetting moves the class most, that of training moves the "
        "others and the probe most; this came from 7 runs"
    )
    # one without numbers does not stop the others from being told
    expected, judged = page.methods_seed_expected, page.judges_seed_expected
    told = "came true for 1 of 3 measures; relearning has no number in all runs"
    assert expected(book_of(made), "small") == told
    told = "not told: no number in all runs"
    assert judged(book_of(made), "small") == told
    for one in made:
        for found in one["arms"].values():
            found |= dict.fromkeys(seeds.MEASURES.values())
    found = seeds.groups(made, "small")
    assert {page.widest(found, key) for key in seeds.MEASURES.values()} == {""}
    assert seeds.smaller(found) == {} and page.untold(found, FORGETTING) == told


def test_the_page_says_what_was_not_run(made):
    book = book_of(made[:3])
    assert page.seeds_move(book, "small") == (
        "That is not told yet, for too few seeds of forgetting (0 runs) and of "
        "examining (0 runs); what is shown came from 3 runs"
    )
    frame = page.seeds_apart(book, "small").frame
    assert list(frame.iloc[:, 0]) == [f"{TRAINING} (3 runs)", *ROWS]
    assert page.methods_seed_expected(book, "small") == f"{NOT_RUN} yet"
    assert page.judges_seed_expected(book, "small") == f"{NOT_RUN} yet"
    assert "other seeds of forgetting; other seeds" in bias.still_to_run(book)
    few = "3 seeds of all methods and classes, small network."
    assert bias.still_to_run(book).endswith(few)  # three seeds of one class
    assert bias.still_to_run(book_of(ten(1))).endswith(few)
    assert "seeds of all methods" not in bias.still_to_run(book_of(ten()))
    idle = page.seeds_apart(book_of([]), "small")
    assert idle.idle and page.seeds_apart_by_method(book_of([]), "small").idle
