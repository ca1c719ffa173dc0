"""The cache is the user's own, nothing is written through a link, and what is damaged is made anew.

Everything that is kept is made once: the norms of a table, the index of a vocabulary, the conversion of word vectors,
and what a hub said and sent. Then each of these files, and each folder, is damaged or exchanged.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hub_fixtures import Case
from program import Answer, Program, is_almighty
from small_models import write_model

from embtool.errors import LocalFailure, Unreachable
from embtool.hub import inventory
from embtool.hub.journal import BLOCK, find_damage
from embtool.hub.lock import FileLock
from embtool.model import open_model
from embtool.storage import cache, kept
from embtool.storage.cache import open_kept, put, read_kept, refusal
from embtool.tables import norms
from embtool.tables.norms import row_norms

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")

FLIPS = 10
"""Bits that are flipped in each file, one at a time."""


class Desk:
    """A user with a local model, a file of words, and a hub; and what each keeps in the cache."""

    def __init__(self, case: Case) -> None:
        self.case, self.folder = case, case.folder / "work"
        write_model(self.folder / "local")
        words = [f"{name} {number} {number * number} 1" for number, name in enumerate("abcdefgh")]
        (self.folder / "words.vec").write_text("\n".join(["8 3", *words, ""]))
        (case.folder / "home").mkdir()
        self.said = ""
        """What the last run of the program wrote on stderr."""
        self.program = Program(case.folder / "home", self.folder)

    def run(self, line: str, **variables: str) -> Answer:
        return self.program(*line.split(), env={"EMBTOOL_CACHE": str(self.case.cache), **variables})

    def answers(self) -> list[object]:
        """Ask everything of which something is kept."""
        source = self.case.source()
        asked = self.run("row king -m local -f json").ok()
        self.said = asked.errors
        return [
            row_norms(open_model(self.folder / "local").input_table).tolist(),
            asked.out,
            open_model(self.folder / "words.vec").input_table.rows([1, 3, 7]).tolist(),
            [token.text for token in open_model(self.folder / "words.vec").vocabulary],
            source.files(),
            source.read_file("config.json"),
            source.head("model.safetensors", 100),
            self.case.row(5, source),
            self.case.fetch(source),
        ]

    def files(self) -> list[Path]:
        return sorted(path for path in (self.case.cache / "v1").rglob("*") if path.is_file())

    def verdicts(self) -> dict[Path, str]:
        """What `cache verify` finds wrong, by the entry's path."""
        found = [(entry.path, inventory.verify(entry)) for entry in inventory.entries(self.case.cache)]
        return {path: wrong for path, wrong in found if wrong is not None}


