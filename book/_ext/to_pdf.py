"""The built book as one PDF, printed by Chromium.

    python book/_ext/to_pdf.py _build/html _build/pdf/book.pdf

The articles of all pages, in the order of the table of contents, become one page whose
links lead from part to part; what is folded is open. ``CHROMIUM`` may name the browser.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
ARTICLE = re.compile(r"<article[^>]*>(.*?)</article>", re.DOTALL)
NAMED = re.compile(r'\b(id|for|name|aria-labelledby|aria-describedby)="([^"]+)"')
REFERS = re.compile(r"url\(#([^)]+)\)")
LEADS = re.compile(r'\b(href|src)="([^"]*)"')
SHEETS = re.compile(r'<link[^>]+rel="(?:stylesheet|preload stylesheet)"[^>]*>')
# what typesets formulas, and what it is told: without that it leaves them alone
MATHS = re.compile(r"<script(?=[^>]*mathjax|>[^<]*MathJax)[^>]*>[^<]*</script>")
STYLE = """
@page { size: A4; margin: 16mm 14mm; }
html { font-size: 12.5px; }
body { background: white; }
article { break-before: page; }
article:first-of-type { break-before: auto; }
.headerlink, .prev-next-footer, .ledger-filters, .ledger-pager, .copybtn, audio,
.made-by a[download] { display: none !important; }
figure, tr { break-inside: avoid; }
h1, h2, h3, h4, h5, summary, .table-caption { break-after: avoid; }
.drawing svg { max-width: 110mm; }
details.why small { max-width: none; }
#api { font-size: 0.85em; }
.ledger-box, pre, .cell_output { max-height: none !important; overflow: visible; }
pre { white-space: pre-wrap; }
"""


def pages(toc: Path) -> list[str]:
    """The names of all pages, in order."""
    told = yaml.safe_load(toc.read_text(encoding="utf-8"))
    chapters = [c["file"] for part in told.get("parts", []) for c in part["chapters"]]
    return [told["root"], *chapters]


def article(site: Path, name: str, known: Sequence[str], up: str) -> str:
    """A page's article; its names begin with the page's, and its links lead to parts
    of the whole where there is one. ``up`` leads from the whole to the site."""
    text = ARTICLE.search((site / f"{name}.html").read_text(encoding="utf-8"))
    if text is None:
        raise ValueError(f"{name}.html holds no article")

    def target(link: str) -> str:
        if re.match(r"[a-z]+:|//", link) or not link:
            return link
        path, _, fragment = link.partition("#")
        whole = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        page = whole.removesuffix(".html") if path else name
        if page in known:
            return f"#{page}--{fragment}" if fragment else f"#{page}"
        return f"{up}/{whole}" + (f"#{fragment}" if fragment else "")

    def names(found: re.Match) -> str:
        return f'{found[1]}="{" ".join(f"{name}--{n}" for n in found[2].split())}"'

    body = NAMED.sub(names, text[1])
    body = REFERS.sub(rf"url(#{name}--\1)", body)
    body = LEADS.sub(lambda m: f'{m[1]}="{target(m[2])}"', body)
    body = body.replace("<details", "<details open")
    return f'<article class="bd-article" id="{name}">{body}</article>'


def whole(site: Path, names: Sequence[str], up: str) -> str:
    """All articles as one page."""

    def head() -> Iterator[str]:
        first = (site / f"{names[0]}.html").read_text(encoding="utf-8")
        for tag in [*SHEETS.findall(first), *MATHS.findall(first)]:
            yield LEADS.sub(lambda m: f'{m[1]}="{up}/{m[2]}"', tag)

    articles = "\n".join(article(site, name, names, up) for name in names)
    return (
        '<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head>'
        f'<meta charset="utf-8"><title>rlap companion</title>{"".join(head())}'
        f"<style>{STYLE}</style></head><body>"
        f'<main class="bd-content">{articles}</main></body></html>'
    )


def browser() -> str | None:
    """The path of Chromium, if there is one."""
    named = os.environ.get("CHROMIUM")
    found = map(shutil.which, [named] if named else BROWSERS)
    return next(filter(None, found), None)


def to_pdf(site: Path, pdf: Path, names: Sequence[str]) -> None:
    """Print the pages ``names`` of a site; ``RuntimeError`` where that fails."""
    chromium = browser()
    if chromium is None:
        raise RuntimeError(f"no Chromium: install it, or set CHROMIUM ({BROWSERS})")
    pdf.parent.mkdir(parents=True, exist_ok=True)
    page = pdf.with_suffix(".html")
    up = Path(os.path.relpath(site, pdf.parent)).as_posix()
    page.write_text(whole(site, names, up), encoding="utf-8")
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu",
               "--no-pdf-header-footer", "--generate-pdf-document-outline",
               "--virtual-time-budget=600000", "--timeout=600000",
               f"--print-to-pdf={pdf}", page.resolve().as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or not pdf.is_file():
        raise RuntimeError(f"Chromium made no PDF: {done.stderr[-500:]}")


def main(arguments: list[str]) -> int:
    """Print the book; 0 when that went well."""
    site, pdf = map(Path, arguments)
    toc = Path(__file__).parents[1] / "_toc.yml"
    try:
        to_pdf(site, pdf, pages(toc))
    except (RuntimeError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Read it: {pdf.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
