"""Sphinx extension: the API page lists whatever the package holds.

Two marks in api.md are replaced while Sphinx reads it: one by a table of the public
names, one by a section for each module. Docstrings are prose, not markup: what
reStructuredText would take for markup in them, such as the bars of |x|, is escaped, but
for *emphasis*. Arrows and products that were typed as code are set as signs, and the
number of a difference between paper and code leads to the list of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[2] / "rlap"
PAGE = "api"
NAMES_MARK = "<!-- public names -->"
MODULES_MARK = "<!-- modules -->"

# The order in which data flows; a module that is not named here comes after these.
FLOW = [
    "data",
    "corruption",
    "network",
    "models",
    "training",
    "attribution",
    "partition",
    "mixture",
    "sensitivity",
    "pruning",
    "finetuning",
    "preflight",
    "algorithm",
    "repair",
    "metrics",
    "unlearning",
    "figures",
    "experiments",
    "runs",
    "ledger",
    "pages",
    "cli",
]
SECTION = re.compile(r"(Args|Arguments|Returns|Raises|Yields|Attributes|Example\w*):$")
CODE = r"``.*?``|`[^`]*`"
# what is no prose, or emphasis
PROSE = re.compile(rf"({CODE}|(?<![\w*])(\*\*?)\w(?:[\w .-]*\w)?\2(?![\w*]))")
SIGNS = (
    (re.compile(r"(?<!-)->"), "→"),
    (re.compile(r"(?<=[\w|)]) \* (?=[\w|(])"), " · "),
    (re.compile(r"\b([1-9]\d*)x(?=\d+\b)"), r"\1×"),
)
NUMBERED = re.compile(r"\bdifferences? \d+(?:(?:, | and )\d+)*")
# what Python shows of a default that has no short name: <module 'math' from '/usr/...'>
NAMELESS = re.compile(r"<(?:module|function|built-in function|class) '?([\w.<>]+?)'?"
                      r"(?: from '[^']*'| at 0x\w+)?>(?=[,)\s]|$)")  # fmt: skip
MARKUP = re.compile(r"[|*]|(?<=\w)_(?!\w)")  # substitution, emphasis, reference


def module_names(package: str = "rlap") -> list[str]:
    """Every public module of `package`, parents before children, in data-flow order."""
    root = importlib.import_module(package)
    found = [
        info.name
        for info in pkgutil.walk_packages(root.__path__, package + ".")
        if not any(part.startswith("_") for part in info.name.split("."))
    ]

    def place(name: str) -> tuple[int, str]:
        first = name.split(".")[1]
        return (FLOW.index(first) if first in FLOW else len(FLOW), name)

    return sorted(found, key=place)


def first_sentence(doc: str) -> str:
    """A docstring's first sentence on one line."""
    paragraph = " ".join(doc.partition("\n\n")[0].split())
    return re.split(r"(?<=\.)\s+(?=[A-Z`])", paragraph)[0]


