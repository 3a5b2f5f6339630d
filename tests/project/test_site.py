"""The built site in a real browser, from disk and with the network cut.

Needs a built book (``make book``; ``RLAP_SITE`` names another folder), Playwright and
Chromium; skipped with a word where one is missing. Accessibility is checked by axe
where ``axe-playwright-python`` is there.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("RLAP_SITE", ROOT / "_build" / "html"))
OTHER = ("search", "index.html")  # made by Sphinx
PAGES = sorted(
    p.relative_to(SITE).as_posix()
    for p in SITE.rglob("*.html")
    if not p.name.startswith(OTHER) and "_modules" not in p.parts
    and "_static" not in p.parts
)  # fmt: skip
GRAVE = ("serious", "critical")

pytestmark = pytest.mark.skipif(not PAGES, reason=f"no book in {SITE}: make book")


@pytest.fixture(scope="module")
def browser():
    """Chromium, which can reach nothing but files."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with playwright.sync_playwright() as started:
        try:
            opened = started.chromium.launch(
                executable_path=chromium, args=["--no-sandbox"]
            )
        except playwright.Error as error:
            pytest.skip(f"no Chromium: {str(error).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """Open a page at a width, in light or dark; what it asks for and complains of."""
    contexts = []

    def open_page(name: str, width: int = 1280, scheme: str = "light"):
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, offline=True, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.told, page.asked = [], []
        page.on("console", lambda m: page.told.append(m.text) if m.type == "error"
                else None)  # fmt: skip
        page.on("pageerror", lambda error: page.told.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        name, _, fragment = name.partition("#")
        address = (SITE / name).as_uri() + (f"#{fragment}" if fragment else "")
        page.goto(address, wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_from_disk_without_an_error(visit, name):
    page = visit(name)
    assert page.told == []
    others = [url for url in page.asked if not url.startswith(("file:", "data:"))]
    assert others == [], "the network is asked for something"
    levels = page.evaluate(
        "[...document.querySelectorAll('article :is(h1,h2,h3,h4,h5,h6)')]"
        ".map(h => Number(h.tagName[1]))"
    )
    assert levels and levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(levels, levels[1:], strict=False)), levels


# of the headings, deepest last: size in pixels, and how bold
HEADINGS = """["h1", "h2", "h3", "h4", "h5"].map(
  tag => document.querySelector(`article ${tag}`)).filter(e => e).map(e => {
    const style = getComputedStyle(e);
    return [parseFloat(style.fontSize), Number(style.fontWeight)]; })"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["api.html", "ledger.html", "method.html"])
def test_no_heading_is_heavier_than_the_one_above_it(visit, name, width):
    found = visit(name, width=width).evaluate(HEADINGS)
    sizes, weights = zip(*found, strict=True)
    assert len(found) > 2 and sorted(set(sizes), reverse=True) == list(sizes)
    assert sorted(weights, reverse=True) == list(weights)


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_shows_a_page_without_sideways_scrolling(visit, name):
    page = visit(name, width=390)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390, f"{wide} pixels wide"


# what scrolls sideways although every fold is open; formulas have a test of their own
CUT = """() => {
  document.querySelectorAll("article details").forEach(d => { d.open = true; });
  return [...document.querySelectorAll("article :is(pre, table, div)")].filter(e =>
    ["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX) &&
    !e.matches(".math, .math *, .drawing") && e.clientWidth > 2 &&
    e.scrollWidth > e.clientWidth + 1).map(e => e.innerText.slice(0, 80));
}"""
# rows without a name, on a phone a card without a title; and headings without a word
NAMELESS = """[...document.querySelectorAll(
  "article :is(.cards, .ledger-box) tbody tr > :first-child, article thead th")].filter(
  e => !e.textContent.trim()).map(e => e.closest("tr").textContent.slice(0, 80))"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_no_listing_and_no_table_is_cut(visit, name, width):
    assert visit(name, width=width).evaluate(CUT) == []


@pytest.mark.parametrize("name", PAGES)
def test_every_row_and_every_column_has_a_name(visit, name):
    assert visit(name, width=390).evaluate(NAMELESS) == []


def test_a_link_to_the_source_stays_in_its_own_line(visit):
    page = visit("api.html", width=390)
    below = page.evaluate(
        "[...document.querySelectorAll('dt.sig')].filter(dt => {"
        "const a = dt.querySelector('.viewcode-link');"
        "return a && a.getBoundingClientRect().bottom > "
        "dt.getBoundingClientRect().bottom + 1}).map(dt => dt.id)"
    )
    assert below == []


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_the_three_doors_are_on_the_first_screen(visit, width, height):
    page = visit("intro.html", width=width)
    boxes = [door.bounding_box() for door in page.locator(".doors .sd-card").all()]
    assert len(boxes) == 3
    assert all(box["y"] + box["height"] <= height for box in boxes), boxes


def test_a_printed_citation_stands_in_the_list(visit):
    listed = visit("references.html").locator(".citation > .label").all_inner_texts()
    labels = {label.strip("[]") for label in listed}
    cited = set()
    for name in PAGES:
        links = visit(name).locator("article a[href*='references.html#']")
        cited |= {text for text in links.all_inner_texts() if ", " in text}
    assert len(cited) > 10 and cited <= labels and len(labels) == len(listed)


@pytest.mark.parametrize("name", PAGES)
def test_internal_links_lead_somewhere(visit, name):
    page = visit(name)
    links = page.evaluate("[...document.links].map(a => a.getAttribute('href'))")
    for link in filter(None, links):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or not parts.path:
            continue
        target = (SITE / name).parent / unquote(parts.path)
        assert target.exists(), link


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(visit, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe")
    page = visit(name, scheme=scheme)
    page.evaluate(f"document.documentElement.dataset.theme = '{scheme}'")
    # what the theme brings is its own; ours is what stands in the article
    found = axe.Axe().run(page, context="article").response["violations"]
    # the list of citations is made by an extension
    found = [v for v in found if "citation-list" not in v["nodes"][0]["html"]]
    told = [f"{v['id']}: {v['nodes'][0]['html'][:120]}" for v in found
            if v["impact"] in GRAVE]  # fmt: skip
    assert told == []


def rows(page) -> list[str]:
    """The rows of the ledger that are shown, as text."""
    return page.locator("#rlap-ledger tbody tr").all_inner_texts()


def test_the_ledgers_filters_do_what_they_say(visit):
    page = visit("ledger.html")
    page.select_option("#rlap-ledger select >> nth=5", "contradicted")
    shown = rows(page)
    assert shown and all("contradicted" in row for row in shown)
    assert "verdict=contradicted" in page.url
    page.fill("#rlap-ledger input[type=search]", "L-FT 50,000")
    # reasons are searched, too, folded as they are
    shown = page.locator("#rlap-ledger tbody tr").all_text_contents()
    assert shown and all("L-FT" in row and "50,000" in row for row in shown)
    page.click("#rlap-ledger button:text('clear')")
    told = page.inner_text(".ledger-count").split(" rows")[0].replace(",", "")
    assert int(told) == page.evaluate("rlapLedger.rows.length") > len(rows(page))


def test_the_ledger_can_be_sorted_and_paged_by_keyboard(visit):
    page = visit("ledger.html#metric=accuracy")
    first = rows(page)
    page.focus(".ledger-sort >> nth=1")
    page.keyboard.press("Enter")
    head = page.locator("#rlap-ledger th[scope=col] >> nth=1")
    assert head.get_attribute("aria-sort") == "ascending"
    cells = page.locator("#rlap-ledger tbody td[data-label=paper]").all_inner_texts()
    printed = [float(text) for text in cells]
    assert printed == sorted(printed)
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    page.click(".ledger-pager button:text('next')")
    assert "page 2" in page.inner_text(".ledger-pager") and rows(page) != first


def test_a_formula_fits_a_phone(visit):
    for name in ("method.html", "notebooks/01_cifar10.html"):
        page = visit(name, width=390)
        page.wait_for_function("document.querySelectorAll('mjx-container svg').length")
        wide = page.evaluate(
            "[...document.querySelectorAll('div.math mjx-container')].filter("
            "m => m.scrollWidth > m.clientWidth + 2).map(m => m.textContent)"
        )
        assert wide == []


def test_a_row_has_an_address_of_its_own(visit):
    page = visit("ledger.html#table=Table+1&verdict=contradicted")
    page.locator("#rlap-ledger summary").first.click()
    page.locator("#rlap-ledger details a").first.click()
    assert len(rows(page)) == 1 and "row=" in page.url
    again = visit("ledger.html#" + page.url.partition("#")[2])
    assert rows(again) == rows(page)


@pytest.mark.parametrize("name", ["partition.html", "gain.html", "forgetting.html"])
def test_a_picture_to_play_with_changes_with_the_choice(visit, name):
    page = visit(name, width=390)
    field = page.locator(".explorer select").first
    before = page.locator(".explorer tbody").first.inner_text()
    field.focus()
    page.keyboard.press("End")  # the last state, by keyboard
    after = page.locator(".explorer tbody").first.inner_text()
    assert after and before != after


def test_an_auroc_to_play_with_is_shown_from_0_to_1(visit):
    shown = visit("partition.html").locator(".explorer tbody tr").all_inner_texts()
    assert re.search(r"AUROC.*\s[01]\.\d\d$", shown[0], re.DOTALL)
    assert all(re.search(r"\s\d+\.\d$", text) for text in shown[1:])


def test_claims_can_be_searched(visit):
    page = visit("ledger.html")
    page.locator("summary:text('wherever it was run')").click()
    field = page.locator(".ledger-table .ledger-filters input").first
    field.fill("speech")
    assert (
        "lines" in page.locator(".ledger-table .ledger-filters span").first.inner_text()
    )
    box = page.locator(".ledger-box.claims").first
    visible = box.locator("tbody tr:visible")
    assert 0 < visible.count() < box.locator("tbody tr").count()
