"""Names, tokens, endpoints and foreign errors: what is decided before or after a request, without a hub."""

import inspect
import os
from pathlib import Path

import httpx2
import pytest
from hub_fixtures import Case
from hypothesis import given
from hypothesis import strategies as st
from program import is_almighty

from embtool.errors import AccessDenied, BadReference, LocalFailure, SourceError
from embtool.hub import HubSource, Reference, parse_reference
from embtool.hub.endpoint import Credentials, Endpoint
from embtool.hub.failures import Asked, from_status, network_error
from embtool.hub.reference import check_revision
from embtool.hub.store import FileRecord, Store, content_key
from embtool.hub.transport import wait_asked

HUB = Endpoint("https://huggingface.co")
ASKED = Asked(HUB, "org/name", "main", "config.json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/name", Reference("org/name")),
        ("gpt2", Reference("gpt2")),
        ("org/name@v1.0", Reference("org/name", "v1.0")),
        ("org/name@refs/pr/1", Reference("org/name", "refs/pr/1")),
        ("gpt2@main", Reference("gpt2", "main")),
        ("hf://gpt2", Reference("gpt2")),
        ("hf://org/name", Reference("org/name")),
        ("hf://org/name@main", Reference("org/name", "main")),
        ("hf://org/name/a.gguf", Reference("org/name", None, "a.gguf")),
        ("hf://org/name@v1/sub/a.gguf", Reference("org/name", "v1", "sub/a.gguf")),
        ("hf://org/name@refs%2Fpr%2F1/a.gguf", Reference("org/name", "refs/pr/1", "a.gguf")),
        ("hf://org/name@refs/pr/1", Reference("org/name", "refs/pr/1")),
        ("hf://org/name@refs/pr/1/a/b.gguf", Reference("org/name", "refs/pr/1", "a/b.gguf")),
    ],
)
def test_references(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected
    assert parse_reference(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "a/b/c", "../x", "--", "a--b", "a/..", ".a/b", "a/b.git", "a b/c", "a/b@", "a/b@a b", "a/b@..", "a/b@-x",
        "a/b@x.lock", "a/b@x..y", "a/b@x/", "a/b@/x", "a/b@.x", "a/b@x\n", "a/b@x\x1b[0m", "a/b@" + "x" * 300, "a" * 97,
        "a/b@x~1", "a/b@x^", "a/b@x:y", "a/b@@{x", "hf://", "hf://a/b/", "hf://a/b/../c", "hf://datasets/a/b",
        "hf://spaces/a/b", "hf://a/b@%2e", "hf://a/b@%2e%2e", "hf://a/b@v1/", "hf://a/b/c\\d", "é/b", "a/b?x", "a/b#x",
    ],
)  # fmt: skip
def test_what_cannot_be_a_reference_is_wrong_usage(text: str) -> None:
    with pytest.raises(BadReference) as caught:
        parse_reference(text)
    assert caught.value.exit_status == 2
    assert len(caught.value.message) < 300
    with pytest.raises(BadReference):
        HubSource(text)


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    for start in ("", "hf://", "org/name@"):
        try:
            reference = parse_reference(start + text)
        except BadReference:
            continue
        url = HUB.resolve_url(reference.repo_id, reference.revision or "main", reference.file or "x")
        assert url.isascii()
        assert httpx2.URL(url).path.count("/resolve/") >= 1
        assert not {"..", "."} & set(url.removeprefix("https://").split("/"))


def test_a_percent_sign_in_a_revision_is_quoted() -> None:
    assert check_revision("%2e") == "%2e"
    assert HUB.resolve_url("a/b", "%2e", "x") == "https://huggingface.co/a/b/resolve/%252e/x"
    assert HUB.resolve_url("a/b", "refs/pr/1", "d/x y") == "https://huggingface.co/a/b/resolve/refs%2Fpr%2F1/d/x%20y"


class TestEndpoint:
    @pytest.mark.parametrize(
        "text", ["", "huggingface.co", "ftp://x", "file:///x", "http://", "http://a b", "http://[::1"]
    )
    def test_what_is_none(self, text: str) -> None:
        with pytest.raises(BadReference):
            Endpoint.parse(text)

    def test_spaces_and_a_slash_are_forgiven(self) -> None:
        assert Endpoint.parse(" https://huggingface.co/ \n") == HUB

    def test_a_password_is_not_shown(self) -> None:
        endpoint = Endpoint.parse("https://user:word@mirror.example/hf")
        assert endpoint.shown == "https://mirror.example/hf"
        assert "word" not in endpoint.key + endpoint.page_url("a/b")

    def test_each_origin_has_a_folder_of_its_own(self) -> None:
        urls = ["https://huggingface.co", "http://huggingface.co", "https://huggingface.co:8443", "https://x.example/a"]
        assert len({Endpoint(url).key for url in urls}) == 4

    @pytest.mark.parametrize(
        ("url", "private"),
        [
            ("https://x.example", True),
            ("http://x.example", False),
            ("http://127.0.0.1:1", True),
            ("http://[::1]:1", True),
            ("http://localhost", True),
            ("http://10.0.0.1", False),
            ("http://localhost.example", False),
        ],
    )
    def test_where_a_token_may_go(self, url: str, private: bool) -> None:  # noqa: FBT001 - a parameter
        given_token = Credentials(Endpoint(url), "hf_x", lambda: None)
        assert given_token.token() == ("hf_x" if private else None)
        assert given_token.withheld is not private

    def test_origins(self) -> None:
        assert HUB.is_origin_of("https://HUGGINGFACE.co:443/x")
        for url in ("http://huggingface.co/x", "https://huggingface.co:8443", "https://huggingface.co.evil/x"):
            assert not HUB.is_origin_of(url)


