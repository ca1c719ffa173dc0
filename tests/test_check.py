"""`embtool check`: healthy models of several families, and one mutation a rule, found by that rule alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from program import Program
from small_models import (
    BERT_WORDS,
    END_OF_TEXT,
    WIDTH,
    Tensor,
    added_token,
    config,
    digits,
    float32,
    pieces,
    safetensors,
    tokenizer_json,
    write_json,
    write_single,
)

from embtool.model import open_model
from embtool.questions.check import ask_check
from embtool.questions.check.rule import RULES, Severity

START = "<|im_start|>"
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message.content }}<|endoftext|>{% endfor %}"
ROWS = len(pieces()) + 2
INPUT, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"


def numbers(kind: str, rows: int = ROWS) -> NDArray[np.float64]:
    """Make rows of which no two are alike."""
    return np.stack([digits(f"{kind} {row}", 30) for row in range(rows)]) / 64 + 0.5


def tensor(values: NDArray[np.float64]) -> Tensor:
    return ("F32", values.shape, float32(values))


def write_llama(folder: Path, changes: dict[str, Tensor] | None = None, **settings: Any) -> None:
    """Write a healthy chat model: sharded, untied, with a template and without padding."""
    folder.mkdir(parents=True)
    settings = {"vocab_size": ROWS, "eos_token_id": ROWS - 2, "bos_token_id": ROWS - 2, **settings}
    write_json(folder / "config.json", config(**settings))
    write_json(folder / "tokenizer.json", tokenizer_json({END_OF_TEXT: True, START: True}))
    write_json(folder / "tokenizer_config.json", {"chat_template": TEMPLATE})
    write_json(folder / "generation_config.json", {"eos_token_id": [ROWS - 2, ROWS - 1], "pad_token_id": -1})
    tensors = {INPUT: tensor(numbers("input")), OUTPUT: tensor(numbers("output")), **(changes or {})}
    weight_map = {}
    for place, (name, written) in enumerate(tensors.items()):
        (folder / f"part-{place}.safetensors").write_bytes(safetensors({name: written}))
        weight_map[name] = f"part-{place}.safetensors"
    write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})


def write_tied(folder: Path) -> None:
    settings = config(vocab_size=ROWS, tie_word_embeddings=True)
    tokenizer = tokenizer_json({END_OF_TEXT: True, START: True})
    write_single(folder, {INPUT: tensor(numbers("input"))}, config=settings, tokenizer=tokenizer)


def write_gpt2(folder: Path) -> None:
    rows = len(pieces()) + 1
    tensors = {"wte.weight": tensor(numbers("input", rows)), "wpe.weight": tensor(numbers("position", 32))}
    settings = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": rows,
        "n_embd": WIDTH,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 32,
        "eos_token_id": rows - 1,
    }
    write_single(folder, tensors, config=settings, tokenizer=tokenizer_json())


def write_bert(folder: Path) -> None:
    values = numbers("input", len(BERT_WORDS))
    values[0] = 0  # the padding token's, as it is initialised
    tensors = {
        "embeddings.word_embeddings.weight": tensor(values),
        "embeddings.position_embeddings.weight": tensor(numbers("position", 8)),
    }
    settings = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": len(BERT_WORDS),
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 8,
        "pad_token_id": 0,
    }
    write_single(folder, tensors, config=settings)
    (folder / "vocab.txt").write_text("\n".join(BERT_WORDS) + "\n", encoding="utf-8")


HEALTHY: dict[str, Callable[[Path], None]] = {
    "llama": write_llama,
    "tied": write_tied,
    "gpt2": write_gpt2,
    "bert": write_bert,
}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("healthy")
    for name, write in HEALTHY.items():
        write(folder / name)
    return folder


@pytest.mark.parametrize("family", HEALTHY)
@pytest.mark.parametrize("deep", [(), ("--deep",)])
def test_healthy_models_are_found_healthy(run: Program, healthy: Path, family: str, deep: tuple[str, ...]) -> None:
    document = run("check", healthy / family, *deep, "--level", "info", "--json").ok().document
    assert document["schema"] == "embtool/check@1"
    assert document["findings"] == []
    deep_rules = {name for name, rule in RULES.items() if rule.deep}
    assert bool(deep_rules & set(document["looked"])) is bool(deep)
    assert set(document["looked"]) | set(document["skipped"]) == set(RULES)


def test_the_bundled_model_is_healthy(run: Program) -> None:
    document = run("check", "mini", "--deep", "--json").ok().document
    assert [finding["rule"] for finding in document["findings"]] == ["padding-rows"]


# --- one mutation a rule ------------------------------------------------------------------------------------------


def edit(file: Path, **changes: Any) -> None:
    write_json(file, json.loads(file.read_text()) | changes)


def put(folder: Path, name: str, values: NDArray[np.float64]) -> None:
    """Replace a tensor of the model."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    (folder / index["weight_map"][name]).write_bytes(safetensors({name: tensor(values)}))


def changed(name: str, change: Callable[[NDArray[np.float64]], None], kind: str = "input") -> Callable[[Path], None]:
    def mutate(folder: Path) -> None:
        values = numbers(kind)
        change(values)
        put(folder, name, values)

    return mutate


