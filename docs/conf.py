"""How the site is built: `make docs`.

The pages are plain Markdown that reads well on GitHub too, but for reference/python.md, which autodoc fills from the
docstrings. What only the site can do is put in here while a page is read: the tree of pages, from the lists of links in
index.md.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

import embtool
from embtool import errors

project = "embtool"
author = "the embtool authors"
project_copyright = author
version = release = embtool.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(np|npt|numpy|pathlib|collections\.abc|contextlib|typing|Any|Path|NDArray|ArrayLike)\b.*"),
    ("py:.*", r"(embtool\.)?(arrays|storage|configs|tables|drawings|formats|positions|rope|vocabulary|errors)\..*"),
    ("py:.*", r"(embtool\.)?(answers|questions|adapters|hub|opening|sweep|view|judge)\..*"),
    ("py:class", r"\w+Answer|Basis|Doubles|Layout|Precision|Place|InputComparison|The name in its schema|Two"),
]
"""Types of other libraries, and those of our own that a user holds but never makes: they are named, not described."""

myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
toc_object_entries_show_parents = "hide"
napoleon_use_ivar = True
python_maximum_signature_line_length = 80

smartquotes = False
default_role = "literal"  # what a docstring has between single backticks
html_theme = "furo"
html_title = f"embtool {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_ignore = [r"https?://(localhost|127\.0\.0\.1)"]

DOCS = Path(__file__).parent
LINK = re.compile(r"\[([^\]]*)\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)")
SCREENSHOT = re.compile(r"^!\[[^\]]*\]\(pictures/page\.png\)$", re.MULTILINE)
LIVE = """```{raw} html
<p><a class="whole-page" href="mini.html">The lesson on a page of its own</a></p>
<iframe class="live" src="mini.html#lesson" title="The lesson, live: guess, then reveal" loading="lazy"></iframe>
```"""
"""What stands on the site instead of the picture of the page: the page itself."""

SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
PAGE = re.compile(r"^- .*?\[[^\]]*\]\((?!https?:)([^)#]+)\.(?:md|ipynb)\)", re.MULTILINE)


def read_page(_: Sphinx, name: str, content: list[str]) -> None:
    """Put into a page what only the site can do."""
    text = content[0]
    if name == "index":
        text = SCREENSHOT.sub(LIVE, text) + trees(text)
    content[0] = LINK.sub(lambda found: linked(name, found), text)


def trees(text: str) -> str:
    """Make a hidden tree of pages out of each section's list of links."""
    found = [(title, PAGE.findall(body)) for title, body in SECTION.findall(text)]
    return "".join(
        f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(pages) + "\n```\n"
        for title, pages in found
        if pages
    )


def linked(name: str, found: re.Match[str]) -> str:
    """Turn a link that leaves docs/: README.md is the site's first page, pages and folders are named, files offered."""
    text, target, place = found.groups()
    path = (DOCS / name).parent.joinpath(target).resolve()
    if path == DOCS.parent / "README.md":
        return f"[{text}]({'../' * name.count('/')}index.md)"
    if (path.is_dir() or path.suffix == ".md") and not path.is_relative_to(DOCS):
        return text
    return f"[{text}]({target}{place or ''})"


def to_errors(
    app: Sphinx, _: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Lead from what a function raises to the page of errors, which has a heading for each class."""
    name = node["reftarget"]
    if node["reftype"] != "exc" or not hasattr(errors, name):
        return None
    return make_refnode(app.builder, node["refdoc"], "reference/errors", name.lower(), content)


def write_dashes(_: Sphinx, page: nodes.document) -> None:
    """Write a dash between a parameter and what it is; Sphinx leaves that to its smart quotes, which eat `--option`."""
    for text in list(page.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def make_page(app: Sphinx) -> None:
    """Make the page of the bundled model, which the first page of the site carries: exact for every token on it."""
    if app.builder.format == "html":
        app.outdir.mkdir(parents=True, exist_ok=True)
        embtool.open_model("mini").view(app.outdir / "mini.html", exact=20_000)


def setup(app: Sphinx) -> None:
    """Say where this file has a part."""
    app.connect("builder-inited", make_page)
    app.connect("source-read", read_page)
    app.connect("doctree-read", write_dashes)
    app.connect("missing-reference", to_errors)
