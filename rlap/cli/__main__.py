"""``python -m rlap.cli``: the same as the command ``rlap``."""

import runpy

# by name: that module imports from this room, and no import may lead back
runpy.run_module("rlap_command", run_name="__main__")
