"""Which tensors of a checkpoint are its tables, what each is for, and whether input and output table are one.

A checkpoint of a modern model holds several tensors that look like an embedding table: those of vision and audio
towers, of multi-token-prediction layers, of speech decoders. So a name is only the first sign; a table must also have
two dimensions and about as many rows as the config has tokens, and the shortest path outside the other towers wins.

To teach embtool a table's name: add a row to `TABLE_NAMES`.
"""

import contextlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from embtool.arrays import np
from embtool.configs.config import WHATEVER, Config
from embtool.errors import TableNotFound
from embtool.storage.checkpoint import Checkpoint, TensorInfo
from embtool.tables.further_tables import OF_TOKENS, as_rows, further_tables, one_layer
from embtool.tables.table import EmbeddingTable

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

SAMPLED_ROWS = 3
"""Rows compared (first, middle, last) where only the bytes can tell whether two stored tables are one."""


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
        hint = f"its tables: {names or 'none'}"
        if not names:
            from embtool.tables.unknown_tables import hint_of_candidates  # noqa: PLC0415 - rare

            hint = hint_of_candidates(self.candidates()) or hint
        raise TableNotFound(f"{self.source_name} has no {role} table", hint=hint)

    def candidates(self, *sizes: int) -> list[TensorInfo]:
        """List tensors that look like a table of tokens; `sizes` is how many tokens there are, where more is known."""
        from embtool.tables.unknown_tables import find_candidates  # noqa: PLC0415 - rare

        return find_candidates(self.checkpoint, (*self.sizes, *sizes))

    def repeated(self, table: EmbeddingTable) -> str | None:
        """Return the role of the table that a further one repeats, as a draft head may repeat the input table.

        None where it repeats none, and where the files are not on this machine.
        """
        if not table.role.endswith(("_input", "_output")) or not self.checkpoint.source.local:
            return None
        return next((each.role for each in self.stored if each.role in OF_TOKENS and _same(each, table)), None)


def find_tables(checkpoint: Checkpoint, config: Config | None) -> Tables:
    """Find every table of a model by name, rank and size; a tensor's own shape wins over the config."""
    vocab_size = config.vocab_size if config is not None else None
    names = [name for name in checkpoint.names if not ENDS.isdisjoint(_ends(name))]
    found: list[EmbeddingTable] = []
    found += [EmbeddingTable(role, checkpoint.tensor(name), checkpoint) for name, role in checkpoint.roles.items()]
    for role in ("input", "output") if not found else ():
        if role == "output":
            vocab_size = _predicted(checkpoint, config)
        tensor = _recorded(checkpoint, config, role)
        if role == "output" and tensor is not None and EMBEDS.search(tensor.name):  # a decoder's input table, when tied
            tensor = _best(checkpoint, names, role, vocab_size) or tensor
        if tensor is None and (role == "input" or config is None or _predicts(config) is not False):
            tensor = _best(checkpoint, names, role, vocab_size)
        if tensor is not None:
            found.append(EmbeddingTable(role, tensor, checkpoint))
    for role in TABLE_NAMES.keys() - {"input", "output"}:
        seen = _recorded(checkpoint, config, role)
        others = _candidates(names, role, towers=role == "relative") if seen is None else [seen.name]
        if role in ("position", "token_type", "task_type"):  # of these one: in both stacks that beside the input table
            beside = found[0].tensor.name if found and found[0].role == "input" else ""
            others = [_nearest_path(others if seen is None else names, name, beside) for name in others[:1]]
        found += [EmbeddingTable(role, checkpoint.tensor(name), checkpoint) for name in others]
    order = list(TABLE_NAMES)
    found.sort(key=lambda table: order.index(table.role))
    tying, layers = decide_tying(found, config), config.num_hidden_layers if config is not None else None
    taken = {table.tensor.name for table in found}
    if any(table.role in OF_TOKENS for table in found):  # else what it would list may be the table itself
        found += [EmbeddingTable(role, each, checkpoint) for role, each in further_tables(checkpoint, taken, layers)]
    sizes = () if config is None or config.vocab_size is None else (config.vocab_size,)
    return Tables(checkpoint.source.name, tuple(found), tying, checkpoint, layers, sizes)


def _predicted(checkpoint: Checkpoint, config: Config | None) -> int | None:
    """Return how many tokens a model predicts: a draft head a part of those it reads, by its config or its map."""
    drafted = None if config is None else config.raw.get("draft_vocab_size")
    if type(drafted) is int:
        return drafted
    mapped = checkpoint.tensor("d2t").shape if "d2t" in checkpoint.names else ()
    return mapped[0] if mapped else None if config is None else config.vocab_size


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
