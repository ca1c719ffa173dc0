from __future__ import annotations

from pathlib import Path

import pytest
from program import Program
from small_models import PADDING, WIDTH, bfloat16, config, table, texts, tokenizer_json, write_json, write_single

ROWS = len(texts()) + PADDING


def test_the_keys_of_the_contract(run: Program) -> None:
    document = run("info", "small/", "--json").ok().document
    assert document["schema"] == "embtool/info@1"
    assert document["model"] == "small/"
    assert [document[key] for key in ("revision", "commit")] == [None, None]
    assert [document[key] for key in ("architecture", "model_type", "hidden_size")] == [
        "LlamaForCausalLM",
        "llama",
        WIDTH,
    ]
    first, second = document["tables"]
    stored = {
        "role": "input",
        "tensor": "model.embed_tokens.weight",
        "file": "model-00001-of-00002.safetensors",
        "shape": [ROWS, WIDTH],
        "stored_shape": [ROWS, WIDTH],
        "dtype": "BF16",
        "bytes": ROWS * WIDTH * 2,
    }
    assert first | stored == first
    assert (second["role"], second["tensor"]) == ("output", "lm_head.weight")
    tied = {"config": False, "stored": "both", "verdict": "untied", "origin": "tie_word_embeddings"}
    assert document["tied"] == tied
    vocabulary = document["vocabulary"]
    assert {key: vocabulary[key] for key in ("rows", "tokens", "added", "padding_rows", "padding")} == {
        "rows": ROWS,
        "tokens": len(texts()),
        "added": 1,
        "padding_rows": PADDING,
        "padding": [[len(texts()), ROWS - 1]],
    }
    position = document["position"]
    assert (position["kind"], position["context_length"], position["nope_layers"]) == ("rope", 2048, [])
    assert position["origins"]["rope_theta"] == "rope_theta"
    (layer,) = position["layers"]
    assert (layer["rope_type"], layer["rope_theta"], layer["head_dim"], layer["rotary_dim"]) == (
        "default",
        10000.0,
        8,
        8,
    )
    assert document["cost"]["requests"] == 0


def test_several_models_stand_in_a_list_and_one_that_fails_is_reported(run: Program) -> None:
    answer = run("info", "small/", "empty/", "tied/", "--json")
    assert answer.status == 3
    assert [model["model"] for model in answer.document["models"]] == ["small/", "tied/"]
    assert len(answer.of("error")) == 1
    alone = run("info", "small/", "empty/", "--json")
    assert [model["model"] for model in alone.document["models"]] == ["small/"]
    lines = run("info", "small/", "empty/", "tied/", "--jsonl")
    assert [record["model"] for record in lines.records] == ["small/", "empty/", "tied/"]
    assert lines.records[1].keys() == {"model", "error", "hint", "status"}
    assert lines.records[1]["status"] == 3
    cells = run("info", "small/", "empty/", "tied/", "--tsv").cells
    assert [line[0] for line in cells] == ["model", "small/", "tied/"]
    assert len({len(line) for line in cells}) == 1


def test_models_can_be_read_from_stdin(run: Program) -> None:
    answer = run("info", "-", "--jsonl", stdin=b"small/\ntied/\n").ok()
    assert [record["model"] for record in answer.records] == ["small/", "tied/"]


def test_a_folder_with_a_part_of_a_model_answers_what_it_can(run: Program) -> None:
    only_config = run("info", "only-config/", "--json").ok().document
    assert only_config["tables"] == []
    assert only_config["tied"] is None
    assert only_config["position"]["kind"] == "rope"
    words = run("info", "only-tokenizer/", "--json").ok().document
    assert words["vocabulary"]["tokens"] == len(texts())
    assert words["position"] is None
    bare = run("info", "bare/", "--json").ok().document
    assert bare["tables"][0]["shape"] == [ROWS, WIDTH]
    assert bare["vocabulary"]["tokens"] is None


@pytest.mark.parametrize("name", ["tied", "gpt2"])
def test_tied_models_have_one_table(run: Program, name: str) -> None:
    document = run("info", f"{name}/", "--json").ok().document
    assert document["tied"]["verdict"] == "tied"
    assert [table["role"] for table in document["tables"]].count("output") == 0


def test_a_table_reads_in_an_eyes_sweep(run: Program) -> None:
    text = run("info", "small/", "-f", "table").ok().text
    for word in ("326 × 16", "BF16", "10.4 kB", "untied", "320–325", "RoPE", "2,048 tokens"):
        assert word in text
    assert text.index("tables") < text.index("vocabulary") < text.index("position")


def test_tokens_beyond_the_table_and_holes_in_it(run: Program, tmp_path: Path) -> None:
    state = tokenizer_json({})
    first = tokenizer_json()["added_tokens"][0]
    state["added_tokens"] = [{**first, "id": 322, "content": "<a>"}, {**first, "id": 5000, "content": "<b>"}]
    values = table("input")
    tensors = {"model.embed_tokens.weight": ("BF16", values.shape, bfloat16(values))}
    write_single(tmp_path / "m", tensors, config=config(vocab_size=400), tokenizer=state)
    vocabulary = run("info", tmp_path / "m", "--json").ok().document["vocabulary"]
    assert vocabulary["padding"] == [[319, 321], [323, 325]]
    assert vocabulary["padding_rows"] == 6
    assert vocabulary["tokens_without_row"] == 1
    text = run("info", tmp_path / "m", "-f", "table").ok().text
    assert "1 token" in text
    assert "400 in the config, 326 rows in the table" in text


def test_a_table_that_cannot_be_read_is_listed(run: Program, tmp_path: Path) -> None:
    for dtype, shape, size in (("F4", [4, 4], 8), ("I32", [2, 2, 2], 32), ("F128", [3, 1], 48)):
        write_single(tmp_path / "m", {"embed_tokens.weight": (dtype, shape, bytes(size))})
        (found,) = run("info", tmp_path / "m", "--json").ok().document["tables"]
        assert (found["dtype"], found["stored_shape"], found["bytes"]) == (dtype, shape, size)
        run("info", tmp_path / "m", "-f", "table").ok()


def test_a_checkpoint_without_tensors(run: Program, tmp_path: Path) -> None:
    write_single(tmp_path / "m", {})
    write_json(tmp_path / "m" / "config.json", config())
    assert run("info", tmp_path / "m", "--json").ok().document["tables"] == []
    run("row", "id:0", "-m", tmp_path / "m").refused(3, "input table")
