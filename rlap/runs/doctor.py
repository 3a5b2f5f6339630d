"""``rlap doctor``: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata

import torch

import rlap
from rlap.data import NAMES, available, human
from rlap.experiments.records import cpu_name
from rlap.files import paths
from rlap.training.recipe import native_bf16

EXTRAS = {  # package -> what needs it
    "papermill": "rlap run, papermill batches: pip install 'rlap[book]'",
    "matplotlib": "the figures: pip install 'rlap[book]'",
    "jupyter-book": "the book: pip install 'rlap[book]'",
    "captum": "captum attributions: pip install captum",
    "torchvision": "the how-to on torchvision networks: pip install 'rlap[vision]'",
    "pytest": "the tests: pip install 'rlap[test]'",
}
REMEDIES = {
    "cifar10": "it is fetched at the first load (139 to 170 MB). Without a network put "
    "cifar-10-python.tar.gz into a folder and set RLAP_DATA to it",
    "cifar10n": f"put {human.FILE} into a folder and set RLAP_DATA to it",
    "speech_commands": "put the ten-keyword archive or the full set into a folder and "
    "set RLAP_DATA to it; without it keywords are synthesised (pip install "
    "'rlap[synth]')",
}
CORE = (
    "torch",
    "scikit-learn",
    "numpy",
    "tqdm",
    "safetensors",
    "platformdirs",
    "filelock",
    "PyYAML",
)


def report() -> tuple[list[str], bool]:
    """Lines to print, and whether what is needed is here and can be used."""
    lines = [f"rlap {rlap.__version__}, Python {platform.python_version()}", ""]
    pins, fine = pinned(), True
    lines.append("Packages (tested version where another is installed)")
    for name in (*CORE, *EXTRAS):
        line, found = package_line(name, pins.get(normal(name)))
        fine = fine and found
        lines.append(line)
    lines += ["", "Device", f"  {cpu_name()}, {torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        lines.append(f"  {torch.cuda.get_device_name()}")
    else:
        lines.append("  no GPU: smoke and small tiers run, the paper tier needs one")
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    bf16 = "native" if native_bf16(kind) else "not native: fp32 is used"
    lines += [f"  bfloat16 {bf16}", "", "Data (searched in this order)"]
    lines += [f"  {folder}" for folder in paths.data_folders()]
    if "RLAP_DATA" not in os.environ:
        lines.append("  (RLAP_DATA is not set: it may name a folder with your copies)")
    for name in NAMES:
        line, found = data_line(name)
        fine = fine and found
        lines.append(line)
    return lines, fine


def package_line(name: str, tested: str | None) -> tuple[str, bool]:
    """One package: its version, the tested one if it differs, or the remedy."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        if name in EXTRAS:  # whoever does not want that lacks nothing
            return f"  {name:<14} not here; needed for {EXTRAS[name]}", True
        return f"  {name:<14} MISSING: pip install rlap", False
    note = f" (tested with {tested})" if tested and tested != version else ""
    return f"  {name:<14} {version}{note}", True


def data_line(name: str) -> tuple[str, bool]:
    """One data set: where it would come from and its digest, or the remedy."""
    try:
        found = available(name)
    except Exception as error:  # whatever is wrong with the files is the answer
        return f"  {name}: UNUSABLE, {error}", False
    if found:
        return f"  {name}: {found[0]} (digest {found[1][:16]})", True
    return f"  {name}: not here yet; {REMEDIES[name]}", True


def pinned() -> dict[str, str]:
    """Exact versions in the checkout's constraints file, by normalised name."""
    path = paths.constraints_file()
    text = path.read_text(encoding="utf-8") if path else ""
    pairs = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, flags=re.MULTILINE)
    return {normal(name): version for name, version in pairs}


def normal(name: str) -> str:
    """A package name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()
