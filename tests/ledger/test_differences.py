"""The register of differences, the walk between protocols, and what the pages show."""

from __future__ import annotations

import made_up
import pytest

from rlap.experiments.parameters import StudyParameters
from rlap.experiments.plan import plan
from rlap.experiments.protocol import protocol_of, steps
from rlap.ledger import differences
from rlap.ledger import rows as ledger
from rlap.ledger.cells import headline

TABLES, FORGETTING = ("05_protocols",), ("03_relevance", "04_soft_pruning")


def book_of(folder, *made):
    made_up.save(folder, *made)
    return ledger.build(folder)


def entry(number: int) -> differences.Difference:
    return differences.register()[number - 1]


def test_the_register_has_the_43_findings_each_with_one_way():
    found = differences.register()
    assert [d.number for d in found] == list(range(1, 44))
    assert {d.where for d in found} == set(differences.PLACES)
    for d in found:
        if d.fields:
            assert differences.wanted(d)
            for text in differences.wanted(d):
                (changed,) = protocol_of(text).changes_from(
                    protocol_of(text.split("+")[0])
                )
                assert changed in d.fields
        if d.tables:
            assert any(c.isdigit() for c in differences.from_tables(d.tables))


def test_findings_from_the_tables_by_hand():
    told = differences.from_tables
    assert told("impossible") == "7 of 133 triples are impossible"
    assert told("same_times") == "20.48 s at 6 of 8 noise levels"
    assert told("saving_lft").startswith("L-FT saves 46.8\u00a0%")
    assert "+9.9 points in Table 3, +7.4 points in Table 4" in told("gain")
    assert told("criteria_lead").endswith("L-FT 2 of 3, F-FT 2 of 3")
    assert "each of 4 methods above share 0 lie within 0.0020" in told("mixtures")
    with pytest.raises(ValueError, match="nothing computes"):
        told("else")


def test_an_effect_is_paired_by_seed(tmp_path):
    base = made_up.seeds(3, {"F-FT": 0.70})
    other = made_up.seeds(4, {"F-FT": 0.73}, protocol="released+shuffle=true")
    book = book_of(tmp_path, *base, *other)
    found = {e.arm: e for e in differences.effects(book.evidence, entry(14))}
    assert set(found) == {"pruned", "L-FT", "F-FT", "retrain", "initial"}
    assert found["F-FT"].difference.mean == pytest.approx(0.03)
    assert found["F-FT"].seeds == (0, 1, 2)
    assert (found["F-FT"].base, found["F-FT"].what) == ("released", "shuffle=true")
    assert differences.effects(book.evidence, entry(9)) == []
    assert found["F-FT"].setting == headline()
    assert [e.arm for e in differences.strongest(book.evidence)] == ["F-FT"]


def test_an_effect_goes_from_the_released_value_to_the_other(tmp_path):
    base = made_up.seeds(3, {"F-FT": 0.70}, protocol="controlled")
    other = made_up.seeds(3, {"F-FT": 0.66}, protocol="controlled+mask=false")
    book = book_of(tmp_path, *base, *other)
    found = differences.effects(book.evidence, entry(9))
    effect = next(e for e in found if e.arm == "F-FT")
    assert (effect.base, effect.what) == ("controlled+mask=false", "mask=true")
    assert effect.difference.mean == pytest.approx(0.04)


def test_the_steps_of_the_walk_are_effects_too(tmp_path):
    walk = [name for name, _ in steps("released", "controlled", "cifar10")]
    before, last = walk[-2:]
    base = made_up.seeds(3, {"retrain": 0.70}, protocol=before)
    book = book_of(tmp_path, *base, *made_up.seeds(3, {"retrain": 0.72}, protocol=last))
    # the last step also changes what only concerns speech and the rival criteria
    found = {e.arm: e for e in differences.effects(book.evidence, entry(13))}
    assert found["retrain"].difference.mean == pytest.approx(0.02)
    assert found["retrain"].what == "retrain_epochs=total"
    assert differences.short_name(before) == "released, walked to finetune_decay"
    assert differences.effects(book.evidence, entry(18)) == []


