"""``rlap ledger``: the verdicts in the terminal, as JSON, and as a tidy table."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rlap.experiments.protocol import near
from rlap.files import paths
from rlap.files.download import atomic
from rlap.ledger import claims, integrity, summary
from rlap.ledger import rows as ledger
from rlap.ledger.forgetting_rows import claim_rows
from rlap.ledger.verdicts import NOT_RUN, VERDICTS
from rlap.pages.markup import network_told


def command(options: argparse.Namespace) -> int:
    """Run it; 1 when a record is faulty, missing or there twice."""
    folder = Path(options.results or paths.results_folder())
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    if options.manifest:
        return manifest(folder)
    if options.claims and options.table is not None:
        raise ValueError("--claims go over all tables: leave out --table")
    book = ledger.build(folder)
    for name in ("protocol", "tier"):
        check_known(name, getattr(options, name), book)
    wanted = {k: getattr(options, k) for k in ("table", "protocol", "tier")}
    if options.tidy:
        count = write_tidy(book.records, Path(options.tidy))
        print(f"{options.tidy}: {count:,} lines from {len(book.records)} records")
    elif options.json:
        rows = all_claims(book, wanted) if options.claims else book.select(**wanted)
        print(json.dumps(ledger.as_dicts(rows), indent=1, allow_nan=False))
    else:
        if not options.claims:
            print_counts(book.select(**wanted))
        if options.table is None:
            print_claims(all_claims(book, wanted))
    for line in integrity.lines(book.findings):
        print(f"rlap: {line}", file=sys.stderr)
    return int(any(f.kind != "unlisted" for f in book.findings))


def all_claims(
    book: ledger.Ledger, wanted: Mapping[str, object]
) -> list[claims.ClaimRow]:
    """The claims of all three papers in a protocol and tier; None stands for any. Runs
    that forget a class have no protocol."""
    asked = {name: wanted[name] for name in ("protocol", "tier")}
    rows = claims.judged_claims(book) + claim_rows(book.records)
    return ledger.select(rows, **asked)


def manifest(folder: Path) -> int:
    """Write the manifest and say what is new in it."""
    path, news = integrity.write_manifest(folder)
    print("\n".join([*news, f"{path}: {len(json.loads(path.read_text()))} records"]))
    return 0


def check_known(name: str, value: str | None, book: ledger.Ledger) -> None:
    """Raise ``FileNotFoundError`` for a protocol or tier without rows."""
    known = list(dict.fromkeys(getattr(r, name) for r in book.rows))
    if value is not None and value not in known:
        raise FileNotFoundError(
            f"the ledger has no {name} {value!r}{near(value, known)}; it has {known}"
        )


def print_counts(rows: Sequence) -> None:
    """How many numbers have which verdict, a line a protocol and tier."""
    lines = ledger.counts(rows)
    wide = 2 + max((len(line["tier"]) for line in lines), default=20)
    print(f"{'protocol':12}{'tier':{wide}}{''.join(f'{v:>14}' for v in VERDICTS)} of")
    for line in lines:
        numbers = "".join(f"{line[v]:>14}" for v in VERDICTS)
        print(f"{line['protocol']:12}{line['tier']:{wide}}{numbers} {line['total']}")
    found, numbers = ledger.decided(rows), {ledger.key(r) for r in rows}
    told = ", ".join(f"{found[v]} {v}" for v in VERDICTS if v != NOT_RUN)
    print(f"in at least one of them: {found['any']} of {len(numbers)} run; {told}")
    copied = sum(bool(r.copy_of) for r in rows) // max(1, len(ledger.counts(rows)))
    if copied:
        print(f"({copied} of them are printed twice: copies of another table)")


def print_claims(rows: Sequence[claims.ClaimRow]) -> None:
    """The claims by where they were run, those with records in full."""
    heads: dict[str, list[claims.ClaimRow]] = {}
    for row in rows:
        heads.setdefault(place_told(row), []).append(row)
    for head, here in heads.items():
        if not any(r.n for r in here):
            continue
        print(f"\n{head}")
        for row in (r for r in here if r.verdict != NOT_RUN):
            could = claims.amount(row, "detectable", sign=False)
            detail = f"{shown(row)}, n = {row.n}" + (could and f", can tell {could}")
            print(f"  {row.verdict:13} {row.words}\n{'':16}{detail}; {row.reason}")
        idle = [r.words for r in here if r.verdict == NOT_RUN]
        if idle:
            print(f"  {NOT_RUN:13} " + f"\n{'':16}".join(idle))
    if not any(r.n for r in rows):
        print("\nclaims: none run")
        for words in dict.fromkeys(r.words for r in rows):
            print(f"  {NOT_RUN:13} {words}")


def place_told(row: claims.ClaimRow) -> str:
    """Where a claim was run: "controlled protocol, small tier"; of the papers on
    forgetting a class "LRA-NPP: small network, small"."""
    if row.about == claims.RLAP:
        return f"{row.protocol} protocol, {row.tier} tier"
    return f"{row.about}: {network_told(row.network, row.tier, row.strength)}"


def shown(row: claims.ClaimRow) -> str:
    """ "+7.9 points [+7.2 points, +8.6 points]"."""
    if row.low is None:
        return claims.amount(row)
    low, high = (claims.amount(row, name) for name in ("low", "high"))
    return f"{claims.amount(row)} [{low}, {high}]"


def write_tidy(found: Sequence[Mapping], path: Path) -> int:
    """Write the tidy table of records; returns the number of its lines."""
    rows = summary.tidy(found)
    with atomic(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, summary.TIDY)
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)
