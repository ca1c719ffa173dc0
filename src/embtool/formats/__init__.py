"""The checkpoint formats, one file each; a format only parses headers.

To add one: write `formats/x.py` with `open_checkpoint(source) -> Checkpoint | None` and name it in `FORMATS`.
"""

from collections.abc import Callable

from embtool.checkpoint import Checkpoint
from embtool.errors import TableNotFound, UnsupportedFormat
from embtool.formats import safetensors
from embtool.source import Source

FORMATS: tuple[Callable[[Source], Checkpoint | None], ...] = (safetensors.open_checkpoint,)
"""Tried in order; the first that finds its files opens the model."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Suffixes of checkpoints that run code when they are loaded: never opened."""

FOREIGN = {".gguf": "GGUF", ".h5": "Keras", ".msgpack": "Flax", ".onnx": "ONNX", ".npz": "MLX or numpy"}
"""Suffixes of formats that are named in the refusal."""


def open_checkpoint(source: Source) -> Checkpoint:
    """Open a model's tensors in whatever format it has.

    Raises:
        UnsupportedFormat: it has only formats that embtool does not read; the message says which, and the way out.
        TableNotFound: it has no checkpoint at all.
    """
    for opener in FORMATS:
        checkpoint = opener(source)
        if checkpoint is not None:
            return checkpoint
    raise missing(source)


def missing(source: Source) -> UnsupportedFormat | TableNotFound:
    """Say why a model without readable tensors is refused."""
    files = [file for file in source.files() if "/" not in file]
    pickles = [file for file in files if file.endswith(PICKLES) and file != "training_args.bin"]
    if pickles:
        return refuse_pickle(source.name, pickles[0])
    for file in files:
        for suffix, name in FOREIGN.items():
            if file.endswith(suffix):
                return UnsupportedFormat(
                    f"{source.name} has only a {name} checkpoint ({file}): embtool reads safetensors",
                    hint="convert it to safetensors first",
                )
    return TableNotFound(
        f"{source.name} has no *.safetensors: no tables to read", hint="name a folder that holds the model's weights"
    )


def refuse_pickle(model: str, file: str) -> UnsupportedFormat:
    """Refuse a pickle checkpoint: loading one runs whatever code its author put there."""
    return UnsupportedFormat(
        f"{model} has only a pickle checkpoint ({file}): embtool never loads a pickle, safetensors only",
        hint="look for a revision or a fork with safetensors, or convert it with safetensors' own convert script",
    )
