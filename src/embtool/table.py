"""The embedding table: find it among the tensors, read its rows.

A checkpoint of a modern model holds several tensors that look like an embedding table: those of vision and audio
towers, of multi-token-prediction layers, of speech decoders. So a name is only the first sign; a table must also have
two dimensions and about as many rows as the config has tokens, and the shortest path outside the other towers wins.

To teach embtool a table's name: add a row to `TABLE_NAMES`.
"""

import contextlib
import itertools
import math
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embtool.arguments import check_count
from embtool.checkpoint import Checkpoint, TensorInfo
from embtool.config import WHATEVER, Config
from embtool.dtypes import Bytes, Floats
from embtool.errors import FormatError, InvalidArgument, TableNotFound, TokenIdOutOfRange
from embtool.further_tables import OF_TOKENS, as_rows, further_tables, one_layer
from embtool.source import Lender, Progress, RangeReader
from embtool.unknown_tables import find_candidates, hint_of_candidates

TABLE_NAMES: dict[str, tuple[str, ...]] = {
    "input": (
        "shared.weight",  # T5 and BART: the table that encoder and decoder share
        "embed_tokens.weight",
        "wte.weight",
        "word_embeddings.weight",
        "tok_embeddings.weight",
        "token_embeddings.weight",
        "embed_in.weight",
        "word_embedding.weight",
        "embed.weight",
        "embeddings.weight",
        "in_out_embed",
        "wte.embedding",
        "tokens_embed.weight",  # GPT-1
        "shared.embedding",  # Flax
        "embed_tokens.embedding",
        "word_embeddings.embedding",
        "shared.embeddings",  # TensorFlow
        "wte",  # GPT-2 as it was published
        "transformer.w.weight",  # CTRL
        "token_embedding.weight",
        "tok_embedding.weight",
        "embedding.weight",
        "token_embd.weight",  # GGUF
        "embeddings",  # model2vec
    ),
    "output": (
        "lm_head.weight",
        "embed_out.weight",
        "output.weight",
        "output_layer.weight",
        "unembed.weight",
        "lm_head.linear.weight",
        "lm_head.decoder.weight",
        "lm_head.out_proj.weight",
        "pred_layer.proj.weight",
        "cls.predictions.decoder.weight",
        "predictions.decoder.weight",
        "output_projection.weight",
        "proj_out.weight",
        "vocab_projector.weight",
        "generator_lm_head.weight",
        "lm_loss.weight",
        "transformer.ff_out.weight",
        "head.weight",
        "decoder.weight",
    ),
    "position": (
        "wpe.weight",
        "position_embeddings.weight",
        "embed_positions.weight",
        "position_embedding.weight",
        "position_embd.weight",
        "positions_embed.weight",  # GPT-1
        "position_embeddings.embedding",  # Flax
        "wpe.embedding",
        "position_embeddings.embeddings",  # TensorFlow
        "wpe.embeddings",
        "wpe",
    ),
    "token_type": (
        "token_type_embeddings.weight",
        "token_types.weight",
        "token_type_embeddings.embedding",
        "token_type_embeddings.embeddings",
    ),
    "task_type": ("task_type_embeddings.weight",),
    "per_layer": ("embed_tokens_per_layer.weight", "per_layer_token_embd.weight"),
    "relative": ("relative_attention_bias.weight", "attn_rel_b.weight"),
    "projection": (  # between rows and the width of the model, where the two differ: ALBERT, ELECTRA, OPT-350m
        "embedding_hidden_mapping_in.weight",
        "embeddings_project.weight",
        "project_in.weight",
        "project_out.weight",
    ),
}
"""The ends of tensor names, by the table's role; earlier ones are preferred. Read in transformers 5.23 (its classes and
its renaming rules), in hub checkpoints and in llama.cpp's tensor_mapping.py."""

OTHER_TOWERS = re.compile(
    r"(^|\.)(visual|vision\w*|audio\w*|image\w*|talker|mtp\w*|code2wav|token2wav|speech\w*|qformer|depth_decoder|"
    r"encoder\.layers?|(layers?|h|blocks?)\.\d+)(\.|$)"
)
"""Paths that hold tables of something else: towers of other senses, multi-token-prediction layers, single blocks."""

