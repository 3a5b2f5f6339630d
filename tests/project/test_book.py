"""The book's sources hold together, and the tools that build and check it work."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import yaml

from rlap.files.digests import code_digest
from rlap.runs import KEEP_MEMORY

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted(BOOK.rglob("*.md"))
SKIPPED = {".git", ".venv", "_build", "__pycache__", ".ruff_cache", ".pytest_cache"}
SKIPPED |= {
    ".hypothesis",
    ".ipynb_checkpoints",
    ".snakemake",
    ".snakemake-venv",
    "runs",
}


sys.path.insert(0, str(BOOK / "_ext"))  # as Sphinx does: they import one another


def extension(name: str) -> ModuleType:
    """One of the files in book/_ext as a module."""
    spec = importlib.util.spec_from_file_location(name, BOOK / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cells(path: Path, kind: str | None = None) -> list[dict]:
    """A notebook's cells, or those of one kind."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [c for c in found if kind is None or c["cell_type"] == kind]


def source(cell: dict) -> str:
    """A cell's text, which may be stored as one string or as lines."""
    return "".join(cell["source"])


def prose() -> dict[str, str]:
    """All Markdown that readers see, by file name."""
    found = {p.name: p.read_text(encoding="utf-8") for p in PAGES}
    for path in NOTEBOOKS:
        found[path.name] = "\n\n".join(source(c) for c in cells(path, "markdown"))
    return found


def toc_files() -> list[str]:
    """Every page that the table of contents names."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    return [toc["root"], *chapters]


# --- notebooks -------------------------------------------------------------------


def test_there_are_notebooks():
    assert {"00_own_model.ipynb", "01_cifar10.ipynb", "02_speech.ipynb"} <= {
        p.name for p in NOTEBOOKS
    }


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebook_is_stored_without_outputs(path):
    for cell in cells(path, "code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None, source(cell)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebook_equals_its_python_twin(path):
    import jupytext

    def content(name: Path) -> list[tuple]:
        """Everything but outputs, identifiers and the order of metadata."""
        return [
            (cell.cell_type, cell.source, dict(cell.metadata))
            for cell in jupytext.read(name).cells
        ]

    twin = path.with_suffix(".py")
    assert content(path) == content(twin), "run jupytext --sync on the one you edited"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_cells_have_identifiers(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) >= (4, 5)
    identifiers = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_exactly_one_cell_holds_plain_parameters(path):
    tagged = [c for c in cells(path) if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    statements = ast.parse(source(tagged[0])).body
    assert statements
    for statement in statements:
        assert isinstance(statement, ast.Assign | ast.AnnAssign), ast.unparse(statement)
        ast.literal_eval(statement.value)  # papermill can only replace plain values


def test_each_notebook_begins_with_the_same_cell_that_installs_in_colab():
    first = {source(cells(path)[1]) for path in NOTEBOOKS}
    assert len(first) == 1
    for path in NOTEBOOKS:
        tags = [c["metadata"].get("tags", []) for c in cells(path)]
        assert tags[1] == ["setup", "remove-cell"]
        assert not any("setup" in t for i, t in enumerate(tags) if i != 1)
    import_only = ast.parse(first.pop()).body[:-1]
    assert all(isinstance(n, ast.Import | ast.ImportFrom) for n in import_only)


def test_cells_that_tell_only_print():
    """They are left out of a notebook's digest, so nothing may come from them."""
    telling = [
        (path.name, source(cell))
        for path in NOTEBOOKS
        for cell in cells(path)
        if "telling" in cell["metadata"].get("tags", [])
    ]
    assert {name for name, _ in telling} >= {
        "03_relevance.ipynb",
        "04_soft_pruning.ipynb",
    }
    for name, text in telling:
        (statement,) = ast.parse(text).body
        assert ast.unparse(statement).startswith("print("), name
        inside = ast.walk(statement)
        assert not any(isinstance(node, ast.NamedExpr) for node in inside), name


