"""What is decided about single answers, names and kept bytes, case by case; most of it without a hub."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hub_fixtures import HURRY, MODEL, SHARD, Case

from embtool.errors import (
    AccessDenied,
    BadReference,
    EmbtoolError,
    FileNotInModel,
    FormatError,
    ModelNotFound,
    Unreachable,
)
from embtool.hub import failures, inventory, remote_file, store
from embtool.hub.endpoint import Endpoint
from embtool.hub.failures import Asked, from_os_error, from_status, network_error
from embtool.hub.journal import BLOCK, Journal, Part
from embtool.hub.reference import parse_reference
from embtool.hub.store import FileRecord, Store, content_key, is_range_sound, matches, read_small, seal, spans
from embtool.storage.kept import read_metadata

HUB = Endpoint("https://huggingface.co")
ASKED = Asked(HUB, "org/name", "v1", "config.json")
WHOLE = dataclasses.replace(ASKED, file=None)
COMMIT = "c" * 40


# --- What a hub answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "asked", "kind", "message", "hint"),
    [
        (404, {}, ASKED, ModelNotFound, "not found: config.json of org/name at revision v1", "which did not say"),
        (404, {}, WHOLE, ModelNotFound, "not found: org/name at revision v1", "asked https://huggingface.co, which"),
        (404, {"x-repo-commit": COMMIT}, ASKED, FileNotInModel, "org/name has no file config.json", None),
        (404, {"x-repo-commit": COMMIT}, WHOLE, ModelNotFound, "not found: org/name at revision v1", "which did not"),
        (404, {"x-error-code": "EntryNotFound"}, ASKED, FileNotInModel, "org/name has no file config.json", None),
        (404, {"x-error-code": "RevisionNotFound"}, ASKED, ModelNotFound, "org/name has no revision v1", None),
        (404, {"x-error-code": "RepoNotFound"}, ASKED, ModelNotFound, "no such repository: org/name", "if it is priv"),
        (401, {"x-error-code": "RepoNotFound"}, ASKED, AccessDenied, "no such repository, or private: org/name", "if"),
        (401, {"x-error-code": "GatedRepo"}, ASKED, AccessDenied, "org/name is gated: its owner", "ask for access at"),
        (403, {}, ASKED, AccessDenied, "https://huggingface.co refuses config.json of org/name (403)", "if it is pri"),
        (403, {"x-error-message": "no"}, ASKED, AccessDenied, "refuses config.json of org/name (403): no", "if it is"),
        (403, {"x-error-message": "it is disabled"}, ASKED, AccessDenied, "org/name was disabled by the hub", None),
        (451, {}, ASKED, AccessDenied, "https://huggingface.co answered 451 for config.json of org/name", None),
        (407, {}, ASKED, Unreachable, "https://huggingface.co answered 407 for config", "name the user in HTTPS_PROXY"),
        (503, {}, ASKED, Unreachable, "https://huggingface.co answered 503 for config", "try again later"),
        (418, {"x-error-message": "tea"}, ASKED, FormatError, "answered 418 for config.json of org/name: tea", None),
        (418, {"x-error-message": "t" * 201}, ASKED, FormatError, f"name: {'t' * 200}…", None),
        (418, {"x-error-message": "t" * 200}, ASKED, FormatError, f"name: {'t' * 200}", None),
    ],
)
def test_a_status_is_an_error_that_says_what_to_do(
    status: int, headers: dict[str, str], asked: Asked, kind: type[EmbtoolError], message: str, hint: str | None
) -> None:
    error = from_status(status, headers, asked)
    assert type(error) is kind
    assert message in error.message
    assert (hint in error.hint if error.hint else hint is None) if hint is not None else error.hint is None


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"withheld_token": True}, "the token was not sent: https://huggingface.co is plain http"),
        ({"sent_token": True}, "the token that was sent is not known or may not read it"),
        ({}, "if it is private or gated, log in"),
    ],
)
def test_a_refusal_says_what_became_of_the_token(changes: dict[str, Any], hint: str) -> None:
    for status in (401, 403):
        assert hint in str(from_status(status, {}, dataclasses.replace(ASKED, **changes)).hint)


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (httpx2.ConnectError, Unreachable, "cannot connect to cdn: x"),
        (httpx2.ConnectTimeout, Unreachable, "cdn did not answer in time: x"),
        (httpx2.ReadTimeout, Unreachable, "cdn did not answer in time: x"),
        (httpx2.ProxyError, Unreachable, "the proxy does not lead to cdn: x"),
        (httpx2.UnsupportedProtocol, FormatError, "cdn leads to an address that is neither http nor https"),
        (httpx2.TooManyRedirects, FormatError, "cdn redirects without end"),
        (httpx2.ReadError, Unreachable, "the connection to cdn broke: ReadError"),
    ],
)
def test_a_connection_that_failed_names_the_host(
    kind: type[Exception], error: type[EmbtoolError], message: str
) -> None:
    ours = network_error(kind("x"), "cdn")
    assert (type(ours), ours.message) == (error, message)
    again = kind in (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ReadTimeout, httpx2.ReadError)
    assert failures.is_transport_error(kind("x")) is again


@pytest.mark.parametrize(
    ("number", "filename", "message", "has_hint"),
    [
        (errno.ENOSPC, "/a/b", "cannot: No space left on device (/a/b)", True),
        (errno.EDQUOT, None, "cannot: Disk quota exceeded", True),
        (errno.EACCES, None, "cannot: Permission denied", False),
    ],
)
def test_what_the_operating_system_says(number: int, filename: str | None, message: str, has_hint: bool) -> None:  # noqa: FBT001
    ours = from_os_error(OSError(number, os.strerror(number), filename), "cannot")
    assert ours.message == message
    assert (ours.hint is not None) is has_hint


def test_an_address_with_a_slash_at_its_end_names_no_file() -> None:
    for text in ("hf://org/name/", "hf://org/name@v1/", "hf://org/name@refs/pr/1/"):
        with pytest.raises(BadReference, match="no file is named after the last slash"):
            parse_reference(text)
    assert parse_reference("hf://org/name@refs/pr/1").file is None


# --- Small files --------------------------------------------------------------------------------------------------


def test_bytes_are_held_against_the_hash_that_their_etag_is() -> None:
    data = b"some bytes"
    git = hashlib.sha1(b"blob 10\0" + data, usedforsecurity=False).hexdigest()
    for etag in (git, hashlib.sha256(data).hexdigest()):
        assert matches(etag, data)
        assert not matches(etag, data + b"!")
        assert matches(etag[:-1], data + b"!"), "no hash at all"
    assert matches("", data)
    assert not matches("", None), "bytes that are not here match nothing"


# --- What is kept -------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return Store(tmp_path, HUB)


def test_a_longer_head_replaces_shorter_ones(kept: Store) -> None:
    kept.keep_head("ab" * 20, b"12")
    kept.keep_head("ab" * 20, b"1234")
    heads = kept.content("ab" * 20) / "heads"
    assert [path.name for path in heads.iterdir()] == ["0-4.range"]
    kept.keep_head("ab" * 20, b"123")
    assert kept.head("ab" * 20, 4, 10) == b"1234"
    assert kept.head("ab" * 20, 3, 10) == b"123"
    assert kept.head("ab" * 20, 5, 10) is None
    assert kept.head("ab" * 20, 5, 4) == b"1234", "the file has no more"


def test_a_head_that_is_too_long_to_keep_replaces_none(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RANGE_LIMIT", 4)
    kept.keep_head("ab" * 20, b"1234")
    kept.keep_head("ab" * 20, b"12345")
    assert kept.head("ab" * 20, 4, 10) == b"1234"


def test_a_row_is_found_by_exactly_its_bytes(kept: Store) -> None:
    kept.keep_row("k", 10, b"row")
    assert kept.row("k", 10, 13) == b"row"
    assert kept.row("k", 10, 12) is kept.row("k", 11, 13) is None
    (path,) = (kept.content("k") / "rows").iterdir()
    assert is_range_sound(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_range_sound(path)
    assert kept.row("k", 10, 13) is None
    path.write_bytes(b"other" + path.read_bytes()[5:] + b"!")
    assert kept.row("k", 10, 13) is None


@pytest.mark.parametrize(
    "known",
    [
        b"",
        b"[]",
        b'{"file": "b", "etag": "e", "size": 1}',
        b'{"file": "a", "etag": 5, "size": 1}',
        b'{"file": "a", "etag": "e", "size": -1}',
        b'{"file": "a", "etag": "e", "size": true}',
        b'{"file": "a", "etag": "e"}',
    ],
)
def test_a_record_that_is_none_is_not_believed(kept: Store, known: bytes) -> None:
    record = FileRecord("a", COMMIT, "e", 0)
    kept.keep_record("org/name", record)
    assert kept.record("org/name", COMMIT, "a") == record
    for text in (known, seal(known), seal(b'{"file": "a", "etag": "e", "size": 1}')[:-1]):
        kept._record_path("org/name", COMMIT, "a").write_bytes(text)
        assert kept.record("org/name", COMMIT, "a") is None


@pytest.mark.parametrize("size", [-1, 1.5, True, "1"])
def test_a_listing_that_is_none_is_not_believed(kept: Store, size: Any) -> None:
    kept.keep_listing("org/name", COMMIT, {"a": 0, "b": None})
    assert kept.listing("org/name", COMMIT) == {"a": 0, "b": None}
    kept.keep_listing("org/name", COMMIT, {"a": 1, "b": size})
    assert kept.listing("org/name", COMMIT) is None


def test_a_branch_means_a_commit_and_nothing_else(kept: Store) -> None:
    for commit, meaning in ((COMMIT, COMMIT), ("main", None)):
        kept.keep_commit("org/name", "main", commit)
        assert kept.commit("org/name", "main") == meaning
    assert kept.commit("org/name", "other") is None


def test_a_content_is_known_by_its_hash_or_by_all_that_is_said_of_it() -> None:
    record = FileRecord("a", COMMIT, "e" * 40, 1)
    assert content_key("org/name", record) == content_key("org/fork", dataclasses.replace(record, file="b")) == "e" * 40
    assert content_key("org/name", dataclasses.replace(record, etag="e" * 64)) == "e" * 64
    odd = dataclasses.replace(record, etag="E" * 40)
    others: dict[str, Any] = {"file": "b", "commit": "d" * 40, "etag": "", "size": 2}
    keys = {content_key("org/name", dataclasses.replace(odd, **{name: value})) for name, value in others.items()}
    assert len(keys | {content_key("org/name", odd), content_key("org/fork", odd)}) == 6


def test_a_file_of_the_cache_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1234")
    assert read_small(tmp_path / "x", 4) == b"1234"
    assert read_small(tmp_path / "x", 3) is None
    assert read_small(tmp_path / "y", 3) is None
    assert read_small(tmp_path, 3) is None


def test_spans_are_read_from_names(tmp_path: Path) -> None:
    for name in ("0-5.range", "7-7.range", "9-8.range", "1-2.part", "x-2.range", "12345678901234567890-2.range"):
        (tmp_path / name).touch()
    assert list(spans(tmp_path, ".range")) == [(0, 5, tmp_path / "0-5.range")]
    assert list(spans(tmp_path / "absent", ".range")) == []


def test_what_is_kept_says_for_people_what_it_is(case: Case, kept: Store) -> None:
    record = FileRecord("a", COMMIT, "e" * 40, 5)
    kept.keep_record("org/name", record)
    about = {"model": "org/name", "commit": COMMIT, "file": "a", "etag": "e" * 40, "size": 5, "endpoint": HUB.shown}
    assert json.loads((kept.content("e" * 40) / "about.json").read_text().splitlines()[0]) == about
    metadata = read_metadata(case.place().path)
    assert metadata is not None
    assert metadata[1]["format"] == "embtool"


def test_questions_are_small_and_say_what_is_wanted(case: Case) -> None:
    source = case.source()
    assert source.size(SHARD) == len(case.data)
    assert [request.range for request in case.hub.requests()] == ["bytes=0-0"]
    case.hub.reset()
    source.files()
    (listing,) = case.hub.requests()
    assert listing.headers["accept"] == "application/json"


def test_nothing_is_left_of_an_entry_that_was_the_last(case: Case) -> None:
    source = case.source()
    source.files()
    source.head(SHARD, case.start)
    case.place(source)
    for entry in inventory.entries(case.cache):
        inventory.remove(entry)
    assert not any((case.cache / "v1").iterdir())


def test_an_entry_that_is_gone_already_frees_nothing(case: Case) -> None:
    case.place()
    (table,) = [entry for entry in inventory.entries(case.cache) if entry.kind == "table"]
    table.path.unlink()
    assert inventory.remove(table) == 0


def test_an_entry_that_goes_while_it_is_listed_has_no_size(tmp_path: Path) -> None:
    assert inventory._size(tmp_path / "gone") == 0
    assert inventory._time(tmp_path / "gone") == 0
    (tmp_path / "here").write_bytes(b"123")
    assert inventory._size(tmp_path / "here") == 3


# --- A repository -------------------------------------------------------------------------------------------------


def test_a_file_that_the_listing_lacks_is_not_asked_for(case: Case) -> None:
    source = case.source()
    source.files()
    source.read_file("config.json")
    case.hub.reset()
    with pytest.raises(FileNotInModel, match=r"acme/tiny has no file other\.json"):
        source.read_file("other.json")
    assert not source.has("another.json")
    case.holds(requests=0)


def test_what_was_fetched_of_a_tag_is_there_offline(case: Case) -> None:
    case.hub.add(MODEL, case.files(**{"config.json": b'{"tagged": 1}'}), "v1")
    for reference in (f"{MODEL}@v1", MODEL):
        case.source(reference).read_file("config.json")
    case.hub.reset()
    assert case.source(f"{MODEL}@v1", offline=True).read_file("config.json") == b'{"tagged": 1}'
    with pytest.raises(Unreachable, match=r"offline, and not in the cache: config\.json of acme/tiny"):
        case.source(f"{MODEL}@v2", offline=True).read_file("config.json")
    case.holds(requests=0)


def test_the_size_of_all_weights_is_read_where_it_was_said(case: Case) -> None:
    source = case.source()
    assert source.weights_size() is None
    source.head(SHARD, 8)
    assert source.weights_size() == len(case.data), "of the files that were asked for"
    source.files()
    assert source.weights_size() == len(case.data)


@pytest.mark.parametrize(
    ("total", "size"),
    [("5", 5), ("1", 1), ("7.0", 7), ("true", None), ("0", None), ("-1", None), ('"5"', None), ("1e300", None)],
)
def test_the_size_of_all_weights_in_an_index(case: Case, total: str, size: int | None) -> None:
    name = "model.safetensors.index.json"
    case.hub.add("acme/sharded", {name: f'{{"metadata": {{"total_size": {total}}}}}'.encode(), "config.json": b"{}"})
    source = case.source("acme/sharded")
    source.read_file("config.json")
    source.read_file(name)
    assert source.weights_size() == size


@pytest.mark.parametrize("text", [b"{}", b"[]", b'{"metadata": 5}', b"not JSON", b"[" * 100_000])
def test_an_index_that_says_no_size_is_passed_over(case: Case, text: bytes) -> None:
    case.hub.add("acme/sharded", {"model.safetensors.index.json": text})
    source = case.source("acme/sharded")
    source.read_file("model.safetensors.index.json")
    assert source.weights_size() is None


def test_a_plan_names_the_part_of_a_table_that_is_here(case: Case) -> None:
    case.hub.fault("drop", where="storage", after=3 * BLOCK + 1000)
    case.hub.fault("status", where="storage", skip=1, times=None, code=503)
    source = case.source()
    with pytest.raises(Unreachable):
        case.place(source)
    (part,) = case.kept(".part")
    plan = source.plan_local_range(SHARD, case.start, case.stop)
    assert plan.path == part
    assert plan.missing is not None
    assert 0 < plan.missing < case.stop - case.start
    assert not plan.is_cached


def test_an_absence_that_names_no_commit_settles_none(case: Case) -> None:
    case.hub.fault("omit", where="hub", names=("X-Repo-Commit",))
    for commit in (None, case.commit):
        source = case.source()
        with pytest.raises(FileNotInModel):
            source.read_file("vocab.json")
        assert source.commit == commit


def test_a_table_of_bytes_that_the_file_has_not_is_refused(case: Case) -> None:
    source = case.source()
    for start, stop in ((-1, 5), (5, 5), (6, 5), (0, len(case.data) + 1)):
        with pytest.raises(FormatError, match=r"has [\d,]+ bytes, not the range"):
            source.local_range(SHARD, start, stop)
    assert source.local_range(SHARD, len(case.data) - 5, len(case.data)).stop


def test_a_small_file_has_a_limit(case: Case) -> None:
    source = case.source()
    data = b'{"model_type": "llama"}'
    assert source.read_file("config.json", len(data)) == data
    with pytest.raises(FormatError, match=f"config.json of acme/tiny is too large: the limit is {len(data) - 1} bytes"):
        source.read_file("config.json", len(data) - 1)


# --- Transport and journal ----------------------------------------------------------------------------------------


class _Body:
    """An answer that is not wanted, in chunks of these lengths."""

    def __init__(self, *lengths: int) -> None:
        self.lengths = lengths
        self.taken = 0

    def iter_raw(self) -> Iterator[bytes]:
        for length in self.lengths:
            self.taken += 1
            yield bytes(length)


@pytest.mark.parametrize(
    ("lengths", "taken"),
    [((10, 10), 2), ((remote_file.ASIDE_LIMIT, 1, 1, 1), 2), ((remote_file.ASIDE_LIMIT // 2 + 1,) * 9, 2)],
)
def test_an_answer_that_is_not_wanted_is_read_only_so_far(lengths: tuple[int, ...], taken: int) -> None:
    body: Any = _Body(*lengths)
    remote_file._drain(body)
    assert body.taken == taken


def test_a_connection_that_brings_enough_each_time_may_break_as_often_as_it_likes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_file, "WORTH_AN_ATTEMPT", 200_000)
    case.hub.fault("drop", where="storage", after=300_000, times=None)
    assert case.source().head(SHARD, 3_000_000) == case.data[:3_000_000]
    assert case.hub.count("storage") > 2 * HURRY.attempts


def test_a_connection_that_breaks_for_good_names_the_host(case: Case) -> None:
    case.hub.fault("drop", where="storage", after=10, times=None)
    with pytest.raises(Unreachable, match=r"the connection to 127\.0\.0\.1 broke: RemoteProtocolError"):
        case.source().head(SHARD, 5000)


def answer(status: int, length: int, **headers: str) -> httpx2.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx2.Response(status, headers={"content-length": str(length), **named})
    response.request = httpx2.Request("GET", "https://cdn.example/x")
    return response


def test_an_answer_without_a_type_is_one_by_its_bytes(case: Case) -> None:
    remote = case.source()._remote(SHARD)
    size = len(case.data)
    for first, last in ((0, 0), (5, 9)):
        found = answer(206, last - first + 1, content_range=f"bytes {first}-{last}/{size}")
        assert remote._check(found, "https://cdn.example/x", first, last + 1) == last + 1
    with pytest.raises(FormatError, match=r"cdn\.example does not answer like a Hugging Face"):
        remote._check(answer(206, 1, content_type="Text/HTML; x"), "https://cdn.example/x", 0, 1)


def test_a_commit_that_is_none_is_quoted(case: Case) -> None:
    remote = case.source()._remote(SHARD)
    with pytest.raises(FormatError, match="sent an invalid commit id: 'main'"):
        remote._note({"x-repo-commit": "main"}, None)
    with pytest.raises(FormatError, match="does not answer like a Hugging Face"):
        remote._note({}, None)


def test_a_whole_file_counts_only_where_it_is_what_was_asked_for(case: Case) -> None:
    size = len(case.data)
    for start, stop, length in ((1, size, size), (0, size - 1, size), (0, size, size - 1)):
        source = case.source()
        source.head(SHARD, 8)
        with pytest.raises(FormatError, match="ignores byte ranges"):
            source._remote(SHARD)._check_whole(length, start, stop, "cdn.example")
    assert source._remote(SHARD)._check_whole(size, 0, size, "cdn.example") == size


def test_a_part_knows_what_the_disk_has_of_it(tmp_path: Path) -> None:
    part = Part(tmp_path / "x.part", 4 * BLOCK)
    part.write(0, memoryview(os.urandom(BLOCK)))
    part.sync()
    blocks = getattr(part.path.stat(), "st_blocks", 0)
    assert (part.allocated, type(part.allocated)) == (512 * blocks, int)
    assert part.is_new
    part.close()
    again = Part(tmp_path / "x.part", 4 * BLOCK)
    assert not again.is_new
    again.close()


def test_a_part_that_cannot_be_made_leaves_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    close = os.close

    def refuse(descriptor: int, length: int) -> None:
        raise OSError(errno.ENOSPC, f"{descriptor} {length}")

    def note(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "ftruncate", refuse)
    monkeypatch.setattr(os, "close", note)
    for make in (lambda: Part(tmp_path / "x", 10), lambda: Journal(tmp_path / "y", bytes(32), 10)):
        with pytest.raises(OSError, match="0"):
            make()
    assert len(closed) == 2
