"""The command line: ``rlap run``, ``sweep``, ``ledger`` and ``doctor``."""

from rlap_command import main

__all__ = ["main"]
