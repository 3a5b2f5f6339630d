"""Trained networks of recorded runs in one folder or zip file, each with its digests.

``networks.json`` says which file holds which network, by its name ("networks") and by
what decided it ("trained"); a file is named after its content, so that an original that
ten classes start from is there once.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch import nn

from rlap.checks import check_seed
from rlap.files import digests, paths
from rlap.files.download import atomic

INDEX, FORMAT = "networks.json", "rlap-networks-1"
PLACES = ("networks", "networks.zip")  # looked for where data are


def load_networks(
    name: str, *, seed: int = 0, source: str | Path | None = None
) -> dict[str, nn.Module]:
    """The original of a recorded run and both networks retrained without the class.

    Args:
        name: data set, network and class: "cifar10/small/airplane".
        seed: of the run.
        source: a folder or a zip file that ``rlap networks pack`` has written; None
            looks for networks or networks.zip where data are (``RLAP_DATA``, the
            cache), where the runs of forgetting look, too. Nothing is fetched: no
            release holds them yet.

    Returns "original", "retrained" and "retrained again", in eval mode on the CPU, and
    warns where these were packed though they are not, bit for bit, the recorded ones.
    Raises ``FileNotFoundError`` without such a place, ``KeyError`` for a network that
    it does not hold, ``ValueError`` for what is not as it was packed.

    >>> load_networks("cifar10/small/airplane", source="here.zip")
    Traceback (most recent call last):
    FileNotFoundError: there are no networks at here.zip
    """
    check_seed(seed)
    pack = Pack(found(source))
    runs = pack.index["networks"]
    if name not in runs:
        near = get_close_matches(name, runs, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise KeyError(f"{pack.place} holds no {name!r}{hint} ({len(runs)} others)")
    if str(seed) not in runs[name]:
        held = ", ".join(sorted(runs[name], key=int))
        raise KeyError(f"of {name!r} {pack.place} holds the seeds {held}, not {seed}")
    others = pack.index.get("unlike", {}).get(name, {}).get(str(seed))
    if others:
        told = f"{name!r}, seed {seed}: {', '.join(others)} not as recorded"
        warnings.warn(f"{told}; {pack.place} was packed so", stacklevel=2)
    return {role: pack.network(file) for role, file in runs[name][str(seed)].items()}


def found(source: str | Path | None) -> Path:
    """The folder or file to read; ``FileNotFoundError`` where there is none."""
    place = at_hand() if source is None else Path(source)
    if place is None:
        raise FileNotFoundError(
            "there are no networks at hand and no release holds them yet: make "
            "them with `rlap networks pack networks.zip`, and give source="
        )
    if not place.exists():
        raise FileNotFoundError(f"there are no networks at {place}")
    return place


def at_hand() -> Path | None:
    """The pack where data are; a folder that is none only has the name."""
    places = [p for p in map(paths.find, PLACES) if p is not None]
    return next((p for p in places if p.is_file() or (p / INDEX).is_file()), None)


class Pack:
    """A folder or zip file of networks, read and verified."""

    def __init__(self, place: Path) -> None:
        self.place = place
        try:
            self.index = json.loads(self.read(INDEX))
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{place} is no pack of networks: {error}") from error
        if not isinstance(self.index, dict) or self.index.get("format") != FORMAT:
            raise ValueError(f"{place} is no pack of networks of the format {FORMAT}")

    def read(self, name: str) -> bytes:
        """The content of one file."""
        if self.place.is_dir():
            return (self.place / name).read_bytes()
        with zipfile.ZipFile(self.place) as archive:
            return archive.read(name)

    def network(self, file: str) -> nn.Module:
        """One network; ``ValueError`` unless bytes and weights are as packed."""
        from safetensors.torch import load

        from rlap.models import build

        if Path(file).name != file:
            raise ValueError(f"{self.place}: {file!r} is no name of a file in it")
        try:
            about, content = self.index["files"][file], self.read(file)
        except (OSError, KeyError, zipfile.BadZipFile):  # not there, or a wrong CRC
            about, content = {"sha256": ""}, b""
        if digests.sha256(content) != about["sha256"]:
            raise ValueError(f"{file} of {self.place} is not as it was packed")
        net = build(about["network"], about["classes"], seed=0)
        net.load_state_dict(load(content))
        if digests.of_tensors(net.state_dict()) != about["weights"]:
            raise ValueError(
                f"{file} of {self.place} holds other weights than recorded"
            )
        for parameter in about["frozen"]:
            net.get_parameter(parameter).requires_grad_(False)
        return net.eval()


class Packing:
    """A pack in the making: ``add`` the networks of runs, then ``write`` it."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        parts = ("networks", "trained", "files", "unlike")
        self.index: dict[str, Any] = {"format": FORMAT, **{part: {} for part in parts}}

    def add(
        self,
        name: str,
        seed: int,
        network: str,
        nets: Mapping[str, nn.Module],
        trained: Mapping[str, tuple[str, Mapping[str, Any]]] | None = None,
        unlike: Sequence[str] = (),
    ) -> None:
        """The networks of one run, by role; ``network`` is their name in ``MODELS``,
        ``trained`` has the key and the history of each training, ``unlike`` the roles
        of those that are not the recorded ones."""
        files = {role: self.file(network, net) for role, net in nets.items()}
        self.index["networks"].setdefault(name, {})[str(seed)] = files
        if unlike:
            self.index["unlike"].setdefault(name, {})[str(seed)] = list(unlike)
        for role, (key, history) in (trained or {}).items():
            told = {"file": files[role], "history": dict(history)}
            self.index["trained"].setdefault(key, told)

    def file(self, network: str, net: nn.Module) -> str:
        """The name of the file that holds one network."""
        from safetensors.torch import save

        state = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
        content, weights = save(state), digests.of_tensors(net.state_dict())
        name = f"{network}-{weights[:16]}.safetensors"
        self.contents[name] = content
        self.index["files"][name] = {
            "sha256": digests.sha256(content),
            "weights": weights,
            "network": network,
            "classes": net.get_submodule("fc2").out_features,
            "frozen": [k for k, p in net.named_parameters() if not p.requires_grad],
        }
        return name

    def write(self, place: Path) -> None:
        """Into a new folder or, by its ending, a zip file; ``FileExistsError`` for one
        that is there."""
        if place.exists():
            raise FileExistsError(f"{place} is there already: take another place")
        text = json.dumps(self.index, indent=1, sort_keys=True).encode()
        whole = {**self.contents, INDEX: text + b"\n"}  # the index last
        if place.suffix != ".zip":
            place.mkdir(parents=True)
            for name, content in whole.items():
                (place / name).write_bytes(content)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic(place) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name, content in whole.items():  # ZipInfo: no date, so the same bytes
                archive.writestr(zipfile.ZipInfo(name), content)
