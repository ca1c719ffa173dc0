"""Targets: what a server says, and what is read back from the cache of fetched parts."""

import contextlib
import hashlib
import io
import json
import shutil
import zlib
from types import SimpleNamespace
from typing import Any

from embtool.errors import EmbtoolError, FormatError
from embtool.hub import inventory, journal, reference, remote_file, small, tablefile, transport
from embtool.hub.endpoint import Credentials, Endpoint
from embtool.hub.failures import from_status
from embtool.hub.listing import parse_listing
from embtool.hub.store import FileRecord, Store, content_key, is_hash, is_range_sound, matches, seal, spans
from embtool.storage import kept
from embtool.storage.source import Cost
from fuzz.checkpoints import HEADER
from fuzz.engine import read_object, scratch, target
from fuzz.seeds import COMMIT

HUB = Endpoint("https://hub.example")
REPOSITORY = "org/name"
TRANSPORT = transport.Transport(
    HUB, Credentials(HUB, None, lambda: None), transport.Patience(), transport.Meter(Cost())
)


def _text(value: Any) -> str:
    """Write the value of a header: what a server can send is bytes, which are read as Latin-1."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("latin-1", "replace").decode("latin-1").replace("\n", " ").replace("\r", " ")


def _whole(value: Any, otherwise: int, bits: int = 60) -> int:
    return value if type(value) is int and 0 <= value < 1 << bits else otherwise


@target("answers")
def read_answer(case: bytes) -> None:
    """Hold an answer against a question: metadata, ranges, redirects, waits, errors."""
    said = read_object(case)
    listed = said.get("headers")
    headers = {name.lower(): _text(value) for name, value in listed.items()} if isinstance(listed, dict) else {}
    status = _whole(said.get("status"), 206) % 1000
    url = "https://hub.example/org/name/resolve/main/x" if said.get("url") is None else "https://cdn.example/x"
    request = SimpleNamespace(url=url, method="GET", headers={}, extensions={})
    response: Any = SimpleNamespace(status_code=status, headers=headers, request=request)
    wait = transport.wait_asked(headers)
    assert wait is None or 0 <= wait < 1e10
    assert isinstance(from_status(status, headers, TRANSPORT.asked(REPOSITORY, "main", "x")), EmbtoolError)
    refusals: list[Exception] = []
    for read in (_redirect, _whole_file, _ranged):
        try:
            read(response, said)
        except (EmbtoolError, transport.Again, remote_file.Refused) as error:
            refusals.append(error)
    if refusals:
        raise FormatError("refused in part")


def _redirect(response: Any, _: dict[str, Any]) -> None:
    target = remote_file._target("https://hub.example/x", response.headers.get("location"))
    assert target.startswith("https://"), "from https to another scheme"
    HUB.is_origin_of(target)


def _whole_file(response: Any, said: dict[str, Any]) -> None:
    """Fetch a small file by this answer, whatever it holds: what is kept is named by the hash of its bytes."""
    data = _text(said.get("whole")).encode("utf-8", "surrogatepass")
    response.iter_raw = response.iter_bytes = lambda: iter((data,))
    server: Any = SimpleNamespace(endpoint=HUB, asked=TRANSPORT.asked, patiently=lambda attempt, _stop: attempt())
    server.get = lambda _url, _headers: contextlib.nullcontext(response)
    remote = small.SmallFile(server, REPOSITORY, "main", "x", None)
    record, fetched = remote.fetch(1 << 20, lambda _said: False)
    assert (fetched, record.size) == (data, len(data))
    assert is_hash(record.content)
    assert matches(record.content, data)
    assert reference.COMMIT.fullmatch(record.commit)


def _ranged(response: Any, said: dict[str, Any]) -> None:
    start = _whole(said.get("start"), 0)
    stop = max(_whole(said.get("stop"), 10), start + 1)
    size = _whole(said.get("size"), -1)
    known = None if size < 0 else FileRecord("x", COMMIT, "", size)
    remote = remote_file.RemoteFile(TRANSPORT, REPOSITORY, "main", "x", known)
    remote._note(response.headers, response)
    before = remote.record
    end = remote._check(response, "https://hub.example/x", start, stop)
    assert remote.record is not None
    assert start < end <= max(stop, remote.record.size) or remote.record.size == 0, "no bytes of a file that has some"
    assert end <= remote.record.size
    assert before is None or remote.record == before
    assert "/" not in content_key(REPOSITORY, remote.record)


@target("listing")
def read_listing(case: bytes) -> None:
    """Read the list: no name in it leads out of the model."""
    commit, listing = parse_listing(case, REPOSITORY)
    assert reference.COMMIT.fullmatch(commit)
    for name, size in listing.items():
        assert ".." not in name.split("/")
        assert not name.startswith("/")
        assert size is None or size >= 0


@target("sidecars")
def read_sidecars(case: bytes) -> None:
    """Put what a document says into the cache, and ask for it."""
    said, store = read_object(case), Store(scratch(), HUB)
    paths = {
        "ref": store._ref_path(REPOSITORY, "main"),
        "record": store._record_path(REPOSITORY, COMMIT, "x"),
        "listing": store._model(REPOSITORY) / COMMIT / "listing.json",
        "about": store.content("a" * 40) / "about.json",
    }
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        content = said.get(name)
        text = content if isinstance(content, str) else json.dumps(content)
        data = text.encode("utf-8", "surrogatepass")
        path.write_bytes(data if name == "about" else seal(data))
    commit, record = store.commit(REPOSITORY, "main"), store.record(REPOSITORY, COMMIT, "x")
    listing = store.listing(REPOSITORY, COMMIT)
    assert commit is None or reference.COMMIT.fullmatch(commit)
    if record is not None:
        assert type(record.size) is int
        assert record.size >= 0
        assert "/" not in content_key(REPOSITORY, record)
    assert all(size is None or (type(size) is int and size >= 0) for size in (listing or {}).values())
    assert all(entry.bytes >= 0 for entry in inventory._of_content(paths["about"].parent))
    if commit is None and record is None and listing is None:
        raise FormatError("nothing is given")


@target("ranges")
def read_ranges(case: bytes) -> None:
    """Put files of any name and length into the cache; what is given of them is what was kept, or nothing."""
    said, store, key = read_object(case), Store(scratch(), HUB), "b" * 40
    folder = store.content(key)
    for name in ("heads", "rows"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
        files = said.get(name)
        for file, content in list(files.items())[:8] if isinstance(files, dict) else ():
            data = bytes(content) if type(content) is int and 0 <= content < 5000 else None
            sealed = json.dumps(content).encode() if data is None else data + hashlib.sha256(data).digest()
            with contextlib.suppress(OSError, ValueError):  # what is no name of a file
                (folder / name / file.replace("/", "")).write_bytes(sealed)
    for first, last, path in spans(folder / "heads", ".range"):
        assert first < last
        is_range_sound(path)
    heads = {length: store.head(key, length, 100) for length in (10, 1 << 40)}
    rows = {(start, stop): store.row(key, start, stop) for start, stop in ((5, 10), (0, 1 << 40))}
    assert all(head in (None, bytes(min(length, 100))) for length, head in heads.items())
    assert all(row is None or row == bytes(stop - start) for (start, stop), row in rows.items())
    if not any((*heads.values(), *rows.values())):
        raise FormatError("nothing is given")


@target("tablefile", HEADER, longest=1 << 13)
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


IDENTITY = b"i" * 32
LENGTH = 10 * journal.BLOCK + 5
SUMS = bytes(4 * 11)
"""One for each block."""


def _slots(said: dict[str, Any]) -> bytes:
    """Write the slots that a document describes; a checksum is right unless one is given."""
    data, described = b"", said.get("slots")
    for slot in described[:3] if isinstance(described, list) else ():
        facts = {"sequence": 1, "length": LENGTH, "magic": "EMBJRNL2", **(slot if isinstance(slot, dict) else {})}
        length, sequence, bitmap = (_whole(facts.get(name), 0, 64) for name in ("length", "sequence", "bitmap"))
        claim = journal.FIELDS.pack(str(facts["magic"]).encode("utf-8", "replace"), IDENTITY, length, sequence)
        claim += (bitmap & 0xFFFF).to_bytes(2, "little") + SUMS
        checksum = _whole(facts.get("checksum"), zlib.crc32(claim), 32)
        data += (claim + journal.CHECKSUM.pack(checksum)).ljust(journal.PAGE, b"\0")
    return data[: _whole(said.get("cut"), len(data))]


@target("journal")
def read_journal(case: bytes) -> None:
    """Read a journal's claims, then claim more."""
    data = case if case.startswith(b"EMB") else _slots(read_object(case))
    path = scratch() / "x.journal"
    path.write_bytes(data)
    claims = journal.peek(path, IDENTITY, LENGTH)
    assert len(claims) == 2
    assert not int.from_bytes(claims, "little") >> 11, "a claim beyond the last block"
    assert 0 <= journal.claimed_bytes(claims, LENGTH) <= LENGTH
    with contextlib.closing(journal.Journal(path, IDENTITY, LENGTH)) as taken:
        assert taken.load() == claims
        taken.save(b"\5\0")
        assert taken._sequence > journal.LAST or taken.load() == b"\5\0", "what was claimed last is not what is read"
    if not any(claims):
        raise FormatError("no claims")
