"""What the cache holds: list it, check it, remove from it. None of this asks a hub or loads the network stack.

An entry is what a person would remove or keep: a finished table, a table that is not finished, the rows and headers of
one file, what the hub said about a model, and what was derived from files (indexes of vocabularies).
"""

import contextlib
import json
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from embtool.cache import LAYOUT
from embtool.errors import LocalFailure
from embtool.hub.journal import BLOCK
from embtool.hub.lock import FileLock
from embtool.hub.store import HUB, is_range_sound, read_json, read_small, spans
from embtool.hub.tablefile import join_checksums, read_metadata
from embtool.source import open_regular

Kind = Literal["table", "unfinished", "rows", "records", "derived"]
"""`rows` stands for headers, too."""

UNFINISHED = (".part", ".journal", ".lock")


@dataclass(frozen=True)
class Entry:
    """One thing in the cache; `bytes` is what it takes on the disk."""

    kind: Kind
    model: str | None
    file: str | None
    bytes: int
    path: Path
    """The finished table, the `.part` of an unfinished one, or a folder."""
    about: str
    """What it is, for people: a tensor's name, dtype and shape, or a count."""
    modified: float
    """Seconds since 1970, when it was last written."""


def entries(root: Path) -> tuple[Entry, ...]:
    """List what the cache holds, the largest first."""
    layout = root / LAYOUT
    found: list[Entry] = []
    for endpoint in _folders(layout / HUB):
        for content in (key for shelf in _folders(endpoint / "contents") for key in _folders(shelf)):
            found += _of_content(content)
        found += [_folder_entry("records", folder, _model_name(folder), None) for folder in _models(endpoint)]
    found += [_folder_entry("derived", folder, None, None) for folder in _folders(layout) if folder.name != HUB]
    return tuple(sorted(found, key=lambda entry: (-entry.bytes, str(entry.path))))


def model_names(root: Path) -> set[str]:
    """Name the models of which the cache holds anything."""
    return {_model_name(folder) for endpoint in _folders(root / LAYOUT / HUB) for folder in _models(endpoint)}


def shared_names(hub_cache: Path) -> set[str]:
    """Name the models of which huggingface_hub's cache holds a file."""
    return {_model_name(folder) for folder in _models(hub_cache) if any(_folders(folder / "snapshots"))}


def shared_snapshot(hub_cache: Path, repo_id: str, revision: str) -> Path | None:
    """Tell where huggingface_hub's cache has the files of a revision, if it has any."""
    folder = hub_cache / f"models--{repo_id.replace('/', '--')}"
    commit = read_small(folder / "refs" / revision, 100)
    snapshot = folder / "snapshots" / (revision if commit is None else commit.decode("ascii", "replace").strip())
    return snapshot if snapshot.is_dir() else None


def verify(entry: Entry) -> str | None:
    """Read an entry again and tell what is wrong with it; None if it is as it was written.

    Raises:
        LocalFailure: it cannot be read.
    """
    if entry.kind == "table":
        return _verify_table(entry.path)
    if entry.kind == "rows":
        bad = [path for path in _files(entry.path) if path.suffix == ".range" and not is_range_sound(path)]
        return f"{len(bad)} damaged: {bad[0].name}" if bad else None
    return None


def remove(entry: Entry) -> int:
    """Remove an entry and tell how many bytes that freed.

    Raises:
        LocalFailure: it cannot be removed, or a process is just fetching it.
    """
    lock = FileLock(entry.path.with_suffix(".lock"))
    try:
        if entry.kind == "unfinished" and not lock.try_acquire():
            raise LocalFailure(f"{entry.path} is being fetched by another process")
        try:
            _delete(entry)
        finally:
            lock.release()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise LocalFailure(f"cannot remove {entry.path}: {error.strerror or error}") from error
    for folder in (entry.path, *entry.path.parents):
        if folder.name == LAYOUT or not _remove_if_empty(folder):
            break
    return entry.bytes


