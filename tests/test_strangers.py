"""Strings of strangers, through every command: nothing that a terminal would obey, and nothing cut for a machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import every
import numpy as np
import pytest
from effort import within
from hostile import HOSTILE, dangers
from hubstub import HubStub
from program import Answer, Program
from small_models import config, tokenizer_json, write_json, write_single

from embtool.answers import Format
from embtool.cli import COMMANDS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="such names cannot be given to files there")

INPUT = "model.embed_tokens.weight"
WIDTH = 4
FORMATS = [form.value for form in Format]

NAMES = [
    *HOSTILE.values(),
    "a\ud800b",
    "\udfff",
    "\U0010fffe",
    "\x1b",
    "\x9b",
    "\r\x1b[2K",
    "%1b[31m",
    "\\\\",
    "'\"`$(x)",
]
"""What tokens are called."""

ESCAPES = "\x1b[31m\u202e[red]\x9b"


@dataclass
class Strange:
    """A model in which everything that has a name has a hostile one."""

    root: Path
    rows: int
    names: list[str]

    def program(self) -> Program:
        (self.root / "home").mkdir(exist_ok=True)
        return Program(self.root / "home", self.root)

    def ask(self, line: str, *options: str, env: Mapping[str, str] | None = None) -> Answer:
        """Run a line of `every` about this model."""
        out = self.root / f"out{len(list(self.root.iterdir()))}"
        out.mkdir()
        places: dict[str, str | list[str]] = {
            "MODEL": f"./m{ESCAPES}",
            "OTHER": f"./n{ESCAPES}",
            "OUT": str(out),
            "INPUTS": str(self.root / "inputs"),
            "TOKENS": [f"id:{self.rows - len(self.names)}..{self.rows - 1}"],
        }
        return self.program()(*every.words(line, places), *options, env=env)


def write_strange(folder: Path, names: list[str]) -> int:
    """Write a model whose tokens have these names, its tensors, its shard and its config others; give its rows."""
    tokenizer = tokenizer_json(dict.fromkeys(names, False))
    rows = len(tokenizer["model"]["vocab"]) + len(names)
    values = np.ones((rows, WIDTH), "<f4") + np.arange(rows, dtype="<f4")[:, None] % 7
    values[:, 0] += np.arange(rows, dtype="<f4")
    tensors = {INPUT: ("F32", values.shape, values.tobytes())}
    for place, text in enumerate(HOSTILE.values()):
        tensors[f"{text}.{place}.relative_attention_bias.weight"] = ("F32", (1, 1), bytes(4))
    settings = config(
        architectures=[HOSTILE["clipboard"]], model_type=HOSTILE["colour"], vocab_size=rows, hidden_size=WIDTH,
        _name_or_path=HOSTILE["link"], head_dim=2,
    )  # fmt: skip
    write_single(folder, tensors, config=settings, tokenizer=tokenizer)
    (folder / "model.safetensors").rename(folder / f"shard{ESCAPES}.safetensors")
    return rows


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Strange:
    root = tmp_path_factory.mktemp("strange")
    rows = write_strange(root / f"m{ESCAPES}", NAMES)
    write_strange(root / f"n{ESCAPES}", [name for name in NAMES if len(name) > 3])
    every.write_inputs(root / "inputs", WIDTH, NAMES)
    return Strange(root, rows, NAMES)


def holds(answer: Answer, form: str, line: str) -> None:
    """Hold that nothing printed can harm a terminal."""
    out = answer.out.decode()
    assert not dangers(out.replace("\t", " ") if form in ("tsv", "") else out), line
    assert not dangers(answer.errors), line
    assert "Traceback" not in answer.errors, answer.errors[-2000:]
    if form in ("json", "jsonl"):
        assert out.isascii(), line


@pytest.mark.parametrize("command", every.EVERY)
def test_no_command_prints_a_stranger_raw(strange: Strange, command: str) -> None:
    for line in every.EVERY[command]:
        is_plain = line.startswith(every.ONE_FORMAT)
        for form in [""] if is_plain else FORMATS if line == every.EVERY[command][0] else ["table", "tsv"]:
            answer = strange.ask(line, *(["-f", form] if form else []))
            assert answer.status in (0, 1, 3, 6), (line, answer.errors)
            holds(answer, form, line)


def test_the_table_of_commands_is_complete() -> None:
    assert every.EVERY.keys() == COMMANDS.keys()


def test_files_for_other_tools_hold_no_line_of_a_stranger(tmp_path: Path) -> None:
    names = [name for name in NAMES if name.isascii() or name.encode("utf-8", "ignore").decode() == name]
    rows = write_strange(tmp_path / f"m{ESCAPES}", names)  # half of a surrogate pair no tokenizer takes
    strange = Strange(tmp_path, rows, names)
    for line in every.EVERY["export"]:
        strange.ask(line).ok()
    written = [path for path in strange.root.glob("out*/**/*") if path.suffix in (".tsv", ".csv", ".w2v", ".json")]
    assert len(written) >= 5
    for path in written:
        assert not dangers(path.read_text("utf-8").replace("\t", " ")), path


@pytest.mark.parametrize("form", ["json", "jsonl", "tsv", "csv"])
def test_machines_get_every_name_whole(strange: Strange, form: str) -> None:
    answer = strange.ask("row TOKENS -m MODEL", "-f", form)
    if form == "jsonl":
        assert [record["token"] for record in answer.records] == NAMES
    if form == "json":
        assert [row["token"] for row in answer.document["rows"]] == NAMES


@pytest.mark.parametrize(
    "settings",
    [
        {"rope_scaling": {"rope_type": HOSTILE["clipboard"], "factor": 2.0}},
        {"position_embedding_type": HOSTILE["title"], "model_type": "bert"},
        {"layer_types": [HOSTILE["link"]] * 2},
        {HOSTILE["clear"]: 1, "hidden_size": HOSTILE["colour"]},
        {"torch_dtype": HOSTILE["bidi"], "tie_word_embeddings": HOSTILE["lines"]},
    ],
    ids=lambda settings: next(iter(settings)).encode("unicode_escape").decode(),
)
def test_what_a_config_says_is_escaped_where_it_is_refused(tmp_path: Path, settings: dict[str, object]) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "m").mkdir()
    write_json(tmp_path / "m" / "config.json", {**config(), **settings})
    run = Program(tmp_path / "home", tmp_path)
    for arguments in (["info", "m/"], ["rope", "-m", "m/"], ["check", "m/"], ["input", "x", "-m", "m/"]):
        for form in ("table", "json"):
            holds(run(*arguments, "-f", form), form, arguments[0])


# --- a megabyte -------------------------------------------------------------------------------------------------------

MEGABYTE = {
    "marks": "a" + "\u0301" * 500_000,
    "letters": "w" * 250_000,
    "escapes": "\x1b[31m" * 50_000,
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Strange:
    root = tmp_path_factory.mktemp("large")
    rows = write_strange(root / f"m{ESCAPES}", list(MEGABYTE.values()))
    write_strange(root / f"n{ESCAPES}", ["x"])
    every.write_inputs(root / "inputs", WIDTH, [])
    return Strange(root, rows, list(MEGABYTE.values()))


@pytest.mark.parametrize("command", every.EVERY)
def test_a_token_of_a_megabyte_does_not_fill_a_terminal(large: Strange, command: str) -> None:
    line = every.EVERY[command][0]
    answer = within(12, lambda: large.ask(line, *([] if line.startswith(every.ONE_FORMAT) else ["-f", "table"])))
    assert answer.status in (0, 1, 3)
    assert max(map(len, answer.out.decode().splitlines()), default=0) < 5000
    assert len(answer.out) < 300_000
    assert len(answer.err) < 30_000
    holds(answer, "" if line.startswith(every.ONE_FORMAT) else "table", line)


def test_a_machine_gets_the_megabyte(large: Strange) -> None:
    assert [row["token"] for row in large.ask("row TOKENS -m MODEL", "--json").document["rows"]] == large.names


# --- what a server says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["\x1b]52;c;aGk=\x07\x1b[31mred", "\x9b31m\x85", "x" * 60_000], ids=["esc", "c1", "long"]
)
@pytest.mark.slow
def test_what_a_server_says_is_escaped_and_cut(tmp_path: Path, models: Path, text: str) -> None:
    (tmp_path / "home").mkdir()
    run = Program(tmp_path / "home", tmp_path)
    with HubStub() as hub:
        hub.add("acme/x", {path.name: path for path in (models / "small").iterdir()})
        env = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "EMBTOOL_RETRIES": "1", "EMBTOOL_DEBUG": "1"}
        message = {"X-Error-Message": text, "X-Error-Code": text[:2000]}
        for code, where in ((401, "hub"), (418, "hub"), (403, "storage")):
            hub.reset()
            hub.fault("status", where=where, times=None, code=code, headers=message)  # type: ignore[arg-type]
            answer = run.outside("row", "id:3", "-m", "acme/x", env=env)
            assert answer.status in (3, 4, 5, 6), answer.errors
            assert not dangers(answer.errors)
            assert all(len(line) < 3000 for line in answer.of("error"))


def test_names_in_the_cache_are_escaped_when_they_are_listed(tmp_path: Path, run: Program) -> None:
    content = tmp_path / "cache" / "v1" / "hub" / "huggingface.co" / "contents" / "ab" / ("ab" * 32)
    (content / "rows").mkdir(parents=True)
    (content / "rows" / "0-4.range").write_bytes(bytes(36))
    about = {"model": HOSTILE["clipboard"], "file": HOSTILE["bidi"], "commit": HOSTILE["c1"]}
    (content / "about.json").write_text(json.dumps(about))
    (content.parent.parent.parent / f"models--a--b{ESCAPES}").mkdir()
    for form in FORMATS:
        answer = run("cache", "ls", "-f", form, env={"EMBTOOL_CACHE": str(tmp_path / "cache")}).ok()
        assert answer.out
        holds(answer, form, "cache ls")
