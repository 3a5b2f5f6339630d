"""What is said of repairs, from made-up runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rlap.pages import asked
from rlap.pages.bad_data import repairs


def run(seed: int, repair: float, *, kind: str = "symmetric_exclusive") -> dict:
    """A run where continued training gains two points."""
    arms = {repairs.CAME: 0.6, repairs.ON: 0.62, repairs.REPAIR: repair,
            "robustify, rule gmm": 0.4}  # fmt: skip
    own = {"samples": 250, "history": {"seconds": [1.0] * 30}}
    return {
        "notebook": "06_bad_data",
        "tier": "small",
        "seed": seed,
        "parameters": {"kind": kind, "rate": 0.4, "level": None, "memorised": False,
                       "dataset": "cifar10", "model": "small"},
        "data": {"stand_in": False},
        "bad": {"n_given": 1000},
        "shares": {},
        "seconds": {repairs.ON: 10.0, repairs.REPAIR: 45.0},
        "arms": {name: {"accuracy": value, **own} for name, value in arms.items()},
    }  # fmt: skip


@pytest.fixture
def book():
    """Repair is ahead in both settings, in one surely, by one run in the other."""
    made = [run(seed, 0.65) for seed in range(3)]
    made += [run(0, 0.63, kind="asymmetric")]
    return SimpleNamespace(ledger=SimpleNamespace(records=made))


def test_repair_is_held_against_training_on(book):
    assert asked.ask("number", "repair leads", book) == "2 of 2"
    surely = asked.ask("number", "repair leads: continued training, surely", book)
    assert surely == "1 of 1", "one run is too few"
    three = "repair leads: continued training three times"
    assert asked.ask("number", three, book) == "not run"
    for each in book.ledger.records:
        each["arms"][repairs.THRICE] = {"accuracy": 0.64}
    assert asked.ask("number", three, book) == "1 of 2"
    assert asked.ask("number", f"{three}, labels", book) == "1 of 2"
    book.ledger.records.append(run(0, 0.65, kind="clean"))
    assert asked.ask("number", "repair leads: continued training, others", book) == (
        "1 of 1"
    )
    with pytest.raises(LookupError, match="of labels, others or surely"):
        asked.ask("number", f"{three}, inputs", book)
    del book.ledger.records[-1]
    for asking in ("repair leads: training on", "repaired: asymmetric, repairs"):
        with pytest.raises(LookupError, match="no arm"):
            asked.ask("number", asking, book)
    assert asked.ask("number", "repair cost", book) == "4.5"
    frame = asked.ask("table", "repairs in short", book).frame
    assert frame["repair"].to_list() == ["+5.0 [+5.0, +5.0]", "+3.0"]
    assert frame["three times"].to_list() == ["+4.0 [+4.0, +4.0]", "+4.0"]
    assert frame["what is wrong"][0].endswith("(3 runs)")


def test_a_kind_is_told_at_its_usual_rate(book):
    """Fewer wrong labels, and memorised labels, are other settings."""
    few, learnt = (run(0, 0.9) for _ in range(2))
    few["parameters"]["rate"], learnt["parameters"]["memorised"] = 0.2, True
    book.ledger.records[:0] = [few, learnt]
    assert asked.ask("number", "repaired: symmetric_exclusive", book).startswith("+5.0")
    aside = run(0, 0.9, kind="gaussian_clamped")
    aside["parameters"] |= {"rate": 0.5, "level": 2.0}
    book.ledger.records.append(aside)
    assert asked.ask("number", "repaired: gaussian_clamped", book) == "not run"


def test_other_data_and_networks_are_asked_for_by_name(book):
    speech, wide = run(0, 0.7), run(0, 0.8)
    speech["parameters"] |= {"dataset": "speech_commands", "model": "speech_res8"}
    wide["parameters"] |= {"model": "resnet18", "width": 8}
    book.ledger.records += [speech, wide]
    for name, gained in (("speech", "+10.0"), ("resnet18", "+20.0")):
        told = asked.ask("number", f"repaired: {name} symmetric_exclusive", book)
        assert told == gained
    with pytest.raises(LookupError, match="no kind 'clean' .*, or 'loud' before it"):
        asked.ask("number", "repaired: loud clean", book)


def test_which_bad_inputs_were_found_is_said(book):
    for kind, areas in {"black": (1.0, 0.9), "shuffled": (0.5, 0.8)}.items():
        for seed, area in enumerate(areas):
            made = run(seed, 0.6, kind=kind)
            made["parameters"]["rate"] = 0.05
            made["told"] = {"rlap: input": {"auroc": area}}
            book.ledger.records.append(made)
    told = [asked.ask("number", f"bad inputs: {w}", book) for w in ("found", "missed")]
    assert told == ["black images, 5\u00a0%", "shuffled pixels, 5\u00a0%"]


def test_where_only_some_classes_are_mislabelled_that_is_said(book):
    assert list(repairs.groups(book))[1].endswith("40\u00a0% of 5 classes")
    assert asked.ask("number", "repaired: asymmetric", book) == "+3.0"


def test_what_robustify_trains_on_is_said(book):
    told = asked.ask("number", "robustify trains: symmetric_exclusive, gmm", book)
    assert told == "30 epochs on 25\u00a0% of the samples"
    none = asked.ask("number", "robustify trains: symmetric_exclusive, loss", book)
    assert none == "not run"


def test_aims_are_shown_with_what_was_found_and_whether_that_is_enough(book):
    for each in book.ledger.records:
        each |= {"told": {}, "diagnosis": {"label rate": [0.4, 0.3, 0.5]}}
        each["bad"]["rate"] = 0.4
    frame = asked.ask("table", "aims", book).frame.set_index("what")
    told = frame.loc["any other class: repair over the network as it came"]
    assert told.to_list() == ["at least +4.5", "+5.0 [+5.0, +5.0] (3\u00a0runs)", "yes"]
    told = frame.loc["every setting: repair over continued training"]
    assert told["found"] == "the worst: +1.0 (1\u00a0run)"
    assert (frame["reached"] == "not run").sum() > 5
    yes = int((frame["reached"] == "yes").sum())
    assert asked.ask("number", "aims reached", book) == f"{yes} of {len(frame)}"


def test_what_is_said_of_the_data_has_its_interval_and_the_other_kind(book):
    for each in book.ledger.records:
        each |= {"told": {"rlap: label": {"auroc": 0.9, "calibration error": 0.04},
                          "loss": {"auroc": 0.8, "calibration error": 0.4}},
                 "diagnosis": {"label rate": [0.38, 0.3, 0.5],
                               "input rate": [0.1, 0.0, 0.2]}}  # fmt: skip
        each["bad"]["rate"] = 0.4
    told = asked.ask("table", "told apart", book).frame.iloc[0].to_list()
    assert told[1:4] == [
        "40.0\u00a0%", "38.0\u00a0% [30.0, 50.0]", "10.0\u00a0%"
    ]  # fmt: skip
    frame = asked.ask("table", "detectors", book).frame.set_index("score")
    assert frame.loc["diagnose"]["calibration error"].to_list() == ["0.04", "0.04"]
    assert frame.loc["loss"]["calibration error"].to_list() == ["", ""]
    assert asked.ask("number", "told by: symmetric_exclusive, loss", book) == "0.80"
    with pytest.raises(LookupError, match="no score 'los'"):
        asked.ask("number", "told by: symmetric_exclusive, los", book)
