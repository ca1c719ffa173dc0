from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from program import Program
from safetensors.numpy import save_file
from small_models import (
    PADDING,
    WIDTH,
    Tensor,
    bfloat16,
    config,
    float32,
    pieces,
    table,
    texts,
    tokenizer_json,
    write_json,
    write_single,
)

from embtool import open_model

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
    state["model"]["vocab"] |= {"<a>": 322, "<b>": 5000}
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


def _totals(run: Program, name: Path) -> dict[str, object]:
    totals: dict[str, object] = run("info", name, "--json").ok().document["totals"]
    return totals


def _write(folder: Path, tensors: dict[str, NDArray[Any]], **settings: Any) -> None:
    folder.mkdir()
    write_json(folder / "config.json", config(**settings))
    save_file(tensors, folder / "model.safetensors")


def test_parameters_are_those_of_every_shard_and_no_weight_is_read(run: Program, tmp_path: Path) -> None:
    (tmp_path / "cut").mkdir()
    write_json(tmp_path / "cut" / "config.json", config())
    index = {"model.embed_tokens.weight": "a.safetensors", "model.layers.0.w": "b.safetensors"}
    write_json(tmp_path / "cut" / "model.safetensors.index.json", {"weight_map": index})
    save_file({"model.embed_tokens.weight": np.ones((ROWS, WIDTH), np.float16)}, tmp_path / "cut" / "a.safetensors")
    save_file({"model.layers.0.w": np.ones((3, 5, 7), np.float32)}, tmp_path / "cut" / "b.safetensors")
    whole = run("info", tmp_path / "cut", "--json").ok().document
    assert whole["totals"] == {"parameters": ROWS * WIDTH + 105, "bytes": ROWS * WIDTH * 2 + 420, "uncounted": 0}
    (table,) = whole["tables"]
    assert table["parameters_share"] == pytest.approx(ROWS * WIDTH / (ROWS * WIDTH + 105))
    assert table["bytes_share"] == pytest.approx(ROWS * WIDTH * 2 / (ROWS * WIDTH * 2 + 420))
    assert whole["cost"]["bytes"] < ROWS * WIDTH
    (tmp_path / "cut" / "b.safetensors").unlink()
    alone = run("info", tmp_path / "cut", "--json").ok()
    assert alone.document["totals"] is None
    assert alone.document["tables"][0]["shape"] == [ROWS, WIDTH]
    assert "parameters are not counted" in alone.errors


