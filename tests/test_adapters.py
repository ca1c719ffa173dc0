"""Adapters: the rows that a loader would use, as peft itself looks them up (`tools/record_adapters.py`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from program import Program
from small_models import config, pieces, safetensors, tokenizer_json, write_json
from sources import Memory

from embtool.errors import BadReference
from embtool.model import Model, open_model
from embtool.references import base_reference

RECORDED = Path(__file__).parent / "data" / "adapters.npz"
FILES = np.load(RECORDED)
CASES = sorted({(name, base) for name, base, _ in (key.split("/") for key in FILES.files) if base})


def write(place: Path, key: str) -> Path:
    """Write the files that peft saved: of a base, or of an adapter."""
    place.mkdir(parents=True, exist_ok=True)
    for name in FILES.files:
        if name.startswith(key) and "." in name:
            (place / name.rpartition("/")[2]).write_bytes(FILES[name].tobytes())
    return place


def write_pair(place: Path, adapter: str, base: str) -> tuple[Path, Path]:
    return write(place / "adapter", f"{adapter}/{base}/"), write(place / "base", f"{base}//")


def opened(place: Path, adapter: str, base: str) -> Model:
    files, below = write_pair(place, adapter, base)
    return open_model(files, base=below)


def settings_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
    return found


def last_place(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a number of BF16 can be off by where a sum was rounded the other way."""
    return (np.abs(rows) * 2.0**-7 + 1e-30).astype(np.float32)


@pytest.mark.parametrize("role", ["input", "output"])
@pytest.mark.parametrize(("adapter", "base"), CASES)
def test_rows_are_those_that_peft_looks_up(tmp_path: Path, adapter: str, base: str, role: str) -> None:
    table = opened(tmp_path, adapter, base).tables.find(role)
    expected = FILES[f"{adapter}/{base}/{role}"]
    found = np.asarray(table)
    assert found.shape == expected.shape
    if base == "half":
        assert (np.abs(found - expected) <= last_place(expected)).all()
        assert (found == expected).mean() > 0.97
    else:
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    np.testing.assert_array_equal(table.rows([5, 0, 23]), found[[5, 0, 23]])


# --- which base, and what of it -------------------------------------------------------------------------------------


def change_settings(adapter: Path, **changes: Any) -> None:
    write_json(adapter / "adapter_config.json", settings_of(adapter) | changes)


def test_the_base_that_it_names_is_opened(run: Program, tmp_path: Path) -> None:
    adapter, base = write_pair(tmp_path, "lora", "untied")
    change_settings(adapter, base_model_name_or_path=str(base))
    answer = run("row", "id:3", "-m", tmp_path / "adapter", "--json").ok()
    np.testing.assert_allclose(answer.document["rows"][0]["values"], FILES["lora/untied/input"][3], rtol=1e-4)
    assert any(f"is an adapter: these are the rows of {base}" in line for line in answer.of("note"))
    open_model(tmp_path / "adapter").rope.rotate(np.ones(4), position=1)  # its positions are the base's


def test_commands_read_on_top_of_the_base(run: Program, tmp_path: Path) -> None:
    adapter, base = write_pair(tmp_path, "tokens", "untied")
    expected = FILES["tokens/untied/input"]
    near = run("neighbors", "id:20", "-m", adapter, "--base", base, "-k", "1", "--json").ok().document
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    scores = unit @ unit[20]
    scores[20] = -2
    assert near["queries"][0]["neighbors"][0]["id"] == int(scores.argmax())
    changed = run("diff", adapter, "--base", base, "--json").ok().document
    assert (changed["a"], changed["b"]) == (str(base), str(adapter))
    assert changed["rows"]["changed"] == 3
    assert sorted(each["id"] for each in changed["differences"]) == [3, 5, 20]
    run("norms", adapter, "--base", base, "--json").ok()
    run("similarity", "id:3", "id:5", "-m", adapter, "--base", base).ok()
    exported = tmp_path / "rows.npy"
    run("export", adapter, "--base", base, "-o", exported).ok()
    np.testing.assert_allclose(np.load(exported), expected, rtol=1e-5)


