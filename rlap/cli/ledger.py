"""``rlap ledger``: the verdicts on one screen, in full, as JSON, and as a table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rlap.experiments.protocol import near
from rlap.files import paths
from rlap.ledger import counts, tables
from rlap.ledger.counts import amount
from rlap.ledger.verdicts import NOT_RUN, VERDICTS

SMALL = "small"
# the ten claims of the one screen: two papers' and two controls of the first paper
TEN = ("gain-10", "time-total", "separates", "names", "criteria", "do-nothing",
       "pruning-adds", "npp-forgets", "npp-relevance", "osp-forgets")  # fmt: skip
MORE = """
more: --claims (every claim and what decided it), --all (and the counts of all places),
--json, --help; what the verdicts mean is in book/ledger.md"""


def command(options: argparse.Namespace) -> int:
    """Run it; 1 when a record is faulty, missing or there twice."""
    folder = Path(options.results or paths.results_folder())
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    if options.write_manifest:
        return manifest(folder)
    if options.claims and options.table is not None:
        raise ValueError("--claims go over all tables: leave out --table")
    book = tables.listed(folder)
    for name in ("protocol", "tier"):
        check_known(name, getattr(options, name), book["rows"])
    wanted = {k: getattr(options, k) for k in ("table", "protocol", "tier")}
    rows = counts.select(book["rows"], **wanted)
    claims = counts.select(book["claims"], **{**wanted, "table": None})
    if options.tidy:
        lines = tables.export(Path(options.tidy), folder)
        print(f"{options.tidy}: {lines:,} lines")
    elif options.json:
        shown = claims if options.claims else rows
        print(json.dumps([vars(row) for row in shown], indent=1, allow_nan=False))
    elif options.claims:
        print_claims(claims)
    elif options.all or any(value is not None for value in wanted.values()):
        print_counts(rows)
        if options.table is None:
            print_claims(claims)
    else:
        print_screen(len(book["runs"]), rows, claims)
    for finding in book["findings"]:
        text = f"{finding.kind}: {finding.where}: {finding.text}"
        print(f"rlap: {text}", file=sys.stderr)
    return int(any(f.kind != "unlisted" for f in book["findings"]))


def manifest(folder: Path) -> int:
    """Write the manifest and say what is new in it."""
    from rlap.ledger import integrity

    path, news = integrity.write_manifest(folder)
    print("\n".join([*news, f"{path}: {len(json.loads(path.read_text()))} records"]))
    return 0


def check_known(name: str, value: str | None, rows: Sequence) -> None:
    """Raise ``FileNotFoundError`` for a protocol or tier without rows."""
    known = list(dict.fromkeys(getattr(r, name) for r in rows))
    if value is not None and value not in known:
        raise FileNotFoundError(
            f"the ledger has no {name} {value!r}{near(value, known)}; it has {known}"
        )


def print_screen(records: int, rows: Sequence, claims: Sequence) -> None:
    """What came out, on one screen: the places that were run, and ten claims."""
    print(f"{records} records; the paper's numbers where they were run:")
    run = {(r.protocol, r.tier) for r in rows if r.n}
    main = [place for place in run if "+" not in place[1]]
    print_counts([r for r in rows if (r.protocol, r.tier) in main])
    if others := len(run) - len(main):
        print(f"(not counted here: {others} places of other numbers of epochs)")
    print(f"\nten claims that matter ({SMALL} tier):")
    for key in TEN:
        here = [c for c in claims if c.key == key and (c.tier == SMALL or not c.n)]
        found = " · ".join(f"{place}: {amount(c)} {c.verdict}" for c in here if c.n
                           for place in [c.protocol or network_told(c)])  # fmt: skip
        print(f"  {here[0].words}\n      {found or NOT_RUN}")
    print(MORE)


def print_counts(rows: Sequence) -> None:
    """How many numbers have which verdict, a line a protocol and tier."""
    lines = counts.counts(rows)
    wide = 2 + max((len(line["tier"]) for line in lines), default=20)
    print(f"{'protocol':12}{'tier':{wide}}{''.join(f'{v:>14}' for v in VERDICTS)} of")
    for line in lines:
        numbers = "".join(f"{line[v]:>14}" for v in VERDICTS)
        print(f"{line['protocol']:12}{line['tier']:{wide}}{numbers} {line['total']}")
    found, numbers = counts.decided(rows), {counts.key(r) for r in rows}
    told = ", ".join(f"{found[v]} {v}" for v in VERDICTS if v != NOT_RUN)
    print(f"in at least one of them: {found['any']} of {len(numbers)} run; {told}")
    copied = len({counts.key(r) for r in rows if r.copy_of})
    if copied:
        print(f"({copied} of them are printed twice: copies of another table)")


def print_claims(rows: Sequence) -> None:
    """The claims by where they were run, those with records in full."""
    heads: dict[str, list] = {}
    for row in rows:
        heads.setdefault(place_told(row), []).append(row)
    for head, here in heads.items():
        if not any(r.n for r in here):
            continue
        print(f"\n{head}")
        for row in (r for r in here if r.verdict != NOT_RUN):
            could = amount(row, "detectable", sign=False)
            detail = f"{shown(row)}, n = {row.n}" + (could and f", can tell {could}")
            print(f"  {row.verdict:13} {row.words}\n{'':16}{detail}; {row.reason}")
        idle = [r.words for r in here if r.verdict == NOT_RUN]
        if idle:
            print(f"  {NOT_RUN:13} " + f"\n{'':16}".join(idle))
    if not any(r.n for r in rows):
        print("\nclaims: none run")
        for words in dict.fromkeys(r.words for r in rows):
            print(f"  {NOT_RUN:13} {words}")


def place_told(row) -> str:
    """Where a claim was run: "controlled protocol, small tier"; of the papers on
    forgetting a class "LRA-NPP: small network, small tier"."""
    if row.protocol:
        return f"{row.protocol} protocol, {row.tier} tier"
    return f"{row.about}: {network_told(row)}, {row.tier} tier"


def network_told(row) -> str:
    """ "small network", with the strength of the penalty in training if it has one."""
    strength = "" if row.strength is None else f", λ = {row.strength:g}"
    return f"{row.network} network{strength}"


def shown(row) -> str:
    """ "+7.9 points [+7.2 points, +8.6 points]"."""
    if row.low is None:
        return amount(row)
    return f"{amount(row)} [{amount(row, 'low')}, {amount(row, 'high')}]"
