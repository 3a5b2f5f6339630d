"""Synthesised keywords: repeatable, distinct, placed as stated."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlap import data
from rlap.data.speech import synthesis
from rlap.data.speech.clips import KEYWORDS
from rlap.data.speech.synthesis import (
    DIFFICULTIES,
    Utterance,
    plan,
    speak,
    synthesise,
    trim,
)
from rlap.files.download import DataUnavailable

pytest.importorskip("espeakng_loader")


def test_same_seed_same_bits():
    before = torch.get_rng_state()
    one, again, other = (synthesise(60, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(one.waves, again.waves) and one.names == again.names
    assert one.digests == again.digests and one.speakers == again.speakers
    assert not set(one.digests) & set(other.digests)


def test_clips_are_what_they_say():
    made = synthesise(200)
    assert len(made) == 200 and len(set(made.digests)) == 200
    assert made.waves.shape == (200, 16_000) and made.waves.dtype == np.int16
    assert np.bincount(made.labels).tolist() == [20] * 10
    assert set(made.speakers) <= set(synthesis.variants())
    for name, label, speaker in zip(
        made.names, made.labels, made.speakers, strict=True
    ):
        assert name.startswith(f"{KEYWORDS[label]}/{speaker}_nohash_")
    peaks = np.abs(made.waves.astype(int)).max(axis=1)
    assert peaks.min() > 500 and len(set(peaks.tolist())) > 150


def test_a_plan_repeats_no_voice_for_a_word():
    most = 10 * len(synthesis.ACCENTS) * len(synthesis.variants())
    assert most == 8320
    whole = plan(most, 0)
    assert len({(u.word, u.accent, u.variant) for u in whole}) == most
    assert len({u.variant for u in plan(3000, 5)}) == 104
    for wrong in (9, most + 1):
        with pytest.raises(ValueError, match="clips must be at"):
            plan(wrong, 0)


def test_words_sound_different_and_voices_too():
    said = speak(
        [
            Utterance("yes", "en", "f2"),
            Utterance("no", "en", "f2"),
            Utterance("yes", "en-us", "f2"),
            Utterance("yes", "en", "m3"),
            Utterance("yes", "en", "f2", rate=220),
            Utterance("yes", "en", "f2", pitch=80),
        ]
    )
    assert len({x.tobytes() for x in said}) == 6
    assert all(2000 < len(x) < 16_000 for x in said)
    assert len(said[4]) < len(said[0])  # faster is shorter


def test_plain_is_the_word_alone():
    made = synthesise(20, difficulty="plain")
    for wave in made.waves:
        sounding = np.flatnonzero(wave)
        assert abs(int(np.abs(wave.astype(int)).max()) - 0.9 * 32768) < 2
        # in the middle, and digital silence around it
        assert abs(sounding[0] - (16_000 - 1 - sounding[-1])) <= 50
        assert 2000 < sounding[-1] - sounding[0] < 15_000


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_noise_is_at_20_to_40_db(seed):
    word = np.sin(np.arange(6000.0))
    quiet = dataclasses.replace(DIFFICULTIES["default"], snr=None)
    clean, noisy = (
        synthesis._placed(word, how, np.random.default_rng(seed))
        for how in (quiet, DIFFICULTIES["default"])
    )
    power = np.square(clean[clean != 0]).mean() * (clean != 0).sum() / 6000
    ratio = 10 * np.log10(power / np.square(noisy - clean).mean())
    assert 19.5 < ratio < 40.5
    gain = np.abs(clean).max() / 0.9
    assert 0.1 <= gain <= 1.0 + 1e-9


def test_trim_by_hand():
    wave = np.array([0.0, 0.001, 0.5, 0.0, -1.0, 0.02, 0.009])
    assert trim(wave).tolist() == [0.5, 0.0, -1.0, 0.02]


def test_what_is_refused():
    # the library itself would fall back to another voice and say nothing
    with pytest.raises(ValueError, match="unknown voice variant 'nobody'"):
        speak([Utterance("yes", "en", "nobody")])
    with pytest.raises(ValueError, match="unknown accent 'en-gb'"):
        speak([Utterance("yes", "en-gb", "f2")])
    with pytest.raises(ValueError, match="unknown difficulty 'hard'"):
        synthesise(10, difficulty="hard")


def test_a_failing_synthesiser(monkeypatch):
    def run(command, **options):
        return subprocess.CompletedProcess(command, -11, b"", b"line\nlast words\n")

    monkeypatch.setattr(synthesis.subprocess, "run", run)
    with pytest.raises(DataUnavailable, match="exit status -11 .last words.; reinst"):
        speak([Utterance("yes", "en", "f2")])


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(synthesis, "installed", lambda: False)
    with pytest.raises(DataUnavailable, match=r'GPL-3.0.*pip install "rlap.synth'):
        data.load("speech_commands", source="synthetic")


def test_a_data_path_too_long_for_the_library(tmp_path):
    """What English needs is copied to where the name is short enough."""
    import espeakng_loader

    from rlap.data.speech import _espeak

    source = Path(espeakng_loader.get_data_path())
    target = tmp_path / ("long" * 30)
    target.mkdir()
    far = target / "espeak-ng-data"
    far.symlink_to(source, target_is_directory=True)
    assert len(bytes(far)) >= _espeak.LONGEST_PATH
    short = tmp_path / "s"
    if len(bytes(short)) + 20 >= _espeak.LONGEST_PATH:
        with pytest.raises(SystemExit, match="name is too long"):
            _espeak.short_path(far, str(short))
        return
    made = _espeak.short_path(far, str(short))
    assert made == short / "espeak-ng-data"
    program = (
        "import espeakng_loader, runpy, sys\n"
        f"espeakng_loader.get_data_path = lambda: {str(made)!r}\n"
        f"runpy.run_path({_espeak.__file__!r}, run_name='__main__')"
    )
    job = b'{"jobs": [["yes", "en+f2", 175, 50, 50, 0]]}'
    copied = subprocess.run(
        [sys.executable, "-c", program], input=job, capture_output=True, check=True
    )
    plain = subprocess.run(
        [sys.executable, "-P", _espeak.__file__],
        input=job,
        capture_output=True,
        check=True,
    )
    assert len(plain.stdout) > 4000 and copied.stdout == plain.stdout


def test_the_package_is_loaded_by_the_child_only():
    program = (
        "import sys\nfrom rlap.data.speech import synthesis\n"
        "assert len(synthesis.synthesise(10)) == 10\n"
        "assert 'espeakng_loader' not in sys.modules"
    )
    root = Path(synthesis.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr
