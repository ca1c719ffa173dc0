"""A pass over a file that is mapped, read, or mapped first and then read: the same answers, and never a crash.

What other processes do to the file in the middle of a pass is done by other processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_models import safetensors
from tables import DTYPES, stored

from embtool.arrays import Bytes
from embtool.cli import run
from embtool.errors import FormatError
from embtool.formats.safetensors import open_file
from embtool.storage import leases, mapped
from embtool.storage.leases import is_held
from embtool.storage.source import Folder
from embtool.tables.metric import METRICS
from embtool.tables.neighbors import nearest_each
from embtool.tables.scan import scan
from embtool.tables.survey import equal_rows, mean_row, norms, survey
from embtool.tables.table import EmbeddingTable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")

MODES = ("mapped", "read", "mapped, then read")
GUARD = 30
"""Seconds after which something hangs; less than the kernel waits before it takes a lease away."""

BEGUN = 300
"""Seconds within which another process has begun, however busy the machine is."""

Doubles = NDArray[np.float64]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Map small files too; skip where no lease is to be had at all."""
    monkeypatch.setattr(mapped, "LEAST_BYTES", 1)
    (tmp_path / "probe").write_bytes(bytes(4096))
    descriptor = os.open(tmp_path / "probe", os.O_RDONLY)
    try:
        if not (leases.take_lease(descriptor) and leases.is_local(descriptor)):
            pytest.skip("no lease is to be had here")
        leases.give_back(descriptor)
    finally:
        os.close(descriptor)


