"""A wrong number, a missing record, one that is there twice: each is noticed."""

from __future__ import annotations

import json
import shutil

import made_up
import pytest

from rlap.experiments import records
from rlap.experiments.records import RecordError
from rlap.files import paths
from rlap.ledger import integrity
from rlap.ledger import rows as ledger


def kinds(folder) -> list[str]:
    return [f.kind for f in integrity.examine(folder)[1]]


def replant(path, change, *, sign: bool) -> None:
    """Change a record by hand; with ``sign`` its digest is made to fit again."""
    content = json.loads(path.read_text())
    change(content)
    if sign:
        content["digest"] = records.content_digest(content)
    path.write_text(json.dumps(content))


def set_accuracy(value):
    return lambda r: r["arms"]["F-FT"].update(accuracy=value)


def test_sound_records_have_no_findings(tmp_path):
    made_up.save(tmp_path, *made_up.seeds(2))
    found, findings = integrity.examine(tmp_path)
    assert len(found) == 2 and not findings
    assert all("digest" in r for r in found.values())


def test_a_number_changed_by_hand_is_noticed_and_left_out(tmp_path):
    path, _ = made_up.save(tmp_path, *made_up.seeds(2))
    replant(path, set_accuracy(0.7001), sign=False)
    found, findings = integrity.examine(tmp_path)
    assert [r["seed"] for r in found.values()] == [1]
    assert [f.kind for f in findings] == ["unreadable"]
    assert "changed after it was written" in findings[0].text
    with pytest.raises(RecordError, match="changed after"):
        records.read(path)


def set_arm(**values):
    return lambda r: r["arms"]["F-FT"].update(values)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (set_arm(accuracy=0.70005, recall=0.70005), "no count out of 10000"),
        (set_arm(recall=0.71), "balanced test set"),
        (set_arm(f1=0.75), "above its bound 0.700000"),
        (set_arm(top3=0.5), "top-3 accuracy 0.5 is below"),
        (set_arm(precision=1.2), "not between 0 and 1"),
        (set_arm(seconds=99.0), "its epochs took 2"),
        (set_arm(samples=99_999), "more samples than there are"),
        (
            set_arm(accuracy=0.9, recall=0.9, precision=0.9, top3=1.0),
            "off that of its last epoch",
        ),
        (lambda r: r["attacked"]["F-FT"]["0.2"].update(f1=0.9), "0.2 of the test set"),
        (lambda r: r.update(seed=7), "seed is 7, its parameters say 0"),
        (lambda r: r.update(protocol="controlled"), "protocol is 'controlled'"),
        (lambda r: r["data"].update(digest="e" * 64), "data are not those"),
        (lambda r: r["data"].update(n_train=5), "n_train is 5"),
        (lambda r: r["identity"].update(code="other"), "identity is not that"),
        (lambda r: r["provenance"].update(environment={}), "environment is not"),
    ],
)
def test_a_signed_number_that_cannot_be_is_noticed(tmp_path, change, text):
    (path,) = made_up.save(tmp_path, made_up.record())
    replant(path, change, sign=True)
    found, findings = integrity.examine(tmp_path)
    assert not found
    assert {f.kind for f in findings} == {"wrong number"}
    assert any(text in f.text for f in findings), findings


@pytest.mark.parametrize(
    ("watched", "last", "sound"),
    [(None, 0.64, False), (2000, 0.64, False), (500, 0.64, True), (500, 0.6, False)],
)
def test_few_images_that_watch_may_stray_further(tmp_path, watched, last, sound):
    """0.7 by all images; of 500 four standard deviations are 8.2 points."""
    made = made_up.record()
    made["arms"]["F-FT"]["history"]["test_accuracy"][-1] = last
    if watched is not None:
        made["watched"] = watched
    made_up.save(tmp_path, made)
    found, findings = integrity.examine(tmp_path)
    assert bool(found) == sound
    assert sound or "off that of its last epoch" in findings[0].text


