"""The book's page of one table: what the six pages share."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

from rlap.ledger import orderings
from rlap.ledger import rows as ledger
from rlap.ledger.cells import scale_of, setting_for
from rlap.ledger.claims.quantities import accuracy, auroc
from rlap.ledger.paper import of_table
from rlap.ledger.summary import counted
from rlap.pages import figures as figures_ledger
from rlap.pages import ledger as pages
from rlap.pages import markup


class TablePage:
    """Everything that the page of a table shows, made from the committed records.

    ``number`` is 1 to 6; ``ValueError`` otherwise.
    """

    def __init__(self, number: int, folder: str | Path | None = None) -> None:
        of_table(number)
        self.number = number
        self.book = ledger.build(folder)
        self.rows = self.book.select(table=number)
        self.tiers = pages.tiers_with_records(self.rows)
        settings = {setting_for(cell) for cell in of_table(number)}
        self.records = [
            record
            for place in dict.fromkeys((r.protocol, r.tier) for r in self.rows)
            for setting in settings
            for record in self.book.evidence.at(*place, setting).values()
        ]

    def in_tier(self, tier: str) -> list[ledger.Row]:
        """The table's rows in one tier."""
        return self.book.select(table=self.number, tier=tier)

    def stamp(self, tier: str) -> str:
        """The line under a figure."""
        rows = self.in_tier(tier)
        seeds = [r.n for r in rows if r.n]
        least, most = min(seeds, default=0), max(seeds, default=0)
        runs = (f"{least} to " if least < most else "") + counted(most, "seed")
        return (
            f"Table {self.number} · {tier} tier · {runs} · 95 % intervals of the mean\n"
            f"rlap sweep grids/table{self.number}.yaml -j 2"
        )

    def sourced(self, shown):
        """``shown`` with the line that says what it rests on."""
        return markup.sourced(shown, self.records, f"table{self.number}")

    def counts(self):
        """Verdicts by protocol and tier. What departs from a tier ("small+epochs=16")
        is there only where it was run for this table."""
        ran = {(r.protocol, r.tier) for r in self.rows if r.n}
        shown = [r for r in self.rows
                 if "+" not in r.tier or (r.protocol, r.tier) in ran]  # fmt: skip
        return self.sourced(pages.counts(shown))

    def starts(self):
        """How good the initial models are and how well their partitions find the noise,
        by protocol and tier: mean and range over runs."""
        places: dict[tuple[str, str], list] = {}
        for record in self.records:
            where = record["protocol"], scale_of(record)
            places.setdefault(where, []).append(record)
        lines = []
        for place, runs in places.items():
            right = [100 * accuracy(r, "initial") for r in runs]
            area = [auroc(r) for r in runs]
            lines.append(
                [
                    *place,
                    f"{fmean(right):.1f} ({min(right):.1f} to {max(right):.1f})",
                    f"{fmean(area):.2f} ({min(area):.2f} to {max(area):.2f})",
                    str(len(runs)),
                ]
            )
        header = ["protocol", "tier", "initial model, %", "area of the partition", "n"]
        return self.sourced(markup.table_of(header, lines))

    def values(self) -> None:
        """Show the figure of accuracies, a tier each."""
        for tier in self.tiers:
            show(figures_ledger.paper_and_ours(self.in_tier(tier), self.stamp(tier)))

    def grid(self) -> None:
        """Show the figure of verdicts, a tier each."""
        for tier in self.tiers:
            show(figures_ledger.verdict_grid(self.in_tier(tier), self.stamp(tier)))

    def numbers(self) -> None:
        """Show the paper's table beside ours, a tier each."""
        for tier in self.tiers:
            show(markup.html(f"<p><strong>{tier} tier</strong></p>"))
            show(self.sourced(pages.side_by_side(self.book, self.number, tier)))

    def gains(self):
        """The differences that the table implies."""
        return self.sourced(pages.gains(self.book.gains, self.number))

    def orderings(self):
        """The orders of its arms, as printed and as measured."""
        places = list(dict.fromkeys((r.protocol, r.tier) for r in self.rows))
        found = orderings.orderings(self.book.evidence, places, self.number)
        return self.sourced(pages.orderings(found))

    def anomalies(self):
        """What its numbers say against themselves."""
        return pages.anomalies(self.number)

    def provenance(self) -> None:
        """Print where the numbers come from, and the command."""
        command = f"rlap ledger --table {self.number} --json"
        print(markup.provenance(self.records, command))


def show(thing: object) -> None:
    """Display in a notebook."""
    from IPython.display import display

    display(thing)
