"""Write docs/dependencies.md: what embtool is installed with, for what, and under which licence.

Run it where embtool is installed with all its extras: `make dependencies`. Names and licences are read from the
installed packages; the reason for each direct dependency is written in `REASONS`, and one without a reason is an error.
"""

import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "dependencies.md"
PROJECT = ROOT / "pyproject.toml"

REASONS = {
    "gguf": "decodes ggml's quantised blocks",
    "httpx2": "byte ranges from a hub",
    "huggingface-hub": "small files into the cache that every Hugging Face tool shares; the user's token; offline mode",
    "matplotlib": "pictures as PNG and SVG",
    "numkong": "scores a table as it is stored, at the speed of reading it",
    "numpy": "rows and what is computed from them",
    "platformdirs": "where settings belong on each system",
    "pyarrow": "Parquet",
    "rich": "tables on a terminal",
    "safetensors": "the format's own library, which the reader here is held against",
    "sentencepiece": "`tokenizer.model` files",
    "tiktoken": "tiktoken's files of ranks",
    "tokenizers": "text to token ids",
    "typer": "the command line",
}

LICENCES = {
    "Apache Software License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache": "Apache-2.0",
    "MIT License": "MIT",
    "BSD License": "BSD",
    "BSD 3-Clause License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
"""Names that classifiers and older metadata use, in SPDX's spelling (https://spdx.org/licenses/)."""


def main() -> None:
    """Write the page."""
    direct = list(direct_dependencies())
    if missing := sorted({one.name for one in direct} ^ REASONS.keys()):
        sys.exit(f"REASONS and pyproject.toml differ: {', '.join(missing)}")
    PAGE.write_text(page(direct), encoding="utf-8")


@dataclass(frozen=True)
class Direct:
    """A dependency that pyproject.toml names, and the extra it belongs to."""

    name: str
    versions: str
    extra: str | None


def page(direct: Sequence[Direct]) -> str:
    """Write the page's text."""
    lines = [
        "# Dependencies",
        "",
        "What is installed with embtool, why, and under which licence, as the packages themselves say.",
        "`make dependencies` writes this page; `make audit` asks a database of advisories about the installed",
        "versions; `make oldest` runs the tests with the oldest versions that are allowed.",
        "",
        "| package | versions | comes with | for | licence |",
        "|---|---|---|---|---|",
    ]
    for one in direct:
        comes = f"extra `{one.extra}`" if one.extra else "always"
        lines.append(f"| {one.name} | `{one.versions}` | {comes} | {REASONS[one.name]} | {licence(one.name)} |")
    names = {one.name for one in direct}
    lines += ["", "These bring with them:", "", "| package | licence |", "|---|---|"]
    lines += [f"| {name} | {licence(name)} |" for name in sorted(closure(names) - names)]
    return "\n".join(lines) + "\n"


def direct_dependencies() -> Iterator[Direct]:
    """List what pyproject.toml names, extras last."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    for extra, wanted in ((None, project["dependencies"]), *project["optional-dependencies"].items()):
        for line in wanted:
            name = canonicalize_name(Requirement(line).name)
            yield Direct(name, line.removeprefix(Requirement(line).name), extra)


def closure(names: set[str]) -> set[str]:
    """List everything that gets installed on this system: dependencies, theirs, and so on."""
    waiting = [Requirement(name) for name in names]
    found: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        for line in requires(name) or ():
            needed = Requirement(line)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


def licence(name: str) -> str:
    """Read a package's licence, in SPDX's spelling where its name is known."""
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        sys.exit(f"{name} is not installed: pip install -e '.[gguf,parquet,plot,tokenizers]'")
    classified = [
        line.rsplit(" :: ", 1)[1] for line in metadata.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    named = [metadata[key] for key in ("License-Expression", "License") if key in metadata]
    stated = (named if "License-Expression" in metadata else [*classified, *named])[0].splitlines()[0]
    return LICENCES.get(stated, stated)


if __name__ == "__main__":
    main()