def names_table(package: str = "rlap") -> str:
    """Markdown table of the package's public names with their first sentences."""
    root = importlib.import_module(package)
    rows = []
    for name in getattr(root, "__all__", []):
        thing = getattr(root, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        line = signs(first_sentence(inspect.getdoc(thing) or "")).replace("|", "\\|")
        role = "class" if inspect.isclass(thing) else "func"
        target = f"{thing.__module__}.{thing.__qualname__}"
        rows.append(f"| {{py:{role}}}`rlap.{name} <{target}>` | {line} |")
    return "\n".join(["| name | purpose |", "| --- | --- |", *rows]) if rows else ""


def module_sections(package: str = "rlap") -> str:
    """Markdown with one section for each module; a module's own modules below it."""
    parts = []
    for name in module_names(package):
        parts.append(f"{'#' * (name.count('.') + 1)} {name}")
        parts.append(f"```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```")
    return "\n\n".join(parts)


def fill_page(app: Any, docname: str, source: list[str]) -> None:
    """Put the generated parts in the place of their marks."""
    if docname == PAGE:
        text = source[0].replace(NAMES_MARK, names_table())
        source[0] = text.replace(MODULES_MARK, module_sections())


def outdated(app: Any, env: Any, added: Any, changed: Any, removed: Any) -> list[str]:
    """The page depends on the package, which Sphinx does not watch: it is read again
    when a module has changed."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    now, before = digest.hexdigest(), getattr(env, "rlap_package", None)
    env.rlap_package = now  # kept with the environment between builds
    return [PAGE] if PAGE in env.found_docs and now != before else []


def signs(line: str) -> str:
    """A line with arrows, products and sizes as signs, outside of quoted code.

    >>> signs("a -> b, 2 * c, `a -> b`")
    'a → b, 2 · c, `a -> b`'
    """
    pieces = re.split(f"({CODE})", line)
    for i in range(0, len(pieces), 2):
        for typed, sign in SIGNS:
            pieces[i] = typed.sub(sign, pieces[i])
    return "".join(pieces)


def escape(line: str) -> str:
    """Escape what would be markup, outside of quoted code and of emphasis, and link the
    numbers of differences.

    >>> escape("|x| is *not* a*b (difference 7)")
    '\\\\|x\\\\| is *not* a\\\\*b (:doc:`difference 7 </differences>`)'
    """
    pieces = PROSE.split(signs(line))
    del pieces[2::3]  # the asterisks of emphasis
    for i in range(0, len(pieces), 2):
        pieces[i] = MARKUP.sub(r"\\\g<0>", pieces[i])
        pieces[i] = NUMBERED.sub(r":doc:`\g<0> </differences>`", pieces[i])
    return "".join(pieces)


def as_prose(lines: list[str]) -> list[str]:
    """A docstring's lines with set-off formulas kept as they were typed.

    A block that is indented after a blank line, and is not part of a section such as
    `Args:`, becomes a literal block; everything else but examples is escaped.
    """
    result: list[str] = []
    section = literal = example = False
    for line in lines:
        example = line.startswith(">>>") or (example and bool(line.strip()))
        indented = line.startswith("    ")
        if line.strip() and not indented:
            section, literal = bool(SECTION.match(line.strip())), False
        elif indented and not section and not literal and result and not result[-1]:
            result += ["::", ""]
            literal = True
        result.append(line if literal or example else escape(line))
    return result


def read_docstring(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Autodoc's hook; runs before napoleon turns sections into fields."""
    lines[:] = as_prose(lines)


def read_signature(
    app: Any, what: str, name: str, thing: Any, options: Any, signature: str, back: str
) -> tuple[str, str] | None:
    """Autodoc's hook: defaults as one would type them, and no path of this machine."""
    if not signature:
        return None
    made = NAMELESS.sub(lambda found: found[1].rpartition(".")[2], signature)
    if dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            if field.init and field.default_factory is not dataclasses.MISSING:
                made = made.replace("<factory>", default(field.default_factory), 1)
    return made.replace("<lambda>", "..."), back


def default(factory: Any) -> str:
    """What a field is if nothing is given: an empty container, or "..."."""
    return repr(factory()) if factory in (list, dict, tuple) else "..."


def skip_borrowed(
    app: Any, what: str, name: str, thing: Any, skip: bool, options: Any
) -> bool | None:
    """Document a name only where it is defined, not where it is passed on."""
    here = app.env.temp_data.get("autodoc:module")
    home = getattr(thing, "__module__", None)
    if what == "module" and isinstance(home, str) and home != here:
        return True
    return None


# whose source is listed beside its documentation; the rest is in the repository
LISTED = ("network", "training", "corruption", "models")


def list_the_method(app: Any, env: Any, docnames: list[str]) -> None:
    """Have viewcode list the method's source alone: all is a fifth of the site."""
    if PAGE not in docnames:  # no other page documents modules
        return
    known = env.__dict__.setdefault("_viewcode_modules", {})
    for name in module_names():
        inside = name.split(".")[1:]
        if len(inside) > 1 and inside[0] not in LISTED:
            known[name] = False


def forget_unlisted(app: Any) -> list:
    """Leave them out of viewcode's index, too; no page is added."""
    known = getattr(app.env, "_viewcode_modules", {})
    for name in [name for name, listed in known.items() if not listed]:
        del known[name]
    return []


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("env-before-read-docs", list_the_method)
    app.connect("html-collect-pages", forget_unlisted, priority=1)
    app.connect("source-read", fill_page)
    app.connect("env-get-outdated", outdated)
    app.connect("autodoc-process-docstring", read_docstring, priority=100)
    app.connect("autodoc-process-signature", read_signature)
    app.connect("autodoc-skip-member", skip_borrowed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
