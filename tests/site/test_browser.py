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


def test_search_finds_kappa(pages, browser):
    browser.open(f"{(pages / 'search.html').as_uri()}?q=kappa")
    hits = "[...document.querySelectorAll('#search-results li a')]"
    assert browser.until(f"{hits}.some(a => a.href.includes('glossary.html'))")


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


def test_no_slide_is_higher_than_the_screen(browser):
    build.decks()
    for deck in sorted((paths.OUTPUT / "build/slides").glob("*.html")):
        browser.open(deck.as_uri(), width=1100, height=700)
        browser.until("window.Reveal && Reveal.isReady()")
        slides = "[...document.querySelectorAll('section:not(:has(section))')]"
        assert browser.evaluate(f"{slides}.length") > 1
        high = f"{slides}.map(s => [s.scrollHeight, s.innerText]).filter(s => s[0] > 700)"
        assert browser.evaluate(high) == [], deck.name
