"""What a reader takes in of a page's tables: few columns, few rows, no missing values.

``check_site`` asks this of every page but those that are there to look things up.
"""

from __future__ import annotations

from html.parser import HTMLParser

MOST_COLUMNS, MOST_ROWS = 5, 20
# to look things up in; the search is Sphinx's own
REFERENCE = ("api", "glossary", "references", "search")
MISSING = ("NaN", "nan", "None", "NaT")


class Tables(HTMLParser):
    """Columns, rows and odd cells of every table, and whether it is folded."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict] = []
        self.folds, self.open = 0, False
        self.cell: str | None = None

    def handle_starttag(self, tag: str, attrs: list) -> None:
        """Count folds, rows and cells; cells before the first row's end are columns."""
        if tag == "details":
            self.folds += 1
        elif tag == "table":
            now = {"columns": 0, "rows": 0, "folded": self.folds > 0, "missing": []}
            self.found.append(now)
            self.open = True
        elif self.open and tag == "tr":
            self.found[-1]["rows"] += 1
        elif self.open and tag in ("td", "th"):
            self.found[-1]["columns"] += self.found[-1]["rows"] == 1
            self.cell = ""

    def handle_endtag(self, tag: str) -> None:
        """Close folds, tables and cells."""
        if tag == "details":
            self.folds -= 1
        elif tag == "table":
            self.open = False
        elif tag in ("td", "th") and self.cell is not None:
            if self.cell.strip() in MISSING:
                self.found[-1]["missing"].append(self.cell.strip())
            self.cell = None

    def handle_data(self, data: str) -> None:
        """Keep a cell's text."""
        if self.cell is not None:
            self.cell += data


def check_tables(name: str, page: str) -> list[str]:
    """Findings on the tables of a page.

    >>> check_tables("a.html", "<table><tr>" + 6 * "<td></td>" + "</tr></table>")
    ['a.html: a table of 6 columns']
    >>> check_tables("a.html", "<table><tr><td>NaN</td></tr></table>")
    ['a.html: a table has a cell NaN']
    """
    if name.partition(".")[0] in REFERENCE or name.startswith("_modules"):
        return []
    tables = Tables()
    tables.feed(page)
    findings = []
    for each in tables.found:
        if each["columns"] > MOST_COLUMNS:
            findings.append(f"{name}: a table of {each['columns']} columns")
        if each["rows"] > MOST_ROWS + 1 and not each["folded"]:  # and its head
            findings.append(f"{name}: a table of {each['rows'] - 1} rows, not folded")
        findings += [f"{name}: a table has a cell {cell}" for cell in each["missing"]]
    return findings
