"""Dependencies: the section ``core`` of requirements.txt; the other sections are extras."""

import re
from pathlib import Path

from setuptools import setup

sections: dict[str, list[str]] = {}
for line in Path("requirements.txt").read_text().splitlines():
    if heading := re.match(r"# \[(\w+)\]", line):
        sections[heading[1]] = section = []
    elif line and not line.startswith("#"):
        section.append(line.partition("  #")[0].strip())
setup(install_requires=sections.pop("core"), extras_require=sections)
