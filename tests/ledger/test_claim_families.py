"""Claims over several settings or runs: what is corrected, and which runs count."""

from __future__ import annotations

from pathlib import Path

import made_up
import pytest
from test_ledger import AT_8, build, claim

from rlap.ledger import counts
from rlap.ledger.cells import headline, scale_of, setting_of
from rlap.ledger.claims import noise, rules
from rlap.ledger.evidence import Runs
from rlap.ledger.verdicts import judge_above
from rlap.runs.grid import jobs_of


def test_what_was_not_tested_makes_no_family_larger(tmp_path):
    """A single seed of speech leaves the p-values of the other claims alone."""
    made = [
        made_up.record(s, {"F-FT": 0.7 + s / 50, "continue": 0.60}, **AT_8)
        for s in range(3)
    ]
    before = build(tmp_path / "before", *made)
    speech = {"dataset": "speech_commands", "kind": "gaussian", "level": 15.0}
    after = build(tmp_path / "after", *made, made_up.record(**speech))
    assert claim(after, "speech").n == 1 and claim(after, "speech").p_holm is None
    for key in ("gain-10", "time-total", "do-nothing"):
        assert claim(after, key).p_holm == claim(before, key).p_holm > 0


def test_all_together_need_no_correction_but_one_that_contradicts_does():
    good, bad = [0.10, 0.11, 0.12], [-0.10, -0.11, -0.12]

    def judged(*of_settings):
        found = dict(zip(noise.T4, map(dict, map(enumerate, of_settings)), strict=True))
        rule = rules.at_every(noise.T4, {"": lambda value: value}, 0.0, 0.0)
        return rule(Runs(("released", "small"), found))

    every, one = judged(*[good] * 5), judged(*[good] * 4, bad)
    assert every.verdict == "reproduced" and one.verdict == "contradicted"
    assert every.p == pytest.approx(judge_above(good, 0.0, 0.0).p)  # as of one alone
    assert one.p == pytest.approx(5 * judge_above(bad, 0.0, 0.0).p)
    barely = [0.0, 0.05, 0.1]  # not surely above zero
    assert judged(*[good] * 4, barely).verdict == "inconclusive"


def test_settings_that_share_no_seed_have_no_mean():
    """Two settings of three seeds each, none the same; and a third that was not run."""
    first, second, third = noise.T4[:3]
    found = {first: dict.fromkeys((0, 1, 2), 0.1), second: dict.fromkeys((3, 4), 0.1)}
    runs = Runs(("released", "small"), found)
    for settings in ((first, second), (first, second, third)):
        judged = rules.on_average(settings, lambda value: value, 0.0)(runs)
        assert (judged.verdict, judged.found) == ("not run", None)
        assert judged.reason == "no seed has all settings"
    nothing = rules.on_average((third,), lambda value: value, 0.0)(runs)
    assert (nothing.verdict, nothing.reason) == ("not run", "no records")


def test_only_partitions_that_separate_say_whether_the_clean_part_was_kept(tmp_path):
    made = made_up.seeds(3, **AT_8)
    for record, area in zip(made, (0.6, 0.05, 0.95), strict=True):
        record["partition"]["detection"]["auroc"] = area
        record["partition"]["oriented_right"] = area > 0.5
    names = claim(build(tmp_path, *made), "names")
    kept, _, few = names.reason.partition("; ")
    assert kept == "the purer part was kept in 1 of 2 runs of 2 seeds"
    assert few == "a verdict needs 3 seeds"
    assert (names.verdict, names.ours) == ("inconclusive", 0.5)


def test_a_share_of_runs_rests_on_seeds(tmp_path):
    """Three settings of one seed are three runs and one seed."""
    for seeds, verdict in ((1, "inconclusive"), (3, "contradicted")):
        made = [made_up.record(s, level=level, auroc=0.01 + s / 1000)
                for level in (2.0, 5.0, 8.0) for s in range(seeds)]  # fmt: skip
        found = claim(build(tmp_path / verdict, *made), "names")
        assert (found.verdict, found.n, found.ours) == (verdict, seeds, 0.0)
        assert f"0 of {3 * seeds} runs of {seeds} seed" in found.reason