def choose(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make passes go one way."""
    if mode == "read":
        monkeypatch.setattr(mapped, "take_lease", lambda _: False)
    if mode == "mapped, then read":
        looks = iter(range(10**9))
        monkeypatch.setattr(mapped, "is_held", lambda descriptor: next(looks) % 5 < 3 and is_held(descriptor))


def told(table: EmbeddingTable) -> str:
    return (table.checkpoint.mappings.told or "").split(":")[0]


def on_disk(folder: Path, values: Doubles, dtype: str, offset: int = 0) -> tuple[EmbeddingTable, Doubles]:
    """Write a table whose first number stands at a multiple of 8 bytes, or `offset` after one; give what it holds."""
    data, held = stored(values, dtype)
    before = {"before": ("U8", (offset,), bytes(offset))} if offset else {}
    (folder / "x.safetensors").write_bytes(safetensors({**before, "e.weight": (dtype, values.shape, data)}))
    checkpoint = open_file(Folder(folder), "x.safetensors")
    assert checkpoint.tensor("e.weight").start % 8 == offset
    return EmbeddingTable("input", checkpoint.tensor("e.weight"), checkpoint), held


def some_rows(count: int = 900, width: int = 24) -> Doubles:
    values = np.random.default_rng(1).standard_normal((count, width))
    values[7], values[9, 2], values[100], values[50] = 0, np.inf, values[50], values[49] * 2
    return values


def everything(table: EmbeddingTable, held: Doubles) -> list[object]:
    """Ask all that a pass answers."""
    found: list[object] = []
    with table.open() as reader:
        first = survey(table, reader)
        found += [first.norms.tolist(), first.mean.tolist(), first.mean_unit.tolist()]
        found += [group.tolist() for group in equal_rows(reader, first.norms)]
        found += [norms(table, reader).tolist(), mean_row(table, reader).tolist()]
        for metric in METRICS:
            for queries in (held[3:4], held[20:24]):
                answers = nearest_each(table, queries, 7, metric=metric, reader=reader)
                found += [(each.ids.tolist(), each.scores.tolist()) for each in answers]
    return found


# --- The same answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_mode_gives_the_same_answers_to_the_last_digit(
    tmp_path: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embtool.tables.scan.BLOCK_BYTES", 1000)
    monkeypatch.setattr("embtool.tables.survey.SURVEY_NUMBERS", 350)
    monkeypatch.setattr("embtool.tables.survey.SERIAL_BYTES", 0)
    monkeypatch.setattr("embtool.tables.scan.SERIAL_BYTES", 0)
    monkeypatch.setattr("embtool.tables.scan._cpus", lambda: 3)
    found = []
    for mode in MODES:
        table, held = on_disk(tmp_path, some_rows(), dtype)
        with monkeypatch.context() as patch:
            choose(mode, patch)
            found.append(repr(everything(table, held)))
            with table.open() as reader:
                survey(table, reader)
            assert told(table) == mode
    assert found[1] == found[0] == found[2]


@pytest.mark.parametrize("offset", range(8))
def test_rows_that_do_not_stand_at_whole_numbers_are_read(tmp_path: Path, offset: int) -> None:
    """The header of a safetensors file may have any length."""
    table, held = on_disk(tmp_path, some_rows(), "F32", offset)
    aligned: list[bool] = []

    def visit(_: None, first: int, block: Bytes) -> None:
        aligned.append(block.view("<f4").flags.aligned)
        np.testing.assert_array_equal(block.view("<f4"), held[first : first + len(block)])

    with table.open() as reader:
        scan(reader, lambda: None, visit, block_bytes=960)
    assert all(aligned)
    assert told(table) == ("" if offset else "mapped")


def test_a_table_is_mapped_once_for_all_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = mmap.mmap

    def counted(*args: Any, **rest: Any) -> Any:
        made.append(1)
        return real(*args, **rest)

    monkeypatch.setattr(mmap, "mmap", counted)
    table, held = on_disk(tmp_path, some_rows(), "BF16")
    for _ in range(3):
        everything(table, held)
    assert made == [1]
    table.checkpoint.mappings.close()
    everything(table, held)
    assert made == [1, 1]


# --- What others do meanwhile -------------------------------------------------------------------------------------

TRUNCATE = "import os, sys; os.truncate(sys.argv[1], 2000)"
OPEN_AND_CUT = "import sys; open(sys.argv[1], 'wb')"
GROW = "import sys; file = open(sys.argv[1], 'ab'); file.write(bytes(99))"


class Other:
    """Another process that changes the file in the middle of a pass: begun at one block, waited for at a later one."""

    def __init__(self, code: str, path: Path) -> None:
        self.command = [sys.executable, "-c", code, str(path)]
        self.process: subprocess.Popen[bytes] | None = None
        self.waited_for_us = False

    def begin(self, block: Bytes, descriptor: int) -> None:
        before = block.copy()
        self.process = subprocess.Popen(self.command)
        end = time.monotonic() + BEGUN
        while is_held(descriptor) and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        self.waited_for_us = self.process.poll() is None
        if self.waited_for_us:
            np.testing.assert_array_equal(block, before, "what is lent stays as it is, and can be looked at")

    def end(self) -> None:
        assert self.process is not None
        assert self.process.wait(GUARD) == 0


def pass_with(table: EmbeddingTable, code: str, path: Path) -> Other:
    """Go through a table in blocks of ten rows while another process changes its file."""
    other = Other(code, path)

    def visit(_: None, first: int, block: Bytes) -> None:
        if first == 20:
            other.begin(block, descriptor)
        if first == 40:
            other.end()

    with table.open() as reader:
        descriptor = reader.reader.descriptor  # type: ignore[attr-defined]
        try:
            scan(reader, lambda: None, visit, block_bytes=10 * reader.row_bytes)
        finally:
            if other.process is not None:
                other.process.wait(GUARD)
    return other


@pytest.mark.parametrize("code", [TRUNCATE, OPEN_AND_CUT, GROW], ids=["truncate", "open", "grow"])
@pytest.mark.parametrize("mode", ["mapped", "read"])
def test_a_file_that_changes_in_the_middle_of_a_pass_is_an_error_in_every_mode(
    tmp_path: Path, mode: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(mode, monkeypatch)
    table, _ = on_disk(tmp_path, some_rows(), "F32")
    with pytest.raises(FormatError, match=r"truncated|changed while it was being read"):
        pass_with(table, code, tmp_path / "x.safetensors")
    assert told(table) == ("mapped, then read" if mode == "mapped" else "read")


@pytest.mark.parametrize("mode", MODES[:2])
def test_a_file_that_is_replaced_in_the_middle_of_a_pass_is_gone_through_as_it_was(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(mode, monkeypatch)
    table, held = on_disk(tmp_path, some_rows(), "F32")
    (tmp_path / "other").mkdir()
    _, other = on_disk(tmp_path / "other", some_rows()[::-1].copy(), "F32")
    seen = np.empty_like(held)
    expected = [held, other]

    def visit(_: None, first: int, block: Bytes) -> None:
        if first == 30 and expected[0] is held:
            (tmp_path / "other" / "x.safetensors").replace(tmp_path / "x.safetensors")
        seen[first : first + len(block)] = block.view("<f4")

    while expected:
        with table.open() as reader:
            scan(reader, lambda: None, visit, block_bytes=10 * reader.row_bytes)
        np.testing.assert_array_equal(seen, expected.pop(0))
    assert told(table) == mode


def test_who_wants_to_write_waits_for_a_block_and_not_for_the_pass(tmp_path: Path) -> None:
    table, _ = on_disk(tmp_path, some_rows(), "F32")
    other = Other("import sys; open(sys.argv[1], 'r+b')", tmp_path / "x.safetensors")
    with table.open() as reader:
        descriptor = reader.reader.descriptor  # type: ignore[attr-defined]

        def visit(_: None, first: int, block: Bytes) -> None:
            if first == 20:
                other.begin(block, descriptor)
                assert other.waited_for_us
            if first == 40:
                other.end()

        scan(reader, lambda: None, visit, block_bytes=10 * reader.row_bytes)
    assert told(table) == "mapped, then read"


# --- Leases -------------------------------------------------------------------------------------------------------


def is_free(path: Path) -> bool:
    """Tell whether somebody could open a file for writing now; if not, this asks for its lease."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except BlockingIOError:
        return False
    return True


def fails(_: None, first: int, block: Bytes) -> None:
    raise ValueError(f"{first} {len(block)}")


def is_interrupted(_: None, first: int, block: Bytes) -> None:
    raise KeyboardInterrupt(f"{first} {len(block)}")


@pytest.mark.parametrize("visit", [lambda *_: None, fails, is_interrupted], ids=["ends", "fails", "is interrupted"])
@pytest.mark.parametrize("threads", [1, 3])
def test_no_lease_is_left_behind(
    tmp_path: Path, visit: Callable[[None, int, Bytes], None], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embtool.tables.scan.SERIAL_BYTES", 0)
    monkeypatch.setattr("embtool.tables.scan._cpus", lambda: threads)
    table, _ = on_disk(tmp_path, some_rows(), "F32")
    path = tmp_path / "x.safetensors"
    with table.open() as reader:
        with contextlib.suppress(ValueError, KeyboardInterrupt):
            scan(reader, lambda: None, visit, block_bytes=960)
        assert told(table) == "mapped"
        assert is_free(path), "between two passes nobody has to wait"
        held: list[bool] = []
        scan(reader, lambda: None, lambda *_: held.append(is_free(path)), block_bytes=960)
        assert held[0] is False
        assert is_free(path)


def test_a_file_that_somebody_may_write_to_is_read(tmp_path: Path) -> None:
    table, held = on_disk(tmp_path, some_rows(), "F32")
    with (tmp_path / "x.safetensors").open("r+b"):
        everything(table, held)
        assert told(table) == "read"
    everything(table, held)
    assert told(table) == "mapped"


@pytest.mark.parametrize("what", ["a hasty kernel", "another file system", "an old kernel", "no lease", "too large"])
def test_where_it_is_not_safe_a_file_is_read(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table, held = on_disk(tmp_path, some_rows(), "F32")
    if what == "a hasty kernel":
        (tmp_path / "time").write_text("1\n")
        monkeypatch.setattr(leases, "BREAK_TIME", tmp_path / "time")
    elif what == "another file system":
        monkeypatch.setattr(leases, "LOCAL", frozenset({"nfs4"}))
    elif what == "an old kernel":
        monkeypatch.setattr(mapped, "POPULATE", 9999)
    elif what == "no lease":
        monkeypatch.setattr(fcntl, "F_SETLEASE", 9999)
    else:
        monkeypatch.setattr(mmap, "mmap", lambda *_, **__: (_ for _ in ()).throw(OSError("out of memory")))
    everything(table, held)
    assert told(table) == "read"
    assert is_free(tmp_path / "x.safetensors")


def test_a_block_that_the_kernel_does_not_get_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, held = on_disk(tmp_path, some_rows(), "F32")
    expected = repr(everything(table, held))
    table, _ = on_disk(tmp_path, some_rows(), "F32")
    real = mmap.mmap

    class Failing(real):  # type: ignore[misc,valid-type]
        def madvise(self, option: int, start: int, length: int) -> None:
            if start or length > mmap.PAGESIZE:
                raise OSError("bad address")
            super().madvise(option, start, length)

    monkeypatch.setattr(mmap, "mmap", Failing)
    assert repr(everything(table, held)) == expected
    monkeypatch.setattr(mapped, "is_in_memory", lambda *_: False)
    assert repr(everything(table, held)) == expected


def test_no_signal_of_the_program_is_touched(tmp_path: Path) -> None:
    """A program that uses SIGIO and SIGURG keeps its handlers, and is told nothing that is not its own."""
    heard: list[int] = []
    names = [signal.SIGIO, signal.SIGURG, *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)]
    before = {name: signal.signal(name, lambda number, _: heard.append(number)) for name in names}
    try:
        table, _ = on_disk(tmp_path, some_rows(), "F32")
        with pytest.raises(FormatError):
            pass_with(table, TRUNCATE, tmp_path / "x.safetensors")
        assert told(table) == "mapped, then read"
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
    assert heard == []


def test_explain_tells_how_the_table_was_gone_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_disk(tmp_path, some_rows(), "F32")
    for mode in ("mapped", "read"):
        with monkeypatch.context() as patch:
            choose(mode, patch)
            assert (
                run(["norms", "-m", str(tmp_path / "x.safetensors"), "--table", "e.weight", "--explain", "--json"]) == 0
            )
        assert f"The table was {mode}: " in capsys.readouterr().err
    monkeypatch.setattr(mapped, "LEAST_BYTES", 10**6)
    assert run(["norms", "-m", str(tmp_path / "x.safetensors"), "--table", "e.weight", "--explain", "--json"]) == 0
    assert "The table was" not in capsys.readouterr().err
