"""Sphinx: notebooks as they were committed, and nothing from another host."""

import re
from textwrap import indent

import sphinx.search
import yaml
from sphinx.search.en import SearchEnglish

from lib import paths

project = "Fine-tuning instability"
cited = yaml.safe_load((paths.ROOT / "CITATION.cff").read_text())
names = [a.get("name") or f"{a['given-names']} {a['family-names']}" for a in cited["authors"]]
author = copyright = ", ".join(names)
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
html_js_files = ["site.js"]
html_copy_source = False
html_use_index = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # else there are two boxes to search in
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_content_items": ["copyright.html"],
}
mathjax_path = "mathjax/es5/tex-svg-full.js"
tippy_js = ("popper/dist/umd/popper.min.js", "tippy/dist/tippy-bundle.umd.min.js")
tippy_enable_wikitips = False
tippy_enable_doitips = False
tippy_anchor_parent_selector = "article"


class Words(SearchEnglish):
    """Words as they are searched for: layer-wise is found as layerwise, too."""

    def split(self, text: str) -> list[str]:
        hyphened = re.findall(r"\w+(?:-\w+)+", text)
        return super().split(text) + [word.replace("-", "") for word in hyphened]


sphinx.search.languages["en"] = Words


def definitions(app, what, name, thing, options, lines: list[str]) -> None:
    """Our docstrings as numpydoc reads them: text below its name, and prose below ``Returns``."""
    text = "\n".join(lines)
    if found := re.search(r"^Returns\n-+\n(?!\w+ : )((?:.*\n?)+?)(?=\Z|\w+\n-{3,})", text, re.M):
        text = text[: found.start(1)] + "value\n" + indent(found[1], "    ") + text[found.end() :]
    lines[:] = re.sub(r"^( *)([\w, ]+) : (.+)", r"\1\2\n\1    \3", text, flags=re.M).split("\n")


def setup(app) -> None:
    app.connect("autodoc-process-docstring", definitions, priority=400)  # before numpydoc
