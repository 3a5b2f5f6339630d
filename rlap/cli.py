"""The command line: ``rlap run``, ``rlap ledger`` and ``rlap doctor``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import yaml

from rlap.experiments.parameters import ParameterError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status (0 done, 1 failed, 2 wrong usage)."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
        return options.command(options)
    except (ParameterError, FileNotFoundError) as error:
        print(f"rlap: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, ValueError, OSError) as error:
        print(f"rlap: {error}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The parser, one subcommand a function below."""
    parser = argparse.ArgumentParser(
        prog="rlap", description="Run the companion's notebooks and check the set-up."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="execute a notebook into a folder with its record.json"
    )
    run.add_argument("notebook", help="for example notebooks/01_cifar10.ipynb")
    run.add_argument("--out", required=True, help="folder of the run")
    run.add_argument(
        "-p",
        dest="parameters",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of the notebook; may be repeated",
    )
    run.add_argument(
        "--force", action="store_true", help="run even if the folder is up to date"
    )
    run.set_defaults(command=command_run)
    ledger = commands.add_parser(
        "ledger", help="every number and claim of the paper beside ours"
    )
    add_ledger_arguments(ledger)
    ledger.set_defaults(command=command_ledger)
    doctor = commands.add_parser(
        "doctor", help="versions, device, data, and what is missing"
    )
    doctor.set_defaults(command=command_doctor)
    return parser


def command_run(options: argparse.Namespace) -> int:
    """``rlap run``."""
    from rlap.experiments.run import run

    given = dict(parse_parameter(text) for text in options.parameters)
    run(options.notebook, options.out, given, force=options.force)
    return 0


def add_ledger_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``rlap ledger``."""
    parser.add_argument(
        "--results", help="folder of records (default: those of this checkout)"
    )
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.add_argument("--table", type=int, choices=range(1, 7))
    parser.add_argument("--protocol", help="released, described or controlled")
    parser.add_argument("--tier", help='for example "small" or "small/resnet18-16"')
    parser.add_argument(
        "--tidy", metavar="CSV", help="write every measured number, one a line"
    )
    parser.add_argument(
        "--manifest", action="store_true", help="list the records in MANIFEST.json"
    )


def command_ledger(options: argparse.Namespace) -> int:
    """``rlap ledger``: exit status 1 when a record is faulty, missing or twice."""
    from rlap.experiments.ledger_command import command

    return command(options)


def command_doctor(options: argparse.Namespace) -> int:
    """``rlap doctor``: exit status 1 when something is missing."""
    from rlap.experiments.doctor import report

    lines, fine = report()
    print("\n".join(lines))
    return 0 if fine else 1


def parse_parameter(text: str) -> tuple[str, object]:
    """``name=value`` with the value read as YAML: seed=1, rate=0.4, kind=pair."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ParameterError(f"-p {text}: write it as name=value")
    return name, yaml.safe_load(value)


if __name__ == "__main__":
    sys.exit(main())
