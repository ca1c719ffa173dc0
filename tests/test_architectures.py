"""Every architecture of transformers, as it was observed (`tools/families`): embtool says the same of it."""

import gzip
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embtool import open_model
from embtool.configs.architectures import architecture, recorded_types
from embtool.model import Model
from embtool.positions import Rope
from embtool.rope import frequencies

DATA = Path(__file__).parent / "data" / "architectures.jsonl.gz"
ORACLE: list[dict[str, Any]] = [json.loads(line) for line in gzip.decompress(DATA.read_bytes()).splitlines()]


APART = {
    "cohere_asr": "its head has a name like no other, and is not in the data",
    "decision_transformer": "reads numbers, and has a table of one row",
    "dia_decoder": "has a table for each of nine codebooks",
    "fsmt": "transformers names its decoder's input table as the output table, and predicts with another",
    "minimax_m3_vl": "turns all channels, against its own docstring (docs/positions.md, Decisions)",
    "minimax_m3_vl_text": "turns all channels, against its own docstring (docs/positions.md, Decisions)",
    "encoder-decoder": "its output table is the decoder's, which ties itself to a table that is not the input table",
    "ovis2": "made small, its head is narrower than its rows",
    "parakeet_tdt": "its head also predicts how long a token lasts",
    "pop2piano-flipped": "its tables are always two, whatever is said; then the encoder has one more of its own",
    "rag": "its input table is that of the encoder of questions, a model beside it",
    "roformer": "what turns there is a method, and was not seen",
}
"""Types on which embtool and what was seen are known to differ, and why."""


NAMELESS = re.compile(
    r"relative|\.w\.weight|query_\d+|reference_points|pe_k|original0|conv|rel_pos_emb|distance_embedding|"
    r"audio(_tower)?\.encoder\.weight|gemma_expert\.lm_head|position_embeddings\.weights\.\d"
)
"""Looked up too, but told under other names or not at all: biases of blocks, anchors of detectors, convolutions, two
axes of positions that are one table."""

TOLD = [
    entry
    for entry in ORACLE
    if not {entry["type"], f"{entry['type']}-{entry['variant']}"} & APART.keys()
    and set(entry.get("input", ())) <= entry["tensors"].keys()  # else it is not in the data
]


def name_of(entry: dict[str, Any]) -> str:
    return f"{entry['type']}-{entry['variant']}"


def folder(at: Path, entry: dict[str, Any]) -> Path:
    """A checkpoint of which only the shapes are real; an output table of its own differs from the rest."""
    header, start = {}, 0
    for name, shape in entry["tensors"].items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, start + size]}
        start += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (at / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + start)
        for name in header.keys() & set(entry.get("output", ())):
            file.seek(8 + len(text) + header[name]["data_offsets"][0])
            file.write(np.float32(1).tobytes())
    (at / "config.json").write_text(json.dumps(entry["config"]))
    return at


@pytest.fixture
def model(tmp_path: Path, entry: dict[str, Any]) -> Iterator[Model]:
    with open_model(folder(tmp_path, entry)) as opened:
        yield opened


@pytest.mark.few(120)
@pytest.mark.parametrize("entry", TOLD, ids=name_of)
def test_an_architecture_is_read_as_it_was_observed(model: Model, entry: dict[str, Any]) -> None:
    stored = {table.role: table.tensor.name for table in model.tables.stored}
    if entry.get("input"):
        assert stored["input"] in entry["input"]
    if "verdict" in entry:
        assert model.tables.tying.verdict == entry["verdict"]
    if entry.get("output"):
        assert stored["output"] in entry["output"]
    if entry.get("turned"):
        assert isinstance(model.positions, Rope)
        rotations_agree(model.positions, entry["turned"])
    elif "turned" in entry and isinstance(model.positions, Rope):
        assert not any(layer.layers for layer in model.positions.layers)
    # lists of special ids were not made as small as the vocabularies of these models
    assert [each for each in model.check() if each.severity != "info" and each.rule != "special-id"] == []


@pytest.mark.few(80)
@pytest.mark.parametrize("entry", ORACLE, ids=name_of)
def test_every_table_that_is_looked_up_is_listed(model: Model, entry: dict[str, Any]) -> None:
    listed = {table.tensor.name for table in model.tables.stored}
    if not {"input", "output"} & {table.role for table in model.tables.stored}:
        pytest.skip("a tower without a table of tokens")
    several = [name for name in entry["embeddings"] if entry["tensors"][name][-2] > 1]
    assert [name for name in several if name not in listed and not NAMELESS.search(name)] == []


def rotations_agree(rope: Rope, turned: dict[str, Any]) -> None:
    """Hold each layer's rotation against what was seen of it."""
    for index, (layout, end, clockwise, pairs, inverse) in turned.items():
        settings = [each.settings for each in rope.layers if each.layers is None or int(index) in each.layers]
        assert settings, index
        if any(each.layout is None for each in settings):
            continue  # told as not known
        told = [
            (
                each.layout,
                each.clockwise,
                each.pairs,
                each.turning_width < each.head_dim and each.rotated_part == "last",
            )
            for each in settings
        ]
        assert any(one[:3] == (layout, clockwise, pairs) and (end == "last") in (one[3], False) for one in told), told
        places = [0, 1, pairs // 2, pairs - 1][: len(inverse)]
        assert any(
            each.pairs == pairs and np.allclose(frequencies(each).inv_freq[places], inverse, rtol=1e-6)
            for each in settings
        ), (index, inverse)


def test_the_recording_can_be_read() -> None:
    assert len(recorded_types()) > 400
    for name in recorded_types():
        found = architecture(name)
        assert found is not None
        assert found.shape is not None or found.text, name


def test_what_transformers_does_not_know_is_not_recorded() -> None:
    assert architecture("unheard-of") is None
