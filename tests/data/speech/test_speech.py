"""Speech Commands: three origins, copies, splits, the cache, unreadable clips."""

from __future__ import annotations

import io
import os
import shutil
import time
import warnings
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import names
from hypothesis import given, settings
from hypothesis import strategies as st

from rlap import data
from rlap.data.speech import audio, clips, origins, synthesis
from rlap.data.speech import keywords as speech
from rlap.data.speech.clips import (
    KEYWORDS,
    collect,
    read_archive,
    speaker_of,
    split_indices,
)
from rlap.data.speech.mfcc import mfcc
from rlap.files import digests
from rlap.files.download import DamagedData

REAL = data.available("speech_commands", source="archive")


def sound(wave: np.ndarray, form: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, 16_000, format=form)
    return buffer.getvalue()


def recordings(speakers: int = 6, takes: int = 2) -> dict[str, np.ndarray]:
    """word/speaker_nohash_take -> a clip of its own."""
    random = np.random.default_rng(0)
    return {
        f"{word}/{speaker:08x}_nohash_{take}": random.integers(
            -3000, 3000, 16_000
        ).astype(np.int16)
        for word in KEYWORDS
        for speaker in range(speakers)
        for take in range(takes)
    }


def write_archive(folder: Path, made: dict[str, np.ndarray], **more: bytes) -> Path:
    path = folder / origins.ARCHIVE
    with zipfile.ZipFile(path, "w") as archive:
        for name, wave in made.items():
            archive.writestr(f"{name}.flac", sound(wave, "FLAC"))
        archive.writestr("README.md", "not a clip")
        archive.writestr("cat/00000000_nohash_0.flac", b"not one of the ten")
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def write_full(folder: Path, made: dict[str, np.ndarray]) -> Path:
    base = folder / "SpeechCommands" / origins.FULL
    for name, wave in made.items():
        path = base / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound(wave, "WAV"))
    for other in ("cat/1_nohash_0.wav", "_background_noise_/noise.wav"):
        (base / other).parent.mkdir()
        (base / other).write_bytes(b"not one of the ten")
    return base


@pytest.fixture
def archive(folders) -> Path:
    return write_archive(folders / "data", recordings())


# --- the archive --------------------------------------------------------------------


def test_archive(folders, archive):
    whole = data.load("speech_commands")
    assert (len(whole.train), len(whole.test)) == (100, 20)  # 5 and 1 speakers
    assert whole.train.inputs.shape == (100, 1, 40, 32)
    assert whole.train.inputs.dtype == torch.float32
    assert whole.classes == KEYWORDS and whole.train.num_classes == 10
    assert whole.name == "speech_commands" and not whole.stand_in
    assert "official test archive" in whole.source and archive.name in whole.source
    assert "not comparable" in whole.banner
    expected = (whole.source, whole.digest)
    assert data.available("speech_commands") == expected
    assert data.data_digest("speech_commands") == whole.digest
    assert names(folders / "data") == [archive.name]  # read only
    assert len(names(folders / "cache")) == 1


def test_features_are_those_of_the_waveforms(archive):
    for options in ({}, {"split": "random"}):
        made = data.load("speech_commands", **options)
        heard = speech.waveforms(seed=0, **options)
        for part in ("train", "test"):
            split, waves = getattr(made, part), getattr(heard, part)
            assert waves.inputs.shape == (len(split), 16_000)
            assert torch.equal(split.labels, waves.labels)
            assert torch.allclose(mfcc(waves.inputs), split.inputs, atol=1e-3)
            who = getattr(heard, f"{part}_speakers")
            what = getattr(heard, f"{part}_names")
            for label, name, speaker in zip(split.labels, what, who, strict=True):
                assert name.startswith(f"{KEYWORDS[label]}/{speaker}")


def test_words_come_mixed(archive):
    """Batches that are taken in order, as released, must not hold one word each."""
    for split in ("speaker", "random"):
        labels = data.load("speech_commands", split=split).train.labels
        changes = (labels[1:] != labels[:-1]).float().mean()
        assert changes > 0.75  # 0.9 expected; sorted words would change 9 times in all


