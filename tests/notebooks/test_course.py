"""The course: the form of its notebooks, exercises and tables, and how its prose and code read."""

import itertools
import re
import statistics

import pytest
from support.notebooks import READING, code_cells, prose, read

COURSE = [path for path in READING if path.name < "60"]
#: Cells that a reader of the site finds folded, and what students fill in or leave alone.
ASIDE = {"technical", "parameters", "check", "solution"}
#: How cells of a solution begin: code, words, or the caption of what the code draws.
ANSWERS = ("# Solution\n", "**Solution.** ", "*Figure.* ")
CALQUES = (
    "both belong into", "against all this", "waits for it", "that are known otherwise",
    "what came about", "whoever wants", "says next to nothing", "Beside it the same",
)  # fmt: skip

course = pytest.mark.parametrize("path", COURSE, ids=lambda path: path.stem)
reading = pytest.mark.parametrize("path", READING, ids=lambda path: path.stem)


def tags(cell):
    return set(cell.metadata.get("tags", []))


def lines(cell):
    return len(re.findall(r"^ *[^# \n]", cell.source, re.M))


def own_words(notebook):
    """The prose without what claims say and without code."""
    text = re.sub(r"<!-- claims.*?<!-- /claims -->", "", prose(notebook), flags=re.S)
    return re.sub(r"```.*?```", "", text, flags=re.S)


def per_thousand(pattern, text):
    words = len(re.findall(r"[\w'’-]+", text))
    return 1000 * len(re.findall(pattern, text, re.I | re.M)) / words


@course
def test_code_is_read_in_small_steps(path):
    cells = code_cells(read(path))
    assert statistics.median(map(lines, cells)) <= 3
    assert max(map(lines, cells)) <= 15


@course
def test_prose_introduces_code(path):
    """What is technical may stand between the sentence and its cell."""
    cells = [cell for cell in read(path).cells if "technical" not in tags(cell)]
    told = [
        before.cell_type == "markdown"
        for before, cell in itertools.pairwise(cells)
        if cell.cell_type == "code" and not tags(cell) & ASIDE
    ]
    assert statistics.mean(told) >= 0.8


@course
def test_prose_speaks_to_the_reader(path):
    text = own_words(read(path))
    assert per_thousand(r"[;:](?=\s|$)", text) <= 15
    assert per_thousand(r"\b(you|your|yours|yourself|we|our|ours|us|let's)\b", text) >= 15


@reading
def test_no_stiff_phrase(path):
    text = prose(read(path))
    assert [phrase for phrase in CALQUES if phrase.lower() in text.lower()] == []


def width(html):
    """Characters of a table's longest line, and its number of rows."""
    rows = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.S) for row in html.split("<tr")[1:]]
    widest = max(map(len, rows))
    padded = [[""] * (widest - len(row)) + row for row in rows]
    body = html.partition("<tbody>")[2].count("<tr")
    return sum(max(map(len, column)) + 2 for column in zip(*padded, strict=True)) - 2, body


@course
def test_no_table_wraps_or_drowns_the_reader(path):
    for cell in code_cells(read(path)):
        for output in cell.outputs:
            html = output.get("data", {}).get("text/html", "")
            if "<table" in html:
                characters, rows = width(html)
                assert characters <= 100 and rows <= 12, (cell.source, characters, rows)


@course
def test_exercises_have_a_level_a_solution_and_a_check_that_stays(path):
    cells = read(path).cells
    found = []
    for number, cell in enumerate(cells):
        if head := re.match(r"\*\*Exercise (\d+) · (basic|core|stretch)\.\*\* \S", cell.source):
            found.append((int(head[1]), head[2]))
            assert "solution" in tags(cells[number + 1]), cell.source
        if "solution" in tags(cell):
            assert cell.source.startswith(ANSWERS), cell.source
        assert ("check" in tags(cell)) == cell.source.startswith("# Check\n"), cell.source
        if "check" in tags(cell):
            before = next(c for c in cells[number - 1 :: -1] if c.cell_type == "code")
            assert "solution" in tags(before), "a check follows the solution that it checks"
            told = set(re.findall(r"`(\w+)`", prose_before(cells, number)))
            assert told & set(re.findall(r"\w+", cell.source)), "the text names what is checked"
    assert [n for n, _ in found] == list(range(1, len(found) + 1))
    if path.name >= "10":
        assert {level for _, level in found} == {"basic", "core", "stretch"}


def prose_before(cells, number):
    """The text of the exercise that a check belongs to."""
    return next(cell.source for cell in cells[number::-1] if cell.source.startswith("**Exercise"))


def test_the_course_has_enough_exercises():
    texts = [prose(read(path)) for path in COURSE]
    counts = [len(re.findall(r"^\*\*Exercise \d+ · ", text, re.M)) for text in texts]
    assert sum(counts) >= 45
