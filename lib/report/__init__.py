"""Your own predictions: `python -m lib.report PATH` makes a page and tables of them.

files       opening files that others wrote
values      runs side by side, every value checked
reading     from files to runs
measuring   every measure that they allow
interpret   the same in plain words
page        the same as a page
"""

from lib.report.page import figures, main, write  # noqa: F401 (the room's own names)