BARE_MODEL = re.compile(r"(?<!LMHead)(?<!EncoderDecoder)(?<!MT)Model$")
"""Architectures without a head, such as BertModel or GPT2Model, but not GPT2LMHeadModel or MarianMTModel."""

PREDICTS = re.compile(r"(ForCausalLM|LMHeadModel|ForConditionalGeneration)$")
"""Architectures that predict tokens, and so have an output table, be it the input table again."""

EMBEDS = re.compile(r"embed|shared")
"""Names of tables that read tokens."""

PLAUSIBLE_ROWS = 0.1
"""Rows and vocab_size differ by padding and by added tokens; never by more than a tenth in the models studied."""

FLOAT_BYTES = 4
"""Bytes of a number once it is decoded."""

MOST_ROWS = 1 << 26
"""Rows of a table, twenty times those of the largest published word vectors; what is kept for each fits a memory."""

WATCHED_BYTES = 256 << 20
"""Bytes. A pass over a smaller table is over before a bar has been read."""

TOLD_BYTES = 16 << 20
"""Bytes read between two looks at the bar."""

BLOCK_BYTES = 8 << 20
"""Bytes of rows in hand while a whole table is read in order."""

SAMPLED_ROWS = 3
"""Rows compared (first, middle, last) where only the bytes can tell whether two stored tables are one."""


