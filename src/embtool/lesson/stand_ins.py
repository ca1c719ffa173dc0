"""Stand-ins for models that are too large, or too far away, to show on a page.

Each is a folder that embtool opens as it opens the real thing. What is real in them and what is made up is said below,
and in the tutorial, which shows them.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from embtool.errors import InvalidArgument, LocalFailure
from embtool.model import open_model
from embtool.references import bundled_folder

POSITIONS = 1024
"""How far GPT-2 reads, and so how many rows its position table has."""

WAVES = (1, 2, 4, 8, 16, 32, 64)
"""How many times each wave of the made-up position table goes up and down over all positions."""


def gpt2_like(folder: Path) -> None:
    """The bundled rows in the layout of GPT-2: one table for both ends, and a table of positions.

    GPT-2 learned its position table. This one is drawn, smooth, so that places side by side have similar rows.
    """
    model = open_model("mini")
    rows, width = model.input_table.shape
    chance = np.random.default_rng(2)
    turns = np.outer(np.arange(POSITIONS) / POSITIONS, WAVES) * 2 * np.pi
    waves = np.hstack([np.sin(turns), np.cos(turns)]) / np.sqrt(np.tile(WAVES, 2))
    positions = waves @ chance.normal(size=(waves.shape[1], width)) / np.sqrt(width)
    positions += 0.01 * chance.normal(size=positions.shape)
    tables = {"wte.weight": model.input_table.rows(range(rows)), "wpe.weight": positions.astype(np.float32)}
    save_file(tables, folder / "model.safetensors")
    settings = {"model_type": "gpt2", "vocab_size": rows, "n_embd": width, "n_positions": POSITIONS}
    write(folder / "config.json", {"architectures": ["GPT2LMHeadModel"], **settings, "n_head": 2, "n_layer": 12})
    shutil.copy(bundled_folder() / "tokenizer.json", folder)


def qwen36_settings(folder: Path) -> None:
    """The settings of Qwen3.6-27B that say how it reads and where it stands, and no weights."""
    rope = {"rope_type": "default", "rope_theta": 10_000_000, "partial_rotary_factor": 0.25}
    settings = {"vocab_size": 248_320, "hidden_size": 5120, "max_position_embeddings": 262_144}
    heads = {"num_attention_heads": 24, "num_key_value_heads": 4, "head_dim": 256, "num_hidden_layers": 64}
    types = ["linear_attention", "linear_attention", "linear_attention", "full_attention"] * 16
    text = {"model_type": "qwen3_5_text", **settings, **heads, "dtype": "bfloat16"}
    text |= {"layer_types": types, "rope_parameters": rope}
    write(folder / "config.json", {"model_type": "qwen3_5", "text_config": text, "tie_word_embeddings": False})


def tuned(folder: Path) -> None:
    """The bundled model as a careless fine-tuning might leave it.

    Every 32nd row has moved a little, that of strawberry half the way to pod; the rows without a token are cut off;
    the config stretches positions by four; and all is stored in float32, in twice as many bytes.
    """
    model = open_model("mini")
    chance, size = np.random.default_rng(3), len(model.vocabulary.ids)
    tables = {}
    for table in (model.input_table, model.output_table):
        rows = table.rows(range(size))
        if table is model.input_table:
            rows[::32] += (0.02 * chance.normal(size=rows[::32].shape)).astype(np.float32)
            fruit, pod = (model.vocabulary.find(text).id for text in (" strawberry", " pod"))
            rows[fruit] = (rows[fruit] + rows[pod]) / 2
        tables[table.tensor.name] = rows
    save_file(tables, folder / "model.safetensors")
    config = json.loads((bundled_folder() / "config.json").read_text("utf-8"))
    stretched = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 262_144}
    config |= {"vocab_size": size, "rope_parameters": config["rope_parameters"] | stretched}
    write(folder / "config.json", config | {"max_position_embeddings": 4 * 262_144})
    shutil.copy(bundled_folder() / "tokenizer.json", folder)


def write(path: Path, settings: dict[str, object]) -> None:
    """Write a config.json."""
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


MODELS = {"gpt2-like": gpt2_like, "qwen3.6-settings": qwen36_settings, "tuned": tuned}


def make_stand_ins(names: Sequence[str] = ()) -> list[str]:
    """Make stand-ins in the working folder, all or those named, and return their names.

    Raises:
        InvalidArgument: there is none of that name.
        LocalFailure: the folder cannot be written.
    """
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        raise InvalidArgument(f"there is no stand-in {unknown[0]!r}: they are {', '.join(MODELS)}")
    for name in names or MODELS:
        try:
            Path(name).mkdir(exist_ok=True)
            MODELS[name](Path(name))
        except OSError as error:
            raise LocalFailure(f"cannot make {name}: {error.strerror or error}") from error
    return list(names or MODELS)