def test_waveforms_are_the_recordings(archive):
    made = recordings()
    heard = speech.waveforms(train_size=30, test_size=10, seed=4)
    assert len(heard.train) == 30 and heard.sample_rate == 16_000
    for name, wave in zip(heard.test_names, heard.test.inputs, strict=True):
        original = made[name.removesuffix(".flac")]
        assert np.array_equal((wave * 32768).numpy(), original)


def test_a_few_clips_are_decoded_alone(archive, monkeypatch):
    """38,000 clips are not decoded to listen to four."""
    heard = speech.waveforms(train_size=30, test_size=10, seed=4)
    decoded = []

    def counted(content, name):
        decoded.append(name)
        return audio.decode(content, name)

    monkeypatch.setattr(clips, "decode", counted)
    few = heard.some([7, 2, 7])
    assert len(decoded) == 2 and few.shape == (3, 16_000)
    assert torch.equal(few, heard.train.inputs[[7, 2, 7]])
    assert torch.equal(heard.some([3], "test"), heard.test.inputs[3:4])
    with pytest.raises(ValueError, match="part"):
        heard.some([0], "both")


def test_other_clips_than_those_of_the_features_are_noticed(archive):
    heard = speech.waveforms(train_size=30, test_size=10, seed=4)
    changed = replace(heard, digests=(("0" * 64,) * 30, heard.digests[1]))
    with pytest.raises(DamagedData, match=r"1 clips .* speech-mfcc-\w+\.npz"):
        changed.some([5])


def test_padding_as_released(archive):
    short, long = (data.load("speech_commands", frames=f) for f in (32, 130))
    assert long.train.inputs.shape == (100, 1, 40, 130)
    assert torch.equal(long.train.inputs[..., :32], short.train.inputs)
    assert not long.train.inputs[..., 32:].any()
    assert long.digest == short.digest


def test_seed_and_sizes(archive):
    one, again, other = (
        data.load("speech_commands", train_size=40, test_size=10, seed=s)
        for s in (1, 1, 2)
    )
    assert one.train.labels.bincount().tolist() == [4] * 10
    assert one.test.labels.bincount().tolist() == [1] * 10
    assert torch.equal(one.train.inputs, again.train.inputs)
    assert not torch.equal(one.train.inputs, other.train.inputs)
    with pytest.raises(ValueError, match="size must be at most 100, not 101"):
        data.load("speech_commands", train_size=101)


# --- copies and splits ------------------------------------------------------------


def items(*rows: tuple[str, str, int]):
    """(word, speaker, content) -> what ``collect`` takes."""
    for i, (word, speaker, content) in enumerate(rows):
        wave = np.full(16_000, content, dtype=np.int16)
        yield f"{word}/{speaker}_nohash_{i}", KEYWORDS.index(word), speaker, wave


ONE_EACH = [(word, f"s{i}", 1000 + i) for i, word in enumerate(KEYWORDS)]


def test_copies_stay_once():
    made = collect(items(*ONE_EACH, ("yes", "s0", 1000), ("yes", "s0", 1)), "x")
    assert len(made) == 11 == len(set(made.digests))
    assert made.names[0] == "yes/s0_nohash_0" and made.names[10] == "yes/s0_nohash_11"


def test_one_recording_under_two_words_is_neither():
    rows = [*ONE_EACH, ("yes", "a", 5), ("no", "a", 5), ("yes", "a", 5)]
    assert len(collect(items(*rows), "x")) == 10


def test_speakers_who_share_a_recording_are_one():
    rows = [("yes", "c", 7), ("yes", "b", 7), ("up", "b", 8), ("up", "a", 8)]
    made = collect(items(*ONE_EACH, *rows, ("go", "b", 9), ("go", "d", 11)), "x")
    who = dict(zip(made.names, made.speakers, strict=True))
    assert who["yes/c_nohash_10"] == who["up/b_nohash_12"] == who["go/b_nohash_14"]
    assert who["go/d_nohash_15"] == "d"


def test_a_missing_word_is_told():
    with pytest.raises(data.DamagedData, match="the folder has no clip of 'go'"):
        collect(items(*ONE_EACH[:-1]), "the folder")


