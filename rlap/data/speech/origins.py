"""Where speech may come from: the full set, the test archive, a synthesiser."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from rlap import checks
from rlap.data.speech import clips, synthesis
from rlap.data.speech.audio import optional
from rlap.data.speech.clips import KEYWORDS, Clips
from rlap.data.speech.mfcc import SIGNAL_FRAMES
from rlap.files import digests, download, paths
from rlap.files.download import DataUnavailable

ARCHIVE = "speech_commands_test_v0.02_10words_flac.zip"
FULL = "speech_commands_v0.02"
ARCHIVE_TOLD = "official test archive v0.02, ten keywords"
# digest of the names and contents of the clips -> of the archive that they came in
ARCHIVE_DIGESTS = {
    "4a16d176869ae748e61604282febb72d014be7db8dd5ab6e14f4b44ddb986cc7": (
        "21c2f471a94b73d9512573d951af12226583e7e6da2ed399a54ae8f53f17b8de"
    ),
}
SOURCES = ("auto", "full", "archive", "synthetic")
ARCHIVE_BANNER = (
    "Real keywords from the official v0.02 test archive, split anew; "
    "not comparable with published results on Speech Commands."
)
SYNTHETIC_BANNER = (
    "Stand-in data: synthesised speech (eSpeak NG), not recordings; "
    "nothing here says anything about the paper."
)


@dataclass(frozen=True)
class Options:
    """What ``rlap.load("speech_commands", ...)`` takes beyond sizes and seed.

    Args:
        source: ``"auto"`` (the first of the following that is there), ``"full"``
            (downloads 2.4 GB where it is not there), ``"archive"``, ``"synthetic"``.
        frames: 32, those of one second, or more: zeros on the right (130 released).
        split: ``"speaker"``, no voice in both parts, or ``"random"``, as released.
        clips, difficulty: for synthesised speech only, see ``synthesis.synthesise``.

    Raises:
        TypeError, ValueError: an option out of range.
    """

    source: str = "auto"
    frames: int = SIGNAL_FRAMES
    split: str = "speaker"
    clips: int = 3000
    difficulty: str = "default"

    def __post_init__(self) -> None:
        checks.check_one_of(self.source, SOURCES, "source")
        checks.check_count(self.frames, "frames", minimum=SIGNAL_FRAMES)
        checks.check_one_of(self.split, clips.SPLITS, "split")
        checks.check_count(self.clips, "clips", minimum=len(KEYWORDS))
        checks.check_one_of(self.difficulty, synthesis.DIFFICULTIES, "difficulty")


@dataclass(frozen=True, eq=False)
class Origin:
    """Where clips come from; ``digest`` identifies them.

    ``read()`` decodes them all, ``read(names)`` at least those of these names.
    """

    source: str
    digest: str
    banner: str
    stand_in: bool
    read: Callable[..., Clips]
    cache_key: str = ""  # what else tells that the files changed


# --- where it is ------------------------------------------------------------------


def locate(options: Options) -> Origin | None:
    """Return what the data folders hold of the source asked for, without decoding."""
    if options.source == "synthetic":
        return synthetic(options)
    if options.source in ("auto", "full"):
        for folder in paths.data_folders():
            for inside in ("SpeechCommands", ""):
                if (folder / inside / FULL).is_dir():
                    return _full(folder, inside)
    if options.source in ("auto", "archive"):
        found = paths.find(ARCHIVE)
        if found is not None:
            return _extracted(found) if found.is_dir() else _archive(found)
        for folder in paths.data_folders():
            for base in (folder / Path(ARCHIVE).stem, folder):
                if all((base / word).is_dir() for word in KEYWORDS):
                    return _extracted(base)
    return None


def _full(root: Path, inside: str) -> Origin:
    base = root / inside / FULL
    files = [p for p in _listed(base) if "_nohash_" in p.name]
    stats = [(f"{p.parent.name}/{p.name}", p.stat()) for p in files]
    # 1.2 GB are not read to know them: names and sizes stand for the content
    sizes = digests.of_json([[name, stat.st_size] for name, stat in stats])
    return Origin(
        f"{FULL} in {_where(base)}",
        sizes,
        "",
        False,
        lambda only=None: clips.read_files(files, str(base), only),
        digests.of_json([stat.st_mtime_ns for _, stat in stats]),
    )


def _listed(base: Path) -> list[Path]:
    """The clips of keywords in the folders of a folder, sorted by their names."""
    found = [p for p in base.glob("*/*") if clips.is_clip(str(p))]
    return sorted(found, key=str)


def _archive(path: Path) -> Origin:
    return Origin(
        f"{ARCHIVE_TOLD} ({path.name} in {_where(path)})",
        digests.of_file(path),
        ARCHIVE_BANNER,
        False,
        lambda only=None: clips.read_archive(path, only),
    )


def _extracted(base: Path) -> Origin:
    """The archive as unpacked by somebody; the very clips have the archive's digest."""
    files = _listed(base)
    content = {f"{p.parent.name}/{p.name}": digests.of_file(p) for p in files}
    digest = digests.of_json(content)
    return Origin(
        f"{ARCHIVE_TOLD} (unpacked in {_where(base)})",
        ARCHIVE_DIGESTS.get(digest, digest),
        ARCHIVE_BANNER,
        False,
        lambda only=None: clips.read_files(files, str(base), only),
    )