def test_runs_of_other_networks_are_no_pair(tmp_path):
    """The mask cannot change the initial network: where that differs, the runs are of
    two networks, as of two states of the code."""
    base = made_up.seeds(4, {"F-FT": 0.60, "initial": 0.5}, protocol="controlled")
    other = made_up.seeds(4, {"F-FT": 0.70}, protocol="controlled+mask=false")
    book = book_of(tmp_path, *base, *other)
    assert differences.effects(book.evidence, entry(9)) == []
    assert differences.is_open(book.evidence, entry(9))
    assert differences.lone_pairs(book.evidence) == 4


def test_of_two_runs_of_a_seed_the_one_of_the_same_network_makes_the_pair(tmp_path):
    """A fuller run by other code has another network; the smaller one beside it was
    made for the comparison."""
    asked = {"protocol": "controlled", "arms": "all"}
    fuller = made_up.seeds(3, {"F-FT": 0.60, "initial": 0.5}, **asked)
    made_for_it = made_up.seeds(3, {"F-FT": 0.75}, protocol="controlled")
    other = made_up.seeds(3, {"F-FT": 0.70}, protocol="controlled+mask=false")
    book = book_of(tmp_path, *fuller, *made_for_it, *other)
    (effect,) = (
        e for e in differences.effects(book.evidence, entry(9)) if e.arm == "F-FT"
    )
    assert effect.difference.mean == pytest.approx(0.05)
    assert differences.lone_pairs(book.evidence) == 0
    runs = book.evidence.at("controlled", "small", headline())
    assert runs[0]["arms"]["F-FT"]["accuracy"] == 0.60


def test_where_training_changes_one_code_makes_a_pair(tmp_path):
    base = made_up.seeds(3)
    other = made_up.seeds(3, {"F-FT": 0.75}, protocol="released+shuffle=true")
    for record in other:
        record["identity"]["code"] = "another"
    book = book_of(tmp_path, *base, *other)
    assert differences.effects(book.evidence, entry(14)) == []


def test_a_field_that_cannot_reach_an_arm_may_differ(tmp_path):
    """BatchNorm in L-FT is nothing to F-FT: such a run stands for the named one."""
    stand_in = "controlled+head_batchnorm=update"
    base = made_up.seeds(3, {"F-FT": 0.75}, protocol=stand_in)
    other = made_up.seeds(3, {"F-FT": 0.70}, protocol="controlled+mask=false")
    book = book_of(tmp_path, *base, *other)
    (effect,) = differences.effects(book.evidence, entry(9))
    assert (effect.arm, effect.base) == ("F-FT", "controlled+mask=false")
    assert effect.difference.mean == pytest.approx(0.05)


def test_two_seeds_are_no_effect(tmp_path):
    made = made_up.seeds(2)
    made += made_up.seeds(2, {"F-FT": 0.75}, protocol="released+cluster=confidence")
    book = book_of(tmp_path, *made)
    assert differences.effects(book.evidence, entry(1)) == []
    assert differences.every_effect(book.evidence, entry(1))


@pytest.mark.parametrize("name", differences.LATE)
def test_a_late_field_leaves_the_initial_training_alone(name):
    """What ``LATE`` says of arms, by the plan of a run."""
    dataset = "cifar10" if differences.acts_on(name, "cifar10") else "speech_commands"
    for text in ("released", "controlled"):
        for value in differences.other_values(text, name):
            one, other = (
                plan(StudyParameters(protocol=p, dataset=dataset).resolved())
                for p in (text, differences.changed_name(text, {name: value}))
            )
            for part in ("load", "redraw", "monitor"):
                assert getattr(one, part) == getattr(other, part)
            arms = {"initial", *differences.ARMS} - {"pruned"}
            for arm in arms - set(differences.touched(name)):
                assert one.recipes[arm] == other.recipes[arm]


