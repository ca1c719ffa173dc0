"""Targets: what a server says, and what is read back from the cache of fetched parts."""

import hashlib
import io
import json
import zlib
from contextlib import nullcontext
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from mutate import document, mixed, octets
from readers_checkpoint import change_header, file_of_header
from target import scratch, target

from embtool import kept
from embtool.errors import EmbtoolError, FormatError
from embtool.hub import inventory, journal, reference, small, tablefile, transport
from embtool.hub.endpoint import Credentials, Endpoint
from embtool.hub.failures import from_status
from embtool.hub.repository import parse_listing
from embtool.hub.store import FileRecord, Store, content_key, is_hash, is_range_sound, matches, seal, spans
from embtool.source import Cost

HUB = Endpoint("https://hub.example")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "org/name"
TRANSPORT = transport.Transport(
    HUB, Credentials(HUB, None, lambda: None), transport.Patience(), transport.Meter(Cost())
)

ANSWER_WORDS = (
    *("status", "url", "start", "stop", "size", "whole", "content-range", "content-length", "content-type", "etag"),
    *("content-encoding", "location", "retry-after", "ratelimit", "x-repo-commit", "x-linked-etag", "x-linked-size"),
    *("x-error-code", "x-error-message", "headers"),
)
ANSWER_VALUES = (
    *(
        "bytes 0-9/100",
        "bytes */100",
        "bytes 0-99/100",
        "bytes 0-18446744073709551616/1",
        "10",
        "100",
        "-1",
        "1e9",
        "²",
    ),
    *(
        '"0123"',
        'W/"abc"',
        "../../x",
        "a" * 300,
        COMMIT,
        "0" * 64,
        "text/html",
        "gzip",
        "identity",
        "multipart/byteranges",
    ),
    *(
        '"api";r=0;t=30',
        '"x";r=1;t=5',
        "86400",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "//other.example/x",
        "http://x/",
        "http://[",
    ),
    *(
        "https://x:99999999/",
        "file:///etc/passwd",
        "https://hub.example/y",
        "GatedRepo",
        "RepoNotFound",
        "EntryNotFound",
    ),
    *(200, 206, 301, 302, 401, 403, 404, 416, 429, 500, 503, 0, 10, 100, "https://hub.example/org/name/resolve/main/x"),
)


