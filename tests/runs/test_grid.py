"""Grid files: expanded by hand-counted examples, and the repository's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rlap.experiments.parameters import NOTEBOOKS, Cifar10Parameters, ParameterError
from rlap.experiments.protocol import CIFAR10, PROTOCOLS, steps
from rlap.ledger import paper
from rlap.ledger.cells import scale_of, setting_for, setting_of
from rlap.ledger.differences import register
from rlap.runs import grid
from rlap.runs.grid import folder_name, jobs_of

GRIDS = sorted((Path(__file__).parents[2] / "grids").glob("*.yaml"))


def write(tmp_path: Path, name: str = "g.yaml", **text) -> Path:
    path = tmp_path / name
    path.write_text(yaml.safe_dump({"notebook": "01_cifar10", **text}, sort_keys=False))
    return path


def names(*files: Path, **options) -> list[str]:
    return [job.folder.name for job in jobs_of(files, **options)]


def test_blocks_cases_and_products_in_the_order_they_are_written(tmp_path):
    vary = {"rate": [0.5, 0.2], "level": [2, 4.5]}
    file = write(
        tmp_path,
        fixed={"tier": "small", "rate": 0.5},
        seeds=[0, 1],
        blocks=[
            {"fixed": {"level": 9}, "seeds": [7]},
            {"vary": vary},
            {"cases": [{"rate": 0.9}, {"kind": "pair"}], "seeds": [3]},
        ],
    )
    noise = "small-gaussian_clamped"
    once = [f"{noise}-{x}" for x in ("r0.5-l2", "r0.5-l4.5", "r0.2-l2", "r0.2-l4.5")]
    assert names(file) == [
        f"{noise}-r0.5-l9-s7",
        *(f"{x}-s0" for x in once),
        *(f"{x}-s1" for x in once),
        f"{noise}-r0.9-l8-s3",
        "small-pair-r0.5-s3",  # wrong labels have no level
    ]
    assert names(file, seeds=[5])[:2] == [f"{noise}-r0.5-l9-s5", f"{once[0]}-s5"]


def test_a_share_of_the_tier_and_blocks_of_one_tier(tmp_path):
    file = write(
        tmp_path,
        fixed={"tier": "small"},
        seeds=[0],
        blocks=[
            {"vary": {"train_share": [1, 0.5]}},
            {"tiers": ["small"], "fixed": {"model": "resnet18", "width": 16}},
        ],
    )
    noise = "gaussian_clamped-r0.5-l8"
    assert names(file) == [
        f"small-{noise}-s0",
        f"small-{noise}-n6250-s0",
        f"small-{noise}-resnet18-w16-s0",
    ]
    assert names(file, override={"tier": "paper"}) == [
        f"paper-{noise}-s0",
        f"paper-{noise}-n25000-s0",
    ]


def test_one_run_serves_several_grids_however_it_is_written(tmp_path):
    one = write(
        tmp_path, "one.yaml", fixed={"tier": "small"}, seeds=[0, 1], blocks=[{}]
    )
    spelt = {"tier": "small", "train_size": 12500, "model": "small", "level": 8}
    two = write(
        tmp_path, "two.yaml", fixed=spelt, seeds=[1, 2], blocks=[{"fixed": {}}, {}]
    )
    jobs = jobs_of([one, two])
    assert [job.grids for job in jobs] == [("one",), ("one", "two"), ("two",)]
    assert jobs[2].given == {"tier": "small", "level": 8, "seed": 2}


def test_names_tell_apart_what_differs():
    seen = {}
    for change in (
        {},
        {"epochs": 3},
        {"finetune_epochs": 3},
        {"width": 8},
        {"criterion": "abs"},
        {"method": "activation"},
        {"rule": "loss"},
        {"units": 3},
        {"test_size": 1000},
        {"kind": "pair"},
        {"kind": "pair", "level": 3.0},
        {"rate": 0.123456789},
        {"seed": 12},
        {"tier": "small"},
    ):
        name = folder_name(Cifar10Parameters(**change))
        assert name not in seen, (change, seen[name])
        assert not set(name) & set(r'\/:*?"<>| ')
        seen[name] = change
    assert "smoke-gaussian_clamped-r0.5-l8-criterion=abs-s0" in seen


def test_names_show_what_the_tier_and_the_data_set_choose_and_stay_short():
    study = NOTEBOOKS["05_protocols"]
    noise = "small-gaussian_clamped-r0.5-l8"
    assert folder_name(study(tier="small")) == f"controlled-{noise}-s0"
    assert folder_name(study(tier="small", arms="all")) == f"controlled-{noise}-all-s0"
    speech = study(tier="small", dataset="speech_commands", protocol="released")
    expected = "released-small-gaussian-r0.5-l15-speech_commands-s0"
    assert folder_name(speech) == expected
    labels = study(kind="symmetric_exclusive", rate=0.4)
    assert folder_name(labels) == "controlled-smoke-symmetric_exclusive-r0.4-s0"
    one = study(protocol="released+shuffle=true")
    assert folder_name(one).startswith("released+shuffle=true-smoke-")
    many = "released+bias=true+cluster=confidence+mask=true+redraw=false+shuffle=true"
    more = many.replace("bias=true", "augment=true")
    long, other = (folder_name(study(protocol=text)) for text in (many, more))
    assert long.startswith("released+5_changes_") and len(long) < 80
    assert long != other


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"blocks": [{}]}, "seeds must be a list"),
        ({"seeds": [0]}, "needs a list of blocks"),
        ({"seeds": [0], "blocks": [{"varied": {}}]}, r"unknown entries \['varied'\]"),
        ({"seeds": [0], "blocks": [{"vary": {"rate": 0.5}}]}, "needs a list of values"),
        ({"seeds": [0.5], "blocks": [{}]}, "no whole number"),
        ({"seeds": [0], "blocks": [{"fixed": {"rte": 1}}]}, "did you mean 'rate'"),
        ({"seeds": [0], "blocks": [{"cases": [{"rate": 2}]}]}, "between 0 and 1"),
        ({"seeds": [0], "blocks": [{}], "extra": 1}, r"unknown entries \['extra'\]"),
        ({"seeds": [0], "blocks": [{}], "notebook": "99_none"}, "there is no notebook"),
        (
            {
                "seeds": [0],
                "blocks": [{"fixed": {"train_size": 500, "train_share": 1}}],
            },
            "without train_size",
        ),
    ],
)
def test_a_mistake_is_one_error_that_names_the_file(tmp_path, text, message):
    file = write(tmp_path, **text)
    with pytest.raises(ParameterError, match=message) as caught:
        jobs_of([file])
    assert str(caught.value).startswith(str(file))


def test_two_settings_never_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "folder_name", lambda parameters: "same")
    file = write(tmp_path, seeds=[0, 1], blocks=[{}])
    with pytest.raises(ParameterError, match="two settings would share"):
        jobs_of([file])


def test_the_grids_of_all_tables_are_there():
    assert {f"table{n}" for n in range(1, 7)} <= {path.stem for path in GRIDS}
    assert {"waterfall", "labels", "audit5", "speech"} <= {path.stem for path in GRIDS}


@pytest.mark.parametrize("path", GRIDS, ids=lambda p: p.stem)
def test_every_grid_says_what_it_is_for_and_repeats_its_runs(path):
    text = grid.read(path)
    assert len(text["about"]) > 20
    assert all(len(block["about"]) > 5 for block in text["blocks"])
    headline = text["blocks"][0].get("seeds", text.get("seeds"))
    tables = path.stem.startswith("table") or path.stem == "audit5"
    assert len(headline) >= (5 if tables else 3)


# what each table opens with, and Table 4's half of the images
HEADLINES = {1: "50000", 2: "50000", 3: "2", 4: "0.5", 5: "0", 6: "speech_commands_10"}


@pytest.mark.parametrize("number", HEADLINES)
def test_the_headline_of_a_table_has_five_seeds_in_every_protocol(number):
    """With the arms that the table asks for, on the tier's own network."""
    cell = next(
        c for c in paper.of_table(number) if c.setting_value == HEADLINES[number]
    )
    (path,) = [p for p in GRIDS if p.stem == f"table{number}"]
    seeds = {name: set() for name in PROTOCOLS}
    for job in jobs_of([path]):
        asked = job.parameters.resolved()
        run = {"parameters": asked.identity()}
        at_headline = setting_of(run) == setting_for(cell) and scale_of(run) == "small"
        if at_headline and (number != 2 or asked.arms != "main"):
            seeds[asked.protocol].add(asked.seed)
    assert {name: len(found) for name, found in seeds.items() if len(found) < 5} == {}