@dataclass(frozen=True)
class EmbeddingTable:
    """A matrix of a model, (rows, width), of which nothing is read until rows are asked for.

    Attributes:
        role: what it is for: input, output, position, token_type, per_layer, relative, or projection; one that
            `embtool.further_tables` tells, such as mtp_input or vision_position; `tensor` where it was found by its
            tensor's name.
        tensor: its name in the checkpoint, its dtype, its shape, and the file it is in.
        checkpoint: the checkpoint it belongs to.
    """

    role: str
    tensor: TensorInfo
    checkpoint: Checkpoint

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width; for a table of tokens, the row's number is the token id.

        Raises:
            FormatError: the tensor is not two-dimensional, its dtype cannot be read, or it says that it has more rows
                than any vocabulary.
        """
        if has_too_many_rows(self):
            raise FormatError(
                f"{self.tensor.name} has {self.tensor.shape[0]:,} rows: a table has at most {MOST_ROWS:,}"
            )
        width = self.tensor.row_bytes // self.tensor.dtype.bytes * self.tensor.dtype.values
        return self.tensor.shape[0], width

    def __repr__(self) -> str:
        shape = " × ".join(f"{size:,}" for size in self.tensor.shape)
        where = f"{self.tensor.name!r} of {self.checkpoint.source.name!r}"
        return f"<{self.role} table {where}: {shape} {self.tensor.dtype.name}>"

    def check(self, ids: Iterable[int]) -> None:
        """Raise TokenIdOutOfRange unless every id is a row of this table, InvalidArgument unless all are integers."""
        if isinstance(ids, str | bytes) or not hasattr(ids, "__iter__") or getattr(ids, "ndim", 1) == 0:
            raise InvalidArgument(f"a list of token ids is wanted, such as [3, 5], not {ids!r}")
        rows = self.shape[0]
        for row in ids:
            check_count(row, "a token id", -rows - 1)
            if not 0 <= row < rows:
                valid = f"0 to {rows - 1:,}" if rows else "none: the table is empty"
                raise TokenIdOutOfRange(f"no row {row} in {self.tensor.name}: the ids are {valid}")

    def stored_rows(self, ids: Sequence[int]) -> Bytes:
        """Read rows as stored: uint8 (len(ids), bytes of a row), in the order asked.

        Raises:
            TokenIdOutOfRange: an id is not a row of the table.
        """
        self.check(ids)
        return self.checkpoint.rows(self.tensor, ids)

    def rows(self, ids: Sequence[int]) -> Floats:
        """Read rows by token id: float32 (len(ids), width), in the order asked.

        Raises:
            TokenIdOutOfRange: an id is not a row of the table.
            UnsupportedDType: the table's numbers cannot be decoded.
        """
        return self.tensor.dtype.to_float32(self.stored_rows(ids))

    @contextlib.contextmanager
    def open(self, progress: Progress | None = None) -> Iterator["TableReader"]:
        """Make the whole table readable on this machine, for a scan; of a repository's, this fetches it whole.

        `progress` is told how far each pass over a large table is.

        Raises:
            TooLarge: it is more than may be fetched without a question.
        """
        row_bytes = self.tensor.row_bytes
        with self.checkpoint.open(self.tensor) as (reader, start):
            total = row_bytes * self.tensor.shape[0]
            if progress is None or total < WATCHED_BYTES:
                yield TableReader(reader, start, row_bytes, self.tensor.shape[0], self.row_cost)
                return
            what = f"reading {self.tensor.name}"
            watched = _Watched(reader, progress, what, total)
            try:
                yield TableReader(watched, start, row_bytes, self.tensor.shape[0], self.row_cost)
            finally:
                progress(what, total, total)

    def __len__(self) -> int:
        return self.shape[0]

    def __bool__(self) -> bool:
        return True  # a table without rows is a table

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """The type of the numbers that rows have once they are read; `tensor.dtype` is how they are stored."""
        return np.dtype(np.float32)

    @property
    def ndim(self) -> int:
        """Two: rows and width."""
        return 2

    def __getitem__(self, place: int | slice | Sequence[int]) -> Floats:
        """Read rows as an array is indexed: [5] is float32 (width,); [2:9] and [[1, 2]] are (n, width).

        Raises:
            TokenIdOutOfRange: there is no such row.
        """
        rows = self.shape[0]
        if isinstance(place, slice):
            return self.rows(range(*place.indices(rows)))
        if isinstance(place, int | np.integer):
            number = int(place)
            found: Floats = self.rows([number + rows if -rows <= number < 0 else number])[0]
            return found
        return self.rows(place)

    def __iter__(self) -> Iterator[Floats]:
        """Yield every row, float32 (width,), read in blocks."""
        size = max(1, BLOCK_BYTES // max(self.row_cost, 1))
        for first in range(0, self.shape[0], size):
            yield from self[first : first + size]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 - numpy calls it so
        """Read the whole table: float32 (rows, width), or of another type that is asked for.

        Raises:
            ValueError: no copy was to be made, and reading makes one.
        """
        if copy is False:
            raise InvalidArgument("a table is read into an array of its own: it cannot be had without a copy")
        found = np.empty(self.shape, np.float32 if dtype is None else dtype)
        with self.open() as reader:
            size = max(1, BLOCK_BYTES // max(self.row_cost, 1))
            for first in range(0, len(found), size):
                stored = np.empty((min(size, len(found) - first), reader.row_bytes), np.uint8)
                reader.read(first, stored)
                found[first : first + len(stored)] = self.tensor.dtype.to_float32(stored)
        return found

    @property
    def row_cost(self) -> int:
        """Bytes in hand while a row is scanned, those stored or, where a row must be unpacked, its numbers'."""
        packed = self.tensor.dtype.values > 1
        return max(self.tensor.row_bytes, self.shape[1] * FLOAT_BYTES if packed else 0)