def _text(value: Any) -> str:
    """Write the value of a header: what a server can send is bytes, which are read as Latin-1."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("latin-1", "replace").decode("latin-1").replace("\n", " ").replace("\r", " ")


def _whole(value: Any, otherwise: int) -> int:
    return value if type(value) is int and 0 <= value < 1 << 60 else otherwise


@target("answers", "status and headers of a server's answer", mutate=document(ANSWER_WORDS, ANSWER_VALUES))
def read_answer(case: bytes) -> None:
    """Hold an answer against a question: metadata, ranges, redirects, waits, errors."""
    try:
        asked = json.loads(case)
    except (ValueError, RecursionError) as error:
        raise FormatError("no document") from error
    said = asked if isinstance(asked, dict) else {}
    listed = said.get("headers")
    headers = {name.lower(): _text(value) for name, value in listed.items()} if isinstance(listed, dict) else {}
    status = _whole(said.get("status"), 206) % 1000
    url = "https://hub.example/org/name/resolve/main/x" if said.get("url") is None else "https://cdn.example/x"
    request = SimpleNamespace(url=url, method="GET", headers={}, extensions={})
    response = cast("Any", SimpleNamespace(status_code=status, headers=headers, request=request))
    question = TRANSPORT.asked(REPOSITORY, "main", "x")
    wait = transport.wait_asked(headers)
    assert wait is None or 0 <= wait < 1e10
    assert isinstance(from_status(status, headers, question), EmbtoolError)
    refusals = 0
    for read in (_target_of, _whole_file, _ranged):
        try:
            read(response, said, question)
        except EmbtoolError:
            refusals += 1
        except (transport.Again, transport.Refused):
            refusals += 1
    if refusals:
        raise FormatError("refused in part")


def _target_of(response: Any, said: dict[str, Any], question: Any) -> None:
    del said, question
    target = transport._target("https://hub.example/x", response.headers.get("location"))
    assert target.startswith("https://"), "from https to another scheme"
    HUB.is_origin_of(target)


def _whole_file(response: Any, said: dict[str, Any], question: Any) -> None:
    """Fetch a small file by this answer, whatever it holds: what is kept is named by the hash of its bytes."""
    del question
    data = _text(said.get("whole")).encode("utf-8", "surrogatepass")
    response.iter_raw = response.iter_bytes = lambda: iter((data,))
    stand_in = SimpleNamespace(
        endpoint=HUB,
        asked=TRANSPORT.asked,
        get=lambda _url, _headers: nullcontext(response),
        patiently=lambda attempt, _stop: attempt(),
    )
    remote = small.SmallFile(cast("Any", stand_in), REPOSITORY, "main", "x", None)
    record, fetched = remote.fetch(1 << 20, lambda _said: False)
    assert fetched == data
    assert is_hash(record.content)
    assert matches(record.content, data)
    assert reference.COMMIT.fullmatch(record.commit)
    assert record.size == len(data)


def _ranged(response: Any, said: dict[str, Any], question: Any) -> None:
    del question
    start = _whole(said.get("start"), 0)
    stop = max(_whole(said.get("stop"), 10), start + 1)
    size = said.get("size")
    record = FileRecord("x", COMMIT, "", size) if type(size) is int and 0 <= size < 1 << 60 else None
    remote = transport.RemoteFile(TRANSPORT, REPOSITORY, "main", "x", record)
    remote._note(response.headers, response)
    before = remote.record
    end = remote._check(response, "https://hub.example/x", start, stop)
    assert remote.record is not None
    assert start < end <= max(stop, remote.record.size) or remote.record.size == 0, "no bytes of a file that has some"
    assert end <= remote.record.size
    assert before is None or remote.record == before
    key = content_key(REPOSITORY, remote.record)
    assert "/" not in key


LISTING_VALUES = (
    "a.json",
    "../x",
    "a/b.safetensors",
    "con.json",
    10,
    -1,
    None,
    True,
    {"rfilename": "x", "size": 3},
    COMMIT,
)


@target(
    "listing",
    "the hub's list of a repository's files",
    mutate=document(("sha", "siblings", "rfilename", "size"), LISTING_VALUES),
)
def read_listing(case: bytes) -> None:
    """Read the list: no name in it leads out of the model."""
    commit, listing = parse_listing(case, REPOSITORY)
    assert reference.COMMIT.fullmatch(commit)
    for name, size in listing.items():
        assert ".." not in name.split("/")
        assert not name.startswith("/")
        assert size is None or size >= 0


# --- What was kept ----------------------------------------------------------------------------------------------------

SIDECAR_WORDS = ("ref", "record", "listing", "about", "commit", "revision", "file", "etag", "size", "model", "x")
WRITTEN: dict[Path, bytes] = {}
"""What the files now hold: most cases change one of them."""

SIDECAR_VALUES = (
    COMMIT,
    "x",
    "",
    "0" * 64,
    "../x",
    10,
    -1,
    None,
    {"file": "x", "etag": "", "size": 3},
    {"x": 3},
    {"x": None},
)


@target("sidecars", "records, references and listings in the cache", mutate=document(SIDECAR_WORDS, SIDECAR_VALUES))
def read_sidecars(case: bytes) -> None:
    """Put what a document says into the cache, and ask for it."""
    try:
        said = json.loads(case)
    except (ValueError, RecursionError) as error:
        raise FormatError("no document") from error
    if not isinstance(said, dict):
        raise FormatError("no document")
    store = Store(scratch(), HUB)
    paths = {
        "ref": store._ref_path(REPOSITORY, "main"),
        "record": store._record_path(REPOSITORY, COMMIT, "x"),
        "listing": store._model(REPOSITORY) / COMMIT / "listing.json",
        "about": store.content("a" * 40) / "about.json",
    }
    for name, path in paths.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        content = said.get(name)
        text = content if isinstance(content, str) else json.dumps(content)
        data = text.encode("utf-8", "surrogatepass")
        data = data if name == "about" else seal(data)
        if WRITTEN.get(path) != data:
            path.write_bytes(data)
            WRITTEN[path] = data
    commit = store.commit(REPOSITORY, "main")
    assert commit is None or reference.COMMIT.fullmatch(commit)
    record = store.record(REPOSITORY, COMMIT, "x")
    if record is not None:
        assert record.size >= 0
        assert type(record.size) is int
        assert "/" not in content_key(REPOSITORY, record)
    listing = store.listing(REPOSITORY, COMMIT)
    if listing is not None:
        assert all(size is None or (type(size) is int and size >= 0) for size in listing.values())
    for entry in inventory._of_content(paths["about"].parent):
        assert entry.bytes >= 0


RANGE_NAMES = (
    *("0-10.range", "0-100.range", "5-10.range", "10-5.range", "0-9999999999999999999.range", "0-1099511627776.range"),
    *("0-٣.range", "0-10.rangex", "-1-5.range", "00-10.range", ".0-10.range", "0-10.safetensors", "0-0.range"),
)


@target(
    "ranges",
    "heads and rows in the cache",
    mutate=document(("heads", "rows", *RANGE_NAMES), (0, 5, 10, 100, "abc", {})),
)
def read_ranges(case: bytes) -> None:
    """Put files of any name and length into the cache; what is given of them is what was kept, or nothing."""
    try:
        said = json.loads(case)
    except (ValueError, RecursionError) as error:
        raise FormatError("no document") from error
    store = Store(scratch(), HUB)
    folder = store.content("b" * 40)
    try:
        given = _fill_ranges(folder, said if isinstance(said, dict) else {}, store)
    finally:
        for name in ("heads", "rows"):
            for path in (folder / name).iterdir():
                path.unlink()
    if not given:
        raise FormatError("nothing is given")


def _fill_ranges(folder: Path, said: dict[str, Any], store: Store) -> int:
    for name in ("heads", "rows"):
        if not (folder / name).exists():
            (folder / name).mkdir(parents=True)
        files = said.get(name)
        for file, content in list(files.items())[:8] if isinstance(files, dict) else ():
            if (
                "/" in file
                or "\0" in file
                or not 0 < len(file.encode("utf-8", "surrogateescape" if file.isascii() else "replace")) < 200
                or file in (".", "..")
            ):
                continue
            length = content if type(content) is int and 0 <= content < 5000 else None
            data = bytes(length) if length is not None else json.dumps(content).encode()
            sealed = data + hashlib.sha256(data).digest() if length is not None else data
            (folder / name / file.encode("utf-8", "replace").decode()).write_bytes(sealed)
    given = 0
    for length in (10, 1 << 40):
        head = store.head("b" * 40, length, 100)
        if head is not None:
            assert head == bytes(min(length, 100))
            given += 1
    for start, stop in ((5, 10), (0, 1 << 40)):
        row = store.row("b" * 40, start, stop)
        if row is not None:
            assert row == bytes(stop - start)
            given += 1
    for first, last, path in spans(folder / "heads", ".range"):
        assert first < last
        is_range_sound(path)
    return given


@target("tablefile", "a finished table in the cache", mutate=mixed(change_header, octets))
def read_tablefile(case: bytes) -> None:
    """Read a table's header back; where its place is told, it lies in the file."""
    folder = scratch() / "tables"
    folder.mkdir(exist_ok=True)
    path = folder / "0-16.safetensors"
    path.write_bytes(case)
    head = kept.read_metadata(path)
    if head is None:
        raise FormatError("no metadata")
    before, found, after = case.partition(b'"crc32": "')
    if found:  # with the right sum, so that what is behind it is reached
        path.write_bytes(before + found + kept.checksum(io.BytesIO(case), head.offset, head.size).encode() + after[8:])
    inventory._described(path)
    inventory._verify_table(path)
    place = tablefile.find(folder, "c" * 40, 2, 9)
    if place is None:
        raise FormatError("no table")
    assert 0 < place.start < place.stop <= len(case)


