"""Clips of every kind of unfitness: what is treated and how, what is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from rlap.data.speech import audio
from rlap.data.speech.audio import decode, to_float, to_int16
from rlap.files.download import DamagedData, DataUnavailable

WAVE = np.random.default_rng(0).integers(-9000, 9000, 16_000).astype(np.int16)


def file_of(samples, rate=16_000, form="WAV", subtype=None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def tone(seconds: float, rate: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_what_fits_comes_out_bit_for_bit(form):
    extremes = WAVE.copy()
    extremes[:4] = [-32768, 32767, 0, -1]
    done = decode(file_of(extremes, form=form), "a")
    assert done.dtype == np.int16 and np.array_equal(done, extremes)


def test_float_and_back():
    every = np.arange(-32768, 32768).astype(np.int16)
    assert np.array_equal(to_int16(to_float(every).numpy()), every)
    assert to_int16(np.array([2.0, -2.0])).tolist() == [32767, -32768]


def test_channels_are_averaged():
    left, right = np.full(16_000, 0.5), np.full(16_000, -0.25)
    done = decode(file_of(np.stack([left, right], 1)), "a")
    assert set(done.tolist()) == {4096}  # 0.125


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_another_rate_is_resampled(rate):
    done = decode(file_of(tone(1, rate), rate), "a") / 32768
    assert done.shape == (16_000,)
    middle = slice(1000, 15_000)  # the filter runs beyond both ends
    assert np.abs(done - tone(1, 16_000))[middle].max() < 0.01


def test_an_odd_rate_is_refused():
    with pytest.raises(DamagedData, match="odd.wav has the odd rate 44101 Hz"):
        decode(file_of(tone(1, 44_101), 44_101), "odd.wav")


@given(n=st.integers(1, 40_000))
@settings(max_examples=30, deadline=None)
def test_length_is_one_second(n):
    wave = np.resize(WAVE, n)
    done = decode(file_of(wave), "a")
    assert done.shape == (16_000,)
    kept = min(n, 16_000)  # the first second
    assert np.array_equal(done[:kept], wave[:kept]) and not done[kept:].any()


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_truncated_at_any_point(form):
    content = file_of(WAVE, form=form)
    for length in (1, 4, 11, 20, 43, 44, 45, 100, 5_000, len(content) - 1):
        with pytest.raises(DamagedData, match=r"no/x\.wav .*replace or remove it"):
            decode(content[:length], "no/x.wav")


def test_fewer_samples_than_the_header_tells():
    """A FLAC stream that ends cleanly, before what its header promises."""
    content = bytearray(file_of(WAVE[:9000], form="FLAC"))
    # STREAMINFO: the number of samples is the last 36 of these 64 bits
    words = int.from_bytes(content[18:26], "big")
    assert words & (2**36 - 1) == 9000
    content[18:26] = (words + 5000).to_bytes(8, "big")
    with pytest.raises(DamagedData, match=r"x\.flac (is truncated|cannot be decoded)"):
        decode(bytes(content), "x.flac")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not audio at all" * 50, "cannot be decoded"),
        (b"fLaC" + bytes(300), "cannot be decoded|holds no samples"),
        (file_of(WAVE[:0]), "holds no samples"),
        (file_of(np.array([0.0, np.nan]), subtype="FLOAT"), "NaN or infinite"),
    ],
    ids=["empty", "text", "zeros", "no samples", "nan"],
)
def test_unusable_clips_are_named(content, message):
    with pytest.raises(DamagedData, match=rf"up/q\.wav.*({message})"):
        decode(content, "up/q.wav")


@given(at=st.integers(0, 6000), value=st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_a_damaged_byte_is_an_error_or_a_clip(at, value):
    """Never another exception, never another shape."""
    content = bytearray(file_of(WAVE[:4000], form="FLAC"))
    content[at % len(content)] = value
    try:
        assert decode(bytes(content), "x").shape == (16_000,)
    except DamagedData as error:
        assert str(error).startswith("x ")


def test_missing_package(monkeypatch):
    def absent(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(audio.importlib, "import_module", absent)
    with pytest.raises(DataUnavailable, match=r'soundfile .*pip install "rlap.speech'):
        decode(file_of(WAVE), "a")
