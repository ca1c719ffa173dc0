"""Put a man page into the wheel, under share/man/man1, where man looks beside bin: hatchling calls this.

The commands are read from the source, since what the program imports is not there when it is packed.
"""

import ast
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = r""".TH EMBTOOL 1 "" "embtool {version}" "User Commands"
.SH NAME
embtool \- look inside the embedding tables of language models
.SH SYNOPSIS
\fBembtool\fP \fICOMMAND\fP [\fIOPTIONS\fP] [\fIARGUMENTS\fP]
.SH DESCRIPTION
\fBembtool\fP \fICOMMAND\fP \fB\-\-help\fP says all about a command: arguments, options, examples.
.SH COMMANDS
{commands}
.SH EXAMPLES
.EX
  $ embtool info mini
  $ embtool neighbors strawberry
  $ embtool neighbors strawberry \-m ./folder
.EE
"""
"""The page in the language of man(7): https://man7.org/linux/man-pages/man7/man.7.html."""


class ManPage(BuildHookInterface[Any]):  # type: ignore[misc] # hatchling is there only where a package is made
    """Writes embtool.1 and adds it to what an install puts outside the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the page."""
        del version
        path = Path(self.directory) / "embtool.1"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(man_page(Path(self.root), self.metadata.version), "utf-8", newline="\n")
        build_data["shared_data"][str(path)] = "share/man/man1/embtool.1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove it again."""
        del version, build_data, artifact_path
        (Path(self.directory) / "embtool.1").unlink(missing_ok=True)


def man_page(root: Path, version: str) -> str:
    """Return the page for the commands that `COMMANDS` of embtool.cli names."""
    module = ast.parse((root / "src" / "embtool" / "cli" / "__init__.py").read_text("utf-8"))
    (named,) = (
        node.value
        for node in module.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "COMMANDS"
    )
    commands: dict[str, tuple[str, str]] = ast.literal_eval(named or ast.Dict())
    lines = [line for name, (_, summary) in commands.items() for line in (".TP", rf"\fB{name}\fP", summary)]
    return PAGE.format(version=version, commands="\n".join(lines).replace("-", r"\-"))