# --- The journal ------------------------------------------------------------------------------------------------------

IDENTITY = b"i" * 32
LENGTH = 10 * journal.BLOCK + 5
JOURNAL_WORDS = ("slots", "magic", "identity", "length", "sequence", "bitmap", "checksum", "cut")
JOURNAL_VALUES = (
    {"sequence": 5, "bitmap": 3},
    0,
    1,
    3,
    2047,
    2048,
    65535,
    (1 << 64) - 1,
    LENGTH,
    "EMBJRNL2",
    "EMBJRNL0",
)


def _slots(said: Any) -> bytes:
    """Write the two slots that a document describes; a checksum is right unless one is given."""
    described = said.get("slots") if isinstance(said, dict) else None
    size = journal.PAGE
    data = b""
    for slot in (described if isinstance(described, list) else [])[:3]:
        facts = slot if isinstance(slot, dict) else {}
        magic = str(facts.get("magic", "EMBJRNL2")).encode("utf-8", "replace")
        identity = str(facts.get("identity", IDENTITY.decode())).encode("utf-8", "replace")
        numbers = [_bits(facts.get(name, usual), 64) for name, usual in (("length", LENGTH), ("sequence", 1))]
        claim = journal.FIELDS.pack(magic, identity, *numbers) + _bits(facts.get("bitmap"), 16).to_bytes(2, "little")
        claim += bytes(4 * 11)  # the sums of its blocks
        checksum = zlib.crc32(claim) if facts.get("checksum") is None else _bits(facts["checksum"], 32)
        data += (claim + journal.CHECKSUM.pack(checksum)).ljust(size, b"\0")
    cut = said.get("cut") if isinstance(said, dict) else None
    return data[: _bits(cut, 16)] if isinstance(cut, int) else data


def _bits(value: Any, size: int) -> int:
    return int(value) & ((1 << size) - 1) if type(value) is int else 0


@target("journal", "the journal of a partial download", mutate=document(JOURNAL_WORDS, JOURNAL_VALUES))
def read_journal(case: bytes) -> None:
    """Read a journal's claims, then claim more."""
    try:
        data = case if case.startswith(b"EMB") else _slots(json.loads(case))
    except (ValueError, RecursionError) as error:
        raise FormatError("no document") from error
    path = scratch() / "x.journal"
    path.write_bytes(data)
    claims = journal.peek(path, IDENTITY, LENGTH)
    assert len(claims) == 2
    assert not int.from_bytes(claims, "little") >> 11, "a claim beyond the last block"
    assert 0 <= journal.claimed_bytes(claims, LENGTH) <= LENGTH
    taken = journal.Journal(path, IDENTITY, LENGTH)
    try:
        assert taken.load() == claims
        taken.save(b"\5\0")
        assert taken._sequence > journal.LAST or taken.load() == b"\5\0", "what was claimed last is not what is read"
    finally:
        taken.close()
    if not any(claims):
        raise FormatError("no claims")


def table_header(metadata: dict[str, str]) -> bytes:
    """Write a table for the seeds: sixteen bytes that say where they came from."""
    return file_of_header(
        {"__metadata__": metadata, "t": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, Random(1)
    )