def test_equal_rows_under_an_adapter_are_found(tmp_path: Path) -> None:
    adapter, base = write_pair(tmp_path, "tokens", "untied")
    model = open_model(adapter, base=base)
    assert model.norms(k=1).statistics.norms[5] == pytest.approx(np.linalg.norm(FILES["tokens/untied/input"][5]), 1e-5)


def test_tables_that_it_brings_need_no_base(tmp_path: Path) -> None:
    model = open_model(write(tmp_path, "saved/untied/"))
    np.testing.assert_array_equal(np.asarray(model.input_table), FILES["saved/untied/input"])
    assert model.base is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base_model_name_or_path": None}, "names no base"),
        ({"base_model_name_or_path": "./nothing"}, "no such file or folder"),
        ({"lora_alpha": "x"}, "is no number: 'x'"),
        ({"alpha_pattern": {"(a+)+$": 3}}, "an expression that is not read"),
        ({"use_qalora": True}, "use_qalora"),
    ],
)
def test_settings_that_do_not_tell_are_refused(
    run: Program, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    adapter, base = write_pair(tmp_path, "lora", "untied")
    change_settings(adapter, **{"base_model_name_or_path": str(base), **change})
    answer = run("row", "id:3", "-m", adapter)
    assert answer.status in (2, 3, 6)
    assert words in answer.errors


def test_an_adapter_that_does_not_fit_is_refused(run: Program, tmp_path: Path) -> None:
    adapter, _ = write_pair(tmp_path, "lora", "untied")
    small = write(tmp_path / "small", "gpt2//")
    rows = safetensors({"transformer.wte.weight": ("F32", (9, 8), bytes(288))})
    (small / "model.safetensors").write_bytes(rows)
    for name in ("lora", "tokens"):
        files = write(tmp_path / name, f"{name}/untied/")
        run("row", "id:3", "-m", files, "--base", small).refused(6, "changes model.embed_tokens, which")
    files = write(tmp_path / "wte", "gpt2/gpt2/")
    run("row", "id:3", "-m", files, "--base", small).refused(6, "does not fit its base")
    run("row", "id:3", "-m", adapter, "--base", adapter).refused(2, "is an adapter itself")
    run("row", "id:3", "-m", small, "--base", small).refused(2, "is no adapter")


def test_an_adapter_of_a_repository_names_no_place_here() -> None:
    there = Memory({}, "org/adapter")
    there.local = False
    assert base_reference("org/base", there) == "hf://org/base"
    assert base_reference("gpt2", there) == "hf://gpt2"
    for place in ("/etc", "../x", "C:\\x", "~/m", "x.safetensors"):
        with pytest.raises(BadReference, match="a place on the machine of who made it"):
            base_reference(place, there)


# --- what info tells ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapter", "base", "ways"),
    [
        ("lora", "untied", [("input", "whole table", 24), ("input", "LoRA", 24)]),
        ("dora", "untied", [("input", "whole table", 24), ("input", "DoRA", 24), ("output", "whole table", 24)]),
        ("saved", "untied", [("input", "whole table", 24), ("output", "whole table", 24)]),
        ("tokens", "untied", [("input", "rows of tokens", 3)]),
        ("prompt", "untied", [("prompt", "vectors before the text", 4)]),
        ("plain", "untied", []),
    ],
)
def test_info_tells_what_it_brings(
    run: Program, tmp_path: Path, adapter: str, base: str, ways: list[tuple[str, str, int]]
) -> None:
    found = run("info", write(tmp_path, f"{adapter}/{base}/"), "--json").ok().document["adapter"]
    assert found["base"] == base
    told = [(table["role"], table["way"], table["rows"]) for table in found["tables"]]
    assert told[: len(ways)] == ways
    assert bool(told) == bool(ways)
    assert 0 <= found["table_bytes"] + found["unused_bytes"] <= found["bytes"]


def test_info_tells_what_makes_it_large(run: Program, tmp_path: Path) -> None:
    folder = write(tmp_path, "resized/untied/")
    found = run("info", folder, "--json").ok().document["adapter"]
    assert found["table_bytes"] == 2 * 27 * 8 * 4
    assert found["unused_bytes"] == 4 * 27 * 8 * 4
    shown = run("info", folder, "-f", "table").ok().text
    assert "copies of tables that no loader needs 3.46 kB" in " ".join(shown.split())