@pytest.mark.slow
def test_that_cell_installs_the_companion_in_a_fresh_environment(tmp_path):
    """As in Colab: much is there, torch too, but not the companion."""
    copy = tmp_path / "checkout"
    for name in ("rlap", "notebooks", "rlap_command.py", "pyproject.toml", "README.md",
                 "LICENSE"):  # fmt: skip
        here = ROOT / name
        (shutil.copytree if here.is_dir() else shutil.copy)(here, copy / name)
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    known = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    beside = [p for p in map(Path, sys.path) if p.name == "site-packages"]
    (Path(known.stdout.strip()) / "beside.pth").write_text("\n".join(map(str, beside)))
    cell = source(cells(NOTEBOOKS[0])[1])
    told = "\nimport rlap; print(rlap.__file__, rlap.__version__)"
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def run(colab: str) -> subprocess.CompletedProcess:
        text = f"import sys, types\n{colab}\n{cell}{told}"
        return subprocess.run([python, "-c", text], capture_output=True, text=True,
                              cwd=copy / "notebooks", env=clean)  # fmt: skip

    found = run("sys.modules['google.colab'] = types.ModuleType('google.colab')")
    if "Could not find a version" in found.stderr:
        pytest.skip("no build tools can be fetched here")
    assert found.returncode == 0, found.stderr
    assert str(tmp_path / "env") in found.stdout  # not the checkout, not this one
    assert run("").returncode == 0  # elsewhere it does nothing


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_figures_are_described_in_words(path):
    draws = re.compile(r"\bfigures\.(?!stamp)\w+\(|\bplt\.(?!rcParams)|\.imshow\(")
    for cell in cells(path, "code"):
        if draws.search(source(cell)):
            image = cell["metadata"].get("mystnb", {}).get("image", {})
            assert len(image.get("alt", "")) > 20, f"no alt text:\n{source(cell)}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebook_opens_with_a_title_and_an_answer(path):
    """What larger runs have found, asked of the ledger, and the page that has it."""
    title, opening = source(cells(path)[0]).split("\n\n")[:2]
    assert title.startswith("# ")
    if path.stem != "00_own_model":  # of its own, on data of its own
        assert "{ledger}`" in opening and "{doc}`/" in opening
        said = " ".join(opening.split())
        assert "recorded runs" in said or "As released" in said


# --- pages -----------------------------------------------------------------------


def test_the_table_of_contents_and_the_pages_agree():
    files = toc_files()
    assert len(set(files)) == len(files)
    for name in files:
        home = ROOT if name.startswith("notebooks/") else BOOK
        suffix = ".ipynb" if name.startswith("notebooks/") else ".md"
        assert (home / (name + suffix)).is_file(), f"{name} is not there"
    unlisted = {p.relative_to(BOOK).with_suffix("").as_posix() for p in PAGES} - set(
        files
    )
    unlisted |= {f"notebooks/{p.stem}" for p in NOTEBOOKS} - set(files)
    assert not unlisted, f"{sorted(unlisted)} not in _toc.yml: no reader will find it"


def test_cited_keys_exist():
    bibliography = (BOOK / "references.bib").read_text(encoding="utf-8")
    known = re.findall(r"^@\w+\{([\w-]+),", bibliography, re.MULTILINE)
    assert len(set(known)) == len(known)
    cited = set()
    for name, text in prose().items():
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text):
            for key in keys.split(","):
                assert key.strip() in known, f"{name} cites {key}"
                cited.add(key.strip())
    assert {"jin2025rlap", "chang2024lranpp", "gong2025osp"} <= cited


def test_works_are_listed_by_names_of_their_own():
    from pybtex.database import parse_file

    works = parse_file(BOOK / "references.bib").entries.values()
    labels = [extension("cited").named(work) for work in works]
    assert "Jin et al., 2025" in labels and "Tang and Lin, 2018" in labels
    assert len(set(labels)) == len(labels), "a citation that could be either"
    for work in works:  # the title links once
        assert not {"eprint", "doi"} & set(work.fields) or "url" not in work.fields


def test_a_row_of_a_table_begins_with_what_it_is():
    """On a phone it is a card, and that is its title."""
    for name, text in prose().items():
        assert not re.search(r"^\|\s*\|(?!.*\n\|\s*-)", text, re.MULTILINE), name


def test_glossary_is_sorted_and_defines_the_terms_in_use():
    text = (BOOK / "glossary.md").read_text(encoding="utf-8")
    block = re.search(r"```\{glossary\}\n(.*?)```", text, re.DOTALL).group(1)
    terms = [line.lower() for line in block.splitlines() if re.match(r"\S", line)]
    assert terms == sorted(terms) and len(set(terms)) == len(terms)
    for name, page in prose().items():
        for term in re.findall(r"\{term\}`([^`]+)`", page):
            target = re.sub(r".*<(.*)>\Z", r"\1", " ".join(term.split())).lower()
            assert target in terms, f"{name} uses {target!r}"


def test_pictures_in_pages_have_alternative_text():
    for name, text in prose().items():
        for block in re.findall(r"```\{(?:figure|image)\}.*?```", text, re.DOTALL):
            assert re.search(r"^:alt: \S", block, re.MULTILINE), f"{name}: {block[:60]}"
        assert not re.search(r"!\[\s*\]\(", text), f"{name}: a picture without words"


def test_the_drawing_is_well_formed_and_self_contained():
    from xml.etree import ElementTree

    path = BOOK / "_static" / "dataflow.svg"
    root = ElementTree.parse(path).getroot()
    space = "{http://www.w3.org/2000/svg}"
    names = [t.text for t in root.iter(f"{space}text") if t.get("class") == "name"]
    flow = "data corruption training attribution partition sensitivity pruning"
    assert sorted(names) == sorted(
        [*flow.split(), "fine-tuning", "record", "ledger", "book"]
    )
    assert root.find(f"{space}title").text and root.find(f"{space}desc").text
    assert not re.search(r"(href|src)\s*=", path.read_text(encoding="utf-8"))


