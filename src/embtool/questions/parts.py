"""A model's parts, each opened by itself: one that cannot be read hides none of the others."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from embtool.configs.config import Config
from embtool.errors import (
    ConfigError,
    FileNotInModel,
    FormatError,
    MissingExtra,
    NoVocabulary,
    TableNotFound,
    UnsupportedFormat,
    told_of,
)
from embtool.formats import foreign_below, whole_tables
from embtool.storage.checkpoint import Checkpoint, TensorInfo
from embtool.storage.source import Source
from embtool.tables.table_roles import ENDS, Tables, find_tables, plain_path
from embtool.vocabulary import Vocabulary

if TYPE_CHECKING:
    from embtool.model import Model

Found = TypeVar("Found")

WEIGHT_FILES = (".safetensors", ".gguf")

Damage = FormatError | ConfigError | FileNotInModel
"""What is wrong with a part: it cannot be read, or a file of it is not there.

What is kept is a copy, without the frames it came through: these hold all that has been read of the model.
"""


@dataclass(frozen=True)
class Parts:
    """A model as far as it could be opened.

    Attributes:
        config: its config; None where there is none, or where it cannot be read.
        vocabulary: its tokens, alike.
        checkpoint: its tensors.
        tables: its tables, without those that cannot be read.
        damage: what is wrong, by part: config, tokenizer, weights.
        notes: what it lacks.
    """

    config: Config | None
    vocabulary: Vocabulary | None
    checkpoint: Checkpoint | None
    tables: Tables | None
    damage: dict[str, Sequence[Damage]]
    notes: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a config nor a tokenizer nor weights that can be read."""
        no_weights = self.checkpoint is None or ("weights" in self.damage and self.tables is None)
        return self.config is None and self.vocabulary is None and no_weights


def open_parts(model: "Model") -> Parts:
    """Open each part of a model.

    Raises:
        UnsupportedFormat: its weights are in a format that embtool does not read.
        EmbtoolError: the network or this machine stands in the way, so that nothing is known of the model.
    """
    opening = _Opening(model)
    config = opening.part("config", lambda: model.config)
    checkpoint, tables = opening.weights(config)
    vocabulary = opening.part("tokenizer", opening.vocabulary)
    return Parts(config, vocabulary, checkpoint, tables, opening.damage, tuple(opening.notes))


def left_out(source: Source, checkpoint: Checkpoint) -> list[str]:
    """List the weight files that lie beside those that are read; none where a file was named itself, or for GGUF."""
    shards = set(checkpoint.shards)
    files = [file for file in source.files() if "/" not in file and file.endswith(WEIGHT_FILES)]
    is_one_of_many = any(shard.endswith(".gguf") for shard in shards) or not shards & set(files)
    return [] if is_one_of_many else [file for file in files if file not in shards]


class _Opening:
    """Opens parts, and writes down what is wrong with each."""

    def __init__(self, model: "Model") -> None:
        self.model = model
        self.damage: dict[str, Sequence[Damage]] = {}
        self.notes: list[str] = []

    def part(self, name: str, read: Callable[[], Found | None]) -> Found | None:
        """Read a part; None where it cannot be read."""
        try:
            return read()
        except UnsupportedFormat:
            raise
        except (FormatError, ConfigError, FileNotInModel) as error:
            self.damage[name] = [copy(error)]
            return None

    def vocabulary(self) -> Vocabulary | None:
        """Read the tokens; None where there is no tokenizer that can be read here."""
        try:
            return self.model.vocabulary
        except MissingExtra as error:
            self.notes.append(f"{error.message}: {error.hint}")
        except NoVocabulary as error:
            self.notes += [error.message] if error.unread else []
        return None

    def weights(self, config: Config | None) -> tuple[Checkpoint | None, Tables | None]:
        """Find the tensors and the tables; those that cannot be read are left out."""
        checkpoint = None
        try:
            checkpoint = self.part("weights", lambda: self.model.checkpoint)
            if checkpoint is None:
                return None, None
            if "config" not in self.damage:
                return checkpoint, self.model.tables
            return checkpoint, find_tables(whole_tables(checkpoint, None), None)
        except TableNotFound as error:
            self.notes.append("; ".join(filter(None, (error.message, foreign_below(self.model.source)))))
            return checkpoint, None
        except UnsupportedFormat:
            raise
        except (FormatError, FileNotInModel) as error:
            self.damage["weights"] = [copy(error)]
        assert checkpoint is not None
        readable = _Readable(whole_tables(checkpoint, config), self.model.name)
        found = find_tables(readable, config)
        self.damage["weights"] = readable.damage
        return checkpoint, found if found.stored else None


class _Readable(Checkpoint):
    """A checkpoint without the tensors that could be tables and cannot be read."""

    def __init__(self, inner: Checkpoint, model: str) -> None:
        self.inner = inner
        self.source = inner.source
        self.format = inner.format
        told: dict[str, Damage] = {}
        self._names = []
        for name in inner.names:
            parts = plain_path(name).rsplit(".", 2)
            try:
                if not ENDS.isdisjoint((parts[-1], ".".join(parts[-2:]))):
                    told_of(model)(inner.tensor)(name)
                self._names.append(name)
            except (FormatError, FileNotInModel) as error:
                told.setdefault(error.message, copy(error))
        self.damage = list(told.values())

    @property
    def names(self) -> Sequence[str]:
        """Every tensor's name."""
        return self._names

    @property
    def shards(self) -> Sequence[str]:
        """Every file that holds tensors."""
        return self.inner.shards

    def tensor(self, name: str) -> TensorInfo:
        """Find a tensor."""
        return self.inner.tensor(name)