@given(seed=st.integers(0, 2**63 - 1), counts=st.lists(st.integers(1, 9), min_size=2))
@settings(max_examples=60, deadline=None)
def test_no_speaker_is_in_both_parts(seed, counts):
    speakers = [f"s{i}" for i, n in enumerate(counts) for _ in range(n)]
    labels = torch.arange(len(speakers)) % 10
    before = torch.get_rng_state()
    train, test = split_indices(labels, speakers, "speaker", seed)
    assert torch.equal(torch.get_rng_state(), before)
    both = torch.cat([train, test]).sort().values
    assert torch.equal(both, torch.arange(len(speakers)))
    assert len(train) and len(test)
    assert not {speakers[i] for i in train} & {speakers[i] for i in test}


def test_speakers_fill_a_fifth_of_each_class():
    random = np.random.default_rng(0)
    speakers = [f"s{i}" for i in random.integers(0, 200, 4000)]
    labels = torch.from_numpy(random.integers(0, 10, 4000))
    tests = []
    for seed in range(5):
        test = split_indices(labels, speakers, "speaker", seed)[1]
        share = labels[test].bincount() / labels.bincount()
        assert (share - 0.2).abs().max() < 0.01
        assert abs(len(test) / 4000 - 0.2) < 0.002
        tests.append(tuple(test.tolist()))
    assert len(set(tests)) == 5


def test_the_random_split_is_stratified_over_clips():
    labels = torch.arange(200) % 10
    speakers = [f"s{i // 20}" for i in range(200)]
    train, test = split_indices(labels, speakers, "random", 0)
    assert labels[test].bincount().tolist() == [4] * 10
    assert {speakers[i] for i in train} & {speakers[i] for i in test}
    assert not set(train.tolist()) & set(test.tolist())


def test_one_speaker_cannot_be_split():
    with pytest.raises(ValueError, match="at least two speakers"):
        split_indices(torch.arange(10), ["a"] * 10, "speaker", 0)


def test_speaker_is_in_the_name():
    assert speaker_of("yes/022cd682_nohash_10.flac") == "022cd682"


def test_copies_in_the_archive_cannot_leak(folders):
    made = recordings()
    copies = {f"{name[:-1]}{int(name[-1]) + 5}": wave for name, wave in made.items()}
    write_archive(folders / "data", made | copies)
    for how in clips.SPLITS:
        heard = speech.waveforms(split=how)
        assert len(heard.train) + len(heard.test) == len(made)
        parts = [{w.numpy().tobytes() for w in s.inputs} for s in heard_parts(heard)]
        assert not parts[0] & parts[1]


def heard_parts(heard: speech.Waveforms):
    return heard.train, heard.test


# --- the full set -------------------------------------------------------------------


def test_full_set_comes_first(folders, archive):
    made = recordings(speakers=7)
    base = write_full(folders / "data", made)
    got = data.load("speech_commands")
    assert len(got.train) + len(got.test) == 140
    assert got.source == f"{origins.FULL} in RLAP_DATA"
    assert not got.stand_in and got.banner == ""
    other = data.load("speech_commands", source="archive")
    assert len(other.train) == 100 and other.digest != got.digest
    # a changed file changes the digest, and the cache is not believed
    changed = base / "yes" / "00000000_nohash_0.wav"
    changed.write_bytes(sound(made["no/00000000_nohash_0"][:9000], "WAV"))
    assert data.data_digest("speech_commands") != got.digest


def test_full_set_without_the_outer_folder(folders):
    base = write_full(folders / "data", recordings())
    base.rename(folders / "data" / origins.FULL)
    assert len(data.load("speech_commands", source="full").train) == 100


