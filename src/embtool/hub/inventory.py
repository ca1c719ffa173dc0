"""What the cache holds: list it, check it, remove from it. None of this asks a hub or loads the network stack.

An entry is what a person would remove or keep: a finished table, a table that is not finished, the rows and headers of
one file, what the hub said about a model, and what was derived from files (indexes of vocabularies).
"""

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from embtool.counts import plural
from embtool.errors import LocalFailure, trying_to
from embtool.hub.journal import find_damage
from embtool.hub.lock import FileLock
from embtool.hub.store import HUB, is_range_sound, read_record, read_small, spans
from embtool.storage.cache import LAYOUT, NotOurs, objection_to
from embtool.storage.kept import has_named_sum, is_sealed, is_sound, read_metadata
from embtool.storage.places import is_folder

Kind = Literal["table", "unfinished", "rows", "records", "derived"]
"""`rows` stands for headers, too."""

UNFINISHED = (".part", ".journal", ".lock")

ABOUT = "about.json"

RANGES = ("heads", "rows")
"""The folders of headers and rows."""

SOUND: Mapping[str, Callable[[Path], bool]] = {
    ".json": lambda path: read_record(path) is not None,
    ".norms": is_sealed,
    ".range": is_range_sound,
    ".safetensors": lambda path: is_sound(path, whole=True),
    ".sqlite": has_named_sum,
}
"""How a file shows that it is what was written."""


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
    """List what the cache holds, the largest first.

    Raises:
        LocalFailure: it may not be read, or is not used because others could have written it.
    """
    with trying_to(f"read {root}"):
        objection = objection_to(root)
    if objection is not None:
        raise LocalFailure(f"the cache is not used: {objection}", hint="EMBTOOL_CACHE names another folder")
    layout = root / LAYOUT
    found: list[Entry] = []
    for endpoint in _folders(layout / HUB):
        for content in (key for shelf in _folders(endpoint / "contents") for key in _folders(shelf)):
            found += _of_content(content)
        found += [_folder_entry("records", folder, _model_name(folder), None) for folder in _models(endpoint)]
    found += [_folder_entry("derived", folder, None, None) for folder in _folders(layout) if folder.name != HUB]
    return tuple(sorted(found, key=lambda entry: (-entry.bytes, str(entry.path))))


def model_names(root: Path) -> set[str]:
    """Return the names of the models of which the cache holds anything."""
    return {_model_name(folder) for endpoint in _folders(root / LAYOUT / HUB) for folder in _models(endpoint)}


def shared_names(hub_cache: Path) -> set[str]:
    """Return the models of which huggingface_hub's cache holds a file."""
    return {
        _model_name(folder)
        for folder in _models(Path(os.path.realpath(hub_cache)))
        if any(_folders(folder / "snapshots"))
    }


def shared_snapshot(hub_cache: Path, repo_id: str, revision: str) -> Path | None:
    """Return where huggingface_hub's cache has the files of a revision, if it has any."""
    folder = hub_cache / f"models--{repo_id.replace('/', '--')}"
    commit = read_small(folder / "refs" / revision, 100)
    snapshot = folder / "snapshots" / (revision if commit is None else commit.decode("ascii", "replace").strip())
    return snapshot if is_folder(snapshot) else None


def verify(entry: Entry) -> str | None:
    """Read an entry again and tell what is wrong with it; None if it is as it was written.

    Raises:
        LocalFailure: it cannot be read.
    """
    wrong = None
    if entry.kind == "table":
        wrong = _verify_table(entry.path)
    elif entry.kind == "unfinished":
        start, stop = (int(number) for number in entry.path.stem.split("-"))
        with trying_to(f"read {entry.path}"):
            wrong = find_damage(entry.path, entry.path.with_suffix(".journal"), stop - start)
    bad = [path for path in _small_files(entry) if not _is_file_sound(path)]
    return wrong or (f"{len(bad)} damaged: {bad[0].name}" if bad else None)


