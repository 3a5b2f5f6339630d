"""Sphinx extension: run the notebooks before Sphinx reads them, two at a time.

Sphinx runs one after the other, and half of a short run goes into starting Python and
importing torch. So they are run here, next to one another, and their outputs are put
into the notebook cache, where MyST-NB finds them. One that fails is left to MyST-NB,
which runs it again and reports the error as usual. Pictures are drawn as SVG.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution

AT_ONCE = 2
LONGEST_FIRST = ("03", "04", "02", "01", "05", "00")  # by what their names begin with


def notebooks(env: Any) -> Iterator[tuple[Path, Any]]:
    """Path and content of every notebook, the longest run first."""
    paths = [Path(env.doc2path(name)) for name in sorted(env.found_docs)]
    found = [path for path in paths if path.suffix == ".ipynb"]
    order = {start: i for i, start in enumerate(LONGEST_FIRST)}
    for path in sorted(found, key=lambda p: order.get(p.name[:2], len(order))):
        yield path, nbformat.read(path, 4)


def is_cached(cache: Any, notebook: Any) -> bool:
    """Whether the cache has outputs of a notebook with these cells."""
    try:
        cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    return True


def run_ahead(app: Any, env: Any, *about: set[str]) -> list[str]:
    """Run and cache what is not cached; no page has to be read for that."""
    cache = get_cache(str(app.config.nb_execution_cache_path))
    todo = [(path, nb) for path, nb in notebooks(env) if not is_cached(cache, nb)]

    def run(page: tuple[Path, Any]) -> Any:
        path, notebook = page
        return single_nb_execution(
            notebook,
            cwd=str(path.parent),
            timeout=app.config.nb_execution_timeout,
            allow_errors=False,
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for (path, notebook), found in zip(todo, pool.map(run, todo), strict=True):
            if found.err is None:
                data = {"execution_seconds": found.time}
                bundle = CacheBundleIn(notebook, str(path), data=data)
                cache.cache_notebook_bundle(
                    bundle, check_validity=False, overwrite=True
                )
                print(f"{path.name}: run in {found.time:.1f} s")
    return []


def configure(app: Any, config: Any) -> None:
    """Have kernels draw SVG, and share the cores: as many threads as leave room."""
    profile = Path(app.outdir).parent / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    wanted = [
        "c = get_config()",
        'c.InlineBackend.figure_formats = {"svg"}',
        "c.IPKernelApp.log_level = 40",  # no word on the transport in every run
    ]
    text = "\n".join(wanted) + "\n"
    (profile / "ipython_kernel_config.py").write_text(text, encoding="utf-8")
    os.environ["IPYTHONDIR"] = str(profile.parent)
    threads = max(1, (os.cpu_count() or 1) // AT_ONCE)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx, which asks what is outdated when all pages are known."""
    app.connect("config-inited", configure)
    app.connect("env-get-outdated", run_ahead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
