"""Open a model: the one place that wires the floors together.

A model is what the user names: a folder, a file, a repository, or `mini`, the one that comes with embtool. Opening it
reads nothing; each part (config, vocabulary, checkpoint, tables, positions) is read when it is first asked for, and a
model without one part still answers what the others can.
"""

import re
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from embtool.checkpoint import Checkpoint
from embtool.config import Config, parse_config_text
from embtool.errors import (
    BadReference,
    ConfigError,
    FileNotInModel,
    ModelNotFound,
    NoRope,
    NoVocabulary,
    UnsupportedFormat,
)
from embtool.formats import PICKLES, open_checkpoint, refuse_pickle
from embtool.formats.safetensors import INDEX_SUFFIX, SUFFIX, open_file, open_index
from embtool.positions import Positions, Rope, read_positions
from embtool.settings import BUNDLED
from embtool.source import CONFIG_LIMIT, Folder, Source
from embtool.table import EmbeddingTable, Tables, find_tables
from embtool.vocabulary import Vocabulary, read_vocabulary

CONFIG = "config.json"

PATH_LIKE = re.compile(r"^(\.{0,2}[/\\]|~|\.{1,2}$|[A-Za-z]:[/\\])|[/\\]$|\\|^[^/]*/[^/]*/")
"""References that can only mean a local path: they are never sent to the hub."""

FILE_LIKE = (SUFFIX, ".index.json", ".gguf", *PICKLES)
"""Ends of references that name a file, which no repository's name has."""


class Model:
    """One model: its config, vocabulary, tables and positions, each read when first asked for."""

    def __init__(self, source: Source, file: str | None = None) -> None:
        self.source = source
        self._file = file

    @property
    def name(self) -> str:
        """What the user called it."""
        return self.source.name

    @cached_property
    def config(self) -> Config | None:
        """Its config.json, or None where it has none.

        Raises:
            ConfigError: the file is there but cannot be read.
        """
        try:
            data = self.source.read_file(CONFIG, CONFIG_LIMIT)
        except FileNotInModel:
            return None
        return parse_config_text(data, file=CONFIG)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Its tokens.

        Raises:
            NoVocabulary: it has no tokenizer that embtool reads.
        """
        return read_vocabulary(self.source)

    @property
    def vocabulary_if_any(self) -> Vocabulary | None:
        """Its tokens, or None where it has no tokenizer."""
        try:
            return self.vocabulary
        except NoVocabulary:
            return None

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Its tensors.

        Raises:
            UnsupportedFormat: its weights are in a format that embtool does not read.
            TableNotFound: it has no weights.
        """
        if self._file is None:
            return open_checkpoint(self.source)
        if self._file.endswith(INDEX_SUFFIX):
            return open_index(self.source, self._file)
        return open_file(self.source, self._file)

    @cached_property
    def tables(self) -> Tables:
        """Its embedding tables."""
        return find_tables(self.checkpoint, self.config)

    @property
    def input_table(self) -> EmbeddingTable:
        """The table that turns token ids into vectors.

        Raises:
            TableNotFound: it has none.
        """
        return self.tables.find("input")

    @property
    def output_table(self) -> EmbeddingTable:
        """The table that turns the last vector into scores of tokens; the input table where the two are tied.

        Raises:
            TableNotFound: it has none.
        """
        return self.tables.find("output")

    @cached_property
    def positions(self) -> Positions:
        """How it knows the order of tokens.

        Raises:
            ConfigError: it has no config.json, or one that does not say.
        """
        if self.config is None:
            raise ConfigError(f"{self.name} has no {CONFIG}: nothing says how it knows positions")
        return read_positions(self.config)

    @property
    def rope(self) -> Rope:
        """Its rotary positions.

        Raises:
            NoRope: it knows positions in another way, or not at all.
        """
        positions = self.positions
        if not isinstance(positions, Rope):
            raise NoRope(f"{self.name} has no rotary positions: its positions are {positions.kind}")
        return positions


def open_model(reference: str | Path = BUNDLED, *, revision: str | None = None, offline: bool = False) -> Model:
    """Open a model by the name a user gives it; nothing is read yet.

    Args:
        reference: `mini`, a folder, a `.safetensors` file or its index, or a Hugging Face repository.
        revision: a branch, tag or commit of a repository.
        offline: answer from what is cached, ask nobody.

    Raises:
        ModelNotFound: there is no such thing.
        UnsupportedFormat: the file named is of a kind that embtool does not read.
    """
    text = str(reference)
    if not text:
        raise BadReference("the name of a model is empty")
    if text == BUNDLED and not isinstance(reference, Path):
        return Model(Folder(bundled_folder(), BUNDLED))
    path = _expand(text)
    if not text.startswith("hf://") and _exists(path):
        return _open_path(path, text)
    if isinstance(reference, Path) or PATH_LIKE.search(text) or (text.endswith(FILE_LIKE) and "hf://" not in text):
        raise ModelNotFound(f"no such file or folder: {text}")
    from embtool.hub import HubSource  # noqa: PLC0415 - the network stack is loaded only where a hub model is named

    return Model(HubSource(text, revision=revision, offline=offline))


def bundled_folder() -> Path:
    """Tell where the bundled model is."""
    return Path(str(files("embtool") / "bundled" / BUNDLED))


def _expand(text: str) -> Path:
    """Replace a leading `~`; that of a user who does not exist stays, and no such file is found."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _open_path(path: Path, name: str) -> Model:
    """Open a local folder or file."""
    if path.is_dir():
        return Model(Folder(path, name))
    if path.name.endswith((SUFFIX, INDEX_SUFFIX)):
        return Model(Folder(path.parent, name, named=path.name), path.name)
    if path.name.endswith(PICKLES):
        raise refuse_pickle(name, path.name)
    raise UnsupportedFormat(
        f"{name} is not a model: embtool opens folders, *{SUFFIX} files and their indexes",
    )
