#!/usr/bin/env bash
# One would guess: papermill gives a notebook the same value, however the parameter is
# handed over: `-p lr 1e-3`, or `lr: 1e-3` as YAML with -y or in a file with -f.
# What happens: -p asks Python's int() and float(), -y and -f ask YAML 1.1. A learning
# rate of 1e-3 is a number by -p and a string by YAML; a sample 00123 is 123 by -p and 83,
# read as octal, by YAML; `true` is a string by -p. And a short commit of digits with one
# e, such as 7e88531, is the number infinity by -p. Only -r hands over the text as it is.
# Version: papermill 2.7.0, PyYAML 6.0.3.
# Seen: running notebooks at settings from a grid, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "papermill==2.7.0" "PyYAML==6.0.3" 2> /dev/null
cat > "$folder/in.ipynb" <<'NOTEBOOK'
{"nbformat": 4, "nbformat_minor": 5,
 "metadata": {"kernelspec": {"name": "python3", "display_name": "Python",
                             "language": "python"}},
 "cells": [{"cell_type": "code", "id": "a", "execution_count": null, "outputs": [],
            "metadata": {"tags": ["parameters"]}, "source": "value = 0"}]}
NOTEBOOK
echo "papermill $("$folder/venv/bin/papermill" --version | cut -d" " -f1)"
failed=0
# what the notebook is given: the last cell of the two that then set it
given() {
  "$folder/venv/bin/papermill" --prepare-only "$@" "$folder/in.ipynb" \
    "$folder/out.ipynb" 2> /dev/null
  "$folder/venv/bin/python" -c 'import json, sys
cell = json.load(open(sys.argv[1]))["cells"][-1]
print("".join(cell["source"]).split("value = ")[1].strip())' "$folder/out.ipynb"
}
check() { # text, then what -p, -y and -r were seen to make of it
  p=$(given -p value "$1") y=$(given -y "value: $1") r=$(given -r value "$1")
  echo "$1 becomes $p by -p, $y by -y, $r by -r"
  if [ "$p" != "$2" ] || [ "$y" != "$3" ] || [ "$r" != "\"$1\"" ]; then
    echo "no longer so: was $2 and $3"
    failed=1
  fi
}
check 1e-3 0.001 '"1e-3"'
check 00123 123 83
check true '"true"' True
check 7e88531 "float('inf')" '"7e88531"'
echo "value: 1e-3" > "$folder/in.yaml"
echo "1e-3 becomes $(given -f "$folder/in.yaml") by -f"
exit "$failed"
