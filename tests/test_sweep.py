"""Many models: each is answered or has its error, whatever runs it, and what is done is not done again."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx2
import numpy as np
import pytest
from hub_fixtures import wait_until
from hubstub import HubStub
from jsonschema import Draft202012Validator
from many_models import KINDS, populate
from program import Program

import embtool
from embtool.answers.schema import schema_of
from embtool.cli.schema import kinds_of
from embtool.errors import EmbtoolError, FormatError, InvalidArgument, LocalFailure
from embtool.hub.line import trusted
from embtool.sweep import QUESTIONS, Sweep

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "many_models"
COUNT = int(os.environ.get("EMBTOOL_TEST_MODELS", "500"))
FAILING = {"nothing", "pickle", "failing", "gated", "private", "disabled", "missing"}
"""Kinds of which nothing can be told."""


def rows(sweep: Sweep) -> list[dict[str, Any]]:
    """What a sweep has written, in the order of models."""
    table = pq.read_table(sweep.parts, partitioning=None)
    return sorted(table.to_pylist(), key=lambda row: (row["model"], row.get("rank") or 0, json.dumps(row)))


@pytest.fixture
def among(models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(models)
    return models


NAMES = ["small", "tied", "", "  ", "small", " tied ", "empty", "only-config", "./nothing", "a b", "gpt2/", "x" * 300]


@pytest.mark.usefixtures("among")
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_is_asked_of_every_model(tmp_path: Path, question: str) -> None:
    sweep = Sweep(question, tmp_path / "out")
    batches = sweep.batches(NAMES, 3)
    assert [name for batch in batches for name in batch] == [
        *("small", "tied", "empty", "only-config", "./nothing", "a b", "gpt2/", "x" * 300)
    ]
    parts = [sweep.write(batch) for batch in batches]
    assert [part.models for part in parts] == [3, 3, 2]
    found = rows(sweep)
    by_model = {row["model"]: row for row in found}
    assert by_model["empty"]["status"] == 3
    assert by_model["./nothing"]["error"] == "no such file or folder: ./nothing"
    assert by_model["a b"]["status"] == 2
    assert {row["model"] for row in found if not row["status"]} >= {"small"}
    assert sum(part.failed for part in parts) == len({row["model"] for row in found if row["status"]})
    model = embtool.open_model("small")
    answer = getattr(model, QUESTIONS[question].method)()
    own = [answer.to_record()] if QUESTIONS[question].is_one else answer.to_records()
    wanted = [{**record, "error": None, "hint": None, "status": 0} for record in own]
    got = [row for row in found if row["model"] == "small"]
    assert sorted(got, key=repr) == sorted(({**dict.fromkeys(got[0]), **record} for record in wanted), key=repr)
    assert sweep.batches(NAMES) == []
    assert Sweep(question, tmp_path / "out").done() == {name for batch in batches for name in batch}


@pytest.mark.usefixtures("among")
def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweep("info", tmp_path)
    sweep.write(("small", "tied"))
    (sweep.parts / ".part-0000.parquet.0123456789abcdef").write_bytes(b"what a killed worker left")
    assert sweep.batches(["small", "gpt2", "tied"]) == [("gpt2",)]
    asked: list[str] = []

    def answer(_: Sweep, name: str, __: object) -> list[dict[str, Any]]:
        asked.append(name)
        return [{"model": name, "status": 0}]

    monkeypatch.setattr(Sweep, "answer", answer)
    for batch in sweep.batches(["small", "gpt2", "tied"]):
        sweep.write(batch)
    assert asked == ["gpt2"]


@pytest.mark.usefixtures("among")
def test_errors_that_pass_are_forgotten_on_request(tmp_path: Path) -> None:
    sweep = Sweep("undertrained", tmp_path)
    sweep.write(("small", "./nothing"))
    sweep.give_up(("bad/one",), "every worker died")
    sweep.give_up(("bad/two", "tied\udcff"), "every worker died")
    before = [row for row in rows(sweep) if row["model"] == "small"]
    assert {row["model"]: row["status"] for row in rows(sweep)} == {
        "small": 0,
        "./nothing": 3,
        "bad/one": 7,
        "bad/two": 7,
        "tied\\udcff": 7,
    }
    assert sweep.done() == {"small", "./nothing", "bad/one", "bad/two", "tied\udcff"}
    assert sweep.forget((5,)) == 0
    assert sweep.forget() == 3
    assert sweep.done() == {"small", "./nothing"}
    assert [row for row in rows(sweep) if row["model"] == "small"] == before
    assert sweep.forget((3,)) == 1
    assert sweep.batches(["small", "bad/one", "./nothing"]) == [("bad/one", "./nothing")]


@pytest.mark.usefixtures("among")
def test_answers_to_other_questions_are_not_mixed(tmp_path: Path) -> None:
    Sweep("check", tmp_path).write(("small",))
    assert Sweep("findings", tmp_path).batches(["small"]) == [("small",)]
    with pytest.raises(InvalidArgument, match="name another folder"):
        Sweep("check", tmp_path, asking={"deep": True}).batches(["small"])
    Sweep("check", tmp_path / "deep", asking={"deep": True}).write(("small",))
    assert rows(Sweep("check", tmp_path / "deep", asking={"deep": True}))[0]["deep"]
    with pytest.raises(InvalidArgument, match="question is one of info, check"):
        Sweep("neighbors", tmp_path)
    strange = Sweep("check", tmp_path).parts / "part-x.parquet"
    for content in (b"", b"PAR1 and nothing", None):
        if content is None:
            pq.write_table(pa.table({"model": ["a"]}), strange)
        else:
            strange.write_bytes(content)
        with pytest.raises(FormatError, match="is no part of a sweep"):
            Sweep("check", tmp_path).done()


def test_a_list_is_read_as_editors_write_it(tmp_path: Path) -> None:
    sweep = Sweep("info", tmp_path)
    assert sweep.batches(["\ufeffmini", " \ufeff\t", "mini\r", Path("a b"), "a\u2028b", "a\x0bb"]) == [
        ("mini", "a b", "a\u2028b", "a\x0bb")
    ]
    for wrong, error in (("mini", InvalidArgument), ([None], TypeError)):
        with pytest.raises(error):
            sweep.batches(wrong)  # type: ignore[arg-type]


@pytest.mark.few(2)
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_model_that_is_closed_leaves_nothing(tmp_path: Path, question: str) -> None:
    """Of thousands each would hold its vocabulary's file until garbage is looked for."""
    gc.collect()
    gc.disable()
    try:
        for kind, write in KINDS.items():
            write(tmp_path / kind)
            held = [weakref.ref(each) for each in _parts_asked(tmp_path / kind, question)]
            assert not [each() for each in held if each() is not None], kind
    finally:
        gc.enable()


