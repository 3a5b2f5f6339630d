"""The ledger over made-up records: which cell is answered, and what is said of it."""

from __future__ import annotations

import json
import subprocess
import sys

import made_up
import pytest

import rlap_command as cli
from rlap.ledger import counts, paper
from rlap.ledger import rows as ledger
from rlap.ledger.cells import (
    Setting,
    epoch_seconds,
    scale_of,
    setting_of,
)
from rlap.ledger.claims import PAPER, noise
from rlap.ledger.claims.quantities import decayed_gap, seconds_between

AT_8 = {"rate": 0.5, "level": 8.0}


def build(folder, *made):
    made_up.save(folder, *made)
    return ledger.build(folder)


def one(book, **wanted):
    (found,) = book.select(**{"protocol": "released", "tier": "small", **wanted})
    return found


def cell(book, table, value, method, metric="accuracy", variant="ours", **more):
    return one(book, table=table, setting_value=value, method=method, metric=metric,
               variant=variant, **more)  # fmt: skip


def test_without_records_every_number_is_not_run(tmp_path):
    book = ledger.build(tmp_path)
    lines = counts.counts(book.rows)
    assert len(lines) == 9
    assert {line["not run"] for line in lines} == {line["total"] for line in lines}
    assert {line["total"] for line in lines} == {471}
    assert all(r.ours is None and r.n == 0 for r in book.rows)
    assert {g.verdict for g in book.gains} == {"not run"}
    assert {c.verdict for c in book.claims} == {"not run"}


def test_one_setting_answers_every_table_that_has_it(tmp_path):
    book = build(tmp_path, *made_up.seeds(3, **AT_8))
    run = [r for r in book.rows if r.n]
    assert {(r.table, r.setting_value) for r in run} == {
        (1, "50000"), (2, "50000"), (3, "8"),
    }  # fmt: skip
    assert {(r.protocol, r.tier) for r in run} == {("released", "small")}
    found = cell(book, 1, "50000", "f_ft")
    assert (found.n, found.seeds, found.paper) == (3, (0, 1, 2), 0.802)
    assert found.ours == pytest.approx(0.701)
    assert found.high - found.ours == pytest.approx(4.302653 * 0.001 / 3**0.5, abs=1e-6)
    assert cell(book, 3, "8", "f_ft").copy_of == "table 1, 50000"
    # the arm of the criteria is not in these runs
    other = cell(book, 2, "50000", "f_ft", variant="abs")
    assert "do not have this arm" in other.reason


def test_off_scale_a_number_is_tested_as_a_gain_over_the_initial_model(tmp_path):
    book = build(tmp_path, *made_up.seeds(3, {"L-FT": 0.58}, **AT_8))
    found = cell(book, 1, "50000", "f_ft")
    assert (found.test, found.verdict) == ("gain", "reproduced")
    assert found.tested_paper == pytest.approx(0.8020 - 0.6944)
    assert found.tested_ours == pytest.approx(0.1)
    assert cell(book, 1, "50000", "l_ft").verdict == "contradicted"
    start = cell(book, 1, "50000", "initial")
    assert (start.test, start.verdict) == ("none", "inconclusive")
    assert "cannot be tested" in start.reason


def test_at_the_papers_scale_the_value_is_tested(tmp_path):
    asked = {"tier": "paper", **AT_8}
    book = build(tmp_path, *made_up.seeds(3, {"F-FT": 0.801, "initial": 0.5}, **asked))
    found = cell(book, 1, "50000", "f_ft", tier="paper")
    assert (found.test, found.verdict) == ("value", "reproduced")
    assert cell(book, 1, "50000", "initial", tier="paper").verdict == "contradicted"


def test_the_small_test_archive_is_not_the_papers_scale(tmp_path):
    """Speech at the paper's network and epochs, on data that cannot be compared."""
    asked = {"dataset": "speech_commands", "tier": "paper"}
    made = made_up.seeds(3, {"F-FT": 0.7}, **asked)
    for record in made:
        record["data"]["banner"] = "Real keywords, split anew; not comparable."
    book = build(tmp_path / "archive", *made)
    found = cell(book, 6, "speech_commands_10", "f_ft", tier="paper+data=other")
    assert (found.n, found.test) == (3, "gain")
    assert not [r for r in book.rows if r.n and r.tier == "paper"]
    for record in made:
        record["data"]["banner"] = ""
    book = build(tmp_path / "whole", *made)
    found = cell(book, 6, "speech_commands_10", "f_ft", tier="paper")
    assert (found.n, found.test) == (3, "value")
    # a smaller tier says by its name that it is not the paper's
    asked["tier"] = "small"
    small = made_up.record(**asked)
    small["data"]["banner"] = "Real keywords, split anew; not comparable."
    assert scale_of(small) == "small"


