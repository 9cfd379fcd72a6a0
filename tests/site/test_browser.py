"""The pages as a browser shows them: nothing from outside, no error, and they work.

    make test ARGS="-m site -n 0"

Needs Chromium (Debian's package chromium); builds the pages first, which takes about a minute.
"""

import re

import pytest
from support.browser import Browser

from docs.site import build, staging
from lib import paths

pytestmark = pytest.mark.site
OUTSIDE = re.compile(r"(?!file:|data:|blob:|about:)")


@pytest.fixture(scope="module")
def pages():
    build.site()
    return paths.OUTPUT / "build/site/html"


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


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


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ("kappa", "findings"), ("layerwise", "findings"), ("churn", "glossary.html#term-churn"),
        ("LoRA", "glossary.html#term-LoRA"), ("variance", "findings"), ("random seed", "findings"),
    ],
)  # fmt: skip
def test_search_leads_to_findings_and_words_first_and_to_jobs_and_functions_last(
    pages, browser, query, page
):
    browser.open(f"{(pages / 'search.html').as_uri()}?q={query}")
    hits = "[...document.querySelectorAll('#search-results li a')].map(a => a.href)"
    browser.until("/found/.test(document.querySelector('#search-results p')?.innerText)")
    browser.until(f"{hits}.length > 2")
    found = [re.sub(r"\?[^#]*", "", hit) for hit in browser.evaluate(hits)]
    assert page in found[0]
    last = [not re.search(r"/html/(docs|notebooks/\d|gallery|README|index)", hit) for hit in found]
    assert len(found) > 2 and last == sorted(last)


def test_what_is_wider_than_a_phone_scrolls_and_says_so(pages, browser):
    for page in (page_with(pages, "figcaption"), (pages / "docs/methods.html").as_uri()):
        browser.open(page, width=400)
        frame = "document.querySelector('article .wide:not(pre)')"
        assert browser.evaluate(f"{frame}.matches('.more[tabindex=\"0\"]')")
        assert "Swipe" in browser.evaluate(f"getComputedStyle({frame}, '::before').content")
        browser.evaluate(f"{frame}.scrollLeft = 9999")
        browser.until(f"!{frame}.matches('.more')")
        browser.open(page, width=1200)
        assert not browser.evaluate("document.querySelector('article figure .wide')")


def test_a_claim_has_an_address_and_its_verdict_a_shape(pages, browser):
    page = (pages / "docs/findings.html").as_uri()
    browser.open(f"{page}#seed-moves-accuracy")
    assert browser.evaluate("document.querySelector('li .claim:target').innerText")
    shapes = "new Set([...document.querySelectorAll('.verdict')].map(v => v.className + "
    shapes += "getComputedStyle(v, '::before').content.replace('undecided', '')))"
    found = browser.evaluate(f"[...{shapes}]")
    assert len(found) > 2 and len({text.split('"')[1] for text in found}) == len(found)


def test_a_solution_opens(pages, browser):
    browser.open(page_with(pages, "Show the solution"))
    summary = "[...document.querySelectorAll('summary')].find(s => /solution/.test(s.innerText))"
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