def test_a_missing_record_is_noticed(tmp_path):
    paths = made_up.save(tmp_path, *made_up.seeds(3))
    integrity.write_manifest(tmp_path)
    assert kinds(tmp_path) == []
    shutil.rmtree(paths[1].parent)
    assert kinds(tmp_path) == ["missing"]


def test_the_committed_folder_has_to_have_a_manifest(tmp_path, monkeypatch):
    committed, other = tmp_path / "results", tmp_path / "runs"
    monkeypatch.setattr(paths, "checkout", lambda: tmp_path)
    made_up.save(other, made_up.record())
    assert kinds(committed) == kinds(other) == []
    made_up.save(committed, made_up.record())
    assert kinds(other) == []
    found, findings = integrity.examine(committed)
    assert [str(f)[:22] for f in findings] == ["missing: MANIFEST.json"]
    assert len(found) == 1  # the records that are there are sound
    monkeypatch.setattr(paths, "checkout", lambda: None)  # nothing is committed
    assert kinds(committed) == []
    monkeypatch.setattr(paths, "checkout", lambda: tmp_path)
    integrity.write_manifest(committed)
    assert kinds(committed) == []


def test_an_exchanged_and_a_new_record_are_noticed(tmp_path):
    (path,) = made_up.save(tmp_path, made_up.record())
    integrity.write_manifest(tmp_path)
    records.write(made_up.record(0, {"F-FT": 0.71}), path.parent)
    made_up.save(tmp_path / "more", made_up.record(1))
    found, findings = integrity.examine(tmp_path)
    assert sorted(f.kind for f in findings) == ["changed", "unlisted"]
    assert [r["seed"] for r in found.values()] == [1]  # unlisted, but sound
    _, news = integrity.write_manifest(tmp_path)
    assert len(news) == 2
    assert kinds(tmp_path) == []


def test_a_duplicated_record_is_noticed(tmp_path):
    (path,) = made_up.save(tmp_path, made_up.record())
    shutil.copytree(path.parent, tmp_path / "again")
    found, findings = integrity.examine(tmp_path)
    assert not found
    assert [f.kind for f in findings] == ["twice", "twice"]


def test_one_result_under_two_seeds_is_noticed(tmp_path):
    first = made_up.record(0)
    same = {k: first[k] for k in ("arms", "seconds")}
    second = {**made_up.record(1), **same}
    made_up.save(tmp_path, first, second)
    found, findings = integrity.examine(tmp_path)
    assert not found
    assert all("same numbers" in f.text for f in findings)


def test_a_manifest_vouches_for_no_faulty_record(tmp_path):
    made_up.save(tmp_path, {**made_up.record(), "seed": 3})
    with pytest.raises(RecordError, match="seed is 3"):
        integrity.write_manifest(tmp_path)
    assert not (tmp_path / integrity.MANIFEST).exists()


def test_damaged_files_and_running_runs(tmp_path):
    made_up.save(tmp_path, made_up.record())
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    (tmp_path / integrity.MANIFEST).write_text("[")
    records.write(made_up.record(5), tmp_path / ".s5.17.tmp")
    records.write(made_up.record(6), tmp_path / "s6.failed")
    found, findings = integrity.examine(tmp_path)
    assert [r["seed"] for r in found.values()] == [0]
    assert [f.kind for f in findings] == ["unreadable", "unreadable"]
    assert str(findings[0]).startswith("unreadable: broken")


def test_a_record_without_a_digest_is_still_read(tmp_path):
    (path,) = made_up.save(tmp_path, made_up.record())
    replant(path, lambda r: r.pop("digest"), sign=False)
    assert "digest" not in records.read(path)
    integrity.write_manifest(tmp_path)
    replant(path, set_accuracy(0.7), sign=False)  # as it was
    assert kinds(tmp_path) == []
    replant(path, set_accuracy(0.7001), sign=False)
    assert "changed" in kinds(tmp_path)