def test_one_seed_is_never_more_than_inconclusive(tmp_path):
    book = build(tmp_path, made_up.record(**AT_8), made_up.record(tier="paper", **AT_8))
    run = [r for r in book.rows if r.n]
    assert run and {r.verdict for r in run} == {"inconclusive"}
    assert all(r.low is None and r.detectable is None for r in run)
    run = [c for c in book.claims if c.n]
    assert {c.verdict for c in run} == {"inconclusive"}


def test_open_rows_say_why(tmp_path):
    wide = [made_up.record(s, {"F-FT": a}, level=8.0)
            for s, a in enumerate((0.2, 0.9, 0.5))]  # fmt: skip
    book = build(tmp_path, *wide, made_up.record(0, level=3.0))
    lines = {(x["protocol"], x["tier"]): x for x in counts.why_open(book.rows)}
    found = lines["released", "small"]
    # level 8: accuracy, precision, F1 and time of the initial network in Tables 1 and
    # 3; level 3: the same, and three arms with one seed
    assert found["nothing to compare"] == 12
    assert found["too few seeds"] == 12
    assert found["not sure"] > 0
    rows = book.select(protocol="released", tier="small", verdict="inconclusive")
    assert sum(found[name] for name in counts.OPEN) == len(rows)


def test_times_are_seconds_an_epoch_and_tested_as_a_pace(tmp_path):
    book = build(tmp_path, *made_up.seeds(3, **AT_8))
    start = cell(book, 1, "50000", "initial", "time")
    # a tenth for the test, of as many as the paper's but on a quarter of its images
    assert start.ours == pytest.approx(1.1 * 1.025)
    tuned = cell(book, 1, "50000", "l_ft", "time")
    assert (tuned.test, tuned.unit) == ("pace", "s")
    assert tuned.ours == pytest.approx(1.1)
    assert tuned.tested_paper == pytest.approx(7.98 / 20.48, abs=1e-5)
    assert tuned.tested_ours == pytest.approx(1 / 1.025, abs=1e-5)
    assert tuned.verdict == "contradicted"  # as slow as an epoch of the whole


def test_a_pace_off_the_papers_scale_is_a_direction(tmp_path):
    """A head that trains faster than printed is not against the paper."""
    made = made_up.seeds(3, **AT_8)
    for seed, record in enumerate(made):
        quick = made_up.scores(0.7, pace=0.05 + seed / 1000)
        record["arms"]["L-FT"] = quick
    tuned = cell(build(tmp_path, *made), 1, "50000", "l_ft", "time")
    assert tuned.tested_ours < 0.1 < tuned.tested_paper < 0.5
    assert (tuned.test, tuned.verdict) == ("pace", "reproduced")


def test_setup_is_part_of_an_epochs_seconds():
    history = {"seconds": [1.0, 1.0], "setup_seconds": 3.0, "test_seconds": [0.5, 0.5]}
    assert epoch_seconds(history) == 2.5
    assert epoch_seconds(history, tests=1.0) == 3.0
    assert epoch_seconds(history, tests=0.5) == 2.75
    assert epoch_seconds({"seconds": []}, tests=1.0) is None


def test_attacks_on_the_test_set_answer_table_5(tmp_path):
    book = build(tmp_path, *made_up.seeds(3, level=4.5))
    assert cell(book, 5, "0", "f_ft").ours == pytest.approx(0.701)
    at = cell(book, 5, "0.8", "f_ft")
    assert at.ours == pytest.approx(0.701 + 0.8 * (0.1 - 0.701), abs=1e-4)
    assert at.tested_ours == pytest.approx(0.2 * 0.1, abs=1e-4)


def test_speech_is_in_percent(tmp_path):
    book = build(tmp_path, *made_up.seeds(3, dataset="speech_commands"))
    found = cell(book, 6, "speech_commands_10", "f_ft", "top3_accuracy")
    assert found.ours == pytest.approx(90.1)
    assert found.paper == 93.41
    assert found.tested_ours == pytest.approx(0.1)  # a fraction, as the margin is
    assert {r.table for r in book.rows if r.n} == {6}