@pytest.fixture
def desk(case: Case, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr(norms, "KEPT_BYTES", 1)
    return Desk(case)


def begin(case: Case) -> tuple[Path, Path]:
    """Fetch three blocks of a table and be cut off; give the part and the journal."""
    case.hub.fault("drop", where="storage", after=3 * BLOCK + 1000)
    case.hub.fault("status", where="storage", skip=1, times=None, code=503)
    with pytest.raises(Unreachable):
        case.fetch()
    case.hub.reset()
    return case.kept(".part")[0], case.kept(".journal")[0]


def test_everything_that_is_kept_is_made(desk: Desk) -> None:
    desk.answers()
    endings = {path.suffix for path in desk.files()}
    assert endings == {".norms", ".sqlite", ".safetensors", ".json", ".range"}
    assert desk.verdicts() == {}
    assert desk.run("cache verify").status == 0


@pytest.mark.slow
@pytest.mark.few(1)
@pytest.mark.parametrize("flips", [1, FLIPS])
def test_a_flipped_bit_changes_no_answer_and_is_found(desk: Desk, flips: int) -> None:
    true = desk.answers()
    random = Random(7)  # noqa: S311 - the same bits every time
    kinds = set()
    for path in desk.files():
        sound = path.read_bytes()
        for place in {0, len(sound) - 1, *(random.randrange(len(sound)) for _ in range(flips))}:
            if not path.exists():  # another name for the same content: a record that was not asked for any more
                break
            damaged = bytearray(sound)
            damaged[place] ^= 1 << random.randrange(8)
            path.write_bytes(damaged)
            assert any(path == found or found in path.parents for found in desk.verdicts()) or (
                path.name == "about.json" and desk.verdicts()
            ), (path, place)
            assert desk.answers() == true, (path, place)
            path.write_bytes(sound)
        kinds.add(path.suffix)
    assert len(kinds) == 5
    assert desk.answers() == true
    assert desk.verdicts() == {}


def test_the_command_names_what_is_damaged(desk: Desk) -> None:
    desk.answers()
    (path,) = desk.case.kept(".norms")
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    answer = desk.run("cache verify -f json")
    assert answer.status == 6
    (entry,) = [entry for entry in answer.document["entries"] if entry["verdict"] != "sound"]
    assert path.name in entry["verdict"]


@pytest.mark.few(1)
@pytest.mark.parametrize("cut", [0, 1, 40])
def test_a_file_that_is_cut_changes_no_answer(desk: Desk, cut: int) -> None:
    true = desk.answers()
    for path in desk.files():
        path.write_bytes(path.read_bytes()[:cut])
        assert desk.verdicts() != {}, path
        assert desk.answers() == true, path


@pytest.mark.few(1)
@pytest.mark.parametrize("place", ["file", "nothing", "pipe", "folder"])
def test_a_kept_file_that_is_something_else_is_neither_followed_nor_waited_for(desk: Desk, place: str) -> None:
    true = desk.answers()
    decoy = desk.folder / "decoy"
    decoy.write_bytes(b"mine")
    made: dict[str, Callable[[Path], object]] = {
        "file": lambda path: path.symlink_to(decoy),
        "nothing": lambda path: path.symlink_to(desk.folder / "nothing"),
        "pipe": os.mkfifo,
        "folder": Path.mkdir,
    }
    for path in [*desk.files(), desk.case.cache / "CACHEDIR.TAG"]:
        if not path.exists():
            continue
        sound = path.read_bytes()
        path.unlink()
        made[place](path)
        if place != "folder":
            assert desk.verdicts() != {} or path.name == "CACHEDIR.TAG", path
            assert desk.answers() == true, path
        else:  # nothing can take the place of a folder; the answer is right, or a refusal
            try:
                assert desk.answers() == true, path
            except LocalFailure:
                assert path.suffix == ".safetensors"
            path.rmdir()
        assert decoy.read_bytes() == b"mine"
        assert not (desk.folder / "nothing").exists()
        if not path.is_file() or path.is_symlink():
            path.unlink(missing_ok=True)
            path.write_bytes(sound)


def test_a_file_that_leads_to_the_right_bytes_elsewhere_is_not_followed_either(desk: Desk) -> None:
    true = desk.answers()
    for path in desk.files():
        elsewhere = desk.folder / "elsewhere"
        shutil.copy2(path, elsewhere)
        path.unlink()
        path.symlink_to(elsewhere)
        with pytest.raises(cache.NotOurs):
            open_kept(path)
        assert desk.answers() == true


def test_a_folder_in_the_cache_that_is_a_link_is_not_used(desk: Desk) -> None:
    true = desk.answers()
    folders = sorted(path for path in (desk.case.cache / "v1").rglob("*") if path.is_dir())
    for folder in [desk.case.cache / "v1", *folders]:
        aside, elsewhere = folder.with_name(folder.name + ".aside"), desk.folder / "elsewhere"
        folder.rename(aside)
        elsewhere.mkdir()
        folder.symlink_to(elsewhere)
        refusal()
        if any(aside.rglob("*-*.safetensors")):  # a table of a hub cannot be had without a cache
            with pytest.raises(LocalFailure, match=r"is a link|words\.vec"):
                desk.answers()
        else:
            with suppress(LocalFailure):  # and neither can word vectors
                assert desk.answers() == true
        assert "is a link" in f"{refusal()} {desk.said}", folder
        assert list(elsewhere.iterdir()) == []
        folder.unlink()
        aside.rename(folder)
        elsewhere.rmdir()


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757, 0o730])
def test_a_cache_that_others_may_write_is_not_used_and_that_is_said_once(desk: Desk, mode: int) -> None:
    root = desk.folder / "loose"
    root.mkdir()
    root.chmod(mode)
    answer = desk.run("norms local --token king", EMBTOOL_CACHE=str(root)).ok()
    (note,) = [line for line in answer.of("note") if "cache" in line]
    assert "others may write" in note
    assert list(root.iterdir()) == []
    assert "others may write" in desk.run("cache ls", EMBTOOL_CACHE=str(root)).refused(7)
    root.chmod(0o755)
    assert "cache" not in desk.run("norms local --token king", EMBTOOL_CACHE=str(root)).ok().errors
    assert list(root.iterdir()) != []


def test_a_folder_in_which_nobody_may_touch_anothers_files_will_do(desk: Desk) -> None:
    root = desk.folder / "sticky"
    root.mkdir()
    root.chmod(0o1777)
    desk.run("norms local --token king", EMBTOOL_CACHE=str(root)).ok()
    assert (root / "v1").stat().st_mode & 0o777 == 0o755


def test_what_is_made_cannot_be_written_by_others_whatever_the_umask(desk: Desk) -> None:
    before = os.umask(0)
    try:
        desk.answers()
    finally:
        os.umask(before)
    for path in [desk.case.cache, *desk.case.cache.rglob("*")]:
        assert not path.lstat().st_mode & cache.OTHERS_WRITE, path


