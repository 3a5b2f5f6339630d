#!/usr/bin/env bash
# One would guess: a script that a Sphinx extension adds once is once in a page.
# What happens: in Sphinx 7 a script given as text, not as a file, comes twice where it is
# added when the builder is there. sphinx-thebe adds constants so, and a constant may not
# be declared twice: each page has a JavaScript error, as in every Jupyter Book 1, which
# loads sphinx-thebe, in use or not, and wants a Sphinx older than 8. In Sphinx 8.2.3 the
# script comes once.
# Version: Sphinx 7.4.7 and 8.2.3, sphinx-thebe 0.3.1.
# Seen: reading the console of the browser at a built book, November 2026.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
mkdir "$folder/thebe" "$folder/own"
printf 'extensions = ["sphinx_thebe"]\nthebe_config = {}\n' > "$folder/thebe/conf.py"
cat > "$folder/own/conf.py" <<'PYTHON'
def add(app):
    app.add_js_file(None, body="const AS_TEXT = 1")
    app.add_js_file("https://example.org/as_file.js")


def setup(app):
    app.connect("builder-inited", add)
PYTHON
printf 'Title\n=====\n' | tee "$folder/thebe/index.rst" > "$folder/own/index.rst"
count() { # sphinx version; how often the three are in a page
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "sphinx==$1" "sphinx-thebe==0.3.1" 2> /dev/null
  for site in thebe own; do
    "$folder/venv/bin/sphinx-build" -q -E "$folder/$site" "$folder/$site/$1" > /dev/null
  done
  page="$folder/own/$1/index.html"
  echo "$(grep -c 'const THEBE_JS_URL' "$folder/thebe/$1/index.html")" \
    "$(grep -c AS_TEXT "$page") $(grep -c as_file.js "$page")"
}
old=$(count 7.4.7)
new=$(count 8.2.3)
echo "in a page: sphinx-thebe's constants, a text, a file added likewise"
echo "Sphinx 7.4.7: $old"
echo "Sphinx 8.2.3: $new"
if [ "$old" != "2 2 1" ] || [ "$new" != "1 1 1" ]; then
  echo "no longer so"
  exit 1
fi
