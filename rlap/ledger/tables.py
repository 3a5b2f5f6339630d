"""Everything that the records say, as tidy tables: made once, kept, read by all.

``load`` returns them as pandas tables: ``records``, one row a record, arm and quantity;
the ledger's ``rows``, ``gains``, ``orderings`` and ``claims``; ``findings``, the faults
of records; ``margins``, the verdicts at other margins. They are kept as plain files in
the cache, under a digest of the records and of this package, so whoever asks second
reads them in well under a second.

    from rlap.ledger import tables

    book = tables.load()                       # of the committed results
    mean = book.records.query("metric == 'accuracy' and scale == 'small'")
    mean = mean.groupby(["protocol", "arm"])["value"].mean()
    book.claims.query("verdict == 'contradicted'")[["words", "ours", "low", "high"]]
    tables.sources(book.records)               # which state of the code made how many
"""

from __future__ import annotations

import atexit
import csv
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from rlap.files import digests, paths

if TYPE_CHECKING:
    import pandas as pd

    from rlap.ledger.rows import Ledger

PACKAGE = Path(__file__).parents[1]
KEPT = 4  # states of records and code whose tables stay in the cache
VALUE = ("run", "arm", "attack", "metric", "value")
# of a record; a column that does not apply to it is empty
RUN = (
    *("run", "notebook", "protocol", "tier", "scale", "dataset", "kind", "rate"),
    *("level", "size_true", "size_paper", "forget", "strength", "model", "seed"),
    *("code", "commit", "precision", "device", "written"),
)
# the columns of numbers; all others are text
NUMBERS = ("rate", "level", "size_true", "size_paper", "strength", "seed")
DIGESTS = "digests.json"
LISTS = ("runs", "rows", "gains", "orderings", "claims", "findings", "margins")


@dataclass(frozen=True)
class Tables:
    """The tables of one folder of records, each a ``pandas.DataFrame``.

    Attributes:
        records: columns ``RUN``, then arm, attack (share of the test set that is
            attacked), metric, value. Of a metric's own arm: "partition" (and
            "detector: loss" etc.: how well a score finds the noise), the stages
            ("stage_seconds"), "controls: NAME"; "" for the run as a whole.
            ``size_true`` counts training images, ``size_paper`` those that they stand
            for. ``code`` digests the source that computed, ``commit`` its commit
            ("1a2b3c4d5e, changed" where the tree was not clean).
        rows: ``rlap.ledger.rows.Row``, the paper's 471 numbers in each protocol, tier.
        gains: ``rlap.ledger.rows.Gain``, the differences that its tables imply.
        orderings: ``rlap.ledger.orderings.Ordering``, the orders.
        claims: ``ClaimRow``, of all three papers.
        findings: kind, where and text of each fault in the records.
        margins: how the verdicts move with the margin, see ``rows.by_margin``.
    """

    records: pd.DataFrame
    rows: pd.DataFrame
    gains: pd.DataFrame
    orderings: pd.DataFrame
    claims: pd.DataFrame
    findings: pd.DataFrame
    margins: pd.DataFrame


def load(folder: str | Path | None = None, book: Ledger | None = None) -> Tables:
    """The tables of the records under ``folder`` (default: the committed results);
    ``book`` is their ledger where it was built already."""
    import pandas as pd

    kept = keep(folder, book)
    parts = json.loads((kept / "ledger.json").read_text("utf-8"))
    tables = {name: pd.DataFrame(parts[name]) for name in LISTS}
    runs = pd.DataFrame(tables.pop("runs"), columns=RUN)
    types = dict.fromkeys(VALUE, str) | {"attack": float, "value": float}
    values = pd.read_csv(kept / "values.csv", dtype=types, keep_default_na=False)
    return Tables(records=joined(runs, values), **tables)


def listed(folder: str | Path | None = None) -> dict[str, list[SimpleNamespace]]:
    """The same as lists of rows, without pandas, in a blink: ``runs`` instead of the
    table of records."""
    parts = json.loads((keep(folder) / "ledger.json").read_text("utf-8"))
    return {k: [SimpleNamespace(**row) for row in parts[k]] for k in LISTS}


