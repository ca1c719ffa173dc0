"""What can go wrong between here and a hub: each test is a row of the fault matrix in docs/security.md.

Whatever the hub does: no secret is shown to another host, the number of requests is bounded, what was fetched is kept,
and no wrong byte passes for a right one.
"""

import contextlib
import hashlib
import re
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from hub_fixtures import BRIEF, HURRY, MODEL, ROW_BYTES, SHARD, Case, read
from huggingface_hub import constants

from embtool.errors import AccessDenied, EmbtoolError, FileNotInModel, FormatError, ModelNotFound, Unreachable
from embtool.hub import HubSource, remote_file, table
from embtool.hub.crew import Stop
from embtool.hub.journal import BLOCK
from embtool.hub.transport import Patience

pytestmark = pytest.mark.usefixtures("quick")

Ask = Callable[[HubSource], Any]


def head(source: HubSource) -> bytes:
    return source.head(SHARD, 100)


def config(source: HubSource) -> bytes:
    return source.read_file("config.json")


def closed_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    assert isinstance(port, int)
    return port


def refused(ask: Callable[[], object], status: int, *words: str) -> EmbtoolError:
    with pytest.raises(EmbtoolError) as caught:
        ask()
    error = caught.value
    said = f"{error.message} / {error.hint}"
    assert error.exit_status == status, said
    for word in words:
        assert word in said, said
    assert "Signature" not in said
    assert "secret" not in said
    return error


def whole_blocks(count: int) -> int:
    return count // BLOCK * BLOCK


class TestRow01NoServer:
    @pytest.mark.few(3)
    @pytest.mark.parametrize("ask", [config, head, HubSource.files])
    @pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
    def test_is_said_with_the_host(self, case: Case, ask: Ask, host: str) -> None:
        source = case.source(endpoint=f"http://{host}:{closed_port()}")
        refused(lambda: ask(source), 5, host)

    def test_what_is_cached_answers(self, case: Case) -> None:
        first = case.source()
        assert config(first)
        assert first.files()
        assert case.fetch(first) == case.table
        head(first)
        case.hub.__exit__(None, None, None)  # the same endpoint, where nobody listens any more
        for ask in (config, head, HubSource.files, case.fetch):
            again = case.source()
            assert ask(again) == ask(first)
            assert "did not answer" in again.notes[0]
            assert again.commit == case.commit