def test_companions_of_files_are_no_clips(folders):
    """macOS lays them beside files, and into archives."""
    made = recordings()
    base = write_full(folders / "data", made)
    plain = data.data_digest("speech_commands")
    for name in ("yes/._00000000_nohash_0.wav", "yes/._x.wav", "__MACOSX/yes/a.wav"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(b"Mac OS X")
    assert data.data_digest("speech_commands") == plain
    assert len(data.load("speech_commands", source="full").train) == 100
    more = {f"{where}/._00000000_nohash_0.flac": b"Mac" for where in ("yes", "no")}
    more["__MACOSX/yes/00000000_nohash_0.flac"] = b"Mac"
    write_archive(folders / "data", made, **more)
    assert len(data.load("speech_commands", source="archive").train) == 100


@pytest.mark.parametrize("where", [".", Path(origins.ARCHIVE).stem, origins.ARCHIVE])
def test_the_archive_may_be_unpacked(folders, archive, monkeypatch, where):
    packed = data.load("speech_commands")
    content = {
        name: digests.sha256(zipfile.ZipFile(archive).read(name))
        for name in sorted(zipfile.ZipFile(archive).namelist())
        if clips.is_clip(name)
    }
    zipfile.ZipFile(archive).extractall(folders / "unpacked")
    archive.unlink()
    shutil.rmtree(folders / "cache")
    target = folders / "data" / where
    shutil.copytree(folders / "unpacked", target, dirs_exist_ok=True)
    got = data.load("speech_commands")
    assert got.source == f"{origins.ARCHIVE_TOLD} (unpacked in RLAP_DATA)"
    assert not got.stand_in and "not comparable" in got.banner
    assert torch.equal(got.train.inputs, packed.train.inputs)
    assert got.digest == digests.of_json(content) != packed.digest
    # of the clips that were published, the digest is that of their archive
    monkeypatch.setitem(origins.ARCHIVE_DIGESTS, got.digest, packed.digest)
    assert data.data_digest("speech_commands") == packed.digest
    # with one keyword less it is none
    shutil.rmtree(target / "go")
    if where == ".":
        assert data.available("speech_commands") is None


def test_full_set_is_downloaded_when_asked_for(folders, monkeypatch):
    import torchaudio

    with pytest.raises(data.DataUnavailable, match="RLAP_OFFLINE forbids"):
        data.load("speech_commands", source="full")
    real, asked = torchaudio.datasets.SPEECHCOMMANDS, []

    def stand(root, url=None, folder_in_archive="SpeechCommands", download=False):
        if not download:
            return real(root, folder_in_archive=folder_in_archive)
        asked.append(url)
        write_full(Path(root), recordings())
        if len(asked) == 1:
            raise RuntimeError("hash mismatch")
        return None

    monkeypatch.delenv("RLAP_OFFLINE")
    monkeypatch.setattr(torchaudio.datasets, "SPEECHCOMMANDS", stand)
    with pytest.raises(data.DataUnavailable, match="could not download.*hash mism"):
        data.load("speech_commands", source="full")
    assert names(folders / "cache") == []  # nothing half done
    got = data.load("speech_commands", source="full")
    assert got.source == f"{origins.FULL} in the cache folder"
    assert asked == ["speech_commands_v0.02"] * 2
    assert len(names(folders / "cache")) == 2  # the set and its features


# --- nothing there ------------------------------------------------------------------


def test_synthesised_speech_stands_in(folders):
    assert data.available("speech_commands") is None
    with pytest.warns(data.StandInDataWarning, match="synthesised speech stands in"):
        got = data.load("speech_commands", clips=100)
    assert got.stand_in and got.banner.startswith("Stand-in data: synthesised speech")
    assert len(got.train) + len(got.test) == 100
    assert got.digest == data.data_digest("speech_commands", clips=100)
    assert got.digest != data.data_digest("speech_commands", clips=101)
    with pytest.warns(data.StandInDataWarning, match="3000 clips asked for are capped"):
        capped = data.load("speech_commands", train_size=3000, clips=100)
    assert len(capped.train) == len(got.train)
    heard = speech.waveforms(train_size=3000, clips=100)
    assert torch.equal(heard.train.labels, got.train.labels)
    assert not set(heard.train_speakers) & set(heard.test_speakers)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was asked for: nothing to warn of
        again = data.load("speech_commands", source="synthetic", clips=100)
    assert torch.equal(again.train.inputs, got.train.inputs) and again.stand_in
    with pytest.raises(ValueError, match="size must be at most"):
        data.load("speech_commands", source="synthetic", clips=100, train_size=101)


def test_nothing_to_be_had(folders, monkeypatch):
    monkeypatch.setattr(synthesis, "installed", lambda: False)
    with pytest.raises(data.DataUnavailable, match="RLAP_DATA names.*Then: .*GPL"):
        data.load("speech_commands")
    with pytest.raises(data.DataUnavailable, match="no Speech Commands here: put"):
        data.load("speech_commands", allow_stand_in=False)
    with pytest.raises(data.DataUnavailable, match="no Speech Commands here"):
        data.load("speech_commands", source="archive")
    with pytest.raises(data.DataUnavailable, match="espeakng-loader"):
        data.data_digest("speech_commands")
    assert names(folders / "cache") == []


# --- the cache ----------------------------------------------------------------------


def test_second_load_decodes_nothing(folders, archive, monkeypatch):
    first = data.load("speech_commands")
    monkeypatch.setattr(clips, "decode", None)
    started = time.process_time()
    second = data.load("speech_commands", frames=130, split="random")
    assert time.process_time() - started < 2
    assert len(second.train) + len(second.test) == 120
    again = data.load("speech_commands")
    assert torch.equal(first.train.inputs, again.train.inputs)


def test_damaged_cache_is_made_again(folders, archive):
    good = data.load("speech_commands")
    (name,) = names(folders / "cache")
    cached = folders / "cache" / name
    whole = cached.read_bytes()
    flipped = bytearray(whole)
    flipped[5000] ^= 1
    for content in (whole[:-9], b"", b"no zip", bytes(flipped)):
        cached.write_bytes(content)
        with pytest.warns(UserWarning, match="is damaged .*making it again"):
            again = data.load("speech_commands")
        assert torch.equal(again.train.inputs, good.train.inputs)
        assert cached.stat().st_size == len(whole)


def test_labels_in_another_order_are_noticed(folders, archive):
    """The file is whole and its name is right: only its content is not."""
    good = data.load("speech_commands")
    (name,) = names(folders / "cache")
    cached = folders / "cache" / name
    with np.load(cached) as kept:
        content = dict(kept)
    for field in ("labels", "speakers", "inputs"):
        np.savez(cached, **{**content, field: content[field][::-1]})
        with pytest.warns(UserWarning, match="content is not what was written"):
            again = data.load("speech_commands")
        assert torch.equal(again.train.labels, good.train.labels)
    del content["digest"]
    np.savez(cached, **content)
    with pytest.warns(UserWarning, match="is damaged"):
        data.load("speech_commands")


def test_a_cache_that_cannot_be_written_hides_no_speech(folders, archive, monkeypatch):
    (folders / "file").write_text("no folder")
    monkeypatch.setenv("RLAP_CACHE", str(folders / "file" / "cache"))
    with pytest.warns(UserWarning, match="features are not kept: cannot create"):
        assert not data.load("speech_commands").stand_in


def test_a_clip_has_a_limit(folders, archive, monkeypatch):
    monkeypatch.setattr(clips, "LARGEST", 20_000)
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    with pytest.raises(data.DamagedData, match="flac in .* more than the 20,000"):
        data.load("speech_commands")
    write_full(folders / "data", recordings())
    monkeypatch.setattr(Path, "read_bytes", None)
    with pytest.raises(data.DamagedData, match="wav has 32,044 bytes"):
        data.load("speech_commands")


def test_a_file_of_the_same_size_is_noticed(folders):
    made = recordings()
    base = write_full(folders / "data", made)
    before = data.load("speech_commands", split="random")
    changed = base / "yes" / "00000000_nohash_0.wav"
    changed.write_bytes(sound(made["yes/00000000_nohash_0"][::-1], "WAV"))
    os.utime(changed, ns=(1, 1))
    after = data.load("speech_commands", split="random")
    both = [torch.cat([d.train.inputs, d.test.inputs]) for d in (before, after)]
    differ = (both[0] != both[1]).flatten(1).any(dim=1)
    assert int(differ.sum()) == 1


def test_other_options_are_another_cache(folders, archive, monkeypatch):
    data.load("speech_commands")
    monkeypatch.setattr(speech, "PARAMETERS", speech.PARAMETERS | {"n_mfcc": 13})
    assert speech.cache_name(origins.locate(origins.Options())) not in names(
        folders / "cache"
    )


def test_interrupted_store_leaves_nothing(folders, archive, monkeypatch):
    def interrupt(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(speech.np, "savez", interrupt)
    with pytest.raises(KeyboardInterrupt):
        data.load("speech_commands")
    assert names(folders / "cache") == []


# --- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"nothing of the kind", "cannot be decoded"),
        (sound(np.ones(16_000), "FLAC")[:-30], "truncated|cannot be decoded"),
        (sound(np.zeros(0), "WAV"), "no samples"),
    ],
    ids=["empty", "text", "truncated", "no samples"],
)
def test_an_unreadable_clip_is_named(folders, content, message):
    bad = {"stop/bad_nohash_0.flac": content}
    path = write_archive(folders / "data", recordings(), **bad)
    expected = rf"bad_nohash_0.flac in {path} .*({message})"
    with pytest.raises(data.DamagedData, match=expected):
        data.load("speech_commands")  # and nothing stands in for it
    assert names(folders / "cache") == []


