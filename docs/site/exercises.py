"""Exercises are written once, with their solutions; here are a student's copy and the site's.

Cells tagged ``solution`` answer the exercise before them. Cells tagged ``check`` test an answer and
are kept everywhere.
"""

from nbformat import NotebookNode, v4

BLANK = "# Your answer"
SHOW, IN_WORDS = "Solution", "Solution in words"
#: What MyST-NB makes of a cell that is hidden.
FOLD = """<div class="cell container"><details class="admonition hide above-input">
<summary><p class="admonition-title">{}</p></summary>

{}

</details></div>"""


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def for_students(notebook: NotebookNode) -> NotebookNode:
    """The notebook without outputs and solutions: one blank for the code of each answer.

    A blank keeps the tag, so ``make run`` leaves out the answer as it does a solution.
    """
    cells: list[NotebookNode] = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
        if "solution" not in tags(cell):
            cells.append(cell)
        elif cell.cell_type == "code" and cells[-1].source != BLANK:
            cells.append(v4.new_code_cell(BLANK, id=cell.id, metadata={"tags": ["solution"]}))
    notebook.cells = cells
    return notebook


def name_fold(cell: NotebookNode, title: str) -> None:
    """What to click at to see a hidden cell."""
    prompts = {"code_prompt_show": title, "code_prompt_hide": title}
    cell.metadata.setdefault("mystnb", {}).update(prompts)


def for_site(notebook: NotebookNode) -> NotebookNode:
    """The notebook with solutions folded: code as a hidden cell, prose as what looks like one."""
    folded = False
    for cell in notebook.cells:
        if "solution" not in tags(cell):
            folded &= cell.cell_type == "code"  # prose begins another exercise
        elif cell.cell_type == "code":
            folded = True
            cell.metadata.tags = [*tags(cell), "hide-cell"]
            name_fold(cell, SHOW)
        elif cell.source:  # not a caption, which went to its figure
            title = IN_WORDS if folded else SHOW
            text = cell.source.removeprefix("**Solution.**").strip()
            cell.source = FOLD.format(title, text)
    return notebook
