"""The command ``rlap``: its options, and the exit status of what they start.

This module is outside the package because importing anything of that loads torch, and
``rlap --help`` should answer at once. The commands themselves are in ``rlap.cli``.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

# of errors by the name of their class: these are no faults of the package
STATUS = {"UsageError": 2, "ParameterError": 2, "FileNotFoundError": 2, "RunLocked": 3}


EXPONENT = re.compile(r"[-+]?\d+[eE][-+]?\d+")


class UsageError(ValueError):
    """Options that do not go together, or one that cannot be read."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status.

    0 done, 1 failed, 2 wrong usage, 3 another process is writing the folder, 130
    interrupted, 141 nobody reads on.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        done = options.command(options)
        sys.stdout.flush()
        return done
    except BrokenPipeError:  # the reader has seen enough, as in `rlap ledger | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a process that SIGPIPE ended
    except (RuntimeError, ValueError, OSError) as error:
        print(f"rlap: {error}", file=sys.stderr)
        return STATUS.get(type(error).__name__, 1)
    except KeyboardInterrupt:
        print("rlap: interrupted", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The parser, one subcommand a function below."""
    parser = argparse.ArgumentParser(
        prog="rlap", description="Run the companion's notebooks and check the set-up."
    )
    parser.add_argument("--version", action="store_true", help="print it and stop")
    parser.set_defaults(command=lambda options: command_none(parser, options))
    commands = parser.add_subparsers(metavar="COMMAND")
    add_run(commands.add_parser("run", help=RUN))
    add_sweep(commands.add_parser("sweep", help="run the settings of grid files"))
    ledger = commands.add_parser(
        "ledger", help="every number and claim of the paper beside ours"
    )
    add_ledger_arguments(ledger)
    ledger.set_defaults(command=command_ledger)
    add_networks(commands.add_parser("networks", help="the networks of recorded runs"))
    doctor = commands.add_parser(
        "doctor", help="versions, device, data, and what is missing"
    )
    doctor.set_defaults(command=command_doctor)
    return parser


RUN = "execute a notebook into a folder with its record.json"


def add_run(run: argparse.ArgumentParser) -> None:
    """The options of ``rlap run``."""
    add = run.add_argument
    add("notebook", help="for example notebooks/01_cifar10.ipynb")
    add("--out", required=True, help="folder of the run; new, or a run's already")
    add_parameters(run, "a parameter of the notebook; may be repeated")
    add("--force", action="store_true", help="run even if the folder is up to date")
    add(
        "--replace",
        action="store_true",
        help="run even if the folder holds a run with other parameters, which is lost",
    )
    add_stale(run, "rerun")
    add("--leash", action="store_true", help=argparse.SUPPRESS)
    run.set_defaults(command=command_run)


def add_parameters(parser: argparse.ArgumentParser, told: str) -> None:
    """The option that gives parameters of notebooks."""
    parser.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help=told,
    )


def add_stale(parser: argparse.ArgumentParser, default: str) -> None:
    """The option that says what becomes of records that other code has made."""
    parser.add_argument(
        "--stale",
        choices=("rerun", "keep", "keep-notebook"),
        default=default,
        help="what to do with a record of the same parameters and data that other code "
        f"made, or even another notebook (default: {default})",
    )


def add_sweep(sweep: argparse.ArgumentParser) -> None:
    """The options of ``rlap sweep``."""
    add = sweep.add_argument
    add("grids", nargs="+", metavar="GRID", help="for example grids/table1.yaml")
    add("-j", dest="workers", type=positive, default=1, help="runs at a time")
    add("--threads", type=positive, help="of each run (default: cores / runs)")
    add("--seeds", type=parse_seeds, help="instead of the grid's: 0-4 or 0,2")
    told = "a parameter of every run, instead of the grid's; may be repeated"
    add_parameters(sweep, told)
    add("--results", type=Path, help="folder of the runs (default: results)")
    add("--force", action="store_true", help="run what is up to date as well")
    add("--estimate", action="store_true", help="say what it would cost, and stop")
    add("--dry-run", action="store_true", help="list what would run and why, and stop")
    add("--json", action="store_true", help="with --dry-run, the list as JSON")
    add_stale(sweep, "keep")
    sweep.set_defaults(command=command_sweep)


def add_networks(networks: argparse.ArgumentParser) -> None:
    """The options of ``rlap networks``."""
    pack = networks.add_subparsers(metavar="COMMAND", required=True).add_parser(
        "pack", help="originals and retrained networks, for rlap.load_networks"
    )
    pack.add_argument("place", type=Path, help="a new folder, or a file NAME.zip")
    pack.add_argument("--results", type=Path, help="folder of records")
    pack.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="those whose name begins so, as cifar10/small; may be repeated",
    )
    pack.add_argument("--seeds", type=parse_seeds, help="those of 0-4 or 0,2")
    pack.add_argument(
        "--unlike",
        action="store_true",
        help="pack also what is not bit for bit the recorded network, as another "
        "processor makes it; the pack says so",
    )
    pack.set_defaults(command=command_pack)


def command_pack(options: argparse.Namespace) -> int:
    """``rlap networks pack``."""
    from rlap.experiments import records
    from rlap.experiments.forgetting.packing import pack
    from rlap.files import paths

    if options.place.exists():
        raise FileExistsError(f"{options.place} is there already: take another place")
    found = records.read_all(options.results or paths.results_folder())
    given = {name: getattr(options, name) for name in ("only", "seeds", "unlike")}
    count = pack(found, options.place, **given)
    print(f"{options.place}: the networks of {count} run{'s' * (count != 1)}")
    return 0


def command_none(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """``rlap`` alone."""
    if options.version:
        import rlap

        print(f"rlap {rlap.__version__}")
    else:
        parser.print_help()
    return 0


def command_run(options: argparse.Namespace) -> int:
    """``rlap run``."""
    from rlap.runs.run import run

    # as an exception, so that the kernel ends and the temporary folder goes
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.leash:
        threading.Thread(target=hold_leash, daemon=True).start()
    given = dict(parse_parameter(text) for text in options.parameters)
    choice = {name: getattr(options, name) for name in ("force", "replace", "stale")}
    try:
        run(options.notebook, options.out, given, **choice)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


def hold_leash() -> None:
    """End this process when whoever started it has gone: standard input closes."""
    while os.read(0, 1):  # not sys.stdin: its buffer must not be held at exit
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def command_sweep(options: argparse.Namespace) -> int:
    """``rlap sweep``: exit status 1 when a run has failed."""
    if options.json and not options.dry_run:
        raise UsageError("--json lists what would run: say --dry-run as well")
    override = dict(parse_parameter(text) for text in options.parameters)
    from rlap.cli.sweep import command

    return command(options, override)


def add_ledger_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rlap ledger``."""
    parser.add_argument(
        "--results", help="folder of records (default: those of this checkout)"
    )
    add = parser.add_argument
    add("--all", action="store_true", help="the counts of all places, and every claim")
    add("--claims", action="store_true", help="every claim of the three papers")
    add("--json", action="store_true", help="the rows, or with --claims those, as JSON")
    add("--table", type=int, choices=range(1, 7))
    add("--protocol", help="released, described or controlled")
    add("--tier", help='for example "small" or "small/resnet18-16"')
    add("--tidy", metavar="CSV", help="write every measured number, one a line")
    add(
        "--write-manifest",
        "--manifest",  # its older name
        action="store_true",
        help="list the records in MANIFEST.json, which vouches for them",
    )


def command_ledger(options: argparse.Namespace) -> int:
    """``rlap ledger``: exit status 1 when a record is faulty, missing or twice."""
    from rlap.cli.ledger import command

    return command(options)


def command_doctor(options: argparse.Namespace) -> int:
    """``rlap doctor``: exit status 1 when something is missing."""
    from rlap.runs.doctor import report

    lines, fine = report()
    print("\n".join(lines))
    return 0 if fine else 1


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def parse_seeds(text: str) -> list[int]:
    """Seeds as "0-4", "0,2" or both."""
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            seeds += range(int(first), int(last or first) + 1)
    except ValueError:
        seeds = []
    if not seeds:
        raise argparse.ArgumentTypeError(f"{text!r}: write seeds as 0-4 or 0,2")
    return seeds


def parse_parameter(text: str) -> tuple[str, object]:
    """``name=value`` with the value read as YAML: seed=1, rate=0.4, kind=pair."""
    import yaml

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"-p {text}: write it as name=value")
    try:
        found = yaml.safe_load(value)
        # YAML 1.1 has no 1e-3: its numbers with an exponent need a point
        number = isinstance(found, str) and EXPONENT.fullmatch(found)
        return name, float(found) if number else found
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise UsageError(f"-p {text}: {value!r} cannot be read ({problem})") from error


if __name__ == "__main__":
    sys.exit(main())
