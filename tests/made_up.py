"""Made-up records for tests of the ledger. Nothing in them was ever measured."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

from rlap.experiments import records
from rlap.experiments.parameters import StudyParameters
from rlap.ledger.evidence import NOTEBOOK

ENVIRONMENT = {"torch": "0.0", "numpy": "0.0", "python": "3.11", "device": "cpu"}
ACCURACY = {"initial": 0.6, "pruned": 0.5, "L-FT": 0.65, "F-FT": 0.7, "retrain": 0.62}


def scores(accuracy: float, *, epochs: int = 2, pace: float = 1.0, **more) -> dict:
    """An arm on the full, balanced test set; ``pace`` seconds an epoch."""
    accuracy = round(accuracy, 4)
    return {
        **dict.fromkeys(("accuracy", "precision", "recall", "f1"), accuracy),
        "top3": min(1.0, accuracy + 0.2),
        "samples": 100,
        "seconds": pace * epochs,
        "history": {
            "loss": [1.0] * epochs,
            "test_accuracy": [accuracy] * epochs,
            "seconds": [pace] * epochs,
            "test_seconds": [pace / 10] * epochs,
            "setup_seconds": 0.0,
            "precision": "fp32",
        },
        **more,
    }


def attack(accuracy: float) -> dict[str, dict]:
    """Scores at the four rates of Table 5; accuracy falls towards a tenth."""
    rates = ("0.2", "0.4", "0.6", "0.8")
    keep = ("accuracy", "precision", "recall", "f1")
    at = {r: scores(accuracy + float(r) * (0.1 - accuracy)) for r in rates}
    return {rate: {k: found[k] for k in keep} for rate, found in at.items()}


def record(
    seed: int = 0,
    accuracy: Mapping[str, float] | None = None,
    *,
    auroc: float = 0.99,
    **asked,
) -> dict[str, object]:
    """A record of the notebook of all arms; parameters as given."""
    asked = {"tier": "small", "seed": seed, "protocol": "released", **asked}
    run = StudyParameters(**asked).resolved().identity()
    arms = {**ACCURACY, **(accuracy or {})}
    environment = json.dumps(ENVIRONMENT, sort_keys=True)
    n_test = run["test_size"] or 10_000
    identity = {
        "parameters": records.sha(json.dumps(run, sort_keys=True)),
        "notebook": "made up",
        "code": "made up",
        "data": "d" * 16,
        "environment": records.sha(environment),
    }
    main = ("initial", "L-FT", "F-FT", "retrain")
    return {
        "schema": records.SCHEMA,
        "notebook": NOTEBOOK,
        "identity": {"id": records.sha(*identity.values()), **identity},
        "protocol": run["protocol"],
        "tier": run["tier"],
        "seed": seed,
        "parameters": run,
        "data": {
            "name": run["dataset"],
            "source": "made up",
            "digest": "d" * 64,
            "stand_in": False,
            "n_train": run["train_size"] or 1000,
            "n_test": n_test,
        },
        "noise": {k: run[k] for k in ("kind", "rate", "level")}
        | {"realised_rate": run["rate"]}
        | {"realised_rate": run["rate"]},
        "arms": {k: scores(v, pace=1 + seed / 10) for k, v in arms.items()},
        "attacked": {arm: attack(arms[arm]) for arm in main},
        "partition": {
            "detection": {
                "auroc": auroc, "accuracy": 0.95, "purity": 0.95, "recall_clean": 0.9,
                "retained": 50,
            },  # fmt: skip
            "auroc": {
                "partition": [auroc, auroc - 0.01, auroc + 0.01],
                "loss": [0.9, 0.89, 0.91],
            },
            "oriented_right": auroc > 0.5,
        },
        "seconds": {
            "data": zlib.crc32(json.dumps(run).encode()) / 1e9,  # no two alike
            "initial": 2.0, "attribution": 0.1, "partition": 0.1, "sensitivity": 0.1,
            "pruning": 0.1,
        },
        "identity_difference": 1e-6,
        "provenance": {
            "environment": ENVIRONMENT,
            "commit": "0000000000",
            "dirty": False,
            "device": "made up",
            "threads": 1,
            "written": "2000-01-01T00:00:00+00:00",
        },
    }  # fmt: skip


def save(folder: Path, *made: dict) -> list[Path]:
    """Write records below ``folder``, one folder each, as a run would."""
    return [
        records.write(r, folder / f"{r['protocol']}-{i}-s{r['seed']}")
        for i, r in enumerate(made)
    ]


def seeds(n: int = 3, accuracy: Mapping[str, float] | None = None, **asked) -> list:
    """Records of n seeds that differ by a tenth of a point from one to the next."""
    arms = {**ACCURACY, **(accuracy or {})}
    return [
        record(s, {k: v + 0.001 * s for k, v in arms.items()}, **asked)
        for s in range(n)
    ]
