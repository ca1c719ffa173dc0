"""Slow answers come to an end, slow lines do not, and a token that may go without TLS goes past every proxy.

What a speed comes to is held with a clock of the test's own: a server is played on the place of the socket, and time
passes when it is waited for, and not otherwise. That the program ends is held with real servers that never finish, so
that a busy machine changes nothing.
"""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpcore2
import httpx2
import pytest
from hub_fixtures import HURRY, MODEL, SHARD, Case, wait_until
from hubstub import ENDLESS, HubStub
from program import Program

from embtool.errors import EmbtoolError, Unreachable
from embtool.hub import HubSource, line
from embtool.hub.endpoint import Endpoint
from embtool.hub.journal import BLOCK
from embtool.hub.transport import Patience

Ask = Callable[[HubSource], Any]

READ = 10.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


def head(source: HubSource) -> bytes:
    return source.head(SHARD, 100)


def config(source: HubSource) -> bytes:
    return source.read_file("config.json")


@dataclass
class Played(httpcore2.NetworkStream):
    """A server that sends pieces, each after so many seconds; the clock stands still unless somebody waits."""

    pieces: Iterator[tuple[float, bytes]]
    now: float = 1000.0
    peer: str = "127.0.0.1"
    left: float | None = None
    piece: bytes = b""
    written: bytes = b""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self.left is None:
            self.left, self.piece = next(self.pieces, (0, b""))
        assert timeout is not None
        assert len(self.piece) <= max_bytes
        if self.left > timeout:
            self.left -= timeout
            self.now += timeout
            raise httpcore2.ReadTimeout("timed out")
        self.now += self.left
        self.left = None
        return self.piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        assert timeout is not None
        self.written += buffer

    def close(self) -> None:
        """Nothing is open."""

    def get_extra_info(self, info: str) -> Any:
        return {"server_addr": (self.peer, 80)}.get(info)


@dataclass
class Asked:
    """A client of a server that is played."""

    played: Played
    client: httpx2.Client

    def ends(self, away: float = 0) -> tuple[float, int]:
        """Ask, be away after each piece, and tell the seconds and the bytes."""
        began, came = self.played.now, 0
        with self.client.stream("GET", "http://hub.example/x") as response:
            for piece in response.iter_raw():
                came += len(piece)
                self.played.now += away
        return self.played.now - began, came

    def times_out(self) -> tuple[float, str]:
        """Ask in vain, and tell the seconds and what is said."""
        began = self.played.now
        with pytest.raises(httpx2.ReadTimeout) as caught:
            self.ends()
        return self.played.now - began, str(caught.value)


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Iterator[tuple[float, bytes]]], Asked]]:
    with contextlib.ExitStack() as stack:

        def asked(pieces: Iterator[tuple[float, bytes]]) -> Asked:
            played = Played(pieces)
            monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", lambda *_: played)
            monkeypatch.setattr(time, "monotonic", lambda: played.now)
            straight, others = line.lines(Endpoint("http://hub.example"), READ)
            client = httpx2.Client(transport=straight, mounts=others, timeout=READ)
            return Asked(played, stack.enter_context(client))

        yield asked


def body(count: int, size: int, seconds: float) -> Iterator[tuple[float, bytes]]:
    """An answer whose body comes in so many pieces, one each so many seconds."""
    yield 1, HEAD % (count * size)
    yield from ((seconds, b"x" * size) for _ in range(count))


def headers(again: bytes, seconds: float) -> Iterator[tuple[float, bytes]]:
    yield 0, b"HTTP/1.1 200 OK\r\nX: "
    while True:
        yield seconds, again


def interim(status: int, seconds: float) -> Iterator[tuple[float, bytes]]:
    while True:
        yield seconds, b"HTTP/1.1 %d Wait\r\nLink: </x>\r\n\r\n" % status


