"""Sphinx extension: leave out what no reader of the site needs.

sphinx-thebe declares its constants twice, so that every page has an error; nothing here
uses it. Source maps and other languages are a third of the theme's files.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

UNUSED = ("_static/**/*.map", "_static/locales")


def is_thebe(file: Any) -> bool:
    """Whether a script or style sheet of a page belongs to sphinx-thebe."""
    named = str(getattr(file, "filename", file) or "")
    return "thebe" in named or "THEBE" in str(getattr(file, "attributes", ""))


def without_thebe(
    app: Any, pagename: str, templatename: str, context: dict, doctree: Any
) -> None:
    """Drop it from a page."""
    for kind in ("script_files", "css_files"):
        context[kind] = [f for f in context.get(kind, []) if not is_thebe(f)]


def tidy(app: Any, failure: Exception | None) -> None:
    """Remove files that no page loads."""
    if failure is None and app.builder.format == "html":
        for name in UNUSED:
            for path in Path(app.outdir).glob(name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx; after all others, so that nothing is copied later."""
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("build-finished", tidy, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
