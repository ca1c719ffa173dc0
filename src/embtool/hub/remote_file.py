"""One byte range of a remote file: asked for, checked, resumed, and never believed.

How the hub answers (https://huggingface.co/docs/hub/storage-backends): `GET /{repo}/resolve/{commit}/{file}` is a
redirect that says commit, content hash and size, and leads to a signed address on a storage host; a mirror may send
the bytes itself. One GET with a `Range` is therefore the question for metadata and for data. The signed address serves
every further range of the file, without the token, until it expires; then the hub is asked once more, and must answer
with the same commit, hash and size.

Nothing in an answer is taken on trust: status, `Content-Range`, total, encoding and length must be those that were
asked for, and not one byte more is read. What a range answer cannot prove is that its bytes are the right ones: plain
HTTP has no hash for a part of a file.
"""

import re
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing
from urllib.parse import urljoin, urlsplit

import httpx2

from embtool.counts import plural
from embtool.errors import AccessDenied, EmbtoolError, FormatError, Unreachable
from embtool.hub.crew import Stop
from embtool.hub.endpoint import origin
from embtool.hub.failures import NOT_A_HUB, RETRIED, Asked, cut, from_status, host_of
from embtool.hub.reference import COMMIT
from embtool.hub.store import FileRecord
from embtool.hub.transport import OK, Again, Transport, wait_asked

HOPS = 5
"""Redirects followed for one question: the hub needs one or two."""

ASIDE_LIMIT, ASIDE_SECONDS = 64 << 10, 1.0
"""Bytes of a body that nobody wants (a redirect's, an error's) which are read so that the connection can be kept, and
how long it may go on: another connection costs less."""

WORTH_AN_ATTEMPT = 64 << 10
"""Bytes that must arrive before failures are forgotten: a server that sends byte by byte cannot keep us for ever."""

ETAG_LIMIT = 200
"""Characters; a SHA-256 has 64."""

SIZE_LIMIT = 1 << 50
"""Bytes. A file larger than a pebibyte is a number gone wrong."""

CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")

PARTIAL, REDIRECTS = 206, frozenset({301, 302, 303, 307, 308})
UNSATISFIABLE = 416
REFUSALS = frozenset({400, 401, 403, 404, 410})
"""What storage hosts answer when a signed address has expired: CloudFront 403, S3 400 or 403, others 401, 404, 410."""


class Refused(Exception):
    """A storage host refuses the address that the hub gave."""

    def __init__(self, status: int, url: str) -> None:
        super().__init__(status)
        self.status = status
        self.url = url


