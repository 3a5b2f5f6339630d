"""The benchmarks run end to end and print what they promise."""

from __future__ import annotations

import importlib.util
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPT = FOLDER / "stages.py"


def test_every_stage_has_a_row():
    words = [sys.executable, "-W", "ignore", str(SCRIPT)]
    done = subprocess.run(
        [*words, "--images", "300", "--repeats", "1"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(\S.*?) +[\d.]+s +[\d.]+s +[\d.]+x$", done.stdout, re.M)
    assert len(rows) == 7, done.stdout
    for stage in ("attribution", "L-FT", "training"):
        assert any(stage in row for row in rows)
    assert "robustify beyond it" in done.stdout
    assert done.stdout.count("total") == 2


def test_one_group_is_below_what_is_believed():
    words = [sys.executable, str(FOLDER / "one_group.py"), "--units", "2", "16"]
    words += ["--samples-a-unit", "3", "32", "--repeats", "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [row[:2] for row in rows] == [
        ["2", "6"], ["2", "64"], ["16", "48"], ["16", "512"]
    ]  # fmt: skip
    assert [row[4] for row in rows] == ["never", "4.00", "never", "2.88"]
    for row in (rows[1], rows[3]):
        assert all(0 < float(found) < float(row[4]) for found in row[2:4])


def test_training_against_plain_steps():
    words = [sys.executable, str(FOLDER / "training.py"), "--width", "32"]
    words += ["--steps", "1", "--repeats", "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    ours, plain, ratio = re.search(
        r"^images a second +([\d.]+) +([\d.]+) +([\d.]+)x$", done.stdout, re.M
    ).groups()
    assert float(ours) > 0 and float(plain) > 0 and float(ratio) > 0
    first = re.search(r"^mean loss, first turn +([\d.]+) +([\d.]+)$", done.stdout, re.M)
    assert float(first[1]) == pytest.approx(float(first[2]), abs=0.02)
    assert "plain and plain in reverse" in done.stdout


def run(script: str, *words: str) -> str:
    """What a benchmark prints."""
    command = [sys.executable, "-W", "ignore", str(FOLDER / script), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def table(printed: str) -> dict[str, list[float]]:
    """The rows of two times and their ratio, by name."""
    found = re.findall(r"^(.*?) +([\d.]+)s +([\d.]+)s +([\d.]+)x$", printed, re.M)
    return {name: [float(x) for x in numbers] for name, *numbers in found}


def test_peers_do_the_same_work():
    """The script itself fails where attributions, parts or logits differ."""
    printed = run("peers.py", "--images", "300", "--repeats", "1")
    wanted = {"Captum": 2, "scikit-learn": 2, "cleanlab": 2, "Torch-Pruning": 1}
    modules = {"cleanlab": "cleanlab", "Torch-Pruning": "torch_pruning"}
    rows = table(printed)
    for name, count in wanted.items():
        module = modules.get(name)
        if module and importlib.util.find_spec(module) is None:
            assert f"{module} is not installed" in printed
            count = 0
        assert sum(name in row for row in rows) == count, printed


@pytest.mark.parametrize("only", ["pruning", "import"])
def test_against_a_commit(only):
    git = ["git", "-C", str(FOLDER), "rev-parse", "HEAD"]
    told = subprocess.run(git, capture_output=True, text=True)
    if told.returncode:
        pytest.skip("no repository here, hence no other commit")
    words = [told.stdout.strip(), "--images", "100", "--repeats", "1", "--busy"]
    rows = table(run("against.py", *words, "--only", only))
    assert len(rows) == 1, rows
    for name, (now, then, ratio) in rows.items():
        assert only in name and now > 0
        assert ratio == pytest.approx(then / now, rel=0.2, abs=0.1)


def test_scale(tmp_path):
    files = {f"--{kind}": tmp_path / f"scale.{kind}" for kind in ("json", "figure")}
    files["--figure"] = tmp_path / "new" / "scale.png"
    words = ["--samples", "400", "800", "--units", "8", "16", "--at", "500", "8"]
    printed = run("scale.py", *words, *(str(w) for pair in files.items() for w in pair))
    found = json.loads(files["--json"].read_text(encoding="utf-8"))
    assert found["samples"]["points"] == [[400, 8], [800, 8]]
    assert found["units"]["points"] == [[500, 8], [500, 16]]
    for told in found.values():
        assert len(told["stages"]) == 4
        for stage in told["stages"].values():
            assert all(s > 0 for s in stage["seconds"])
            slope = math.log2(stage["seconds"][1] / stage["seconds"][0])
            assert stage["exponents"][0] == pytest.approx(slope)
    assert files["--figure"].read_bytes().startswith(b"\x89PNG")
    assert "ImageNet-1k" in printed and "10.5 GB" in printed


def test_all_of_them_make_one_page(tmp_path, monkeypatch):
    page = tmp_path / "new" / "bench.md"
    monkeypatch.syspath_prepend(str(FOLDER))
    import run as everything

    told = {name: f"what {name} prints" for name in everything.SCRIPTS}
    told["peers"] = f"{'the parts: scikit-learn':<44}   1.250s   5.000s    4.0x"
    stages = {"mixture": {"seconds": [1, 2.123456], "exponents": [0.9, None]}}

    def fake(name: str, words: list[str]) -> str:
        if name == "scale":
            file = Path(words[words.index("--json") + 1])
            file.write_text(json.dumps({"samples": {"stages": stages}}))
        return told[name]

    numbers = tmp_path / "BENCH.json"
    numbers.write_text('{"peers": {"rows": []}, "mine": {"a": 1}}')
    monkeypatch.setattr(everything, "run", fake)
    words = ["run.py", "--page", str(page), "--numbers", str(numbers)]
    monkeypatch.setattr(sys, "argv", words)
    everything.main()
    kept = json.loads(numbers.read_text(encoding="utf-8"))
    assert kept["peers"]["rows"] == [["the parts: scikit-learn", 1.25, 5.0, 4.0]]
    assert kept["scale"]["samples"]["stages"]["mixture"]["seconds"] == [1, 2.123]
    assert "load before it" in kept["scale"]["about"] and kept["mine"] == {"a": 1}
    text = page.read_text(encoding="utf-8")
    assert all(printed in text for printed in told.values())
    assert "## Every stage against an earlier commit of this repository" in text
    assert f"torch {torch.__version__}" in text and "load before it" in text
    written = {p.stem for p in FOLDER.glob("*.py")} - {"run", "timing", "abuse", "gpu"}
    assert written == set(everything.SCRIPTS)


@pytest.mark.parametrize("family", ["files", "inputs"])
def test_a_campaign_of_abuse(family, monkeypatch, capsys):
    """A few trials: each ends in one of three ways, and none in a fault."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import abuse

    none = {"kills": 0, "files": 0, "inputs": 0}
    words = [w for k, n in {**none, family: 5}.items() for w in (f"--{k}", str(n))]
    monkeypatch.setattr(sys, "argv", ["abuse.py", *words, "--seed", "1", "--verbose"])
    assert abuse.main() == 0
    told = capsys.readouterr().out
    assert (
        len(re.findall(rf"^{family}:\d (clean error|right answer): ", told, re.M)) == 5
    )
    numbers = re.search(rf"^{family}((?: +\d+){{4}})", told, re.M)[1]
    tried, *ended = map(int, numbers.split())
    assert tried == sum(ended) == 5 and ended[-1] == 0


def test_a_campaign_tells_of_a_fault(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    import abuse

    def lossy(rng, folder):
        if rng.random() < 0.5:
            raise abuse.Fault("a number is lost")
        return abuse.RIGHT, "as it was"

    monkeypatch.setitem(abuse.FAMILIES, "files", lossy)
    words = ["abuse.py", "--kills", "0", "--inputs", "0", "--files", "20"]
    monkeypatch.setattr(sys, "argv", words)
    assert abuse.main() == 1
    told = capsys.readouterr().out
    faults = re.findall(r"^files:(\d+) fault: a number is lost$", told, re.M)
    assert 0 < len(faults) < 20 and f"{20 - len(faults):>14}{len(faults):>14}" in told
    monkeypatch.setattr(sys, "argv", ["abuse.py", "--only", f"files:{faults[0]}"])
    assert abuse.main() == 1
    right = ({*map(str, range(20))} - {*faults}).pop()
    monkeypatch.setattr(sys, "argv", ["abuse.py", "--only", f"files:{right}"])
    assert abuse.main() == 0


@pytest.mark.slow
def test_a_kill():
    assert "kills:0 " in run("abuse.py", "--only", "kills:0")


@pytest.fixture
def gpu():
    spec = importlib.util.spec_from_file_location("gpu", FOLDER / "gpu.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_step_on_a_gpu_is_done_fails_or_is_stopped(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "STARTING", 1)

    def outcome(code: str, left: float) -> str:
        done = gpu.step([sys.executable, "-c", code], tmp_path / "log.txt", left)
        return done["outcome"]

    assert outcome("print('seen')", 60) == "done"
    assert (tmp_path / "log.txt").read_text() == "seen\n"
    assert outcome("raise SystemExit(3)", 60) == "failed (3)"
    assert outcome("import time; time.sleep(60)", 1.5) == "stopped: out of time"
    assert outcome("raise SystemExit(3)", 0.9) == "not begun: out of time"


@pytest.mark.parametrize("small", [True, False])
def test_the_run_on_a_gpu_is_one_that_the_notebook_takes(gpu, small, tmp_path):
    from rlap.experiments.parameters import StudyParameters

    words = gpu.steps(tmp_path, small)["run"]
    given = dict(w.split("=") for w in words if "=" in w)
    numbers = {k: int(v) if v.isdigit() else v for k, v in given.items()}
    run = StudyParameters(**numbers).resolved()
    assert Path(words[words.index("run") + 1]).is_file()
    assert (run.tier, run.model) == (
        ("smoke", "small") if small else ("paper", "resnet18")
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_that_is_said():
    words = [sys.executable, str(FOLDER / "gpu.py")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (2, "")
    assert "no CUDA device" in done.stdout
