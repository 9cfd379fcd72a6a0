"""``python -m lib.report PATH`` reports on runs made anywhere."""

from lib.report.command import main

main()