def test_what_is_no_parameter_is_not_counted(run: Program, tmp_path: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {
        "wte.weight": np.ones((ROWS, WIDTH), np.float32),
        "h.0.attn.bias": np.ones((1, 1, 32, 32), np.float32),
        "h.0.attn.masked_bias": np.ones((), np.float32),
        "h.0.attn.c_attn.bias": np.ones(48, np.float32),
        "embeddings.position_ids": np.ones((1, 32), np.int64),
    }
    _write(tmp_path / "masks", tensors, model_type="gpt2")
    assert _totals(run, tmp_path / "masks")["parameters"] == ROWS * WIDTH + 48


def test_packed_tensors_count_what_they_stand_for_or_are_said_to_be_unknown(run: Program, tmp_path: Path) -> None:
    fp8: dict[str, NDArray[Any]] = {
        "model.embed_tokens.weight": np.ones((ROWS, WIDTH), np.float16),
        "model.layers.0.mlp.weight": np.ones((128, 32), np.int8),
        "model.layers.0.mlp.weight_scale": np.ones((128, 1), np.float32),
        "model.layers.0.awq.qweight": np.ones((64, 8), np.int32),
        "model.layers.0.awq.qzeros": np.ones((1, 8), np.int32),
        "model.layers.0.awq.scales": np.ones((1, 64), np.float16),
        "experts.gate_up_proj_blocks": np.ones((2, 4, 3, 16), np.uint8),
        "experts.gate_up_proj_scales": np.ones((2, 4, 3), np.uint8),
    }
    packing = {"quant_method": "awq", "bits": 4}
    _write(tmp_path / "packed", fp8, quantization_config=packing)
    known = ROWS * WIDTH + 128 * 32 + 64 * 64 + 2 * 4 * 3 * 32
    assert _totals(run, tmp_path / "packed") == {
        "parameters": known,
        "bytes": sum(t.nbytes for t in fp8.values()),
        "uncounted": 0,
    }
    unknown = {**fp8, "model.layers.1.mlp.weight": np.ones((512, 1), np.uint8)}
    _write(tmp_path / "unknown", unknown, quantization_config=packing)
    assert (_totals(run, tmp_path / "unknown")["parameters"], _totals(run, tmp_path / "unknown")["uncounted"]) == (
        None,
        1,
    )
    shown = " ".join(run("info", tmp_path / "unknown", "-f", "table").ok().text.split())
    assert "how many parameters is not known: 1 tensor packed in a way that embtool does not know" in shown
    assert "of the bytes" in shown
    assert "of the parameters" not in shown


@pytest.mark.parametrize(
    ("settings", "line", "nbytes"),
    [
        ({"dtype": "bfloat16"}, "248,320 × 5,120, 2.54 GB each in BF16", 2_542_796_800),
        ({"torch_dtype": "float32", "tie_word_embeddings": True}, "248,320 × 5,120, 5.09 GB in F32", 5_085_593_600),
        ({}, "248,320 × 5,120; its dtype is not given", None),
        ({"dtype": "bfloat16", "quantization_config": {}}, "248,320 × 5,120, 2.54 GB each in BF16", 2_542_796_800),
    ],
)
def test_a_config_alone_says_how_large_the_table_is(
    run: Program, tmp_path: Path, settings: dict[str, Any], line: str, nbytes: int | None
) -> None:
    (tmp_path / "alone").mkdir()
    write_json(tmp_path / "alone" / "config.json", config(vocab_size=248_320, hidden_size=5120, **settings))
    assert f"by its config {line}" in run("info", tmp_path / "alone", "-f", "table").ok().text
    document = run("info", tmp_path / "alone", "--json").ok().document
    assert (document["by_config"]["rows"], document["by_config"]["width"]) == (248_320, 5120)
    assert document["by_config"]["bytes"] == nbytes
    assert (document["tables"], document["totals"], document["tied"]) == ([], None, None)


KEYS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
REAL = Path(os.environ.get("EMBTOOL_TEST_REAL", "/nowhere")) / "configs"


@pytest.mark.skipif(not REAL.is_dir(), reason="EMBTOOL_TEST_REAL names no folder of real configs")
@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("qwen3.5-27b", (5120, 64, 24, 4, 256)),
        ("qwen2.5-0.5b", (896, 24, 14, 2, 64)),
        ("deepseek-v3", (7168, 61, 128, None, 192)),
        ("glm-4-9b-chat", (4096, 40, 32, 2, 128)),
        ("gemma-4-26b-a4b", (2816, 30, 16, None, None)),
        ("t5-small", (512, 6, 8, None, 64)),
    ],
)
def test_the_sizes_of_real_models(run: Program, name: str, facts: tuple[int | None, ...]) -> None:
    document = run("info", str(REAL / name), "--json").ok().document
    assert tuple(document[key] for key in KEYS) == facts


@pytest.mark.parametrize("name", ["small", "tied", "gpt2"])
def test_tying_is_told_in_the_same_words_everywhere(run: Program, name: str) -> None:
    sentence = open_model(run.folder / name).tables.tying.sentence
    assert sentence in run("info", f"{name}/", "-f", "table").ok().text
    assert sentence in run("undertrained", "-m", f"{name}/", "--json").ok().document["why"]
    assert sentence[1:] in json.dumps(run("learn", "5", "-m", f"{name}/", "--json").ok().document)


# --- one bad part hides nothing ---------------------------------------------------------------------------------------


def float32_table(rows: int) -> Tensor:
    return ("F32", (rows, WIDTH), float32(np.arange(rows * WIDTH, dtype=np.float64).reshape(rows, WIDTH)))


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n"


