"""The fetch of a table: whatever ends it, the next run goes on, and what comes out is the table."""

import ctypes
import errno
import hashlib
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_fixtures import HURRY, SHARD, Case, end, read, wait_until
from hypothesis import given
from hypothesis import strategies as st
from program import is_almighty

from embtool.errors import EmbtoolError, FormatError, LocalFailure, Unreachable
from embtool.hub import inventory, journal, lock, table
from embtool.hub.crew import TICK
from embtool.hub.journal import BLOCK, Journal, Part, claimed_bytes, peek

fcntl = pytest.importorskip("fcntl", reason="locks and signals of POSIX")

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def begin(case: Case) -> None:
    """Fetch three blocks and be cut off."""
    case.hub.fault("drop", where="storage", after=3 * BLOCK + 1000)
    case.hub.fault("status", where="storage", skip=1, times=None, code=503)
    with pytest.raises(Unreachable):
        case.fetch()
    case.hub.reset()
    assert len(case.kept(".part")) == 1


class TestRow60DiskFull:
    @pytest.fixture
    def small_disk(self, case: Case) -> Iterator[Path]:
        """A disk of 12 MB under the cache."""
        case.cache.mkdir()
        if not is_almighty():
            pytest.skip("only root can mount a small disk")
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"tmpfs", str(case.cache).encode(), b"tmpfs", 0, b"size=12m") != 0:
            pytest.skip(f"cannot mount a small disk: {os.strerror(ctypes.get_errno())}")
        yield case.cache
        libc.umount2(str(case.cache).encode(), 2)

    def test_before_the_first_byte(self, case: Case, small_disk: Path) -> None:
        (small_disk / "filler").write_bytes(bytes(4 << 20))
        with pytest.raises(LocalFailure, match="too full") as caught:
            case.fetch()
        assert caught.value.exit_status == 7
        assert "EMBTOOL_CACHE" in str(caught.value.hint)
        assert case.hub.count("storage") == 0
        (small_disk / "filler").unlink()
        assert case.fetch() == case.table

    @pytest.mark.few(1)
    @pytest.mark.parametrize("seed", range(4))
    def test_at_a_random_byte(self, case: Case, small_disk: Path, seed: int) -> None:
        """Somebody else fills the disk; the last write may be short, which is no error to the system."""
        room = random.Random(seed).randrange(BLOCK, 8 << 20)  # noqa: S311 - a place in a file
        filled = threading.Event()
        case.hub.fault("hold", where="storage", until=filled)
        filler = small_disk / "filler"

        def fill() -> None:
            wait_until(lambda: case.hub.count("storage") > 0)  # the check for space is over
            try:
                with filler.open("wb", buffering=0) as file:
                    free = os.statvfs(small_disk)
                    file.write(bytes(max(0, free.f_bavail * free.f_bsize - room)))
            finally:
                filled.set()

        thread = threading.Thread(target=fill)
        thread.start()
        try:
            with pytest.raises(LocalFailure) as caught:
                case.fetch()
        finally:
            thread.join()
        assert caught.value.exit_status == 7
        assert "are kept" in str(caught.value.hint)
        kept = claimed_bytes(claims(case), len(case.table))
        filler.unlink()
        case.hub.reset()
        assert case.fetch() == case.table
        assert case.hub.sent("storage") == len(case.table) - kept
        assert kept >= room - 2 * BLOCK, "what could be written is kept"

    def test_a_limit_of_the_system_is_a_full_disk(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        write = os.pwrite

        def pwrite(descriptor: int, data: Any, offset: int) -> int:
            room = 5 * BLOCK + 77 - offset
            if offset > BLOCK // 2 and len(data) > 1000 and room < len(data):  # not the journal
                if room <= 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return write(descriptor, data[:room], offset)  # short, as on the last free bytes of a disk
            return write(descriptor, data, offset)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", pwrite)
            with pytest.raises(LocalFailure, match="No space left"):
                case.fetch()
        assert claimed_bytes(claims(case), len(case.table)) == 4 * BLOCK
        assert case.fetch() == case.table


def claims(case: Case) -> bytes:
    """Read what the journal of the only unfinished table claims."""
    (path,) = case.kept(".journal")
    data = path.read_bytes()
    if len(data) < 2 * journal.FIELDS.size:  # made a moment ago by another process
        return b""
    slots = [data[: len(data) // 2], data[len(data) // 2 :]]
    newest = max(slots, key=lambda slot: journal.FIELDS.unpack_from(slot)[3])
    size = (-(-len(case.table) // BLOCK) + 7) // 8
    return newest[journal.FIELDS.size : journal.FIELDS.size + size]


class TestRow61ThisMachine:
    @pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
    def test_a_cache_that_is_a_file(self, case: Case) -> None:
        case.cache.write_bytes(b"")
        assert case.row(3) == case.true_row(3), "what cannot be kept is no error"
        with pytest.raises(LocalFailure) as caught:
            case.fetch()
        assert caught.value.exit_status == 7
        assert str(case.cache) in caught.value.message
        assert "EMBTOOL_CACHE" in str(caught.value.hint)

    def test_a_shared_cache_that_is_a_file(self, case: Case) -> None:
        case.hub_cache.write_bytes(b"")
        with pytest.raises(LocalFailure) as caught:
            case.source().read_file("config.json")
        assert "HF_HUB_CACHE" in str(caught.value.hint)

    def test_a_finished_table_is_read_without_a_lock_and_without_writing(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = case.source()
        source.read_file("config.json")
        case.place(source)

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError

        before = {path: path.stat().st_mtime_ns for path in case.folder.rglob("*")}
        monkeypatch.setattr(lock.FileLock, "try_acquire", refuse)
        monkeypatch.setattr(Path, "mkdir", refuse)
        assert case.fetch(offline=True) == case.table
        assert {path: path.stat().st_mtime_ns for path in case.folder.rglob("*")} == before

    def test_a_lock_that_is_held_for_ever(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        begin(case)
        source = case.source()
        source.size(SHARD)  # what is asked before
        path = case.kept(".part")[0].with_suffix(".lock")
        holder = lock.FileLock(path)
        assert holder.try_acquire()
        clock = [0.0]
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: clock[0])
            patch.setattr(time, "sleep", lambda seconds: clock.append(clock.pop() + seconds))
            with pytest.raises(LocalFailure, match="has made no progress for") as caught:
                case.fetch(source)
        assert str(path) in caught.value.message
        assert clock == [pytest.approx(HURRY.lock, abs=2 * TICK)]
        holder.release()
        assert case.fetch() == case.table

    def test_without_locks_the_table_is_fetched_all_the_same(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        def unsupported(*_: object) -> None:
            raise OSError(errno.ENOLCK, "no locks here")

        monkeypatch.setattr(fcntl, "flock", unsupported)
        assert case.fetch() == case.table


class TestRow62Signals:
    @pytest.mark.few(1)
    @pytest.mark.parametrize("how", STATUS, ids=lambda how: how.name)
    @pytest.mark.parametrize("seed", range(2))
    def test_at_a_random_byte(self, case: Case, how: signal.Signals, seed: int) -> None:
        came = random.Random(f"{how}{seed}").randrange(BLOCK, len(case.table))  # noqa: S311 - a place in a file
        case.hub.fault("stall", where="storage", after=came)
        process = case.program()
        wait_until(lambda: case.kept(".journal") and any(claims(case)))
        status, _out, err = end(process, how)
        assert status == STATUS[how], err
        kept = claimed_bytes(claims(case), len(case.table))
        assert kept <= came
        case.hub.reset()
        assert case.fetch() == case.table
        assert case.hub.sent("storage") == len(case.table) - kept
        assert kept > 0
        assert not case.hub.leaks()

    @pytest.mark.slow
    def test_a_silent_server_does_not_hold_up_the_end(self, case: Case) -> None:
        case.hub.fault("stall", where="storage", after=2 * BLOCK + 5)
        process = case.program()
        wait_until(lambda: case.kept(".journal") and claimed_bytes(claims(case), len(case.table)) == 2 * BLOCK)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        status, _out, err = end(process, signal.SIGINT)  # the second Ctrl-C
        assert status in (130, -signal.SIGINT, 1), err
        kept = claimed_bytes(claims(case), len(case.table))
        assert kept == 2 * BLOCK
        assert case.fetch() == case.table


class TestRow63Processes:
    @pytest.mark.slow
    def test_three_at_once_fetch_each_byte_once(self, case: Case) -> None:
        case.hub.fault("slow", where="storage", times=None, bytes_per_second=15_000_000)
        processes = [case.program() for _ in range(3)]
        ends = [end(process) for process in processes]
        assert [status for status, _, _ in ends] == [0, 0, 0], ends
        assert {out.split()[-1] for _, out, _ in ends} == {digest(case.table)}
        assert case.hub.sent("storage") == len(case.table)

    @pytest.mark.slow
    def test_one_of_three_is_killed_and_the_others_go_on(self, case: Case) -> None:
        case.hub.fault("stall", where="storage", after=2 * BLOCK + 5)
        first = case.program()
        wait_until(lambda: case.kept(".journal") and any(claims(case)))
        others = [case.program() for _ in range(2)]
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline() == b"ready\n"
        assert end(first, signal.SIGKILL)[0] == -9
        ends = [end(process) for process in others]
        assert [status for status, _, _ in ends] == [0, 0], ends
        assert {out.split()[-1] for _, out, _ in ends} == {digest(case.table)}

    def test_a_lock_that_is_given_to_everybody_does_no_harm(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lock, "_lock", lambda _descriptor: True)
        case.hub.fault("slow", where="storage", times=None, bytes_per_second=20_000_000)
        results: list[bytes] = []

        def fetch() -> None:
            try:
                results.append(case.fetch())
            except FormatError as error:  # one that was late has touched the finished file while it was read
                assert "changed while it was being read" in error.message  # noqa: PT017 - the only such error
                results.append(case.fetch())

        threads = [threading.Thread(target=fetch) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [case.table] * 3

    def test_different_ranges_do_not_wait_for_each_other(self, case: Case) -> None:
        place = case.place()
        other = case.source().local_range(SHARD, case.stop, len(case.data))
        assert other.path != place.path
        assert read(other) == case.data[case.stop :]


class TestRow64Journal:
    def slots(self, case: Case) -> tuple[Path, bytearray]:
        (path,) = case.kept(".journal")
        return path, bytearray(path.read_bytes())

    def finish(self, case: Case) -> int:
        """Fetch the rest, and tell how much that was."""
        case.hub.reset()
        assert case.fetch() == case.table
        return case.hub.sent("storage")

    def newest(self, data: bytearray) -> int:
        half = len(data) // 2
        return max((0, half), key=lambda at: journal.FIELDS.unpack_from(data, at)[3])

    def test_is_used(self, case: Case) -> None:
        begin(case)
        assert self.finish(case) == len(case.table) - 3 * BLOCK

    def test_with_the_newest_slot_torn_the_one_before_counts(self, case: Case) -> None:
        begin(case)
        path, data = self.slots(case)
        (part,) = case.kept(".part")
        older = Journal(path, identity(case), len(case.table))
        bitmap = older.load()
        older.save(bytes(bitmap))  # both slots now say the same
        older.close()
        path, data = self.slots(case)
        data[self.newest(data) + 60] ^= 0xFF
        path.write_bytes(data)
        assert part.exists()
        assert self.finish(case) == len(case.table) - 3 * BLOCK

    @pytest.mark.few(2)
    @pytest.mark.parametrize("damage", ["checksum", "magic", "identity", "short", "empty", "long", "absent", "future"])
    def test_that_cannot_be_believed_is_not(self, case: Case, damage: str) -> None:
        begin(case)
        path, data = self.slots(case)
        for at in (0, len(data) // 2):
            if damage == "checksum":
                data[at + 57] ^= 1
            elif damage == "magic":
                data[at] ^= 1
            elif damage == "identity":
                self.sign(data, at, journal.FIELDS.pack(journal.MAGIC, bytes(32), len(case.table), 9))
            elif damage == "future":
                self.sign(data, at, journal.FIELDS.pack(b"EMBJRNL9", identity(case), len(case.table), 9))
        changed = {"short": bytes(data[:-1]), "empty": b"", "long": bytes(data) + b"x"}.get(damage, bytes(data))
        path.write_bytes(changed)
        if damage == "absent":
            path.unlink()
        assert self.finish(case) == len(case.table)

    def sign(self, data: bytearray, at: int, fields: bytes) -> None:
        _, _, length, _ = journal.FIELDS.unpack(fields)
        blocks = -(-length // BLOCK)
        end = at + journal.FIELDS.size + (blocks + 7) // 8 + 4 * blocks
        data[at : at + len(fields)] = fields
        data[end : end + 4] = struct.pack("<I", zlib.crc32(data[at:end]))

    def test_a_bit_beyond_the_last_block_is_no_claim(self, case: Case) -> None:
        begin(case)
        path, data = self.slots(case)
        for at in (0, len(data) // 2):
            data[at + journal.FIELDS.size + 1] |= 0x80
            self.sign(data, at, bytes(data[at : at + journal.FIELDS.size]))
        path.write_bytes(data)
        assert self.finish(case) == len(case.table)

    @pytest.mark.few(1)
    @pytest.mark.parametrize("size", [0, 5, 20 << 20])
    def test_a_part_of_another_size_is_begun_again(self, case: Case, size: int) -> None:
        begin(case)
        os.truncate(case.kept(".part")[0], size)
        assert self.finish(case) == len(case.table)

    def test_a_part_without_a_journal_and_a_journal_without_a_part(self, case: Case) -> None:
        begin(case)
        case.kept(".part")[0].unlink()
        assert self.finish(case) == len(case.table)

    def test_a_part_that_is_a_folder_is_named(self, case: Case) -> None:
        begin(case)
        (part,) = case.kept(".part")
        part.unlink()
        part.mkdir()
        with pytest.raises(LocalFailure, match=part.name):
            case.fetch()


def identity(case: Case) -> bytes:
    source = case.source()
    record = source._resolved(SHARD)
    return table.Target(source._store, source.repo_id, record, case.start, case.stop).identity


class TestRow65Rot:
    def test_a_table_that_is_cut_is_fetched_again(self, case: Case) -> None:
        path = case.place().path
        for size in (path.stat().st_size - 1, 5000, 4096, 7, 0):
            os.truncate(path, size)
            case.hub.reset()
            assert case.fetch() == case.table
            assert case.hub.sent("storage") == len(case.table)

    def test_a_table_under_another_name_is_not_believed(self, case: Case) -> None:
        path = case.place().path
        source = case.source()
        place = source.local_range(SHARD, 100, 100 + len(case.table))
        assert read(place) == case.data[100 : 100 + len(case.table)]
        place.path.write_bytes(path.read_bytes())
        assert read(case.source().local_range(SHARD, 100, 100 + len(case.table))) == read(place)

    def test_a_flipped_bit_is_found(self, case: Case) -> None:
        path = case.place().path
        (entry,) = [entry for entry in inventory.entries(case.cache) if entry.kind == "table"]
        assert inventory.verify(entry) is None
        with path.open("r+b") as file:
            file.seek(5_000_000)
            byte = file.read(1)
            file.seek(5_000_000)
            file.write(bytes([byte[0] ^ 1]))
        assert inventory.verify(entry) == "its bytes are not those that were fetched"

    def test_the_checksum_of_a_resumed_table_is_right(self, case: Case) -> None:
        begin(case)
        case.place()
        (entry,) = [entry for entry in inventory.entries(case.cache) if entry.kind == "table"]
        assert inventory.verify(entry) is None

    def test_rows_and_heads_that_rot_are_fetched_again(self, case: Case) -> None:
        source = case.source()
        source.head(SHARD, case.start)
        case.row(3, source)
        for path in case.kept(".range"):
            data = bytearray(path.read_bytes())
            data[3] ^= 1
            path.write_bytes(data)
        (entry,) = [entry for entry in inventory.entries(case.cache) if entry.kind == "rows"]
        assert str(inventory.verify(entry)).startswith("2 damaged")
        again = case.source(revision=case.commit)
        assert again.head(SHARD, case.start) == case.data[: case.start]
        assert case.row(3, again) == case.true_row(3)
        for path in case.kept(".json"):
            path.write_bytes(b"\xff[[[")
        assert case.row(3, case.source(revision=case.commit)) == case.true_row(3)


class TestInventory:
    def test_lists_and_removes(self, case: Case) -> None:
        source = case.source()
        source.files()
        source.head(SHARD, case.start)
        case.place(source)
        begin_other = case.hub.add("acme/other", {SHARD: case.data[::-1]})
        assert begin_other
        listed = inventory.entries(case.cache)
        assert sorted(entry.kind for entry in listed) == ["records", "rows", "table"]
        assert listed[0].about == "model.embed_tokens.weight BF16 2,501 × 2,048"
        assert {entry.model for entry in listed} == {"acme/tiny"}
        assert sum(inventory.remove(entry) for entry in listed) > len(case.table)
        assert inventory.entries(case.cache) == ()
        assert not [path for path in case.cache.rglob("*") if path.is_file() and path.name != "CACHEDIR.TAG"]
        assert case.fetch() == case.table

    def test_an_unfinished_table_is_listed_and_not_removed_while_it_is_fetched(self, case: Case) -> None:
        begin(case)
        (entry,) = [entry for entry in inventory.entries(case.cache) if entry.kind == "unfinished"]
        assert entry.about == "model.embed_tokens.weight BF16 2,501 × 2,048, not finished"
        holder = lock.FileLock(entry.path.with_suffix(".lock"))
        assert holder.try_acquire()
        with pytest.raises(LocalFailure, match="being fetched by another process"):
            inventory.remove(entry)
        holder.release()
        assert inventory.remove(entry) == entry.bytes
        assert not case.kept(".part") + case.kept(".journal")

    def test_an_empty_or_absent_cache(self, tmp_path: Path) -> None:
        assert inventory.entries(tmp_path / "nothing") == ()
        (tmp_path / "v1").mkdir()
        assert inventory.entries(tmp_path) == ()

    def test_a_fork_or_a_new_commit_with_the_same_shard_costs_nothing(self, case: Case) -> None:
        case.place()
        case.hub.add("acme/fork", case.files(**{"README.md": b"fork"}))
        case.hub.reset()
        assert case.fetch(case.source("acme/fork")) == case.table
        assert case.hub.count("storage") == 0


class TestJournalAndPart:
    @given(st.integers(1, 40), st.integers(1, BLOCK), st.data())
    def test_what_is_saved_is_loaded(self, blocks: int, rest: int, data: st.DataObject) -> None:
        length = (blocks - 1) * BLOCK + rest
        done = data.draw(st.sets(st.integers(0, blocks - 1)))
        bitmap = bytearray((blocks + 7) // 8)
        for block in done:
            bitmap[block // 8] |= 1 << block % 8
        expected = sum(min(BLOCK, length - block * BLOCK) for block in done)
        assert claimed_bytes(bytes(bitmap), length) == expected

    def test_a_slot_survives_any_cut_of_the_other(self, tmp_path: Path) -> None:
        path, whose, length = tmp_path / "x.journal", bytes(range(32)), 20 * BLOCK
        kept = Journal(path, whose, length)
        kept.save(b"\x01\x00\x00")
        kept.save(b"\x03\x00\x00")
        kept.close()
        sound = path.read_bytes()
        half = len(sound) // 2
        for cut in range(60):
            torn = sound[:cut] + b"\xee" * (half - cut) + sound[half:]
            path.write_bytes(torn)
            assert peek(path, whose, length) in (b"\x01\x00\x00", b"\x03\x00\x00")

    def test_without_pwrite(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("pwrite", "pread", "preadv", "fdatasync"):
            monkeypatch.delattr(os, name, raising=False)
        begin(case)
        assert case.fetch() == case.table

    def test_a_part_stays_open_for_a_thread_that_was_left_behind(self, tmp_path: Path) -> None:
        part = Part(tmp_path / "x.part", 10)
        with part.in_use():
            part.close()
            part.write(3, memoryview(b"late"))
        with pytest.raises(OSError, match="Bad file"):
            part.write(0, memoryview(b"x"))
        assert (tmp_path / "x.part").read_bytes() == b"\0\0\0late\0\0\0"


@pytest.mark.slow
def test_memory_of_a_long_fetch(tmp_path: Path) -> None:
    """At most 150 MB, the server in another process; how fast it is, `benchmarks/fetch.py` itself measures."""
    script = Path(__file__).parent.parent / "benchmarks" / "fetch.py"
    command = [sys.executable, str(script), str(tmp_path), "--rounds", "1"]
    reachable = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=reachable)
    assert float(run.stdout.split()[1]) < 150, run.stdout


def test_an_error_of_the_machine_is_one_of_ours() -> None:
    assert issubclass(LocalFailure, EmbtoolError)
