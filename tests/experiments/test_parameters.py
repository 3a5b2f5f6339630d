"""The parameter cell is checked: unknown, mistyped and out-of-range values stop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlap.experiments.checked import ParameterError, assigned_names
from rlap.experiments.parameters import (
    STUDY_TIERS,
    TIERS,
    Cifar10Parameters,
    OwnModelParameters,
    SpeechParameters,
    StudyParameters,
)
from rlap.experiments.plan import plan

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def parameter_cell(notebook: str) -> str:
    cells = json.loads((NOTEBOOKS / notebook).read_text(encoding="utf-8"))["cells"]
    (cell,) = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    return "".join(cell["source"])


@pytest.mark.parametrize(
    ("notebook", "kind"),
    [
        ("00_own_model.ipynb", OwnModelParameters),
        ("01_cifar10.ipynb", Cifar10Parameters),
        ("02_speech.ipynb", SpeechParameters),
        ("05_protocols.ipynb", StudyParameters),
    ],
)
def test_the_cell_is_the_dataclass(notebook, kind):
    namespace: dict[str, object] = {}
    exec(parameter_cell(notebook), {}, namespace)
    assert sorted(namespace) == sorted(kind.names())
    assert kind(**namespace) == kind(), "defaults of the cell and the class differ"


def namespace_of(*cells: str) -> dict[str, object]:
    """What a notebook's globals() hold after these cells ran."""
    space: dict[str, object] = {"In": ["", *cells]}
    for cell in cells:
        exec(cell, space)
    return space


def test_injected_parameters_override():
    cell = parameter_cell("01_cifar10.ipynb")
    run = Cifar10Parameters.from_notebook(
        namespace_of(cell, "# Parameters\nseed = 3\nrate = 1\n")
    )
    assert (run.seed, run.rate) == (3, 1.0)
    assert type(run.rate) is float


@pytest.mark.parametrize(
    ("injected", "message"),
    [
        ("sed = 1", "unknown parameter 'sed'; did you mean 'seed'"),
        ("zzz = 1", r"unknown parameter 'zzz' \(known: tier"),
        ("seed = 'one'", "'seed' must be int, not str"),
        ("seed = True", "'seed' must be int, not bool"),
        ("seed = 1.5", "'seed' must be int, not float"),
        ("rate = 1.5", "'rate' is 1.5; it must lie between 0 and 1"),
        ("rate = float('nan')", "'rate' is nan"),
        ("level = float('inf')", "'level' is inf"),
        ("tier = 'smok'", r"'smok' \(did you mean 'smoke'\?\)"),
        ("model = 'vgg'", "'model' is 'vgg'"),
        ("train_size = '100'", "'train_size' must be int or None, not str"),
    ],
)
def test_bad_parameters_stop(injected, message):
    cell = parameter_cell("01_cifar10.ipynb")
    with pytest.raises(ParameterError, match=message):
        Cifar10Parameters.from_notebook(namespace_of(cell, f"# Parameters\n{injected}"))


def test_a_typo_in_the_cell_itself_stops_until_it_is_corrected():
    cell = parameter_cell("01_cifar10.ipynb")
    wrong = cell.replace("seed = 0", "seed = 0\nsede = 4")
    with pytest.raises(ParameterError, match="'sede'"):
        Cifar10Parameters.from_notebook(namespace_of(wrong))
    space = namespace_of(wrong, cell)  # the reader corrects it and runs it again
    assert Cifar10Parameters.from_notebook(space).seed == 0


def test_other_cells_may_use_any_name():
    space = namespace_of(parameter_cell("01_cifar10.ipynb"), "anything = 1")
    Cifar10Parameters.from_notebook(space)


def test_missing_parameter_is_named():
    with pytest.raises(ParameterError, match="does not set"):
        Cifar10Parameters.from_notebook({"In": []})


def test_assigned_names_reads_the_last_of_each_kind():
    cells = ["# Parameters\na = 1", "# Parameters (ours)\nb = 2", "# Parameters\nc = 3"]
    assert sorted(assigned_names(cells)) == ["b", "c"]


@pytest.mark.parametrize("kind", [Cifar10Parameters, SpeechParameters])
@pytest.mark.parametrize("tier", TIERS)
def test_a_walkthrough_has_the_sizes_and_recipes_of_the_one_engine(kind, tier):
    run, study = kind(tier=tier).resolved(), kind(tier=tier).study
    assert study.protocol == "controlled" and study.dataset == kind.data_set
    shared = {*study.names()} & {*run.names()}
    assert {k: getattr(run, k) for k in shared} == {
        k: getattr(study, k) for k in shared
    }
    usual = STUDY_TIERS[kind.data_set][tier]
    assert {k: getattr(run, k) for k in usual} == usual
    recipes = plan(run.study).recipes
    assert recipes["initial"].epochs == run.epochs
    assert recipes["retrain"].epochs == run.epochs + run.finetune_epochs
    given = kind(tier=tier, epochs=3, train_size=300).resolved()
    assert (given.epochs, given.train_size) == (3, 300)
    assert plan(given.study).recipes["retrain"].epochs == 3 + run.finetune_epochs


def test_label_noise_has_no_level_and_out_is_not_part_of_the_identity():
    assert Cifar10Parameters(kind="pair").noise_level is None
    assert Cifar10Parameters().noise_level == 8.0
    assert "out" not in Cifar10Parameters(out="here").identity()
    assert (
        Cifar10Parameters(out="here").identity() == Cifar10Parameters(out="").identity()
    )


# --- speech -------------------------------------------------------------------------


def test_another_network_leaves_the_width_of_the_tiers_own():
    assert SpeechParameters().resolved().width == 16
    run = SpeechParameters(model="speech_cnn").resolved()
    assert (run.model, run.width) == ("speech_cnn", None)
    assert SpeechParameters(model="speech_res8").resolved().width == 16


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("gaussian", 15.0),
        ("gaussian_signal", 15.0),
        ("gaussian_waveform", -5.0),
        ("pair", None),
    ],
)
def test_each_kind_of_speech_noise_has_its_own_level(kind, level):
    assert SpeechParameters(kind=kind, snr_db=-5).noise_level == level


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "gaussian_clamped"}, "'kind' is 'gaussian_clamped'"),
        ({"kind": "asymmetric"}, "'kind' is 'asymmetric'"),  # its pairs are of images
        ({"frames": 64}, "'frames' is 64"),
        ({"split": "speakers"}, "did you mean 'speaker'"),
        ({"source": "archiv"}, "did you mean 'archive'"),
        ({"rule": "trivial"}, "'rule' is 'trivial'"),  # it counts clamped pixels
        ({"model": "small"}, "'model' is 'small'"),
        ({"units": 128}, "between 1 and 127"),
        ({"snr_db": 99.0}, "between -60 and 60"),
    ],
)
def test_bad_speech_parameters_stop(given, message):
    with pytest.raises(ParameterError, match=message):
        SpeechParameters(**given)


def test_what_chooses_the_data():
    assert Cifar10Parameters.data_set == "cifar10"
    assert Cifar10Parameters().data_options == {}
    assert SpeechParameters.data_set == "speech_commands"
    run = SpeechParameters(tier="small", source="archive", frames=130, split="random")
    chosen = {"source": "archive", "frames": 130, "split": "random"}
    assert run.data_options == chosen
    # smoke synthesises less where it has to
    assert SpeechParameters().data_options["clips"] == 1_000