@pytest.mark.parametrize(
    ("file", "content", "part", "words"),
    [
        ("tokenizer.json", LFS, "tokenizer", "a Git LFS pointer"),
        ("tokenizer.json", b"<!doctype html>", "tokenizer", "an HTML or XML page"),
        ("tokenizer.json", b"{", "tokenizer", "tokenizer.json"),
        ("config.json", LFS, "config", "a Git LFS pointer"),
        ("config.json", b"{", "config", "config.json"),
        ("model.safetensors", LFS, "weights", "a Git LFS pointer"),
        ("model.safetensors", b"\x10", "weights", "model.safetensors"),
    ],
)
def test_a_bad_part_hides_none_of_the_others(
    run: Program, tmp_path: Path, file: str, content: bytes, part: str, words: str
) -> None:
    tables = {"model.embed_tokens.weight": float32_table(len(pieces()) + 1)}
    write_single(tmp_path / "m", tables, config=config(vocab_size=len(pieces()) + 1), tokenizer=tokenizer_json())
    (tmp_path / "m" / file).write_bytes(content)
    answer = run("info", tmp_path / "m", "--json")
    assert answer.status == 6
    (broken,) = answer.document["broken"]
    assert broken["part"] == part
    assert words in broken["message"]
    assert words in answer.of("warning")[0]
    assert bool(answer.document["tables"]) == (part != "weights")
    assert (answer.document["vocabulary"] or {}).get("tokens") == (None if part == "tokenizer" else len(pieces()) + 1)
    assert (answer.document["position"] is None) == (part == "config")
    shown = run("info", tmp_path / "m", "-f", "table")
    assert shown.status == 6
    assert "cannot be read" in shown.text


def test_a_table_that_does_not_fit_hides_no_other(run: Program, tmp_path: Path) -> None:
    rows = len(pieces()) + 1
    tables = {
        "model.embed_tokens.weight": float32_table(rows),
        "lm_head.weight": ("U32", (rows, 2), bytes(8 * rows)),
        "lm_head.scales": ("F32", (rows, 7), bytes(28 * rows)),
        "lm_head.biases": ("F32", (rows, 7), bytes(28 * rows)),
    }
    settings = config(vocab_size=rows, quantization={"bits": 4, "group_size": 32})
    write_single(tmp_path / "m", tables, config=settings, tokenizer=tokenizer_json())
    answer = run("info", tmp_path / "m", "--json")
    (broken,) = answer.document["broken"]
    assert (answer.status, broken["part"]) == (6, "weights")
    assert "lm_head.weight" in broken["message"]
    assert [table["tensor"] for table in answer.document["tables"]] == ["model.embed_tokens.weight"]
    document = run("check", tmp_path / "m", "--deep", "--json").document
    assert [finding["rule"] for finding in document["findings"] if finding["severity"] == "error"] == ["damaged-shard"]
    assert {"nonfinite-rows", "tokens-beyond-table"} <= set(document["looked"])


def test_params_json_stands_for_a_config(run: Program, tmp_path: Path) -> None:
    write_single(tmp_path / "m", {"tok_embeddings.weight": float32_table(20)})
    params = {"dim": WIDTH, "n_layers": 2, "n_heads": 2, "vocab_size": -1, "rope_theta": 500000.0}
    (tmp_path / "m" / "params.json").write_text(json.dumps({**params, "use_scaled_rope": True}))
    document = run("info", tmp_path / "m", "--json").ok().document
    assert document["hidden_size"] == WIDTH
    assert document["num_hidden_layers"] == 2
    (layer,) = document["position"]["layers"]
    assert (layer["rope_theta"], layer["rope_type"], layer["layout"]) == (500000.0, "llama3", "interleaved")
    assert document["position"]["context_length"] is None
    yarn = {"factor": 4, "original_max_position_embeddings": 4096, "beta": 16, "alpha": 2, "apply_scale": False}
    (tmp_path / "m" / "params.json").write_text(json.dumps({**params, "yarn": yarn}))
    (layer,) = run("info", tmp_path / "m", "--json").ok().document["position"]["layers"]
    assert (layer["rope_type"], layer["factor"], layer["beta_fast"], layer["attention_factor"]) == ("yarn", 4, 16, 1)
    (tmp_path / "m" / "params.json").write_text("[")
    answer = run("info", tmp_path / "m", "--json")
    assert (answer.status, answer.document["broken"][0]["part"]) == (6, "config")
