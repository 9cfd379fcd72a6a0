"""All tasks by name, and those from tables of your own; official splits where they exist."""

from pathlib import Path
from typing import Any

from lib.data import hub_tasks, own_file, package_tasks
from lib.data.rows import Task
from lib.errors import nearest
from lib.paths import DATA

#: The sentences that were written for the course; their file can be read and changed.
SENTENCES = DATA / "course/sentences.csv"
#: Slots of invented boats, and sentences that put them into words.
BOATS = DATA / "course/boats.csv"
TASKS = {
    "course": Task(lambda: own_file.read(SENTENCES, ["text"], "label")[0], classes=("no", "yes")),
    "boats": Task(lambda: package_tasks.read_course_texts(BOATS), 0, "rouge_l", has_slots=True),
    **package_tasks.PACKAGES,
    **package_tasks.SENTENCES,
    **package_tasks.BIGBENCH,
    **package_tasks.TEXTS,
    **{name: hub_tasks.task(name) for name in hub_tasks.SOURCES},
}


def is_own_file(name: str) -> bool:
    """Whether a task name is the path of a user's own table."""
    return name.lower().endswith(own_file.SUFFIXES)


def table_of(name: str) -> Path | None:
    """The table of a task whose rows may change, the user's own or the course's; else None."""
    return Path(name) if is_own_file(name) else {"course": SENTENCES, "boats": BOATS}.get(name)


def generates(name: str) -> bool:
    """Whether the answers of a task are texts, by its name alone; those of your own are not."""
    return name in TASKS and TASKS[name].generates


def beside(folder: Path, name: Any) -> Any:
    """A user's own table by its full path if it lies in a folder; any other name as it is."""
    own = isinstance(name, str) and is_own_file(name) and (folder / name).is_file()
    return str((folder / name).resolve()) if own else name


def check_name(name: str) -> None:
    """Raise ``ValueError`` with the nearest valid names unless the task exists."""
    if is_own_file(name):
        if not Path(name).is_file():
            raise ValueError(
                f"task = {name!r}: there is no such file, neither beside the configuration that "
                f"names it nor in the working directory {Path.cwd()}"
            )
    elif name not in TASKS:
        own = f"a table of your own ends in {', '.join(own_file.SUFFIXES)}"
        hint = own if Path(name).suffix else f"{nearest(name, TASKS)}; {own}"
        raise ValueError(f"task = {name!r} is unknown: {hint}")


def get(name: str, text_columns: list[str] | None = None, label_column: str = "label") -> Task:
    """The registered task, or one made from a table of the user's own."""
    check_name(name)
    if not is_own_file(name):
        return TASKS[name]
    splits, classes = own_file.read(Path(name), text_columns or ["text"], label_column)
    metric = "accuracy" if classes else "pearson"
    return Task(lambda: splits, len(classes) or 1, metric, classes)
