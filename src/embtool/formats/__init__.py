"""The checkpoint formats, one file each; a format only parses headers.

To add one: write `formats/x.py` with `open_checkpoint(source) -> Checkpoint | None` and name it in `FORMATS`; if
files of it can be named, add the end of their names to `OPENERS`.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from embtool.checkpoint import Checkpoint
from embtool.config import Config
from embtool.errors import TableNotFound, UnsupportedFormat
from embtool.formats import gguf, mlx, safetensors, scaled, static
from embtool.formats.packed import STACKED, PackedCheckpoint, Recipe
from embtool.source import Source
from embtool.vocabulary import Vocabulary

FORMATS: tuple[Callable[[Source], Checkpoint | None], ...] = (
    safetensors.open_checkpoint,
    gguf.open_checkpoint,
    static.open_checkpoint,
)
"""Tried in order; the first that finds its files opens the model."""

OPENERS: Mapping[str, Callable[[Source, str], Checkpoint]] = {
    safetensors.INDEX_SUFFIX: safetensors.open_index,
    safetensors.SUFFIX: safetensors.open_file,
    gguf.SUFFIX: gguf.open_file,
    static.SUFFIX: static.open_file,
}
"""How a file that is named itself is opened, by the end of its name."""


RECIPES: tuple[Recipe, ...] = (*scaled.RECIPES, mlx.RECIPE, *static.MODEL2VEC, STACKED)
"""Ways in which a table is made of several tensors; of those whose names are there, the first counts."""


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
    for opener in FORMATS:
        checkpoint = opener(source)
        if checkpoint is not None:
            return checkpoint
    raise missing(source)


def check_named_file(source: Source, file: str) -> str:
    """Return the name of a file that a reference names, if it is of a kind that embtool opens.

    Raises:
        UnsupportedFormat: it is not; the message says what it is.
    """
    if file.endswith(tuple(OPENERS)) or (source.local and _sniff(source, file) is not None):
        return file
    if file.endswith(PICKLES):
        raise refuse_pickle(source.name, file)
    raise UnsupportedFormat(f"{source.name} is not a model: embtool opens folders, *{', *'.join(OPENERS)} files")


def _sniff(source: Source, file: str) -> Callable[[Source, str], Checkpoint] | None:
    """Tell by its first bytes how a file is opened whose name does not say.

    Ollama names its files by their hash; word2vec's and GloVe's end in `.bin` and `.txt`, like many others.
    """
    if source.head(file, len(gguf.MAGIC)) == gguf.MAGIC:
        return gguf.open_file
    return static.open_file if static.is_static(source, file) else None


def open_file(source: Source, file: str) -> Checkpoint:
    """Open a file that was named itself, and that `check_named_file` let pass.

    Raises:
        UnsupportedFormat: it is of a kind that embtool does not read.
    """
    opener = next((opener for suffix, opener in OPENERS.items() if file.endswith(suffix)), None)
    opener = opener or _sniff(source, file)
    if opener is None:
        raise UnsupportedFormat(f"{file} is not a model")
    return opener(source, file)


def whole_tables(checkpoint: Checkpoint, config: Config | None) -> Checkpoint:
    """Show a checkpoint so that its quantised tables, made of several tensors, appear whole."""
    return checkpoint if isinstance(checkpoint, SelfDescribing) else PackedCheckpoint(checkpoint, RECIPES, config)


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