def test_what_hardly_acts_decides_nothing(tmp_path):
    """Where neither way to prune does anything, their difference says nothing."""
    arms = {"F-FT": 0.70, "F-FT/random": 0.66, "initial": 0.60}
    for change, verdict in ((0.01, "inconclusive"), (0.05, "reproduced")):
        more = {"pruned": 0.60, "pruned/random": 0.60 - change}
        made = made_up.seeds(3, arms | more, **AT_8)
        found = claim(build(tmp_path / verdict, *made), "not-random-units")
        assert found.verdict == verdict
        told = f"random units minus initial network {-100 * change:+.1f} points"
        assert told in found.reason
        assert ("hardly acts" in found.reason) == (verdict == "inconclusive")


def test_the_truly_clean_part_is_compared_at_equal_size(tmp_path):
    arms = {"F-FT/clean subset": 0.70, "F-FT/random subset": 0.65, "continue": 0.72}
    book = build(tmp_path, *made_up.seeds(3, arms, **AT_8))
    assert claim(book, "clean-part").verdict == "contradicted"
    assert claim(book, "clean-size").verdict == "reproduced"


@pytest.mark.parametrize(
    ("change", "alone", "like"),
    [
        (0.01, "reproduced", "reproduced"),
        (-0.01, "contradicted", "reproduced"),
        (-0.03, "contradicted", "contradicted"),
    ],
)
def test_arms_without_a_table_have_a_claim(tmp_path, change, alone, like):
    arms = {"continue": 0.70, "pruned+continue": 0.70 + change}
    arms |= {"F-FT": 0.70, "F-FT/clean subset": 0.70 - change}
    book = build(tmp_path, *made_up.seeds(3, arms, **AT_8))
    assert claim(book, "pruning-alone").verdict == alone
    assert claim(book, "pruning-alone").ours == pytest.approx(change)
    assert claim(book, "like-clean").verdict == like
    assert claim(book, "like-clean").ours == pytest.approx(change)


def test_the_noisier_part_is_the_kept_one_where_the_noisy_part_was_kept(tmp_path):
    """Its cost is 10, 10.1 and, in the run that kept the noisy part, 10.2 points."""
    right = {"initial": 0.60, "F-FT": 0.75, "F-FT/wrong cluster": 0.50}
    wrong = {"initial": 0.602, "F-FT": 0.50, "F-FT/wrong cluster": 0.75}
    made = [
        made_up.record(0, right, **AT_8),
        made_up.record(1, right | {"initial": 0.601}, **AT_8),
        made_up.record(2, wrong, auroc=0.05, **AT_8),
        # the other part is not in this run: to count it because the noisy one was
        # kept would choose among the runs
        made_up.record(3, {"initial": 0.9, "F-FT": 0.1}, auroc=0.05, **AT_8),
    ]
    found = claim(build(tmp_path, *made), "wrong-part")
    assert (found.n, found.verdict) == (3, "reproduced")
    assert found.ours == pytest.approx(0.101)


def test_of_what_contradicts_the_surest_is_shown(tmp_path):
    """The interval, the p-value and the setting are those of one and the same test."""
    made = []
    for level, areas in ((8.0, (0.5, 0.6, 0.85)), (9.0, (0.7, 0.701, 0.702))):
        for seed, area in enumerate(areas):
            made.append(made_up.record(seed, level=level, rate=0.5, auroc=area))
    found = claim(build(tmp_path, *made), "separates")
    assert "level 9" in found.reason and found.ours == pytest.approx(0.701)
    assert found.verdict == "contradicted" and found.p_holm < 0.01


def test_chance_under_wrong_labels_is_within_a_margin_of_a_half(tmp_path):
    kind = {"kind": "symmetric_exclusive", "rate": 0.4}
    made = [made_up.record(s, auroc=0.5 + s / 100, **kind) for s in range(3)]
    found = claim(build(tmp_path, *made), "lead-labels")
    assert (found.verdict, found.ours) == ("reproduced", pytest.approx(0.51))
    far = [made_up.record(s, auroc=0.9 + s / 100, **kind) for s in range(3)]
    assert claim(build(tmp_path / "far", *far), "lead-labels").verdict == "contradicted"


