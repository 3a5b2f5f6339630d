"""Which folders are used, and which variable moves them."""

from __future__ import annotations

import builtins
from pathlib import Path

import pytest

from rlap.files import paths


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    for name in ("RLAP_DATA", "RLAP_RUNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RLAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def _fake_checkout(tmp_path, monkeypatch) -> Path:
    root = tmp_path / "repo"
    (root / "rlap").mkdir(parents=True)
    (root / "notebooks").mkdir()
    (root / "pyproject.toml").touch()
    monkeypatch.setattr(paths, "__file__", str(root / "rlap" / "files" / "paths.py"))
    return root


def test_cache_is_named_first_and_made_on_demand(tmp_path):
    assert paths.cache_location() == tmp_path / "cache"
    assert paths.data_folders() == [tmp_path / "cache"]
    assert not (tmp_path / "cache").exists()
    assert paths.cache_folder().is_dir()


def test_cache_that_cannot_be_made_says_what_to_set(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RLAP_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match="set RLAP_CACHE to a folder"):
        paths.cache_folder()


def test_cache_without_platformdirs(tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "platformdirs":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delenv("RLAP_CACHE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(builtins, "__import__", refuse)
    assert paths.cache_location() == tmp_path / ".cache" / "rlap"


def test_rlap_data_is_searched_first(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("RLAP_DATA", str(data))
    assert paths.data_folders() == [data, tmp_path / "cache"]
    assert paths.find("a.bin") is None
    (paths.cache_folder() / "a.bin").touch()
    assert paths.find("a.bin") == tmp_path / "cache" / "a.bin"
    (data / "a.bin").touch()
    assert paths.find("a.bin") == data / "a.bin"


def test_rlap_data_that_is_no_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("RLAP_DATA", str(tmp_path / "typo"))
    with pytest.raises(NotADirectoryError, match="RLAP_DATA names .*typo"):
        paths.data_folders()


def test_only_the_cache_is_ours_to_rewrite(tmp_path, monkeypatch):
    assert paths.in_cache(tmp_path / "cache" / "x")
    assert not paths.in_cache(tmp_path / "data" / "x")
    # the read-only folder keeps its protection when the two are one
    monkeypatch.setenv("RLAP_DATA", str(tmp_path / "cache"))
    assert not paths.in_cache(tmp_path / "cache" / "x")


def test_folders_of_a_checkout(tmp_path, monkeypatch):
    root = _fake_checkout(tmp_path, monkeypatch)
    assert paths.checkout() == root
    assert paths.results_folder() == root / "results"
    assert paths.runs_folder() == root / "_build" / "runs"
    assert paths.constraints_file() is None
    (root / "constraints.txt").touch()
    assert paths.constraints_file() == root / "constraints.txt"
    monkeypatch.setenv("RLAP_RUNS", str(tmp_path / "mine"))
    assert paths.runs_folder() == tmp_path / "mine"


def test_folders_without_a_checkout(tmp_path, monkeypatch):
    _fake_checkout(tmp_path, monkeypatch)
    (tmp_path / "repo" / "notebooks").rmdir()
    assert paths.checkout() is None
    assert paths.constraints_file() is None
    assert paths.results_folder() == tmp_path / "results"
    assert paths.runs_folder() == tmp_path / "runs"