class RemoteFile:
    """One file of one revision: what the hub says about it, and its bytes.

    Threads may share it. `record` is None until the hub was asked; a record from the cache spares that question until
    bytes are wanted.
    """

    def __init__(self, transport: Transport, repo_id: str, revision: str, file: str, record: FileRecord | None) -> None:
        self.record = record
        self._transport = transport
        self._repo_id = repo_id
        self._revision = record.commit if record is not None else revision
        self._file = file
        self._lock = threading.Lock()
        self._address: str | None = None
        """Where the storage host has the file: a signed address, so it is never printed and never written down."""
        self._is_direct = False
        self._refusals = 0
        self._etag = ""

    def resolve(self) -> FileRecord:
        """Ask the hub about the file, without reading any of it.

        Raises:
            FileNotInModel, ModelNotFound, AccessDenied, Unreachable, FormatError: as the hub says.
        """
        if self.record is None:
            self._transport.patiently(self._resolve_once, Stop())
        return self._known()

    def head(self, length: int) -> bytes:
        """Read the first `length` bytes, or the whole file if it is shorter."""
        return b"".join(self._chunks(0, length, Stop(), may_end_early=True))

    def read(self, start: int, stop: int, cancelled: Stop) -> bytes:
        """Read bytes start..stop, exactly."""
        return b"".join(self._chunks(start, stop, cancelled, may_end_early=False))

    def chunks(self, start: int, stop: int, cancelled: Stop) -> Generator[bytes, None, None]:
        """Yield bytes start..stop piece by piece, going on at the byte after every broken connection.

        Raises:
            Unreachable: nothing more arrived after several attempts, or the server asks to wait too long.
            AccessDenied: the storage host refuses even an address that is new.
            FormatError: the server breaks the protocol, or the file is another one now.
            Stopped: `cancelled` was set.
        """
        return self._chunks(start, stop, cancelled, may_end_early=False)

    def _chunks(self, start: int, stop: int, cancelled: Stop, *, may_end_early: bool) -> Generator[bytes, None, None]:
        position, failures, gained = start, 0, 0
        while position < (stop := self._end(stop, may_end_early=may_end_early)):
            self._transport.await_turn(cancelled)
            before = position
            try:
                with closing(self._attempt(position, stop, may_end_early=may_end_early)) as pieces:
                    for piece in pieces:
                        position += len(piece)
                        gained += len(piece)
                        if gained >= WORTH_AN_ATTEMPT:
                            failures, gained = 0, 0
                        yield piece
                        cancelled.check()
                failure = None
            except Refused as refused:
                with self._lock:  # a signed address ends; a second refusal without a byte between is final
                    if refused.url == self._address:
                        self._refusals += 1
                        self._address = None
                    if self._refusals > 1:
                        raise self._refused(refused) from refused
                continue
            except Again as again:
                failure = again
            if failure is None:
                # The range ended early, which a server may do; one that keeps doing it runs out of attempts.
                failure = Again(Unreachable(f"{self._server} sends {self._file} in ever smaller parts"))
            failures += failure.weight
            is_over = position >= self._end(stop, may_end_early=may_end_early)
            if not is_over and (position == before or failures >= self._transport.patience.attempts):
                self._transport.back_off(failure, failures, cancelled)

    def _end(self, stop: int, *, may_end_early: bool) -> int:
        if self.record is None or stop <= self.record.size:
            return stop
        if may_end_early:
            return self.record.size
        raise FormatError(
            f"{self._file} of {self._repo_id} is truncated: "
            f"it has {plural(self.record.size, 'byte')}, and byte {stop - 1:,} is wanted"
        )

    def _attempt(self, start: int, stop: int, *, may_end_early: bool) -> Generator[bytes, None, None]:
        """Send one question and give what the answer brings, checked."""
        with ExitStack() as stack:
            response, url = self._open(stack, start, stop)
            stop = self._end(stop, may_end_early=may_end_early)
            if response is None:
                if start >= stop:
                    return
                response, url = self._follow(stack, url, _range_headers(start, stop))
            end = self._check(response, url, start, stop)
            left = end - start
            for chunk in response.iter_raw():
                if not chunk:
                    continue
                if len(chunk) > left:
                    raise FormatError(f"{host_of(url)} sent more bytes of {self._file} than it announced")
                left -= len(chunk)
                self._refusals = 0
                yield chunk
            if left:
                raise Again(Unreachable(f"the connection to {host_of(url)} broke while {self._file} was fetched"))

    def _open(self, stack: ExitStack, start: int, stop: int) -> tuple[httpx2.Response | None, str]:
        """Find out where the bytes are; a server that sends them itself has answered with them already."""
        headers = _range_headers(start, stop)
        if self._is_direct:
            return self._ask(stack, headers)
        with self._lock:
            if self._address is not None:
                return None, self._address
            if not self._is_direct:
                return self._ask(stack, headers)
        return self._ask(stack, headers)

    def _ask(self, stack: ExitStack, headers: Mapping[str, str]) -> tuple[httpx2.Response | None, str]:
        """Ask the hub, following it while it leads to itself, and note what it says."""
        endpoint = self._transport.endpoint
        asked = self._transport.asked(self._repo_id, self._revision, self._file)
        url = endpoint.resolve_url(self._repo_id, self._revision, self._file)
        facts: dict[str, str] = {}
        for _ in range(HOPS):
            response = stack.enter_context(self._transport.get(url, headers))
            for name in ("x-repo-commit", "x-linked-etag", "x-linked-size"):
                if name in response.headers:
                    facts.setdefault(name, response.headers[name])
            if response.status_code not in REDIRECTS:
                self._complain(response, url, asked)
                self._note(facts, response)
                self._is_direct = endpoint.is_origin_of(url)
                if not self._is_direct:
                    self._address = url
                return response, url
            _drain(response)
            url = _target(url, response.headers.get("location"))
            if "x-repo-commit" in facts and not endpoint.is_origin_of(url):
                self._note(facts, None)
                self._address = url
                return None, url
        raise FormatError(f"{self._server} redirects without end for {self._file}")

    def _follow(self, stack: ExitStack, url: str, headers: Mapping[str, str]) -> tuple[httpx2.Response, str]:
        """Ask the storage host, which may lead to another one."""
        for _ in range(HOPS):
            response = stack.enter_context(self._transport.get(url, headers))
            if response.status_code not in REDIRECTS:
                return response, url
            _drain(response)
            url = _target(url, response.headers.get("location"))
        raise FormatError(f"{host_of(url)} redirects without end for {self._file}")

    def _resolve_once(self) -> None:
        with ExitStack() as stack, self._lock:
            try:
                response, url = self._ask(stack, _range_headers(0, 1))
            except Refused as refused:
                raise Again(self._refused(refused)) from refused
            if self.record is None:
                if response is None:
                    response, url = self._follow(stack, url, _range_headers(0, 1))
                self._check(response, url, 0, 1)

    def _complain(self, response: httpx2.Response, url: str, asked: Asked) -> None:
        """Raise if an answer is not one with bytes.

        Raises:
            Refused: a storage host refuses the address.
            Again: the server is busy or broken for the moment.
            EmbtoolError: anything else.
        """
        status = response.status_code
        if status in (OK, PARTIAL):
            return
        is_hub = self._transport.endpoint.is_origin_of(url)
        if status == UNSATISFIABLE:
            raise FormatError(f"{asked} is shorter than recorded: {host_of(url)} does not have these bytes")
        if not is_hub and status in REFUSALS:
            raise Refused(status, url)
        error: EmbtoolError = (
            from_status(status, response.headers, asked)
            if is_hub
            else Unreachable(f"{host_of(url)} answered {status} for {asked}", hint="try again later")
        )
        raise Again(error, wait_asked(response.headers)) if status in RETRIED else error

    def _check(self, response: httpx2.Response, url: str, start: int, stop: int) -> int:
        """Hold an answer against the question, and tell the byte after the last that it brings."""
        host, headers = host_of(url), response.headers
        asked = self._transport.asked(self._repo_id, self._revision, self._file)
        self._complain(response, url, asked)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "text/html":
            raise FormatError(f"{host} {NOT_A_HUB}: a web page came instead of {asked}")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise FormatError(f"{host} sent {asked} compressed, although a plain byte range was asked for")
        length = _number(headers.get("content-length"), host)
        if response.status_code == OK:
            return self._check_whole(length, start, stop, host)
        if kind.startswith("multipart/"):
            raise FormatError(f"{host} sent several ranges of {asked}, although one was asked for")
        match = CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
        if match is None:
            raise FormatError(f"{host} does not say which bytes of {asked} it sent")
        first, last = int(match[1]), int(match[2])
        size = None if match[3] == "*" else int(match[3])
        if self.record is None:
            self._note_size(size, host)
        known = self._known().size
        if size is not None and size != known:
            raise FormatError(f"{asked} changed on the server: {plural(size, 'byte')} now, {known:,} before")
        if first != start or not first <= last < min(stop, known):
            raise FormatError(f"{host} sent bytes {first}-{last} of {asked} instead of {start}-{stop - 1}")
        if length is not None and length != last + 1 - first:
            raise FormatError(f"{host} announces {plural(length, 'byte')} for the range {first}-{last} of {asked}")
        return last + 1

    def _check_whole(self, length: int | None, start: int, stop: int, host: str) -> int:
        """Accept a whole file in place of a range only if it is no more than what was asked for."""
        if self.record is None and length is not None:
            self._note_size(length, host)
        if start != 0 or length is None or length > stop or length != self._known().size:
            raise FormatError(
                f"{host} ignores byte ranges: it wants to send all of {self._file}",
                hint="this server or proxy cannot serve parts of a file; use huggingface.co or another mirror",
            )
        return length

    def _note(self, facts: Mapping[str, str], data: httpx2.Response | None) -> None:
        """Remember what the hub says about the file, or check that it still says the same."""
        commit = facts.get("x-repo-commit", "") or (self._revision if COMMIT.fullmatch(self._revision) else "")
        if not COMMIT.fullmatch(commit):
            if "x-repo-commit" in facts:
                raise FormatError(f"{self._server} sent an invalid commit id: {cut(repr(commit))}")
            raise FormatError(f"{self._server} {NOT_A_HUB}")
        etag = facts.get("x-linked-etag")
        if etag is None and data is not None:
            etag = data.headers.get("etag")
        etag = plain_etag(etag, self._server)
        size = _number(facts.get("x-linked-size"), self._server)
        if COMMIT.fullmatch(self._revision) and commit != self._revision:
            raise FormatError(f"{self._server} answers with commit {commit} where {self._revision} was asked for")
        before = self.record
        if before is None:
            self._revision, self._etag = commit, etag
            if size is not None:
                self.record = FileRecord(self._file, commit, etag, size)
        elif (size is not None and size != before.size) or (etag and before.etag and etag != before.etag):
            raise FormatError(f"{self._file} of {self._repo_id} changed on the server while it was being fetched")

    def _note_size(self, size: int | None, host: str) -> None:
        if size is None:
            raise FormatError(f"{host} does not say how large {self._file} is")
        self.record = FileRecord(self._file, self._revision, self._etag, size)

    def _known(self) -> FileRecord:
        assert self.record is not None
        return self.record

    def _refused(self, refused: Refused) -> EmbtoolError:
        what = f"{host_of(refused.url)} refuses to hand out {self._file} of {self._repo_id} ({refused.status})"
        if refused.status in (401, 403):
            return AccessDenied(what, hint="a firewall or a wrong clock may be the reason; try again later")
        return Unreachable(what, hint="try again later")

    @property
    def _server(self) -> str:
        return self._transport.endpoint.shown


