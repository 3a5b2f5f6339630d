"""Sphinx extension: bring the notebooks in, and know when to run them again.

Sphinx reads only below book/, and its notebook cache looks only at a notebook's own
cells. So this copies notebooks/*.ipynb to book/notebooks/ before the table of
contents is read, and puts the execution cache in a folder named after everything
else that a notebook's output depends on: our code, the lock file and the data. New
records make Sphinx read the pages of results (.md), see ``run_ahead``. It also serves
MathJax from the site itself.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BOOK = Path(__file__).resolve().parents[1]
ROOT = BOOK.parent
MATHJAX = "mathjax/tex-svg.js"
# what pages of results show: records, the paper's numbers, the register and the grids
SHOWN = ("results/**/*.json", "rlap/**/*.csv", "rlap/**/*.yml", "grids/*.yaml")


def stage(source: Path, target: Path) -> list[str]:
    """Mirror the notebooks of `source` in `target`; return the names that changed.

    Files with equal content are left alone, so that Sphinx sees no news in them.
    """
    target.mkdir(parents=True, exist_ok=True)
    wanted = {p.name: p.read_bytes() for p in sorted(source.glob("*.ipynb"))}
    changed = []
    for old in target.glob("*.ipynb"):
        if old.name not in wanted:
            old.unlink()
            changed.append(old.name)
    for name, content in wanted.items():
        copy = target / name
        if not copy.exists() or copy.read_bytes() != content:
            copy.write_bytes(content)
            changed.append(name)
    return changed


def digest(files: Iterable[Path], root: Path) -> str:
    """SHA-256 over names and contents, the same whatever the line endings."""
    total = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        total.update(path.relative_to(root).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


def data_digest(name: str) -> str:
    """Digest of the data that the notebooks will find, or why they will find none.

    Missing data is fetched here, as a notebook would do a moment later: otherwise the
    first build would be keyed as one without data, and the second would run it all
    again. Where it cannot be had the notebooks use a stand-in, under another key.
    """
    try:
        from rlap.data import available, load

        if available(name) is None:
            load(name, train_size=10, test_size=10, allow_stand_in=False)
        found = available(name)
    except Exception as error:  # the book must build on a machine without data
        return f"none ({type(error).__name__})"
    return found[1] if found else "none"


def ingredients(root: Path = ROOT) -> dict[str, str]:
    """What outputs depend on besides the notebooks and pages themselves."""
    lock = root / "constraints.txt"
    return {
        "code": digest((root / "rlap").rglob("*.py"), root),
        "lock": digest([lock] if lock.exists() else [], root),
        "data": " ".join(data_digest(name) for name in ("cifar10", "speech_commands")),
        "results": digest(
            [p for name in SHOWN for p in root.glob(name) if p.is_file()], root
        ),
    }


def key_of(parts: dict[str, str]) -> str:
    """One short name for all ingredients of notebooks: they do not look at results."""
    text = json.dumps(
        {k: v for k, v in parts.items() if k != "results"}, sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def explain(parts: dict[str, str], memory: Path) -> str:
    """Say what changed since the build that wrote `memory`, then remember `parts`."""
    try:
        before = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = None
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    if before is None:
        return "no earlier build here: every notebook runs"
    news = [name for name, value in parts.items() if before.get(name) != value]
    if not news:
        return "code, lock, data and results as before: unchanged notebooks are reused"
    told = f"{' and '.join(news)} changed since the last build"
    if news == ["results"]:
        return f"{told}: the pages of results run, unchanged notebooks are reused"
    return f"{told}: every notebook runs"


def mathjax_file() -> Path | None:
    """The one MathJax file that the pages need, if its package is installed."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "static" / MATHJAX
    return file if file.exists() else None


def configure(app: Any, config: Any) -> None:
    """Point Sphinx at the keyed cache and the local MathJax; one search field."""
    build = ROOT / "_build"
    parts = ingredients()
    config.nb_execution_cache_path = str(build / ".jupyter_cache" / key_of(parts))
    print("execution cache:", explain(parts, build / "cache_key.json"))
    app.rlap_results = parts["results"]

    # The sidebar has a search field; a second one would open a bar for itself.
    config.html_theme_options["navbar_persistent"] = []

    if file := mathjax_file():
        config.mathjax_path = MATHJAX

        def install(app: Any, failure: Exception | None) -> None:
            copy = Path(app.outdir) / "_static" / MATHJAX
            if failure is None and app.builder.format == "html" and not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)

        app.connect("build-finished", install)


def with_new_results(
    app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Pages that Sphinx has to read again because there are other records now."""
    before = getattr(env, "rlap_results", None)
    env.rlap_results = app.rlap_results  # kept with the environment between builds
    if before == app.rlap_results:
        return []
    return [name for name in env.found_docs if not name.startswith("notebooks/")]


def no_launch_on_pages(
    app: Any, pagename: str, templatename: str, context: dict, doctree: Any
) -> None:
    """Keep the Colab button to notebooks: Colab cannot open a page written in .md."""
    if context.get("page_source_suffix") == ".md":
        context["header_buttons"] = [
            button
            for button in context.get("header_buttons", [])
            if button.get("label") != "launch-buttons"
        ]


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx before it reads the table of contents."""
    # Autodoc and the kernels find the package even where it is not installed.
    sys.path.insert(0, str(ROOT))
    known = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT)] + ([known] if known else []))
    stage(ROOT / "notebooks", BOOK / "notebooks")
    app.connect("config-inited", configure, priority=1)
    app.connect("env-get-outdated", with_new_results)
    # after the theme has added its buttons (priorities up to 501)
    app.connect("html-page-context", no_launch_on_pages, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