@pytest.mark.parametrize(
    ("asked", "scale"),
    [
        ({}, "small"),
        ({"model": "resnet18", "width": 16}, "small/resnet18-16"),
        ({"model": "resnet18", "width": 32}, "small/resnet18-32"),
        ({"model": "small"}, "small"),
        ({"tier": "paper"}, "paper"),
        ({"tier": "paper", "epochs": 3}, "paper+epochs=3"),
        ({"tier": "paper", "train_size": 25_000}, "paper"),
        ({"tier": "paper", "train_size": 3_125}, "paper+images=3125"),
        ({"arms": "all", "level": 3.0, "train_size": 6250}, "small"),
        ({"dataset": "speech_commands"}, "small"),
    ],
)
def test_scale_names_what_is_not_the_tiers_choice(asked, scale):
    assert scale_of(made_up.record(**asked)) == scale


@pytest.mark.parametrize(
    ("tier", "size", "stands_for"),
    [("small", 12_500, 50_000), ("small", 3_125, 12_500), ("paper", 25_000, 25_000)],
)
def test_sizes_stand_for_the_papers(tier, size, stands_for):
    found = setting_of(made_up.record(tier=tier, train_size=size))
    assert found == Setting("cifar10", "gaussian_clamped", 0.5, 8.0, stands_for)


def test_other_protocols_and_epochs_do_not_answer_cells(tmp_path):
    book = build(
        tmp_path,
        made_up.record(0, protocol="released+shuffle=true"),
        made_up.record(1, epochs=3),
        made_up.record(2, tier="smoke"),
        made_up.record(3, kind="gaussian"),
    )
    assert not book.findings
    assert not [r for r in book.rows if r.n and r.tier == "small"]
    assert "small+epochs=3" in {r.tier for r in book.rows}


def test_more_arms_win_and_a_second_run_of_a_seed_is_refused(tmp_path):
    main, full = made_up.record(0), made_up.record(0, {"F-FT": 0.72}, arms="all")
    book = build(tmp_path / "a", main, full)
    assert not book.findings
    assert cell(book, 1, "50000", "f_ft").ours == 0.72
    other = made_up.record(0, {"F-FT": 0.71})
    other["identity"]["code"] = "newer"
    parts = [v for k, v in other["identity"].items() if k != "id"]
    other["identity"]["id"] = evidence_id(parts)
    book = build(tmp_path / "b", main, other)
    assert [f.kind for f in book.findings] == ["twice"]
    assert not [r for r in book.rows if r.n]


def evidence_id(parts):
    from rlap.experiments import records

    return records.sha(*parts)


def test_gains_are_paired_and_corrected(tmp_path):
    # F-FT and retrain move together: a gain of .08 in every seed
    made = [made_up.record(s, {"F-FT": 0.70 + 0.1 * s, "retrain": 0.62 + 0.1 * s})
            for s in range(3)]  # fmt: skip
    book = build(tmp_path, *made)
    (gain,) = [g for g in book.gains if g.n and g.table == 1
               and g.difference == "F-FT minus retraining"]  # fmt: skip
    assert gain.paper == pytest.approx(0.0721)
    assert (gain.ours, gain.verdict) == (pytest.approx(0.08), "reproduced")
    assert gain.low == pytest.approx(0.08) and gain.p_holm == pytest.approx(0, abs=1e-9)
    wide = [
        g for g in book.gains if g.n and g.difference == "F-FT minus initial network"
    ]
    assert {g.verdict for g in wide} == {"inconclusive"}  # .1, .2, .3


def test_an_interval_ends_where_values_can_be(tmp_path):
    made = [made_up.record(s, {"F-FT": a}) for s, a in enumerate((0.1, 0.5, 0.9))]
    found = cell(build(tmp_path, *made), 1, "50000", "f_ft")
    assert (found.low, found.ours, found.high) == (0, pytest.approx(0.5), 1)
    assert found.values == (0.1, 0.5, 0.9) and found.seeds == (0, 1, 2)
    # only what is shown is cut: the gain that is tested keeps its interval
    assert found.tested_high - found.tested_low > 1.9


def test_an_area_ends_at_one(tmp_path):
    made = [made_up.record(s, auroc=a, level=8.0) for s, a in enumerate((0.6, 0.9, 1))]
    found = claim(build(tmp_path, *made), "separates")
    assert (found.low, found.high) == (pytest.approx(0.3163, abs=1e-3), 1)


def claim(book, key, **where):
    where = {"protocol": "released", "tier": "small", **where}
    rows = counts.select(book.claims, key=key, **where)
    return rows[0]


