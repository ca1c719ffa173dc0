"""Files that a command writes because it was asked to: they replace nothing unasked, and appear only when whole."""

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from embtool.answers.text import size
from embtool.arrays import np
from embtool.cli.command_run import CommandRun
from embtool.cli.messages import note
from embtool.storage.places import is_file, is_folder
from embtool.storage.replacing import whole

STDOUT = "-"

Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")]
RowsFile = Annotated[
    Path | None,
    typer.Option(
        "--npy",
        metavar="FILE",
        help="Write the rows as a numpy file, float32 (tokens, width); - is stdout.",
        readable=False,
    ),
]


def check_free(path: Path | None, *, force: bool, wants_folder: bool = False) -> None:
    """Refuse a place where something is, unless it may be replaced; before anything is computed.

    Raises:
        BadParameter: it is taken, or there is a folder where a file is to be, or the other way round.
        LocalFailure: the system does not let us look.
    """
    if path is None or str(path) == STDOUT:
        return
    has_file, has_folder = is_file(path), is_folder(path)  # a device or a pipe is written to, not replaced
    if has_folder and not wants_folder:
        raise typer.BadParameter(f"{path} is a folder")
    if has_file and wants_folder:
        raise typer.BadParameter(f"{path} is a file, and a folder is to be written")
    if (has_file or has_folder) and not force:
        raise typer.BadParameter(f"{path} is there already: --force replaces it")


def write_rows(rows: Any, path: Path, run: CommandRun) -> None:
    """Write rows as a numpy file, float32; `-` is stdout. A dry run writes nothing.

    Raises:
        LocalFailure: the system does not let it be written.
    """
    content = io.BytesIO()
    np.save(content, rows.astype("<f4"), allow_pickle=False)
    if str(path) == STDOUT:
        sys.stdout.buffer.write(content.getbuffer())
        sys.stdout.buffer.flush()
    else:
        write(content.getvalue(), path, run)


def write(content: bytes, path: Path, run: CommandRun, *, about: str = "") -> None:
    """Write a file and say so, with what is to be said `about` it. A dry run writes nothing.

    Raises:
        LocalFailure: the system does not let it be written.
    """
    if run.dry_run:
        return
    with whole(path) as file:
        file.write(content)
    note(f"wrote {path} ({size(len(content))}){about}")
