"""Sphinx extension: leave out what no reader of the site needs.

sphinx-thebe declares its constants twice, so that every page has an error; nothing here
uses it. Source maps and other languages are a third of the theme's files. Its icons
come three times: as a script of all that there are, and as fonts in two formats. The
font of solid ones in the newer format, which every browser reads, is enough: no page
has others. Drawings that kernels made are written in fewer bytes, and those of earlier
builds go. Long names break where a reader would break them, and short ones, options and
per cent signs stay whole.
"""

from __future__ import annotations

import json
import re
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lean_svg import lean
from plain_outputs import plain, terms, with_drawings, with_terms

UNUSED = ("_static/**/*.map", "_static/locales", "_static/**/fontawesome.js*",
          "_static/**/fa-*.ttf", "_static/**/fa-brands-*.woff2",
          "_static/**/fa-regular-*.woff2")  # fmt: skip
# Sphinx keeps browsers from breaking literals, which ours may on a phone; names and
# punctuation in listings have the colour of the text around them
PLAIN = [re.compile(rf'<span class="{kind}">([^<]*)</span>') for kind in
         ("pre", "(?:n|p|w)")]  # fmt: skip
# two thousand times in the page of all names, on links that are a sign of their own
TITLE = re.compile(r' title="Link to this (?:definition|heading)"')
# a long name may break after a point, an underscore, a slash or a sign, nowhere else:
# names of code, and runs as tables have them ("small+epochs=32+finetune_epochs=16")
NAMES = re.compile(
    r"<(code|dt|h[1-6]|td(?=[^>]*data-label=.run.))\b[^>]*>.*?</(\1|td)>", re.DOTALL
)
TEXT = re.compile(r">([^<]+)")
BREAKS = re.compile(r"(?<=\w)(?:[._/](?=[A-Za-z]|$)|[+=](?=\w))")
LONG = re.compile(r"\S{16,}|\S+\.$")  # what does not simply go into the next line
# what stays on one line: names with a hyphen, options with what they are given
WHOLE = re.compile(
    r"(?<![\w/.-])(?:[A-Z]{1,5}(?:-[A-Z]{2,3})+|[A-Z][A-Za-z]+-\d+[A-Z]?|--?[a-z][\w-]*"
    r"(?: \d+)?)(?![\w/-])"
)
KEPT = re.compile(r'<span class="whole">([^<]*)</span>')
# a number and its name or its sign, and the two ends of an interval
PAIRS = re.compile(
    r"(?<=\b[np])\s(?=(?:=|&lt;)\s\d)|(?<=\b[np]\s=)\s(?=\d)|(?<=\b[np]\s&lt;)\s(?=\d)"
    r"|(?<=\bno\.)\s(?=\d)|(?<=\bFig\.)\s(?=\d)|(?<=\bsection)\s(?=\d)|(?<=\bTable)\s(?=\d)"
    r"|(?<=\d,)\s(?=[+\u2212]?[\d.]+\])|(?<=\d)\s(?=%)"
)
# a formula and the point, comma or bracket behind it
MATHS = re.compile(
    r'(?<!<span class="whole">)(<span class="math[^>]*>[^<]*</span>)([),.;:?]+)'
)
# text of a page, and what is none: tags, and what browsers take as it is
APART = re.compile(
    r"(<!--.*?-->|<(script|style|svg|pre|title|select|mjx-container)\b.*?</\2>|"
    r'<(span|div) class="math[^>]*>.*?</\3>|<[^>]*>)', re.DOTALL
)  # fmt: skip
ICONS = re.compile(r"\s*<(script|link)[^>]*scripts/fontawesome\.js[^>]*>(</script>)?")

AS_IT_IS = ("api", "search")  # tables of their own

# with other rules all pages are done again
FILES = ("lean_site.py", "lean_svg.py", "plain_outputs.py")
RULES = sha256(
    b"".join((Path(__file__).parent / n).read_bytes() for n in FILES)
).hexdigest()
IMAGES = re.compile(r"_images/([^\"'#?\s]+)")


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


def breakable(page: str) -> str:
    """A page whose long names break where a reader would break them."""

    def within(name: re.Match) -> str:
        inside = name[0].replace("<wbr>", "")
        return TEXT.sub(lambda text: LONG.sub(broken, text[0]), inside)

    def broken(word: re.Match) -> str:
        return BREAKS.sub(r"\g<0><wbr>", word[0])

    return NAMES.sub(within, page)


def unbroken(page: str) -> str:
    """A page whose names, options and numbers of per cent no line breaks in two."""
    made, end = [], 0
    page = MATHS.sub(r'<span class="whole">\1\2</span>', KEPT.sub(r"\1", page))

    def within(text: str) -> str:
        text = PAIRS.sub("\u00a0", text)
        return WHOLE.sub(r'<span class="whole">\g<0></span>', text)

    for found in APART.finditer(page):
        made += [within(page[end : found.start()]), found[0]]
        end = found.end()
    return "".join([*made, within(page[end:])])


def remembered(memory: Path) -> dict:
    """The pages that an earlier build made tidy: their stamps and their images."""
    try:
        return json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def stamp(path: Path) -> list[int]:
    """What a file has no more when it has been written again."""
    found = path.stat()
    return [found.st_mtime_ns, found.st_size]


def tidy(app: Any, failure: Exception | None) -> None:
    """Remove files that no page needs, and pages' links to them."""
    if failure is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for name in UNUSED:
        for path in site.glob(name):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shown: set[str] = set()
    glossary = site / "glossary.html"
    told = terms(glossary.read_text("utf-8")) if glossary.is_file() else {}
    memory = site.with_name(f"{site.name}.tidied.json")
    before, now = remembered(memory), {"": RULES}
    for path in site.rglob("*.html"):
        name = path.relative_to(site).as_posix()
        if before.get("") == now[""] and before.get(name, [0])[:2] == stamp(path):
            now[name] = before[name]  # of an earlier build, and tidy
            shown |= set(now[name][2])
            continue
        text = path.read_text(encoding="utf-8")
        without = ICONS.sub("", text)
        for kind in PLAIN:
            without = kind.sub(r"\1", without)
        without = TITLE.sub("", without)
        if path.stem not in AS_IT_IS and "_modules" not in path.parts:
            without = plain(without)
        without = with_terms(unbroken(breakable(without)), told)
        if path.parent.name == "notebooks":
            without = with_drawings(without, site / "_images")
        if without != text:
            path.write_text(without, encoding="utf-8")
        images = sorted({unquote(name) for name in IMAGES.findall(without)})
        now[name] = [*stamp(path), images]
        shown |= set(images)
    memory.write_text(json.dumps(now), encoding="utf-8")
    for path in (site / "_images").iterdir() if (site / "_images").is_dir() else ():
        if path.name not in shown:  # of an earlier build
            path.unlink()
    for path in (site / "_images").glob("*.svg"):
        drawn = path.read_text("utf-8")
        if drawn.startswith("<?xml"):  # else an earlier build has made it lean
            path.write_text(lean(drawn, path.name), encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx; after all others, so that nothing is copied later."""
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("build-finished", tidy, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
