#!/usr/bin/env bash
# One would guess: `jupyter-book config sphinx` writes a conf.py with which sphinx-build
# makes the book that `jupyter-book build` makes of the same _config.yml.
# What happens: a local extension is named in conf.py, and the folder that _config.yml
# gives for it is lost, so that Sphinx cannot import it. With the folder on PYTHONPATH the
# same conf.py works.
# Version: jupyter-book 1.0.4.post1, Sphinx 7.4.7; open there as issue 2210.
# Seen: building a book with its own extensions by a newer Sphinx, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "jupyter-book==1.0.4.post1" "sphinx==7.4.7" "pydata-sphinx-theme==0.17.1" \
  "sphinx-book-theme==1.3.0" 2> /dev/null
bin="$folder/venv/bin"
book="$folder/book"
mkdir -p "$book/own"
echo 'def setup(app): print("the local extension is at work")' > "$book/own/of_ours.py"
printf 'title: Book\nsphinx:\n  local_extensions:\n    of_ours: own/\n' \
  > "$book/_config.yml"
printf 'format: jb-book\nroot: index\n' > "$book/_toc.yml"
printf '# Title\n\nText.\n' > "$book/index.md"
works() { # whether the extension ran
  if "$@" > "$folder/log" 2>&1 && grep -q "is at work" "$folder/log"; then
    echo yes
  else
    echo no
  fi
}
"$bin/jupyter-book" --version | grep "Jupyter Book"
"$bin/sphinx-build" --version
built=$(works "$bin/jupyter-book" build "$book")
"$bin/jupyter-book" config sphinx "$book" > /dev/null
echo "conf.py names of_ours $(grep -c of_ours "$book/conf.py") time(s)," \
  "its folder $(grep -c 'own/' "$book/conf.py") times"
cd "$folder"
plain=$(works "$bin/sphinx-build" -E "$book" "$folder/a")
grep -h "No module" "$folder/log" || true
helped=$(works env PYTHONPATH="$book/own" "$bin/sphinx-build" -E "$book" "$folder/b")
echo "works with jupyter-book build: $built, with sphinx-build: $plain," \
  "with sphinx-build and PYTHONPATH: $helped"
if [ "$built $plain $helped" != "yes no yes" ]; then
  echo "no longer so"
  exit 1
fi