def test_info_of_a_broken_adapter_shows_the_rest(run: Program, tmp_path: Path) -> None:
    folder = write(tmp_path, "saved/untied/")
    (folder / "adapter_config.json").write_text("{")
    answer = run("info", folder, "--json")
    assert answer.status == 6
    assert [each["part"] for each in answer.document["broken"]] == ["config"]
    assert len(answer.document["tables"]) == 2
    (found,) = run("check", folder, "--json").document["findings"]
    assert (found["rule"], found["file"]) == ("damaged-config", "adapter_config.json")


# --- vLLM's new rows, textual inversions, draft heads -----------------------------------------------------------------


def test_new_rows_follow_those_of_the_base(tmp_path: Path) -> None:
    adapter, base = write_pair(tmp_path, "lora", "untied")
    new = np.arange(16, dtype="<f4").reshape(2, 8)
    content = safetensors({"input_embeddings": ("F32", (2, 8), new.tobytes())})
    (adapter / "new_embeddings.safetensors").write_bytes(content)
    table = open_model(adapter, base=base).input_table
    assert table.shape == (26, 8)
    np.testing.assert_array_equal(table.rows([24, 25]), new)
    np.testing.assert_allclose(table.rows(range(24)), FILES["lora/untied/input"], rtol=2e-5, atol=2e-6)
    np.testing.assert_array_equal(np.asarray(table), table.rows(range(26)))


def test_new_rows_of_a_tied_base(tmp_path: Path) -> None:
    base = write(tmp_path / "base", "tied//")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    new = np.arange(16, dtype="<f4").reshape(2, 8)
    tensors = {"output_embeddings": ("F32", (2, 8), new.tobytes()), "input_embeddings": ("F32", (1, 8), bytes(32))}
    (adapter / "new_embeddings.safetensors").write_bytes(safetensors(tensors))
    model = open_model(adapter, base=base)
    assert (model.input_table.shape, model.output_table.shape) == ((25, 8), (26, 8))
    np.testing.assert_array_equal(model.output_table.rows([24, 25]), new)
    np.testing.assert_array_equal(model.output_table[3], open_model(base).input_table[3])


VECTORS = np.arange(24, dtype="<f4").reshape(3, 8)


@pytest.mark.parametrize("shape", [(3, 8), (8,)])
def test_a_textual_inversion_is_a_table_of_its_words(run: Program, tmp_path: Path, shape: tuple[int, ...]) -> None:
    file = tmp_path / "learned_embeds.safetensors"
    count = shape[0] if len(shape) == 2 else 1
    file.write_bytes(safetensors({"<cat-toy>": ("F32", shape, VECTORS[:count].tobytes())}))
    for place in (file, tmp_path):
        found = run("info", place, "--json").ok().document
        assert found["adapter"]["kind"] == "textual inversion"
        assert found["tables"][0]["shape"] == [count, 8]
        assert run("check", place, "--deep", "--json").ok().document["findings"] == []
    row = run("row", "<cat-toy>", "-m", file, "--json").ok().document["rows"][0]
    assert (row["id"], row["values"]) == (0, VECTORS[0].tolist())
    if count > 1:
        assert open_model(file)["<cat-toy>_2"].tolist() == VECTORS[2].tolist()
    base = write(tmp_path / "base", "untied//")
    table = open_model(file, base=base).input_table
    assert table.shape == (24 + count, 8)
    assert table[24].tolist() == VECTORS[0].tolist()
    np.testing.assert_array_equal(table[:24], open_model(base).input_table[:24])