def test_the_committed_records_are_sound_and_listed():
    found, findings = integrity.examine(paths.results_folder())
    assert found and not findings, findings


def unknown(name: str, value: object):
    """Another version's value, told alike wherever a record tells it."""

    def change(record: dict) -> None:
        record["parameters"][name] = value
        if name in record:
            record[name] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(identity=[]),
        lambda r: r.update(identity=None),
        lambda r: r.update(parameters=None),
        lambda r: r.update(arms=None),
        lambda r: r["arms"].update({"F-FT": None}),
        lambda r: r["arms"]["F-FT"].pop("history"),
        lambda r: r["arms"]["F-FT"].update(accuracy="0.7"),
        lambda r: r["arms"].pop("initial"),
        lambda r: r.update(attacked=[1, 2]),
        lambda r: r.update(partition=None),
        lambda r: r["partition"].update(detection="none"),
        lambda r: r["partition"].pop("oriented_right"),
        lambda r: r.update(seconds={"data": "long"}),
        lambda r: r.update(noise=None),
        lambda r: r.update(provenance={}),
        lambda r: r.update(data=7),
        lambda r: r.pop("data"),
        lambda r: r["data"].pop("n_test"),
        unknown("protocol", "of-tomorrow"),
        unknown("protocol", ["released"]),
        unknown("tier", "enormous"),
        unknown("kind", "sepia"),
        unknown("dataset", "imagenet"),
        unknown("arms", "everything"),
        unknown("level", "loud"),
        unknown("seed", "three"),
        lambda r: r["parameters"].pop("rate"),
    ],
)
def test_an_odd_record_is_a_finding_and_the_rest_goes_on(tmp_path, change):
    """Such as another version may write, its digest right."""
    sound, odd = made_up.save(tmp_path, *made_up.seeds(2))
    replant(odd, change, sign=True)
    book = ledger.build(tmp_path)
    assert [r["seed"] for r in book.records] in ([0], [0, 1])
    assert len([r for r in book.rows if r.n]) >= 16
    told = {f.where for f in book.findings}
    if len(book.records) == 1:
        assert told == {odd.parent.name}
    else:  # nothing that is asked of it is missing
        assert not told


@pytest.mark.parametrize(
    "text",
    [
        '{"schema": 1, "value": NaN}',
        '{"schema": 1, "digest": "0", "value": NaN}',
        '{"schema": 1, "digest": "0", "value": 1e999}',
        '{"schema": 1, "value": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "[]",
        "null",
        "",
        "\ud800".encode("utf-8", "surrogatepass"),
        b"\xff\xfe\x00",
    ],
)
def test_a_file_that_is_no_record_is_one_finding(tmp_path, text):
    made_up.save(tmp_path, made_up.record())
    (tmp_path / "odd").mkdir()
    content = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "odd" / "record.json").write_bytes(content)
    book = ledger.build(tmp_path)
    assert len(book.records) == 1
    assert [f.where for f in book.findings] == ["odd"]


def test_a_folder_in_the_place_of_a_record_or_a_manifest_is_a_finding(tmp_path):
    made_up.save(tmp_path, made_up.record())
    (tmp_path / "odd" / "record.json").mkdir(parents=True)
    (tmp_path / integrity.MANIFEST).mkdir()
    book = ledger.build(tmp_path)
    assert len(book.records) == 1
    assert {f.where for f in book.findings} == {"odd", integrity.MANIFEST}


@pytest.mark.parametrize("text", ["[]", "7", "[" * 100_000, '{"a": NaN}', "null"])
def test_an_odd_manifest_is_a_finding(tmp_path, text):
    made_up.save(tmp_path, made_up.record())
    (tmp_path / integrity.MANIFEST).write_text(text)
    book = ledger.build(tmp_path)
    assert len(book.records) == 1 and book.findings
    assert all(f.where in (integrity.MANIFEST, "a") or f.kind == "unlisted"
               for f in book.findings)  # fmt: skip
