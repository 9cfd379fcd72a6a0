"""Sphinx: notebooks as they were committed, and nothing from another host."""

import json
import re
from collections import Counter
from itertools import pairwise
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
nb_render_markdown_format = "gfm"
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath"]
myst_heading_anchors = 4
numpydoc_show_class_members = False
templates_path = ["templates"]  # parts of a named tuple are in its docstring

html_theme = "sphinx_book_theme"
html_title = "Fine-tuning instability"
html_static_path = ["static", str(paths.ROOT / "docs/vendor")]
html_extra_path = [str(paths.OUTPUT / "build/site/source/extra")]
html_favicon = "static/favicon.svg"
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
    "back_to_top_button": False,  # it covers text
    "article_header_start": ["toggle-primary-sidebar.html", "home.html"],
    "footer_content_items": ["copyright.html"],
}
mathjax_path = "mathjax/es5/tex-svg-full.js"
tippy_js = ("popper/dist/umd/popper.min.js", "tippy/dist/tippy-bundle.umd.min.js")
tippy_enable_wikitips = False
tippy_enable_doitips = False
tippy_anchor_parent_selector = "article"
tippy_skip_urls = [r"(?!.*#term-)"]


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


def add_counts(app, error: Exception | None) -> None:
    """How often a page says a word, or two in a row, into the index for site.js to rank by."""
    english, counts = Words({}), {}
    for page in app.env.found_docs:
        text = app.env.get_doctree(page).astext()
        stems = [english.stem(word.lower()) for word in english.split(text)]
        pairs = [" ".join(pair) for pair in pairwise(stems)]
        counts[page] = {words: n for words, n in Counter(stems + pairs).items() if n > 1}
    index = app.outdir / "searchindex.js"
    index.write_text(f"Search.counts = {json.dumps(counts)};\n{index.read_text()}")


def setup(app) -> None:
    app.connect("build-finished", add_counts)
    app.connect("autodoc-process-docstring", definitions, priority=400)  # before numpydoc
