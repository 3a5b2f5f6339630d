"""DAMP's claims, the four signs, and what the bias gives back, on made-up records."""

from __future__ import annotations

import copy
from dataclasses import asdict
from types import SimpleNamespace

import pandas as pd
import pytest
from test_forgetting_claims import STANDARD, all_classes, arm, record

from rlap.experiments.parameters import RivalsParameters
from rlap.ledger.claims import by_family, forgetting_claims, rivals
from rlap.ledger.claims.quantities import more_selective
from rlap.ledger.claims.rivals import (
    NO,
    OPEN,
    YES,
    bias_share,
    deeper,
    has_enough,
    in_the_features,
    probe_lost,
    sign,
    than_earlier,
)
from rlap.ledger.evidence import FORGETTING, NPP, RIVALS, file_records
from rlap.ledger.verdicts import CONTRADICTED, INCONCLUSIVE, NOT_RUN, REPRODUCED
from rlap.pages.forgetting import bias, claims, methods

ARMS = STANDARD | {
    "damp": arm(0.1, 0.80, 0.88),
    "damp_body": arm(0.5, 0.80, 0.88),
    "damp_head": arm(0.3, 0.80, 0.9),
    "ssd_chosen": arm(0.0, 0.78, 0.7),
    "svd_projection_chosen": arm(0.2, 0.70, 0.6),
}
LAYERS = {"a": 0.2, "b": 0.5, "c": 0.9}


def rival(seed: int = 0, forget: str = "ship", **asked) -> dict:
    """A record of the rivals' notebook."""
    given = {"tier": "small", "seed": seed, "forget": forget, **asked}
    run = RivalsParameters(**given).resolved()
    arms = copy.deepcopy(ARMS)
    back = {
        name: {
            "shift": 1.0,
            "forget": found["forget_test"] / 2 + 0.4,
            "retain": 0.78,
            "auc": 0.9,
        }
        for name, found in arms.items()
    }
    return record(NPP) | {
        "notebook": RIVALS,
        "seed": seed,
        "parameters": run.identity(),
        "arms": arms,
        "bias": back,
        "depth": {k: {"scale": v, "directions": 1} for k, v in LAYERS.items()},
    }


def ten(seeds: int = 3) -> list[dict]:
    from rlap.data.images import CIFAR10_CLASSES

    return [rival(seed, name) for seed in range(seeds) for name in CIFAR10_CLASSES]


def filed(made: list[dict]) -> dict:
    return file_records(made, FORGETTING).files


def test_quantities_by_hand():
    one = rival()
    assert deeper(one) == pytest.approx(0.7)
    assert probe_lost(one) == pytest.approx(0.9 - 0.88)
    # selectivity 0.8; of SSD 0.9 - 0.02, of the SVD projection 0.7 - 0.1
    assert than_earlier(more_selective)(one) == pytest.approx(0.8 - (0.88 + 0.6) / 2)
    # 0.85 - 0.1 were lost, and 0.45 - 0.1 come back
    assert bias_share("damp")(one) == pytest.approx(0.35 / 0.75)
    assert bias_share("original")(one) is None and bias_share("salun")(one) is None


def test_the_claims_of_damp():
    ((_, runs),) = filed(ten()).items()
    found = {c.key: j.verdict for c, j in by_family(rivals.claims(), runs)}
    assert found == {
        "damp-depth": REPRODUCED,
        # the class and the others: (0.38 + 0) / 2, of SSD (0.2 + 0.02) / 2, of the
        # projection (0.1 + 0.1) / 2
        "damp-some": CONTRADICTED,
        "damp-selective": REPRODUCED,
        "damp-keeps": REPRODUCED,
        "damp-deep": REPRODUCED,  # by 2 points
        "damp-forgets": CONTRADICTED,
        "damp-features": CONTRADICTED,
        "damp-body": REPRODUCED,  # 20 points
        "damp-bias": REPRODUCED,  # 47 % come back
        "damp-mask-linear": REPRODUCED,
        "damp-mask-nearest": REPRODUCED,
        "damp-mask-fresh": REPRODUCED,
        "damp-mask-from": INCONCLUSIVE,
    }


def test_signs_by_hand():
    ((_, runs),) = filed(ten()).items()
    told = {
        name: [sign(runs, name, column) for column in rivals.SIGNS]
        for name in ("logit_mask", "damp", "ssd_chosen", "retrained", "unknown")
    }
    assert told == {
        "logit_mask": [YES, YES, NO, NO],
        "damp": [NO, YES, NO, NO],
        "ssd_chosen": [YES, NO, NO, NO],
        "retrained": [YES, YES, YES, YES],
        "unknown": ["", "", "", ""],
    }
    assert in_the_features(runs, "retrained") == YES
    assert in_the_features(runs, "damp") == NO
    ((_, two),) = filed(ten(2)).items()
    assert sign(two, "damp", "probe") == OPEN  # two seeds decide nothing


def test_signs_need_the_classes_that_the_claims_need():
    """Three of ten decide about methods that train, as planned, and no others."""
    three = [r for r in ten() if r["parameters"]["forget"] in ("ship", "cat", "dog")]
    for one in three:
        one["arms"]["salun"] = arm(0.0, 0.8, 0.88)
    ((_, runs),) = filed(three).items()
    assert {sign(runs, "damp", column) for column in rivals.SIGNS} == {OPEN}
    assert sign(runs, "salun", "probe") == NO and has_enough(runs, "salun")
    assert sign(runs.only(["salun"]), "salun", "class outputs") == YES
    (claim,) = [j for c, j in by_family(rivals.claims(), runs) if c.key == "damp-keeps"]
    assert claim.verdict == INCONCLUSIVE and not has_enough(runs, "damp")
    book = book_of(three)
    assert methods.forget_in_the_features(book, "small") == NOT_RUN
    assert methods.methods_judged(book, "small") == NOT_RUN
    assert "DAMP (reconstructed)" in methods.methods_of_few_seeds(book, "small")
    assert methods.behind(book, "damp", "small") == "3 of 10 classes and 3 seeds"
    few = [r for r in three if r["parameters"]["forget"] != "dog"]
    ((_, two),) = filed(few).items()
    assert sign(two, "salun", "probe") == OPEN