class TestToken:
    def test_is_trimmed(self) -> None:
        assert Credentials(HUB, " hf_x\n", lambda: None).token() == "hf_x"
        assert Credentials(HUB, "", lambda: "other").token() is None

    @pytest.mark.parametrize("text", ["hf x", "hf\nx", "hf_\x1b", "hf_ü", "x" * 5000])
    def test_that_cannot_be_one_is_refused_and_not_shown(self, text: str) -> None:
        with pytest.raises(AccessDenied) as caught:
            Credentials(HUB, text, lambda: None).token()
        assert text not in caught.value.message + str(caught.value.hint)

    def test_is_looked_up_only_when_it_is_sent(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(_notes: list[str]) -> str:
            raise AssertionError

        monkeypatch.setattr("embtool.hub.repository.look_up_token", refuse)
        with pytest.raises(SourceError):
            case.source(offline=True).read_file("config.json")

    @pytest.mark.skipif(os.name == "nt" or is_almighty(), reason="root reads everything; .ci/run runs it without")
    def test_in_a_file_that_cannot_be_read(self, case: Case) -> None:
        (case.folder / "token").write_text("hf_x")
        (case.folder / "token").chmod(0)
        with pytest.raises(LocalFailure):
            case.source().read_file("config.json")

    def test_in_a_file_that_is_no_text_or_a_folder(self, case: Case) -> None:
        path = case.folder / "token"
        path.write_bytes(b"\xff\xfe")
        with pytest.raises(AccessDenied, match="does not hold text"):
            case.source().read_file("config.json")
        path.unlink()
        path.mkdir()
        with pytest.raises(LocalFailure, match="cannot read the token"):
            case.source().head("model.safetensors", 8)

    def test_in_the_environment_reaches_the_hub_and_nobody_else(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_good\n")
        case.hub.add("acme/private", case.files(), private=True)
        assert case.source("acme/private").head("model.safetensors", 8) == case.data[:8]
        case.holds(requests=2)


def bare(kind: type[Exception], text: str) -> Exception:
    """Make an exception without calling its constructor, which may want a response."""
    error: Exception = kind.__new__(kind)
    Exception.__init__(error, text)
    return error


HTTP_ERRORS = [
    kind
    for _, kind in inspect.getmembers(httpx2, inspect.isclass)
    if issubclass(kind, httpx2.HTTPError | httpx2.InvalidURL)
]


@pytest.mark.parametrize("kind", HTTP_ERRORS)
def test_every_error_of_the_http_library_is_translated(kind: type[Exception]) -> None:
    assert network_error(bare(kind, "x"), "host").exit_status in (5, 6)


@given(st.integers(300, 599), st.dictionaries(st.sampled_from(["x-error-code", "x-error-message"]), st.text()))
def test_any_status_is_an_error_with_a_status_of_ours(status: int, headers: dict[str, str]) -> None:
    error = from_status(status, headers, ASKED)
    assert error.exit_status in (3, 4, 5, 6)
    assert len(error.message) < 500


@given(st.text(), st.text())
def test_any_wish_to_wait_is_seconds_or_nothing(retry_after: str, rate_limit: str) -> None:
    wait = wait_asked({"retry-after": retry_after, "ratelimit": rate_limit})
    assert wait is None or wait >= 0


@given(st.text(), st.text(), st.text(max_size=300))
def test_no_name_in_the_cache_is_a_servers_word(file: str, etag: str, revision: str) -> None:
    store = Store(Path("/cache"), HUB)
    key = content_key("org/name", FileRecord(file, "a" * 40, etag, 5))
    for path in (store.content(key), store._record_path("org/name", "a" * 40, file), store._ref_path("a/b", revision)):
        assert path.is_relative_to("/cache/v1/hub/huggingface.co")
        assert ".." not in path.parts
        assert all(part.isascii() and len(part) < 80 for part in path.parts)