@pytest.mark.parametrize("path", GRIDS, ids=lambda p: p.stem)
def test_every_grid_can_be_expanded(path):
    """Every name and value is one that the notebook takes, in every tier."""
    jobs = jobs_of([path])
    assert jobs and all(job.folder.parent.name == job.notebook.stem for job in jobs)
    for tier in ("smoke", "paper"):
        others = jobs_of([path], override={"tier": tier})
        assert others and all(f"{tier}-" in job.folder.name for job in others)


def test_all_grids_together_run_each_setting_once():
    jobs = jobs_of(GRIDS)
    headline = [j for j in jobs if j.grids[:2] == ("table1", "table2")]
    assert any({"table3", "waterfall"} <= set(job.grids) for job in headline)
    assert len(jobs) < sum(len(jobs_of([path])) for path in GRIDS)
    assert max(len(job.folder.name) for job in jobs) < 100


def test_the_recorded_runs_of_wrong_labels_are_their_grid():
    """The committed records lie where the sweep looks for them."""
    (path,) = [p for p in GRIDS if p.stem == "labels"]
    assert all((job.folder / "record.json").is_file() for job in jobs_of([path]))


def test_the_waterfall_is_the_walk_of_the_book():
    """Every step that the page on the gain shows, in its order, and no other."""
    (path,) = [p for p in GRIDS if p.stem == "waterfall"]
    run = [job.parameters.protocol for job in jobs_of([path], seeds=[0])]
    walk = [name for name, _ in steps("released", "controlled", CIFAR10)]
    assert run == [walk[0], walk[-1], *walk[1:-1]]


def test_the_register_of_differences_has_a_run_for_each_of_its_fields():
    """One field changed in each run, and every field of the register in some run."""
    (path,) = [p for p in GRIDS if p.stem == "differences"]
    alone = [job.parameters.protocol.split("+") for job in jobs_of([path], seeds=[0])]
    assert all(len(parts) == 2 for parts in alone)
    assert {name for d in register() for name in d.fields} <= {
        change.partition("=")[0] for _, change in alone
    }
