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
    TableNotFound,
    UnsupportedFormat,
)
from embtool.formats import (
    OPENERS,
    PICKLES,
    SelfDescribing,
    check_named_file,
    open_checkpoint,
    open_file,
    whole_tables,
)
from embtool.positions import Positions, Rope, read_positions
from embtool.settings import BUNDLED
from embtool.source import CONFIG_LIMIT, Confirm, Folder, Progress, Source
from embtool.table import EmbeddingTable, Tables, find_tables
from embtool.vocabulary import Vocabulary, read_vocabulary

CONFIG = "config.json"

NOT_OF_TOKENS = ("position", "token_type", "relative")
"""The roles of tables whose rows are something else than tokens."""

PATH_LIKE = re.compile(r"^(\.{0,2}[/\\]|~|\.{1,2}$|[A-Za-z]:[/\\])|[/\\]$|\\|^[^/]*/[^/]*/")
"""References that can only mean a local path: they are never sent to the hub."""

FILE_LIKE = (*OPENERS, ".index.json", *PICKLES)
"""Ends of references that name a file, which no repository's name has."""


class Model:
    """One model: its config, vocabulary, tables and positions, each read when first asked for.

    `open_model` makes it. A part that the model does not have raises only when it is asked for, so that a folder with
    no weights still has a vocabulary, and one without a tokenizer still has tables.

    Attributes:
        source: where its bytes are; `source.cost` counts the requests and bytes that reading has cost so far.
    """

    def __init__(self, source: Source, file: str | None = None) -> None:
        self.source = source
        self._file = file

    def __repr__(self) -> str:
        return f"<model {self.name!r}>"

    @property
    def name(self) -> str:
        """What the user called it."""
        return self.source.name

    @cached_property
    def config(self) -> Config | None:
        """Its config.json, or what its weights say of themselves; None where there is neither.

        Raises:
            ConfigError: the file is there but cannot be read.
        """
        if self._file is not None and self._described is not None:
            return self._described.read_config()
        try:
            data = self.source.read_file(CONFIG, CONFIG_LIMIT)
        except FileNotInModel:
            return self._described.read_config() if self._described is not None else None
        return parse_config_text(data, file=CONFIG)

    @cached_property
    def _described(self) -> SelfDescribing | None:
        """Its checkpoint, where that brings a config and a vocabulary of its own."""
        try:
            checkpoint = self.checkpoint
        except (TableNotFound, UnsupportedFormat):
            if self._file is not None:
                raise
            return None
        return checkpoint if isinstance(checkpoint, SelfDescribing) else None

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Its tokens, from tokenizer.json or an older tokenizer's files, or from a GGUF file.

        Raises:
            NoVocabulary: it has no tokenizer that embtool reads.
            FormatError: its tokenizer cannot be read.
        """
        if self._file is not None and self._described is not None:
            own = self._described.read_vocabulary()
            if own is not None:
                return own
        try:
            return read_vocabulary(self.source)
        except NoVocabulary:
            own = self._described.read_vocabulary() if self._described is not None else None
            if own is None:
                raise
            return own

    @property
    def vocabulary_if_any(self) -> Vocabulary | None:
        """Its tokens, or None where it has no tokenizer."""
        try:
            return self.vocabulary
        except NoVocabulary:
            return None

    def vocabulary_of(self, table: EmbeddingTable) -> Vocabulary | None:
        """Its tokens if they name the rows of this table, or None: the rows of a position table are no tokens."""
        return None if table.role in NOT_OF_TOKENS else self.vocabulary_if_any

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Its tensors, by name; headers only.

        Raises:
            UnsupportedFormat: its weights are in a format that embtool does not read.
            TableNotFound: it has no weights.
        """
        return open_checkpoint(self.source) if self._file is None else open_file(self.source, self._file)

    @cached_property
    def tables(self) -> Tables:
        """Its embedding tables, as they are stored, and whether input and output are tied.

        Raises:
            UnsupportedFormat: its weights are in a format that embtool does not read.
            TableNotFound: it has no weights.
        """
        return find_tables(whole_tables(self.checkpoint, self.config), self.config)

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
        """How it knows the order of tokens; `positions.kind` is rope, learned, sinusoidal, alibi, relative or none.

        Raises:
            ConfigError: it has no config.json, or one that does not say.
        """
        if self.config is None:
            raise ConfigError(f"{self.name} has no {CONFIG}: nothing says how it knows positions")
        return read_positions(self.config)

    @property
    def rope(self) -> Rope:
        """Its rotary positions; `rope.rotate` turns a vector as the model turns queries and keys.

        Raises:
            NoRope: it knows positions in another way, or not at all.
            ConfigError: it has no config.json, or one that does not say.
        """
        positions = self.positions
        if not isinstance(positions, Rope):
            raise NoRope(f"{self.name} has no rotary positions: its positions are {positions.kind}")
        return positions


def open_model(
    reference: str | Path = BUNDLED,
    *,
    revision: str | None = None,
    offline: bool = False,
    token: str | None = None,
    max_bytes: int | None = None,
    progress: Progress | None = None,
    confirm: Confirm | None = None,
    plan_only: bool = False,
) -> Model:
    """Open a model by the name a user gives it; of a local model nothing is read yet, and nothing of it is ever run.

    Args:
        reference: `mini`, a folder, a `.safetensors` file or its index, a `.gguf` file, or a Hugging Face repository.
        revision: a branch, tag or commit of a repository.
        offline: answer from what is cached, ask nobody.
        token: who asks; by default huggingface_hub's, as `HF_TOKEN` or `hf auth login` set it.
        max_bytes: the most bytes that one question may fetch, unless `confirm` allows more; by default 4 GB.
        progress: told how far a long fetch is.
        confirm: asked before more than `max_bytes` are fetched.
        plan_only: read small files and headers, but do not fetch rows and tables; `source.plan` says what would be.

    Raises:
        BadReference: it cannot be the name of a model, or the revision not that of a revision.
        ModelNotFound: there is no such file or folder. Whether there is a repository is seen when it is first read.
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
    is_path = PATH_LIKE.search(text) or text.endswith(FILE_LIKE)
    if isinstance(reference, Path) or (is_path and not text.startswith("hf://")):
        raise ModelNotFound(f"no such file or folder: {text}")
    from embtool.hub import HubSource  # noqa: PLC0415 - the network stack is loaded only where a hub model is named

    source = HubSource(
        text,
        revision,
        offline=offline,
        token=token,
        max_bytes=max_bytes,
        progress=progress,
        confirm=confirm,
        plan_only=plan_only,
    )
    return Model(source) if source.file is None else Model(source, check_named_file(source, source.file))


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
    source = Folder(path.parent, name, named=path.name)
    return Model(source, check_named_file(source, path.name))
