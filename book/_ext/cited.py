"""Sphinx extension: the list of references names each work as pages cite it.

sphinxcontrib-bibtex writes "[Chang et al., 2024]" in a page, and "[CZX+24]" in the list
if nothing else is said: whoever has the book on paper would not find it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pybtex.plugin import register_plugin
from pybtex.richtext import Text
from pybtex.style.formatting.alpha import Style
from pybtex.style.labels import BaseLabelStyle


class NamedLabels(BaseLabelStyle):
    """Authors and year, as ``bibtex_reference_style: author_year`` has them."""

    def format_labels(self, sorted_entries: Iterable[Any]) -> Iterator[str]:
        """A label for each entry."""
        return map(named, sorted_entries)


class NamedStyle(Style):
    """References by author and year, with those as labels."""

    default_label_style = NamedLabels


def named(entry: Any) -> str:
    """How a page cites an entry, without the brackets."""
    last = [
        Text.from_latex(" ".join([*person.prelast_names, *person.last_names]))
        for person in entry.persons["author"]
    ]
    who = str(last[0]) if len(last) < 3 else f"{last[0]} et al."
    if len(last) == 2:
        who += f" and {last[1]}"
    return f"{who}, {entry.fields['year']}"


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    register_plugin("pybtex.style.formatting", "named", NamedStyle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
