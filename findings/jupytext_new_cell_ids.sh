#!/usr/bin/env bash
# One would guess: a notebook made from a script by jupytext is the same file each time,
# so that it can be compared, hashed, and made anew by whoever builds.
# What happens: a script in the percent format holds no ids of cells, and nbformat 4.5
# wants them. They are drawn at each conversion: two conversions of one script differ in
# every cell, and a digest of the file is good for nothing. With --update the ids of the
# notebook that is there stay.
# Version: jupytext 1.19.6, nbformat 5.10.4.
# Seen: binding recorded runs to the notebook that made them, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "jupytext==1.19.6" "nbformat==5.10.4" 2> /dev/null
cd "$folder"
printf '# %%%%\na = 1\n\n# %%%%\nb = 2\n' > script.py
run() { "$folder/venv/bin/jupytext" --quiet "$@"; }
ids() { "$folder/venv/bin/python" -c 'import json, sys
print(*(c["id"] for c in json.load(open(sys.argv[1]))["cells"]))' "$1"; }
run --to ipynb script.py --output one.ipynb
run --to ipynb script.py --output two.ipynb
cp one.ipynb kept.ipynb
printf '\n# %%%%\nc = 3\n' >> script.py
run --to ipynb --update script.py --output kept.ipynb
"$folder/venv/bin/pip" list 2> /dev/null | grep -E '^(jupytext|nbformat) '
echo "once:            $(ids one.ipynb)"
echo "again:           $(ids two.ipynb)"
echo "kept, one added: $(ids kept.ipynb)"
if cmp --silent one.ipynb two.ipynb; then
  echo "no longer so: two conversions are the same"; exit 1
fi
case "$(ids kept.ipynb)" in
  "$(ids one.ipynb) "*) ;;
  *) echo "no longer so: --update does not keep the ids"; exit 1 ;;
esac