def test_an_unreadable_file_is_named(folders):
    base = write_full(folders / "data", recordings())
    bad = base / "up" / "00000001_nohash_0.wav"
    bad.write_bytes(bad.read_bytes()[:3000])
    with pytest.raises(data.DamagedData, match=f"{bad} is truncated"):
        data.load("speech_commands")


def test_a_damaged_archive_is_named(folders, archive):
    whole = archive.read_bytes()
    archive.write_bytes(whole[:5000])
    with pytest.raises(data.DamagedData, match=f"{archive} cannot be read"):
        data.load("speech_commands")
    flipped = bytearray(whole)
    flipped[2000] ^= 1
    archive.write_bytes(flipped)
    with pytest.raises(data.DamagedData, match=rf"yes/\w+.flac in {archive} cannot"):
        read_archive(archive)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"source": "web"}, ValueError, "unknown source 'web'; choose one of archive"),
        ({"split": "time"}, ValueError, "unknown split 'time'"),
        ({"frames": 31}, ValueError, "frames must be at least 32"),
        ({"frames": 32.0}, TypeError, "frames must be a whole number"),
        ({"clips": 3}, ValueError, "clips must be at least 10"),
        ({"difficulty": "x"}, ValueError, "unknown difficulty"),
        ({"width": 3}, TypeError, "takes no option 'width'; its options are: source"),
    ],
)
def test_bad_options(archive, options, error, message):
    with pytest.raises(error, match=message):
        data.load("speech_commands", **options)
    with pytest.raises(error, match=message):
        data.available("speech_commands", **options)


