"""The checkpoint formats, one file each; a format only parses headers.

To add one: write `formats/x.py` with `open_checkpoint(source) -> Checkpoint | None` and name it in `FORMATS`; if
files of it can be named, add the end of their names to `OPENERS`. A format is loaded when a model may have it: most
commands are about safetensors and start quickly.
"""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from embtool.configs.config import Config
from embtool.errors import TableNotFound, UnsupportedFormat
from embtool.formats.folders import hint_of_folders
from embtool.storage.checkpoint import Checkpoint
from embtool.storage.impostors import AGAIN, LONGEST_MAGIC, PICKLE_HINT, impostor
from embtool.storage.source import Source
from embtool.vocabulary import Vocabulary

FORMATS = ("safetensors", "gguf", "static")
"""Modules, tried in order; the first that finds its files opens the model."""

OPENERS: Mapping[str, tuple[str, str]] = {
    ".safetensors.index.json": ("safetensors", "open_index"),
    ".safetensors": ("safetensors", "open_file"),
    ".gguf": ("gguf", "open_file"),
    ".vec": ("static", "open_file"),
}
"""How a file that is named itself is opened, by the end of its name: a module and its function."""

MOST_WORDS = 8
"""Tensors of a textual inversion at most."""

GGUF_MAGIC = b"GGUF"

PACKING_SIGNS = frozenset(
    {"scales", "biases", "weight_scale", "weight_scale_inv", "weight_scale_2", "weight_packed", "qweight"}
    | {"absmax", "SCB", "q_weight", "trellis", "W_q", "codebooks", "weight_scales", "scale_weight", "_data"}
    | {"mapping", "weights", "embeddings", "new_embedding", "1"}  # the second axis of Reformer's positions: weights.1
)
"""Last parts of the names of tensors that only stand beside a table that is made of several."""


@runtime_checkable
class SelfDescribing(Protocol):
    """A checkpoint that brings its own config and vocabulary."""

    def read_config(self) -> Config | None:
        """Read its config."""

    def read_vocabulary(self) -> Vocabulary | None:
        """Read its tokens."""


PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
"""Suffixes of checkpoints that usually run code when they are loaded, and are then never opened."""

FOREIGN = {
    ".h5": "Keras", ".hdf5": "Keras", ".keras": "Keras", ".msgpack": "Flax", ".onnx": "ONNX",
    ".npz": "MLX or numpy", ".tflite": "TensorFlow Lite", ".xml": "OpenVINO", ".ot": "rust-bert",
    ".pb": "TensorFlow", ".mlmodel": "Core ML",
}  # fmt: skip
"""Suffixes of formats that are named in the refusal."""

TORCH = re.compile(r"pytorch_model.*\.bin|.*\.(pt|pth|ckpt|pkl|pickle)")
"""Names of torch's own checkpoints, which are pickles."""

STATE = re.compile(r"pytorch_model[-\w.]*\.bin", re.ASCII)
"""Names of files that hold nothing but a model's tensors."""

ELSEWHERE = "look for a revision or a fork with safetensors, or convert it in its folder"

CONVERSION = (
    'python -c "import torch, safetensors.torch as s; s.save_file({{k: v.clone().contiguous() for k, v in'
    " torch.load('{0}.bin', map_location='cpu', weights_only=True).items()}}, '{0}.safetensors')\""
)

NOT_WEIGHTS = frozenset({"training_args.bin", "optimizer.bin", "scheduler.bin", "optimizer.pt", "scheduler.pt"})
"""Files of trainers that hold no tables."""


def open_checkpoint(source: Source) -> Checkpoint:
    """Open a model's tensors in whatever format it has.

    Raises:
        UnsupportedFormat: it has only formats that embtool does not read; the message says which, and the way out.
        TableNotFound: it has no checkpoint at all.
    """
    for name in FORMATS:
        checkpoint: Checkpoint | None = _module(name).open_checkpoint(source)
        if checkpoint is not None:
            return _learned(checkpoint)
    raise missing(source)


def _module(name: str) -> Any:
    return import_module(f"embtool.formats.{name}")


def check_named_file(source: Source, file: str) -> str:
    """Return the name of a file that a reference names, if it is of a kind that embtool opens.

    Raises:
        UnsupportedFormat: it is not; the message says what it is.
    """
    if file.endswith(tuple(OPENERS)) or (source.local and _sniff(source, file) is not None):
        return file
    if source.local and not source.size(file):
        raise UnsupportedFormat(f"{source.name} is empty: it has no bytes", hint=AGAIN)
    if source.local and (other := impostor(source.head(file, LONGEST_MAGIC))) is not None:
        raise UnsupportedFormat(f"{source.name} is {other.what}", hint=other.hint)
    if not source.local and file.endswith(PICKLES):
        raise refuse_pickle(source.name, file)
    folder = source.name.removesuffix(file).rstrip("/")
    hint = f"did you mean its folder, {folder}?" if file.endswith((".json", ".model", "vocab.txt")) and folder else None
    raise UnsupportedFormat(
        f"{source.name} is not a model: embtool opens folders, *{', *'.join(OPENERS)} files", hint=hint
    )


