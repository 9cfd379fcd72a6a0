"""The student's copy and the site's: no solution is lost, none is left, nothing else changes."""

import ast
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from support.notebooks import READING, code_cells, read

from docs.site import build, exercises


def tagged(cell, *tags):
    cell.metadata.tags = list(tags)
    return cell


def invented():
    return new_notebook(
        cells=[
            new_code_cell("x = 2", outputs=[new_output("stream", text="2\n")], execution_count=1),
            new_markdown_cell("**Exercise 1 · basic.** Square x. Call it `y`.\n\n*Hint.* Twice."),
            tagged(new_code_cell("# Solution\ny = x"), "solution"),
            tagged(new_markdown_cell("**Solution.** First once."), "solution"),
            tagged(new_code_cell("# Solution\ny = y * x"), "solution"),
            tagged(new_code_cell('# Check\nassert y == 4, "multiply"'), "check"),
            tagged(new_markdown_cell("**Solution.** Four."), "solution"),
            new_markdown_cell("**Exercise 2 · core.** Why?"),
            tagged(new_markdown_cell("**Solution.** Because."), "solution"),
        ]
    )


def is_solution(cell):
    return "solution" in exercises.tags(cell)


def test_a_student_gets_questions_checks_and_one_blank_for_the_code_of_each():
    student = exercises.for_students(invented())
    nbformat.validate(student)
    sources = [cell.source.splitlines()[0] for cell in student.cells]
    assert sources == [
        "x = 2", "**Exercise 1 · basic.** Square x. Call it `y`.", "# Your answer", "# Check",
        "**Exercise 2 · core.** Why?",
    ]  # fmt: skip
    assert all(not c.outputs and c.execution_count is None for c in code_cells(student))
    assert [is_solution(cell) for cell in student.cells] == [False, False, True, False, False]


def test_answers_in_the_blanks_pass_the_checks_and_blanks_do_not():
    student = exercises.for_students(invented())
    with pytest.raises(NameError, match="'y' is not defined"):
        exec("\n".join(cell.source for cell in code_cells(student)), {})
    student.cells[2].source += "\ny = x**2"
    exec("\n".join(cell.source for cell in code_cells(student)), {})


def test_on_the_site_solutions_are_folded_and_nothing_else():
    site = exercises.for_site(invented()).cells
    nbformat.validate(new_notebook(cells=site))
    for cell, before in zip(site, invented().cells, strict=True):
        hidden = "hide-cell" in exercises.tags(cell)
        assert hidden == (is_solution(cell) and cell.cell_type == "code")
        assert hidden == (cell.metadata.get("mystnb", {}).get("code_prompt_show") is not None)
        assert is_solution(cell) or cell == before | {"id": cell.id}
    titles = re.findall(r"<summary><p .*>(.*)</p>", "\n".join(cell.source for cell in site))
    assert titles == [exercises.IN_WORDS, exercises.IN_WORDS, exercises.SHOW]
    assert site[3].source.endswith("</summary>\n\nFirst once.\n\n</details></div>")


def test_in_the_copy_of_a_student_runs_are_planned_as_start_says(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "BUILD", tmp_path)
    build.student()
    copy = tmp_path / "student"
    assert "make run PY=.venv/bin/python" in (copy / "START.md").read_text()
    assert (copy / "docs/glossary.md").exists()
    assert not (copy / "docs/teaching.md").exists(), "it has the answers"
    command = ["make", "-n", "run", f"PY={sys.executable}"]
    planned = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert re.search(r"^finetune +5$", planned.stdout + planned.stderr, re.M), planned


@pytest.mark.parametrize("path", READING, ids=lambda path: path.stem)
def test_the_copy_of_a_notebook_is_the_notebook_up_to_its_blanks(path):
    """So it runs up to there as the notebook does, which is re-executed in the tests."""
    notebook, student = read(path), exercises.for_students(read(path))
    nbformat.validate(student)
    kept = [cell.source for cell in notebook.cells if not is_solution(cell)]
    assert [cell.source for cell in student.cells if cell.source != exercises.BLANK] == kept
    for cell in filter(is_solution, notebook.cells):
        assert all(cell.source not in other.source for other in student.cells)


@pytest.mark.parametrize("path", READING, ids=lambda path: path.stem)
def test_a_check_asks_for_what_only_the_solution_names(path):
    """Else it would pass over a blank."""

    def names(cell, context):
        nodes = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Name)]
        return {node.id for node in nodes if isinstance(node.ctx, context)}

    given, asked = set(), set()
    for cell in code_cells(read(path)):
        if "check" in exercises.tags(cell):
            assert names(cell, ast.Load) & (asked - given), cell.source
        else:
            (asked if is_solution(cell) else given).update(names(cell, ast.Store))
