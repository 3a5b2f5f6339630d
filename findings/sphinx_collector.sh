#!/usr/bin/env bash
# One would guess: a Sphinx build spends its time reading and writing pages, and ends when
# it says "build succeeded"; to change one page of a book costs that page.
# What happens: Python's garbage collector walks through the trees of all pages again and
# again, and once more, for seconds, after the last line, when the interpreter ends. Two
# lines in conf.py (a higher threshold, and gc.freeze() when the build is finished) take
# two fifths off a build from clean (15 s to 9 s of a core here), a fifth where one page
# changed, and nearly all of the wait after the last line.
# Version: Sphinx 8.2.3 and 7.4.7, docutils 0.21.2, CPython 3.11; CPython 3.14 collects
# in another way, see python/cpython issue 124567.
# Seen: asking what a book of thirty pages does after its last line, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "sphinx==8.2.3" "docutils==0.21.2" 2> /dev/null
cat > "$folder/book.py" <<'PYTHON'
import resource
import subprocess
import sys
import time
from pathlib import Path

ROWS = "\n".join(
    f"   * - word {i}\n     - *{i * i}*\n     - {i} of ``many``" for i in range(300)
)
LESS = """
import gc
gc.set_threshold(1_000_000)
def setup(app):
    app.connect("build-finished", lambda *_: gc.freeze(), priority=999)
"""


def build(root: Path) -> tuple[float, float]:
    """Seconds of a core for a build, and seconds from its last line to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    command = [sys.executable, "-u", "-m", "sphinx", "-b", "html", root, root / "_out"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in run.stdout:
        if "HTML pages are in" in line:
            said = time.perf_counter()
    if run.wait():
        raise SystemExit("the build failed")
    ended = time.perf_counter()
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, ended - said


found = {}
for name, also in (("as it comes", ""), ("collecting less", LESS)):
    root = Path(sys.argv[1]) / name.replace(" ", "_")
    root.mkdir()
    (root / "conf.py").write_text("numfig = True\n" + also)
    pages = [f"page{i}" for i in range(12)]
    (root / "index.rst").write_text(
        "Book\n====\n\n.. toctree::\n\n   " + "\n   ".join(pages) + "\n"
    )
    for page in pages:
        text = f"{page}\n======\n\n.. list-table:: Words\n\n{ROWS}\n"
        (root / f"{page}.rst").write_text(text)
    clean = build(root)
    with (root / "page3.rst").open("a") as page:
        page.write("\nA word more.\n")
    found[name] = clean, build(root)
for name, times in found.items():
    for what, (core, after) in zip(("from clean", "one page changed"), times):
        print(f"{name}, {what}: {core:.1f} s of a core, {after:.2f} s after its last line")
for i in range(2):
    plain, less = found["as it comes"][i], found["collecting less"][i]
    print(f"{'from clean' if not i else 'one page changed'}: {less[0] / plain[0]:.2f} of the core")
if found["collecting less"][1][0] > 0.93 * found["as it comes"][1][0]:
    raise SystemExit("no longer so: the collector costs next to nothing")
PYTHON
"$folder/venv/bin/python" --version
"$folder/venv/bin/python" -m pip list --disable-pip-version-check | grep -iE "^(sphinx|docutils) "
"$folder/venv/bin/python" "$folder/book.py" "$folder"