@pytest.mark.parametrize("name", ["cifar10", "digits"])
def test_images_take_no_such_options(name):
    for call in (data.load, data.available, data.data_digest):
        with pytest.raises(TypeError, match=f"'{name}' takes no option 'frames'.*none"):
            call(name, frames=32)


def test_stand_in_data_must_say_so():
    split = data.Split(torch.zeros(2, 1), torch.arange(2))
    with pytest.raises(ValueError, match="need a banner"):
        data.Dataset(split, split, ("a", "b"), "x", "y", "z", stand_in=True)


# --- the real clips -----------------------------------------------------------------


@pytest.mark.skipif(REAL is None, reason="needs the archive in RLAP_DATA")
def test_the_real_archive(tmp_path, monkeypatch):
    """Counts stated for it, copies gone, speakers apart, and the times promised."""
    monkeypatch.setenv("RLAP_CACHE", str(tmp_path))
    started = time.perf_counter()
    whole = data.load("speech_commands", source="archive")
    assert time.perf_counter() - started < 60
    again = []
    for _ in range(3):
        started = time.perf_counter()
        data.load("speech_commands", source="archive")
        again.append(time.perf_counter() - started)
    assert min(again) < 2, again
    assert len(whole.train) + len(whole.test) == 3953  # of 4,074, without copies
    assert 0.199 < len(whole.test) / 3953 < 0.201
    assert whole.train.inputs.min() > -900 and whole.train.inputs.max() < 320
    heard = speech.waveforms(source="archive")
    assert len(set(heard.train_speakers) | set(heard.test_speakers)) == 239
    assert not set(heard.train_speakers) & set(heard.test_speakers)
    counts = Counter(heard.train.labels.tolist()) + Counter(heard.test.labels.tolist())
    assert all(350 < counts[c] < 425 for c in range(10))
    parts = [{w.numpy().tobytes() for w in s.inputs} for s in heard_parts(heard)]
    assert not parts[0] & parts[1]
    path = origins.paths.find(origins.ARCHIVE)
    assert digests.of_file(path) == whole.digest
    with zipfile.ZipFile(path) as packed:
        content = {n: packed.read(n) for n in packed.namelist() if clips.is_clip(n)}
    unpacked = digests.of_json({n: digests.sha256(c) for n, c in content.items()})
    assert {unpacked: whole.digest} == origins.ARCHIVE_DIGESTS
