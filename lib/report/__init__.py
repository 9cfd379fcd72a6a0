"""Your own predictions: `python -m lib.report PATH` makes a page and tables of them.

opening     files of any common format, as tables or arrays
harness     logs of evaluation harnesses, as tables
columns     which column is what (columns.toml: names that people give)
values      runs side by side, every value checked
reading     from a path to runs
measuring   every measure that they allow
comparing   two settings side by side: is the difference more than the seed?
gate        the same as a verdict, for one candidate or many
interpret   the same in plain words
page        the same as a page
formats     the same as markdown, LaTeX, JSON
command     python -m lib.report
seeds       how many runs it takes
"""

from lib.report.command import main  # noqa: F401 (the room's own names)
from lib.report.page import figures, write  # noqa: F401
