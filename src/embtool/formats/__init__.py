"""The checkpoint formats, one file each; a format only parses headers.

To add one: write `formats/x.py` with `open_checkpoint(source) -> Checkpoint | None` and name it in `FORMATS`; if
files of it can be named, add the end of their names to `OPENERS`. A format is loaded when a model may have it: most
commands are about safetensors and start quickly.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from embtool.checkpoint import Checkpoint
from embtool.config import Config
from embtool.errors import TableNotFound, UnsupportedFormat
from embtool.source import Source
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

GGUF_MAGIC = b"GGUF"

PACKING_SIGNS = frozenset(
    {"scales", "biases", "weight_scale", "weight_scale_inv", "weight_scale_2", "weight_packed", "qweight"}
    | {"mapping", "weights", "new_embedding"}
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
"""Suffixes of checkpoints that run code when they are loaded: never opened."""

FOREIGN = {".h5": "Keras", ".msgpack": "Flax", ".onnx": "ONNX", ".npz": "MLX or numpy"}
"""Suffixes of formats that are named in the refusal."""


def open_checkpoint(source: Source) -> Checkpoint:
    """Open a model's tensors in whatever format it has.

    Raises:
        UnsupportedFormat: it has only formats that embtool does not read; the message says which, and the way out.
        TableNotFound: it has no checkpoint at all.
    """
    for name in FORMATS:
        checkpoint: Checkpoint | None = _module(name).open_checkpoint(source)
        if checkpoint is not None:
            return checkpoint
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
    if file.endswith(PICKLES):
        raise refuse_pickle(source.name, file)
    folder = source.name.removesuffix(file).rstrip("/")
    hint = f"did you mean its folder, {folder}?" if file.endswith((".json", ".model", "vocab.txt")) and folder else None
    raise UnsupportedFormat(
        f"{source.name} is not a model: embtool opens folders, *{', *'.join(OPENERS)} files", hint=hint
    )


def _sniff(source: Source, file: str) -> Callable[[Source, str], Checkpoint] | None:
    """Return what opens a file whose name does not say, by its first bytes.

    Ollama names its files by their hash; word2vec's and GloVe's end in `.bin` and `.txt`, like many others.
    """
    known = "gguf" if source.head(file, len(GGUF_MAGIC)) == GGUF_MAGIC else None
    if known is None and _module("static").is_static(source, file):
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
    return opener(source, file)


def whole_tables(checkpoint: Checkpoint, config: Config | None) -> Checkpoint:
    """Show a checkpoint so that its quantised tables, made of several tensors, appear whole."""
    if isinstance(checkpoint, SelfDescribing):
        return checkpoint
    if not any(name.rpartition(".")[2] in PACKING_SIGNS for name in checkpoint.names):
        return checkpoint
    from embtool.formats.packed import PackedCheckpoint  # noqa: PLC0415 - most checkpoints have plain tables
    from embtool.formats.recipes import RECIPES  # noqa: PLC0415 - as above

    return PackedCheckpoint(checkpoint, RECIPES, config)


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
