"""The notebooks run: under papermill with other parameters, and a cell at a time."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat import v4
from papermill.exceptions import PapermillExecutionError
from test_speech import recordings, write_archive

from rlap.experiments import records
from rlap.unlearning.choosing import best, selectivity

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
sys.path.insert(0, str(NOTEBOOKS.parent / "book" / "_ext"))
from forked_kernels import Nursery  # noqa: E402

KERNELS: dict[str, type] = {}  # how kernels start: forked, which spares seconds each
QUICK = {"train_size": 400, "test_size": 200, "epochs": 2, "finetune_epochs": 1}


def execute(name: str, executed: Path, **parameters) -> nbformat.NotebookNode:
    return papermill.execute_notebook(
        str(NOTEBOOKS / name), str(executed), parameters, progress_bar=False, **KERNELS
    )


@pytest.fixture(scope="module", autouse=True)
def nursery():
    with Nursery() as started:
        KERNELS["kernel_manager_class"] = started.manager
        yield
        KERNELS.clear()


def test_a_forked_kernel_is_as_a_new_one(tmp_path, monkeypatch):
    """With the folder and the environment of who asks, and nothing left of another; one
    that ends itself is missed as ever."""
    lines = ["import os, torch", "print(os.getcwd(), os.environ['ASKED'])", "mine = 1"]
    lines += ["torch.ones(2, requires_grad=True).sum().backward()"]
    lines += [
        "import gc",
        "assert gc.get_freeze_count() > 100_000  # nor looked through",
    ]
    for turn in ("one", "two"):
        monkeypatch.setenv("ASKED", turn)
        cells = [v4.new_code_cell("\n".join(["print('mine' in dir())", *lines]))]
        book = v4.new_notebook(cells=cells)
        about = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(book, timeout=60, resources=about, **KERNELS).execute()
        assert book.cells[0].outputs[0].text == f"False\n{tmp_path} {turn}\n"
    book = v4.new_notebook(cells=[v4.new_code_cell("import os\nos._exit(3)")])
    with pytest.raises(DeadKernelError):
        NotebookClient(book, timeout=60, **KERNELS).execute()


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "symmetric_exclusive", "rate": 0.4, "rule": "loss"},
        {"seed": 1, "level": 4.5, "rule": "trivial", "criterion": "abs"},
    ],
)
def test_walkthrough_with_other_parameters(tmp_path, other):
    folder = tmp_path / "run"
    given = {**QUICK, **other, "out": str(folder)}
    execute("01_cifar10.ipynb", tmp_path / "executed.ipynb", **given)
    record = records.read(folder)
    assert record["parameters"]["rate"] == other.get("rate", 0.5)
    assert set(record["arms"]) == {
        "initial", "pruned", "L-FT", "F-FT", "continue", "retrain", "oracle",
    }  # fmt: skip
    assert all(0 <= arm["accuracy"] <= 1 for arm in record["arms"].values())
    assert len(record["units"]) == 40
    assert record["noise"]["realised_rate"] == pytest.approx(
        other.get("rate", 0.5), abs=1e-3
    )
    # kept samples, and what every arm was trained on, fit together
    kept = record["partition"]["detection"]["retained"]
    assert record["arms"]["F-FT"]["samples"] == kept
    assert record["arms"]["retrain"]["samples"] == kept
    assert record["arms"]["continue"]["samples"] == 400
    if other.get("rule") == "trivial":
        assert record["partition"]["detection"]["purity"] == 1
    # equal total epochs: initial and fine-tuning against retrain
    epochs = {k: len(v["history"]["loss"]) for k, v in record["arms"].items()}
    assert epochs["retrain"] == epochs["oracle"] == 3
    assert epochs["initial"] + epochs["F-FT"] == 3
    # the released attribution is the rescaled activation, on this network too
    assert record["identity_difference"] < 1e-4
    # captum's beside the paper's, each with an area and seconds
    others = record["attributions"]
    assert [name.split(":")[0] for name in others] == [
        "gradient_x_activation", "captum", "captum", "captum",
    ]  # fmt: skip
    assert all(0 <= area <= 1 and seconds > 0 for area, seconds in others.values())


def test_the_walkthrough_has_the_numbers_of_the_notebook_of_all_arms(tmp_path):
    """One headline, one result: the same stages, recipes and sizes."""
    found = {}
    for name in ("01_cifar10", "05_protocols"):
        given = {**QUICK, "out": str(tmp_path / name)}
        given |= {"arms": "all"} if name == "05_protocols" else {}
        execute(f"{name}.ipynb", tmp_path / f"{name}.executed.ipynb", **given)
        found[name] = records.read(tmp_path / name)
    walk, whole = found.values()
    for arm in walk["arms"]:
        for score in ("accuracy", "f1", "top3", "samples"):
            assert walk["arms"][arm][score] == whole["arms"][arm][score], arm
    assert walk["units"] == whole["units"]
    for name in ("detection", "diagnostics"):
        assert walk["partition"][name] == whole["partition"][name]
    assert walk["identity_difference"] == whole["identity_difference"]


@pytest.mark.parametrize("name", ["01_cifar10", "02_speech", "05_protocols"])
@pytest.mark.parametrize("rate", [0.0, 1.0])
@pytest.mark.slow
def test_a_clean_or_a_wholly_corrupted_run_goes_through(tmp_path, name, rate):
    """A clean baseline is the first thing that a sceptic runs."""
    given = {**QUICK, "rate": rate, "out": str(tmp_path / "run")}
    given |= {"test_size": 100} if name == "02_speech" else {}
    book = execute(f"{name}.ipynb", tmp_path / "executed.ipynb", **given)
    record = records.read(tmp_path / "run")
    assert record["noise"]["realised_rate"] == rate
    assert record["partition"]["detection"]["auroc"] is None
    assert record["partition"]["detection"]["purity"] == 1 - rate
    assert {"initial", "L-FT", "F-FT", "continue", "retrain"} <= set(record["arms"])
    if name != "05_protocols":
        assert ("oracle" in record["arms"]) == (rate == 0)
        assert "are of one kind" in json.dumps(book.cells)


SPEECH_ARMS = ["initial", "pruned", "L-FT", "F-FT", "continue", "retrain", "oracle"]


def speech_run(tmp_path: Path, **other) -> tuple[dict, str]:
    """The record of a quick run of notebook 02, and its pages as text."""
    sizes = {"train_size": 200, "test_size": 50}
    given = {**QUICK, **sizes, **other}
    out = tmp_path / "run"
    executed = tmp_path / "executed.ipynb"
    book = execute("02_speech.ipynb", executed, **given, out=str(out))
    return records.read(out), json.dumps(book.cells)


def test_speech_with_nothing_at_hand(folders):
    """No recordings and no network: the words are synthesised, and it is said."""
    pytest.importorskip("espeakng_loader")
    record, page = speech_run(folders, frames=130, split="random")
    assert record["data"]["stand_in"] and "eSpeak" in record["data"]["banner"]
    assert list(record["arms"]) == SPEECH_ARMS
    assert all(0 <= arm["accuracy"] <= 1 for arm in record["arms"].values())
    assert len(record["units"]) == 20
    kept = record["partition"]["detection"]["retained"]
    for arm in ("L-FT", "F-FT", "retrain"):
        assert record["arms"][arm]["samples"] == kept
    epochs = {k: len(v["history"]["loss"]) for k, v in record["arms"].items()}
    assert epochs["retrain"] == epochs["oracle"] == 3 == epochs["initial"] + 1
    # noise as released fills the padding, and that alone gives it away
    assert record["padding_auroc"]["energy in the padding"] == 1
    assert record["partition"]["auroc"]["energy in the padding"][0] == 1
    assert page.count("data:audio/wav;base64,") == 12


def test_speech_on_an_archive_with_noise_on_the_waveform(folders):
    write_archive(folders / "data", recordings(speakers=5, takes=7))
    record, page = speech_run(
        folders, kind="gaussian_waveform", snr_db=-5.0, model="speech_res8", seed=1
    )
    assert not record["data"]["stand_in"]
    assert "not comparable with published results" in record["data"]["banner"]
    assert record["noise"]["level"] == -5.0
    assert "energy in the padding" not in record["partition"]["auroc"]
    assert "0 of them in both" in page  # speakers


FORGETTING = {"train_size": 500, "test_size": 100, "epochs": 1, "relearn_steps": 1}


def test_forgetting_by_relevance(tmp_path):
    given = {**FORGETTING, "images": 6, "samples": 10, "methods": "one_shot"}
    given |= {"forget": "cat", "out": str(tmp_path / "run")}
    execute("03_relevance.ipynb", tmp_path / "executed.ipynb", **given)
    record = records.read(tmp_path / "run")
    assert record["protocol"] == "forgetting"
    assert set(record["arms"]) == {
        "original", "retrained", "retrained again", "logit_mask", "lra_npp",
        "lra_npp_target", "lra_npp_chosen", "lra_npp_layers", "ssd", "ssd_chosen",
        "svd_projection", "svd_projection_chosen",
    }  # fmt: skip
    assert record["arms"]["logit_mask"]["forget_test"] == 0
    assert record["arms"]["logit_mask"]["data"] == "none"
    # the last layer alone is edited: the features are the original's
    probes = [record["arms"][k]["probe_linear_forget"] for k in ("original", "lra_npp")]
    assert probes[0] == probes[1]
    assert all(found["error"] < 1e-3 for found in record["conservation"].values())
    assert 0 < len(record["units"]) <= 50
    assert list(record["controls"]) == [
        *record["curves"], "training images", "synthetic images", "1 image",
        "5 images", "36 images", "64 images", "layers, random",
    ]  # fmt: skip
    chosen = record["settings"]
    for name, row in chosen["taken"].items():  # by the rule, from the curve
        assert row == best(chosen["tried"][name], chosen["start"])
    assert chosen["taken"]["lra_npp_layers"]["select"] != "random"
    arm = record["arms"]["ssd_chosen"]
    assert len(arm["class_accuracy"]) == 10 and arm["curves"]["relearn"]["steps"] == [
        0,
        1,
    ]
    assert len(arm["layers"]) == 3


def test_forgetting_by_soft_pruning(tmp_path):
    given = {**FORGETTING, "model": "vgg", "out": str(tmp_path / "run")}
    execute("04_soft_pruning.ipynb", tmp_path / "executed.ipynb", **given)
    record = records.read(tmp_path / "run")
    names = ["original", "retrained", "retrained again", "osp", "logit_mask"]
    names += ["osp_chosen"]
    assert list(record["arms"]) == names + [f"plain/{name}" for name in names]
    assert len(record["readings"]) == 6
    for kind in ("orthogonal", "plain"):  # the gate of a channel, said in two ways
        one, other = (record["readings"][f"{kind}, {r}"] for r in ("batchnorm", "gate"))
        for part in ("forget", "retain"):
            assert one[part] == pytest.approx(other[part], abs=0.02)
    assert record["penalty_share"] > 0 and "marks" in record
    assert record["arms"]["osp"]["data"] == "cached statistics"
    assert record["arms"]["osp_chosen"]["data"] == "cached statistics, held out"
    start = record["marks"]["original, plain"]
    rows = [row for curve in record["curves"]["plain"].values() for row in curve]
    assert len(rows) == 2 * 5 * 4
    gains = [selectivity(row, start) for row in rows]
    assert record["taken"]["plain"] == rows[gains.index(max(gains))]
    errors = {k: v["gram_error"] for k, v in record["mechanism"].items()}
    assert errors["orthogonal"] < errors["plain"]
    assert "orthogonal, last stage" in record["controls"]
    of_class = record["channels"]["plain"]["ship"]
    assert len(record["channels"]["plain"]) == 10
    parts = record["mechanism"]["plain"]["gram_parts"]
    assert all(set(found) == {"norm", "cosine"} for found in parts.values())
    assert set(of_class) == set(parts)
    # the account and the table of readings speak of the same network
    reading = record["readings"]["orthogonal, batchnorm"]
    assert reading["forget"] == record["arms"]["osp"]["forget_test"]


def test_the_rivals(tmp_path):
    given = {**FORGETTING, "images": 6, "methods": "trained", "tuning_epochs": 1}
    given |= {"forget": "cat", "forget_seed": 3, "out": str(tmp_path / "run")}
    execute("07_rivals.ipynb", tmp_path / "executed.ipynb", **given)
    record = records.read(tmp_path / "run")
    arms = record["arms"]
    chosen = ["esc", "sap", "svd_projection", "ssd", "osp", "lra_npp"]
    assert list(arms) == [
        "original", "retrained", "retrained again", "logit_mask", "damp", "damp_body",
        "damp_head", "esc", *(f"{name}_chosen" for name in chosen), "lra_npp_layers",
        "continued", "scrub_chosen", "delete_chosen",
    ]  # fmt: skip
    taken, start = record["settings"]["taken"], record["settings"]["start"]
    assert set(taken) == {*chosen, "lra_npp_layers", "scrub", "delete"}
    for name, row in taken.items():
        assert row == best(record["settings"]["tried"][name], start), name
    # the classifier alone has the original's features, and is not the whole of it
    probes = [arms[k]["probe_linear_forget"] for k in ("original", "damp_head")]
    assert probes[0] == probes[1]
    assert {0 <= layer["scale"] <= 1 for layer in record["depth"].values()} == {True}
    assert record["cannot"] == {}
    assert len(record["depth"]) == 8 and set(record["bias"]) == set(arms)
    assert all(len(digest) == 64 for digest in record["networks"].values())
    assert list(record["networks"]) == list(arms)[:3]


def test_unknown_parameter_stops_under_papermill(tmp_path):
    with pytest.raises(PapermillExecutionError, match="did you mean 'seed'"):
        execute("01_cifar10.ipynb", tmp_path / "executed.ipynb", sede=1)


def test_how_to_a_cell_at_a_time():
    """Each cell on its own, and once more at the end: nothing depends on a rerun."""
    book = nbformat.read(NOTEBOOKS / "00_own_model.ipynb", as_version=4)
    code = [i for i, cell in enumerate(book.cells) if cell.cell_type == "code"]
    client = NotebookClient(book, kernel_name="python3", timeout=120, **KERNELS)
    with client.setup_kernel():
        for i in code:
            client.execute_cell(book.cells[i], i)
        for i in code:
            client.execute_cell(book.cells[i], i)
    printed = json.dumps([book.cells[i].outputs for i in code])
    assert "accuracy on clean digits" in printed


def test_how_to_shows_what_the_page_says(tmp_path):
    """On wrong labels the loss finds them and the attribution mixture does not. SSD
    with its setting chosen forgets the digit and keeps the others; features tell it as
    well as those that never saw it."""
    book = execute("00_own_model.ipynb", tmp_path / "executed.ipynb", seed=1)
    rules, ways = (
        shown(output["data"]["text/html"])
        for cell in book.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    )
    loss, mixture = rules["by loss"], rules["by mixture of the attributions"]
    right = "labelled right, %"
    assert loss[right] > 95 > 80 > mixture[right]
    assert loss["accuracy, %"] > mixture["accuracy, %"]
    everything = rules["your network, all samples"]
    assert everything["samples kept"] > loss["samples kept"]
    gold = ways["retrained"]
    for name in ("your own method", "SSD", "NegGrad+", "retrained"):
        assert ways[name]["class, %"] < 5, name
        assert abs(ways[name]["others, %"] - gold["others, %"]) < 5, name
    assert ways["original"]["class, %"] > 90
    assert gold["class, by a probe, %"] > 85
    assert gold["relearned with a new last layer, %"] > 85
    own = json.dumps([cell.get("outputs") for cell in book.cells])
    assert "your own attack on your own method: 0.0%" in own
    assert re.search(r"your own attack on original: (9\d\.\d|100\.0)%", own)


def shown(table: str) -> dict[str, dict[str, float]]:
    """Row -> column -> number of a pandas table in HTML."""
    rows = re.findall(r"<tr.*?</tr>", table, re.S)
    (_, *head), *lines = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", r) for r in rows)
    return {
        name: {k: float(v.replace(",", "")) for k, v in zip(head, values, strict=True)}
        for name, *values in lines
    }
