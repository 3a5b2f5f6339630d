"""The tidy tables: every number once, with what it is about, and kept on disk."""

from __future__ import annotations

import json

import made_up
import pandas as pd
import pytest

from rlap.ledger import tables


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RLAP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tables"


def test_a_record_is_one_row_an_arm_and_quantity():
    made = made_up.record(1, {"F-FT": 0.71}, train_size=3_125)
    found = tables.records_table([made])
    one = found.query("arm == 'F-FT' and attack == 0 and metric == 'accuracy'")
    (row,) = one.to_dict("records")
    assert row["value"] == 0.71 and row["seed"] == 1 and row["scale"] == "small"
    assert (row["size_true"], row["size_paper"]) == (3_125, 12_500)
    assert (row["kind"], row["rate"], row["level"]) == ("gaussian_clamped", 0.5, 8.0)
    assert (row["commit"], row["precision"]) == ("0000000000", "fp32")
    at = found.query("arm == 'F-FT' and attack == 0.8 and metric == 'accuracy'")
    assert at["value"].item() == pytest.approx(0.222)
    pace = found.query("arm == 'F-FT' and metric == 'epoch_seconds'")
    assert pace["value"].item() == pytest.approx(1.1)
    area = found.query("arm == 'detector: loss' and metric == 'auroc'")
    assert area["value"].item() == 0.9
    stage = found.query("arm == 'initial' and metric == 'stage_seconds'")
    assert stage["value"].item() == 2.0
    assert not found.duplicated(["run", "arm", "attack", "metric"]).any()


def test_changed_trees_and_states_of_the_code_are_counted():
    made = [made_up.record(seed) for seed in range(3)]
    made[2]["identity"] = {**made[2]["identity"], "id": "other", "code": "newer"}
    made[2]["provenance"] = {**made[2]["provenance"], "dirty": True}
    made[2]["provenance"]["written"] = "2000-01-02T00:00:00+00:00"
    found = tables.sources(tables.records_table(made)).to_dict("records")
    assert [(f["code"], f["commit"], f["records"]) for f in found] == [
        ("made up", "0000000000", 2), ("newer", "0000000000, changed", 1),
    ]  # fmt: skip
    assert found[1]["first"] == found[1]["last"] == "2000-01-02"


def test_tables_are_read_back_as_they_were_written(tmp_path, cache):
    made = made_up.seeds(3, level=8.0)
    made_up.save(tmp_path / "results", *made)
    first = tables.load(tmp_path / "results")
    (kept,) = cache.iterdir()
    before = (kept / "values.csv").stat().st_mtime_ns
    again = tables.load(tmp_path / "results")
    assert (kept / "values.csv").stat().st_mtime_ns == before
    for name in ("records", "rows", "gains", "claims", "orderings"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(again, name))
    direct = tables.records_table(made)
    pd.testing.assert_frame_equal(direct, first.records, check_dtype=False)
    run = first.rows.query("n == 3 and table == 1 and metric == 'accuracy'")
    assert set(run["method"]) == {"initial", "l_ft", "f_ft", "retrain"}
    assert first.findings.empty


def test_a_changed_record_makes_new_tables_and_old_ones_go(tmp_path, cache):
    (path,) = made_up.save(tmp_path / "results", made_up.record())
    tables.keep(tmp_path / "results")
    path.write_text(json.dumps({"schema": 1}))
    found = tables.load(tmp_path / "results")
    assert found.findings["kind"].tolist() == ["unreadable"]
    assert found.records.empty and len(found.rows) == 9 * 471
    assert len(list(cache.iterdir())) == 2
    for n in range(4):
        path.write_text(json.dumps({"schema": 1, "n": n}))
        tables.keep(tmp_path / "results")
    assert len(list(cache.iterdir())) == tables.KEPT


def test_damaged_tables_are_made_again(tmp_path, cache):
    made_up.save(tmp_path / "results", made_up.record())
    kept = tables.keep(tmp_path / "results")
    whole = (kept / "values.csv").read_bytes()
    (kept / "values.csv").write_bytes(whole[:100])
    assert tables.keep(tmp_path / "results") == kept
    assert (kept / "values.csv").read_bytes() == whole
    other = whole.replace(b"0.7", b"0.8")  # as long as it was
    assert other != whole and len(other) == len(whole)
    (kept / "values.csv").write_bytes(other)
    assert tables.keep(tmp_path / "results") == kept
    assert (kept / "values.csv").read_bytes() == whole
    (kept / "ledger.json").unlink()
    assert len(tables.listed(tmp_path / "results")["runs"]) == 1


def test_where_the_cache_cannot_be_written_the_tables_pass(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RLAP_CACHE", str(tmp_path / "file"))
    made_up.save(tmp_path / "results", made_up.record())
    assert len(tables.listed(tmp_path / "results")["runs"]) == 1
    assert tables.passing() in tables.keep(tmp_path / "results").parents