@dataclass(frozen=True)
class TableReader:
    """An open table, read in blocks of rows; safe to share between threads."""

    reader: RangeReader
    start: int
    row_bytes: int
    row_count: int
    row_cost: int = 0
    """Bytes in hand while a row is scanned, if more than its own."""

    def part(self, first: int, stop: int) -> "TableReader":
        """Return a reader of the rows from `first` to `stop`, exclusive, alone."""
        start = self.start + first * self.row_bytes
        return TableReader(self.reader, start, self.row_bytes, stop - first, self.row_cost)

    def read(self, first: int, buffer: Bytes) -> None:
        """Fill `buffer`, uint8 (n, row_bytes), with the stored rows from `first` on."""
        self.reader.read_into(self.start + first * self.row_bytes, buffer.reshape(-1).data)

    @property
    def lender(self) -> Lender | None:
        """What lends rows, if anything does: where numbers do not stand at multiples of their size, they are read."""
        aligned = self.start % math.gcd(self.row_bytes, 8) == 0
        return self.reader if aligned and isinstance(self.reader, Lender) else None

    def passing(self) -> AbstractContextManager[None]:
        """Enter a pass, in which rows may be lent."""
        lender = self.lender
        return contextlib.nullcontext() if lender is None else lender.passing()

    @contextlib.contextmanager
    def rows(self, first: int, buffer: Bytes) -> Iterator[Bytes]:
        """Give the stored rows from `first` on, uint8 (n, row_bytes), only to be read, until the context ends.

        They are lent without a copy where that is possible, otherwise read into `buffer`, which says how many.
        """
        lender = self.lender
        if lender is not None:
            start = self.start + first * self.row_bytes
            with lender.lend(start, start + buffer.nbytes) as lent:
                if lent is not None:
                    yield np.frombuffer(lent, np.uint8).reshape(buffer.shape)
                    return
        self.read(first, buffer)
        yield buffer