class TestSpeeds:
    @pytest.mark.parametrize(
        ("count", "size", "seconds"),
        [(1000, 200, 0.1), (1000, 1460, 8), (100, 1460, 9.9), (2000, 60, 1), (50, 600, 9.9)],
        ids=["2 kB/s", "180 B/s", "150 B/s", "60 B/s", "60 B/s in packets"],
    )
    def test_a_slow_line_is_no_failure_however_long_it_takes(
        self, ask: Callable[..., Asked], count: int, size: int, seconds: float
    ) -> None:
        assert ask(body(count, size, seconds)).ends() == pytest.approx((1 + count * seconds, count * size))

    @pytest.mark.parametrize(("size", "seconds"), [(1, 1), (1, 0.05), (40, 1), (300, 9)])
    def test_a_body_by_the_byte_ends_after_three_time_outs(
        self, ask: Callable[..., Asked], size: int, seconds: float
    ) -> None:
        took, said = ask(body(100_000, size, seconds)).times_out()
        assert took == pytest.approx(1 + 3 * READ, abs=seconds)
        assert said == "less than 1,500 bytes came in 30 s"

    def test_one_that_becomes_slow_ends_after_three_more(self, ask: Callable[..., Asked]) -> None:
        def pieces() -> Iterator[tuple[float, bytes]]:
            yield from body(100_000, 1000, 1)

        slow = ((1.0, b"x") for _ in range(1000))
        first = (piece for piece, _ in zip(pieces(), range(501), strict=False))
        took, said = ask(piece for part in (first, slow) for piece in part).times_out()
        assert took == pytest.approx(501 + 3 * READ, abs=2)
        assert "came in 30 s" in said

    def test_a_reader_may_take_its_time(self, ask: Callable[..., Asked]) -> None:
        assert ask(body(50, 100, 1)).ends(away=1000) == pytest.approx((51 + 50 * 1000, 5000))

    @pytest.mark.parametrize("seconds", [1, 0.001, 9.9])
    def test_headers_have_three_time_outs(self, ask: Callable[..., Asked], seconds: float) -> None:
        took, said = ask(headers(b"a", seconds)).times_out()
        assert took == pytest.approx(3 * READ)
        assert said == "the headers of its answer were not complete after 30 s"

    @pytest.mark.parametrize("status", [100, 102, 103])
    @pytest.mark.parametrize("seconds", [1, 0.01])
    def test_interim_answers_are_no_answer(self, ask: Callable[..., Asked], status: int, seconds: float) -> None:
        took, said = ask(interim(status, seconds)).times_out()
        assert took == pytest.approx(3 * READ)
        assert "were not complete" in said

    def test_silence_ends_after_one_time_out(self, ask: Callable[..., Asked]) -> None:
        for pieces, seconds in (([(1e9, b"")], READ), ([(9, HEAD % 5), (1e9, b"")], 9 + READ)):
            took, said = ask(iter(pieces)).times_out()
            assert took == pytest.approx(seconds)
            assert said == "nothing came for 10 s"

    def test_what_is_no_body_counts_for_none(self, ask: Callable[..., Asked]) -> None:
        def chunks() -> Iterator[tuple[float, bytes]]:
            yield 0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            while True:
                yield 1, b"1;" + b"a" * 1000 + b"\r\nx\r\n"

        assert ask(chunks()).times_out()[1] == "less than 1,500 bytes came in 30 s"

    def test_a_connection_that_is_used_again_begins_anew(self, ask: Callable[..., Asked]) -> None:
        asked = ask(iter([(9, HEAD % 2), (9, b"xx"), (9, HEAD % 2), (9, b"xx")] * 10))
        for _ in range(10):
            assert asked.ends() == (18, 2)
            asked.played.now += 3  # as long as a connection is kept