def test_claims_by_hand(tmp_path):
    extra = {"F-FT": 0.705, "F-FT/none": 0.704, "continue": 0.60}
    extra["retrain decayed"] = 0.75
    made = [r for level in range(2, 10)
            for r in made_up.seeds(3, extra, level=float(level))]  # fmt: skip
    book = build(tmp_path, *made)
    ten = claim(book, "gain-10")
    assert ten.paper == pytest.approx(0.0985875)
    assert (ten.ours, ten.verdict, ten.n) == (pytest.approx(0.085), "reproduced", 3)
    assert claim(book, "decayed-retrain").verdict == "contradicted"
    assert claim(book, "pruning-adds").verdict == "reproduced"  # by .001, surely
    assert claim(book, "not-random-units").verdict == "not run"
    assert claim(book, "names").verdict == "inconclusive"  # 24 of 24: above .86
    assert claim(book, "do-nothing").verdict == "reproduced"
    assert claim(book, "levels").verdict == "reproduced"
    assert claim(book, "gradients").verdict == "contradicted"
    assert claim(book, "speech").verdict == "not run"
    # one of two sizes, four of five rates, level 4.5 and speech are missing: it holds
    # where it was run
    separates = claim(book, "separates")
    assert separates.verdict == "inconclusive"
    assert "8 of 16 settings run" in separates.reason


def test_one_bad_setting_contradicts_an_always(tmp_path):
    made = [made_up.record(s, level=level, auroc=area + 0.001 * s)
            for level, area in ((2.0, 0.6), (8.0, 0.01)) for s in range(3)]  # fmt: skip
    found = claim(build(tmp_path, *made), "separates")
    assert found.verdict == "contradicted"
    assert found.ours == pytest.approx(0.601)
    names = claim(build(tmp_path, *made), "names")
    assert names.verdict == "contradicted"
    assert (names.n, names.ours) == (3, 0.0)  # at level 2 nothing is found
    assert "level 2" in found.reason


def test_a_mean_over_settings_waits_for_all_of_them(tmp_path):
    found = claim(build(tmp_path, *made_up.seeds(3, level=8.0)), "gain-10")
    assert found.verdict == "inconclusive"
    assert "1 of 8 settings run" in found.reason


def test_label_noise_has_its_own_rows(tmp_path):
    kind = {"kind": "symmetric_exclusive", "rate": 0.4}
    made = [made_up.record(s, {"F-FT": 0.50}, auroc=0.5, **kind) for s in range(3)]
    for s, r in enumerate(made):
        r["arms"]["F-FT"] = made_up.scores(0.50 + s / 1000)
    book = build(tmp_path, *made)
    assert claim(book, "label-noise").verdict == "contradicted"
    assert claim(book, "separates-labels").verdict == "contradicted"
    assert claim(book, "separates").verdict == "not run"


# --- the command -----------------------------------------------------------------


