"""Small files: one client asks, each endpoint is believed for itself, and the shared cache is as others know it.

huggingface_hub's own client is the judge of what is written and the author of what is read.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from hub_fixtures import MODEL, SHARD, Case
from hubstub import HubStub
from huggingface_hub import constants
from small_models import tokenizer_json

from embtool.errors import EmbtoolError, FileNotInModel, LocalFailure, Unreachable
from embtool.hub import HubSource
from embtool.hub.endpoint import Endpoint

TOKEN = "hf_good"  # noqa: S105 - the test hub's
CONFIG = b'{"model_type": "llama"}'
EVIL = b'{"model_type": "evil!"}'

# --- Nobody but one client speaks ---------------------------------------------------------------------------------

AUDIT = """
import json, os, sys
seen = []
def note(event, values):
    if event in ("socket.connect", "socket.sendto"):
        seen.append(["connect", str(values[1])])
    elif event == "open" and isinstance(values[0], str) and (values[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append(["write", os.path.realpath(values[0])])
    elif event == "os.mkdir":
        seen.append(["write", os.path.realpath(values[0])])
sys.addaudithook(note)
settings = json.loads(sys.argv[1])
if settings["is_without_xet"]:
    sys.modules["hf_xet"] = None
from pathlib import Path
from embtool.hub import HubSource
source = HubSource("acme/xet", endpoint=settings["endpoint"], hub_cache=Path(settings["hub_cache"]))
for name in ("config.json", "tokenizer.json"):
    seen.append(["read", source.read_file(name).decode()])
source.close()
print(json.dumps(seen))
"""


@pytest.fixture
def xet(case: Case) -> Case:
    """A model all of whose answers say that it is in Xet storage, which is a stranger's."""
    case.hub.add("acme/xet", case.files(), large=("tokenizer.json",))
    stranger = case.hub.stranger
    headers = {
        "X-Xet-Hash": "b" * 64,
        "X-Xet-Refresh-Route": f"{stranger}/refresh",
        "X-Xet-Cas-Url": f"local://{case.folder}/anywhere",
        "X-Xet-Access-Token": "x",
        "X-Xet-Token-Expiration": "1",
        "Link": f'<{stranger}/refresh>; rel="xet-auth", <{stranger}/reconstruction>; rel="xet-reconstruction-info"',
    }
    case.hub.fault("add", times=None, headers=headers)
    return case


def test_huggingface_hubs_own_download_is_led_astray_here(xet: Case) -> None:
    """What these tests would see if small files went that way: the trap must be one."""
    pytest.importorskip("hf_xet")
    program = (
        "import sys, huggingface_hub as h; h.hf_hub_download('acme/xet', 'config.json', endpoint=sys.argv[1],"
        " cache_dir=sys.argv[2], token='hf_good')"
    )
    command = [sys.executable, "-c", program, xet.hub.endpoint, str(xet.folder / "judge")]
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
    assert xet.hub.count("stranger")
    assert xet.hub.leaks()


@pytest.mark.few(1)
@pytest.mark.parametrize("is_without_xet", [False, True], ids=["with hf_xet", "without"])
def test_storage_that_an_answer_names_is_not_asked(xet: Case, *, is_without_xet: bool) -> None:
    endpoint, hub_cache = xet.hub.endpoint, str(xet.hub_cache)
    settings = {"endpoint": endpoint, "hub_cache": hub_cache, "is_without_xet": is_without_xet}
    environment = {**os.environ, "EMBTOOL_CACHE": str(xet.cache), "HF_TOKEN": TOKEN, "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_HUB_DISABLE_XET"):
        environment.pop(name, None)
    command = [sys.executable, "-c", AUDIT, json.dumps(settings)]
    trace = xet.folder / "trace"
    if (strace := shutil.which("strace")) is not None:
        command = [strace, "-f", "-qq", "-e", "trace=connect,mkdir,mkdirat", "-o", str(trace), *command]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout)
    assert [text for kind, text in seen if kind == "read"] == [CONFIG.decode(), '{"model": {}}']
    ours = {int(address.rpartition(":")[2]) for address in (endpoint, xet.hub.storage)}
    assert {int(re.findall(r"\d+", text)[-1]) for kind, text in seen if kind == "connect"} == ours
    for kind, text in seen:
        assert kind != "write" or Path(text).is_relative_to(xet.cache) or Path(text).is_relative_to(xet.hub_cache), text
    if strace is not None:
        calls = trace.read_text()
        assert {int(port) for port in re.findall(r"connect\(.*htons\((\d+)\)", calls)} == ours
        for path in re.findall(r'mkdir(?:at)?\((?:AT_FDCWD, )?"([^"]+)"', calls):
            assert Path(path).is_relative_to(xet.folder), path
    assert not (xet.folder / "anywhere").exists()
    assert xet.hub.count("stranger") == 0
    assert not xet.hub.leaks()
    assert all(request.method == "GET" and not request.body for request in xet.hub.requests())
    assert {"Bearer hf_good"} == {request.headers.get("authorization") for request in xet.hub.requests("hub")}


def test_a_mirror_without_a_route_to_xet_serves(mirror: Case) -> None:
    mirror.hub.fault("add", times=None, headers={"X-Xet-Hash": "b" * 64, "X-Xet-Refresh-Route": "/api/none"})
    assert mirror.source().read_file("tokenizer.json") == b'{"model": {}}'


class TestToken:
    """Where a token comes from is read, and nobody is asked for another."""

    def test_is_exchanged_for_none(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", case.hub.endpoint)
        monkeypatch.setenv("HF_OIDC_RESOURCE", "acme/tiny")
        monkeypatch.setenv("HF_OIDC_ID_TOKEN", "an.id.token")
        source = case.source()
        assert source.read_file("config.json") == CONFIG
        assert [note for note in source.notes if "HF_OIDC_RESOURCE" in note]
        assert {request.method for request in case.hub.requests()} == {"GET"}

    def test_is_not_renewed(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", case.hub.endpoint)
        stored = case.folder / "stored"
        monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(stored))
        stored.write_text("[x]\nhf_token = hf_good\nrefresh_token = hf_refresh\nexpires_at = 1\n")
        (case.folder / "token").write_text("hf_good\n")
        assert case.source().read_file("config.json") == CONFIG
        assert {request.method for request in case.hub.requests()} == {"GET"}
        assert {request.headers.get("authorization") for request in case.hub.requests("hub")} == {"Bearer hf_good"}

    @pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
    def test_is_found_where_huggingface_hub_finds_it(
        self, case: Case, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for has_variable in (True, False):
            (case.folder / "token").write_text(" hf_file \n")
            monkeypatch.setenv(name, " hf_named\n" if has_variable else " ")
            assert case.source()._credentials.token() == huggingface_hub.get_token()


# --- One cache, shared with others --------------------------------------------------------------------------------

FILES = {"config.json": CONFIG, "sub/folder/tokenizer.json": b'{"model": {}}', "empty.txt": b""}


@pytest.fixture(params=[False, True], ids=["hub", "mirror"])
def both(request: pytest.FixtureRequest, hub_home: Path, shard_data: bytes) -> Iterator[Case]:
    """A model on a hub, and on a mirror that does not redirect."""
    with HubStub(direct=request.param) as hub:
        yield Case(hub, hub_home, shard_data)


def test_huggingface_hub_reads_what_was_written_here(both: Case) -> None:
    commit = both.hub.add("acme/small", FILES, large=("sub/folder/tokenizer.json",))
    source = both.source("acme/small")
    for name, content in FILES.items():
        assert source.read_file(name) == content
        for revision in (None, "main", commit):
            found = huggingface_hub.try_to_load_from_cache(
                "acme/small", name, cache_dir=both.hub_cache, revision=revision
            )
            assert found == str(source.path(name))
            again = huggingface_hub.hf_hub_download(
                "acme/small", name, cache_dir=both.hub_cache, revision=revision, local_files_only=True
            )
            assert Path(again).read_bytes() == content
    both.hub.reset()
    for name in FILES:
        huggingface_hub.hf_hub_download("acme/small", name, cache_dir=both.hub_cache, endpoint=both.hub.endpoint)
    assert both.hub.sent() == 0, "the judge takes our blobs for its own"
    known = huggingface_hub.scan_cache_dir(both.hub_cache)
    assert not known.warnings
    (found_revision,) = next(iter(known.repos)).revisions
    assert (found_revision.commit_hash, set(found_revision.refs)) == (commit, {"main"})
    (blob,) = (file.blob_path for file in found_revision.files if file.file_name == "config.json")
    assert blob.name == both.hub.repos["acme/small"].commits[commit]["config.json"].etag
    assert not [path for path in both.hub_cache.rglob("*") if path.name.endswith(".incomplete")]


def test_what_huggingface_hub_has_written_is_read_and_not_fetched(both: Case) -> None:
    commit = both.hub.add("acme/small", FILES)
    for name in FILES:
        huggingface_hub.hf_hub_download("acme/small", name, cache_dir=both.hub_cache, endpoint=both.hub.endpoint)
    offline = both.source("acme/small", offline=True)
    assert {name: offline.read_file(name) for name in FILES} == FILES
    for revision in (None, commit):
        both.hub.reset()
        blobs = {path: path.stat().st_mtime_ns for path in (both.hub_cache / "models--acme--small/blobs").iterdir()}
        source = both.source("acme/small", revision=revision)
        assert {name: source.read_file(name) for name in FILES} == FILES
        assert source.path("config.json") == Path(
            huggingface_hub.hf_hub_download(
                "acme/small", "config.json", cache_dir=both.hub_cache, local_files_only=True
            )
        )
        assert blobs == {path: path.stat().st_mtime_ns for path in blobs}
    again = both.source("acme/small", revision=commit)
    both.hub.reset()
    assert {name: again.read_file(name) for name in FILES} == FILES
    assert both.hub.count() == 0, "it is known by now that the hub has these"


def test_an_absence_that_huggingface_hub_was_told_of_holds_offline(case: Case) -> None:
    with pytest.raises(huggingface_hub.errors.EntryNotFoundError):
        huggingface_hub.hf_hub_download(MODEL, "vocab.json", cache_dir=case.hub_cache, endpoint=case.hub.endpoint)
    with pytest.raises(FileNotInModel):
        case.source(revision=case.commit, offline=True).read_file("vocab.json")


def test_a_branch_that_moved_is_told_to_others(case: Case) -> None:
    for content in (CONFIG, b"{}"):
        case.hub.add(MODEL, case.files(**{"config.json": content}))
        assert case.source().read_file("config.json") == content
        found = huggingface_hub.hf_hub_download(MODEL, "config.json", cache_dir=case.hub_cache, local_files_only=True)
        assert Path(found).read_bytes() == content


def test_without_links_a_snapshot_holds_copies(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    path = case.source().path("config.json")
    assert not path.is_symlink()
    case.hub.reset()
    assert case.source(revision=case.commit).path("config.json") == path
    path.write_bytes(EVIL)
    assert case.source(revision=case.commit).read_file("config.json") == CONFIG
    assert case.hub.count() == 0, "the blob still had it"


@pytest.mark.parametrize("name", ["snapshots", "blobs"])
def test_what_cannot_be_kept_is_this_machines_failure(case: Case, name: str) -> None:
    folder = case.hub_cache / "models--acme--tiny"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(b"")
    with pytest.raises(LocalFailure, match=r"cannot keep config\.json of acme/tiny") as caught:
        case.source().read_file("config.json")
    assert "HF_HUB_CACHE" in str(caught.value.hint)


# --- Each endpoint for itself -------------------------------------------------------------------------------------


@pytest.fixture
def liar(hub_home: Path, shard_data: bytes) -> Iterator[Case]:
    """A mirror that has another config.json and tokenizer.json at the true commit."""
    with HubStub(direct=True) as hub:
        yield Case(hub, hub_home, shard_data)


def lie(case: Case, liar: Case, **changes: bytes) -> None:
    liar.hub.repos[MODEL].refs.clear()
    false = liar.hub.add(MODEL, liar.files(**{"config.json": EVIL, "tokenizer.json": b'{"model": 7 }', **changes}))
    commits = liar.hub.repos[MODEL].commits
    commits[case.commit] = commits.pop(false)
    liar.hub.repos[MODEL].refs["main"] = case.commit


@pytest.mark.few(3)
@pytest.mark.parametrize("etag", [None, '"zz"', '"v1-2"', ""])
@pytest.mark.parametrize("is_pinned", [False, True], ids=["branch", "commit"])
def test_what_a_mirror_said_is_not_the_hubs_word(case: Case, liar: Case, etag: str | None, *, is_pinned: bool) -> None:
    lie(case, liar)
    if etag is not None:
        for asked in (case, liar):
            asked.hub.fault("add", times=None, headers={"ETag": etag})
    revision = case.commit if is_pinned else None
    truth, false = {"config.json": CONFIG, "tokenizer.json": b'{"model": {}}'}, {"config.json": EVIL}
    for _ in range(2):
        for name, content in truth.items():
            false[name] = liar.source(revision=revision).read_file(name)
            assert false[name] != content
            source = case.source(revision=revision)
            assert source.read_file(name) == content
            assert source.path(name).read_bytes() == content
    with HubStub() as other:
        other.add(MODEL, case.files())
        third = case.source(revision=revision, endpoint=other.endpoint)
        assert {name: third.read_file(name) for name in truth} == truth
    for asked, told in ((case, truth), (liar, false)):
        asked.hub.reset()
        offline = asked.source(revision=revision, offline=True)
        assert {name: offline.read_file(name) for name in told} == told, "each is remembered for itself"
        again = asked.source(revision=case.commit)
        assert {name: again.read_file(name) for name in told} == told
        assert asked.hub.count() == 0


def test_what_only_a_mirror_said_is_not_shown_when_the_hub_is_out_of_reach(case: Case, liar: Case) -> None:
    lie(case, liar)
    assert liar.source().read_file("config.json") == EVIL
    for revision in (None, case.commit):
        with pytest.raises(Unreachable, match="offline, and not in the cache"):
            case.source(revision=revision, offline=True).read_file("config.json")
    case.hub.fault("status", times=None, code=503)
    with pytest.raises(Unreachable):
        case.source(revision=case.commit).read_file("config.json")


def test_what_a_mirror_said_is_not_there_may_be_at_the_hub(case: Case, liar: Case) -> None:
    lie(case, liar)
    del liar.hub.repos[MODEL].commits[case.commit]["tokenizer.json"]
    source = liar.source()
    assert not source.has("tokenizer.json")
    source.files()
    for offline in (False, True):
        assert case.source(revision=case.commit, offline=offline).read_file("tokenizer.json") == b'{"model": {}}'
        assert not liar.source(revision=case.commit, offline=offline).has("tokenizer.json")


def test_what_others_see_is_the_hubs_where_it_was_asked(
    case: Case, liar: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub replaces what a mirror has put into the shared cache; a mirror replaces nothing that is sound."""

    def seen() -> bytes:
        found = huggingface_hub.try_to_load_from_cache(
            MODEL, "config.json", cache_dir=case.hub_cache, revision=case.commit
        )
        return Path(str(found)).read_bytes()

    lie(case, liar)
    monkeypatch.setattr(Endpoint, "is_default", property(lambda self: self.url == case.hub.endpoint))
    assert liar.source().read_file("config.json") == EVIL
    assert case.source().read_file("config.json") == CONFIG
    assert seen() == CONFIG
    shutil.rmtree(case.cache)
    assert liar.source().read_file("config.json") == EVIL
    assert seen() == CONFIG


@pytest.mark.few(1)
@pytest.mark.parametrize("revision", ["main", "a commit"])
@pytest.mark.slow
def test_tokens_are_the_hubs_own(case: Case, liar: Case, revision: str) -> None:
    """A whole tokenizer, by way of the index that is derived from it."""
    true = tokenizer_json()
    false = tokenizer_json()
    vocabulary = false["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    texts = [json.dumps(text).encode() for text in (true, false)]
    case.commit = case.hub.add(MODEL, {"config.json": CONFIG, "tokenizer.json": texts[0]})
    lie(case, liar, **{"tokenizer.json": texts[1]})

    def ids(hub: Case, model: str) -> Any:
        environment = {
            **os.environ,
            "HF_ENDPOINT": hub.hub.endpoint,
            "HF_HUB_CACHE": str(hub.hub_cache),
            "EMBTOOL_CACHE": str(hub.cache),
            "HF_HUB_OFFLINE": "0",
        }
        command = [sys.executable, "-m", "embtool", "tokens", "a", "-m", model, "-f", "tsv"]
        ended = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    model = MODEL if revision == "main" else f"{MODEL}@{case.commit}"
    assert str(vocabulary["a"]).encode() in ids(liar, model).split()
    assert str(true["model"]["vocab"]["a"]).encode() in ids(case, model).split()


def test_a_shard_of_another_content_than_the_hub_said_is_not_read(case: Case) -> None:
    huggingface_hub.hf_hub_download(MODEL, SHARD, endpoint=case.hub.endpoint, cache_dir=case.hub_cache)
    other = case.data[:-1] + b"!"
    case.hub.repos[MODEL].commits[case.commit] = {}
    moved = case.hub.add(MODEL, case.files(**{SHARD: other}))
    commits = case.hub.repos[MODEL].commits
    commits[case.commit] = commits.pop(moved)
    case.hub.repos[MODEL].refs["main"] = case.commit
    source = case.source()
    source._remote(SHARD).resolve()
    source._learn(SHARD)
    assert source.read(SHARD, len(other) - 1, len(other)) == b"!"


# --- Rot ----------------------------------------------------------------------------------------------------------


def rot(data: bytes) -> Iterator[bytes]:
    """Flip single bits, spread over the file; cut, empty, lengthen, overwrite."""
    for at in range(0, len(data), len(data) // 5 + 1):
        yield data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    yield from (data[:-1], data[: len(data) // 2], b"", bytes(len(data)), data + b"\n", b"\xff\xfe", b"9" * 5000)


def look(source: HubSource, case: Case) -> None:
    assert source.read_file("config.json") == CONFIG
    assert source.head(SHARD, case.start) == case.data[: case.start]
    assert source.size(SHARD) == len(case.data)
    assert not source.has("vocab.json")
    assert source.commit == case.commit


def look_online(case: Case) -> None:
    for revision in (case.commit, None):
        source = case.source(revision=revision)
        look(source, case)
        assert source.files() == ("config.json", SHARD, "tokenizer.json")


def kept(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file() and path.suffix != ".TAG")


@pytest.mark.few(1)
@pytest.mark.parametrize("part", range(4))
@pytest.mark.slow
def test_whatever_rots_is_fetched_anew_or_offline_one_clear_error(case: Case, part: int) -> None:
    assert not case.source().has("vocab.json")
    look_online(case)
    paths = kept(case.cache, case.hub_cache)
    assert len(paths) >= 8
    for path in paths:
        for rotten in list(rot(path.read_bytes()))[part::4]:
            path.write_bytes(rotten)
            status = 0
            try:
                look(case.source(offline=True), case)
            except EmbtoolError as error:
                status = error.exit_status
            assert status in (0, 5, 6), path
            look_online(case)
            case.hub.reset()
            look(case.source(revision=case.commit), case)
            assert case.hub.count() == 0, f"{path} was healed"


@pytest.mark.few(1)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_in_its_place_is_replaced_or_named(case: Case, make: Callable[[Path], Any]) -> None:
    look_online(case)
    for path in kept(case.hub_cache):
        moved = path.with_name("moved")
        path.rename(moved)
        make(path)
        if path.is_dir() and path.parent.name != "refs":
            with pytest.raises(LocalFailure, match=r"cannot keep config\.json of acme/tiny") as caught:
                look_online(case)
            assert str(path) in caught.value.message
        else:
            look_online(case)
        if path.is_dir():
            path.rmdir()
        moved.replace(path)


def test_refs_that_are_no_text_are_written_anew(case: Case) -> None:
    case.source().read_file("config.json")
    ref = case.hub_cache / "models--acme--tiny" / "refs" / "main"
    for text in (b"\xff\xfe\x00", b"", b"x" * 10_000, b"../../etc"):
        ref.write_bytes(text)
        shutil.rmtree(case.cache)
        with pytest.raises(EmbtoolError) as caught:
            case.source(offline=True).read_file("config.json")
        assert caught.value.exit_status == 5
        assert case.source().read_file("config.json") == CONFIG
        assert ref.read_bytes() == case.commit.encode()
