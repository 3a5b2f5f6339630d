"""Protocols by name, and what each field changes in the plan of a run."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import pytest

from rlap.experiments.checked import ParameterError
from rlap.experiments.parameters import StudyParameters
from rlap.experiments.plan import plan
from rlap.experiments.protocol import (
    CIFAR10,
    PROTOCOLS,
    SPEECH,
    Protocol,
    ProtocolError,
    acts_on,
    name_of,
    protocol_of,
    spelled,
    steps,
)
from rlap.experiments.released import eval_after_first, moving_statistics

RELEASED = PROTOCOLS["released"]


def settings(text: str, dataset: str = CIFAR10, **given) -> dict[str, object]:
    """The plan of a run as flat names and values: recipes.initial.schedule, ..."""
    run = StudyParameters(protocol=text, dataset=dataset, **given).resolved()
    flat: dict[str, object] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            flat[prefix] = value

    walk("", asdict(plan(run)))
    return flat


def changed(before: dict[str, object], after: dict[str, object]) -> dict[str, tuple]:
    names = before.keys() | after.keys()
    return {
        n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)
    }


# field -> another value than the released one -> all that it changes in the plan
EFFECTS = {
    "cluster": ("confidence", {"cluster": ("one", "confidence")}),
    "target": ("sample", {"target": ("class", "sample")}),
    "bias": (
        True,
        {
            f"pruning.{c}": ((40, False), (40, True))
            for c in ("regression", "random", "magnitude")
        },
    ),
    "mask": (True, {"mask": (False, True)}),
    "redraw": (False, {"redraw": (True, False)}),
    "shuffle": (True, {"recipes.initial.shuffle": (False, True)}),
    "head_batchnorm": (
        "eval",
        {"tuning.L-FT": (("head", moving_statistics), ("head", None))},
    ),
    "decay": (
        "onecycle",
        {
            f"recipes.{arm}.schedule": ("constant", "onecycle")
            for arm in ("initial", "retrain", "retrain short")
        },
    ),
    "augment": (
        True,
        {
            f"recipes.{arm}.augment": ("none", "crop+flip")
            for arm in (
                "initial",
                "F-FT",
                "retrain",
                "retrain short",
                "decayed",
                "generalized",
            )
        },
    ),
    "finetune_decay": (
        True,
        {f"recipes.{arm}.schedule": ("constant", "cosine") for arm in ("L-FT", "F-FT")},
    ),
    "retrain_epochs": ("total", {"recipes.retrain.epochs": (8, 12)}),
    "roles": ("right", {"roles": ("swapped", "right")}),
    "equal_pruning": (
        True,
        {
            f"pruning.{c}": ((39, True), (40, False))
            for c in ("abs", "rms", "freq", "std")
        },
    ),
    "standardise": (True, {"standardise": (False, True)}),
    "covariance": ("diag", {"covariance": ("full", "diag")}),
    "start": ("total", {"start": ("kmeans", "total")}),
    "attribution": (
        "activation",
        {"attribution": ("gradient_x_activation", "activation")},
    ),
}
SPEECH_EFFECTS = {
    "head": (
        "whole",
        {"tuning.L-FT": (("layer", moving_statistics), ("head", moving_statistics))},
    ),
    "frames": (32, {"load.frames": (130, 32)}),
    "split": ("speaker", {"load.split": ("random", "speaker")}),
    "monitor": (
        "none",
        {"monitor": ("test", "none")}
        | {
            f"recipes.{arm}.{name}": values
            for arm in ("initial", "retrain", "retrain short")
            for name, values in {
                "schedule": ("plateau", "cosine"),
                "lr": (5e-4, 2e-3),
                "gamma": (0.5, 0.2),  # of plateau alone
            }.items()
        },
    ),
    "retrain_mode": ("train", {"retraining": (eval_after_first, None)}),
}


@pytest.mark.parametrize("name", EFFECTS)
def test_a_field_changes_what_it_says_and_nothing_else(name):
    value, effect = EFFECTS[name]
    assert value != getattr(RELEASED, name)
    given = {"tier": "small"}
    before = settings("released", **given)
    assert changed(before, settings(f"released+{name}={spelled(value)}", **given)) == (
        effect
    )


@pytest.mark.parametrize("name", SPEECH_EFFECTS)
def test_a_field_of_speech_changes_what_it_says_and_nothing_else(name):
    value, effect = SPEECH_EFFECTS[name]
    given = {"tier": "small", "dataset": SPEECH}
    before = settings("released", **given)
    assert changed(before, settings(f"released+{name}={spelled(value)}", **given)) == (
        effect
    )
    # and nothing at all for images
    assert not changed(settings("released"), settings(f"released+{name}={value}"))


def test_every_field_is_tested_above():
    assert {f.name for f in fields(Protocol)} == EFFECTS.keys() | SPEECH_EFFECTS.keys()


def test_decay_in_steps_is_felt_within_the_budget():
    recipe = settings("released+decay=steps", tier="paper")
    assert recipe["recipes.initial.schedule"] == "multistep"
    # 60, 120 and 160 of 200 epochs, at 60 epochs
    assert recipe["recipes.initial.milestones"] == (18, 36, 48)
    assert recipe["recipes.initial.gamma"] == 0.2


def test_released_is_the_released_code():
    """spec: audit 1.1, line by line."""
    found = settings("released", tier="paper")
    initial = {k.split(".")[-1]: v for k, v in found.items() if ".initial." in k}
    assert {
        "epochs": 60,
        "batch_size": 64,
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 5e-4,
        "schedule": "constant",
        "shuffle": False,
        "augment": "none",
        "label_smoothing": 0,
    }.items() <= initial.items()
    for arm, decay in (("L-FT", 1e-5), ("F-FT", 0.0)):
        assert found[f"recipes.{arm}.optimizer"] == "adam"
        assert found[f"recipes.{arm}.lr"] == 1e-3
        assert found[f"recipes.{arm}.epochs"] == 30
        assert found[f"recipes.{arm}.weight_decay"] == decay
        assert found[f"recipes.{arm}.shuffle"] is True
        assert found[f"recipes.{arm}.batch_size"] == 64
    assert (found["covariance"], found["start"], found["max_iter"]) == (
        "full", "kmeans", 100,
    )  # fmt: skip
    assert found["recipes.retrain.epochs"] == 60
    assert found["recipes.retrain short.epochs"] == 30
    assert found["recipes.retrain.shuffle"] is True
    assert found["recipes.retrain.lr"] == 0.1
    run = StudyParameters(tier="paper", protocol="released").resolved()
    asked = (run.train_size, run.model, run.kind, run.rate, run.level, run.width)
    assert asked == (50_000, "resnet18", "gaussian_clamped", 0.5, 8, None)


def test_released_speech_is_the_released_code():
    """spec: audit 1.4."""
    found = settings("released", dataset=SPEECH, tier="paper")
    assert found["load.frames"] == 130
    assert found["recipes.initial.epochs"] == found["recipes.retrain.epochs"] == 300
    assert found["recipes.F-FT.epochs"] == 150
    assert found["recipes.initial.lr"] == 5e-4
    assert found["recipes.initial.schedule"] == "plateau"
    assert found["recipes.initial.patience"] == 5
    assert found["target"] == "sample"  # looked up rightly there
    assert found["pruning.regression"] == (20, False)


def test_controlled_spends_equal_epochs_and_lets_every_rate_decay():
    found = settings("controlled", tier="small")
    total = found["recipes.initial.epochs"] + found["recipes.F-FT.epochs"]
    assert found["recipes.retrain.epochs"] == total
    schedules = {k: v for k, v in found.items() if k.endswith(".schedule")}
    assert "constant" not in schedules.values()


def test_label_noise_is_never_redrawn_and_has_no_level():
    run = StudyParameters(protocol="released", kind="symmetric_exclusive").resolved()
    assert run.level is None
    assert plan(run).redraw is False


# --- names ------------------------------------------------------------------------


def test_a_name_has_one_form():
    assert name_of("released+shuffle=true+cluster=confidence") == (
        "released+cluster=confidence+shuffle=true"
    )
    assert name_of("released+cluster=one") == "released"
    whole = "+".join(
        f"{k}={spelled(v)}"
        for k, v in PROTOCOLS["controlled"].changes_from(RELEASED).items()
    )
    assert name_of(f"released+{whole}") == "controlled"
    assert StudyParameters(protocol="released+cluster=one").protocol == "released"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("relesed", "did you mean 'released'"),
        ("released+shufle=true", "did you mean 'shuffle'"),
        ("released+shuffle", "is not field=value"),
        ("released+shuffle=yes", "takes one of"),
        ("released+shuffle=1", "takes one of"),
        ("released+decay=True", "takes one of"),
        ("released+shuffle=true+shuffle=true", "twice"),
        ("", "unknown protocol ''"),
    ],
)
def test_a_wrong_name_is_one_clear_error(text, message):
    with pytest.raises(ProtocolError, match=message):
        protocol_of(text)
    with pytest.raises(ParameterError):
        StudyParameters(protocol=text)


def test_a_wrong_value_of_a_field_is_refused():
    with pytest.raises(ProtocolError, match="cluster is 'two'"):
        replace(RELEASED, cluster="two")
    with pytest.raises(ProtocolError, match="shuffle is 1"):
        replace(RELEASED, shuffle=1)


@pytest.mark.parametrize("dataset", [CIFAR10, SPEECH])
def test_the_walk_goes_from_one_protocol_to_the_other_a_field_at_a_time(dataset):
    walk = list(steps("released", "controlled", dataset))
    assert walk[0] == ("released", "")
    assert walk[-1][0] == "controlled"
    for (before, _), (after, field) in zip(walk, walk[1:], strict=False):
        new = protocol_of(after).changes_from(protocol_of(before))
        acting = {name for name in new if acts_on(name, dataset)}
        assert acting == {field}
        if after != "controlled":
            assert set(new) == {field}