@dataclass
class _Watched(Lender):
    """Reads like the reader it stands for, and tells what has been read."""

    reader: RangeReader
    progress: Progress
    what: str
    total: int
    done: int = 0
    told: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill the buffer."""
        self.reader.read_into(start, buffer)
        self._tell(len(buffer))

    def passing(self) -> AbstractContextManager[None]:
        """Enter a pass."""
        return self.reader.passing() if isinstance(self.reader, Lender) else contextlib.nullcontext()

    @contextlib.contextmanager
    def lend(self, start: int, stop: int) -> Iterator[memoryview | None]:
        """Lend bytes, and tell it once they are given back: what is shown may wait for a terminal."""
        if not isinstance(self.reader, Lender):
            yield None
            return
        with self.reader.lend(start, stop) as lent:
            yield lent
        if lent is not None:
            self._tell(stop - start)

    def _tell(self, count: int) -> None:
        with self.lock:
            self.done += count
            if self.done - self.told < TOLD_BYTES:
                return
            self.told = self.done
            self.progress(self.what, self.done % self.total, self.total)


@dataclass(frozen=True)
class Tying:
    """Whether input and output table are one: what the config says, what is stored, and the verdict.

    Attributes:
        config: what the config says, or the class where the file is silent; None where neither does.
        stored: "input", "output", "both" or "none".
        verdict: "tied", "untied", "no output table", "no input table" or "not known".
        origin: where what the config says was read: a field, or the default of the family.
    """

    config: bool | None
    stored: str
    verdict: str
    origin: str | None = None

    @property
    def would_be_tied(self) -> bool:
        """Whether the input table is stored alone, in a model whose output table, if it had one, would be the same."""
        return self.verdict == "no output table" and self.stored == "input" and bool(self.config)

    @property
    def says(self) -> str:
        """What the config says, as a clause."""
        said = {True: "tied", False: "untied", None: "nothing"}[self.config]
        if (self.origin or "").endswith(WHATEVER):
            return f"its class is {said}, {WHATEVER}"
        if (self.origin or "").startswith("class default"):
            return f"config does not say, the family's default is {said}"
        return f"config says {said}"

    @property
    def sentence(self) -> str:
        """Whether the two are one, in the words that every answer uses."""
        if self.would_be_tied:
            return "no output table: this one only reads, and a model that predicts tokens would use it for both"
        return {
            "tied": "tied: the same table reads and predicts tokens",
            "untied": "untied: one table reads tokens, another predicts them",
            "no output table": "no output table: nothing here predicts tokens",
            "no input table": "no input table: nothing here reads tokens",
            "not known": "one table is stored: whether it also predicts tokens, the family being unknown, is not known",
        }[self.verdict]


@dataclass(frozen=True)
class Tables:
    """The tables of one model.

    Attributes:
        source_name: the model's name.
        stored: every table that the checkpoint holds, the input table first.
        tying: whether input and output table are one.
        checkpoint: the checkpoint they are in.
        layers: how many layers a table per layer is of, by the config.
        sizes: how many tokens there are, as the config has it.
    """

    source_name: str
    stored: tuple[EmbeddingTable, ...]
    tying: Tying
    checkpoint: Checkpoint
    layers: int | None = None
    sizes: tuple[int, ...] = ()

    def __repr__(self) -> str:
        return f"<tables of {self.source_name!r}: {', '.join(table.role for table in self.stored) or 'none'}>"

    def find(self, role: str) -> EmbeddingTable:
        """Find the table of a role or of a tensor's name; a tied output table is the input table in another role.

        Any tensor of the checkpoint is found by its whole name, with the role `tensor`; whether it has rows is seen
        when one is asked for. `per_layer:7` is what layer 7 reads of a table per layer.

        Raises:
            TableNotFound: there is none.
        """
        for table in self.stored:
            if role in (table.role, table.tensor.name):
                return table
        per_layer, _, layer = role.partition(":")
        if per_layer == "per_layer" and layer.isascii() and layer.isdigit():
            whole = self.find(per_layer)
            return EmbeddingTable(role, one_layer(whole.tensor, int(layer), self.layers), whole.checkpoint)
        twin = {"output": "input", "input": "output"}.get(role)
        if twin is not None and self.tying.verdict == "tied":
            for table in self.stored:
                if table.role == twin:
                    return EmbeddingTable(role, table.tensor, table.checkpoint)
        with contextlib.suppress(TableNotFound):
            return EmbeddingTable("tensor", as_rows(self.checkpoint.tensor(role)), self.checkpoint)
        names = ", ".join(f"{table.role} ({table.tensor.name})" for table in self.stored)
        hint = f"its tables: {names}" if names else hint_of_candidates(self.candidates()) or "its tables: none"
        raise TableNotFound(f"{self.source_name} has no {role} table", hint=hint)

    def candidates(self, *sizes: int) -> list[TensorInfo]:
        """List tensors that look like a table of tokens; `sizes` is how many tokens there are, where more is known."""
        return find_candidates(self.checkpoint, (*self.sizes, *sizes))

    def repeated(self, table: EmbeddingTable) -> str | None:
        """Return the role of the table that a further one repeats, as a draft head may repeat the input table.

        None where it repeats none, and where the files are not on this machine.
        """
        if not table.role.endswith(("_input", "_output")) or not self.checkpoint.source.local:
            return None
        return next((each.role for each in self.stored if each.role in OF_TOKENS and _same(each, table)), None)


def has_too_many_rows(table: EmbeddingTable | None) -> bool:
    """Return whether a table says that it has more rows than any vocabulary."""
    return table is not None and bool(table.tensor.shape) and table.tensor.shape[0] > MOST_ROWS


def find_tables(checkpoint: Checkpoint, config: Config | None) -> Tables:
    """Find every table of a model by name, rank and size; a tensor's own shape wins over the config."""
    vocab_size = config.vocab_size if config is not None else None
    names = [name for name in checkpoint.names if not ENDS.isdisjoint(_ends(name))]
    found: list[EmbeddingTable] = []
    found += [EmbeddingTable(role, checkpoint.tensor(name), checkpoint) for name, role in checkpoint.roles.items()]
    for role in ("input", "output") if not found else ():
        if role == "output":
            vocab_size = _predicted(config)
        tensor = _recorded(checkpoint, config, role)
        if role == "output" and tensor is not None and EMBEDS.search(tensor.name):  # a decoder's input table, when tied
            tensor = _best(checkpoint, names, role, vocab_size) or tensor
        if tensor is None and (role == "input" or config is None or _predicts(config) is not False):
            tensor = _best(checkpoint, names, role, vocab_size)
        if tensor is not None:
            found.append(EmbeddingTable(role, tensor, checkpoint))
    for role in TABLE_NAMES.keys() - {"input", "output"}:
        seen = _recorded(checkpoint, config, role)
        if seen is not None and found and found[0].role == "input":
            seen = checkpoint.tensor(_nearest_path(names, seen.name, found[0].tensor.name))
        others = _others(checkpoint, names, role) if seen is None else [seen]
        found += [EmbeddingTable(role, tensor, checkpoint) for tensor in others]
    order = list(TABLE_NAMES)
    found.sort(key=lambda table: order.index(table.role))
    tying, layers = decide_tying(found, config), config.num_hidden_layers if config is not None else None
    taken = {table.tensor.name for table in found}
    if any(table.role in OF_TOKENS for table in found):  # else what it would list may be the table itself
        found += [EmbeddingTable(role, each, checkpoint) for role, each in further_tables(checkpoint, taken, layers)]
    sizes = () if config is None or config.vocab_size is None else (config.vocab_size,)
    return Tables(checkpoint.source.name, tuple(found), tying, checkpoint, layers, sizes)


