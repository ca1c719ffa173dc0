"""The line to a server: which way a request takes, and how slow an answer may be.

httpx2 bounds each wait for the next byte, and nothing bounds the whole: a server that sends a byte a second, or says
`100 Continue` for ever, would keep a program as long as it likes. So every connection, through a proxy or not, passes
through a stream that knows until when the next thing must be there: the headers of an answer, then a little of its
body in each stretch of time.

A server on this machine is asked straight, whatever proxy the environment names, as browsers and Go do it: a proxy
would look for it on its own machine, and would read the token that may go over such a line without TLS.
"""

import os
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any

import httpcore2  # httpx2 is bound to the one version of it
import httpx2
from httpx2._utils import get_environment_proxies  # the library's own reading of HTTP_PROXY and NO_PROXY

from embtool.errors import Unreachable
from embtool.hub.endpoint import Endpoint, origin

ANSWER_FACTOR = 3
"""Read time-outs in which the headers of an answer must be complete, however many interim answers come before them: an
honest server sends them in one piece, after it has thought for less than one time-out."""

STRETCH_FACTOR = 3
"""Read time-outs over which the speed of a body is judged: a line that was silent for one may catch up in the next."""

SLOWEST = 50
"""Bytes a second, on average over a stretch: sixteen connections that share a line of one kilobyte a second have more.
At this speed a row takes minutes, and a table years."""

TRUST_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
"""What the environment says about certificates."""

HERE = ("localhost", "127.0.0.1", "::1")
"""What a server on this machine calls itself when it names where its files are."""


class Stream(httpcore2.NetworkStream):
    """A connection on which everything has its time."""

    def __init__(self, stream: httpcore2.NetworkStream, answer: float) -> None:
        self._stream = stream
        self._answer = answer
        self._until = 0.0
        self._missed = ""

    def expect(self, seconds: float, missed: str) -> None:
        """Give the server so many seconds from now; `missed` says what did not happen in them."""
        self._until = time.monotonic() + seconds
        self._missed = missed

    def forgive(self, seconds: float) -> None:
        """Give back what was not the server's doing."""
        self._until += seconds

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send a question, whose answer is expected from now on."""
        self._stream.write(buffer, timeout)
        self.expect(self._answer, f"the headers of its answer were not complete after {self._answer:g} s")

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come, within the time-out and within what is left of the time.

        Raises:
            httpcore2.ReadTimeout: saying what did not happen, and in how many seconds.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout(self._missed)
        try:
            return self._stream.read(max_bytes, left if timeout is None else min(timeout, left))
        except httpcore2.ReadTimeout as error:
            is_silence = timeout is not None and timeout < left
            raise httpcore2.ReadTimeout(f"nothing came for {timeout:g} s" if is_silence else self._missed) from error

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> "Stream":
        """Go on with TLS."""
        try:
            return Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._answer)
        except httpcore2.ConnectTimeout as error:
            raise httpcore2.ConnectTimeout(f"no TLS after {timeout:g} s") from error

    def get_extra_info(self, info: str) -> Any:
        """Tell what the connection underneath tells."""
        return self._stream.get_extra_info(info)


class Network(httpcore2.NetworkBackend):
    """Connections on which everything has its time; with `only_here`, to this machine and to no other."""

    def __init__(self, answer: float, *, only_here: bool) -> None:
        self._sockets = httpcore2.SyncBackend()
        self._answer = answer
        self._only_here = only_here

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> Stream:
        """Connect.

        Raises:
            httpcore2.ConnectError: nobody is there, or a name of this machine leads to another one.
            httpcore2.ConnectTimeout: saying after how many seconds.
        """
        try:
            stream = self._sockets.connect_tcp(host, port, timeout, local_address, socket_options)
        except httpcore2.ConnectTimeout as error:
            raise httpcore2.ConnectTimeout(f"no connection after {timeout:g} s") from error
        if self._only_here and not is_here(stream.get_extra_info("server_addr")[0]):
            stream.close()
            raise httpcore2.ConnectError("its name leads to another machine")
        return Stream(stream, self._answer)


class Body(httpx2.SyncByteStream):
    """The body of an answer, which must come at some speed."""

    def __init__(self, body: httpx2.SyncByteStream, stream: Stream, seconds: float) -> None:
        self._body = body
        self._stream = stream
        self._seconds = seconds

    def __iter__(self) -> Iterator[bytes]:
        """Give the pieces; the time that the reader takes for each is not counted."""
        least = SLOWEST * self._seconds
        missed = f"less than {least:,.0f} bytes came in {self._seconds:g} s"
        self._stream.expect(self._seconds, missed)
        came = 0
        for piece in self._body:
            came += len(piece)
            given = time.monotonic()
            yield piece
            self._stream.forgive(time.monotonic() - given)
            if came >= least:
                came = 0
                self._stream.expect(self._seconds, missed)

    def close(self) -> None:
        """Leave the rest."""
        self._body.close()


class Line(httpx2.HTTPTransport):
    """One way that requests take: straight to the server, or through a proxy."""

    def __init__(self, read: float, context: Any, *, proxy: str | None = None, only_here: bool = False) -> None:
        super().__init__(verify=context, proxy=proxy)
        self._stretch = STRETCH_FACTOR * read
        # httpcore2 takes it as an argument, which httpx2 does not pass on.
        self._pool._network_backend = Network(ANSWER_FACTOR * read, only_here=only_here)  # noqa: SLF001

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and give the answer once its headers are complete."""
        response = super().handle_request(request)
        stream, body = response.extensions["network_stream"], response.stream
        if isinstance(stream, Stream) and isinstance(body, httpx2.SyncByteStream):
            response.stream = Body(body, stream, self._stretch)
        return response


@lru_cache(maxsize=4)
def trusted(*variables: str | None) -> Any:
    """Return the certificates that are trusted, as these variables of the environment have it.

    Reading them takes as long as ten answers of a hub: whoever asks a thousand models does it once.
    """
    del variables  # the library reads them itself
    return httpx2.create_ssl_context()


def lines(endpoint: Endpoint, read: float) -> tuple[Line, dict[str, Line | None]]:
    """Make the ways to an endpoint and to the hosts that it names: the usual one, and others by address.

    `read` is the read time-out in seconds.

    Raises:
        Unreachable: the environment names a proxy that cannot be one.
    """
    context = trusted(*map(os.environ.get, TRUST_VARIABLES))
    try:
        others = {
            pattern: None if proxy is None else Line(read, context, proxy=proxy)
            for pattern, proxy in get_environment_proxies().items()
        }
    except (httpx2.InvalidURL, ValueError, ImportError) as error:
        raise Unreachable("the environment names a proxy that cannot be used", hint="check HTTPS_PROXY") from error
    scheme, host, _ = origin(endpoint.url)
    if scheme == "http" and endpoint.is_private_line:
        here = Line(read, context, only_here=True)
        others |= {f"http://[{name}]" if ":" in name else f"http://{name}": here for name in {host, *HERE}}
    return Line(read, context), others


def is_here(address: str) -> bool:
    """Tell whether a numeric address is one at which this machine talks to itself.

    >>> is_here("127.0.0.1"), is_here("::1"), is_here("::ffff:127.0.0.1"), is_here("192.0.2.7")
    (True, True, True, False)
    """
    known = ip_address(address)
    mapped = known.ipv4_mapped if isinstance(known, IPv6Address) else None
    return (mapped or known).is_loopback