def test_a_method_that_is_not_sure_is_told_from_one_that_surely_does_not():
    made = ten()
    for one in made:  # 47 to 57 %, where 52 % is the limit
        one["arms"]["damp"] = arm(0.0, 0.8, 0.47 + 0.05 * one["seed"])
    told = methods.forget_in_the_features(book_of(made), "small")
    assert told == "none of 4 (1 not sure)"


def book_of(made: list[dict]) -> SimpleNamespace:
    found = file_records(made, FORGETTING)
    rows = pd.DataFrame([asdict(row) for row in forgetting_claims(found)])
    ledger = SimpleNamespace(records=made)
    return SimpleNamespace(places=found.files, forgetting=rows, ledger=ledger)


def test_the_page_takes_every_method_once():
    """From where there are enough seeds and most classes, the rivals before others."""
    book = book_of([*ten(), *all_classes(NPP)])
    frame = methods.signs(book, "small").frame.set_index("method")
    assert frame.loc["DAMP (reconstructed)"].to_list() == [
        f"10.0\u00a0{NO}", f"0.0\u00a0{YES}", f"88.0\u00a0{NO}", f"88.0\u00a0{NO}"
    ]  # fmt: skip
    assert frame.loc["original"].to_list() == ["90.0", "0.0", "90.0", "90.0"]
    assert frame.loc["LRA-NPP"].iloc[0] == f"0.0\u00a0{YES}" and frame.index.is_unique
    few = book_of([*ten(1), *all_classes(NPP)])
    for one, seeds in ((book, 3), (few, 1)):
        having = dict(methods.arms(one, "small"))
        assert len(having["damp"].seeds) == seeds
        assert len(having["logit_mask"].seeds) == 3
    three = [r for r in ten() if r["parameters"]["forget"] in ("ship", "cat", "dog")]
    more = dict(methods.arms(book_of([*three, *all_classes(NPP)]), "small"))
    classes = {a: methods.classes_of(more[a], a) for a in ("damp", "logit_mask")}
    assert classes == {"damp": 3, "logit_mask": 10}
    told = methods.forget_in_the_features(book, "small")
    assert told == "none of 7"
    drawn = methods.answers_and_features(book, "small").data.set_index("method")
    assert drawn.loc["DAMP (reconstructed)", "probe_linear_forget"] == 0.88
    assert "DAMP, the classifier alone" not in drawn.index
    short = methods.answers_and_features_in_short(book, "small").data
    assert list(short["method"]) == list(
        methods.signs_in_short(book, "small").frame["method"]
    )
    assert methods.forget_in_the_features(book_of([]), "small") == NOT_RUN
    for of in (methods.signs, methods.signs_in_short):
        assert of(book_of([]), "small").frame.iloc[0, 0] == NOT_RUN


def test_one_that_forgets_in_the_features_is_named():
    made = ten()
    for one in made:
        one["arms"]["damp"] = arm(0.0, 0.8, 0.5)
    told = methods.forget_in_the_features(book_of(made), "small")
    assert told == "1 of 4 (DAMP (reconstructed))"


def test_what_the_bias_gives_back_is_shown():
    book = book_of(ten())
    frame = bias.given_back(book, "small").frame.set_index("method")
    assert frame.loc["DAMP (reconstructed)"].to_list() == [
        "10.0", "45.0", "47", "−2.0", "0.90"
    ]  # fmt: skip
    assert frame.loc["original", "of the loss, %"] == ""
    assert bias.by_the_bias(book, "damp", "small") == "47\u00a0%"
    assert bias.by_the_bias(book, "damp", "vgg") == NOT_RUN
    assert bias.depth(book, "small").frame.iloc[:, 1].to_list() == [
        "0.20", "0.50", "0.90"
    ]  # fmt: skip
    assert len(claims.verdicts(book, "rivals").frame) == len(rivals.claims())


def test_a_relearning_that_diverged_decides_nothing():
    """DAMP's, of one class and seed; and where all did, of every class."""
    made = ten()

    def diverged(one: dict) -> None:
        mine = one["arms"]["damp"]
        mine["relearn_fresh_head"] = None
        for key in [k for k in mine["relative"] if k.startswith("relearn")]:
            del mine["relative"][key]

    diverged(made[0])
    ((_, runs),) = filed(made).items()
    assert rivals.not_sooner("damp")(made[0]) is None
    assert len(runs.values(rivals.not_sooner("damp"))[0]) == 3
    assert runs.values(rivals.not_sooner("damp"))[1] == 9  # classes
    frame = methods.signs(book_of(made), "small").frame.set_index("method")
    assert frame.loc["DAMP (reconstructed)"].iloc[-1] == f"88.0\u00a0{OPEN}"
    for one in made:
        diverged(one)
    book = book_of(made)
    frame = methods.signs(book, "small").frame.set_index("method")
    assert "88" not in frame.loc["DAMP (reconstructed)"].iloc[-1]
    drawn = methods.answers_and_features(book, "small").data.set_index("method")
    assert pd.isna(drawn.loc["DAMP (reconstructed)", "relearn_fresh_head"])