def _predicted(config: Config | None) -> int | None:
    """Return how many tokens a model predicts, by its config: a draft head a part of those that it reads."""
    drafted = None if config is None else config.raw.get("draft_vocab_size")
    return drafted if type(drafted) is int else None if config is None else config.vocab_size


def _recorded(checkpoint: Checkpoint, config: Config | None, role: str) -> TensorInfo | None:
    """Find the table of this role under a name that models of this type were seen to save it under."""
    recorded = config.recorded if config is not None else None
    names: tuple[str, ...] = () if recorded is None else getattr(recorded, role, ())
    if recorded is not None and role == "input" and config is not None and config.tie_word_embeddings is False:
        names = recorded.untied_input + names
    for name in names:
        if name in checkpoint.names and _is_plausible(checkpoint.tensor(name), config, role):
            return checkpoint.tensor(name)
    if role in ("position", "token_type"):  # in other classes of the type the same path has less before it, or more
        for name in checkpoint.names:
            if any(each.endswith(f".{name}") or name.endswith(f".{each}") for each in names):
                return checkpoint.tensor(name)
    return None


def _nearest_path(names: Sequence[str], name: str, beside: str) -> str:
    """Choose, of the tensors that end as `name` does, the one whose path shares most with `beside`; else `name`.

    So the encoder's rows get the encoder's positions, where both stacks have a table of their own.
    """

    def shared(other: str) -> tuple[int, bool]:
        pairs = zip(other.split("."), beside.split("."), strict=False)
        return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)), other == name

    return max((other for other in names if _ends(other) == _ends(name)), key=shared, default=name)


def _is_plausible(tensor: TensorInfo, config: Config | None, role: str) -> bool:
    """Return whether a tensor has the shape of a table, and for tokens about as many rows as the config has tokens."""
    vocab_size = None if config is None or role not in ("input", "output") else config.vocab_size
    by_design = config is not None and config.recorded is not None and config.recorded.extra_rows
    if len(tensor.shape) != 2 or vocab_size is None or by_design:  # noqa: PLR2004 - a table has rows and columns
        return role in ("position", "token_type") or len(tensor.shape) == 2  # noqa: PLR2004
    return abs(tensor.shape[0] - vocab_size) <= PLAUSIBLE_ROWS * vocab_size


def _best(checkpoint: Checkpoint, names: Sequence[str], role: str, vocab_size: int | None) -> TensorInfo | None:
    """Choose the tensor that is most likely the table of this role: by size first, then by name."""
    second_choice: list[tuple[int, TensorInfo]] = []
    for name in _candidates(names, role):
        tensor = checkpoint.tensor(name)
        if len(tensor.shape) != 2:  # noqa: PLR2004 - a table has rows and columns
            second_choice.append((2, tensor))
        elif vocab_size is not None and abs(tensor.shape[0] - vocab_size) > PLAUSIBLE_ROWS * vocab_size:
            second_choice.append((1, tensor))
        else:
            return tensor
    if role == "output":  # an unlikely head is no head: `decoder.weight` is many things
        return None
    return min(second_choice, key=lambda choice: choice[0])[1] if second_choice else None