def run(capsys, *words) -> tuple[int, str, str]:
    code = cli.main(["ledger", *map(str, words)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_command_prints_counts_then_claims(tmp_path, capsys):
    made_up.save(tmp_path, *made_up.seeds(3, **AT_8))
    code, out, err = run(capsys, "--results", tmp_path)
    assert code == 0 and not err
    (line,) = [s for s in out.splitlines() if s.split()[:2] == ["released", "small"]]
    known = counts.counts(ledger.build(tmp_path).rows)[0]
    assert line.split()[2:] == [
        str(known[v]) for v in ("reproduced", "contradicted", "inconclusive", "not run")
    ] + ["471"]
    assert out.index("471") < out.index("F-FT beats retraining by about 10 points")


def test_command_with_the_claims_of_all_papers(tmp_path, capsys):
    made_up.save(tmp_path, *made_up.seeds(3, **AT_8))
    code, out, _ = run(capsys, "--results", tmp_path, "--claims", "--json")
    rows = json.loads(out)
    assert code == 0
    assert {row["about"] for row in rows} == {"RLAP", "LRA-NPP", "OSP", "DAMP"}
    assert {r["verdict"] for r in rows if r["about"] != "RLAP"} == {"not run"}
    code, out, _ = run(capsys, "--results", tmp_path, "--claims", "--protocol",
                       "controlled")  # fmt: skip
    assert code == 0 and "471" not in out and "OSP" not in out
    code, _, said = run(capsys, "--results", tmp_path, "--claims", "--table", 1)
    assert code == 1 and "leave out --table" in said


def test_command_as_json(tmp_path, capsys):
    made_up.save(tmp_path, *made_up.seeds(3, **AT_8))
    code, out, _ = run(capsys, "--results", tmp_path, "--json", "--table", 1,
                       "--protocol", "released", "--tier", "small")  # fmt: skip
    rows = json.loads(out)
    assert code == 0 and len(rows) == 48
    wanted = "table setting_name setting_value method variant metric paper protocol "
    wanted += "tier n ours low high verdict"
    assert set(wanted.split()) <= set(rows[0])
    assert {r["table"] for r in rows} == {1}
    code, out, _ = run(capsys, "--results", tmp_path, "--json")
    assert len(json.loads(out)) == 9 * 471


def test_command_notices_a_planted_number(tmp_path, capsys):
    first, *_ = made_up.save(tmp_path, *made_up.seeds(3, **AT_8))
    content = json.loads(first.read_text())
    content["arms"]["F-FT"]["accuracy"] = 0.9999
    first.write_text(json.dumps(content))
    code, _, err = run(capsys, "--results", tmp_path)
    assert code == 1
    assert "changed after it was written" in err


def test_command_writes_the_manifest_and_tidy_tables(tmp_path, capsys):
    paths = made_up.save(tmp_path, *made_up.seeds(2, **AT_8))
    code, out, _ = run(capsys, "--results", tmp_path, "--manifest")
    assert code == 0 and "2 records" in out
    paths[0].unlink()
    code, _, err = run(capsys, "--results", tmp_path)
    assert code == 1 and "missing" in err
    code, out, _ = run(capsys, "--results", tmp_path, "--tidy", tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0].startswith("run,notebook,protocol,tier,scale,dataset,kind,rate")
    # one record: five arms with seven metrics and seconds an epoch, four arms at four
    # rates with four, six numbers on the partition, two detectors, six stages; rate of
    # the noise and the attribution's distance
    assert len(lines) == 1 + 5 * 8 + 4 * 4 * 4 + 6 + 2 + 6 + 2


def test_command_refuses_what_there_is_not(tmp_path, capsys):
    code, _, err = run(capsys, "--results", tmp_path, "--tier", "smal")
    assert code == 2 and "small" in err
    assert run(capsys, "--results", tmp_path, "--protocol", "relased")[0] == 2
    with pytest.raises(SystemExit):
        run(capsys, "--table", 7)
    assert run(capsys, "--results", tmp_path / "nowhere")[0] == 2


def test_command_is_quiet_when_nobody_reads_on(tmp_path):
    words = [sys.executable, "-m", "rlap.cli", "ledger", "--results", str(tmp_path)]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()  # `rlap ledger | head` once head has gone
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_every_claim_is_stated_in_full():
    keys = [c.key for c in noise.claims()]
    assert len(set(keys)) == len(keys)
    for c in noise.claims():
        assert c.words and c.rule
        assert bool(c.source) == (c.family == PAPER)
    assert paper.printed_saving("l_ft") == pytest.approx(1 - 7.98 / 15)
    assert paper.by_key()[1, "50000", "retrain", "ours", "time"].printed == "15"


def test_the_decayed_retrain_is_the_protocols_own_where_that_decays():
    quantity = decayed_gap("F-FT")
    arms = {"F-FT": {"accuracy": 0.7}, "retrain": {"accuracy": 0.6}}
    for protocol, expected in {
        "controlled": 0.1,
        "released": None,
        "released+decay=onecycle": None,  # it decays, over fewer epochs
        "released+decay=onecycle+retrain_epochs=total": 0.1,
    }.items():
        found = quantity({"protocol": protocol, "arms": arms})
        assert found == (None if expected is None else pytest.approx(expected))
    arms = arms | {"retrain decayed": {"accuracy": 0.75}}
    found = quantity({"protocol": "released", "arms": arms})
    assert found == pytest.approx(-0.05)


@pytest.mark.parametrize(
    ("protocol", "kind", "own_stage", "expected"),
    [
        # attribution .1 and partition .1, then the pass with seven criteria, pruning
        ("released", "gaussian_clamped", None, 0.2 + 2.8 + 0.1),
        ("released", "gaussian_clamped", 2.6, 0.2 + 2.6 + 0.4 + 0.1),
        ("released", "symmetric_exclusive", None, 0.2 + 0.4 + 0.1),
        ("released+redraw=false", "gaussian_clamped", None, 0.2 + 0.4 + 0.1),
        ("controlled", "gaussian_clamped", None, 0.2 + 0.4 + 0.1),
    ],
)
def test_a_pass_that_any_criterion_needs_is_counted_whole(
    protocol, kind, own_stage, expected
):
    made = made_up.record(0, protocol=protocol, kind=kind)
    made["units_by_criterion"] = {name: [0] for name in "abcdefg"}
    made["seconds"] |= {"sensitivity": 2.8, "pruning": 0.7}
    if own_stage is not None:
        made["seconds"]["activations"] = own_stage
    assert seconds_between(made, "L-FT") == pytest.approx(expected)
    assert seconds_between(made, "retrain") == pytest.approx(0.2)