class TestRow02Silence:
    @pytest.mark.few(1)
    @pytest.mark.parametrize("ask", [config, head, HubSource.files])
    def test_ends_after_the_time_out(self, case: Case, ask: Ask) -> None:
        case.hub.fault("silence", where="hub", times=None)
        refused(lambda: ask(case.source(patience=BRIEF)), 5, "nothing came for 1 s")
        case.holds(requests=BRIEF.attempts // 2)


class TestRows03To08BrokenBodies:
    @pytest.mark.parametrize("how", ["fin", "rst"])
    def test_a_body_dropped_three_times_is_resumed_at_the_byte(self, case: Case, how: str) -> None:
        case.hub.fault("drop", where="storage", times=3, after=1_000_000, how=how)
        assert case.fetch() == case.table
        case.holds(requests=5)
        if how == "fin":
            assert case.hub.sent("storage") == len(case.table), "no byte twice"

    def test_every_answer_cut_at_half_a_megabyte_still_arrives(self, case: Case) -> None:
        case.hub.fault("drop", where="storage", times=None, after=500_000)
        assert case.fetch() == case.table
        assert case.hub.sent("storage") == len(case.table)
        case.holds(requests=1 + len(case.table) // 500_000 + 1)

    def test_every_answer_cut_at_once_ends_and_keeps(self, case: Case) -> None:
        case.hub.fault("drop", where="storage", after=3_000_000)
        case.hub.fault("drop", where="storage", skip=1, times=None, after=0)
        refused(case.fetch, 5, "broke", "are kept")
        case.holds(requests=2 + HURRY.attempts)
        case.hub.reset()
        assert case.fetch() == case.table
        assert case.hub.sent("storage") == len(case.table) - whole_blocks(3_000_000)

    def test_a_server_that_sends_byte_by_byte_cannot_keep_us_for_ever(self, case: Case) -> None:
        case.hub.fault("short_range", where="storage", times=None, length=1)
        refused(case.fetch, 5, "ever smaller")
        case.holds(requests=2 + HURRY.attempts)

    @pytest.mark.slow
    def test_a_stall_is_resumed_at_the_byte(self, case: Case) -> None:
        case.hub.fault("stall", where="storage", after=1_000_000)
        assert case.fetch(patience=replace(HURRY, read=4)) == case.table
        assert case.hub.sent("storage") == len(case.table)
        case.holds(requests=3)

    def test_slow_is_no_failure(self, case: Case) -> None:
        seen: list[int] = []
        case.hub.fault("slow", where="storage", bytes_per_second=8_000_000)
        assert case.fetch(progress=lambda _what, done, _total: seen.append(done)) == case.table
        case.holds(requests=2)
        assert len(set(seen)) > 3, "the progress moves"

    def test_a_small_file_is_fetched_through_broken_connections(self, case: Case) -> None:
        case.hub.fault("drop", where="hub", method="GET", path="resolve-cache", times=2, after=5, how="rst")
        case.hub.fault("drop", where="hub", method="GET", path="resolve-cache", times=1, skip=2, after=5)
        assert config(case.source()) == b'{"model_type": "llama"}'
        case.holds(requests=20)


class TestRows09To12BusyServers:
    @pytest.fixture
    def waits(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The seconds that were to be waited, each time."""
        seen: list[float] = []
        wait = Stop.wait

        def noted(stop: Stop, seconds: float) -> None:
            seen.append(seconds)
            wait(stop, min(seconds, 1))

        monkeypatch.setattr(Stop, "wait", noted)
        return seen

    @pytest.mark.few(2)
    @pytest.mark.parametrize("where", ["hub", "storage"])
    @pytest.mark.parametrize("code", [500, 503])
    def test_gone_after_three_times(self, case: Case, where: Any, code: int) -> None:
        case.hub.fault("status", where=where, times=3, code=code)
        assert case.fetch() == case.table
        case.holds(requests=6)

    @pytest.mark.parametrize("where", ["hub", "storage"])
    def test_for_ever(self, case: Case, where: Any) -> None:
        case.hub.fault("status", where=where, times=None, code=503)
        refused(case.fetch, 5, "503")
        case.holds(requests=1 + HURRY.attempts)

    @pytest.mark.parametrize("ask", [config, HubSource.files])
    def test_small_files(self, case: Case, ask: Ask) -> None:
        case.hub.fault("status", where="hub", times=3, code=503)
        assert ask(case.source())
        case.hub.fault("status", where="hub", times=None, code=503)
        refused(lambda: ask(case.source("acme/other")), 5, "503")
        case.holds(requests=20)

    @pytest.mark.few(1)
    @pytest.mark.parametrize("headers", [{"Retry-After": 1}, {"RateLimit": '"resolvers";r=0;t=1'}])
    def test_a_second_is_waited_by_all(
        self, case: Case, headers: dict[str, object], monkeypatch: pytest.MonkeyPatch, waits: list[float]
    ) -> None:
        monkeypatch.setattr(table, "SPAN", 2 << 20)
        case.hub.fault("status", where="storage", times=2, code=429, headers=headers)
        began = time.monotonic()
        assert case.fetch() == case.table
        assert time.monotonic() - began >= 1
        assert max(waits) <= 1
        case.holds(requests=1 + 5 + 2)

    @pytest.mark.parametrize("ask", [config, head, HubSource.files])
    def test_a_day_is_not_waited(self, case: Case, ask: Ask, waits: list[float]) -> None:
        case.hub.fault("status", where="hub", times=None, code=429, headers={"Retry-After": 86400})
        refused(lambda: ask(case.source()), 5, "asks to wait 24 h")
        assert max(waits) <= 0
        case.holds(requests=2)

    def test_a_day_is_not_waited_in_the_middle_and_nothing_is_lost(self, case: Case) -> None:
        case.hub.fault("drop", where="storage", after=3_000_000)
        case.hub.fault("status", where="storage", skip=1, times=None, code=429, headers={"Retry-After": 86400})
        refused(case.fetch, 5, "asks to wait 24 h", "are kept")
        case.hub.reset()
        assert case.fetch() == case.table
        assert case.hub.sent("storage") == len(case.table) - whole_blocks(3_000_000)

    @pytest.mark.few(2)
    @pytest.mark.parametrize("text", ["Wed, 21 Oct 2099 07:28:00 GMT", "²", "-5", "", "9" * 50])
    def test_nonsense_is_passed_over(self, case: Case, text: str) -> None:
        case.hub.fault("status", where="storage", times=2, code=503, headers={"Retry-After": text})
        assert case.fetch() == case.table
        case.holds(requests=4)


WRONG_ANSWERS: list[tuple[str, dict[str, Any], str]] = [
    ("ignore_range", {}, "ignores byte ranges"),
    ("wrong_range", {}, "instead of"),
    ("no_content_range", {}, "does not say which bytes"),
    ("wrong_total", {}, "changed on the server"),
    ("multipart", {}, "several ranges"),
    ("gzip", {}, "compressed"),
    ("truncate", {}, "shorter than recorded"),
    ("too_long", {}, "more bytes"),
    ("html", {}, "captive portal"),
]


class TestRows13To21WrongAnswers:
    @pytest.mark.few(4)
    @pytest.mark.parametrize(("kind", "options", "words"), WRONG_ANSWERS, ids=[kind for kind, _, _ in WRONG_ANSWERS])
    @pytest.mark.parametrize("is_mirror", [False, True], ids=["hub", "mirror"])
    def test_are_refused_before_anything_is_written(
        self, case: Case, mirror: Case, kind: str, options: dict[str, Any], words: str, *, is_mirror: bool
    ) -> None:
        asked = mirror if is_mirror else case
        source = asked.source()
        source.head(SHARD, asked.start)
        asked.hub.reset()
        asked.hub.fault(kind, path=SHARD if is_mirror else "blobs", times=None, **options)
        before = source.cost.bytes
        refused(lambda: asked.row(1, source), 6, words)
        refused(lambda: asked.fetch(source), 6, words)
        asked.holds(requests=4)
        if kind != "too_long":
            assert source.cost.bytes - before < 1_000_000, "the body is not read"
        asked.hub.reset()
        assert asked.row(1, source) == asked.true_row(1)
        assert asked.fetch(source) == asked.table

    def test_an_unknown_total_is_accepted_where_the_size_is_known(self, case: Case) -> None:
        case.hub.fault("star_total", where="storage", times=None)
        assert case.fetch() == case.table

    def test_an_unknown_total_is_refused_where_the_size_is_not_known(self, mirror: Case) -> None:
        mirror.hub.fault("star_total", times=None)
        refused(lambda: head(mirror.source()), 6, "how large")

    def test_shorter_ranges_than_asked_for_go_on(self, case: Case) -> None:
        case.hub.fault("short_range", where="storage", times=None, length=1_500_000)
        assert case.fetch() == case.table
        assert case.hub.sent("storage") == len(case.table)

    @pytest.mark.parametrize("kind", ["chunked", "no_length"])
    def test_a_body_without_a_length_is_whole_or_goes_on(self, case: Case, kind: str) -> None:
        case.hub.fault(kind, where="storage", times=None)
        case.hub.fault("drop", where="storage", times=2, after=1_000_000)
        assert case.fetch() == case.table
        case.holds(requests=5)

    def test_a_size_that_is_no_number_is_refused(self, case: Case) -> None:
        for size in ("-1", "1e9", "²", "9" * 40):
            case.hub.fault("add", where="hub", headers={"X-Linked-Size": size})
            refused(lambda: head(case.source()), 6, "sent an invalid size")

    def test_a_range_beyond_the_end_is_refused_without_a_request_for_data(self, case: Case) -> None:
        source = case.source()
        source.head(SHARD, 10)
        case.hub.reset()
        refused(lambda: source.read(SHARD, len(case.data) - 5, len(case.data) + 5), 6, "truncated")
        with pytest.raises(FormatError):
            source.local_range(SHARD, 5, len(case.data) + 5)
        assert case.hub.count() == 0

    def test_a_head_longer_than_the_file_is_the_file(self, case: Case, mirror: Case) -> None:
        for asked in (case, mirror):
            asked.hub.add("acme/short", {"short.safetensors": b"12345678"})
            asked.hub.add("acme/empty", {"empty.safetensors": b""})
            assert asked.source("acme/short").head("short.safetensors", 1000) == b"12345678"
        assert case.source("acme/empty").head("empty.safetensors", 1000) == b""
        assert case.source("acme/short").head("short.safetensors", 1000) == b"12345678"


class TestRows22To24SignedAddresses:
    def test_one_that_expires_is_asked_for_again_once(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table, "SPAN", 2 << 20)
        case.hub.fault("expired", where="storage", skip=2)
        assert case.fetch() == case.table
        assert case.hub.count("hub") == 2
        case.holds(requests=2 + 5 + 1)

    def test_one_with_a_short_life(self, case: Case) -> None:
        source = case.source()
        head(source)
        for row in (5, 1500):
            case.hub.expire()
            assert case.row(row, source) == case.true_row(row)
        case.holds(requests=2 + 3 + 3)

    def test_a_storage_that_always_refuses(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table, "SPAN", 2 << 20)
        monkeypatch.setattr(table, "WORKERS", 1)
        case.hub.fault("expired", where="storage", skip=2, times=None)
        refused(case.fetch, 4, "refuses", "are kept")
        case.holds(requests=2 + 4)
        case.hub.reset()
        assert case.fetch() == case.table
        assert case.hub.sent("storage") == len(case.table) - (4 << 20)

    @pytest.mark.parametrize("code", [404, 410])
    def test_a_storage_that_has_nothing(self, case: Case, code: int) -> None:
        case.hub.fault("status", where="storage", times=None, code=code)
        refused(lambda: head(case.source()), 5, str(code))
        case.holds(requests=4)

    @pytest.mark.few(1)
    @pytest.mark.parametrize(
        "headers", [{"X-Linked-ETag": '"' + "a" * 64 + '"'}, {"X-Linked-Size": "12345678"}, {"X-Repo-Commit": "b" * 40}]
    )
    def test_another_file_at_the_second_question(
        self, case: Case, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(table, "SPAN", 2 << 20)
        monkeypatch.setattr(table, "WORKERS", 1)
        source = case.source()
        head(source)
        case.hub.fault("expired", where="storage", skip=2)
        case.hub.fault("add", where="hub", times=None, headers=headers)
        refused(lambda: case.fetch(source), 6)
        case.hub.reset()
        assert case.fetch() == case.table
        assert case.hub.sent("storage") == len(case.table) - (4 << 20)


def test_row_25_a_branch_that_moves_does_not_mix_two_commits(case: Case) -> None:
    source = case.source()
    assert config(source) == b'{"model_type": "llama"}'
    moved = case.hub.add(MODEL, {"config.json": b"{}", "tokenizer.json": b"moved", SHARD: b"moved"})
    assert source.read_file("tokenizer.json") == b'{"model": {}}'
    assert head(source) == case.data[:100]
    assert case.fetch(source) == case.table
    assert source.commit == case.commit
    again = case.source()
    assert config(again) == b"{}"
    assert again.commit == moved
    assert again.head(SHARD, 100) == b"moved"


class TestRows26To28OtherServers:
    @pytest.mark.parametrize("ask", [config, head, HubSource.files])
    def test_a_web_page_is_no_hub(self, case: Case, ask: Ask) -> None:
        case.hub.fault("html", times=None)
        refused(lambda: ask(case.source()), 6, "captive portal")
        refused(lambda: ask(case.source(revision=case.commit)), 6, "captive portal")
        case.holds(requests=12)

    @pytest.mark.few(3)
    @pytest.mark.parametrize(("ask", "where"), [(config, "hub"), (head, "hub"), (head, "storage")])
    @pytest.mark.parametrize("kind", ["loop", "no_location"])
    def test_redirects_without_an_end_or_a_goal(self, case: Case, ask: Ask, where: Any, kind: str) -> None:
        case.hub.fault(kind, where=where, times=None)
        refused(lambda: ask(case.source()), 6)
        case.holds(requests=90)

    @pytest.mark.few(6)
    @pytest.mark.parametrize("ask", [config, head])
    @pytest.mark.parametrize(
        "location",
        [
            "file:///etc/passwd",
            "ftp://127.0.0.1/x",
            "http://",
            "http://[::1",
            "http://[v1.x]/y",
            "http://127.0.0.1:99999/x",
            "http://127.0.0.1:-1/x",
            "http://127.0.0.1:x/",
            "//",
        ],
    )
    def test_redirects_to_what_is_not_http(self, case: Case, ask: Ask, location: str) -> None:
        case.hub.fault("redirect", where="hub", times=None, location=location)
        error = refused(lambda: ask(case.source()), 6)
        assert "Error" not in error.message, "our own words"
        case.holds(requests=6)

    def test_https_does_not_lead_to_plain_http(self) -> None:
        with pytest.raises(FormatError, match="from https to plain http"):
            remote_file._target("https://huggingface.co/x", "http://example.org/x")
        assert remote_file._target("http://mirror/x", "https://example.org/x") == "https://example.org/x"

    def test_a_third_host_sees_no_token_and_no_cookie(self, case: Case) -> None:
        case.hub.fault("add", times=None, headers={"Set-Cookie": "session=1; Path=/"})
        signed = f"{case.hub.stranger}/blobs/{hashlib.sha256(case.data).hexdigest()}?Expires=9e99"
        case.hub.fault("redirect", where="storage", times=None, location=signed)
        source = case.source(token="hf_good")  # noqa: S106 - the test hub's
        assert config(source)
        assert head(source) == case.data[:100]
        assert case.fetch(source) == case.table
        assert case.hub.count("stranger") == 2
        assert {"Bearer hf_good"} == {r.headers.get("authorization") for r in case.hub.requests("hub")}
        case.holds(requests=12)


class TestRows29To31Access:
    @pytest.mark.few(3)
    @pytest.mark.parametrize("ask", [config, head, HubSource.files])
    @pytest.mark.parametrize("token", [None, "hf_unknown"])
    def test_unknown_or_private_without_the_right_token(self, case: Case, ask: Ask, token: str | None) -> None:
        case.hub.add("acme/private", case.files(), private=True)
        for name in ("acme/private", "acme/nothing"):
            error = refused(lambda name=name: ask(case.source(name, token=token)), 4, "log", name)  # type: ignore[misc]
            assert isinstance(error, AccessDenied)
            assert "hf_unknown" not in f"{error.message}{error.hint}"
        case.holds(requests=12)

    def test_private_with_the_right_token(self, case: Case) -> None:
        case.hub.add("acme/private", case.files(), private=True)
        source = case.source("acme/private", token="hf_good")  # noqa: S106 - the test hub's
        assert config(source)
        assert case.fetch(source) == case.table
        case.holds(requests=5)

    @pytest.mark.parametrize("ask", [config, head, HubSource.files])
    def test_what_is_missing_is_told_apart(self, case: Case, ask: Ask) -> None:
        token = {"token": "hf_good"}
        missing = refused(lambda: ask(case.source("acme/nothing", **token)), 3, "no such repository", "acme/nothing")
        assert isinstance(missing, ModelNotFound)
        revision = refused(lambda: ask(case.source(revision="nowhere", **token)), 3, "no revision nowhere")
        assert isinstance(revision, ModelNotFound)
        if ask is not HubSource.files:
            case.hub.add("acme/bare", {"README.md": b""})
            file = refused(lambda: ask(case.source("acme/bare", **token)), 3, "acme/bare has no file")
            assert isinstance(file, FileNotInModel)
        case.holds(requests=12)

    @pytest.mark.few(3)
    @pytest.mark.parametrize("ask", [config, head, HubSource.files])
    @pytest.mark.parametrize("token", [None, "hf_good"])
    def test_gated_says_where_to_ask(self, case: Case, ask: Ask, token: str | None) -> None:
        case.hub.add("acme/gated", case.files(), gated=True)
        page = f"{case.hub.endpoint}/acme/gated"
        refused(lambda: ask(case.source("acme/gated", token=token)), 4, "gated", page)
        case.holds(requests=3)

    @pytest.mark.parametrize("ask", [config, head, HubSource.files])
    def test_disabled(self, case: Case, ask: Ask) -> None:
        case.hub.add("acme/disabled", case.files(), disabled=True)
        refused(lambda: ask(case.source("acme/disabled")), 4, "disabled")
        case.holds(requests=8)

    @pytest.mark.parametrize(("code", "status"), [(400, 6), (451, 4), (407, 5), (418, 6)])
    def test_other_statuses(self, case: Case, code: int, status: int) -> None:
        case.hub.fault("status", where="hub", times=None, code=code)
        refused(lambda: head(case.source()), status, str(code))
        case.holds(requests=2)


def test_row_32_offline_by_environment(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    source = case.source()
    config(source)
    head(source)
    case.hub.reset()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = case.source()
    assert config(offline)
    assert head(offline) == case.data[:100]
    refused(lambda: case.row(3, offline), 5, "offline, and not in the cache")
    refused(lambda: offline.read_file("tokenizer.json"), 5, "offline, and not in the cache")
    assert case.hub.count() == 0


def test_row_34_a_token_is_not_sent_where_anyone_could_read_it(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    huggingface_hub.close_session()  # the next client reads the environment again
    monkeypatch.setenv("http_proxy", case.hub.endpoint)  # leads to the test hub what is sent to a host that is not here
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    case.hub.add("acme/private", case.files(), private=True)
    token = "hf_good"  # noqa: S105 - the test hub's
    options = {"endpoint": "http://hub.example", "token": token}
    source = case.source(**options)
    assert head(source) == case.data[:100]
    assert source.read_file("tokenizer.json") == b'{"model": {}}'
    assert source.notes == [
        "the token was not sent: http://hub.example is plain http, and anyone on the way could read it"
    ]
    assert case.hub.count("hub") >= 3
    refused(lambda: head(case.source("acme/private", **options)), 4, "the token was not sent")
    assert not any("authorization" in request.headers for request in case.hub.requests())
    huggingface_hub.close_session()


class TestRow35Names:
    @pytest.mark.few(1)
    @pytest.mark.parametrize(
        "etag", ["../../x", '"../../../../../../tmp/embtool-x"', "", "a" * 10_000, "nöt-hex", "zz"]
    )
    def test_an_etag_is_hashed_or_refused(self, case: Case, etag: str) -> None:
        before = everything(case.folder.parent)
        case.hub.fault("add", where="hub", times=None, headers={"X-Linked-ETag": etag})
        with contextlib.suppress(FormatError):
            assert case.fetch() == case.table
        self.holds_inside(case, before)

    @pytest.mark.few(2)
    @pytest.mark.parametrize(
        "etag", ["../../x", '"../../../../../../tmp/embtool-x"', "", "a" * 10_000, "nöt-hex", "zz"]
    )
    def test_an_etag_of_a_small_file(self, case: Case, etag: str) -> None:
        before = everything(case.folder.parent)
        case.hub.fault("add", where="hub", path="resolve-cache", times=None, headers={"ETag": etag})
        with contextlib.suppress(EmbtoolError):
            assert config(case.source()) == b'{"model_type": "llama"}'
        self.holds_inside(case, before)

    @pytest.mark.few(1)
    @pytest.mark.parametrize("ask", [config, head])
    @pytest.mark.parametrize("commit", ["../../x", "", "0" * 39, "G" * 40, "a" * 10_000])
    def test_a_commit(self, case: Case, ask: Ask, commit: str) -> None:
        before = everything(case.folder.parent)
        case.hub.fault("add", where="hub", times=None, headers={"X-Repo-Commit": commit})
        error = refused(lambda: ask(case.source()), 6)
        assert len(error.message) < 500
        self.holds_inside(case, before)

    def holds_inside(self, case: Case, before: set[Path]) -> None:
        for path in everything(case.folder.parent) - before:
            assert path.is_relative_to(case.cache) or path.is_relative_to(case.hub_cache) or path == case.folder, path
        case.holds(requests=20)


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.few(3)
@pytest.mark.parametrize("ask", [config, head, HubSource.files])
@pytest.mark.parametrize("text", ["\x1b]52;c;aGk=\x07\x1b[31mred", "x" * 60_000, "a\u00a0b"])
def test_row_36_what_a_server_says_is_cut(case: Case, ask: Ask, text: str) -> None:
    case.hub.fault(
        "status",
        where="hub",
        times=None,
        code=418,
        headers={"X-Error-Message": text.encode("latin-1", "replace").decode("latin-1")},
    )
    error = refused(lambda: ask(case.source()), 6)
    assert len(error.message) < 500
    case.hub.reset()
    case.hub.fault(
        "redirect", where="hub", times=None, location=f"ftp://{'x' * 200}/{text.replace(chr(27), '')[:50_000]}"
    )
    error = refused(lambda: head(case.source()), 6)
    assert len(error.message) < 500


def test_row_37_a_bomb_ends_at_the_limit(case: Case, mirror: Case) -> None:
    limit = 12 << 20
    for asked in (case, mirror):
        asked.hub.add("acme/bomb", {"config.json": b" " * (40 << 20)})
        for kind in ("slow", "no_length", "chunked", "gzip" if asked is mirror else "slow"):
            asked.hub.reset()
            asked.hub.fault(kind, path="config.json", times=None, bytes_per_second=1e12)
            with pytest.raises(FormatError, match=f"the limit is {limit:,} bytes"):
                asked.source("acme/bomb", patience=Patience()).read_file("config.json", limit)
            assert asked.hub.sent() < 2 * limit, "what is known to be too large is not read"
        assert sum(path.stat().st_size for path in asked.hub_cache.rglob("*") if path.is_file()) < 1000
    case.hub.add("acme/list", dict.fromkeys((f"{number:0100}" for number in range(1000)), b""))
    with pytest.raises(FormatError, match="longer than"):
        case.source("acme/list")._transport.document(
            case.source().endpoint.listing_url("acme/list", "main"), case.source("acme/list")._asked(None), 50_000
        )


class TestRow38Altered:
    def test_a_small_file_altered_on_the_way_is_refused_and_not_left_behind(self, case: Case) -> None:
        case.hub.fault("corrupt", where="hub", method="GET", path="resolve-cache", at=15)
        # What is flipped is inside a gzip stream or the plain body, as the server likes.
        refused(lambda: config(case.source()), 6, "config.json", "altered on the way")
        assert config(case.source()) == b'{"model_type": "llama"}'
        case.holds(requests=20)

    def test_one_that_was_altered_unpacked(self, mirror: Case) -> None:
        mirror.hub.fault("corrupt", where="hub", method="GET", path="config.json", at=3)
        refused(lambda: config(mirror.source()), 6, "altered on the way")
        assert config(mirror.source()) == b'{"model_type": "llama"}'

    def test_one_that_rotted_in_the_cache_is_fetched_again_or_offline_refused(self, case: Case) -> None:
        path = case.source().path("config.json")
        path.resolve().write_bytes(b'{"model_type": "xxxxx"}')
        refused(
            lambda: config(case.source(revision=case.commit, offline=True)), 6, "does not match its hash", str(path)
        )
        assert config(case.source(revision=case.commit)) == b'{"model_type": "llama"}'
        assert path.read_bytes() == b'{"model_type": "llama"}'


def test_row_39_wrong_bytes_in_a_right_range_cannot_be_seen(case: Case) -> None:
    case.hub.fault("lie_range", where="storage", at=7)
    assert case.row(1) != case.true_row(1), "if this fails, HTTP has learnt something: change docs/security.md"


def test_a_listing_is_believed_only_as_far_as_it_is_one() -> None:
    from embtool.hub.listing import parse_listing  # noqa: PLC0415

    for data in (b"", b"[]", b"{}", b'{"sha": "x", "siblings": []}', b"[" * 100_000, b"\xff", b'{"sha": 1}'):
        with pytest.raises(FormatError):
            parse_listing(data, MODEL)
    names = ["ok.json", "../x", "/etc/passwd", "a\\b", "C:x", "", 7]
    listed = parse_listing(
        repr({"sha": "a" * 40, "siblings": [{"rfilename": name} for name in names] + [None]})
        .replace("'", '"')
        .replace("None", "null")
        .encode(),
        MODEL,
    )
    assert listed == ("a" * 40, {"ok.json": None})


def test_a_file_name_from_a_stranger_is_never_asked_for(case: Case) -> None:
    source = case.source()
    for name in ("../x", "/etc/passwd", "a/../b", "C:\\x", "a\0b", "x?y#z", "%2e%2e/x"):
        for ask in (source.read_file, lambda name: source.head(name, 8), source.path, source.size, source.has):
            with pytest.raises(FormatError):
                ask(name)
    assert case.hub.count() == 0


def test_numbers_in_headers_that_are_none(case: Case) -> None:
    case.hub.fault("add", where="storage", headers={"Content-Range": "bytes 0-99/" + "9" * 30})
    refused(lambda: head(case.source()), 6)
    assert re.fullmatch(r"[0-9a-f]{40}", case.commit)
    assert read(case.place()) == case.table
    assert ROW_BYTES


def test_an_unreachable_error_carries_the_status_of_the_network() -> None:
    assert Unreachable("x").exit_status == 5