def test_no_file_holds_a_path_of_one_machine():
    roots = ("work", "tmp", "root", "home/[a-z]", "Users/[A-Za-z]")
    typed = re.compile(rf"(?<![\w.~])/(?:{'|'.join(roots)})/|[A-Z]:\\\\Users")
    texts = {".py", ".md", ".ipynb", ".yml", ".yaml", ".toml", ".txt", ".json", ".cff"}
    texts |= {".csv", ".svg", ".bib"}
    seen = 0
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT)
        if SKIPPED & set(inside.parts) or not path.is_file():
            continue
        if inside.parts[0] == "results" and path.suffix == ".ipynb":
            continue  # executed copies stay on the machine: git ignores them
        if path.suffix in texts or path.name in {"Makefile", "run"}:
            seen += 1
            found = typed.search(path.read_text(encoding="utf-8"))
            assert not found, f"{inside} holds {found.group()!r}"
    assert seen > 10


# --- staging and the cache key ---------------------------------------------------


def test_staging_mirrors_and_leaves_equal_files_alone(tmp_path):
    stage = extension("stage_notebooks").stage
    here, there = tmp_path / "notebooks", tmp_path / "book" / "notebooks"
    here.mkdir()
    (here / "a.ipynb").write_text("A")
    (here / "b.ipynb").write_text("B")
    (here / "a.py").write_text("not a notebook")
    assert stage(here, there) == ["a.ipynb", "b.ipynb"]
    before = (there / "a.ipynb").stat().st_mtime_ns
    (here / "b.ipynb").unlink()
    (here / "c.ipynb").write_text("C")
    assert stage(here, there) == ["b.ipynb", "c.ipynb"]
    assert sorted(p.name for p in there.iterdir()) == ["a.ipynb", "c.ipynb"]
    assert (there / "a.ipynb").stat().st_mtime_ns == before
    assert stage(here, there) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_book_folds_the_code_of_all_notebooks_but_one(path):
    module = extension("stage_notebooks")
    own = json.loads(path.read_text(encoding="utf-8"))["cells"]
    staged = json.loads(module.folded(path))["cells"]
    assert [c["source"] for c in staged] == [c["source"] for c in own]
    code = [c for c in staged if c["cell_type"] == "code"]
    closed = [
        any(
            tag.startswith(("hide-", "remove-"))
            for tag in c["metadata"].get("tags", [])
        )
        for c in code
    ]
    if path.name != module.OPEN:
        assert all(closed)
    else:  # how to do it oneself: the code is what it is about
        assert not all(closed)


def checkout(tmp_path: Path) -> Path:
    """A tiny checkout with everything that the cache key looks at."""
    for name, text in {
        "rlap/core.py": "x = 1\n",
        "rlap/figures/run.py": "x = 1\n",
        "rlap/pages/table.py": "x = 1\n",
        "constraints.txt": "torch==1\n",
        "results/run/record.json": "{}\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("rlap/core.py", "code"),
        ("rlap/figures/run.py", "figures"),
        ("rlap/pages/table.py", "shown"),
        ("constraints.txt", "lock"),
        ("results/run/record.json", "results"),
    ],
)
def test_each_ingredient_is_named_and_changes_the_key_of_what_it_matters_to(
    tmp_path, monkeypatch, name, part
):
    staging = extension("stage_notebooks")
    monkeypatch.setattr(staging, "data_digest", lambda name: "d1")
    root, memory = checkout(tmp_path), tmp_path / "_build" / "key.json"
    first = staging.ingredients(root)
    assert "no earlier build" in staging.explain(first, memory)
    assert "as before" in staging.explain(staging.ingredients(root), memory)

    def now():
        code_digest.cache_clear()
        return staging.ingredients(root)

    text = (root / name).read_bytes()
    (root / name).write_bytes(text.replace(b"\n", b"\r\n"))
    assert now() == first, "line endings are not news"

    (root / name).write_bytes(text + b"more = 1\n")
    second = now()
    assert {k for k in first if first[k] != second[k]} == {part}
    # records are for the pages, which forget others by themselves: no notebook looks
    same = staging.key_of(first) == staging.key_of(second)
    assert same == (part in ("results", "shown"))
    assert staging.explain(second, memory).startswith(f"{part} changed")


def test_renaming_a_module_changes_the_key(tmp_path, monkeypatch):
    staging = extension("stage_notebooks")
    monkeypatch.setattr(staging, "data_digest", lambda name: "d1")
    root = checkout(tmp_path)
    first = staging.ingredients(root)["code"]
    (root / "rlap" / "core.py").rename(root / "rlap" / "heart.py")
    code_digest.cache_clear()
    assert staging.ingredients(root)["code"] != first


@pytest.mark.parametrize("name", ["rlap/paper.csv", "rlap/list.yml", "grids/a.yaml"])
def test_what_pages_show_beside_records_makes_them_run_again(
    name, tmp_path, monkeypatch
):
    staging = extension("stage_notebooks")
    monkeypatch.setattr(staging, "data_digest", lambda name: "d1")
    root = checkout(tmp_path)
    first = staging.ingredients(root)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("1")
    second = staging.ingredients(root)
    assert second["results"] != first["results"]
    assert staging.key_of(second) == staging.key_of(first)  # not the notebooks


