"""The parameter cell is checked: unknown, mistyped and out-of-range values stop."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from rlap.experiments.checked import ParameterError, assigned_names
from rlap.experiments.parameters import (
    CIFAR10_TIERS,
    SPEECH_TIERS,
    TIERS,
    Cifar10Parameters,
    OwnModelParameters,
    SpeechParameters,
)

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def parameter_cell(notebook: str) -> str:
    cells = json.loads((NOTEBOOKS / notebook).read_text(encoding="utf-8"))["cells"]
    (cell,) = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    return "".join(cell["source"])


@pytest.mark.parametrize(
    ("notebook", "kind"),
    [
        ("01_cifar10.ipynb", Cifar10Parameters),
        ("00_own_model.ipynb", OwnModelParameters),
    ],
)
def test_the_cell_is_the_dataclass(notebook, kind):
    namespace: dict[str, object] = {}
    exec(parameter_cell(notebook), {}, namespace)
    assert list(namespace) == kind.names()
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


@pytest.mark.parametrize("tier", TIERS)
def test_every_tier_resolves_all_choices_but_the_width(tier):
    run = Cifar10Parameters(tier=tier).resolved()
    unresolved = [k for k, v in asdict(run).items() if v is None]
    assert unresolved == ["width"]
    given = Cifar10Parameters(tier=tier, epochs=3).resolved()
    assert given.epochs == 3
    assert given.train_size == CIFAR10_TIERS[tier]["train_size"]


def test_label_noise_has_no_level_and_out_is_not_part_of_the_identity():
    assert Cifar10Parameters(kind="pair").noise_level is None
    assert Cifar10Parameters().noise_level == 8.0
    assert "out" not in Cifar10Parameters(out="here").identity()
    assert (
        Cifar10Parameters(out="here").identity() == Cifar10Parameters(out="").identity()
    )


# --- speech -------------------------------------------------------------------------


@pytest.mark.parametrize("tier", TIERS)
def test_speech_resolves_to_the_tiers_epochs_and_the_whole_set(tier):
    run = SpeechParameters(tier=tier).resolved()
    sizes = {"train_size": None, "test_size": None}
    given = {k: getattr(run, k) for k in SPEECH_TIERS[tier] | sizes}
    assert given == sizes | SPEECH_TIERS[tier]
    assert SpeechParameters(tier=tier, train_size=300).resolved().train_size == 300
    assert (run.train_size is None) == (tier != "smoke")
    unresolved = [k for k, v in asdict(run).items() if v is None]
    assert unresolved == ([] if tier == "smoke" else ["train_size", "test_size"])


def test_the_stronger_network_has_its_own_budget():
    run = SpeechParameters(tier="small", model="speech_res8").resolved()
    assert (run.epochs, run.finetune_epochs, run.lr) == (16, 8, 2e-3)
    given = SpeechParameters(tier="small", model="speech_res8", epochs=3, lr=0.1)
    assert (given.resolved().epochs, given.resolved().lr) == (3, 0.1)


def test_the_released_budget_is_the_paper_tiers():
    run = SpeechParameters(tier="paper").resolved()
    assert (run.epochs, run.finetune_epochs) == (300, 150)
    assert run.released_epochs == run.epochs


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