class TestThePrograms:
    """With a time-out of a second, a server that never comes to the end of its answer."""

    PATIENCE = Patience(connect=5, read=1, attempts=1)

    @pytest.mark.few(1)
    @pytest.mark.parametrize("ask", [config, head, HubSource.files])
    @pytest.mark.parametrize("kind", ENDLESS)
    @pytest.mark.slow
    def test_headers_without_end(self, case: Case, ask: Ask, kind: str) -> None:
        case.hub.fault(kind, where="hub", times=None)
        source = case.source(patience=self.PATIENCE)
        with pytest.raises(Unreachable, match=r"did not answer in time: the headers .* not complete after 3 s"):
            ask(source)
        case.holds(requests=1)

    @pytest.mark.few(1)
    @pytest.mark.parametrize(("ask", "path"), [(config, "/api/resolve-cache"), (head, "/blobs/")])
    @pytest.mark.parametrize("kind", ENDLESS)
    @pytest.mark.slow
    def test_behind_a_redirect(self, case: Case, ask: Ask, path: str, kind: str) -> None:
        case.hub.fault(kind, path=path, times=None)
        with pytest.raises(Unreachable, match="did not answer in time: the headers"):
            ask(case.source(patience=self.PATIENCE))
        case.holds(requests=2)

    @pytest.mark.few(1)
    @pytest.mark.parametrize(("ask", "path"), [(config, "/api/resolve-cache"), (head, "/blobs/")])
    def test_silence_behind_a_redirect(self, case: Case, ask: Ask, path: str) -> None:
        case.hub.fault("silence", path=path, times=None)
        with pytest.raises(Unreachable, match="did not answer in time: nothing came for 1 s"):
            ask(case.source(patience=self.PATIENCE))
        case.holds(requests=2)

    @pytest.mark.few(1)
    @pytest.mark.parametrize(("ask", "path"), [(config, "/api/"), (head, "/blobs/"), (HubSource.files, "/revision/")])
    @pytest.mark.slow
    def test_a_body_by_the_byte(self, case: Case, ask: Ask, path: str) -> None:
        case.hub.fault("slow", path=path, times=None, bytes_per_second=4)
        with pytest.raises(Unreachable, match=r"did not answer in time: less than 150 bytes came in 3 s"):
            ask(case.source(patience=self.PATIENCE))
        case.holds(requests=2)

    def test_the_body_of_a_redirect_is_not_waited_for(self, case: Case) -> None:
        case.hub.fault("slow", path="/resolve/", times=None, bytes_per_second=4)
        assert head(case.source(patience=HURRY)) == case.data[:100]
        case.holds(requests=2)

    @pytest.mark.slow
    def test_what_came_before_is_kept(self, case: Case) -> None:
        case.hub.fault("slow", where="storage", times=None, bytes_per_second=4, after=3 * BLOCK + 10)
        with pytest.raises(EmbtoolError) as caught:
            case.fetch(patience=self.PATIENCE)
        assert caught.value.exit_status == 5
        assert "bytes are kept" in f"{caught.value.message}{caught.value.hint}"
        case.hub.reset()
        assert case.fetch() == case.table
        assert case.hub.sent("storage") == len(case.table) - 3 * BLOCK

    @pytest.mark.slow
    def test_the_variables_set_the_time_and_the_status_is_that_of_the_network(
        self, run: Program, case: Case, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        case.hub.fault("interim_103", where="hub", times=None)
        home = tmp_path_factory.mktemp("home")
        env = {"HF_ENDPOINT": case.hub.endpoint, "HF_HUB_OFFLINE": "0", "EMBTOOL_RETRIES": "0", "HF_HOME": str(home)}
        run.outside("info", MODEL, env={**env, "HF_HUB_DOWNLOAD_TIMEOUT": "2"}).refused(5, "not complete after 6 s")

    @pytest.mark.few(1)
    @pytest.mark.parametrize("kind", ["drip_headers", "interim_100", "slow"])
    def test_an_interrupt_ends_the_waiting(self, run: Program, case: Case, kind: str) -> None:
        case.hub.fault(kind, where="hub", times=None, bytes_per_second=4)
        env = {"HF_ENDPOINT": case.hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DOWNLOAD_TIMEOUT": "1000"}
        with run.start("info", MODEL, env=env) as process:
            wait_until(lambda: case.hub.count() >= (2 if kind == "slow" else 1), 60)
            process.send_signal(signal.SIGINT)
            _out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert b"Traceback" not in err


@dataclass
class Proxy:
    """A proxy that leads nowhere and writes down what it is told."""

    heads: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection, contextlib.suppress(OSError):
                    told = b""
                    while b"\r\n\r\n" not in told and (part := connection.recv(65536)):
                        told += part
                    self.heads.append(told)
                    connection.sendall(b"HTTP/1.1 502 Nowhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    yield made
    made.socket.close()


TOKEN = "hf_good"  # noqa: S105 - the test hub's


class TestProxies:
    @pytest.mark.few(6)
    @pytest.mark.parametrize("ask", [config, head, HubSource.files, Case.fetch])
    @pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost"])
    def test_this_machine_is_asked_straight(
        self, case: Case, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, ask: Any, variable: str, host: str
    ) -> None:
        monkeypatch.setenv(variable, f"http://name:word@{proxy.host}")
        source = case.source(endpoint=case.hub.endpoint.replace("127.0.0.1", host), token=TOKEN)
        assert case.fetch(source) == case.table if ask is Case.fetch else ask(source)
        assert proxy.heads == []
        assert {f"Bearer {TOKEN}"} == {r.headers.get("authorization") for r in case.hub.requests("hub")}
        case.holds(requests=4)

    @pytest.mark.parametrize("ask", [config, head, HubSource.files])
    @pytest.mark.parametrize("endpoint", ["http://hub.example", "http://192.0.2.7:8080", "http://localhost.example"])
    def test_another_machine_is_asked_through_it_without_the_token(
        self, case: Case, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, ask: Ask, endpoint: str
    ) -> None:
        monkeypatch.setenv("http_proxy", f"http://name:word@{proxy.host}")
        with pytest.raises(Unreachable):
            ask(case.source(endpoint=endpoint, token=TOKEN, patience=Patience(attempts=1)))
        assert [told.split()[1].startswith(endpoint.encode()) for told in proxy.heads] == [True]
        assert TOKEN.encode() not in proxy.heads[0]
        assert b"roxy-Authorization: Basic bmFtZTp3b3Jk" in proxy.heads[0]

    @pytest.mark.few(6)
    @pytest.mark.parametrize("ask", [config, head, HubSource.files])
    @pytest.mark.parametrize("endpoint", ["https://hub.example", "https://127.0.0.1:1"])
    @pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
    def test_a_tunnel_is_asked_for_without_the_token(
        self, case: Case, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, ask: Ask, endpoint: str, variable: str
    ) -> None:
        monkeypatch.setenv(variable, f"http://name:word@{proxy.host}")
        with pytest.raises(Unreachable, match="the proxy does not lead to"):
            ask(case.source(endpoint=endpoint, token=TOKEN, patience=Patience(attempts=1)))
        assert [told.split()[0] for told in proxy.heads] == [b"CONNECT"]
        assert TOKEN.encode() not in proxy.heads[0]
        assert b"roxy-Authorization: Basic bmFtZTp3b3Jk" in proxy.heads[0]

    @pytest.mark.slow
    def test_a_proxy_that_drips_its_answer_ends_too(self, hub_home: object, monkeypatch: pytest.MonkeyPatch) -> None:
        del hub_home
        with HubStub() as hub:
            hub.fault("drip_headers", times=None)
            monkeypatch.setenv("http_proxy", hub.endpoint)
            source = HubSource(MODEL, endpoint="http://hub.example", patience=Patience(read=1, attempts=1))
            with pytest.raises(Unreachable, match="not complete after 3 s"):
                config(source)

    def test_a_name_of_this_machine_that_leads_to_another_one_is_told_nothing(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        played = Played(iter(()), peer="192.0.2.7")
        monkeypatch.setattr(httpcore2.SyncBackend, "connect_tcp", lambda *_: played)
        for ask in (config, head, HubSource.files):
            with pytest.raises(Unreachable, match="another machine"):
                ask(case.source(endpoint="http://localhost:8080", token=TOKEN))
        assert played.written == b""

    @pytest.mark.parametrize("address", ["ftp://127.0.0.1", "socks5://127.0.0.1:1", "http://[::1", "http://a:b:c"])
    def test_a_proxy_that_cannot_be_one_is_named(
        self, case: Case, monkeypatch: pytest.MonkeyPatch, address: str
    ) -> None:
        monkeypatch.setenv("all_proxy", address)
        with pytest.raises(Unreachable, match="proxy that cannot be used"):
            head(case.source(endpoint="http://hub.example"))