def test_a_build_by_hand_is_as_make_makes_it(tmp_path, monkeypatch, capsys):
    """The same data, and the same settings of the allocator."""
    staging = extension("stage_notebooks")
    told = {}
    for line in (ROOT / "Makefile").read_text().splitlines():
        if match := re.match(r"export (MALLOC_\w+) \?= (\d+)", line):
            told[match[1]] = match[2]
    assert told == KEEP_MEMORY
    for name in (*KEEP_MEMORY, "RLAP_DATA"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    (tmp_path / "shared" / "data").mkdir(parents=True)
    staging.as_make_does(tmp_path / "checkout")
    assert os.environ["RLAP_DATA"] == str(tmp_path / "shared" / "data")
    assert {name: os.environ[name] for name in KEEP_MEMORY} == KEEP_MEMORY
    assert [line.split(":")[0].strip() for line in staging.data_lines()] == [
        "data", "cifar10", "speech_commands",
    ]  # fmt: skip


def test_data_is_part_of_the_key_and_may_be_missing(monkeypatch):
    staging = extension("stage_notebooks")
    import rlap.data

    def unavailable(*args, **kwargs):
        raise rlap.data.DataUnavailable("nothing here")

    monkeypatch.setattr(rlap.data, "available", lambda name: ("folder", "abc"))
    assert staging.data_digest("cifar10") == "abc"
    monkeypatch.setattr(rlap.data, "available", lambda name: None)
    monkeypatch.setattr(rlap.data, "load", unavailable)
    assert staging.data_digest("cifar10") == "none (DataUnavailable)"


# --- the API page ----------------------------------------------------------------


def test_api_page_lists_every_module_and_every_public_name():
    import rlap

    api = extension("api_pages")
    listed = api.module_sections()
    for path in (ROOT / "rlap").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != "rlap" and "._" not in name:
            assert f"automodule:: {name}\n" in listed, name
    table = api.names_table()
    assert "`rlap.robustify <rlap.algorithm.robustify>`" in table
    for name in rlap.__all__:
        assert f"`rlap.{name} <" in table
    text = (BOOK / "api.md").read_text(encoding="utf-8")
    assert api.NAMES_MARK in text and api.MODULES_MARK in text


def test_the_api_page_is_read_again_when_a_module_has_changed(tmp_path, monkeypatch):
    pages = extension("api_pages")
    monkeypatch.setattr(pages, "PACKAGE", tmp_path)
    (tmp_path / "a.py").write_text("one = 1")
    env = SimpleNamespace(found_docs={"api", "gain"})

    def read() -> list[str]:
        return pages.outdated(None, env, set(), set(), set())

    assert read() == ["api"] and read() == []
    (tmp_path / "a.py").write_text("two = 2")
    assert read() == ["api"] and read() == []
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert read() == ["api"]


def test_docstrings_are_read_as_prose():
    as_prose = extension("api_pages").as_prose
    assert as_prose(["Largest |x| * y of ``|code|``, by apply_ or a_b, *not* a*."]) == [
        r"Largest \|x\| · y of ``|code|``, by apply\_ or a_b, *not* a\*."
    ]
    assert as_prose(["(N, d) -> (N,), `a -> b` (difference 7)"]) == [
        "(N, d) → (N,), `a -> b` (:doc:`difference 7 </differences>`)"
    ]
    assert as_prose(["Do:", "", "    A = |x|", "", "Then."]) == [
        "Do:",
        "",
        "::",
        "",
        "    A = |x|",
        "",
        "Then.",
    ]
    assert as_prose(["Args:", "    x: one", "", "    y: |two|"]) == [
        "Args:",
        "    x: one",
        "",
        r"    y: \|two\|",
    ]


def test_a_signature_shows_what_one_would_type_and_no_path():
    from rlap.network.tracing import Tracer
    from rlap.training.loop import History

    def read(thing: object, signature: str) -> str:
        return extension("api_pages").read_signature(
            None, "class", "name", thing, None, signature, None
        )[0]

    there = "(modules=(<module 'math' from '/a/b-c.so'>, ), size=1)"
    assert read(Tracer, there) == "(modules=(math, ), size=1)"
    lists = "(loss=<factory>, accuracy=<factory>, seconds=0.0)"
    assert read(History, lists) == "(loss=[], accuracy=[], seconds=0.0)"
    calls = "(say=<built-in function print>, of=<function A.<lambda>>, f=<function f>)"
    assert read(len, calls) == "(say=print, of=..., f=f)"


def test_the_packages_words_name_differences_by_their_number_alone():
    """The list of differences is what a reader has; the API page links to it."""
    from rlap.ledger.differences import register

    known = {d.number for d in register()}
    for path in (ROOT / "rlap").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        kinds = ast.Module | ast.ClassDef | ast.FunctionDef
        for node in ast.walk(tree):
            said = ast.get_docstring(node) if isinstance(node, kinds) else None
            said = " ".join((said or "").split())
            assert not re.search(r"\baudit [\d(]", said), f"{path.name}: {said}"
            for named in re.findall(r"\bdifferences? (\d+(?:(?:, | and )\d+)*)", said):
                assert set(map(int, re.findall(r"\d+", named))) <= known, said


# --- the check of the built site -------------------------------------------------

GOOD = """<html><head><link rel="stylesheet" href="s.css"><script src="mathjax/m.js">
</script></head><body><span class="math">x</span><img src="a.png" alt="A curve">
<a href="https://example.org">a link waits for a click</a></body></html>"""


def site(tmp_path: Path, page: str, css: str = "p { color: red }") -> Path:
    """A built site with one page."""
    (tmp_path / "mathjax").mkdir()
    (tmp_path / "mathjax" / "m.js").write_text("")
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "s.css").write_text(css)
    (tmp_path / "index.html").write_text(page)
    return tmp_path