def set_row(row: int, value: Any) -> Callable[[NDArray[np.float64]], None]:
    def change(values: NDArray[np.float64]) -> None:
        values[row] = value if not callable(value) else value(values)

    return change


def in_config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "config.json", **changes)


def add_tokens(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append(added_token(ROWS, "<tool>", special=False))
    write_json(folder / "tokenizer.json", tokenizer)


def drop_token(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    piece = pieces()[-1]
    del tokenizer["model"]["vocab"][piece]
    tokenizer["model"]["merges"].pop()
    write_json(folder / "tokenizer.json", tokenizer)  # the added tokens follow the pieces, whatever their ids are here
    edit(folder / "config.json", eos_token_id=ROWS - 3, bos_token_id=ROWS - 3)
    edit(folder / "generation_config.json", eos_token_id=[ROWS - 3, ROWS - 2])


def drop_output(folder: Path) -> None:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    del index["weight_map"][OUTPUT]
    write_json(folder / "model.safetensors.index.json", index)


def rename_input(folder: Path) -> None:
    values = tensor(numbers("input"))
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"something.weight": "part-0.safetensors"}})
    (folder / "part-0.safetensors").write_bytes(safetensors({"something.weight": values}))


def cut(folder: Path) -> None:
    file = folder / "part-1.safetensors"
    file.write_bytes(file.read_bytes()[:-8])


def other_template(folder: Path) -> None:
    write_json(folder / "tokenizer_config.json", {"chat_template": [{"name": "x", "template": "<|user|>"}]})


MUTATIONS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "missing-shard": ("llama", lambda folder: (folder / "part-1.safetensors").unlink()),
    "damaged-shard": ("llama", cut),
    "missing-table": ("llama", rename_input),
    "tokens-beyond-table": ("llama", add_tokens),
    "padding-rows": ("llama", drop_token),
    "vocab-size": ("llama", in_config(vocab_size=ROWS + 4)),
    "table-width": ("llama", in_config(hidden_size=32)),
    "position-rows": ("gpt2", in_config(n_positions=64)),
    "tied-but-different": ("llama", in_config(tie_word_embeddings=True)),
    "untied-but-identical": ("llama", lambda folder: put(folder, OUTPUT, numbers("input"))),
    "missing-output-table": ("llama", drop_output),
    "special-id": ("llama", in_config(eos_token_id=ROWS + 99)),
    "template-token": ("llama", other_template),
    "rope-invalid": ("llama", in_config(rope_scaling={"rope_type": "unheard", "factor": 2.0})),
    "rope-conflict": ("llama", in_config(rope_parameters={"rope_type": "default", "rope_theta": 500000.0})),
    "rope-ignored": ("llama", in_config(partial_rotary_factor=0.5)),
    "rope-unused": ("gpt2", in_config(rope_theta=10000.0)),
    "nonfinite-rows": ("llama", changed(OUTPUT, set_row(7, np.nan), "output")),
    "zero-rows": ("llama", changed(INPUT, set_row(7, 0.0))),
    "identical-rows": ("llama", changed(INPUT, set_row(7, lambda values: values[9]))),
    "untrained-special": ("llama", changed(INPUT, set_row(ROWS - 1, 0.0))),
    "shrunk-table": ("llama", lambda _: None),
    "moved-token": ("llama", lambda _: None),
}
"""For every rule the healthy model it is tried on, and what is done to it."""


def test_every_rule_has_a_mutation() -> None:
    assert set(MUTATIONS) == set(RULES)


def write_larger_base(folder: Path) -> Path:
    write_llama(folder, {INPUT: tensor(numbers("input", ROWS + 8))}, vocab_size=ROWS + 8)
    return folder


def write_other_ids(folder: Path) -> Path:
    write_llama(folder)
    write_json(folder / "tokenizer.json", tokenizer_json({START: True, END_OF_TEXT: True}))
    return folder


BASES = {"shrunk-table": write_larger_base, "moved-token": write_other_ids}


@pytest.mark.parametrize("rule", MUTATIONS)
def test_a_mutation_is_found_by_its_rule_alone(run: Program, healthy: Path, tmp_path: Path, rule: str) -> None:
    family, mutate = MUTATIONS[rule]
    folder = tmp_path / "model"
    shutil.copytree(healthy / family, folder)
    mutate(folder)
    base = ("--base", BASES[rule](tmp_path / "base")) if rule in BASES else ()
    answer = run("check", folder, "--deep", *base, "--level", "info", "--json")
    assert {finding["rule"] for finding in answer.document["findings"]} == {rule}, answer.document["findings"]
    assert answer.status == 1
    severity = RULES[rule].severity
    assert answer.document["findings"][0]["severity"] == severity
    assert run("check", folder, "--deep", *base, "-f", "table").status == (0 if severity is Severity.INFO else 1)
    assert run("check", folder, "--deep", *base, "--ignore", rule, "--level", "info", "--tsv").status == 0
    shallow = run("check", folder, *base, "--select", rule, "--level", "info", "--tsv")
    assert shallow.status == (0 if RULES[rule].deep else 1)