def test_of_an_inversion_for_two_encoders_the_one_that_fits_counts(run: Program, tmp_path: Path) -> None:
    file = tmp_path / "sdxl.safetensors"
    tensors = {"clip_g": ("F32", (1, 12), bytes(48)), "clip_l": ("F32", (2, 8), VECTORS[:2].tobytes())}
    file.write_bytes(safetensors(tensors))
    base = write(tmp_path / "base", "untied//")
    assert open_model(file, base=base).input_table[25].tolist() == VECTORS[1].tolist()
    assert len(run("row", "id:0", "-m", file, "--table", "clip_g", "--json").ok().document["rows"][0]["values"]) == 12
    wide = write(tmp_path / "wide", "gpt2//")
    (wide / "model.safetensors").write_bytes(safetensors({"transformer.wte.weight": ("F32", (9, 5), bytes(180))}))
    run("row", "id:0", "-m", file, "--base", wide).refused(6, "the rows of")


@pytest.mark.parametrize("name", ["a.weight", "table", "model.embed_tokens.weight"])
def test_what_is_no_textual_inversion(tmp_path: Path, name: str) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(safetensors({name: ("F32", (3, 8), VECTORS.tobytes())}))
    assert open_model(file).adapter is None


def write_draft(folder: Path, moved: list[int], **settings: Any) -> Path:
    """Write a head as EAGLE-3 has it: it predicts 4 of the 7 tokens."""
    folder.mkdir()
    tensors = {
        "midlayer.self_attn.q_proj.weight": ("F32", (2, 4), bytes(32)),
        "fc.weight": ("F32", (2, 6), bytes(48)),
        "lm_head.weight": ("F32", (4, 2), np.arange(8, dtype="<f4").tobytes()),
        "d2t": ("I64", (4,), np.array(moved, "<i8").tobytes()),
        "t2d": ("BOOL", (len(pieces()) + 1,), bytes(len(pieces()) + 1)),
    }
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
    known = config(vocab_size=len(pieces()) + 1, hidden_size=2, num_attention_heads=1, draft_vocab_size=4)
    write_json(folder / "config.json", {**known, "architectures": ["LlamaForCausalLMEagle3"], **settings})
    write_json(folder / "tokenizer.json", tokenizer_json())
    return folder


def test_a_draft_head_names_rows_by_its_own_tokens(run: Program, tmp_path: Path) -> None:
    draft = write_draft(tmp_path / "draft", [0, 2, 2, 5])
    found = run("info", draft, "--json").ok().document
    assert found["draft"] == {"kind": "EAGLE-3", "rows": 4, "target_rows": len(pieces()) + 1}
    assert [table["role"] for table in found["tables"]] == ["output"]
    rows = run("row", "id:0..3", "-m", draft, "--table", "output", "--json").ok().document["rows"]
    assert [row["piece"] for row in rows] == [pieces()[identity] for identity in (0, 3, 4, 8)]
    found = run("row", f"piece:{pieces()[3]}", "-m", draft, "--table", "output", "--json").ok().document["rows"][0]
    assert (found["id"], found["values"]) == (1, [2.0, 3.0])
    run("row", f"piece:{pieces()[5]}", "-m", draft, "--table", "output").refused(3, "no piece")
    assert run("check", draft, "--deep", "--json").ok().document["findings"] == []


def test_a_draft_head_whose_mapping_leads_nowhere(run: Program, tmp_path: Path) -> None:
    draft = write_draft(tmp_path / "draft", [0, 2, 2, 5000])
    run("row", "id:0", "-m", draft, "--table", "output").refused(6, "leads to tokens that the target does not have")


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ({"fc.weight": (8, 16), "layers.0.self_attn.q_proj.weight": (8, 8), "embed_tokens.weight": (24, 8)}, "EAGLE"),
        ({"0.0.linear.weight": (8, 8), "0.0.linear.bias": (8,), "0.1.weight": (24, 8)}, "Medusa"),
        ({"fc.weight": (8, 8), "layers.0.self_attn.q_proj.weight": (8, 8)}, None),
        ({"model.embed_tokens.weight": (24, 8)}, None),
    ],
)
def test_kinds_of_draft_heads(tmp_path: Path, names: dict[str, tuple[int, ...]], kind: str | None) -> None:
    tensors = {name: ("F32", shape, bytes(4 * int(np.prod(shape)))) for name, shape in names.items()}
    (tmp_path / "model.safetensors").write_bytes(safetensors(tensors))
    draft = open_model(tmp_path).draft
    assert (None if draft is None else draft.kind) == kind
