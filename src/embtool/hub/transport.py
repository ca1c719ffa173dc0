"""Requests to a hub and its storage hosts: who is told what, how often they are asked, and when to give up.

What the answers must be is said where they are read: of a range in `embtool.hub.remote_file`, of a whole file in
`embtool.hub.small`.
"""

import functools
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar

import httpx2

from embtool.errors import EmbtoolError, FormatError, Unreachable
from embtool.hub.crew import Stop
from embtool.hub.endpoint import Credentials, Endpoint
from embtool.hub.failures import NOT_A_HUB, RETRIED, Asked, from_status, host_of, is_transport_error, network_error
from embtool.hub.limit import Limit, await_turn
from embtool.hub.line import lines
from embtool.storage.source import Cost

T = TypeVar("T")

OK = 200

SECONDS = re.compile(r"[0-9]{1,10}")
RATE_LIMIT = re.compile(r'"[^"]*"\s*;\s*r=0\s*;\s*t=([0-9]{1,10})')
"""https://huggingface.co/docs/hub/rate-limits: how long the window still lasts when no requests remain."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to try again without having received a single byte."""

    connect: float = 10
    read: float = 10
    attempts: int = 5
    pause: float = 0.5
    """Before the second attempt; doubled before each further one."""
    longest_pause: float = 8
    lock: float = 60
    """How long a process that holds a lock may make no progress, in seconds."""
    longest_wait: float = 300
    """The most that a server may ask to wait; the hub's rate limits are windows of 300 seconds."""


class Meter:
    """Counts requests and bytes from several threads into one `Cost`."""

    def __init__(self, cost: Cost) -> None:
        self.cost = cost
        self._lock = threading.Lock()

    def add(self, *, requests: int = 0, received: int = 0) -> None:
        """Count requests sent and body bytes received."""
        with self._lock:
            self.cost.requests += requests
            self.cost.bytes += received