def test_a_cache_of_another_user_is_not_used(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0 and not is_almighty():
        pytest.skip("root's files are trusted, and here they cannot be given away")
    true = desk.answers()
    before = {path: path.read_bytes() for path in desk.files()}
    for path in [desk.case.cache, *desk.case.cache.rglob("*")]:
        if is_almighty():
            os.chown(path, 12345, 12345)
    if not is_almighty():
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    for line in ("norms local --token king", "row king -m local"):
        (note,) = [line for line in desk.run(line).ok().of("note") if "cache" in line]
        assert "belongs to another user" in note
    assert "belongs to another user" in desk.run("cache verify").refused(7)
    assert "belongs to another user" in desk.run("cache rm --all").refused(7)
    assert desk.run("neighbors b -m words.vec").status == 7
    assert {path: path.read_bytes() for path in desk.files()} == before
    assert true[0] == row_norms(open_model(desk.folder / "local").input_table).tolist()


def test_what_root_has_put_there_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make root's files")
    desk.answers()
    place = desk.case.kept(".norms")[0]
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert read_kept(place, 1 << 20) == place.read_bytes()


def test_one_file_of_another_user_is_made_anew(desk: Desk) -> None:
    if not is_almighty():
        pytest.skip("only root can give files away")
    true = desk.answers()
    for path in desk.files():
        os.chown(path, 12345, 12345)
    assert desk.verdicts() != {}
    assert desk.answers() == true
    assert all(path.stat().st_uid == 0 for path in desk.files() if path.name != "about.json")


def test_a_link_to_the_cache_is_the_users_own_choice_or_not_used(desk: Desk) -> None:
    (desk.folder / "real").mkdir()
    link = desk.folder / "link"
    link.symlink_to("real")
    desk.run("norms local --token king", EMBTOOL_CACHE=str(link)).ok()
    assert (desk.folder / "real" / "v1" / "norms").is_dir()
    if is_almighty():
        os.chown(link, 12345, 12345, follow_symlinks=False)
        answer = desk.run("norms local --token king", EMBTOOL_CACHE=str(link)).ok()
        assert any("belongs to another user" in note for note in answer.of("note"))


def test_a_lock_and_a_part_are_not_made_through_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    folder.mkdir()
    decoy = tmp_path / "decoy"
    decoy.write_bytes(b"mine")
    (folder / "x.lock").symlink_to(decoy)
    lock = FileLock(folder / "x.lock")
    assert lock.try_acquire()
    lock.release()
    os.mkfifo(folder / "y.lock")
    assert FileLock(folder / "y.lock").try_acquire()
    (folder / "x.part").symlink_to(decoy)
    os.close(open_kept(folder / "x.part", os.O_RDWR | os.O_CREAT))
    assert decoy.read_bytes() == b"mine"
    assert not (folder / "x.lock").is_symlink()
    assert not (folder / "x.part").is_symlink()


def test_put_replaces_a_link_and_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path / "c"))
    decoy = tmp_path / "decoy"
    decoy.write_bytes(b"mine")
    place = cache.derived("norms", "ab" * 32)
    assert put(place, lambda file: file.write(b"1"))
    for kind in ("link", "pipe"):
        place.unlink()
        if kind == "link":
            place.symlink_to(decoy)
        else:
            os.mkfifo(place)
        assert read_kept(place, 10) is None
        assert put(place, lambda file: file.write(b"2"))
        assert read_kept(place, 10) == b"2"
    assert decoy.read_bytes() == b"mine"
    assert read_kept(place, 0) is None


def test_a_table_that_was_touched_is_read_whole_and_known_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "ALWAYS_READ", 1000)
    read: list[int] = []
    checksum = kept.checksum

    def counted(*values: Any) -> str:
        read.append(1)
        return checksum(*values)

    monkeypatch.setattr(kept, "checksum", counted)
    desk.case.place()
    (path,) = desk.case.kept(".safetensors")
    assert kept.is_sound(path)
    assert read == []
    os.utime(path)
    assert kept.is_sound(path)
    assert kept.is_sound(path)
    assert read == [1]
    data = bytearray(path.read_bytes())
    data[5000] ^= 4
    path.write_bytes(data)
    assert not kept.is_sound(path)
    assert desk.case.fetch() == desk.case.table


def test_a_block_of_an_unfinished_table_that_has_rotted_is_fetched_again(desk: Desk) -> None:
    case = desk.case
    part, journal = begin(case)
    length = len(case.table)
    assert find_damage(part, journal, length) is None
    data = bytearray(part.read_bytes())
    offset = len(data) - length
    claimed = [at for at in range(0, length, BLOCK) if any(data[offset + at :][: 1 << 12])]
    data[offset + claimed[0] + 77] ^= 1
    part.write_bytes(data)
    assert "1 of its blocks" in str(find_damage(part, journal, length))
    assert "blocks" in desk.verdicts()[part]
    assert case.fetch() == case.table


@pytest.mark.slow
def test_every_flip_in_a_journal_is_harmless_and_found(desk: Desk) -> None:
    case = desk.case
    part, journal = begin(case)
    sound, filled = journal.read_bytes(), part.read_bytes()
    random = Random(3)  # noqa: S311 - the same bits every time
    for place in [random.randrange(120) + half for half in (0, len(sound) // 2) for _ in range(6)]:
        data = bytearray(sound)
        data[place] ^= 1 << random.randrange(8)
        for finished in case.kept(".safetensors"):
            finished.unlink()
        part.write_bytes(filled)
        journal.write_bytes(data)
        if any(sound[: len(sound) // 2] if place < len(sound) // 2 else sound[len(sound) // 2 :]):
            assert "journal" in desk.verdicts()[part], place
        assert case.fetch() == case.table