def run_check(folder: Path) -> tuple[int, str]:
    """Run the check as the command that it is."""
    done = subprocess.run(
        [sys.executable, str(BOOK / "_ext" / "check_site.py"), str(folder)],
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout


def test_a_good_site_passes(tmp_path):
    code, said = run_check(site(tmp_path, GOOD))
    assert code == 0, said
    assert "1 pages, 1 pictures" in said


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('alt="A curve"', "", "without alternative text"),
        ('alt="A curve"', 'alt=" "', "without alternative text"),
        ("a.png", "b.png", "file not there"),
        ("a.png", "https://example.org/a.png", "fetched from the network"),
        ('href="s.css"', 'href="//example.org/s.css"', "fetched from the network"),
        ("mathjax/m.js", "https://example.org/mathjax.js", "fetched from the network"),
        ('<script src="mathjax/m.js">', "<script>", "no MathJax"),
        (
            "<body>",
            "<body><style>@import 'https://x.org/y.css'</style>",
            "style fetches",
        ),
        (
            "<body>",
            '<body><div class="drawing"><svg viewBox="0 0 680 9"><style>.a{font:8px '
            "A}</style></svg></div>",
            "letters of 4.0 pixels",
        ),
        ("<body>", '<body><i class="fa-brands fa-github"></i>', "an icon whose font"),
    ],
)
def test_each_fault_of_a_page_is_found(tmp_path, old, new, finding):
    assert old in GOOD
    code, said = run_check(site(tmp_path, GOOD.replace(old, new)))
    assert code == 1
    assert finding in said


def test_a_style_sheet_that_fetches_is_found(tmp_path):
    faulty = "@font-face { src: url('https://example.org/f.woff') }"
    code, said = run_check(site(tmp_path, GOOD, faulty))
    assert code == 1 and "s.css: style fetches https://example.org/f.woff" in said


def test_a_heavy_site_is_found(tmp_path):
    folder = site(tmp_path, GOOD)
    with open(folder / "big.js", "wb") as file:
        file.truncate(14_000_000)  # nothing is written
    assert run_check(folder)[0] == 0
    with open(folder / "more.js", "wb") as file:
        file.truncate(2_000_000)
    code, said = run_check(folder)
    assert code == 1 and "16.0 MB, more than 15" in said and "big.js" in said


def test_an_empty_folder_is_no_site(tmp_path):
    code, said = run_check(tmp_path)
    assert code == 1 and "build the book first" in said


# --- the book as one PDF ---------------------------------------------------------

FIRST = """<html><head><link rel="stylesheet" href="s.css?v=1">
<script>other = 1</script><script>window.MathJax = {"options": 1}</script>
<script defer src="mathjax/m.js"></script></head><body><nav>menu
</nav><article class="bd"><h1 id="top">One</h1><a href="in/two.html#part">on</a>
<a href="#top">up</a> <a href="in/two.html">two</a> <a href="other.html">else</a>
<details><svg><g id="m" clip-path="url(#m)"/><use xlink:href="#m"/></svg></details>
<img src="data:image/png;base64,x"></article></body></html>"""
SECOND = """<article><h2 id="part">Two</h2><a href="../one.html">back</a>
<img src="../a.png"><a href="https://example.org/x.html#y">away</a></article>"""


@pytest.fixture
def two_pages(tmp_path):
    (tmp_path / "site" / "in").mkdir(parents=True)
    (tmp_path / "site" / "one.html").write_text(FIRST)
    (tmp_path / "site" / "in" / "two.html").write_text(SECOND)
    (tmp_path / "site" / "s.css").write_text("h1 { color: green }")
    return tmp_path / "site"


def test_pages_become_one_whose_links_lead_from_part_to_part(two_pages):
    whole = extension("to_pdf").whole(two_pages, ["one", "in/two"], "../site")
    links = re.findall(r'(?:href|src)="([^"]*)"', whole)
    assert links == [
        "../site/s.css?v=1", "../site/mathjax/m.js",
        "#in/two--part", "#one--top", "#in/two",
        "../site/other.html", "#one--m", "data:image/png;base64,x", "#one",
        "../site/a.png", "https://example.org/x.html#y",
    ]  # fmt: skip
    names = re.findall(r'\bid="([^"]*)"', whole)
    assert names == ["one", "one--top", "one--m", "in/two", "in/two--part"]
    assert "menu" not in whole and "<details open>" in whole
    assert "url(#one--m)" in whole
    # what MathJax is told comes along, or formulas stay as they were typed
    assert 'window.MathJax = {"options": 1}' in whole and "other = 1" not in whole
    assert extension("to_pdf").pages(BOOK / "_toc.yml") == toc_files()