def _parts_asked(folder: Path, question: str) -> list[Any]:
    """What a model has read for a question, while it is open."""
    with embtool.open_model(folder) as model:
        with contextlib.suppress(EmbtoolError):
            getattr(model, QUESTIONS[question].method)()
        read = [each for name in ("vocabulary", "tables", "checkpoint", "config") if (each := vars(model).get(name))]
    assert not {"vocabulary", "tables", "checkpoint", "config"} & vars(model).keys()
    return read


def test_a_model_that_was_closed_answers_again(among: Path) -> None:
    del among
    for name in ("small", "gpt2"):
        with embtool.open_model(name) as model:
            before = model.info().to_dict()
        assert model.info().to_dict() == {**before, "cost": ANY}


def test_a_fault_of_embtools_own_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object) -> None:
        del self
        raise ZeroDivisionError("division by zero")

    def hungry(self: object) -> None:
        del self
        raise MemoryError

    sweep = Sweep("info", tmp_path)
    monkeypatch.setattr(embtool.Model, "info", broken)
    assert sweep.write(("mini",)).failed == 1
    (row,) = rows(sweep)
    assert (row["error"], row["status"]) == ("ZeroDivisionError: division by zero", 1)
    monkeypatch.setattr(embtool.Model, "info", hungry)
    assert sweep.answer("mini")[0]["status"] == 7


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalFailure, match="cannot write"):
        Sweep("info", tmp_path / "file" / "below").write(("mini",))


