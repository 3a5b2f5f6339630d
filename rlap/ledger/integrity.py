"""Faults in records: a wrong number, a missing record, one that is there twice.

A record carries a digest of its own content, and its numbers must agree with one
another. ``MANIFEST.json`` beside the records names every folder with its digest, so
that a record which disappears, or is exchanged with digest and all, is missed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rlap.experiments import records
from rlap.experiments.records import RecordError
from rlap.files import paths
from rlap.files.download import atomic
from rlap.ledger.paper import f1_bound

MANIFEST = "MANIFEST.json"
ROUNDING = 2e-6  # records keep six significant digits
LAST_EPOCH = 0.05  # tests during training may run at lower precision
DEVIATIONS = 4  # standard ones; chance strays further once in 16,000 arms
SCORES = ("accuracy", "precision", "recall", "f1", "top3")


@dataclass(frozen=True)
class Finding:
    """A fault: ``kind`` is "unreadable", "wrong number", "twice", "missing", "changed"
    or "unlisted". Records with a fault are left out, save those only unlisted."""

    kind: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.text}"


def examine(folder: str | Path) -> tuple[dict[str, dict[str, object]], list[Finding]]:
    """The sound records under ``folder`` by the name of their folder, in the order of
    their paths, and the faults of the others."""
    folder = Path(folder)
    found, findings = read_each(folder)
    own = {name: texts for name, r in found.items() if (texts := faults(r))}
    findings += [
        Finding("wrong number", name, text) for name in own for text in own[name]
    ]
    findings += twice({name: r for name, r in found.items() if name not in own})
    findings += against_manifest(folder, found)
    bad = {f.where for f in findings if f.kind != "unlisted"}
    return {name: r for name, r in found.items() if name not in bad}, findings


def read_each(folder: Path) -> tuple[dict[str, dict[str, object]], list[Finding]]:
    """Every readable record by the name of its folder, and those that are not."""
    found, findings = {}, []
    for path in sorted(folder.rglob(records.FILE)):
        inside = path.parent.relative_to(folder)
        if any(
            part.startswith(".") or part.endswith(".failed") for part in inside.parts
        ):
            continue  # a run that is going on, or that failed
        try:
            found[inside.as_posix()] = records.read(path)
        except RecordError as error:
            text = str(error).replace(f"{folder}/", "")
            findings.append(Finding("unreadable", inside.as_posix(), text))
    return found, findings


# what a record may raise whose parts are not what they should be
ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
       ValueError)  # fmt: skip


def faults(record: Mapping) -> list[str]:
    """What in a record cannot be: one line each."""
    try:
        return [*identity_faults(record), *number_faults(record)]
    except ODD as error:
        return [f"it is not complete ({type(error).__name__}: {error})"]


def identity_faults(record: Mapping) -> Iterator[str]:
    """Parts of the record that should say the same and do not."""
    asked, identity, data = record["parameters"], record["identity"], record["data"]
    for name in ("seed", "tier", "protocol"):
        if name in asked and record[name] != asked[name]:
            yield f"{name} is {record[name]!r}, its parameters say {asked[name]!r}"
    parts = [value for key, value in identity.items() if key != "id"]
    if records.sha(*parts) != identity["id"]:
        yield "its identity is not that of its parts"
    if identity["data"] != data["digest"][:16]:
        yield "the data are not those of its identity"
    environment = json.dumps(record["provenance"]["environment"], sort_keys=True)
    if records.sha(environment) != identity["environment"]:
        yield "the environment is not that of its identity"
    for name, key in (("train_size", "n_train"), ("test_size", "n_test")):
        if asked.get(name) is not None and asked[name] != data[key]:
            yield f"{key} is {data[key]}, its parameters say {asked[name]}"


def number_faults(record: Mapping) -> Iterator[str]:
    """Scores that no predictions have, and seconds that do not add up."""
    data = record["data"]
    balanced = data["name"] == "cifar10" and data["n_test"] == 10_000
    watched = record.get("watched", data["n_test"])
    for arm, scores in record["arms"].items():
        for text in score_faults(scores, data["n_test"], balanced):
            yield f"{arm}: {text}"
        history = scores.get("history", {})
        seconds = history.get("seconds", [])
        total = math.fsum(seconds) + history.get("setup_seconds", 0.0)
        if seconds and not math.isclose(total, scores["seconds"], rel_tol=1e-3):
            yield f"{arm}: {scores['seconds']} seconds, but its epochs took {total:.6g}"
        curve = history.get("test_accuracy", [])
        if curve and data["name"] == "cifar10":
            gap = abs(curve[-1] - scores["accuracy"])
            if gap > last_epoch_off(scores["accuracy"], watched):
                yield f"{arm}: accuracy is {gap:.3f} off that of its last epoch"
        if scores.get("samples", 0) > data["n_train"]:
            yield f"{arm}: trained on more samples than there are"
    for arm, rates in record.get("attacked", {}).items():
        for rate, scores in rates.items():
            for text in score_faults(scores, data["n_test"], balanced):
                yield f"{arm}, {rate} of the test set attacked: {text}"


def last_epoch_off(accuracy: float, watched: int) -> float:
    """How far the test of the last epoch may lie from an accuracy, where ``watched``
    test samples watch every epoch: few of them stray by themselves.

    >>> last_epoch_off(0.5, 10_000), round(last_epoch_off(0.5, 500), 3)
    (0.05, 0.089)
    """
    deviation = math.sqrt(accuracy * (1 - accuracy) / watched)
    return max(LAST_EPOCH, DEVIATIONS * deviation)


def score_faults(scores: Mapping, n_test: int, balanced: bool) -> Iterator[str]:
    """What is impossible about accuracy, macro precision, recall, F1 and top-3."""
    known = {name: scores[name] for name in SCORES if name in scores}
    for name, value in known.items():
        if not 0 <= value <= 1:
            yield f"{name} {value} is not between 0 and 1"
    accuracy = known["accuracy"]
    hits = accuracy * n_test
    if abs(hits - round(hits)) > 1e-6 * n_test + 1e-9:
        yield f"accuracy {accuracy} is no count out of {n_test} test samples"
    recall = known.get("recall")
    if balanced and recall is not None and abs(recall - accuracy) > ROUNDING:
        yield f"recall {recall} differs from accuracy {accuracy} on a balanced test set"
    if recall is not None and {"precision", "f1"} <= set(known):
        bound = f1_bound(recall, known["precision"])
        if known["f1"] > bound + ROUNDING:
            yield f"F1 {known['f1']} is above its bound {bound:.6f}"
    if known.get("top3", 1.0) < accuracy - ROUNDING:
        yield f"top-3 accuracy {known['top3']} is below accuracy {accuracy}"


def twice(found: Mapping[str, Mapping]) -> Iterator[Finding]:
    """The same run in two folders, or the same results under two seeds."""
    by_run: dict[str, list[str]] = {}
    by_result: dict[str, list[str]] = {}
    for name, record in found.items():
        arms = record.get("arms", {})
        by_run.setdefault(record.get("identity", {}).get("id"), []).append(name)
        result = {k: [v.get(s) for s in SCORES] for k, v in arms.items()}
        result["seconds"] = record.get("seconds")
        by_result.setdefault(json.dumps(result, sort_keys=True), []).append(name)
    for run, names in by_run.items():
        if run and len(names) > 1:
            for name in names:
                others = ", ".join(n for n in names if n != name)
                yield Finding("twice", name, f"run {run} is also in {others}")
    for names in by_result.values():
        runs = {found[n].get("identity", {}).get("id") for n in names}
        if len(names) > 1 and len(runs) == len(names):
            for name in names:
                others = ", ".join(n for n in names if n != name)
                text = f"the same numbers, to the second, as in {others}"
                yield Finding("twice", name, text)


def repeated(first: Mapping, second: Mapping) -> Finding:
    """The finding on two different runs of one seed of one setting."""
    ids = [r["identity"]["id"] for r in (first, second)]
    what = f"{first['protocol']} protocol, {first['tier']} tier, seed {first['seed']}"
    text = "two runs of one seed of one setting; neither is used"
    return Finding("twice", f"runs {ids[0]} and {ids[1]}", f"{what}: {text}")


def against_manifest(folder: Path, found: Mapping[str, Mapping]) -> Iterator[Finding]:
    """Records that the manifest knows and the folder does not, and the reverse. The
    committed folder has to have one; elsewhere nobody may have vouched yet."""
    path = folder / MANIFEST
    if not path.exists():
        if is_committed(folder):
            yield Finding("missing", MANIFEST, "nothing tells which records there were")
        return
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        yield Finding("unreadable", MANIFEST, str(error))
        return
    if not isinstance(listed, dict):
        yield Finding("unreadable", MANIFEST, "it is no mapping of names to digests")
        return
    for name, digest in listed.items():
        if name not in found:
            if not (folder / name / records.FILE).exists():
                yield Finding("missing", name, f"{MANIFEST} lists it, it is not there")
        elif digest_of(found[name]) != digest:
            yield Finding(
                "changed", name, f"it is not the record that {MANIFEST} lists"
            )
    for name in found:
        if name not in listed:
            yield Finding("unlisted", name, f"{MANIFEST} does not list it yet")


def digest_of(record: Mapping) -> str:
    """A record's digest; the one inside is right where ``records.read`` has read it."""
    return record.get("digest") or records.content_digest(record)


def is_committed(folder: Path) -> bool:
    """Whether a folder is that of the results which come with a checkout."""
    root = paths.checkout()
    if root is None or not folder.is_dir():
        return False
    return folder.resolve() == (root / "results").resolve()


def write_manifest(folder: str | Path) -> tuple[Path, list[str]]:
    """List the records under ``folder`` in its manifest; returns it and what is new.

    Raises ``RecordError`` when a record has a fault of its own: a manifest vouches.
    """
    folder = Path(folder)
    _, findings = examine(folder)
    own = [f for f in findings if f.kind in ("unreadable", "wrong number", "twice")]
    own = [f for f in own if f.where != MANIFEST]
    if own:
        raise RecordError("; ".join(map(str, own)))
    found, _ = read_each(folder)
    path = folder / MANIFEST
    listed = {name: digest_of(record) for name, record in found.items()}
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    return path, [f"{f.kind}: {f.where}" for f in findings]
