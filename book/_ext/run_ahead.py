"""Sphinx extension: run the notebooks beside Sphinx, two at a time, while it reads.

MyST-NB runs one after the other, and while one runs Sphinx waits. So they are run here,
next to one another, while the other pages are read; those of the notebooks are read
last, and what came out is put into the notebook cache, where MyST-NB finds it. One that
fails is left to MyST-NB, which runs it again and reports the error as usual. What two
notebooks train alike is trained once. Pictures are drawn as SVG. When all have been
read, pages are written two at a time.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from forked_kernels import Nursery
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution

AT_ONCE = 2
# of starting a kernel: two that start together may be given the same port
TRIES = 3
# by what their names begin with, so that both cores have work to the end; 05 and 04
# find networks there that 01 and 03 have trained
ORDER = ("01", "03", "06", "07", "04", "02", "05", "00")

NETWORKS = "networks"  # a folder of the build
READING = 5  # how much less of a core Sphinx gets than a notebook


def notebooks(env: Any) -> Iterator[tuple[str, Path, Any]]:
    """Page, path and content of every notebook, in the order in which they are run."""
    paths = {name: Path(env.doc2path(name)) for name in sorted(env.found_docs)}
    found = [(n, path) for n, path in paths.items() if path.suffix == ".ipynb"]
    order = {start: i for i, start in enumerate(ORDER)}
    for name, path in sorted(found, key=lambda p: order.get(p[1].name[:2], len(order))):
        yield name, path, nbformat.read(path, 4)


def is_cached(cache: Any, notebook: Any) -> bool:
    """Whether the cache has outputs of a notebook with these cells."""
    try:
        cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    return True


class Runs:
    """The runs that are going on, by page."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(AT_ONCE)
        self.nursery, self.lock = Nursery(), threading.Lock()
        self.manager: Any = None
        self.going: dict[str, tuple[Path, Any, Future]] = {}
        self.cache: Any = None

    def expect(self, app: Any, config: Any) -> None:
        """Where nothing is cached all notebooks will run: what kernels are forked from
        starts while Sphinx gets ready."""
        if not Path(config.nb_execution_cache_path).exists():
            self.nursery.start()

    def begin(self, app: Any, env: Any, *about: set[str]) -> list[str]:
        """Start what is not cached; no page has to be read for that."""
        self.cache = get_cache(str(app.config.nb_execution_cache_path))
        for name, path, notebook in notebooks(env):
            if not is_cached(self.cache, notebook):
                run = self.pool.submit(
                    self.run,
                    notebook,
                    cwd=str(path.parent),
                    timeout=app.config.nb_execution_timeout,
                    allow_errors=False,
                )
                self.going[name] = path, notebook, run
        if self.going:  # they take longest: this thread reads in the time they leave
            os.nice(READING)
        return []

    def run(self, notebook: Any, **given: Any) -> Any:
        """Run a notebook; the first waits until there is something to fork from."""
        with self.lock:
            if self.manager is None:
                self.manager = self.nursery.__enter__().manager
        for tries_left in reversed(range(TRIES)):
            try:
                return single_nb_execution(
                    notebook, kernel_manager_class=self.manager, **given
                )
            except RuntimeError as error:
                if "before replying" not in str(error) or not tries_left:
                    raise

    def wait(self, app: Any, name: str, *about: Any) -> None:
        """Wait for a page's notebook, and put what came out into the cache."""
        if name not in self.going:
            return
        path, notebook, run = self.going.pop(name)
        found = run.result()
        if found.err is None:
            data = {"execution_seconds": found.time}
            bundle = CacheBundleIn(notebook, str(path), data=data)
            self.cache.cache_notebook_bundle(
                bundle, check_validity=False, overwrite=True
            )
            print(f"{path.name}: run in {found.time:.1f} s")

    def finish(self, app: Any, *about: Any) -> None:
        """Wait for those whose pages were not read; then Sphinx may have all cores."""
        for name in list(self.going):
            self.wait(app, name)
        app.parallel = max(app.parallel, min(AT_ONCE, os.cpu_count() or 1))
        self.pool.shutdown()
        self.nursery.__exit__()
        self.manager = None


def notebooks_last(app: Any, env: Any, names: list[str]) -> None:
    """Pages first that need no run, then notebooks as they are run."""
    order = [name for name, *_ in notebooks(env)]
    names.sort(key=lambda name: order.index(name) if name in order else -1)


def configure(app: Any, config: Any) -> None:
    """Have kernels draw SVG and share networks and the cores: as many threads as leave
    room."""
    build = Path(app.outdir).parent
    profile = build / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    wanted = [
        "c = get_config()",
        'c.InlineBackend.figure_formats = {"svg"}',
        "c.IPKernelApp.log_level = 40",  # no word on the transport in every run
        'c.PlainTextFormatter.float_precision = "%.4g"',  # of numbers that are shown
    ]
    # of captum: there is no widget in a page, and the warning names a path
    quiet = "import warnings; warnings.filterwarnings('ignore', 'IProgress not found')"
    whole = "import pandas; pandas.set_option('display.max_colwidth', None)"
    wanted.append(f"c.IPKernelApp.exec_lines = [{quiet!r}, {whole!r}]")
    text = "\n".join(wanted) + "\n"
    (profile / "ipython_kernel_config.py").write_text(text, encoding="utf-8")
    os.environ["IPYTHONDIR"] = str(profile.parent)
    style = profile / "matplotlibrc"  # text stays text: a third of the bytes
    style.write_text("svg.fonttype: none\n", encoding="utf-8")
    os.environ["MATPLOTLIBRC"] = str(style)
    # those of this build alone: 01 shows seconds, and has to train its own
    shutil.rmtree(build / NETWORKS, ignore_errors=True)
    os.environ["RLAP_NETWORKS"] = str(build / NETWORKS)
    threads = max(1, (os.cpu_count() or 1) // AT_ONCE)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx, which asks what is outdated when all pages are known."""
    runs = Runs()
    app.connect("config-inited", configure)
    app.connect("config-inited", runs.expect)
    app.connect("env-get-outdated", runs.begin)
    app.connect("env-before-read-docs", notebooks_last)
    app.connect("source-read", runs.wait)
    app.connect("env-updated", runs.finish)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
