"""The command line on models of a hub: what it prints, what it costs, and the exit status of everything that fails."""

import datetime as dt
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hub_fixtures import SHARD, wait_until
from hubstub import HubStub
from huggingface_hub import constants
from jsonschema import Draft202012Validator
from program import Answer, Program

from embtool.answers.schema import schema_of
from embtool.answers.text import size
from embtool.cli.schema import kinds_of

pty = pytest.importorskip("pty", reason="terminals and signals of POSIX")

MODEL = "acme/small"
WIDE = "acme/wide"
"""A table of 10 MB, so that its rows are not fetched along with the header."""
SHARDS = "model-00001-of-00002.safetensors"


@dataclass
class Desk:
    """A person's machine with a hub in reach."""

    hub: HubStub
    run: Program
    home: Path

    def environment(self, **changes: str) -> dict[str, str]:
        settings = {
            "EMBTOOL_CACHE": str(self.home / "embtool"),
            "HF_ENDPOINT": self.hub.endpoint,
            "HF_HUB_CACHE": str(self.home / "hub"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DOWNLOAD_TIMEOUT": "60",
            "HF_HUB_ETAG_TIMEOUT": "60",
            "EMBTOOL_RETRIES": "2",
        }
        return settings | changes

    def __call__(self, *arguments: str, stdin: bytes | None = None, **changes: str) -> Answer:
        return self.run(*arguments, stdin=stdin, env=self.environment(**changes))

    def outside(self, *arguments: str, **changes: str) -> Answer:
        return self.run.outside(*arguments, env=self.environment(**changes))


@pytest.fixture
def desk(
    tmp_path: Path, run: Program, models: Path, shard_data: bytes, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    with HubStub() as hub:
        for name in ("small", "tied", "gpt2"):
            folder = models / name
            files: dict[str, bytes | Path] = {path.name: path for path in folder.iterdir()}
            hub.add(f"acme/{name}", files)
        hub.add(WIDE, {"config.json": b'{"model_type": "llama"}', SHARD: shard_data})
        point(monkeypatch, hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 60)
        monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 60)
        sleep = time.sleep
        monkeypatch.setattr(time, "sleep", lambda seconds: sleep(min(seconds, 0.02)))
        yield Desk(hub, run, tmp_path)


def point(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Do in this process what HF_ENDPOINT does at its start."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def cost(answer: Answer) -> str:
    (line,) = [note for note in answer.of("note") if "request" in note]
    return line


class TestWhatIsPrinted:
    def test_info_is_what_it_is_for_a_folder_and_says_its_cost(self, desk: Desk) -> None:
        there = desk("info", MODEL, "--json").ok()
        here = desk("info", "small", "--json").ok()
        different = ("model", "revision", "commit", "cost")
        assert {key: value for key, value in there.document.items() if key not in different} == {
            key: value for key, value in here.document.items() if key not in different
        }
        assert there.document["commit"] == desk.hub.repos[MODEL].refs["main"]
        assert there.document["revision"] == "main"
        assert there.document["cost"]["requests"] == desk.hub.count()
        assert cost(there).startswith(f"{desk.hub.count()} requests, ")
        assert " of " in cost(there)
        tokenizer = len([request for request in desk.hub.requests() if "tokenizer" in request.path])
        assert desk.hub.count() - tokenizer <= 9 + 2, "two tables in two shards are two headers"
        assert not here.of("note")

    def test_rows_and_neighbors_are_those_of_the_folder(self, desk: Desk) -> None:
        for command in (("row", "id:3"), ("row", "id:0..4"), ("neighbors", "id:3"), ("similarity", "id:3", "id:4")):
            there = desk(*command, "-m", MODEL).ok()
            here = desk(*command, "-m", "small/").ok()
            assert there.out == here.out
        desk.hub.reset()
        for command in (("row", "id:3"), ("neighbors", "id:3")):
            assert not desk(*command, "-m", MODEL, "--offline").ok().of("note")
        assert desk.hub.count() == 0

    def test_a_file_of_a_repository(self, desk: Desk) -> None:
        answer = desk("row", "id:3", "-m", f"hf://{MODEL}/{SHARDS}").ok()
        assert answer.out == desk("row", "id:3", "-m", f"small/{SHARDS}").ok().out
        desk("info", f"hf://{MODEL}/pytorch_model.bin").refused(6, "pickle")

    def test_a_folder_of_a_repository(self, desk: Desk, models: Path) -> None:
        folder = models / "small"
        desk.hub.add("acme/pipeline", {f"text_encoder/{path.name}": path for path in folder.iterdir()})
        local = desk("row", "-m", str(folder), "id:3", "--json").ok().document["rows"]
        for name in (
            "acme/pipeline#text_encoder",
            "hf://acme/pipeline#text_encoder",
            "acme/pipeline@main#text_encoder",
        ):
            answer = desk("row", "-m", name, "id:3", "--json").ok()
            assert answer.document["rows"] == local
        assert answer.of("note")
        desk("row", "-m", "acme/pipeline", "id:3").refused(3, "acme/pipeline#text_encoder")
        desk("row", "-m", "acme/pipeline#nothing", "id:3").refused(3)
        plan = desk("neighbors", "-m", "acme/pipeline#text_encoder", "id:3", "--dry-run", "--json").ok().document
        assert {entry["file"] for entry in plan["ranges"]} <= {f"text_encoder/{path.name}" for path in folder.iterdir()}

    def test_a_revision(self, desk: Desk) -> None:
        desk.hub.add(MODEL, {"config.json": b"{}"}, "empty")
        commit = desk.hub.repos[MODEL].refs["main"]
        assert desk("info", MODEL, "--revision", commit, "--json").ok().document["commit"] == commit
        assert desk("info", f"{MODEL}@main", "--json").ok().document["commit"] == commit
        desk("row", "id:3", "-m", f"{MODEL}@empty").refused(3, "no *.safetensors")

    def test_several_models_side_by_side(self, desk: Desk) -> None:
        names = ["acme/gpt2", "acme/nothing", MODEL, "acme/tied"]
        answer = desk("info", *names, "--jsonl")
        assert answer.status == 3
        assert [record["model"] for record in answer.records] == names
        assert (answer.records[1]["model"], answer.records[1]["status"]) == ("acme/nothing", 4)
        assert any("acme/nothing" in line for line in answer.of("error"))
        piped = desk("info", "-", "--jsonl", stdin="\n".join(names).encode())
        assert [record["model"] for record in piped.records] == names
        assert desk("info", "-", "--tsv", stdin=b"acme/gpt2\nacme/tied\n").ok().text.count("\n") == 3

    def test_in_a_process_of_its_own(self, desk: Desk) -> None:
        answer = desk.outside("row", "id:3", "-m", MODEL, "--json").ok()
        assert answer.document["rows"][0]["id"] == 3
        assert cost(answer)

    def test_a_local_model_does_not_load_the_network_stack(self, desk: Desk) -> None:
        program = (
            "import sys; from embtool.cli import run; assert run(['info', 'mini', '--json']) == 0; "
            "assert not {'huggingface_hub', 'httpx2'} & sys.modules.keys()"
        )
        command = [sys.executable, "-c", program]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=desk.run.environment())


class TestPlan:
    def test_of_a_row(self, desk: Desk) -> None:
        answer = desk("row", "id:1000", "id:2400", "-m", WIDE, "--dry-run", "--json").ok()
        ranges = answer.document["ranges"]
        assert [(entry["file"], entry["missing"], entry["stop"] - entry["start"]) for entry in ranges] == [
            (SHARD, 4096, 4096),
            (SHARD, 4096, 4096),
        ]
        assert not any(entry["cached"] for entry in ranges)
        assert "would fetch 8.19 kB in 2 ranges of 1 file" in answer.of("note")
        desk("row", "id:1000", "-m", WIDE).ok()
        again = desk("row", "id:1000", "-m", WIDE, "--dry-run", "--json").ok()
        assert [entry["cached"] for entry in again.document["ranges"]] == [True]
        assert "would fetch nothing" in again.of("note")

    def test_of_a_table(self, desk: Desk) -> None:
        answer = desk("neighbors", "id:3", "-m", WIDE, "--dry-run").ok()
        head, line = answer.cells
        entry = dict(zip(head, line, strict=True))
        assert (entry["file"], entry["cached"], entry["missing"]) == (SHARD, "false", str(2501 * 4096))
        assert "would fetch 10.2 MB in 1 range of 1 file" in answer.of("note")
        assert desk.hub.sent("storage") <= 100_000, "the header, and nothing of the table"
        assert not list(desk.home.rglob("*.part"))
        desk("neighbors", "id:3", "-m", WIDE).ok()
        again = desk("neighbors", "id:3", "-m", WIDE, "--dry-run", "--json").ok()
        assert all(entry["cached"] for entry in again.document["ranges"])
        assert again.document["ranges"][0]["path"].endswith(".safetensors")

    def test_binary_output_is_not_written(self, desk: Desk) -> None:
        answer = desk("row", "id:1000", "-m", WIDE, "--raw", "--dry-run").ok()
        assert answer.cells[0][0] == "file"

    def test_of_a_local_model(self, desk: Desk) -> None:
        answer = desk("neighbors", "id:3", "-m", "small/", "--dry-run", "--json").ok()
        assert answer.document["ranges"] == []
        assert "would fetch nothing" in answer.of("note")


class TestLimit:
    @pytest.mark.few(1)
    @pytest.mark.parametrize("text", ["100", "0.1kB", "0"])
    def test_a_script_gets_status_7_with_the_size(self, desk: Desk, text: str) -> None:
        desk("neighbors", "id:3", "-m", WIDE, "--max-bytes", text).refused(7, "bytes would be fetched", "--max-bytes")
        desk("neighbors", "id:3", "-m", WIDE, EMBTOOL_MAX_BYTES=text).refused(7, "EMBTOOL_MAX_BYTES")
        desk("neighbors", "id:3", "-m", WIDE, "--max-bytes", "1GB", EMBTOOL_MAX_BYTES=text).ok()
        desk("neighbors", "id:3", "-m", WIDE, "--max-bytes", text).ok()

    @pytest.mark.parametrize("text", ["much", "-1", "4 XB", "1e9", "9" * 30])
    def test_what_is_no_number_of_bytes_is_wrong_usage(self, desk: Desk, text: str) -> None:
        assert desk("info", MODEL, "--max-bytes", text).status == 2
        assert desk("info", MODEL, EMBTOOL_MAX_BYTES=text).status == 2
        assert desk.hub.count() == 0

    @pytest.mark.few(1)
    @pytest.mark.parametrize(("said", "status"), [("y\n", 0), ("n\n", 7), ("\n", 7)])
    def test_a_person_is_asked(self, desk: Desk, said: str, status: int) -> None:
        ended, text = on_terminal(desk, said, "neighbors", "id:3", "-m", MODEL, "--max-bytes", "100")
        assert "Fetch it? [y/N]" in text
        assert ended == status

    @pytest.mark.slow
    def test_a_bar_is_shown_on_a_terminal_only(self, desk: Desk) -> None:
        desk.hub.fault("slow", where="storage", skip=1, times=None, bytes_per_second=200_000)
        ended, text = on_terminal(desk, "", "neighbors", "id:3", "-m", MODEL)
        assert ended == 0
        assert "━" in text
        desk.hub.fault("slow", where="storage", times=None, bytes_per_second=200_000)
        assert "\x1b" not in desk.outside("neighbors", "id:3", "-m", "acme/tied").ok().errors


def on_terminal(desk: Desk, said: str, *arguments: str) -> tuple[int, str]:
    """Run the program on a terminal, type something, and give its status and what the terminal showed."""
    ours, theirs = pty.openpty()
    variables = desk.environment(TERM="xterm-256color", COLUMNS="200")
    process = desk.run.start(*arguments, env=variables, stdin=theirs, stderr=theirs, stdout=subprocess.DEVNULL)
    os.close(theirs)
    os.write(ours, said.encode())
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return process.wait(30), shown.decode()


def closed() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{server.getsockname()[1]}"


FAULTS: list[tuple[str, dict[str, Any], int]] = [
    ("02 silent hub", {"kind": "silence", "where": "hub"}, 5),
    ("06 storage cut at once", {"kind": "drop", "where": "storage", "after": 0}, 5),
    ("09 hub 503", {"kind": "status", "where": "hub", "code": 503}, 5),
    ("09 storage 503", {"kind": "status", "where": "storage", "code": 503}, 5),
    ("11 a day", {"kind": "status", "where": "storage", "code": 429, "headers": {"Retry-After": 86400}}, 5),
    ("11 a day, hub", {"kind": "status", "where": "hub", "code": 429, "headers": {"Retry-After": 86400}}, 5),
    ("13 range ignored", {"kind": "ignore_range", "where": "storage"}, 6),
    ("14 other range", {"kind": "wrong_range", "where": "storage"}, 6),
    ("15 no range", {"kind": "no_content_range", "where": "storage"}, 6),
    ("15 unknown total", {"kind": "star_total", "where": "storage"}, 0),
    ("16 other total", {"kind": "wrong_total", "where": "storage"}, 6),
    ("18 multipart", {"kind": "multipart", "where": "storage"}, 6),
    ("19 packed", {"kind": "gzip", "where": "storage"}, 6),
    ("20 chunked", {"kind": "chunked", "where": "storage"}, 0),
    ("20 no length", {"kind": "no_length", "where": "storage"}, 0),
    ("21 shorter", {"kind": "truncate", "where": "storage"}, 6),
    ("22 expired once", {"kind": "expired", "where": "storage", "times": 1}, 0),
    ("23 storage refuses", {"kind": "expired", "where": "storage"}, 4),
    ("26 web page", {"kind": "html"}, 6),
    ("27 loop", {"kind": "loop", "where": "hub"}, 6),
    ("27 nowhere", {"kind": "no_location", "where": "storage"}, 6),
    ("27 file:", {"kind": "redirect", "where": "storage", "location": "file:///etc/passwd"}, 6),
    ("35 commit", {"kind": "add", "where": "hub", "headers": {"X-Repo-Commit": "../../x"}}, 6),
    ("35 hash", {"kind": "add", "where": "hub", "headers": {"X-Linked-ETag": "a" * 10_000}}, 6),
    ("36 message", {"kind": "status", "where": "hub", "code": 418, "headers": {"X-Error-Message": "\x1b]0;x\x07"}}, 6),
]


class TestEveryFailure:
    @pytest.mark.few(2)
    @pytest.mark.parametrize(("name", "fault", "status"), FAULTS, ids=[name for name, _, _ in FAULTS])
    def test_has_its_status_and_one_line(
        self, desk: Desk, name: str, fault: dict[str, Any], status: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if fault["kind"] == "silence":
            monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
        settings = {"times": None, **fault}
        desk.hub.fault(settings.pop("kind"), **settings)
        answer = desk("neighbors", "id:3", "-m", MODEL)
        if status:
            answer.refused(status)
        else:
            assert answer.ok().out == desk("neighbors", "id:3", "-m", "small/").ok().out
        assert "\x1b" not in answer.errors
        assert "Signature" not in answer.errors
        assert all(len(line) < 1000 for line in answer.errors.splitlines())
        assert not desk.hub.leaks()
        assert desk.hub.count() < 120, name

    @pytest.mark.slow
    def test_no_server(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        address = closed()
        point(monkeypatch, address)
        desk("info", MODEL).refused(5, address)

    @pytest.mark.few(1)
    @pytest.mark.parametrize("command", [("info",), ("row", "id:3", "-m"), ("neighbors", "id:3", "-m")])
    def test_access(self, desk: Desk, command: tuple[str, ...]) -> None:
        files = desk.hub.repos[MODEL].commits[desk.hub.repos[MODEL].refs["main"]]
        contents = {name: file.content for name, file in files.items()}
        desk.hub.add("acme/private", contents, private=True)
        desk.hub.add("acme/gated", contents, gated=True)
        desk.hub.add("acme/disabled", contents, disabled=True)
        desk(*command, "acme/private").refused(4, "log in")
        desk(*command, "acme/private", HF_TOKEN="hf_bad").refused(4, "hf auth login")  # noqa: S106 - the test hub's
        desk(*command, "acme/private", "--hub-token", "hf bad").refused(4, "token")
        desk(*command, "acme/private", "--hub-token", "hf_good").ok()
        desk(*command, "acme/gated").refused(4, f"{desk.hub.endpoint}/acme/gated")
        desk(*command, "acme/disabled").refused(4, "disabled")
        desk(*command, "acme/nothing").refused(4, "no such repository, or private")
        desk(*command, "acme/nothing", "--hub-token", "hf_good").refused(3, "no such repository")
        desk(*command, MODEL, "--revision", "nowhere").refused(3, "no revision nowhere")
        desk(*command, MODEL, "--offline").refused(5, "offline, and not in the cache")
        assert not desk.hub.leaks()

    @pytest.mark.parametrize("name", ["a/b@", "a/b@a b", "a/b@..", "--", "hf://datasets/a/b", "a--b/c"])
    def test_a_name_that_cannot_be_one(self, desk: Desk, name: str) -> None:
        assert desk("info", "--", name).status in (2, 3)
        assert desk("row", "id:1", "-m", name).status in (2, 3)
        assert desk.hub.count() == 0

    def test_a_disk_that_cannot_be_written(self, desk: Desk) -> None:
        (desk.home / "embtool").write_bytes(b"")
        desk("neighbors", "id:3", "-m", MODEL).refused(7, "EMBTOOL_CACHE")

    def test_retries_that_are_no_number(self, desk: Desk) -> None:
        assert desk("info", MODEL, EMBTOOL_RETRIES="many").status == 2


class TestSignals:
    @pytest.mark.few(1)
    @pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
    def test_end_the_program_and_the_next_run_goes_on(self, desk: Desk, how: signal.Signals, status: int) -> None:
        desk.hub.fault("stall", where="storage", times=None, after=1000)  # headers are shorter, the table is not
        process = desk.run.start("neighbors", "id:3", "-m", MODEL, env=desk.environment())
        wait_until(lambda: list(desk.home.rglob("*.journal")))
        process.send_signal(how)
        _out, err = process.communicate(timeout=100)
        assert process.returncode == status, err
        assert b"Traceback" not in err
        assert how is signal.SIGKILL or b"bytes are kept" in err
        desk.hub.faults.clear()
        assert desk("neighbors", "id:3", "-m", MODEL).ok().out == desk("neighbors", "id:3", "-m", "small/").ok().out


class TestCacheCommand:
    def test_lists_checks_and_removes(self, desk: Desk) -> None:
        assert desk("cache", "ls", "--json").ok().document["entries"] == []
        desk("neighbors", "id:3", "-m", MODEL).ok()
        desk("row", "id:3", "-m", "acme/tied").ok()
        listed = desk("cache", "ls", "--json").ok().document["entries"]
        assert all(dt.datetime.fromisoformat(entry["modified"]).tzinfo is not None for entry in listed)
        shown = desk("cache", "ls", "-f", "table").ok()
        assert " ago\n" in shown.text
        total = sum(entry["bytes"] for entry in listed)
        assert f"{len(listed)} entries, {size(total)}" in shown.text
        assert {entry["model"] for entry in listed} >= {MODEL, "acme/tied"}
        (table,) = [entry for entry in listed if entry["kind"] == "table"]
        assert table["about"].startswith("model.embed_tokens.weight BF16")
        assert {entry["model"] for entry in desk("cache", "ls", MODEL, "--json").ok().document["entries"]} == {MODEL}
        assert desk("cache", "verify").ok().text.count("sound") == len(listed)
        with Path(table["path"]).open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\xee")
        answer = desk("cache", "verify", "--json")
        assert answer.status == 6
        assert [entry["verdict"] == "sound" for entry in answer.document["entries"]].count(False) == 1
        desk("cache", "rm", "acme/nothing").refused(3, "nothing is kept")
        assert desk("cache", "rm").status == 2
        desk("cache", "rm", MODEL).ok()
        assert MODEL not in desk("cache", "ls").ok().text
        desk("cache", "rm", "--all").ok()
        assert desk("cache", "ls", "--json").ok().document["entries"] == []
        assert desk("cache", "path").ok().text.strip() == str(desk.home / "embtool")
        assert desk("neighbors", "id:3", "-m", MODEL).ok().out == desk("neighbors", "id:3", "-m", "small/").ok().out

    def test_does_not_load_the_network_stack(self, desk: Desk) -> None:
        program = (
            "import sys; from embtool.cli import run; assert run(['cache', 'ls', '--json']) == 0; "
            "assert not {'huggingface_hub', 'httpx2'} & sys.modules.keys()"
        )
        command = [sys.executable, "-c", program]
        out = subprocess.run(command, check=True, capture_output=True, env=desk.run.environment(desk.environment()))
        assert json.loads(out.stdout)["entries"] == []


def test_the_lesson_repeats_how_the_model_was_reached(desk: Desk) -> None:
    document = desk("learn", "1", "--revision", "main", "--json", "-m", MODEL).ok().document
    shown = [command for question in document["steps"][0]["questions"] for command in question["commands"]]
    assert len(shown) == 2
    for command in shown:
        assert command.endswith(f"-m {MODEL} --revision main")
        desk(*shlex.split(command)[1:], "--json").ok()


def test_a_plan_fits_its_schema(desk: Desk) -> None:
    plan = desk("neighbors", "id:3", "-m", WIDE, "--dry-run", "--json").ok().document
    assert plan["ranges"]
    Draft202012Validator(schema_of(kinds_of("plan"), "plan")).validate(plan)
