"""A parameter cell, checked: a typo stops the run instead of being ignored.

A notebook's parameter cell lists the fields of one frozen dataclass. The cell after it
calls ``from_notebook(globals())``, which refuses unknown names, wrong types and values
out of range, whether they were typed into the cell or injected by papermill.
"""

from __future__ import annotations

import ast
import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import ClassVar

TIERS = ("smoke", "small", "paper")
# papermill starts the cell that it injects with this line; so do our parameter cells
MARK = "# Parameters"


class ParameterError(ValueError):
    """A parameter that is unknown, of the wrong type or out of range."""


def choice(default: object, *allowed: object) -> typing.Any:
    """A field that takes one of a few values."""
    return field(default=default, metadata={"allowed": allowed})


def between(default: object, low: float, high: float = math.inf) -> typing.Any:
    """A field that takes a number from ``low`` to ``high``, both included."""
    return field(default=default, metadata={"low": low, "high": high})


type_hints = cache(typing.get_type_hints)  # of a class: most of a check's time


@dataclass(frozen=True)
class Parameters:
    """Base of the notebooks' parameter classes.

    ``data_set`` is the name under which ``rlap.load`` knows the notebook's data, and
    ``data_options`` what it is told beyond sizes and seed.
    """

    data_set: ClassVar[str] = ""

    @property
    def data_options(self) -> dict[str, object]:
        """Options of ``rlap.load``: all that chooses the data."""
        return {}

    def __post_init__(self) -> None:
        hints = type_hints(type(self))
        for f in fields(self):
            value = check_type(f.name, getattr(self, f.name), hints[f.name])
            check_range(f.name, value, f.metadata)
            object.__setattr__(self, f.name, value)

    @classmethod
    def names(cls) -> list[str]:
        """Names of all parameters, in the order of the cell."""
        return [f.name for f in fields(cls)]

    @classmethod
    def from_mapping(cls, given: Mapping[str, object]) -> typing.Self:
        """Parameters from names and values; ``ParameterError`` for any unknown name."""
        for name in given:
            cls.check_name(name)
        return cls(**given)

    @classmethod
    def from_notebook(cls, namespace: Mapping[str, object]) -> typing.Self:
        """Parameters from a notebook's ``globals()``, checked.

        Unknown names are found in the text of the parameter cell and of the cell that
        papermill injects (the last one run of each).
        """
        for name in assigned_names(namespace.get("In", [])):
            cls.check_name(name)
        missing = [name for name in cls.names() if name not in namespace]
        if missing:
            raise ParameterError(f"the parameter cell does not set {missing}")
        return cls(**{name: namespace[name] for name in cls.names()})

    @classmethod
    def check_name(cls, name: str) -> None:
        """Raise ``ParameterError`` unless ``name`` is a parameter."""
        if name not in cls.names():
            near = difflib.get_close_matches(name, cls.names(), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ParameterError(
                f"unknown parameter {name!r}{hint} (known: {', '.join(cls.names())})"
            )

    def filled(self, usual: Mapping[str, object]) -> typing.Self:
        """The same with every ``None`` replaced by the value of that name in
        ``usual``, if there is one."""
        return replace(
            self,
            **{
                name: usual[name]
                for name in self.names()
                if getattr(self, name) is None and name in usual
            },
        )

    def identity(self) -> dict[str, object]:
        """All that decides the result: not ``out``, where the record goes."""
        return {k: v for k, v in asdict(self).items() if k != "out"}


def assigned_names(cells: list[str]) -> list[str]:
    """Names assigned by the last parameter cell and the last injected cell."""
    last: dict[bool, str] = {}
    for source in cells:
        first = source.lstrip().split("\n", 1)[0].rstrip()
        if first.startswith(MARK):
            last[first == MARK] = source  # papermill's line is the mark and no more
    names = []
    for source in last.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.append(node.id)
    return names


def check_type(name: str, value: object, hint: object) -> object:
    """``value`` if it is of the annotated type (an int passes for a float)."""
    wanted = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value is None and type(None) in wanted:
        return value
    if type(value) in wanted:
        return value
    if type(value) is int and float in wanted:
        return float(value)
    shown = " or ".join("None" if t is type(None) else t.__name__ for t in wanted)
    raise ParameterError(
        f"parameter {name!r} must be {shown}, not {type(value).__name__} ({value!r})"
    )


def check_range(name: str, value: object, rules: Mapping[str, object]) -> None:
    """Raise ``ParameterError`` for a value that the field's metadata rule out."""
    if "allowed" in rules and value not in rules["allowed"]:
        near = difflib.get_close_matches(str(value), map(str, rules["allowed"]), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ParameterError(
            f"parameter {name!r} is {value!r}{hint}; choose one of {rules['allowed']}"
        )
    if "low" in rules and value is not None:
        inside = rules["low"] <= value <= rules["high"] and math.isfinite(value)
        if not inside:
            raise ParameterError(
                f"parameter {name!r} is {value!r}; "
                f"it must lie between {rules['low']} and {rules['high']}"
            )