def _remove_if_empty(folder: Path) -> bool:
    """Remove a folder in which nothing is left but a description of what was there, and remains; True if it is gone."""
    if not folder.exists():
        return True
    with contextlib.suppress(OSError):
        if all(path.name == "about.json" or path.name.startswith(".") for path in folder.iterdir()):
            shutil.rmtree(folder)
            return True
    return False


def _delete(entry: Entry) -> None:
    if entry.kind == "table":
        entry.path.unlink()
    elif entry.kind == "unfinished":
        for suffix in UNFINISHED:
            entry.path.with_suffix(suffix).unlink(missing_ok=True)
    elif entry.kind == "rows":
        for name in ("heads", "rows"):
            shutil.rmtree(entry.path / name, ignore_errors=True)
    else:
        shutil.rmtree(entry.path)


def _of_content(folder: Path) -> Iterator[Entry]:
    """List what is kept of one content."""
    known = read_json(folder / "about.json")
    about = known if isinstance(known, dict) else {}
    model, file = _text(about.get("model")), _text(about.get("file"))
    for start, stop, path in spans(folder, ".safetensors"):
        yield Entry("table", model, file, _size(path), path, _described(path) or f"bytes {start}-{stop}", _time(path))
    for start, stop, path in spans(folder, ".part"):
        what = f"{_described(path) or f'bytes {start}-{stop}'}, not finished"
        yield Entry("unfinished", model, file, _size(path), path, what, _time(path))
    ranges = [path for name in ("heads", "rows") for path in _files(folder / name)]
    if ranges:
        size, newest = sum(map(_size, ranges)), max(map(_time, ranges))
        yield Entry("rows", model, file, size, folder, f"{len(ranges)} headers and rows", newest)


def _folder_entry(kind: Kind, folder: Path, model: str | None, file: str | None) -> Entry:
    inside = list(_files(folder))
    newest = max(map(_time, inside), default=0.0)
    return Entry(kind, model, file, sum(map(_size, inside)), folder, f"{folder.name}: {len(inside)} files", newest)


def _verify_table(path: Path) -> str | None:
    metadata = read_metadata(path)
    if metadata is None:
        return "its header cannot be read"
    offset, about, size = metadata
    span = next((span for span in spans(path.parent, ".safetensors") if span[2] == path), None)
    if span is None or size != offset + span[1] - span[0]:
        return "it is cut"
    if join_checksums(_block_checksums(path, offset, size)) != about.get("blocks_crc32"):
        return "its bytes are not those that were fetched"
    return None


def _block_checksums(path: Path, start: int, stop: int) -> Iterator[int]:
    with open(open_regular(path), "rb") as file:  # noqa: PTH123 - a descriptor that is known to be of a regular file
        file.seek(start)
        for at in range(start, stop, BLOCK):
            try:
                yield zlib.crc32(file.read(min(BLOCK, stop - at)))
            except OSError as error:
                raise LocalFailure(f"cannot read {path}: {error.strerror or error}") from error


def _described(path: Path) -> str | None:
    """Say which tensor a table is."""
    metadata = read_metadata(path)
    about = metadata[1] if metadata is not None else {}
    if "dtype" not in about:
        return None
    with contextlib.suppress(ValueError, TypeError):
        shape = " × ".join(f"{size:,}" for size in json.loads(about.get("shape", "[]")))
        return f"{about.get('tensor', 'table')} {about['dtype']} {shape}"
    return None


def _models(folder: Path) -> Iterable[Path]:
    return [path for path in _folders(folder) if path.name.startswith("models--")]


def _model_name(folder: Path) -> str:
    return folder.name.removeprefix("models--").replace("--", "/")


def _folders(folder: Path) -> Iterable[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return ()


def _files(folder: Path) -> Iterable[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return ()


def _size(path: Path) -> int:
    """Tell the bytes that a file takes on the disk: a partial file has holes."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return min(status.st_size, getattr(status, "st_blocks", status.st_size) * 512)
    return 0


def _time(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
