"""A hub for tests: three servers on this machine that answer as the Hugging Face hub and its storage hosts do.

    with HubStub() as hub:
        commit = hub.add("acme/tiny", {"config.json": b"{}", "model.safetensors": data})
        hub.fault("drop", where="storage", after=1000, times=2)
        HubSource("acme/tiny", endpoint=hub.endpoint, ...).head("model.safetensors", 100)
        assert hub.count(where="storage") == 3 and not hub.leaks()

`hub` answers for repositories: large files are a 302 to a signed address on `storage`, small ones a 307 to
/api/resolve-cache, which packs them and ignores ranges; `direct=True` is a mirror that sends the bytes itself.
`stranger` is a host that nobody should show a token. Every request is logged. A fault changes the next answers that
match it.

Run as a program it serves a folder (FOLDER/org/name/...) and prints its endpoint: for measurements, where the server
must not share the interpreter of what is measured. A second argument is how many seconds it thinks about each answer.
"""

import contextlib
import dataclasses
import gzip
import hashlib
import json
import os
import re
import socket
import struct
import sys
import threading
import weakref
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

Content = bytes | Path
Where = Literal["hub", "storage", "stranger"]

LARGE = (".safetensors", ".gguf", ".bin", ".msgpack")
HASHED_WHOLE = 64 << 20
CHUNK = 1 << 20

