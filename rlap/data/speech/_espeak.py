"""Drive eSpeak NG through ctypes: a program of its own, never imported by the package.

The library holds global state (threads crash it, and only a fresh process gives the
same bits again) and is under the GPL-3.0, so it runs in a process apart. The standard
input is JSON ``{"jobs": [[text, voice, rate, pitch, range, seed], ...]}``; the
standard output is, for each job, the number of samples (int32) and the samples
(int16), after the sampling rate (int32).
"""

import ctypes
import json
import shutil
import struct
import sys
import tempfile
from pathlib import Path

SYNCHRONOUS, DONT_EXIT, UTF8, POSITION_CHARACTER = 2, 0x8000, 1, 1
PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}  # espeak_PARAMETER
LONGEST_PATH = 150  # bytes; the library cuts longer ones without a word
NEEDED = ("en_dict", "phondata", "phonindex", "phontab", "intonations")


def short_path(data: Path, folder: str) -> Path:
    """Where the data may be read from: the original, or what English needs copied."""
    if len(bytes(data)) < LONGEST_PATH:
        return data
    target = Path(folder) / "espeak-ng-data"
    if len(bytes(target)) >= LONGEST_PATH:
        sys.exit(f"the temporary folder's name is too long: {folder}")
    shutil.copytree(data / "voices", target / "voices")
    shutil.copytree(data / "lang" / "gmw", target / "lang" / "gmw")
    for name in NEEDED:
        shutil.copyfile(data / name, target / name)
    return target


def prototypes(library: ctypes.CDLL) -> type:
    """Declare what is called, for pointers are wider than ctypes' default."""
    callback = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
    )
    number, text = ctypes.c_int, ctypes.c_char_p
    library.espeak_Initialize.argtypes = [number, number, text, number]
    library.espeak_SetVoiceByName.argtypes = [text]
    library.espeak_SetParameter.argtypes = [number, number, number]
    library.espeak_SetSynthCallback.argtypes = [callback]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_Synth.argtypes = [
        text,
        ctypes.c_size_t,
        ctypes.c_uint,
        number,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    return callback


def main() -> None:
    """Speak every job to the standard output."""
    import espeakng_loader

    jobs = json.load(sys.stdin)["jobs"]
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    callback = prototypes(library)
    heard: list[bytes] = []

    def keep(samples, count, events) -> int:
        if samples and count > 0:
            heard.append(ctypes.string_at(samples, 2 * count))
        return 0  # go on

    with tempfile.TemporaryDirectory() as folder:
        data = short_path(Path(espeakng_loader.get_data_path()), folder)
        # the name of the folder that holds espeak-ng-data
        parent = str(data.parent).encode()
        rate = library.espeak_Initialize(SYNCHRONOUS, 0, parent, DONT_EXIT)
        if rate <= 0:
            sys.exit(f"eSpeak NG did not start with the data in {data}")
        kept = callback(keep)  # must outlive the calls
        library.espeak_SetSynthCallback(kept)
        out = sys.stdout.buffer
        out.write(struct.pack("<i", rate))
        for text, voice, *values, seed in jobs:
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                sys.exit(f"eSpeak NG has no voice {voice!r}")
            for parameter, value in zip(PARAMETERS.values(), values, strict=True):
                library.espeak_SetParameter(parameter, value, 0)
            library.espeak_ng_SetRandSeed(seed)
            heard.clear()
            spoken = text.encode()
            library.espeak_Synth(
                spoken, len(spoken) + 1, 0, POSITION_CHARACTER, 0, UTF8, None, None
            )
            library.espeak_Synchronize()
            samples = b"".join(heard)
            out.write(struct.pack("<i", len(samples) // 2) + samples)


if __name__ == "__main__":
    main()
