"""The command line: ``rlap run``, ``sweep``, ``ledger`` and ``doctor``."""

from rlap.cli.commands import main

__all__ = ["main"]
