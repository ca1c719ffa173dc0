"""`embtool check`: healthy models of several families, and one mutation a rule, found by that rule alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from mutations import (
    BASES,
    HEALTHY,
    INPUT,
    MUTATIONS,
    NEAR,
    OUTPUT,
    ROWS,
    START,
    TARGETS,
    TOGETHER,
    add_rows,
    changed,
    edit,
    numbers,
    prefixed,
    put,
    set_row,
    write_gguf,
    write_llama,
)
from program import Program
from small_models import END_OF_TEXT, tokenizer_json, write_json

from embtool.errors import FormatError
from embtool.model import open_model
from embtool.questions.check import ask_check
from embtool.questions.check.rule import RULES, Severity


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


def test_every_rule_has_a_mutation() -> None:
    assert set(MUTATIONS) == set(RULES)
    assert set(BASES) == {name for name, rule in RULES.items() if "base" in rule.needs}
    assert set(TARGETS) == {name for name, rule in RULES.items() if "target" in rule.needs}


def beside(rule: str, folder: Path, place: int) -> tuple[str | Path, ...]:
    """Write the model that a rule compares with, if it does, and name it as an option."""
    if rule in TARGETS:
        return ("--draft-for", TARGETS[rule][place](folder))
    return ("--base", BASES[rule][place](folder)) if rule in BASES else ()


@pytest.mark.parametrize("rule", NEAR)
@pytest.mark.few(30)
def test_a_sound_model_near_the_mutation_is_left_alone(run: Program, healthy: Path, tmp_path: Path, rule: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(healthy / MUTATIONS[rule][0], folder)
    NEAR[rule](folder)
    base = beside(rule, tmp_path / "base", 1)
    answer = run("check", folder, "--deep", *base, "--level", "info", "--json")
    assert rule in answer.document["looked"]
    assert rule not in {finding["rule"] for finding in answer.document["findings"]}, answer.document["findings"]


@pytest.mark.parametrize("rule", MUTATIONS)
@pytest.mark.few(30)
def test_a_mutation_is_found_by_its_rule_alone(run: Program, healthy: Path, tmp_path: Path, rule: str) -> None:
    family, mutate = MUTATIONS[rule]
    folder = tmp_path / "model"
    shutil.copytree(healthy / family, folder)
    mutate(folder)
    base = beside(rule, tmp_path / "base", 0)
    answer = run("check", folder, "--deep", *base, "--level", "info", "--json")
    together = TOGETHER.get(rule, set())
    found = {finding["rule"] for finding in answer.document["findings"]}
    assert found - together == {rule}, answer.document["findings"]
    assert answer.status == 1
    severity = RULES[rule].severity
    assert severity in {found["severity"] for found in answer.document["findings"] if found["rule"] == rule}
    assert run("check", folder, "--deep", *base, "-f", "table").status == (0 if severity is Severity.INFO else 1)
    assert (
        run(
            "check", folder, "--deep", *base, "--ignore", ",".join([rule, *together]), "--level", "info", "--tsv"
        ).status
        == 0
    )
    shallow = run("check", folder, *base, "--select", rule, "--level", "info", "--tsv")
    assert shallow.status == (0 if RULES[rule].deep else 1)


def test_the_tables_are_read_only_with_deep(run: Program, healthy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("embtool.questions.check.surveys.survey", refuse)
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
    add_rows(1)(tmp_path / "model")
    answer = run("check", tmp_path / "model", "-f", "table").ok()
    assert f"info       padding-rows   1 row of {ROWS + 1} without a token: ids {ROWS}" in answer.text
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


def test_an_id_with_two_pieces_is_told(run: Program, tmp_path: Path) -> None:
    write_llama(tmp_path / "model")
    tokenizer = json.loads((tmp_path / "model" / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary[list(vocabulary)[5]] = 6
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(tokenizer))
    (found,) = run("check", tmp_path / "model", "--select", "duplicate-token", "--json").document["findings"]
    assert found["ids"] == [6]


def test_a_model_that_only_reads_has_no_end(run: Program, tmp_path: Path) -> None:
    write_llama(tmp_path / "model", architectures=["CLIPTextModel"], eos_token_id=2, bos_token_id=0)
    (tmp_path / "model" / "generation_config.json").unlink()
    document = run("check", tmp_path / "model", "--json").document
    assert {"eos-differs", "ordinary-eos", "bos-differs"} <= set(document["skipped"])
    assert not document["findings"]


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module.", "module._orig_mod.", "model._orig_mod.", "state_dict.", "base_model.model."]
)
def test_names_that_no_loader_knows(run: Program, tmp_path: Path, prefix: str) -> None:
    write_llama(tmp_path / "model")
    prefixed(prefix)(tmp_path / "model")
    (found,) = run("check", tmp_path / "model", "--json").document["findings"]
    assert (found["rule"], found["severity"]) == ("odd-prefix", "warning")
    assert prefix.removeprefix("model.") in found["message"]
    (tmp_path / "model" / "adapter_config.json").write_text("{}")
    adapter = run("check", tmp_path / "model", "--select", "odd-prefix", "--json").document["findings"]
    assert bool(adapter) is (prefix != "base_model.model.")
    prefixed("language_model.language_model.")(tmp_path / "model")
    (found,) = run("check", tmp_path / "model", "--json").document["findings"]
    assert "language_model.language_model." in found["message"]


@pytest.mark.parametrize(("rows", "width"), [(ROWS - 8, 16), (ROWS // 2, 16), (ROWS * 3, 16), (ROWS, 12)])
def test_an_output_table_of_any_other_size(run: Program, tmp_path: Path, rows: int, width: int) -> None:
    write_llama(tmp_path / "model")
    put(tmp_path / "model", OUTPUT, np.resize(numbers("output", rows), (rows, width)))
    (found,) = run("check", tmp_path / "model", "--json").document["findings"]
    assert (found["rule"], found["tensor"]) == ("output-shape", OUTPUT)
    assert f"{rows:,} rows" in found["message"] or f"{width} numbers" in found["message"]
    edit(tmp_path / "model" / "config.json", decoder_vocab_size=rows, vocab_size=ROWS)
    if width == 16 and abs(rows - ROWS) < 0.1 * ROWS:
        assert run("check", tmp_path / "model", "--json").ok().document["findings"] == []


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (0.0, "all zeros"),
        (lambda values: np.delete(values, [ROWS - 1, ROWS - 2], 0).mean(axis=0), "the mean of the table"),
        (3.25, "equal to each other"),
        (lambda values: values[ROWS - 1] * 1.5, None),
    ],
)
def test_how_the_rows_of_new_tokens_were_left(run: Program, tmp_path: Path, row: Any, words: str | None) -> None:
    write_llama(tmp_path / "base")
    write_json(tmp_path / "base" / "tokenizer.json", tokenizer_json({}))
    write_llama(tmp_path / "model")

    def both(values: Any) -> None:
        new = [row(values) if callable(row) else row] * 2
        values[ROWS - 2], values[ROWS - 1] = (new[0], new[1]) if words is not None else (values[0] * 1.5, new[1])

    changed(INPUT, both)(tmp_path / "model")
    options = ("--deep", "--select", "new-token-rows", "--json")
    found = run("check", tmp_path / "model", "--base", tmp_path / "base", *options).document["findings"]
    assert [each["ids"] for each in found] == ([] if words is None else [[ROWS - 2, ROWS - 1]])
    assert all(str(words) in each["message"] and "'<|im_start|>'" in each["message"] for each in found)


def test_a_rule_that_meets_damage_stops_no_other(
    run: Program, healthy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any, **__: Any) -> None:
        message = "page 3 of the table is damaged"
        raise FormatError(message)

    folder = tmp_path / "model"
    shutil.copytree(healthy / "llama", folder)
    MUTATIONS["bos-differs"][1](folder)
    monkeypatch.setattr("embtool.questions.check.surveys.survey", break_down)
    answer = run("check", folder, "--deep", "--json")
    assert [each["rule"] for each in answer.document["findings"]] == ["bos-differs"]
    assert "zero-rows" in answer.document["skipped"]
    assert any("zero-rows was not looked at: page 3" in line for line in answer.of("warning"))


HOSTILE: dict[str, dict[str, Any]] = {
    "tokenizer.json": {"added_tokens": {"a": 1}, "model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}},
    "tokenizer_config.json": {
        "added_tokens_decoder": {"9" * 5000: {"content": "x"}, "1": 5, "2": {"content": "\ud800"}},
        "additional_special_tokens": [1, None, {"content": ["a"]}, "<é>"],
        "chat_template": [{"template": 5}, None, 7],
        "eos_token": {"content": None},
        "pad_token": "\ud800",
    },
    "generation_config.json": {"eos_token_id": [True, None, "2", 10**30, -5], "bos_token_id": {"a": 1}},
    "special_tokens_map.json": {"eos_token": [1], "additional_special_tokens": "x"},
    "added_tokens.json": {"a": "b", "c": -1, "d": 10**40},
    "vocab.json": {"a": None, "b": [], "c": 10**30},
    "params.json": {"dim": 10**300, "n_layers": "x", "rope_theta": [], "yarn": 5, "vocab_size": True},
}


@pytest.mark.parametrize("file", HOSTILE)
def test_small_files_of_any_shape_give_findings_and_no_traceback(run: Program, tmp_path: Path, file: str) -> None:
    write_llama(tmp_path / "model")
    (tmp_path / "model" / file).write_text(json.dumps(HOSTILE[file]))
    for content in (None, b"[]", b"{", b"[" * 100_000, b"\xff\xfe"):
        if content is not None:
            (tmp_path / "model" / file).write_bytes(content)
        answer = run("check", tmp_path / "model", "--deep", "--json")
        assert answer.status in (0, 1), answer.errors
        assert "Traceback" not in answer.errors
        assert answer.document["looked"]


@pytest.mark.parametrize("value", [10**400, -1, True, "x", [], {}, None, 1e308], ids=lambda value: str(value)[:9])
@pytest.mark.few(6)
def test_rope_settings_of_any_kind_give_no_traceback(run: Program, tmp_path: Path, value: Any) -> None:
    write_llama(tmp_path / "base")
    for key in ("factor", "original_max_position_embeddings", "unheard_of"):
        shutil.rmtree(tmp_path / "model", ignore_errors=True)
        scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512, key: value}
        write_llama(tmp_path / "model", rope_scaling=scaling, rope_parameters=scaling, text={"pad_token_id": value})
        answer = run("check", tmp_path / "model", "--base", tmp_path / "base", "--json")
        assert answer.status in (0, 1), answer.errors
        assert answer.document["looked"]


MARKERS = ("<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<｜User｜>", "[|user|]", "[gMASK]", "</think>", "[/INST]")  # noqa: RUF001


@pytest.mark.parametrize("marker", MARKERS)
def test_markers_of_every_style(run: Program, tmp_path: Path, marker: str) -> None:
    write_llama(tmp_path / "model")
    tokens = {END_OF_TEXT: True, START: True, "<think>": False, "[INST]": False}
    write_json(tmp_path / "model" / "tokenizer.json", tokenizer_json(tokens))
    template = f"<|im_start|>{{{{ role }}}} <tools> </tools> [TOOL] {marker}"
    write_json(tmp_path / "model" / "tokenizer_config.json", {"chat_template": template})
    found = run("check", tmp_path / "model", "--select", "template-token", "--json").document["findings"]
    assert [each["message"] for each in found] == [f"the chat template writes {marker}, which is not a token"]
    write_json(tmp_path / "model" / "tokenizer.json", tokenizer_json({**tokens, marker: True}))
    assert run("check", tmp_path / "model", "--select", "template-token", "--json").document["findings"] == []


def test_a_table_that_cannot_be_decoded_hides_no_other(run: Program, healthy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(healthy / "llama", folder)
    changed(INPUT, set_row(7, np.nan))(folder)
    MUTATIONS["unread-table"][1](folder)
    document = run("check", folder, "--deep", "--json").document
    assert [finding["rule"] for finding in document["findings"]] == ["nonfinite-rows", "unread-table"]
    (folder / "tokenizer.json").write_bytes(b"{")
    edit(folder / "config.json", rope_scaling={"rope_type": "unheard", "factor": 2.0})
    document = run("check", folder, "--deep", "--json").document
    found = [finding["rule"] for finding in document["findings"]]
    assert set(found) == {"damaged-tokenizer", "rope-invalid", "nonfinite-rows", "unread-table"}


def test_every_finding_says_what_to_do(run: Program, healthy: Path, tmp_path: Path) -> None:
    assert all(rule.advice and rule.why for rule in RULES.values())
    folder = tmp_path / "model"
    shutil.copytree(healthy / "llama", folder)
    MUTATIONS["flat-table"][1](folder)
    (found,) = run("check", folder, "--json").document["findings"]
    assert (found["file"], found["tensor"]) == ("part-0.safetensors", INPUT)
    assert "FULL_STATE_DICT" in found["advice"]
    shown = run("check", folder, "-f", "table")
    text = " ".join(shown.text.split())
    assert "To do: save again with the weights gathered" in text
    assert f"{folder}: faulty: 1 error by " in text.replace("\n", "")
    assert "sound as far as" in " ".join(run("check", healthy / "llama", "-f", "table").ok().text.split())
    assert "To do: " in run("check", folder, "-f", "markdown").text


def test_findings_as_sarif(run: Program, healthy: Path, tmp_path: Path) -> None:
    folder = run.folder / "sound"
    shutil.copytree(healthy / "llama", folder)
    for rule in ("flat-table", "bos-differs", "tokenizers-differ"):
        MUTATIONS[rule][1](folder)
    assert run("check", "sound", "--level", "error", "--sarif", tmp_path / "x.sarif", "--tsv").status == 1
    log = json.loads((tmp_path / "x.sarif").read_text("utf-8"))
    assert log["version"] == "2.1.0"
    (each,) = log["runs"]
    rules = each["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(RULES)
    assert {result["ruleId"]: result["level"] for result in each["results"]} == {
        "flat-table": "error",
        "bos-differs": "warning",
        "tokenizers-differ": "warning",
    }
    for result in each["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        (place,) = result["locations"]
        assert (run.folder / place["physicalLocation"]["artifactLocation"]["uri"]).is_file()
    schema = os.environ.get("EMBTOOL_TEST_SARIF")
    if schema:  # SARIF's own: sarif-schema-2.1.0.json of its standard, or of npm's @microsoft/jest-sarif
        jsonschema.validate(log, json.loads(Path(schema).read_text("utf-8")))


def test_findings_about_a_gguf_file_stand_at_it(run: Program, tmp_path: Path) -> None:
    write_gguf(run.folder / "converted", eos=5, template="{{ role }}<|im_end|>")
    answer = run("check", "converted/model.gguf", "--sarif", tmp_path / "x.sarif", "--json")
    found = {each["rule"]: each for each in answer.document["findings"]}
    assert set(found) == {"ordinary-eos", "template-token"}
    assert "tokenizer.ggml.eos_token_id in model.gguf is 5" in found["ordinary-eos"]["message"]
    (each,) = json.loads((tmp_path / "x.sarif").read_text("utf-8"))["runs"]
    places = {result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in each["results"]}
    assert places == {"converted/model.gguf"}
    write_gguf(run.folder / "converted", eos=ROWS + 9)
    (found,) = run("check", "converted/", "--json").document["findings"]
    assert found["rule"] == "special-id"


@pytest.mark.parametrize("model", ["only-config/", "only-tokenizer/", "bare/"])
def test_a_model_without_a_part_is_checked_as_far_as_it_goes(run: Program, model: str) -> None:
    document = run("check", model, "--deep", "--json").document
    assert document["skipped"]
    assert "rope-invalid" in (document["looked"] if model == "only-config/" else document["skipped"])


@pytest.mark.parametrize(
    ("settings", "rows", "sound"),
    [
        ({"num_channels": 3}, 3 * ROWS, True),
        ({"num_channels": 3}, 3 * ROWS + 1, False),
        ({"num_channels": "3"}, 3 * ROWS, False),
    ],
)
def test_a_table_for_each_channel_is_sound(
    run: Program, tmp_path: Path, settings: dict[str, Any], rows: int, *, sound: bool
) -> None:
    folder = tmp_path / "model"
    write_llama(folder, **settings)
    put(folder, INPUT, numbers("input", rows))
    found = {finding["rule"] for finding in run("check", folder, "--json").document["findings"]}
    assert ("vocab-size" in found) is not sound


def test_a_head_that_says_how_long_a_token_lasts_is_sound(run: Program, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_llama(folder, durations=[0, 1, 2])
    put(folder, OUTPUT, numbers("output", ROWS + 3))
    assert run("check", folder, "--json").ok().document["findings"] == []
    put(folder, OUTPUT, numbers("output", ROWS + 4))
    assert {each["rule"] for each in run("check", folder, "--json").document["findings"]} == {"output-shape"}
