"""Digests: the one place that says what counts as the same.

Bytes, values, files and tensors have a checksum. Code is known by what it computes: its
syntax tree, without comments, docstrings and layout. The package's digest covers what
computes and leaves out what only shows, so that an edited page makes no record stale. A
notebook's leaves out imports as well: a module may move.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

PACKAGE = Path(__file__).resolve().parents[1]
# the parts whose code decides no number: everything else is taken to compute
SHOWS = ("cli", "figures", "files", "ledger", "pages", "runs", "wording.py")
IMPORTS = (ast.Import, ast.ImportFrom)
# tags of cells that compute nothing: what installs, and what says what was found
APART = {"setup", "telling"}
# what IPython understands and Python does not: %pip install, !ls
MAGIC = re.compile(r"^( *)([%!].*)$", re.MULTILINE)


def sha256(content: bytes | memoryview) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha(*parts: str | bytes) -> str:
    """SHA-256 over the parts, each ended by a zero byte, as 16 hexadecimal digits."""
    ended = ((p.encode() if isinstance(p, str) else p) + b"\0" for p in parts)
    return sha256(b"".join(ended))[:16]


def of_json(value: object) -> str:
    """SHA-256 of a value as JSON; the order of keys is free."""
    return sha256(json.dumps(value, sort_keys=True).encode())


def of_file(path: Path, kind: str = "sha256") -> str:
    """Digest of a file's content, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def of_files(files: Iterable[Path], root: Path) -> str:
    """SHA-256 over names (from ``root``) and contents, whatever the line endings."""
    found = [(p.relative_to(root).as_posix(), p) for p in files]
    contents = {name: path.read_bytes() for name, path in found}
    return of_json({k: sha256(v.replace(b"\r\n", b"\n")) for k, v in contents.items()})


def of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, types and values, in the order given."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        values = tensor.detach().cpu().contiguous().view(-1)
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


# --- code -------------------------------------------------------------------------


@cache
def code_digest(package: Path = PACKAGE) -> str:
    """Digest of the part of the package that computes; see ``computing``."""
    parts = []
    for path in computing(package):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        parts += [path.relative_to(package).as_posix(), outline(tree)]
    return sha(*parts)


def computing(package: Path = PACKAGE) -> list[Path]:
    """The modules that decide a number: all but those in the parts that only show."""
    return sorted(
        path
        for path in package.rglob("*.py")
        if path.relative_to(package).parts[0] not in SHOWS
    )


def notebook_digest(path: Path | None) -> str:
    """Digest of what a notebook's cells compute; "none" when it is not at hand.

    Imports do not count, nor do the borders between cells, prose, outputs, and cells
    tagged "setup", which install, or "telling", which only print a sentence. A cell
    that is not Python counts by its text.
    """
    if path is None or not path.is_file():
        return "none"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    cells = [c for c in cells if not APART & {*c.get("metadata", {}).get("tags", [])}]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    return sha(*(part for text in code for part in statements(text)))


def statements(cell: str) -> Iterator[str]:
    """What each statement of a cell computes, imports left out."""
    for text in (cell, MAGIC.sub(lambda m: f"{m[1]}magic({m[2]!r})", cell)):
        try:
            body = ast.parse(text).body
        except SyntaxError:
            continue
        yield from lines(body, IMPORTS)
        return
    yield cell


def lines(body: list[ast.stmt], without: tuple[type, ...] = ()) -> Iterator[str]:
    """The outlines of statements that do something: a text that stands alone is a
    comment."""
    for node in body:
        value = node.value if isinstance(node, ast.Expr) else None
        comment = isinstance(value, ast.Constant) and isinstance(value.value, str)
        if not (comment or isinstance(node, without)):
            yield outline(node, without)


def outline(node: object, without: tuple[type, ...] = ()) -> str:
    """A syntax tree as text, the same in all versions of Python.

    Fields that are empty are left out, for versions differ in which they have, and so
    is what follows from the place of a node or was never computed.
    """
    if isinstance(node, list):
        if node and isinstance(node[0], ast.stmt):
            return " ".join(lines(node, without))
        return " ".join(outline(item, without) for item in node)
    if isinstance(node, ast.JoinedStr):
        node = ast.JoinedStr(joined(node.values))
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {
        name: outline(value, without)
        for name, value in ast.iter_fields(node)
        if value is not None and name not in ("ctx", "kind", "type_comment")
    }
    told = "".join(f" {name}=[{text}]" for name, text in fields.items() if text)
    return f"({type(node).__name__}{told})"


def joined(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string with neighbouring texts as one: versions differ."""
    merged: list[ast.expr] = []
    for is_text, group in groupby(values, lambda v: isinstance(v, ast.Constant)):
        if not is_text:
            merged += group
        elif text := "".join(part.value for part in group):
            merged.append(ast.Constant(text))
    return merged