# --- the authors' notebook, reduced ----------------------------------------------

REDUCED = {"model": "resnet18", "width": 16, "epochs": 20, "finetune_epochs": 10}


def reduced(book, key):
    """The one row of a claim about the authors' notebook, reduced."""
    (row,) = counts.select(book.claims, key=key)
    assert (row.protocol, row.tier) == noise.REDUCED
    return row


def reduced_runs(*areas, accuracy=0.25, right=0.99):
    """A run an area: those below a half kept the noisy part and collapsed."""
    made = []
    for seed, area in enumerate(areas):
        arms = {"initial": 0.45, "F-FT": 0.5, "L-FT": 0.46}
        if area < 0.5:
            arms |= {"F-FT": accuracy + seed / 100, "L-FT": 0.26}
        made.append(made_up.record(seed, arms, auroc=area, **AT_8, **REDUCED))
        share = right if area > 0.5 else 1 - right
        made[-1]["partition"]["detection"]["accuracy"] = share
    return made


def test_the_rules_on_the_authors_notebook_are_about_its_grid():
    """Five runs at the headline, each at the place that the rules speak of."""
    (path,) = (Path(__file__).parents[2] / "grids").glob("audit5.yaml")
    asked = [job.parameters.resolved().identity() for job in jobs_of([path])]
    runs = [{"parameters": parameters} for parameters in asked]
    assert [r["parameters"]["seed"] for r in runs] == [0, 1, 2, 3, 4]
    for run in runs:
        assert (run["parameters"]["protocol"], scale_of(run)) == noise.REDUCED
        assert setting_of(run) == headline()


def test_the_authors_notebook_is_not_run_until_it_is(tmp_path):
    book = build(tmp_path, *made_up.seeds(3, **AT_8))
    for key in ("reduced-split", "reduced-collapse", "reduced-head", "reduced-full"):
        assert reduced(book, key).verdict == "not run"


@pytest.mark.parametrize(
    ("right", "verdict"),
    [(0.99, "reproduced"), (0.80, "contradicted"), (0.95, "inconclusive")],
)
def test_near_perfect_is_meant_either_way_round(tmp_path, right, verdict):
    made = reduced_runs(0.999, 0.001, 0.998)
    for off, record in zip((-0.002, 0.0, 0.002), made, strict=True):
        share = right + off
        swapped = not record["partition"]["oriented_right"]
        record["partition"]["detection"]["accuracy"] = 1 - share if swapped else share
    found = reduced(build(tmp_path, *made), "reduced-split")
    assert (found.n, found.verdict) == (3, verdict)
    assert found.ours == pytest.approx(right)


def test_a_collapse_is_asked_of_the_runs_that_kept_the_noisy_part(tmp_path):
    kept_noisy, kept_clean, missed = 0.01, 0.99, 0.45

    def judged(name, *areas, **how):
        book = build(tmp_path / name, *reduced_runs(*areas, **how))
        return reduced(book, "reduced-collapse")

    three = [kept_noisy] * 3
    found = judged("three", kept_clean, *three, missed)
    assert (found.n, found.verdict) == (3, "reproduced")
    assert found.ours == pytest.approx(0.45 - 0.27)
    assert judged("little", *three, accuracy=0.43).verdict == "inconclusive"
    assert judged("none", *three, accuracy=0.50).verdict == "contradicted"
    two = judged("two", kept_clean, *three[:2])
    assert (two.verdict, two.reason) == ("inconclusive", "2 seeds; a verdict needs 3")
    never = judged("never", kept_clean, kept_clean, kept_clean)
    assert (never.verdict, never.reason) == ("not run", "no run kept the noisy part")


def test_doing_nothing_is_compared_in_every_run_of_the_authors_notebook(tmp_path):
    made = reduced_runs(0.01, 0.02, 0.03, 0.99, 0.98)
    book = build(tmp_path, *made)
    assert reduced(book, "reduced-full").n == reduced(book, "reduced-head").n == 5