def test_a_part_that_cannot_be_read_shows_in_the_record(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    KINDS["broken-tokenizer"](folder)
    (record,) = Sweep("info", tmp_path).answer(str(folder))
    assert (record["rows"], record["status"]) == (326, 6)
    assert record["error"].startswith("tokenizer: ")
    (record,) = Sweep("info", tmp_path).answer(str(models / "small"))
    assert (record["error"], record["hint"], record["status"]) == (None, None, 0)


# --- the command line -------------------------------------------------------------------------------------------------


def test_info_writes_a_list_of_models_into_parquet(run: Program, tmp_path: Path) -> None:
    out = tmp_path / "models.parquet"
    stdin = (
        b"\xef\xbb\xbfsmall/\n\n  \nmissing/\nsmall/\n tied/ \r\nonly-config/\n\xff\xfe\n"
        + b"x" * 1_100_000
        + b"\nbare/\n"
    )
    answer = run("info", "-", "-f", "parquet", "-o", out, stdin=stdin)
    assert answer.status == 3
    assert answer.out == b""
    found = pq.read_table(out).to_pylist()
    assert [row["model"] for row in found] == [
        *("small/", "missing/", "small/", "tied/", "only-config/", "\\udcff\\udcfe", None, "bare/")
    ]
    assert [row["status"] for row in found] == [0, 3, 0, 0, 0, 2, 6, 0]
    assert "longer than 1,048,576 bytes" in found[6]["error"]
    assert found[0] == found[2]
    assert pq.read_schema(out).metadata[b"embtool:schema"] == b"embtool/info@1"
    run("info", "small/", "-o", out).refused(2, "--force replaces it")
    run("info", "small/", "-o", out, "--force").ok()
    assert pq.read_table(out).num_rows == 1
    run("info", "missing/", "-o", out, "--force").refused(3, "no such")
    assert pq.read_table(out).num_rows == 1, "what fails replaces nothing"
    piped = run("info", "small/", "tied/", "-f", "parquet").ok()
    assert pq.read_table(pa.BufferReader(piped.out)).num_rows == 2


def test_info_writes_any_format_into_a_file(run: Program, tmp_path: Path) -> None:
    for form in ("json", "jsonl", "csv", "tsv", "markdown", "table"):
        end = {"markdown": "md", "table": "txt"}.get(form, form)
        for arguments in (("-o", tmp_path / f"named.{end}"), ("-f", form, "-o", tmp_path / f"any.{form}.x")):
            run("info", "small/", "gpt2/", *arguments).ok()
            printed = run("info", "small/", "gpt2/", "-f", form).ok().out
            assert arguments[-1].read_bytes() == printed
    run("info", "small/", "-o", tmp_path / "x.yaml").refused(2, "says no format")
    run("info", "small/", "--json", "-f", "parquet").refused(2, "one output format at a time")
    run("info", "-", "--jsonl", stdin=b"\n \n").refused(2, "stdin names none")
    assert run("row", "id:3", "-m", "small/", "-f", "parquet").status == 2


@pytest.mark.slow
def test_a_list_of_which_some_fail(run: Program, tmp_path: Path) -> None:
    check_list(run, tmp_path, 300)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_models_of_which_one_in_a_hundred_fails(run: Program, tmp_path: Path) -> None:
    check_list(run, tmp_path, 10_000)


def check_list(run: Program, tmp_path: Path, count: int) -> None:
    names = ["missing/" if number % 100 == 7 else "only-config/" for number in range(count)]
    stdin = "\n\n".join(names).encode()
    answer = run("info", "-", "-o", tmp_path / "m.parquet", stdin=stdin)
    assert answer.status == 3
    table = pq.read_table(tmp_path / "m.parquet")
    assert table.column("model").to_pylist() == names
    assert [each for each in table.column("status").to_pylist() if each] == [3] * (count // 100)
    lines = run("info", "-", "--jsonl", stdin=stdin).records
    assert [record["model"] for record in lines] == names
    assert [("error" in record) for record in lines] == [name == "missing/" for name in names]


@pytest.mark.slow
def test_each_of_many_is_let_go(run: Program, hub_home: Path) -> None:
    """Of a long list no file is held once its model has answered, and the cost of all is told at the end."""
    del hub_home
    from embtool.cli.command_run import CommandRun  # noqa: PLC0415 - looked into

    most = []
    let_go = CommandRun.let_go

    def watched(self: CommandRun, source: Any) -> None:
        most.append(len(self.sources))
        let_go(self, source)

    with HubStub() as hub, pytest.MonkeyPatch.context() as patch:
        patch.setattr(CommandRun, "let_go", watched)
        names = [f"acme/m{number}" for number in range(40)]
        for name in names:
            hub.add(name, {"config.json": b'{"model_type": "llama", "hidden_size": 64, "vocab_size": 9}'})
        patch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        answer = run("info", "-", "--jsonl", stdin="\n".join(names).encode()).ok()
        assert len(answer.records) == 40
        assert len(most) == 40
        assert max(most) <= 6
        assert f"{hub.count():,} requests" in answer.of("note")[-1]


def test_certificates_are_read_once_for_many_models(
    hub_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del hub_home
    made: list[object] = []
    make = httpx2.create_ssl_context

    def counted() -> object:
        made.append(make())
        return made[-1]

    monkeypatch.setattr("httpx2.create_ssl_context", counted)
    trusted.cache_clear()
    with HubStub() as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        names = [f"acme/m{number}" for number in range(4)]
        for name in names:
            hub.add(name, {"config.json": b'{"model_type": "llama", "hidden_size": 64, "vocab_size": 9}'})
        assert Sweep("info", tmp_path).write(names).failed == 0
        assert len(made) == 1
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        Sweep("info", tmp_path).answer("acme/m0")
        Sweep("info", tmp_path).answer("acme/missing")
    assert len(made) == 2


# --- the examples, run by an engine of this process -------------------------------------------------------------------


class Here:
    """An engine that loses what it is told to lose."""

    def __init__(self, asking: Any, deadly: str) -> None:
        self.asking, self.deadly = asking, deadly

    def run(self, do: Any, items: Sequence[Any]) -> Iterator[Any]:
        for item in items:
            if self.deadly in item:
                yield self.asking.Outcome(item, lost="killed")
            else:
                yield self.asking.Outcome(item, do(item, embtool.RequestLimit(None)))


def holds_graph(path: Path, model: embtool.Model, k: int) -> None:
    """Hold that a file has the graph of a model's table, to the last tie."""
    written = pq.read_table(path)
    for name, column in embtool.nearest_graph(model.input_table, k).edges().items():
        np.testing.assert_array_equal(written.column(name).to_numpy(), column, name)


def imported(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_a_model_that_kills_its_worker_is_recorded_and_no_other(
    among: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del among
    asking = imported("asking")
    listed = tmp_path / "models.txt"
    listed.write_text("small\n\ntied\nsmall\ngpt2\nbert\n", "utf-8")
    out = tmp_path / "out"

    @contextlib.contextmanager
    def start(*_: float) -> Iterator[Here]:
        yield Here(asking, "tied")

    command = ["x", "sweep", "info", str(listed), str(out), "--batch", "2"]
    monkeypatch.setattr(sys, "argv", command)
    asking.main(start)
    wanted = {"small": 0, "tied": 7, "gpt2": 0, "bert": 0}
    assert {row["model"]: row["status"] for row in rows(Sweep("info", out))} == wanted
    assert "4 models to ask, 0 done before" in capsys.readouterr().err
    asking.main(start)
    assert "0 models to ask, 4 done before" in capsys.readouterr().err
    for wrong, status in (([*command[:3], "none.txt", str(out)], "No such file"), ([*command, "--batch", "0"], "2")):
        monkeypatch.setattr(sys, "argv", wrong)
        with pytest.raises(SystemExit, match=status):
            asking.main(start)
    monkeypatch.setattr(sys, "argv", [*command, "--retry"])
    asking.main(start)
    assert "1 models to ask, 3 done before" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["x", "graph", "small", str(tmp_path / "g.parquet"), "-k", "3", "--parts", "3"])
    asking.main(start)
    holds_graph(tmp_path / "g.parquet", embtool.open_model("small"), 3)


# --- engines ----------------------------------------------------------------------------------------------------------


class Hub:
    """A hub of many repositories, and what one process makes of them."""

    def __init__(self, stub: HubStub, folder: Path) -> None:
        self.stub, self.folder = stub, folder
        self.names = populate(stub, folder / "written", COUNT)
        self.listed = folder / "models.txt"
        self.listed.write_text("\n\n".join([*self.names, *self.names[:40]]) + "\n", "utf-8")

    def environment(self, name: str) -> dict[str, str]:
        """Nothing of this machine's: a home and caches of its own, and the hub."""
        home = self.folder / name
        home.mkdir(exist_ok=True)
        kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        return {
            **kept,
            "HOME": str(home),
            "HF_ENDPOINT": self.stub.endpoint,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_OFFLINE": "0",
            "EMBTOOL_CACHE": str(home / "embtool"),
            "EMBTOOL_RETRIES": "2",
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def program(self, *command: str | Path, name: str, path: Path = ROOT / "src") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            env={**self.environment(name), "PYTHONPATH": os.pathsep.join(map(str, (path, ROOT / "src")))},
            cwd=self.folder,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str | Path, name: str, path: Path = ROOT / "src") -> str:
        with ended(self.program(*command, name=name, path=path)) as process:
            _, said = process.communicate(timeout=500)
        assert process.returncode == 0, said
        return said


@contextlib.contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


ALONE = """
import sys
from pathlib import Path
from embtool import Sweep
question, names, folder = sys.argv[1:]
sweep = Sweep(question, Path(folder))
for batch in sweep.batches(Path(names).read_text("utf-8").split("\\n")):
    sweep.write(batch)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_that_is_killed_goes_on_with_another_list(tmp_path: Path) -> None:
    """Of 3,000 models one in a hundred fails; what was written before the end is left as it is."""
    for kind in ("bare", "cut-off"):
        KINDS[kind](tmp_path / kind)
    names = []
    for number in range(3_000):
        kind = "cut-off" if number % 100 == 50 else "bare"
        names.append(f"{tmp_path}/m \u2028{number}")
        Path(names[-1]).symlink_to(tmp_path / kind)
    listed, out = tmp_path / "models.txt", tmp_path / "out"
    listed.write_text("\ufeff" + "\r\n\n \n".join([*names, *names[:500]]), "utf-8", newline="")
    sweep = Sweep("info", out)
    program = [sys.executable, "-c", ALONE, "info", str(listed), str(out)]
    with ended(subprocess.Popen(program, text=True)) as process:
        wait_until(lambda: len(list(sweep.parts.glob("part-*"))) > 20 or process.poll() is not None, 300)
        process.kill()
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in sweep.parts.glob("part-*")}
    assert 20 < len(before) < 47
    listed.write_text("\n".join(["mini", *reversed(names), f"{tmp_path}/nothing"]), "utf-8")
    subprocess.run(program, check=True, timeout=300)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    found = rows(sweep)
    assert [row["model"] for row in found] == sorted([*names, "mini", f"{tmp_path}/nothing"])
    assert sum(row["status"] == 6 for row in found) == 30
    assert sum(row["status"] == 0 for row in found) == 2_971
    assert not sweep.batches(names)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with HubStub() as stub:
        yield Hub(stub, tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def alone(hub: Hub) -> list[dict[str, Any]]:
    """What one process says of every repository."""
    hub.run("-c", ALONE, "info", hub.listed, hub.folder / "alone", name="one")
    return rows(Sweep("info", hub.folder / "alone"))


def workers_of(engine: str, driver: int) -> list[int]:
    """The processes in which an engine runs tasks, of those that a program has started."""
    command = ["/bin/ps", "-e", "-ww", "-o", "pid=,ppid=,args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = [line.split(None, 2) for line in listed.splitlines()]
    own, seen = {driver}, 0
    while len(own) > seen:
        seen = len(own)
        own |= {int(pid) for pid, parent, *_ in lines if int(parent) in own}
    sign = {"ray": "ray::Map", "dask": "spawn_main"}[engine]
    return [int(pid) for pid, _, *rest in lines if int(pid) in own and sign in "".join(rest)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_process_answers_or_records_every_repository(hub: Hub, alone: list[dict[str, Any]]) -> None:
    assert [row["model"] for row in alone] == sorted(hub.names)
    for row in alone:
        kind = row["model"].removeprefix("acme/").rpartition("-")[0]
        assert (row["width"] is None) >= (kind in FAILING), row
        assert (row["status"] != 0) >= (kind in FAILING), row
        assert bool(row["error"]) == bool(row["status"])
        assert row["status"] in (0, 3, 4, 5, 6)
    assert {row["model"].rpartition("-")[0] for row in alone if row["status"] == 0 and row["rows"]} >= {
        f"acme/{kind}" for kind in ("sharded", "tied", "gpt2", "bert", "gguf", "slow", "busy", "huge-header", "bare")
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers are found by ps")
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_an_engine_answers_as_one_process_does(hub: Hub, alone: list[dict[str, Any]], engine: str) -> None:
    """Two workers, of which one is killed on the way."""
    pytest.importorskip("distributed" if engine == "dask" else "ray", reason=f"an example's own: pip install {engine}")
    duckdb = pytest.importorskip("duckdb")
    script, out = EXAMPLES / f"with_{engine}.py", hub.folder / engine
    command = (script, "sweep", "info", hub.listed, out, "--workers", "2", "--batch", "16")
    hub.stub.log.clear()
    with ended(hub.program(*command, name=f"{engine}-home")) as process:
        wait_until(lambda: hub.stub.count() > COUNT or process.poll() is not None, 300)
        found = workers_of(engine, process.pid) if process.poll() is None else []
        for worker in found[:1]:
            os.kill(worker, signal.SIGKILL)
        _, said = process.communicate(timeout=600)
    assert found, said
    assert process.returncode == 0, said
    assert f"{COUNT} of {COUNT} models" in said, said
    got = rows(Sweep("info", out))
    assert got == alone
    hub.stub.log.clear()
    again = hub.run(*command, name=f"{engine}-home")
    assert f"0 models to ask, {COUNT} done before" in again
    assert hub.stub.count() == 0
    read = f"read_parquet('{out}/*/*.parquet', hive_partitioning = true)"
    counted = duckdb.sql(
        f"select question, count(*), count(error), sum(bytes) from {read} group by question"  # noqa: S608 - its own
    ).fetchall()
    assert counted == [
        ("info", COUNT, sum(bool(row["error"]) for row in alone), sum(row["bytes"] or 0 for row in alone))
    ]


DEADLY = """
import os, signal
from embtool.sweep import Sweep
answer = Sweep.answer
def deadly(self, name, limit=None):
    if "deadly" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(self, name, limit)
Sweep.answer = deadly
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="a worker kills itself by a signal")
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_an_engine_records_only_the_model_that_kills_every_worker(hub: Hub, engine: str) -> None:
    pytest.importorskip("distributed" if engine == "dask" else "ray", reason=f"an example's own: pip install {engine}")
    names = [f"{hub.folder}/written/{'deadly' if number == 7 else 'bare'}{'/.' * number}" for number in range(12)]
    listed = hub.folder / "deadly.txt"
    listed.write_text("\n".join(names), "utf-8")
    (hub.folder / f"sitecustomize-{engine}").mkdir()
    (hub.folder / f"sitecustomize-{engine}" / "sitecustomize.py").write_text(DEADLY, "utf-8")
    out = hub.folder / f"{engine}-deadly"
    command = (EXAMPLES / f"with_{engine}.py", "sweep", "info", listed, out, "--workers", "2", "--batch", "4")
    hub.run(*command, name=f"{engine}-deadly-home", path=hub.folder / f"sitecustomize-{engine}")
    found = {row["model"]: row["status"] for row in rows(Sweep("info", out))}
    assert found == {name: 7 if "deadly" in name else 0 for name in names}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_workers_share_a_limit_and_heed_what_one_is_told(hub: Hub, engine: str) -> None:
    """So many requests take so many windows, whoever sends them."""
    pytest.importorskip("distributed" if engine == "dask" else "ray", reason=f"an example's own: pip install {engine}")
    names = [name for name in hub.names if "/tied-" in name][:12]
    listed = hub.folder / "few.txt"
    listed.write_text("\n".join(names), "utf-8")
    hub.stub.log.clear()
    started = time.monotonic()
    arguments = ("--workers", "2", "--batch", "2", "--requests", "10", "--seconds", "2")
    hub.run(
        *(EXAMPLES / f"with_{engine}.py", "sweep", "check", listed, hub.folder / f"{engine}-few", *arguments),
        name=f"{engine}-few-home",
    )
    taken, sent = time.monotonic() - started, hub.stub.count("hub")
    assert sent > 20, "more than two windows"
    assert taken >= (-(-sent // 10) - 1) * 2
    assert not [row for row in rows(Sweep("check", hub.folder / f"{engine}-few")) if row["status"]]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_a_graph_on_an_engine_is_that_of_one_machine(hub: Hub, engine: str) -> None:
    pytest.importorskip("distributed" if engine == "dask" else "ray", reason=f"an example's own: pip install {engine}")
    name = next(name for name in hub.names if "/tied-" in name)
    out = hub.folder / f"{engine}-graph.parquet"
    hub.run(EXAMPLES / f"with_{engine}.py", "graph", name, out, "-k", "7", "--parts", "2", name=f"{engine}-graph")
    folder = hub.folder / "written" / "tied"
    holds_graph(out, embtool.open_model(folder), 7)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_document_of_a_sweep_fits_its_schema(tmp_path: Path) -> None:
    """Of each kind of repository, in each question: what there is to say is an `@1` document, or an error."""
    for kind, write in KINDS.items():
        write(tmp_path / kind)
    answered = 0
    for method in ("info", "check", "norms", "undertrained"):
        validator = Draft202012Validator(schema_of(kinds_of(method), method))
        for kind in KINDS:
            with embtool.open_model(tmp_path / kind) as model, contextlib.suppress(EmbtoolError):
                document = getattr(model, method)().to_dict()
                validator.validate(document)
                assert document["schema"] == f"embtool/{method}@1"
                answered += 1
    assert answered > 2 * len(KINDS)
