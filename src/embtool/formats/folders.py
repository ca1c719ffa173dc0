"""Models in folders of a folder: diffusers' `text_encoder/`, sentence-transformers' modules, the hub's own cache.

A folder that is no model itself may hold some. They are named, so that one can be chosen; none is guessed.
"""

from pathlib import PurePosixPath

from embtool.storage.source import Source

WEIGHTS = (".safetensors", ".gguf", ".vec")
SIGNS = frozenset({"config.json", "tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model"})
"""Files that show that a folder is a model, or a part of one."""

LISTED = 6
"""Folders named in a hint."""

TABLES_ARE_IN = ("text_encoder", "transformer", "0_", "checkpoint", "snapshots")
"""How folders begin that are more likely to have a table of tokens than those beside them."""

NOT_MODELS = frozenset({"blobs", "refs", "scheduler", "safety_checker", "feature_extractor"})


def models_below(source: Source) -> list[str]:
    """List the folders below a model's that hold weights, or, where none does, a config or a tokenizer.

    Those that likely have a table of tokens come first; a folder within a listed one is not listed.
    """
    with_weights, with_signs = set[str](), set[str]()
    for file in source.files():
        if "/" not in file:
            continue
        path = PurePosixPath(file)
        folder = path.parent.as_posix()
        if not NOT_MODELS.isdisjoint(path.parts):
            continue
        if file.endswith(WEIGHTS):
            with_weights.add(folder)
        elif path.name in SIGNS:
            with_signs.add(folder)
    found = sorted(with_weights or with_signs)
    outermost = [folder for folder in found if not any(folder.startswith(f"{other}/") for other in found)]
    return sorted(outermost, key=lambda folder: (not folder.startswith(TABLES_ARE_IN), folder))


def hint_of_folders(source: Source) -> str | None:
    """Say how a model in a folder of this one is named, or None where there is none."""
    below = models_below(source)
    if not below:
        return None
    more = f" and {len(below) - LISTED} more" if len(below) > LISTED else ""
    named = ", ".join(f"{source.name.rstrip('/')}#{folder}" for folder in below[:LISTED])
    return f"it has models in folders, name one: {named}{more}"
