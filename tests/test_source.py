from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tables import on_disk

from embtool.errors import EmbtoolError, FileNotInModel, FormatError, LocalFailure, ModelNotFound
from embtool.storage.source import CONFIG_LIMIT, Folder, LocalRange, check_file_name
from embtool.tables.neighbors import nearest

posix = pytest.mark.skipif(os.name == "nt", reason="needs pipes and links as POSIX has them")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    place = tmp_path / "model"
    place.mkdir()
    (place / "a.bin").write_bytes(bytes(range(100)))
    (place / "sub").mkdir()
    (place / "sub" / "b.json").write_text("{}")
    (place / ".hidden").write_text("")
    (place / ".git").mkdir()
    (place / ".git" / "config").write_text("")
    return Folder(place)


def test_files_are_listed_without_hidden_ones(folder: Folder) -> None:
    assert folder.files() == ("a.bin", "sub/b.json")
    assert folder.has("a.bin")
    assert not folder.has("c.bin")
    assert folder.size("a.bin") == 100


def test_reads_give_what_was_asked_for_and_are_counted(folder: Folder) -> None:
    assert folder.head("a.bin", 3) == b"\0\1\2"
    assert folder.head("a.bin", 999) == bytes(range(100))
    assert folder.read_ranges("a.bin", [(90, 93), (0, 1), (5, 5)]) == [b"Z[\\", b"\0", b""]
    assert folder.read("a.bin", 99, 100) == b"c"
    assert folder.read_file("a.bin") == bytes(range(100))
    assert folder.cost.bytes == 3 + 100 + 4 + 1 + 100
    assert folder.cost.requests == 0


def test_a_read_beyond_the_end_says_where_the_file_ends(folder: Folder) -> None:
    with pytest.raises(FormatError, match=r"a\.bin is truncated: it ends at byte 100, before byte 101"):
        folder.read("a.bin", 50, 101)
    with pytest.raises(FormatError, match="truncated"):
        folder.read("a.bin", 500, 501)


def test_a_small_file_that_is_large_is_refused_unread(folder: Folder) -> None:
    with (folder.folder / "config.json").open("wb") as file:
        file.truncate(CONFIG_LIMIT + 1)
    with pytest.raises(FormatError, match="too large"):
        folder.read_file("config.json", CONFIG_LIMIT)
    assert folder.cost.bytes == 0


def test_a_missing_file_and_a_missing_folder(folder: Folder, tmp_path: Path) -> None:
    for ask in (folder.size, folder.read_file, lambda name: folder.head(name, 1)):
        with pytest.raises(FileNotInModel, match=r"c\.bin"):
            ask("c.bin")
    with pytest.raises(FileNotInModel):
        folder.size("a.bin/under.json")
    with pytest.raises(ModelNotFound, match="nowhere"):
        Folder(tmp_path / "nowhere")


def test_a_name_that_no_disk_has_is_this_machines_refusal(folder: Folder) -> None:
    with pytest.raises(LocalFailure, match="cannot read"):
        folder.size("x" * 5000)


def quickly(ask: Callable[[], object]) -> EmbtoolError:
    """Hold that a call fails soon, in a thread of its own lest it waits for ever."""
    caught: list[EmbtoolError] = []

    def call() -> None:
        try:
            ask()
        except EmbtoolError as error:
            caught.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "it waits"
    return caught[0]


@posix
@pytest.mark.parametrize("kind", ["fifo", "folder", "socket", "device"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(folder: Folder, kind: str) -> None:
    path = folder.folder / "x.safetensors"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
        folder = Folder(folder.folder, named="x.safetensors")
    else:
        listener = socket.socket(socket.AF_UNIX)
        os.chdir(folder.folder)
        listener.bind("x.safetensors")
        listener.close()
    for ask in (
        lambda: folder.head("x.safetensors", 8),
        lambda: folder.size("x.safetensors"),
        lambda: folder.read_file("x.safetensors"),
        lambda: folder.read_ranges("x.safetensors", [(0, 1)]),
        lambda: folder.local_range("x.safetensors", 0, 1).open().__enter__(),
    ):
        error = quickly(ask)
        assert isinstance(error, LocalFailure)
        assert "not a regular file" in error.message


@posix
def test_a_link_to_outside_is_refused_and_one_to_inside_followed(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    links = {"out": "../secret", "far": str(tmp_path / "secret"), "in": "a.bin", "loop": "loop", "dangling": "nothing"}
    for name, target in links.items():
        (folder.folder / name).symlink_to(target)
    (folder.folder / "up").symlink_to("..")
    for name in ("out", "far", "up/secret"):
        with pytest.raises(LocalFailure, match="outside the model"):
            folder.read_file(name)
        with pytest.raises(LocalFailure, match="outside the model"):
            folder.local_range(name, 0, 1)
    assert folder.read_file("in") == bytes(range(100))
    with pytest.raises(LocalFailure, match="cannot read"):
        folder.read_file("loop")
    with pytest.raises(FileNotInModel):
        folder.read_file("dangling")
    assert Folder(folder.folder, named="far").read_file("far") == b"secret"


@posix
def test_links_of_a_hugging_face_cache_are_followed(tmp_path: Path) -> None:
    repository = tmp_path / "models--org--name"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / "abc").write_bytes(b"blob")
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    (tmp_path / "other").write_bytes(b"other")
    (snapshot / "evil.json").symlink_to("../../../other")
    folder = Folder(snapshot)
    assert folder.read_file("config.json") == b"blob"
    with pytest.raises(LocalFailure, match="outside the model"):
        folder.read_file("evil.json")


def test_a_file_that_shrinks_while_it_is_scanned_is_an_error_and_no_crash(tmp_path: Path) -> None:
    table, _ = on_disk(tmp_path, np.ones((2000, 8)), "F32")
    assert len(nearest(table, np.ones(8), 3).ids) == 3
    path = tmp_path / "x.safetensors"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(FormatError, match="truncated"):
        nearest(table, np.ones(8), 3)


def test_a_file_that_changes_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(100))

    def read_while_it_changes() -> None:
        with LocalRange(path, 0, 9).open() as reader:
            reader.read_into(0, memoryview(bytearray(9)))
            path.write_bytes(bytes(101))

    with pytest.raises(FormatError, match="changed while it was being read"):
        read_while_it_changes()
    with LocalRange(path, 0, 9).open() as reader:
        path.unlink()
        reader.read_into(0, memoryview(bytearray(9)))


def test_reads_of_many_threads_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"".join(bytes([block]) * 4096 for block in range(64)))
    wrong: list[int] = []
    with LocalRange(path, 0, 64 * 4096).open() as reader:

        def work(first: int) -> None:
            for block in range(first, 64, 4):
                buffer = bytearray(4096)
                reader.read_into(block * 4096, memoryview(buffer))
                if bytes(buffer) != bytes([block]) * 4096:
                    wrong.append(block)

        threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


@pytest.mark.parametrize("name", ["model.safetensors", "a/b-00001-of-00002.safetensors", "été.safetensors", "console"])
def test_usual_names_are_let_through(name: str) -> None:
    assert check_file_name(name, said_by="x") == name
