"""The file: markup, style, scripts and data in one, with a policy that lets nothing else in and nothing out.

The sources are the files in `page`, as a person wrote them. Data stands in a script element that no browser runs; the
policy names the one style and the one script by their hashes, so that no other could work, whatever a name says.
"""

import base64
import hashlib
import html
import json
import re
from importlib.resources import files

from embtool.view.parts import Json

SCRIPTS = (
    *("base.js", "judge.js", "drawings.js", "lesson.js", "token.js", "shadow.js"),
    *("turning.js", "places.js", "sentences.js", "start.js"),
)
"""In this order: later ones use what earlier ones define."""

MARK = re.compile(r"\{\{(\w+)\}\}")


def write_sheet(title: str, data: Json) -> bytes:
    """Put the page together."""
    style = _source("page.css")
    script = "\n".join(_source(name) for name in SCRIPTS)
    # In a script element only `<` could end the text; as an escape it is the same JSON.
    written = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "title": html.escape(title, quote=False), "style": style, "script": script}
    parts["data"] = written
    return MARK.sub(lambda mark: parts[mark[1]], _source("page.html")).encode()


def _source(name: str) -> str:
    return files("embtool.view").joinpath("page", name).read_text("utf-8").strip()


def _hash(text: str) -> str:
    """Name an element's text as a content security policy does."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
