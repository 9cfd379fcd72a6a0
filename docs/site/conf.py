"""Sphinx: notebooks as they were committed, and nothing from another host."""

import re
from textwrap import indent

from lib import paths

project = "Fine-tuning instability"
author = copyright = "the authors named in OWNER.md"
extensions = [
    "myst_nb",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx_tippy",
]
# autosummary names its pages by the first suffix.
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath"]
myst_heading_anchors = 4
numpydoc_show_class_members = False
templates_path = ["templates"]  # parts of a named tuple are in its docstring

html_theme = "sphinx_book_theme"
html_title = "Fine-tuning instability"
html_static_path = ["static", str(paths.ROOT / "docs/vendor")]
html_extra_path = [str(paths.OUTPUT / "build/site/source/extra")]
html_css_files = ["site.css"]
html_copy_source = False
html_use_index = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # else there are two boxes to search in
    "show_toc_level": 2,
    "navigation_with_keys": False,
}
mathjax_path = "mathjax/es5/tex-svg-full.js"
tippy_js = ("popper/dist/umd/popper.min.js", "tippy/dist/tippy-bundle.umd.min.js")
tippy_enable_wikitips = False
tippy_enable_doitips = False
tippy_anchor_parent_selector = "article"


def definitions(app, what, name, thing, options, lines: list[str]) -> None:
    """Our docstrings as numpydoc reads them: text below its name, and prose below ``Returns``."""
    text = "\n".join(lines)
    if found := re.search(r"^Returns\n-+\n(?!\w+ : )((?:.*\n?)+?)(?=\Z|\w+\n-{3,})", text, re.M):
        text = text[: found.start(1)] + "value\n" + indent(found[1], "    ") + text[found.end() :]
    lines[:] = re.sub(r"^( *)([\w, ]+) : (.+)", r"\1\2\n\1    \3", text, flags=re.M).split("\n")


def setup(app) -> None:
    app.connect("autodoc-process-docstring", definitions, priority=400)  # before numpydoc