ENDLESS = {
    "drip_headers": (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
    "interim_100": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim_103": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
}
"""Answers whose headers never end: how they begin, and what comes again and again."""


@lru_cache(maxsize=16)
def tag_of(data: bytes, *, is_large: bool) -> str:
    """Give the tag of a content: its SHA-256, or git's name of it. Many tests put the same file on a hub."""
    if is_large:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class File:
    content: Content
    is_large: bool
    etag: str

    @classmethod
    def of(cls, name: str, content: Content, *, is_large: bool | None = None) -> Self:
        large = name.endswith(LARGE) if is_large is None else is_large
        if isinstance(content, Path) and content.stat().st_size > HASHED_WHOLE:
            etag = hashlib.sha256(f"{content}{content.stat().st_size}".encode()).hexdigest()  # nobody hashes 55 GB here
        else:
            etag = tag_of(content if isinstance(content, bytes) else content.read_bytes(), is_large=large)
        return cls(content, large, etag)

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        if isinstance(self.content, bytes):
            yield from (self.content[at : min(at + CHUNK, stop)] for at in range(start, stop, CHUNK))
            return
        with self.content.open("rb") as file:
            file.seek(start)
            while start < stop:
                piece = file.read(min(CHUNK, stop - start))
                start += len(piece)
                yield piece


@dataclass
class Repo:
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    disabled: bool = False


@dataclass
class Request:
    where: Where
    method: str
    path: str
    query: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0
    body: bytes = b""

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Fault:
    kind: str
    where: Where | None
    method: str | None
    path: str
    skip: int
    times: int | None
    options: dict[str, Any]

    def takes(self, request: Request) -> bool:
        if (self.where not in (None, request.where)) or (self.method not in (None, request.method)):
            return False
        if not re.search(self.path, request.path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return self.times is None or self.times >= 0


@dataclass
class Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Iterator[bytes] = field(default_factory=lambda: iter(()))
    length: int | None = 0
    file: tuple[Path, int, int] | None = None
    drop_after: int | None = None
    drop_how: str = "fin"
    stall_after: int | None = None
    bytes_per_second: float | None = None
    slow_after: int = 0
    chunked: bool = False

    @classmethod
    def of(cls, status: int, data: bytes = b"", **headers: str) -> Self:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, named, iter((data,)), len(data))


class HubStub:
    def __init__(self, *, direct: bool = False, tokens: tuple[str, ...] = ("hf_good",)) -> None:
        self.direct = direct
        self.serial = 0
        """Signed addresses with a smaller one have expired."""
        self.tokens = tokens
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, File] = {}
        self.log: list[Request] = []
        self.faults: list[Fault] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self._servers = {where: _Server(self, where) for where in ("hub", "storage", "stranger")}
        self.endpoint, self.storage, self.stranger = (server.address for server in self._servers.values())

    def __enter__(self) -> Self:
        for server in self._servers.values():
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.closing.set()
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
            server.hang_up()

    def add(
        self,
        repo_id: str,
        files: Mapping[str, Content],
        revision: str = "main",
        *,
        private: bool = False,
        gated: bool = False,
        disabled: bool = False,
        large: tuple[str, ...] = (),
    ) -> str:
        """Make a commit and let a revision mean it."""
        known = {name: File.of(name, content, is_large=name in large or None) for name, content in files.items()}
        text = json.dumps([repo_id, sorted((name, file.etag) for name, file in known.items())])
        commit = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        repo = self.repos.setdefault(repo_id, Repo())
        repo.private, repo.gated, repo.disabled = private, gated, disabled
        repo.commits[commit] = known
        repo.refs[revision] = commit
        self.blobs.update({file.etag: file for file in known.values()})
        return commit

    def fault(
        self,
        kind: str,
        *,
        where: Where | None = None,
        method: str | None = None,
        path: str = "",
        skip: int = 0,
        times: int | None = 1,
        **options: Any,
    ) -> None:
        with self.lock:
            self.faults.append(Fault(kind, where, method, path, skip, times, options))

    def expire(self) -> None:
        """Let every signed address that was handed out expire."""
        self.serial += 1

    def reset(self) -> None:
        """Forget log and faults."""
        with self.lock:
            self.log, self.faults = [], []

    def requests(self, where: Where | None = None) -> list[Request]:
        with self.lock:
            return [request for request in self.log if where in (None, request.where)]

    def count(self, where: Where | None = None) -> int:
        return len(self.requests(where))

    def sent(self, where: Where | None = None) -> int:
        return sum(request.sent for request in self.requests(where))

    def leaks(self) -> list[Request]:
        """Requests that show a token or a cookie to anybody but the hub."""
        secret = {"authorization", "cookie"}
        return [request for request in self.requests() if request.where != "hub" and secret & request.headers.keys()]

    def taken(self, request: Request) -> list[Fault]:
        with self.lock:
            return [fault for fault in self.faults if fault.takes(request)]

    # What a hub answers

    def answer(self, request: Request) -> Answer:  # noqa: PLR0911 - one for each kind of address
        if request.where != "hub":
            return self._storage(request)
        if request.path == "/api/agent-harnesses":
            return Answer.of(200, b"{}", Content_Type="application/json")
        if match := re.fullmatch(r"/api/models/([^/]+(?:/[^/]+)?)/revision/([^/]+)", request.path):
            return self._description(request, match[1], unquote(match[2]))
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/paths-info/([^/]+)", request.path):
            return self._paths(request, match[1], unquote(match[2]))
        if match := re.fullmatch(r"/api/models/([^/]+(?:/[^/]+)?)", request.path):
            return self._description(request, match[1], "main")
        if match := re.fullmatch(r"/api/resolve-cache/models/(.+?)/([0-9a-f]{40})/(.+)", request.path):
            file = self.repos[match[1]].commits[match[2]][unquote(match[3])]
            return self._whole(request, file, match[2])
        if match := re.fullmatch(r"/([^/]+(?:/[^/]+)?)/resolve/([^/]+)/(.+)", request.path):
            return self._resolve(request, match[1], unquote(match[2]), unquote(match[3]))
        return Answer.of(404, b"Not Found")

    def _refusal(self, request: Request, repo_id: str) -> Answer | None:
        given = request.headers.get("authorization")
        token = given.removeprefix("Bearer ") if given else None
        if token is not None and token not in self.tokens:
            return Answer.of(401, X_Error_Message="Invalid credentials in Authorization header")
        repo = self.repos.get(repo_id)
        if repo is None or (repo.private and token is None):
            if token is None:
                return Answer.of(401, X_Error_Message="Invalid username or password.")
            return Answer.of(404, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        if repo.disabled:
            return Answer.of(403, X_Error_Message="Access to this resource is disabled.")
        if repo.gated:
            said = f"Access to model {repo_id} is restricted."
            return Answer.of(401 if token is None else 403, X_Error_Code="GatedRepo", X_Error_Message=said)
        return None

    def _commit(self, repo_id: str, revision: str) -> str | None:
        repo = self.repos[repo_id]
        return revision if revision in repo.commits else repo.refs.get(revision)

    def _description(self, request: Request, repo_id: str, revision: str) -> Answer:
        if (refusal := self._refusal(request, repo_id)) is not None:
            return refusal
        commit = self._commit(repo_id, revision)
        if commit is None:
            return Answer.of(404, X_Error_Code="RevisionNotFound")
        files = self.repos[repo_id].commits[commit]
        siblings = [{"rfilename": name, "size": file.size} for name, file in files.items()]
        text = json.dumps({"id": repo_id, "sha": commit, "siblings": siblings})
        return Answer.of(200, text.encode(), Content_Type="application/json; charset=utf-8")

    def _paths(self, request: Request, repo_id: str, revision: str) -> Answer:
        """Describe single files, as a mirror asks for them."""
        if (refusal := self._refusal(request, repo_id)) is not None:
            return refusal
        commit = self._commit(repo_id, revision)
        text = request.body.decode()
        paths = json.loads(text)["paths"] if text.startswith("{") else parse_qs(text).get("paths", [])
        files = self.repos[repo_id].commits.get(commit or "", {})
        known = []
        for path in paths if isinstance(paths, list) else [paths]:
            if (file := files.get(path)) is not None:
                entry: dict[str, Any] = {"type": "file", "path": path, "size": file.size, "oid": file.etag[:40]}
                if file.is_large:
                    entry["lfs"] = {"oid": file.etag, "size": file.size, "pointerSize": 134}
                known.append(entry)
        return Answer.of(200, json.dumps(known).encode(), Content_Type="application/json")

    def _resolve(self, request: Request, repo_id: str, revision: str, name: str) -> Answer:
        if (refusal := self._refusal(request, repo_id)) is not None:
            return refusal
        commit = self._commit(repo_id, revision)
        if commit is None:
            return Answer.of(404, X_Error_Code="RevisionNotFound", X_Error_Message=f"Invalid rev id: {revision}")
        file = self.repos[repo_id].commits[commit].get(name)
        if file is None:
            return Answer.of(404, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found", X_Repo_Commit=commit)
        limits = {
            "RateLimit": '"resolvers";r=2998;t=172',
            "RateLimit-Policy": '"fixed window";"resolvers";q=3000;w=300',
        }
        if self.direct:
            answer = self._range(request, file)
            answer.headers |= {"X-Repo-Commit": commit, "ETag": f'"{file.etag}"', **limits}
            return answer
        if not file.is_large:
            place = f"/api/resolve-cache/models/{repo_id}/{commit}/{quote(name)}?etag=%22{file.etag}%22"
            return Answer(307, {"Location": place, "X-Repo-Commit": commit, **limits})
        signed = f"{self.storage}/blobs/{file.etag}?Expires={self.serial}&Signature=secret"
        facts = {"X-Repo-Commit": commit, "X-Linked-Size": str(file.size), "X-Linked-ETag": f'"{file.etag}"'}
        answer = Answer.of(302, f"Found. Redirecting to {signed}".encode())
        answer.headers = {"Location": signed, "Accept-Ranges": "bytes", **facts, **limits}
        return answer

    def _whole(self, request: Request, file: File, commit: str) -> Answer:
        headers = {"ETag": f'"{file.etag}"', "X-Repo-Commit": commit, "Content-Type": "text/plain"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers |= {"Content-Encoding": "gzip", "ETag": f'W/"{file.etag}"'}
            return Answer(200, headers, packed(file.pieces(0, file.size)), None, chunked=True)
        return Answer(200, headers, file.pieces(0, file.size), file.size)

    def _storage(self, request: Request) -> Answer:
        file = self.blobs.get(request.path.rpartition("/")[2])
        expires = parse_qs(request.query).get("Expires", ["0"])[0]
        if file is None or (float(expires) < self.serial and request.where == "storage"):
            return Answer.of(403, b"<Error><Code>AccessDenied</Code></Error>", Content_Type="application/xml")
        answer = self._range(request, file)
        answer.headers |= {"ETag": f'"{file.etag}"', "Cache-Control": "max-age=31536000"}
        return answer

    def _range(self, request: Request, file: File) -> Answer:
        match = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", request.range or "")
        if match is None:
            start, stop, status = 0, file.size, 200
        else:
            start, stop, status = int(match[1]), min(int(match[2] or file.size) + 1, file.size), 206
            if start >= file.size:
                return Answer(416, {"Content-Range": f"bytes */{file.size}"})
        headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
        place = (file.content, start, stop) if isinstance(file.content, Path) else None
        return Answer(status, headers, file.pieces(start, stop), stop - start, place)


def packed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Pack a body while it is sent: the head of an answer does not wait for it."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    for piece in pieces:
        if data := packer.compress(piece):
            yield data
    yield packer.flush()


def broken(answer: Answer, fault: Fault, request: Request, hub: HubStub) -> Answer:  # noqa: C901, PLR0911, PLR0912, PLR0915
    """Change an answer as a fault wants; the list of faults is this function."""
    options = fault.options
    length = answer.length or 0
    match fault.kind:
        case "status":
            headers = {name.replace("_", "-"): str(value) for name, value in options.get("headers", {}).items()}
            return Answer.of(options["code"], b"broken", **headers)
        case "expired":
            return Answer.of(403, b"<Error><Code>AccessDenied</Code></Error>", Content_Type="application/xml")
        case "html":
            return Answer.of(200, b"<html>Please log in to the network</html>", Content_Type="text/html; charset=utf-8")
        case "redirect":
            return Answer(options.get("code", 302), {**answer.headers, "Location": options["location"]})
        case "loop":
            return Answer(302, {**answer.headers, "Location": request.path})
        case "no_location":
            return Answer(302, {name: value for name, value in answer.headers.items() if name != "Location"})
        case "add":
            answer.headers |= options["headers"]
        case "omit":
            answer.headers = {name: value for name, value in answer.headers.items() if name not in options["names"]}
        case "silence":
            hub.closing.wait()
        case "delay":
            hub.closing.wait(options["seconds"])
        case "hold":
            options["until"].wait()
        case "drop":
            answer.drop_after, answer.drop_how = options.get("after", 0), options.get("how", "fin")
        case "stall":
            answer.stall_after = options.get("after", 0)
        case "slow":
            answer.bytes_per_second, answer.slow_after = options["bytes_per_second"], options.get("after", 0)
        case "ignore_range":
            answer.status = 200
            answer.headers.pop("Content-Range", None)
            answer.length, answer.file = options.get("size", 5 << 30), None
            answer.body = (bytes(CHUNK) for _ in range(answer.length // CHUNK))
        case "wrong_range" | "wrong_total" | "star_total" | "no_content_range":
            said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.pop("Content-Range", ""))
            if said is not None and fault.kind != "no_content_range":
                first, last, total = (int(number) for number in said.groups())
                shift = options.get("by", 512) if fault.kind == "wrong_range" else 0
                shown = {"wrong_total": str(total + 1), "star_total": "*"}.get(fault.kind, str(total))
                answer.headers["Content-Range"] = f"bytes {first + shift}-{last + shift}/{shown}"
        case "lie_range" | "corrupt":
            data = bytearray(b"".join(answer.body))
            data[options.get("at", len(data) // 2)] ^= 0x40
            answer.body, answer.file = iter((bytes(data),)), None
        case "short_range":
            said = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("Content-Range", ""))
            if said is not None:
                answer.length = min(length, options["length"])
                answer.headers["Content-Range"] = f"bytes {said[1]}-{int(said[1]) + answer.length - 1}/{said[3]}"
                answer.body, answer.file = iter((b"".join(answer.body)[: answer.length],)), None
        case "multipart":
            answer.headers |= {"Content-Type": "multipart/byteranges; boundary=x"}
            answer.headers.pop("Content-Range", None)
        case "gzip":
            packed = gzip.compress(b"".join(answer.body))
            answer.headers["Content-Encoding"] = "gzip"
            answer.body, answer.length, answer.file = iter((packed,)), len(packed), None
        case "chunked":
            answer.chunked, answer.length = True, None
        case "no_length":
            answer.length = None
        case "too_long":
            answer.body, answer.file = iter((b"".join(answer.body), b"and more")), None
            answer.length = None
        case "truncate":
            return Answer(416, {"Content-Range": "bytes */7"})
        case "etag_change":
            answer.headers |= {"X-Linked-ETag": f'"{hashlib.sha256(b"other").hexdigest()}"'}
        case _:
            raise ValueError(fault.kind)
    return answer


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, hub: HubStub, where: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub
        self.where = where
        self.connections: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self.address = f"http://127.0.0.1:{self.server_address[1]}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        """Break the connections that clients keep open."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent: clients break connections on purpose here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self.serve()

    def do_HEAD(self) -> None:
        self.serve()

    def do_POST(self) -> None:
        self.serve(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def log_message(self, *args: object) -> None:
        """Be silent."""

    def serve(self, body: bytes = b"") -> None:
        hub = self.server.hub
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.server.where, self.command, parts.path, parts.query, headers, body=body)  # type: ignore[arg-type]
        with hub.lock:
            hub.log.append(request)
        answer = hub.answer(request)
        for fault in hub.taken(request):
            if fault.kind == "close":
                self.close_connection = True
                return
            if fault.kind in ENDLESS:
                self._send_without_end(*ENDLESS[fault.kind])
                return
            answer = broken(answer, fault, request, hub)
        request.status = answer.status
        self._send(request, answer)

    def _send_without_end(self, first: bytes, again: bytes) -> None:
        """Begin an answer, and go on until the client has had enough."""
        self.close_connection = True
        self.wfile.write(first)
        while not self.server.hub.closing.wait(0.05):
            self.wfile.write(again)

    def _send(self, request: Request, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif answer.length is not None:
            self.send_header("Content-Length", str(answer.length))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if request.method == "HEAD":
            return
        is_plain = answer.drop_after is answer.stall_after is answer.bytes_per_second is None and not answer.chunked
        if answer.file is not None and is_plain and answer.length is not None and hasattr(os, "sendfile"):
            self._send_file(request, *answer.file)
            return
        for piece in answer.body:
            if not self._send_piece(request, answer, piece):
                return
        if answer.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _send_file(self, request: Request, path: Path, start: int, stop: int) -> None:
        with path.open("rb") as file:
            while start < stop:
                count = os.sendfile(self.connection.fileno(), file.fileno(), start, min(stop - start, 8 << 20))
                if not count:
                    return
                start += count
                request.sent += count

    def _send_piece(self, request: Request, answer: Answer, piece: bytes) -> bool:
        """Send one piece; False if the connection is to be broken."""
        if answer.stall_after is not None and request.sent + len(piece) > answer.stall_after:
            self._write(request, answer, piece[: answer.stall_after - request.sent])
            self.server.hub.closing.wait()
            self.close_connection = True
            return False
        if answer.drop_after is not None and request.sent + len(piece) > answer.drop_after:
            self._write(request, answer, piece[: answer.drop_after - request.sent])
            if answer.drop_how == "rst":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return False
        at = max(0, min(answer.slow_after - request.sent, len(piece)))
        for part, speed in ((piece[:at], None), (piece[at:], answer.bytes_per_second)):
            self._write(request, dataclasses.replace(answer, bytes_per_second=speed), part)
        return True

    def _write(self, request: Request, answer: Answer, piece: bytes) -> None:
        step = len(piece) if answer.bytes_per_second is None else max(1, int(answer.bytes_per_second / 20))
        for at in range(0, len(piece), max(step, 1)):
            part = piece[at : at + step]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if answer.chunked else part)
            request.sent += len(part)
            if answer.bytes_per_second is not None:
                self.server.hub.closing.wait(len(part) / answer.bytes_per_second)


def main() -> None:
    folder = Path(sys.argv[1])
    with HubStub() as hub:
        for model in sorted(folder.glob("*/*")):
            files = {path.relative_to(model).as_posix(): path for path in model.rglob("*") if path.is_file()}
            hub.add(model.relative_to(folder).as_posix(), files)
        if sys.argv[2:]:
            hub.fault("delay", times=None, seconds=float(sys.argv[2]))
        print(hub.endpoint, flush=True)  # noqa: T201 - the parent process reads it
        sys.stdin.read()


if __name__ == "__main__":
    main()
