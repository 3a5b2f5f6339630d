"""Sphinx extension: run the pages of results before Sphinx reads them, two at a time.

Sphinx runs one page after the other, and most of a page's time goes into starting
Python and importing torch. So pages are run here, next to one another, and their
outputs are put into the notebook cache, where MyST-NB finds them. What they show
depends on the records and on the code that shows them: outputs made from others are
dropped first. A page that
fails is left to MyST-NB, which runs it again and reports the error as usual.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.read import is_myst_markdown_notebook, read_myst_markdown_notebook

AT_ONCE = 2
MADE_FROM = "results.txt"  # in the cache's folder: the digests of what pages show


def pages(env: Any) -> Iterator[tuple[Path, Any]]:
    """Path and notebook of every page (.md) that has code to run."""
    for name in sorted(env.found_docs):
        path = Path(env.doc2path(name))
        if path.suffix != ".md":
            continue
        text = path.read_text(encoding="utf-8")
        if is_myst_markdown_notebook(text):
            yield path, read_myst_markdown_notebook(text, path=path)


def forget_others(cache: Any, folder: Path, results: str) -> None:
    """Drop the outputs of pages from ``cache`` in ``folder`` unless they were made from
    ``results``, and remember those."""
    memory = folder / MADE_FROM
    if memory.exists() and memory.read_text(encoding="utf-8") == results:
        return
    for record in cache.list_cache_records():
        if record.uri.endswith(".md"):
            cache.remove_cache(record.pk)
    memory.write_text(results, encoding="utf-8")


def is_cached(cache: Any, notebook: Any) -> bool:
    """Whether the cache has outputs of a notebook with these cells."""
    try:
        cache.match_cache_notebook(notebook)
    except KeyError:
        return False
    return True


def run_ahead(app: Any, env: Any, *about: set[str]) -> list[str]:
    """Run and cache what is not cached; no page has to be read for that."""
    folder = Path(app.config.nb_execution_cache_path)
    cache = get_cache(str(folder))
    forget_others(cache, folder, app.rlap_results)
    todo = [(path, nb) for path, nb in pages(env) if not is_cached(cache, nb)]

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


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx, which asks what is outdated when all pages are known."""
    app.connect("env-get-outdated", run_ahead)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
