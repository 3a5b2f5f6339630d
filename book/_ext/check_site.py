"""Check a built site: it works offline and is light, every picture can be read aloud
and on a phone, and every table at a glance.

    python book/_ext/check_site.py _build/html

Prints each finding and exits with status 1 if there is any.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from check_tables import check_tables

REMOTE = re.compile(r"^\s*(https?:)?//", re.IGNORECASE)
CSS_REMOTE = re.compile(
    r"(?:url\(\s*['\"]?|@import\s+['\"])((?:https?:)?//[^'\")]+)", re.IGNORECASE
)
# Attributes whose address a browser fetches by itself; a link waits for a click.
FETCHED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "image": ("href", "xlink:href"),
}
MOST = 15_000_000  # bytes of a site
PHONE, LEAST = 340, 8  # pixels that a picture has on a phone, and that its letters need
DRAWING = re.compile(r'<svg[^>]*viewBox="[^"]*".*?</svg>', re.DOTALL)
LETTERS = re.compile(r"font(?:-size)?:[^;\"}]*?([\d.]+)px")
FETCHED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch"}


class Page(HTMLParser):
    """Collects what a browser would fetch, and pictures without a description."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.silent: list[str] = []
        self.pictures = 0
        self._style = False
        self.styles = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sort one opening tag."""
        found = {name: value or "" for name, value in attrs}
        self.fetched += [found[n] for n in FETCHED.get(tag, ()) if found.get(n)]
        kinds = set(found.get("rel", "").lower().split())
        if tag == "link" and kinds & FETCHED_LINKS:
            self.fetched.append(found.get("href", ""))
        if tag == "img":
            self.pictures += 1
            if not found.get("alt", "").strip():
                self.silent.append(found.get("src", "")[:80])
        self._style = tag == "style"
        self.styles += found.get("style", "") + "\n"

    def handle_endtag(self, tag: str) -> None:
        """Leave a style element."""
        self._style = False

    def handle_data(self, data: str) -> None:
        """Keep the text of style elements."""
        if self._style:
            self.styles += data


def _missing(page: Path, address: str, site: Path) -> bool:
    """Whether a local address leads nowhere."""
    parts = urlsplit(address)
    if parts.scheme or not parts.path:
        return False  # data: and the like carry their content with them
    base = site if parts.path.startswith("/") else page.parent
    return not (base / unquote(parts.path).lstrip("/")).exists()


def on_a_phone(drawing: str) -> float:
    """Pixels of the smallest letters of an SVG drawing on a phone; of one without text,
    or narrower than that, as they are.

    >>> on_a_phone('<svg viewBox="0 0 680 9"><text style="font:8px A">a</text></svg>')
    4.0
    """
    width = float(re.search(r'viewBox="\S+ \S+ ([\d.]+)', drawing)[1])
    sizes = [float(size) for size in LETTERS.findall(drawing)]
    return min(sizes, default=LEAST) * min(1.0, PHONE / width)


def check_page(path: Path, site: Path) -> tuple[list[str], int]:
    """Findings in one HTML file, and the number of pictures in it."""
    text = path.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    name = path.relative_to(site).as_posix()
    findings = [f"{name}: picture without alternative text: {s}" for s in page.silent]
    for address in page.fetched:
        if REMOTE.match(address):
            findings.append(f"{name}: fetched from the network: {address}")
        elif _missing(path, address, site):
            findings.append(f"{name}: file not there: {address}")
    findings += [
        f"{name}: style fetches {address}"
        for address in CSS_REMOTE.findall(page.styles)
    ]
    drawings = DRAWING.findall(text) if 'class="drawing"' in text else []
    findings += [
        f"{name}: letters of {pixels:.1f} pixels in a picture on a phone"
        for pixels in map(on_a_phone, drawings)
        if pixels < LEAST
    ]
    findings += check_tables(name, text)
    # lean_site leaves the fonts of these out
    if re.search(r'class="[^"]*\b(?:fa-brands|fa-regular|fab|far)\b', text):
        findings.append(f"{name}: an icon whose font is not there")
    has_maths = re.search(r'class="[^"]*\bmath\b', text) is not None
    if has_maths and not any("mathjax" in a.lower() for a in page.fetched):
        findings.append(f"{name}: holds mathematics but loads no MathJax")
    return findings, page.pictures


def weight(site: Path) -> int:
    """Bytes of all files."""
    return sum(p.stat().st_size for p in site.rglob("*") if p.is_file())


def check_site(site: Path) -> tuple[list[str], int, int]:
    """Findings, pages and pictures of a built site.

    Raises FileNotFoundError when `site` holds no page at all.
    """
    pages = [p for p in sorted(site.rglob("*.html")) if "_static" not in p.parts]
    if not pages:
        raise FileNotFoundError(f"no HTML page below {site}: build the book first")
    findings: list[str] = []
    pictures = 0
    for path in pages:
        found, count = check_page(path, site)
        findings += found
        pictures += count
    for sheet in sorted(site.rglob("*.css")):
        text = sheet.read_text(encoding="utf-8", errors="replace")
        findings += [
            f"{sheet.relative_to(site).as_posix()}: style fetches {address}"
            for address in CSS_REMOTE.findall(text)
        ]
    for image in sorted((site / "_images").glob("*.svg")):
        pixels = on_a_phone(image.read_text(encoding="utf-8"))
        if pixels < LEAST:
            told = f"letters of {pixels:.1f} pixels on a phone"
            findings.append(f"{image.relative_to(site).as_posix()}: {told}")
    if (bytes_ := weight(site)) > MOST:
        heavy = sorted(site.rglob("*"), key=lambda p: p.stat().st_size)[-3:]
        told = ", ".join(p.relative_to(site).as_posix() for p in heavy)
        findings.append(f"{bytes_ / 1e6:.1f} MB, more than {MOST / 1e6:.0f}: {told}")
    return findings, len(pages), pictures


def main(arguments: list[str]) -> int:
    """Print the findings; 0 when there is none."""
    site = Path(arguments[0] if arguments else "_build/html")
    try:
        findings, pages, pictures = check_site(site)
    except FileNotFoundError as error:
        print(error)
        return 1
    for finding in findings:
        print(finding)
    verdict = f"{len(findings)} findings" if findings else "nothing remote or mute"
    size = f"{weight(site) / 1e6:.1f} MB"
    print(f"{pages} pages, {pictures} pictures, {size}: {verdict}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
