"""``python -m rlap.cli``: the same as the command ``rlap``."""

import sys

from rlap.cli import main

if __name__ == "__main__":
    sys.exit(main())
