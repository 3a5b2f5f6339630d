"""The command line: ``rlap run``, ``sweep``, ``ledger``, ``networks`` and
``doctor``."""

from rlap_command import main

__all__ = ["main"]