def _others(checkpoint: Checkpoint, names: Sequence[str], role: str) -> list[TensorInfo]:
    """Choose the tables of a secondary role; of a position table, the decoder's or the shortest path's only."""
    found = _candidates(names, role, towers=role == "relative")
    single = role in ("position", "token_type", "task_type")
    return [checkpoint.tensor(name) for name in (found[:1] if single else found)]


def _candidates(names: Sequence[str], role: str, *, towers: bool = False) -> list[str]:
    """Rank the tensors whose name ends as a table of this role does; `towers` keeps those of single blocks."""
    ranked = []
    for name in names:
        if not towers and OTHER_TOWERS.search(plain_path(name)):
            continue
        path = plain_path(name)
        for rank, end in enumerate(TABLE_NAMES[role]):
            if f".{path}".endswith(f".{end}") and (role_of(path) or role) == role:
                ranked.append((rank, "encoder" in path, path.count("."), name))
                break
    return [name for *_, name in sorted(ranked)]


def plain_path(name: str) -> str:
    """Return a tensor's name with dots between its parts: TensorFlow's are `bert/embeddings/weight:0`."""
    return name.partition(":")[0].replace("/", ".") if "/" in name or ":" in name else name


def _ends(name: str) -> tuple[str, str]:
    """Return the last part of a tensor's name, and the last two."""
    parts = plain_path(name).rsplit(".", 2)
    return parts[-1], ".".join(parts[-2:])


def role_of(name: str) -> str | None:
    """Return the role of the table that a tensor's name is usual for; None for other names and for other towers'."""
    name = plain_path(name)
    if OTHER_TOWERS.search(name):
        return None
    fits = ((len(end), role) for role, ends in TABLE_NAMES.items() for end in ends if f".{name}".endswith(f".{end}"))
    return max(fits, default=(0, None))[1]


ENDS = frozenset(_ends(end)["." in end] for ends in TABLE_NAMES.values() for end in ends)
"""What the name of a table ends in, whatever its role: a million other names are passed over quickly."""


def decide_tying(found: Sequence[EmbeddingTable], config: Config | None) -> Tying:
    """Decide whether input and output table are one; where both are stored, the tensors are believed."""
    said = config.tie_word_embeddings if config is not None else None
    origin = None if config is None or said is None else config.origins.get("tie_word_embeddings")
    by_role = {table.role: table for table in found if table.role in ("input", "output")}
    stored = "both" if len(by_role) > 1 else next(iter(by_role), "none")
    if stored == "both":
        same = said is not False and _same(by_role["input"], by_role["output"])
        return Tying(said, stored, "tied" if same else "untied", origin)
    predicts = None if config is None else _predicts(config)
    if stored == "input" and said is None and predicts is not False and config is not None and not config.family_known:
        return Tying(said, stored, "not known", origin)
    if stored == "none" or said is False or said is None or (predicts is False and stored == "input"):
        return Tying(said, stored, "no output table" if stored in ("none", "input") else "no input table", origin)
    return Tying(said, stored, "tied", origin)


def _predicts(config: Config) -> bool | None:
    """Return whether the class that the file names predicts tokens, and so has an output table; None: not known."""
    name, recorded = config.architecture, config.recorded
    if name is None:
        return None
    if recorded is not None and name in recorded.heads | recorded.headless:
        return name in recorded.heads
    return False if BARE_MODEL.search(name) is not None else None


def _same(one: EmbeddingTable, other: EmbeddingTable) -> bool:
    """Compare two stored tables by shape and by a few rows: their bytes, or of two dtypes their numbers."""
    if one.tensor.shape != other.tensor.shape or other.tensor.dtype.decode is None:
        return False
    rows = one.tensor.shape[0] if len(one.tensor.shape) == 2 else 0  # noqa: PLR2004 - a table has rows and columns
    if rows == 0 or one.tensor.dtype.decode is None:
        return False
    sample = sorted({round(row) for row in np.linspace(0, rows - 1, SAMPLED_ROWS)})
    if one.tensor.dtype.name != other.tensor.dtype.name:
        return bool(np.array_equal(one.rows(sample), other.rows(sample), equal_nan=True))
    return bool((one.stored_rows(sample) == other.stored_rows(sample)).all())