def synthetic(options: Options) -> Origin:
    """Return the synthesiser as an origin; nothing is spoken yet.

    Raises:
        DataUnavailable: its package is missing.
    """
    version = synthesis.package_version()
    made = {
        "package": version,
        "version": synthesis.VERSION,
        "clips": options.clips,
        "difficulty": asdict(synthesis.DIFFICULTIES[options.difficulty]),
    }
    name = f"{options.clips} synthesised clips, {options.difficulty} difficulty"

    @cache  # all are spoken in one go, and one after the other would take minutes
    def spoken() -> Clips:
        return synthesis.synthesise(options.clips, difficulty=options.difficulty)

    return Origin(
        f"{name} ({synthesis.PACKAGE} {version})",
        digests.of_json(made),
        SYNTHETIC_BANNER,
        True,
        lambda only=None: spoken(),
        sys.platform,
    )


def _where(path: Path) -> str:
    return "the cache folder" if paths.in_cache(path) else "RLAP_DATA"


def obtain(options: Options) -> Origin:
    """Return the origin, downloading the full set where that was asked for."""
    found = locate(options)
    if found is None and options.source == "full":
        _download()
        found = locate(options)
    if found is None:
        raise DataUnavailable(
            f"no Speech Commands here: put {ARCHIVE} or the folder {FULL} into the "
            'folder that RLAP_DATA names, or ask for source="full" to download '
            '2.4 GB, or for source="synthetic" (pip install "rlap[synth]")'
        )
    return found


def _download() -> None:
    if download.offline():
        raise DataUnavailable(
            f"{FULL} is in none of the data folders and RLAP_OFFLINE forbids "
            f"downloads; unset it, or put the folder {FULL} into the folder that "
            "RLAP_DATA names"
        )
    dataset = optional("torchaudio.datasets").SPEECHCOMMANDS
    print("Speech Commands: first use, downloading 2.4 GB", file=sys.stderr)
    cache = paths.cache_folder()
    with tempfile.TemporaryDirectory(dir=cache, prefix=".get-") as temporary:
        try:
            dataset(temporary, url=FULL, download=True)  # verifies the SHA-256
            made = Path(temporary) / "SpeechCommands"
            made.replace(cache / "SpeechCommands")
        except (OSError, RuntimeError, EOFError) as error:
            raise DataUnavailable(
                f"could not download {FULL}: {error}; try again, or get it elsewhere "
                f"and put the folder {FULL} into the folder that RLAP_DATA names"
            ) from error