def test_chromium_prints_them(two_pages, tmp_path):
    module = extension("to_pdf")
    if module.browser() is None:
        pytest.skip("no Chromium")
    made = tmp_path / "pdf" / "book.pdf"
    module.to_pdf(two_pages, made, ["one", "in/two"])
    content = made.read_bytes()
    assert (
        content.startswith(b"%PDF") and len(re.findall(rb"/Type /Page\b", content)) == 2
    )


def test_without_chromium_there_is_a_word_and_no_pdf(two_pages, tmp_path, monkeypatch):
    monkeypatch.setenv("CHROMIUM", "no-such-browser")
    with pytest.raises(RuntimeError, match="no Chromium: install it"):
        extension("to_pdf").to_pdf(two_pages, tmp_path / "book.pdf", ["one"])
    assert not (tmp_path / "book.pdf").exists()


# --- pages that ask the ledger ---------------------------------------------------

BROKEN = """# A page

Right: {ledger}`count: numbers`.

Wrong: {ledger}`count: apples`.

```{ledger-table} claims: nobody
A caption.
```

```{ledger-figure} verdict grid: 5
:name: fig-grid
:alt: A grid of verdicts
The caption.
```
"""


def test_a_wrong_name_is_an_error_at_its_own_line(tmp_path):
    """And what has a right name is there: text, table, picture and its downloads."""
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "index.md").write_text(BROKEN)
    (source / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(BOOK / '_ext')!r})\n"
        "extensions = ['myst_parser', 'results', 'remember']\nnumfig = True\n"
        f"sys.path.insert(0, {str(source)!r})\n"
    )
    (source / "remember.py").write_text("def setup(app):\n    app.rlap_results = ''\n")
    command = [sys.executable, "-m", "sphinx", "-b", "html", str(source), str(site)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    told = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert len(told) == 2, done.stderr
    assert "index.md:5: ERROR: no count of 'apples'; there is numbers" in told[0]
    assert "index.md:7: ERROR" in told[1] and "no family 'nobody'" in told[1]
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "Right: 471." in page
    assert "<title>A grid of verdicts</title>" in page and 'role="img"' in page
    assert "Fig. 1" in page and "currentColor" in page
    folder = site / "_downloads" / "figures"
    assert (folder / "fig-grid.svg").read_text().startswith("<svg")
    assert "verdict" in (folder / "fig-grid.csv").read_text().splitlines()[0]


def test_new_records_make_the_pages_that_ask_be_read_again():
    results = extension("results")
    app = SimpleNamespace(rlap_results="one")
    env = SimpleNamespace(found_docs={"gain", "method"}, rlap_pages={"gain", "gone"})

    def read():
        return results.outdated(app, env, set(), set(), set())

    assert read() == ["gain"] and read() == []
    app.rlap_results = "two"
    assert read() == ["gain"]


def test_notebooks_are_run_while_other_pages_are_read(tmp_path, monkeypatch):
    """In an order of their own; each is waited for when its page is read, and runs
    once."""
    import nbformat
    from nbformat import v4

    ahead, slower = extension("run_ahead"), []
    monkeypatch.setattr(ahead.os, "nice", slower.append)  # not these tests
    codes = {"03_good": "1 + 1", "02_bad": "1 / 0", "01_last": "2 + 2"}
    for name, code in codes.items():
        cells = [v4.new_code_cell(code)]
        nbformat.write(v4.new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    folder = tmp_path / "cache"
    folder.mkdir()
    about = {"nb_execution_cache_path": str(folder), "nb_execution_timeout": 60}
    app = SimpleNamespace(config=SimpleNamespace(**about), parallel=1)
    env = SimpleNamespace(
        found_docs={*codes, "page"},
        doc2path=lambda name: (
            tmp_path / f"{name}.{'md' if name == 'page' else 'ipynb'}"
        ),
    )
    pages = ["01_last", "02_bad", "03_good", "page"]
    ahead.notebooks_last(app, env, pages)
    assert pages == ["page", "01_last", "03_good", "02_bad"]
    runs = ahead.Runs()
    assert runs.begin(app, env) == [] and set(runs.going) == set(codes)
    assert slower == [ahead.READING]
    found = {name: notebook for name, _, notebook in ahead.notebooks(env)}
    cache = ahead.get_cache(str(folder))
    runs.wait(app, "page")
    runs.wait(app, "03_good")
    _, whole = cache.merge_match_into_notebook(found["03_good"])
    assert whole.cells[0].outputs[0]["data"]["text/plain"] == "2"
    assert set(runs.going) == {"01_last", "02_bad"}
    runs.finish(app)
    assert ahead.is_cached(cache, found["01_last"])
    # what fails is left to MyST-NB, which reports it
    assert not ahead.is_cached(cache, found["02_bad"])
    again = ahead.Runs()
    again.begin(app, env)
    assert set(again.going) == {"02_bad"}
    again.finish(app)


def test_a_failed_cell_fails_the_build():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["sphinx"]["config"]["nb_execution_raise_on_error"] is True
    assert "allow_errors" not in config["execute"]


DRAWN = """<?xml version="1.0"?>
<svg xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg"
 width="439.2pt" viewBox="0 0 439.2 498.96">
 <metadata>who made it</metadata>
 <defs><path id="mark" d="M 0 -1.234567
L 0.0156254 2.000000
z"/></defs>
 <g id="axes_1"><g id="line_1">
  <use xlink:href="#mark" x="1.001001" style="fill: #7a7a7a; font-family: 'A', b"/>
  <use xlink:href="#mark" x="-0.001" style="fill: #7a7a7a; font-family: 'A', b"/>
  <use xlink:href="#mark" x="3" style="fill: #7a7a7a; font-family: 'A', b"/>
  <text transform="scale(0.015625 -3.14159)" style="fill: none">two words</text>
 </g></g>
</svg>"""


def test_a_drawing_is_made_lean_and_stays_the_same():
    lean = extension("lean_svg").lean
    made = lean(DRAWN, "fig-a")
    assert made == lean(DRAWN, "fig-a") == lean(made, "fig-a")
    kind = re.search(r"<style>\.(\w+)\{fill:#7a7a7a;font-family:'DejaVu", made)[1]
    assert kind not in lean(DRAWN, "fig-b"), "classes of another drawing"
    assert made.count(f'class="{kind}"') == 3 and 'style="fill:none"' in made
    assert '<path id="mark" d="M0 -1.23L0.0156 2z"' in made
    assert 'x="1"' in made and 'x="0"' in made
    assert 'transform="scale(0.0156 -3.14)"' in made and ">two words<" in made
    assert "metadata" not in made and "axes_1" not in made and "<g" not in made
    assert 'viewBox="0 0 439.2 498.96"' in made and 'width="439.2pt"' in made


def test_the_site_is_left_without_what_no_page_loads(tmp_path):
    lean = extension("lean_site")
    unused = ("a.js.map", "styles/b.css.map", "locales/de/x.mo", "fa-solid-900.ttf",
              "fa-brands-400.woff2", "scripts/fontawesome.js")  # fmt: skip
    for name in ("a.js", "fa-solid-900.woff2", *unused):
        path = tmp_path / "_static" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    icons = '<script defer src="../_static/scripts/fontawesome.js?digest=5"></script>'
    name = (
        '<span class="n"><span class="pre">name</span></span><span class="k">if</span>'
    )
    image = '<img src="_images/a.svg">'
    (tmp_path / "page.html").write_text(f"<head>{icons}</head>{name}{image}")
    (tmp_path / "_images").mkdir()
    (tmp_path / "_images" / "a.svg").write_text(DRAWN)
    (tmp_path / "_images" / "earlier.svg").write_text(DRAWN)
    builder = SimpleNamespace(format="html")
    lean.tidy(SimpleNamespace(outdir=tmp_path, builder=builder), None)
    left = {p.name for p in (tmp_path / "_static").rglob("*") if p.is_file()}
    assert left == {"a.js", "fa-solid-900.woff2"}
    assert [p.name for p in (tmp_path / "_images").iterdir()] == ["a.svg"]
    plain = f'<head></head>name<span class="k">if</span>{image}'
    assert (tmp_path / "page.html").read_text() == plain
    assert len((tmp_path / "_images" / "a.svg").read_text()) < len(DRAWN)
    lean.tidy(SimpleNamespace(outdir=tmp_path, builder=builder), None)
    assert (tmp_path / "page.html").read_text() == plain, "the same once more"
    script = SimpleNamespace(
        filename=None, attributes={"body": "const THEBE_JS_URL = 1"}
    )
    context = {"script_files": ["a.js", script, "sphinx-thebe.js"], "css_files": []}
    lean.without_thebe(None, "p", "t", context, None)
    assert context["script_files"] == ["a.js"]


def test_a_page_that_is_tidy_is_left_alone(tmp_path, monkeypatch):
    lean, done = extension("lean_site"), []
    monkeypatch.setattr(lean, "unbroken", lambda page: done.append(page) or page)
    site = tmp_path / "html"
    (site / "_images").mkdir(parents=True)
    (site / "_images" / "a.svg").write_text(DRAWN)
    (site / "page.html").write_text('<img src="_images/a.svg">')
    app = SimpleNamespace(outdir=site, builder=SimpleNamespace(format="html"))
    lean.tidy(app, None)
    lean.tidy(app, None)
    assert len(done) == 1 and (site / "_images" / "a.svg").exists()
    (site / "page.html").write_text("<p>written again</p>")
    lean.tidy(app, None)
    assert len(done) == 2 and not (site / "_images" / "a.svg").exists()
    monkeypatch.setattr(lean, "RULES", "others")
    lean.tidy(app, None)
    assert len(done) == 3


@pytest.mark.parametrize(
    ("page", "broken"),
    [
        ("<code>rlap.load</code>", "<code>rlap.load</code>"),  # not that long
        ("<code>rlap.activations_of</code>",
         "<code>rlap.<wbr>activations_<wbr>of</code>"),
        ('<dt id="a.b"><span>rlap.</span><b>load</b></dt>',
         '<dt id="a.b"><span>rlap.<wbr></span><b>load</b></dt>'),
        ("<h3>rlap.data.archives</h3>", "<h3>rlap.<wbr>data.<wbr>archives</h3>"),
        ("<code>grids/forgetting.yaml 0.5</code>",
         "<code>grids/<wbr>forgetting.<wbr>yaml 0.5</code>"),
        ('<td role="cell" data-label="run">small+finetune_epochs=3</td>',
         '<td role="cell" data-label="run">'
         'small+<wbr>finetune_<wbr>epochs=<wbr>3</td>'),
        ('<td role="cell" data-label="ours">a.b</td>',
         '<td role="cell" data-label="ours">a.b</td>'),
        ('<p title="a.b">a.b</p>', '<p title="a.b">a.b</p>'),
    ],
)  # fmt: skip
def test_long_names_break_after_points_and_underscores(page, broken):
    breakable = extension("lean_site").breakable
    assert breakable(page) == broken == breakable(broken)


@pytest.mark.parametrize(
    ("page", "whole"),
    [
        ("<p>F-FT, 5 %.</p>", '<p><span class="whole">F-FT</span>, 5\u00a0%.</p>'),
        ("at n = 5 (p &lt; 0.01, no. 1): [0.1, 0.2], [+1.0, \u22122] and [a, 1]",
         "at n\u00a0=\u00a05 (p\u00a0&lt;\u00a00.01, no.\u00a01): [0.1,\u00a00.2], "
         "[+1.0,\u00a0\u22122] and [a, 1]"),
        ('(<span class="math">\\(z\\)</span>), and <span class="math">\\(N\\)</span>',
         '(<span class="whole"><span class="math">\\(z\\)</span>),</span> and '
         '<span class="math">\\(N\\)</span>'),
        ("LRA-NPP, CIFAR-10",
         '<span class="whole">LRA-NPP</span>, <span class="whole">CIFAR-10</span>'),
        ("<code>rlap sweep a-b.yaml --threads 1</code>",
         '<code>rlap sweep a-b.yaml <span class="whole">--threads 1</span></code>'),
        ('<pre>F-FT 5 %</pre><p title="F-FT">\u2212a-b</p>',
         '<pre>F-FT 5 %</pre><p title="F-FT">\u2212a-b</p>'),
        ('<svg><text>F-FT</text></svg><span class="math">\\(5 %\\)</span>',
         '<svg><text>F-FT</text></svg><span class="math">\\(5 %\\)</span>'),
    ],
)  # fmt: skip
def test_names_options_and_per_cent_stay_on_one_line(page, whole):
    unbroken = extension("lean_site").unbroken
    assert unbroken(page) == whole == unbroken(whole)


# --- what a reader meets first ----------------------------------------------------


def words_of(text: str) -> int:
    """Words of a page that a reader sees: without options, roles and code."""
    text = re.sub(r"^:\w[\w-]*:.*$|^[:`]{3,}.*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\{\w+(?::\w+)?\}`[^`]*`", "word", text)
    return len(re.findall(r"[\w'’-]+", text))


def test_the_front_page_is_short_and_has_one_picture():
    text = (BOOK / "intro.md").read_text(encoding="utf-8")
    assert words_of(text) <= 350
    assert text.count("```{ledger-figure}") == 1
    assert text.count(":::{grid-item}\n**") == 3 and text.count("grid-item-card") == 3
    for said in ("6 GB", "170 MB", "make book", "make test", "{doc}`limits`"):
        assert said in text


@pytest.mark.parametrize("page", ["partition", "gain", "compute", "forgetting"])
def test_a_page_of_results_opens_with_an_answer_and_a_picture(page):
    text = (BOOK / f"{page}.md").read_text(encoding="utf-8")
    opening, _, rest = text.partition("```{ledger-figure}")
    assert rest and words_of(opening) < 90 and "{ledger}`" in opening
    assert "```{ledger-table}" not in opening


@pytest.mark.parametrize("name", sorted(prose()))
def test_a_sentence_asks_the_ledger_for_one_number(name):
    text = re.sub(r"^```\{.*?^```$", "", prose()[name], flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\{ledger\}`[^`]*`", "\0", " ".join(text.split()))
    for sentence in re.split(r"(?<=[.;?!])\s+", text):
        assert sentence.count("\0") < 2, sentence


def test_no_page_but_a_notebook_needs_a_kernel():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert "code-cell" not in text and "{glue" not in text, page
