"""A page that asks the ledger by a wrong name is told so at its own line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXT = Path(__file__).resolve().parents[2] / "book" / "_ext"
CONF = f"""
import sys
sys.path.insert(0, {str(EXT)!r})
extensions = ["myst_parser", "results"]
def setup(app):
    app.rlap_results = ""
"""
PAGE = """# A page

All is well here,
and so is this line.
Wrong is {ledger}`conut: numbers`.

```{ledger-table} verdict conuts
Of a table, too.
```
"""


def test_a_wrong_name_is_an_error_at_its_own_line(tmp_path):
    (tmp_path / "conf.py").write_text(CONF)
    (tmp_path / "index.md").write_text(PAGE)
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going"]
    done = subprocess.run([*command, tmp_path, tmp_path / "out"],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if "index.md" in line]
    assert "index.md:5: ERROR: no number is called 'conut'" in told[0]
    assert "there is count" in told[0]
    assert "index.md:7: ERROR: no table is called 'verdict conuts'" in told[1]
