"""The pages as a browser shows them: nothing from outside, no error, and they work.

    make test ARGS="-m site -n 0"

Needs Chromium (Debian's package chromium); builds the pages first, which takes about a minute.
"""

import functools
import http.server
import re
import threading

import pytest
from support.browser import Browser

from docs.site import build, staging
from lib import paths

pytestmark = pytest.mark.site
OUTSIDE = re.compile(r"(?!file:|data:|blob:|about:|http://127\.0\.0\.1:)")


@pytest.fixture(scope="module")
def pages():
    build.site()
    return paths.OUTPUT / "build/site/html"


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(pages):
    """Of the pages on a server, which excerpts need."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=pages)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def nothing_from_outside_and_no_error(browser):
    yield
    assert [request for request in browser.requests if OUTSIDE.match(request)] == []
    assert browser.errors == []


def page_with(pages, text):
    """The first page of the reading path that holds some HTML."""
    names = [pages / f"notebooks/{path.stem}.html" for path in staging.notebooks()]
    return next(page for page in names if text in page.read_text()).as_uri()


def test_every_page_fits_a_phone_and_describes_its_pictures(pages, browser):
    every = sorted(page for page in pages.rglob("*.html") if page.parent.name != "_static")
    assert len(every) > 50
    for page in every:
        browser.open(page.as_uri(), width=400)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 400, page.name
        missing = "[...document.images].filter(i => !i.alt || !i.naturalWidth).map(i => i.src)"
        assert browser.evaluate(missing) == [], page.name


def test_no_formula_is_shown_as_it_is_written(pages, browser):
    for page in [*pages.glob("notebooks/7*.html"), *pages.glob("docs/*.html")]:
        browser.open(page.as_uri())
        read = "(() => {const a = document.querySelector('article').cloneNode(true);"
        read += "a.querySelectorAll('pre, code, mjx-container, script').forEach(e => e.remove());"
        text = browser.evaluate(read + "return a.textContent})()")
        assert re.findall(r".{20}(?:\$\$|\\[a-zA-Z]+).{20}", text) == [], page.name


HITS = "[...document.querySelectorAll('#search-results li a')].map(a => a.href)"


def search(browser, place, query):
    """Addresses of the hits below those of the pages, once all are there."""
    browser.open(f"{place}/search.html?q={query}")
    browser.until("/found/.test(document.querySelector('#search-results p')?.innerText)")
    return [hit.removeprefix(f"{place}/") for hit in browser.evaluate(HITS)]


@pytest.mark.parametrize(
    ("query", "first", "page"),
    [
        ("kappa", 1, "findings"), ("layerwise", 1, "findings"), ("variance", 1, "findings"),
        ("churn", 1, "glossary.html#term-churn"), ("LoRA", 1, "glossary.html#term-LoRA"),
        ("random seed", 1, "findings"), ("how many seeds", 3, "own-runs"),
        ("how many seeds", 3, "notebooks/30"), ("CSV", 3, "own-runs"),
        ("bootstrap artefact", 3, "notebooks/64"), ("self-pairs", 3, "notebooks/64"),
        ("Fu So Collier", 1, "findings"),
    ],
)  # fmt: skip
def test_search_leads_to_findings_and_words_first_and_to_jobs_and_functions_last(
    pages, browser, query, first, page
):
    found = search(browser, pages.as_uri(), query)
    assert any(page in hit for hit in found[:first]), found[:first]
    last = [not re.match(r"docs|notebooks/\d|gallery|README|index", hit) for hit in found]
    assert 2 < len(found) <= 20 and last == sorted(last)


def test_hits_show_what_the_article_says_and_twenty_of_them(address, browser):
    assert len(search(browser, address, "seed")) == 20
    excerpts = "[...document.querySelectorAll('#search-results li p')].map(p => p.innerText)"
    browser.until(f"{excerpts}.length > 10")
    assert not [t for t in browser.evaluate(excerpts) if re.search("Settings|Contents|Skip", t)]
    browser.evaluate(
        "[...document.querySelectorAll('a')].find(a => /^All/.test(a.innerText)).click()"
    )
    browser.until(f"{HITS}.length > 20")


def test_a_figure_is_enlarged_and_there_is_a_way_back(pages, browser):
    notebooks = [pages / f"notebooks/{path.stem}.html" for path in staging.notebooks()]
    for page in (pages / "gallery.html", *notebooks):
        browser.open(page.as_uri(), width=400)
        figures = browser.evaluate(
            "document.querySelectorAll('article :is(figure, .gallery) img').length"
        )
        links = "[...document.querySelectorAll('article :is(figure, .gallery) .frame a')]"
        assert browser.evaluate(f"{links}.filter(a => /(svg|png)$/.test(a.href)).length") == figures
        shown = (
            "[...document.querySelectorAll('figcaption a')].filter(a => /^Enl/.test(a.textContent))"
        )
        assert browser.evaluate(f"{shown}.length") == browser.evaluate(
            "document.querySelectorAll('article figure img').length"
        )
    for image in ("document.querySelector('article figure img')", f"{shown}.at(-1)"):
        browser.open(page_with(pages, "figcaption"), width=400)
        before = browser.evaluate("document.querySelector('article figure img').width")
        browser.tap(image)
        browser.until("document.querySelector('.enlarged[open] img')?.complete")
        assert browser.evaluate("document.querySelector('.enlarged img').width") >= 2 * before
        assert browser.evaluate("document.querySelector('.enlarged img').alt")
        browser.tap("document.querySelector('.enlarged button')")
        browser.until("!document.querySelector('.enlarged[open]')")


def test_on_a_phone_numbers_stand_beside_the_names_of_rows(pages, browser):
    for page in pages.glob("notebooks/*.html"):
        browser.open(page.as_uri(), width=400)
        wide = "[...document.querySelectorAll('.dataframe')].map(t => [...t.querySelectorAll("
        wide += "'tbody tr:first-child th')].map(h => h.offsetWidth).reduce((a, b) => a + b, 0))"
        assert max(browser.evaluate(wide), default=0) < 340, page.name


def test_what_is_wider_than_a_phone_scrolls_and_says_so(pages, browser):
    for page in (page_with(pages, "figcaption"), (pages / "docs/proofs.html").as_uri()):
        browser.open(page, width=400)
        frame = "document.querySelector('article .cue + :not(.math)')"
        browser.until(f"{frame}?.matches('.more[tabindex=\"0\"]')")
        cue = f"{frame}.previousElementSibling"
        assert "right" in browser.evaluate(f"{cue}.innerText")
        browser.evaluate(f"{frame}.scrollLeft = 9999")
        browser.until(f"!{frame}.matches('.more')")
        assert not browser.evaluate(f"{cue}.checkVisibility({{visibilityProperty: true}})")
        browser.open(page, width=1200)
        assert not browser.evaluate("document.querySelector('article figure .cue:not([hidden])')")


def test_a_claim_has_an_address_and_its_verdict_a_shape(pages, browser):
    page = (pages / "docs/findings.html").as_uri()
    browser.open(f"{page}#seed-moves-accuracy")
    assert browser.evaluate("document.querySelector('li .claim:target').innerText")
    shapes = "new Set([...document.querySelectorAll('.verdict')].map(v => v.className + "
    shapes += "getComputedStyle(v, '::before').content.replace('undecided', '')))"
    found = browser.evaluate(f"[...{shapes}]")
    assert len(found) > 2 and len({text.split('"')[1] for text in found}) == len(found)


def test_a_solution_opens(pages, browser):
    browser.open(page_with(pages, ">Solution<"))
    summary = "[...document.querySelectorAll('summary')].find(s => /^Solution/.test(s.innerText))"
    seen = f"{summary}.parentElement.querySelector('.cell_input, pre, p:not(summary *)')"
    assert browser.evaluate(f"{seen}.checkVisibility()") is False
    browser.evaluate(f"{summary}.click()")
    assert browser.until(f"{seen}.checkVisibility()")


@pytest.mark.parametrize("event", ["mouseenter", "focus"])
def test_a_tip_shows_what_the_glossary_says(pages, browser, event):
    browser.open(page_with(pages, "std-term"))
    term = "document.querySelector('a:has(.std-term)')"
    browser.until(f"!!{term}._tippy")
    browser.evaluate(f"{term}.dispatchEvent(new Event('{event}'))")
    tip = browser.until("(document.querySelector('.tippy-content') || {}).innerText")
    name = browser.evaluate(f"{term}.hash").removeprefix("#term-").replace("-", " ").lower()
    assert name in tip.lower() and len(tip.split()) > 5


def test_a_tap_shows_a_tip_and_its_link_leads_to_the_entry(pages, browser):
    page = page_with(pages, "std-term")
    term = "document.querySelector('a:has(.std-term)')"
    for second in (term, "document.querySelector('.tippy-content .entry a')"):
        browser.open(page, width=400)
        browser.until(f"!!{term}._tippy")
        browser.tap(term)
        browser.until("document.querySelector('.tippy-content .entry a')?.checkVisibility()")
        assert browser.evaluate("location.href") == page
        browser.tap(second)
        browser.until("/glossary.html#term-/.test(location.href)")


def test_formulas_are_set(pages, browser):
    browser.open(page_with(pages, 'class="math'))
    assert browser.evaluate("document.querySelectorAll('mjx-container svg').length")


OVERFLOWS = """(() => {
  const area = document.querySelector('.slides').getBoundingClientRect(), found = [];
  for (const slide of Reveal.getSlides()) {
    const place = Reveal.getIndices(slide);
    Reveal.slide(place.h, place.v, 99);
    for (const part of slide.querySelectorAll(':not(aside, aside *, mjx-assistive-mml, svg *)')) {
      const box = part.getBoundingClientRect();
      const out = box.bottom > area.bottom + 1 || box.right > area.right + 1;
      if (out || part.matches('img') && box.height < 400) {
        found.push(slide.innerText.slice(0, 80));
        break;
      }
    }
  }
  return found;
})()"""


def test_slides_hold_what_is_on_them_with_figures_large_and_with_notes(browser):
    build.decks()
    for deck in sorted((paths.OUTPUT / "build/slides").glob("*.html")):
        browser.open(deck.as_uri(), width=1280, height=720)
        browser.until("window.Reveal && Reveal.isReady()")
        browser.evaluate("Promise.all([...document.images].map(image => image.decode()))")
        assert browser.evaluate("document.querySelectorAll('section > aside.notes').length")
        assert browser.evaluate("Reveal.getSlides().length") > 4
        assert browser.evaluate(OVERFLOWS) == [], deck.name
