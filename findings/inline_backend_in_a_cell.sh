#!/usr/bin/env bash
# One would guess: after `%config InlineBackend.figure_formats = {'svg'}` figures in a
# notebook are SVG, and after `%config InlineBackend.rc = {'svg.fonttype': 'none'}` the text
# in them is text.
# What happens: the first is a NameError, for IPython replaces {'svg'} by its value svg
# before the magic reads it; a set of two, or a list, is left alone. The second is accepted
# without a word, and has no effect once the backend is there, as after `%matplotlib
# inline`: the formats are followed when they change, rc is read when the backend starts.
# Version: IPython 9.18.1, matplotlib-inline 0.2.2, ipykernel 7.4.0, Matplotlib 3.11.2.
# Seen: drawing the figures of a book's notebooks as lean SVG, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ipython==9.18.1" \
  "ipykernel==7.4.0" "matplotlib==3.11.2" "matplotlib-inline==0.2.2" \
  "nbclient==0.11.0" "nbformat==5.11.1" "numpy==2.4.6" 2> /dev/null
export IPYTHONDIR="$folder/ipython" MPLCONFIGDIR="$folder/matplotlib"
unset MATPLOTLIBRC
cd "$folder"
"$folder/venv/bin/python" - 2> /dev/null <<'PYTHON'
import sys
from importlib.metadata import version

from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

START = "%matplotlib inline"
LIST = "%config InlineBackend.figure_formats = ['svg']"
ONE, TWO = LIST.replace("['svg']", "{'svg'}"), LIST.replace("['svg']", "{'svg', 'png'}")
RC = "%config InlineBackend.rc = {'svg.fonttype': 'none'}"
PLOT = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.title('Loss'); plt.show()"


def drawn(*cells: str) -> str:
    """What comes of these cells and a plot behind them."""
    notebook = new_notebook(cells=[new_code_cell(c) for c in (*cells, PLOT)])
    NotebookClient(notebook, kernel_name="python3", allow_errors=True).execute()
    outputs = [o for cell in notebook.cells for o in cell.outputs]
    errors = [f"{o.ename}, " for o in outputs if o.output_type == "error"]
    data = [o.data for o in outputs if "data" in o][-1]
    svg = data.get("image/svg+xml")
    kind = "no SVG" if svg is None else "SVG, text" if "<text" in svg else "SVG, outlines"
    return "".join(errors) + kind


WANTED = {
    (START, LIST): "SVG, outlines",
    (START, TWO): "SVG, outlines",
    (START, ONE): "NameError, no SVG",
    (RC, START, LIST): "SVG, text",
    (START, LIST, RC): "SVG, outlines",
    (START, LIST, RC, START): "SVG, text",
}
names = ("ipython", "matplotlib-inline", "ipykernel", "matplotlib")
print(*(f"{name} {version(name)}" for name in names))
changed = 0
for cells, wanted in WANTED.items():
    found = drawn(*cells)
    changed += found != wanted
    print(*(c.removeprefix("%config InlineBackend.") for c in cells), sep="; ", end="")
    print(f": {found}" + (f" (no longer so: was {wanted})" if found != wanted else ""))
sys.exit(changed)
PYTHON