def test_the_tables_are_read_only_with_deep(run: Program, healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("embtool.questions.check.subject.survey", refuse)
    run("check", healthy / "llama", "--json").ok()
    with pytest.raises(AssertionError):
        run("check", healthy / "llama", "--deep", "--json")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (lambda values: values[3], "same row as 1 other"),
        (lambda values: np.delete(values, ROWS - 1, 0).mean(axis=0), "mean of all rows"),
        (lambda values: values[ROWS - 1], None),
    ],
)
def test_untrained_special_tokens(tmp_path: Path, row: Any, words: str | None) -> None:
    write_llama(tmp_path / "model")
    changed(INPUT, set_row(ROWS - 1, row))(tmp_path / "model")
    report = ask_check(open_model(tmp_path / "model"), deep=True)
    messages = [finding.message for finding in report.findings]
    if words is None:
        assert not messages
    else:
        assert len(messages) == 1
        assert words in messages[0]
        assert START in messages[0]
        assert report.findings[0].ids == (ROWS - 1,)


def test_tied_tables_that_differ_in_one_row_are_found_only_deep(tmp_path: Path, run: Program) -> None:
    write_llama(tmp_path / "model", tie_word_embeddings=True)
    values = numbers("input")
    values[5, 2] += 1
    put(tmp_path / "model", OUTPUT, values)
    run("check", tmp_path / "model").ok()
    findings = run("check", tmp_path / "model", "--deep", "--json").document["findings"]
    assert [finding["rule"] for finding in findings] == ["tied-but-different"]


def test_rules_are_listed_and_explained(run: Program) -> None:
    listed = run("check", "--rules", "--json").ok().document["rules"]
    assert [rule["rule"] for rule in listed] == list(RULES)
    for rule in listed:
        assert len(rule["summary"]) <= 60
        assert rule["why"].endswith(".")
    shown = run("check", "--explain", "zero-rows", "-f", "table").ok().text
    assert "A row of zeros carries no meaning" in shown


def test_a_finding_on_a_terminal(run: Program, tmp_path: Path) -> None:
    write_llama(tmp_path / "model")
    drop_token(tmp_path / "model")
    answer = run("check", tmp_path / "model", "-f", "table").ok()
    assert f"info       padding-rows   1 row of {ROWS} without a token: ids {ROWS - 1}" in answer.text
    assert "1 info" in " ".join(answer.text.split())


def test_what_only_a_whole_table_tells_is_said_to_be_unknown(run: Program, tmp_path: Path) -> None:
    write_llama(tmp_path / "model")
    document = run("check", tmp_path / "model", "--json").ok().document
    deep = {rule.name for rule in RULES.values() if rule.deep and "base" not in rule.needs}
    assert set(document["unread"]) == deep
    assert deep <= set(document["skipped"])
    shown = " ".join(run("check", tmp_path / "model", "-f", "table").ok().text.split())
    assert f"not looked at without --deep: {', '.join(document['unread'])}" in shown
    read = run("check", tmp_path / "model", "--deep", "--json").ok().document
    assert read["unread"] == []
    assert "without --deep" not in run("check", tmp_path / "model", "--deep", "-f", "table").ok().text
    (only,) = run("check", tmp_path / "model", "--select", "zero-rows", "--json").ok().document["unread"]
    assert only == "zero-rows"


COLOURED = {"NO_COLOR": "", "FORCE_COLOR": "1", "TERM": "xterm"}


def test_severities_have_colours(run: Program) -> None:
    listed = run("check", "--rules", "-f", "table", env=COLOURED).ok().text
    for seen in ("\x1b[1;31merror", "\x1b[33mwarning", "\x1b[2minfo"):
        assert seen in listed
    assert "\x1b[2minfo" in run("check", "mini", "-f", "table", env=COLOURED).ok().text


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_summaries_of_rules_are_wrapped_and_never_cut(run: Program, columns: str) -> None:
    listed = run("check", "--rules", "-f", "table", env={"COLUMNS": columns}).ok().text
    assert "…" not in listed
    assert all(len(line) <= int(columns) for line in listed.splitlines())
    together = " ".join(line.split("  ")[-1].strip() for line in listed.splitlines())
    for rule in RULES.values():
        assert rule.summary in together


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("mini", "--select", "nonsense"), 2, "no rule 'nonsense'"),
        (("mini", "--ignore", "zero-rows,nonsense"), 2, "no rule 'nonsense'"),
        (("empty/",), 3, "not a model"),
        (("no-such-folder/",), 3, "no such"),
    ],
)
def test_check_refuses(run: Program, arguments: tuple[str, ...], status: int, words: str) -> None:
    run("check", *arguments).refused(status, words)


@pytest.mark.parametrize("model", ["only-config/", "only-tokenizer/", "bare/"])
def test_a_model_without_a_part_is_checked_as_far_as_it_goes(run: Program, model: str) -> None:
    document = run("check", model, "--deep", "--json").document
    assert document["skipped"]
    assert "rope-invalid" in (document["looked"] if model == "only-config/" else document["skipped"])