class Again(Exception):
    """An attempt failed; `error` is what to raise if no other succeeds, `wait` what the server asks for."""

    def __init__(self, error: EmbtoolError, wait: float | None = None, *, is_silence: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait = wait
        self.weight = 2 if is_silence else 1
        """How many failures it counts for: a server that is silent costs a whole time-out each time."""


@functools.cache
def user_agent() -> str:
    """Return what names this program to a server."""
    try:
        return f"embtool/{version('embtool')}"
    except PackageNotFoundError:
        return "embtool"


class Transport:
    """Requests to one endpoint and to the storage hosts that it names."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        patience: Patience,
        meter: Meter,
        limit: Limit | None = None,
    ) -> None:
        self.limit = limit
        self.endpoint = endpoint
        self.credentials = credentials
        self.patience = patience
        self.meter = meter
        self._client: httpx2.Client | None = None
        self._lock = threading.Lock()
        self._pause_until = 0.0

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        """Send one GET, without following a redirect; the token goes along only to the endpoint itself.

        Raises:
            Again: the connection failed.
            FormatError: the address is not one that may be asked.
        """
        try:
            sent = {"User-Agent": user_agent(), **headers}
            if self.endpoint.is_origin_of(url) and (token := self.credentials.token()):
                sent["Authorization"] = f"Bearer {token}"
            request = self._connected().build_request("GET", url, headers=sent)
            if self.limit is not None and self.endpoint.is_origin_of(url):
                await_turn(self.limit)
            self.meter.add(requests=1)
            response = self._connected().send(request, stream=True)
        except httpx2.HTTPError as error:
            raise self._failed(error, url) from error
        except (httpx2.InvalidURL, ValueError) as error:
            raise FormatError(f"{host_of(url)} is at an address that cannot be read") from error
        try:
            yield response
        except httpx2.HTTPError as error:
            raise self._failed(error, url) from error
        finally:
            response.close()
            self.meter.add(received=response.num_bytes_downloaded)

    def document(self, url: str, asked: Asked, limit: int) -> bytes:
        """Fetch a document of the endpoint whole, compressed on the way; `limit` counts its bytes unpacked.

        Raises:
            FormatError: it is larger, or the server is no hub.
            AccessDenied, ModelNotFound, Unreachable: as the hub says.
        """
        return self.patiently(lambda: self._document_once(url, asked, limit), Stop())

    def patiently(self, attempt: Callable[[], T], stop: Stop) -> T:
        """Try until it works or patience ends, pausing longer and longer; what failed last is raised."""
        failures = 0
        while True:
            self.await_turn(stop)
            try:
                return attempt()
            except Again as again:
                failures += again.weight
                self.back_off(again, failures, stop)

    def await_turn(self, stop: Stop) -> None:
        """Wait while a server's wish to be left alone lasts; all threads wait together."""
        stop.wait(self._pause_until - time.monotonic())

    def back_off(self, again: Again, failures: int, stop: Stop) -> None:
        """Pause after the n-th failure in a row, as long as the server asks or a little longer each time.

        Raises:
            EmbtoolError: what failed, when patience has ended or the server asks for too much of it.
        """
        patience = self.patience
        if again.wait is not None and again.wait > patience.longest_wait:
            raise asks_too_long(again.error, again.wait) from again
        if failures >= patience.attempts:
            raise again.error from again
        if again.wait is not None:
            with self._lock:
                self._pause_until = max(self._pause_until, time.monotonic() + again.wait)
            if self.limit is not None:
                self.limit.hold(again.wait)
            self.await_turn(stop)
        else:
            stop.wait(min(patience.longest_pause, patience.pause * 2 ** (failures - 1)))

    def asked(self, repo_id: str, revision: str, file: str | None) -> Asked:
        """Describe a question, for the error that may come of it."""
        return Asked(
            self.endpoint,
            repo_id,
            revision,
            file,
            sent_token=self.credentials.token() is not None,
            withheld_token=self.credentials.withheld,
        )

    def _connected(self) -> httpx2.Client:
        with self._lock:
            if self._client is None:
                patience = self.patience
                line, others = lines(self.endpoint, patience.read)
                self._client = httpx2.Client(
                    transport=line,
                    mounts=others,
                    follow_redirects=False,
                    timeout=httpx2.Timeout(
                        patience.read, connect=patience.connect, pool=patience.connect + patience.read
                    ),
                    # No cookie is ever kept: hosts that differ only in their port would share it.
                    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                )
            return self._client

    def _failed(self, error: httpx2.HTTPError, url: str) -> Exception:
        failure = network_error(error, self.endpoint.shown if self.endpoint.is_origin_of(url) else host_of(url))
        if not is_transport_error(error):
            return failure
        return Again(failure, is_silence=isinstance(error, httpx2.TimeoutException))

    def _document_once(self, url: str, asked: Asked, limit: int) -> bytes:
        with self.get(url, {"Accept": "application/json", "Accept-Encoding": "gzip"}) as response:
            if response.status_code in RETRIED:
                raise Again(from_status(response.status_code, response.headers, asked), wait_asked(response.headers))
            if response.status_code != OK:
                raise from_status(response.status_code, response.headers, asked)
            if "json" not in response.headers.get("content-type", ""):
                raise FormatError(f"{self.endpoint.shown} {NOT_A_HUB}")
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > limit:
                    raise FormatError(f"the list of files of {asked.repo_id} is longer than {limit:,} bytes")
            return bytes(body)


def wait_asked(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds a busy server asks to be left alone; None if it does not say or says nonsense."""
    text = headers.get("retry-after", "").strip()
    if SECONDS.fullmatch(text):
        return float(text)
    match = RATE_LIMIT.search(headers.get("ratelimit", ""))
    return float(match[1]) if match else None


def asks_too_long(error: EmbtoolError, wait: float) -> EmbtoolError:
    """Say that a server wants to be left alone for longer than anybody waits."""
    told = f"{wait / 3600:.0f} h" if wait >= 3600 else f"{wait / 60:.0f} min"  # noqa: PLR2004 - an hour
    return Unreachable(
        f"{error.message}; it asks to wait {told}",
        hint="run the same command again then; what was fetched is kept",
    )