def _small_files(entry: Entry) -> Iterable[Path]:
    """Find the small files of an entry: beside a table there is what says which file it is of."""
    if entry.kind in ("records", "derived"):
        return _files(entry.path)
    folder = entry.path if entry.kind == "rows" else entry.path.parent
    about = [folder / ABOUT] if os.path.lexists(folder / ABOUT) else []
    return [*about, *_ranges(folder)] if entry.kind == "rows" else about


def _is_file_sound(path: Path) -> bool:
    """Return whether a small file is what was written; one of another version need only be a file."""
    with trying_to(f"read {path}"), contextlib.suppress(NotOurs):
        if stat.S_ISREG(path.lstat().st_mode):
            return path.name.startswith(".") or path.suffix not in SOUND or SOUND[path.suffix](path)
    return False


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
    if not os.path.lexists(folder):
        return True
    with contextlib.suppress(OSError):
        if all(path.name == ABOUT or path.name.startswith(".") for path in folder.iterdir()):
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
        for name in RANGES:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(entry.path / name)
    else:
        shutil.rmtree(entry.path)


def _of_content(folder: Path) -> Iterator[Entry]:
    """List what is kept of one content."""
    known = read_record(folder / ABOUT)
    about = known if isinstance(known, dict) else {}
    model, file = _text(about.get("model")), _text(about.get("file"))
    for start, stop, path in spans(folder, ".safetensors"):
        yield Entry("table", model, file, _size(path), path, _described(path) or f"bytes {start}-{stop}", _time(path))
    for start, stop, path in spans(folder, ".part"):
        what = f"{_described(path) or f'bytes {start}-{stop}'}, not finished"
        yield Entry("unfinished", model, file, _size(path), path, what, _time(path))
    ranges = list(_ranges(folder))
    if ranges:
        size, newest = sum(map(_size, ranges)), max(map(_time, ranges))
        yield Entry("rows", model, file, size, folder, f"headers and rows, {plural(len(ranges), 'range')}", newest)


def _ranges(folder: Path) -> Iterator[Path]:
    """Find the headers and rows of one content."""
    for name in RANGES:
        yield from _files(folder / name)


def _folder_entry(kind: Kind, folder: Path, model: str | None, file: str | None) -> Entry:
    inside = list(_files(folder))
    newest = max(map(_time, inside), default=0.0)
    about = f"{folder.name}: {plural(len(inside), 'file')}"
    return Entry(kind, model, file, sum(map(_size, inside)), folder, about, newest)


def _verify_table(path: Path) -> str | None:
    head = read_metadata(path)
    if head is None:
        return "its header cannot be read"
    span = next((span for span in spans(path.parent, ".safetensors") if span[2] == path), None)
    if span is None or head.size != head.offset + span[1] - span[0]:
        return "it is cut"
    with trying_to(f"read {path}"):
        return None if is_sound(path, whole=True) else "its bytes are not those that were fetched"


def _described(path: Path) -> str | None:
    """Say which tensor a table is."""
    head = read_metadata(path)
    about = head.about if head is not None else {}
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
    return [Path(entry.path) for entry in _listed(folder) if entry.is_dir(follow_symlinks=False)]


def _files(folder: Path) -> Iterator[Path]:
    """Find what is below a folder and is none itself: files, and links and pipes in their place."""
    for entry in _listed(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)


def _listed(folder: Path) -> "list[os.DirEntry[str]]":
    """List a folder in the order of names; nothing where there is none, or a link to one.

    Raises:
        LocalFailure: it may not be listed.
    """
    with trying_to(f"read {folder}"), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISDIR(folder.lstat().st_mode):
            with os.scandir(folder) as found:
                return sorted(found, key=lambda entry: entry.name)
    return []


def _size(path: Path) -> int:
    """Return the bytes that a file takes on the disk: a partial file has holes."""
    with contextlib.suppress(OSError):
        status = path.lstat()
        return min(status.st_size, getattr(status, "st_blocks", status.st_size) * 512)
    return 0


def _time(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.lstat().st_mtime
    return 0.0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