def plain_etag(text: str | None, server: str) -> str:
    """Strip an ETag to the hash in it; an absent one is empty.

    Raises:
        FormatError: it is not one, and so nothing that may become a name in a cache.

    >>> plain_etag('W/"0123abcd"', "hub")
    '0123abcd'
    """
    etag = (text or "").strip().removeprefix("W/").strip('"')
    if len(etag) > ETAG_LIMIT or not etag.isascii() or not etag.isprintable():
        raise FormatError(f"{server} sent an invalid ETag: {cut(repr(etag))}")
    return etag


def _range_headers(start: int, stop: int) -> dict[str, str]:
    return {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}


def _target(url: str, location: str | None) -> str:
    """Return where a redirect leads, if it may be followed."""
    if not location:
        raise FormatError(f"{host_of(url)} redirects to nowhere")
    try:
        target = urljoin(url, location)
        scheme, host, _ = origin(target)
    except ValueError as error:
        raise FormatError(f"{host_of(url)} redirects to an address that cannot be read") from error
    if scheme not in ("http", "https") or not host:
        raise FormatError(f"{host_of(url)} redirects to an address that is neither http nor https")
    if scheme == "http" and urlsplit(url).scheme == "https":
        raise FormatError(f"{host_of(url)} redirects from https to plain http")
    return target


def _drain(response: httpx2.Response) -> None:
    """Read the body of a redirect if it is short, so that the connection can serve the next request."""
    left, until = ASIDE_LIMIT, time.monotonic() + ASIDE_SECONDS
    for chunk in response.iter_raw():
        left -= len(chunk)
        if left < 0 or time.monotonic() > until:
            return


def _number(text: str | None, host: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > len(str(SIZE_LIMIT)) or int(text) > SIZE_LIMIT:
        raise FormatError(f"{host} sent an invalid size: {cut(repr(text))}")
    return int(text)