def test_arms_of_one_run_measure_a_missing_control(tmp_path):
    book = book_of(tmp_path, *made_up.seeds(3, {"continue": 0.72}))
    (effect,) = differences.effects(book.evidence, entry(12))
    assert effect.difference.mean == pytest.approx(-0.02)


def told_of(number, *made, folder):
    """What the records say of a finding, as one text."""
    book = book_of(folder, *made)
    assert differences.is_measured(book.evidence, entry(number))
    return " / ".join(differences.from_records(book.evidence, entry(number)))


def test_the_register_tells_how_often_the_wrong_part_is_kept(tmp_path):
    at = {"rate": 0.5, "level": 8.0}
    arms = {"F-FT": 0.75, "F-FT/wrong cluster": 0.70}
    right = made_up.seeds(2, arms, **at)
    arms = {"F-FT": 0.40, "F-FT/wrong cluster": 0.60}
    wrong = made_up.record(2, arms, auroc=0.05, **at)
    missed = made_up.record(3, auroc=0.55, **at)
    told = told_of(1, *right, wrong, missed, folder=tmp_path)
    assert "1 of 3 runs keep the noisy part" in told
    # 5, 5 and 20 points
    assert (
        "F-FT on the cleaner part minus F-FT on the other, in one run: +10.0 [" in told
    )


def test_a_finding_may_ask_for_one_value_of_a_field(tmp_path):
    made = made_up.seeds(3)
    made += made_up.seeds(3, {"F-FT": 0.75}, protocol="released+cluster=confidence")
    book = book_of(tmp_path, *made)
    assert differences.effects(book.evidence, entry(1))
    assert differences.effects(book.evidence, entry(2)) == []
    names = differences.wanted(entry(2))
    assert "released+cluster=truth" in names and not any(
        "confidence" in name for name in names
    )


def test_the_register_tells_what_every_run_shows(tmp_path):
    # 1,000 clean samples of 10,000; 5,000 are kept, of which 10 % are clean
    made = made_up.seeds(3, rate=0.9, level=2.0)
    for record in made:
        clean = 0.1 * record["data"]["n_train"]
        record["partition"]["detection"] |= {"retained": 5 * clean, "purity": 0.1}
    told = told_of(5, *made, folder=tmp_path / "kept")
    assert "5.0 where 90\u00a0% are noisy (10\u00a0% of the kept clean, n = 3)" in told
    assert "at most 1.0e-06 in 3 runs" in told_of(3, *made, folder=tmp_path / "same")
    made = made_up.seeds(3, kind="symmetric_exclusive", rate=0.4, level=None)
    told = told_of(25, *made, folder=tmp_path / "labels")
    assert "40\u00a0% wrong labels: AUROC 0.99" in told


def test_the_register_tells_what_single_runs_hide(tmp_path):
    arms = {"retrain": 0.6, "F-FT/abs": 0.7}
    kinds = [{"initial": 0.6, "F-FT": 0.70}, {"initial": 0.65, "F-FT": 0.66}]
    made = [
        made_up.record(s, {**arms, **kind}, arms="criteria")
        for s, kind in enumerate(kinds)
    ]
    told = told_of(17, *made, folder=tmp_path / "spread")
    assert "from +6.0 to +10.0 points over 2 seeds" in told
    told = told_of(19, *made, folder=tmp_path / "columns")
    assert "range over 5.0 points between 2 seeds" in told
    assert "2 criteria over at most 4.0 in a run" in told
    assert "L-FT" in told_of(26, *made, folder=tmp_path / "seconds")


def test_what_nobody_ran_is_not_measured(tmp_path):
    book = book_of(tmp_path)
    for difference in differences.register():
        assert not differences.is_measured(book.evidence, difference)