def records_table(records: Sequence[Mapping]) -> pd.DataFrame:
    """The tidy table of these records; see ``Tables.records``."""
    import pandas as pd

    runs = pd.DataFrame([run_row(r) for r in records], columns=RUN)
    values = pd.DataFrame(values_of_all(records), columns=VALUE)
    return joined(runs, values.astype({"run": str}))


def joined(runs: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """Values with the columns of their run."""
    typed = runs.astype({name: float if name in NUMBERS else str for name in RUN})
    typed = typed.astype({"seed": int})
    return values.merge(typed, on="run", how="left")[[*RUN, *VALUE[1:]]]


def sources(records: pd.DataFrame) -> pd.DataFrame:
    """How many records each state of the computing code has made, oldest first: code,
    commit, records, first and last day."""
    runs = records.drop_duplicates("run").assign(day=lambda t: t["written"].str[:10])
    days = runs.groupby(["code", "commit"])["day"]
    found = days.agg(records="size", first="min", last="max").reset_index()
    return found.sort_values(["first", "last", "commit"], ignore_index=True)


# --- one record ----------------------------------------------------------------------


def run_row(record: Mapping) -> dict[str, object]:
    """What a record is about and where it comes from: the columns ``RUN``."""
    from rlap.experiments.records import precision_of
    from rlap.ledger import cells, evidence

    asked, data, made = record["parameters"], record["data"], record["provenance"]
    study = record["notebook"] == evidence.NOTEBOOK
    noise = record.get("noise", {})
    return {
        "run": record["identity"]["id"],
        **{name: record[name] for name in ("notebook", "protocol", "tier", "seed")},
        "scale": cells.scale_of(record) if study else record["tier"],
        "dataset": data["name"],
        "kind": noise.get("kind", ""),
        **{name: noise.get(name) for name in ("rate", "level")},
        "size_true": data["n_train"],
        "size_paper": cells.setting_of(record).size if study else None,
        "forget": asked.get("forget", ""),
        "strength": asked.get("strength"),
        "model": asked["model"],
        "code": record["identity"]["code"],
        "commit": made["commit"] + (", changed" if made["dirty"] else ""),
        "precision": precision_of(record),
        "device": made["device"],
        "written": made["written"],
    }


def values_of(record: Mapping) -> Iterator[tuple[str, str, float, str, float]]:
    """Every number of a record but its curves: the columns ``VALUE``."""
    run = record["identity"]["id"]
    for arm, scores in record["arms"].items():
        for metric, value in numbers(scores):
            yield run, arm, 0.0, metric, value
    for arm, rates in record.get("attacked", {}).items():
        for rate, scores in rates.items():
            for metric, value in numbers(scores):
                yield run, arm, float(rate), metric, value
    for arm, metric, value in beside_arms(record):
        yield run, arm, 0.0, metric, value


def beside_arms(record: Mapping) -> Iterator[tuple[str, str, float]]:
    """Arm, metric and value of what belongs to no arm."""
    found = record.get("partition", {})
    for part in ("detection", "diagnostics"):
        for metric, value in numbers(found.get(part, {})):
            yield "partition", metric, value
    if "oriented_right" in found:
        yield "partition", "oriented_right", float(found["oriented_right"])
    for score, area in found.get("auroc", {}).items():
        yield f"detector: {score}", "auroc", area[0]
    for name, scores in record.get("controls", {}).items():
        for metric, value in numbers(scores):
            yield f"controls: {name}", metric, value
    for stage, seconds in record.get("seconds", {}).items():
        yield stage, "stage_seconds", seconds
    whole = {k: v for k, v in record.items() if k not in ("schema", "seed")}
    for metric, value in numbers({k: v for k, v in whole.items() if is_number(v)}):
        yield "", metric, value
    if "noise" in record:
        yield "", "realised_rate", record["noise"]["realised_rate"]


def numbers(scores: Mapping, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in a mapping, those within another one as "relative.accuracy"; of a
    training's history only its seconds an epoch."""
    from rlap.ledger.cells import epoch_seconds

    for name, value in scores.items():
        if name == "history":
            if (pace := epoch_seconds(value)) is not None:
                yield "epoch_seconds", float(f"{pace:.6g}")  # as in records
        elif isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}.")
        elif is_number(value):
            yield prefix + name, float(value)


def is_number(value: object) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


# --- on disk -------------------------------------------------------------------------


def keep(folder: str | Path | None = None, book: Ledger | None = None) -> Path:
    """The folder that holds the tables, made if the records or the code have changed.

    It is written aside and renamed: whoever reads it at the same time sees all or
    nothing. Where the cache cannot be written it lasts as long as this process.
    """
    folder = Path(folder) if folder is not None else paths.results_folder()
    kept = place() / state_of(folder)
    if is_whole(kept):
        return kept
    shutil.rmtree(kept, ignore_errors=True)  # damaged
    aside = Path(tempfile.mkdtemp(prefix=".new-", dir=kept.parent))
    try:
        write(folder, aside, book)
        aside.rename(kept)
    except OSError:
        if not is_whole(kept):  # else another process was faster
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    dated = sorted((p.stat().st_mtime, p) for p in kept.parent.glob("[!.]*"))
    for _, old in dated[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return kept


def is_whole(kept: Path) -> bool:
    """Whether all files of the tables are there, as they were written."""
    try:
        told = json.loads((kept / DIGESTS).read_text("utf-8"))
        return all(digests.of_file(kept / name) == d for name, d in told.items())
    except (OSError, ValueError, AttributeError):
        return False


def place() -> Path:
    """The cache's folder of tables, or if that cannot be written one that goes with
    this process."""
    try:
        folder = paths.cache_folder() / "tables"
        folder.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return folder
    except OSError:
        return passing()


@cache
def passing() -> Path:
    """A folder that goes when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="rlap-tables-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def state_of(folder: Path) -> str:
    """Digest of the records under ``folder``, their manifest and this package."""
    found = [*folder.rglob("record.json"), folder / "MANIFEST.json"]
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for path in sorted(found) + sorted(PACKAGE.rglob("*.[pcy]*")):
        if path.is_file():
            digest.update(f"\0{path}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def write(folder: Path, kept: Path, book: Ledger | None = None) -> None:
    """Compute the tables of ``folder`` and write them into ``kept``."""
    from rlap.ledger import orderings
    from rlap.ledger import rows as ledger

    book = book or ledger.build(folder)
    places = book.evidence.places()
    lists = {
        "rows": book.rows,
        "gains": book.gains,
        "orderings": [
            order
            for table in ledger.TABLES
            for order in orderings.orderings(book.evidence, places, table)
        ],
        "claims": book.claims,
        "findings": book.findings,
    }
    whole: dict[str, list] = {k: ledger.as_dicts(rows) for k, rows in lists.items()}
    whole["runs"] = [run_row(record) for record in book.records]
    whole["margins"] = ledger.by_margin(book)
    (kept / "ledger.json").write_text(json.dumps(whole), encoding="utf-8")
    write_csv(kept / "values.csv", VALUE, values_of_all(book.records))
    told = {path.name: digests.of_file(path) for path in kept.iterdir()}
    (kept / DIGESTS).write_text(json.dumps(told), encoding="utf-8")


def values_of_all(records: Sequence[Mapping]) -> Iterator[tuple]:
    """The values of all records, one after another."""
    for record in records:
        yield from values_of(record)


def write_csv(path: Path, head: Sequence[str], lines: Iterable[Sequence]) -> int:
    """Write lines of values under their names; returns how many."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer, count = csv.writer(file), 0
        writer.writerow(head)
        for line in lines:
            writer.writerow(line)
            count += 1
    return count


def export(path: Path, folder: str | Path | None = None) -> int:
    """Write the table of records as one CSV file; returns the number of its rows."""
    kept = keep(folder)
    found = json.loads((kept / "ledger.json").read_text("utf-8"))["runs"]
    runs = {run["run"]: [run[name] for name in RUN] for run in found}
    with open(kept / "values.csv", newline="", encoding="utf-8") as file:
        values = csv.reader(file)
        next(values)
        lines = ([*runs[run], *value] for run, *value in values)
        return write_csv(path, [*RUN, *VALUE[1:]], lines)
