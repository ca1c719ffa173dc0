"""Stand-ins for models that are too far away to show on a page: folders that embtool opens as it opens the real thing.

What is real in them and what is made up is said below, and on the pages that show them.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.numpy import save_file

from embtool.arrays import np
from embtool.errors import InvalidArgument, trying_to
from embtool.model import open_model
from embtool.references import bundled_folder
from embtool.settings import BUNDLED_MODELS


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


MODELS = {"tuned": tuned}


def make_stand_ins(names: Sequence[str] = ()) -> list[str]:
    """Make stand-ins in the working folder, all or those named, and return their names.

    Raises:
        InvalidArgument: there is none of that name.
        LocalFailure: the folder cannot be written.
    """
    unknown = [name for name in names if name not in MODELS]
    if unknown and unknown[0] in BUNDLED_MODELS:
        raise InvalidArgument(f"{unknown[0]} need not be made: it comes with embtool", hint=f"-m {unknown[0]} opens it")
    if unknown:
        raise InvalidArgument(f"there is no stand-in {unknown[0]!r}: they are {', '.join(MODELS)}")
    for name in names or MODELS:
        with trying_to(f"make {name}"):
            Path(name).mkdir(exist_ok=True)
            MODELS[name](Path(name))
    return list(names or MODELS)