def _sniff(source: Source, file: str) -> Callable[[Source, str], Checkpoint] | None:
    """Return what opens a file whose name does not say, by its first bytes.

    Ollama and the hub's cache name files by their hash; word2vec's and GloVe's end in `.bin` and `.txt`, like others.
    """
    head = source.head(file, LONGEST_MAGIC)
    known = None
    if head.startswith(GGUF_MAGIC):
        known = "gguf"
    elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") < source.size(file):
        known = "safetensors"
    elif impostor(head) is None:
        records = _module("records")
        if records.recognise(source.head(file, records.LOOKED_AT)) is not None:
            known = "static"
    return None if known is None else _opener((known, "open_file"))


def _opener(place: tuple[str, str]) -> Callable[[Source, str], Checkpoint]:
    module, function = place
    opener: Callable[[Source, str], Checkpoint] = getattr(_module(module), function)
    return opener


def open_file(source: Source, file: str) -> Checkpoint:
    """Open a file that was named itself, and that `check_named_file` let pass.

    Raises:
        UnsupportedFormat: it is of a kind that embtool does not read.
    """
    place = next((place for suffix, place in OPENERS.items() if file.endswith(suffix)), None)
    opener = _sniff(source, file) if place is None else _opener(place)
    if opener is None:
        raise UnsupportedFormat(f"{file} is not a model")
    return _learned(opener(source, file))


def _learned(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint, or the textual inversion that it is: one file of a few tensors."""
    if checkpoint.format != "safetensors" or len(checkpoint.shards) != 1 or not 0 < len(checkpoint.names) <= MOST_WORDS:
        return checkpoint
    from embtool.formats.inversion import as_inversion  # noqa: PLC0415 - most checkpoints have more tensors

    return as_inversion(checkpoint)


def whole_tables(checkpoint: Checkpoint, config: Config | None) -> Checkpoint:
    """Show a checkpoint so that its quantised tables, made of several tensors, appear whole."""
    if isinstance(checkpoint, SelfDescribing):
        return checkpoint
    is_said = config is not None and bool(config.packing)
    if not is_said and not any(name.rpartition(".")[2] in PACKING_SIGNS for name in checkpoint.names):
        return checkpoint
    from embtool.formats.packed import PackedCheckpoint  # noqa: PLC0415 - most checkpoints have plain tables
    from embtool.formats.recipes import RECIPES  # noqa: PLC0415 - as above

    return PackedCheckpoint(checkpoint, RECIPES, config)


def missing(source: Source) -> UnsupportedFormat | TableNotFound:
    """Say why a model without readable tensors is refused."""
    top = [file for file in source.files() if "/" not in file and file not in NOT_WEIGHTS]
    files = [file for file in top if file.endswith(PICKLES)] + [file for file in top if file.endswith(tuple(FOREIGN))]
    for file in files:
        refused = _refused_here(source, file) if source.local else _refused_there(source, file)
        if refused is not None:
            return refused
    return TableNotFound(
        f"{source.name} has no *.safetensors: no tables to read",
        hint=hint_of_folders(source)
        or "; ".join(filter(None, ("name a folder that holds the model's weights", foreign_below(source)))),
    )


def foreign_below(source: Source) -> str | None:
    """Name a file of a format that is not read, in a folder of this one or below; None where there is none."""
    file = next((file for file in source.files() if file.endswith(tuple(FOREIGN))), None)
    return None if file is None else f"{file} is of {_named(file)}, which embtool does not read"


def _named(file: str) -> str:
    return next(name for suffix, name in FOREIGN.items() if file.endswith(suffix))


def _refused_here(source: Source, file: str) -> UnsupportedFormat | TableNotFound | None:
    """Say what a file is that a folder has instead of weights, by its first bytes; None where they do not tell.

    One that has a name of torch's pickles is not even opened.
    """
    if TORCH.fullmatch(file):
        return refuse_pickle(source.name, file)
    if _sniff(source, file) is not None:
        hint = f"name the file: {source.name.rstrip('/')}/{file}"
        return TableNotFound(f"{source.name} has no *.safetensors, but {file} can be opened", hint=hint)
    other = impostor(source.head(file, LONGEST_MAGIC))
    if other is not None:
        return UnsupportedFormat(f"{source.name} has no *.safetensors, and {file} is {other.what}", hint=other.hint)
    return None if file.endswith(PICKLES) else _refused_there(source, file)


def _refused_there(source: Source, file: str) -> UnsupportedFormat:
    """Say what a file of a repository is, by its name."""
    if file.endswith(PICKLES):
        return refuse_pickle(source.name, file)
    return UnsupportedFormat(
        f"{source.name} has only a {_named(file)} checkpoint ({file}): embtool reads safetensors",
        hint="convert it to safetensors first",
    )


def refuse_pickle(model: str, file: str) -> UnsupportedFormat:
    """Refuse a pickle checkpoint by its name: loading one runs whatever code its author put there."""
    return UnsupportedFormat(
        f"{model} has only {file}, by its name a pickle: embtool never loads a pickle, safetensors only",
        hint=f"{ELSEWHERE}: {CONVERSION.format(file.removesuffix('.bin'))}" if STATE.fullmatch(file) else PICKLE_HINT,
    )
