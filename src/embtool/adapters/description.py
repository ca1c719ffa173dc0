"""What an adapter is: of which base, which tables it changes and how, by its tensors' names and adapter_config.json.

The names are those that PEFT writes (https://github.com/huggingface/peft), without the name of the adapter:
`base_model.model.`, the path of a module in the base, and what it holds. A module in modules_to_save is saved whole
(`weight`), and where the table was resized three times over (`modules_to_save.weight`, `original_module.weight`); a
table that LoRA is put on is saved beside it (`base_layer.weight`). vLLM's `new_embeddings.safetensors` holds the rows
of tokens that the base does not have.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from embtool.adapters import INVERSION, may_be_adapter
from embtool.errors import ConfigError, FormatError, UnsupportedFormat
from embtool.formats.inversion import InversionCheckpoint
from embtool.formats.safetensors import strict_object
from embtool.storage.checkpoint import Checkpoint, TensorInfo
from embtool.storage.source import CONFIG_LIMIT, Source
from embtool.tables.table_roles import role_of

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model"
NEW_ROWS: Mapping[str, str] = MappingProxyType({"input_embeddings": "input", "output_embeddings": "output"})
"""vLLM's names of the rows of new tokens, by the role of the table that they follow."""

PREFIX = re.compile(r"^base_model\.(model\.)?")

ENDS = (
    "token_adapter.trainable_tokens_delta",
    "trainable_tokens_delta",
    "lora_embedding_A",
    "lora_embedding_B",
    "lora_A.weight",
    "lora_B.weight",
    "lora_B.bias",
    "lora_magnitude_vector",
    "lora_magnitude_vector.weight",
    "modules_to_save.weight",
    "original_module.weight",
    "base_layer.weight",
    "weight",
    "bias",
)
"""What a module of an adapter holds, the longer names first."""

WITH_NAME = re.compile(
    r"\.(lora_embedding_[AB]|trainable_tokens_delta|lora_magnitude_vector)\.(?!weight$)[^.]+$"
    r"|\.(lora_[AB]|modules_to_save|lora_magnitude_vector)\.(?!weight$)[^.]+\.weight$"
)
"""Names that still have the name of the adapter in them, as a state_dict has them: PEFT's loader passes over them."""

PROMPTS = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT", "CARTRIDGE")
"""Types that put vectors before the text, and leave the tables as they are."""

MOVES_BASE = ("pissa", "olora", "corda", "lora_ga")
"""Ways to begin with which PEFT changes the base's own weights when the adapter is loaded."""

VARIANTS = ("kasa_config", "monteclora_config", "use_bdlora", "use_qalora", "velora_config", "arrow_config")
"""Settings under which LoRA is something else than row + scale × B A."""

MARKS = frozenset({"lora_embedding_A", "trainable_tokens_delta", "token_adapter.trainable_tokens_delta"})
"""What is put on tables only, whatever their path."""

MOST_IDS = 1 << 20
"""Ids that adapter_config.json may list: more than that is another table."""

SIDES = 2


@dataclass(frozen=True)
class TableChange:
    """What an adapter does to one table of its base.

    Attributes:
        module: the path of the module in the base, such as that of embed_tokens.
        role: what the table is for, by that path: input, output, position, ...
        parts: the tensors it is made of, by the ends of their names.
        ids: the rows that `trainable_tokens_delta` stands for, in its order.
        unread: ends of tensors whose effect on rows is not known here.
    """

    module: str
    role: str
    parts: Mapping[str, TensorInfo]
    ids: tuple[int, ...] = ()
    unread: tuple[str, ...] = ()

    def get(self, *ends: str) -> TensorInfo | None:
        """Return the first of these parts that is there."""
        return next((self.parts[end] for end in ends if end in self.parts), None)

    @property
    def whole(self) -> TensorInfo | None:
        """The whole table, where the adapter holds one, be it the one that LoRA is put on."""
        return self.get("weight", "modules_to_save.weight", "base_layer.weight")

    @property
    def tokens(self) -> TensorInfo | None:
        """The rows of single tokens."""
        return self.get("token_adapter.trainable_tokens_delta", "trainable_tokens_delta")

    @property
    def low_rank(self) -> tuple[TensorInfo, TensorInfo] | None:
        """LoRA's A and B, of an embedding or of a linear layer; None where there are not both."""
        found = (
            self.get("lora_embedding_A", "lora_A.weight"),
            self.get("lora_embedding_B", "lora_B.weight"),
        )
        return None if found[0] is None or found[1] is None else (found[0], found[1])

    @property
    def is_embedding(self) -> bool:
        """Whether A has a column for each row of the table; of a linear layer B has a row for each."""
        return "lora_embedding_A" in self.parts

    @property
    def magnitude(self) -> TensorInfo | None:
        """DoRA's magnitudes."""
        return self.get("lora_magnitude_vector", "lora_magnitude_vector.weight")

    @property
    def needs_base(self) -> bool:
        """Whether its rows are known only with those of the base."""
        is_whole = self.whole is not None and self.get("base_layer.weight") is not self.whole
        return not is_whole or self.tokens is not None or self.low_rank is not None

    @property
    def unused(self) -> tuple[TensorInfo, ...]:
        """Tensors that hold the table again, and that no loader needs."""
        copies = ("weight", "modules_to_save.weight", "original_module.weight", "base_layer.weight")
        return tuple(self.parts[end] for end in copies if end in self.parts and self.parts[end] is not self.whole)

    @property
    def rows(self) -> int | None:
        """How many rows the table has for which this was made; None where that cannot be told."""
        if self.whole is not None and len(self.whole.shape) == SIDES:
            return self.whole.shape[0]
        pair = self.low_rank
        if pair is None or any(len(tensor.shape) != SIDES for tensor in pair):
            return None
        return pair[0].shape[1] if self.is_embedding else pair[1].shape[0]


@dataclass(frozen=True)
class Adapter:
    """An adapter, by its files.

    Attributes:
        settings: adapter_config.json; empty where there is none.
        checkpoint: its tensors.
        changes: the tables it changes.
        appended: rows of new tokens, by the role of the table that they follow; of several those count that are as wide
            as its rows.
        stands_alone: whether its own rows are what is asked for, unless a base is named.
    """

    settings: Mapping[str, Any]
    checkpoint: Checkpoint
    changes: tuple[TableChange, ...] = ()
    appended: Mapping[str, tuple[TensorInfo, ...]] = field(default_factory=dict)
    stands_alone: bool = False

    @property
    def kind(self) -> str:
        """What kind it is, as PEFT names it."""
        said = self.settings.get("peft_type")
        return said if isinstance(said, str) and said else INVERSION if self.stands_alone else "LORA"

    @property
    def base(self) -> str | None:
        """The name of the model it was made for, as its file has it."""
        said = self.settings.get("base_model_name_or_path")
        return said if isinstance(said, str) and said else None

    @property
    def revision(self) -> str | None:
        """The revision of the base, where its file names one."""
        said = self.settings.get("revision")
        return said if isinstance(said, str) and said else None

    @property
    def needs_base(self) -> bool:
        """Whether the rows of a table that it changes are known only with the base's; so too if it changes none."""
        if self.stands_alone:
            return False
        return not self.changes or bool(self.appended) or any(change.needs_base for change in self.changes)

    @property
    def rows(self) -> int | None:
        """How many rows its input table has, or else its output table; None where none is told."""
        return next((change.rows for change in self.changes if change.rows is not None), None)

    @property
    def ties(self) -> bool:
        """Whether PEFT keeps tied tables tied under it."""
        return self.settings.get("ensure_weight_tying") is True

    @property
    def prompt(self) -> TensorInfo | None:
        """The vectors that are put before a text, where it brings some."""
        name = next((name for name in self.checkpoint.names if name.rpartition(".")[2] == "prompt_embeddings"), None)
        return None if name is None else self.checkpoint.tensor(name)

    @cached_property
    def misnamed(self) -> list[str]:
        """List the tensors with the adapter's own name in theirs, which PEFT's loader passes over."""
        return [name for name in self.checkpoint.names if WITH_NAME.search(name)]

    def rank_and_scale(self, change: TableChange) -> tuple[int, float]:
        """Return the rank of LoRA on a table, and what B A is multiplied by.

        Raises:
            FormatError: there is no rank.
            ConfigError: adapter_config.json does not say the scale in a way that is read here.
        """
        pair = change.low_rank
        assert pair is not None
        rank = pair[0].shape[0] if pair[0].shape else 0
        if not rank:
            raise FormatError(f"tensor {pair[0].name} in {pair[0].shard} has no rows: it was saved empty")
        patterns = self.settings.get("alpha_pattern")  # of modules: a path, or the end of one
        found = self.settings.get("lora_alpha", 8)
        for key, stated in patterns.items() if isinstance(patterns, dict) else ():
            name = str(key).removeprefix("^").removesuffix("$").replace(r"\.", ".")
            if not re.fullmatch(r"[\w.-]+", name):  # a pattern of a stranger is not run: it can take for ever
                raise ConfigError(f"alpha_pattern in {CONFIG} has an expression that is not read here: {key!r}")
            if change.module == name or change.module.endswith(f".{name}"):
                found = stated
                break
        if type(found) not in (int, float):
            raise ConfigError(f"lora_alpha in {CONFIG} is no number: {found!r}")
        alpha = float(found)
        return rank, alpha / (rank**0.5 if self.settings.get("use_rslora") is True else rank)


def read_adapter(source: Source, checkpoint: Checkpoint) -> Adapter | None:
    """Read what the tensors of a checkpoint change in another model; None where they are a model of their own.

    Raises:
        FormatError: its adapter_config.json cannot be read.
        ConfigError: it lists ids in a way that cannot be meant.
    """
    if isinstance(checkpoint, InversionCheckpoint):
        tensors = tuple(checkpoint.tensor(name) for name in checkpoint.names)
        return Adapter({}, checkpoint, appended={"input": tensors}, stands_alone=True)
    if not may_be_adapter(checkpoint):
        return None
    folder = (checkpoint.shards[0].rpartition("/")[0] + "/").removeprefix("/") if checkpoint.shards else ""
    settings: Mapping[str, Any] = {}
    if source.has(folder + CONFIG):
        settings = strict_object(source.read_file(folder + CONFIG, CONFIG_LIMIT), what=CONFIG)
    modules: dict[str, dict[str, str]] = {}
    for name in checkpoint.names:
        module, end = _split(name)
        if module is not None:
            modules.setdefault(module, {})[end] = name
    changes = []
    for module, ends in modules.items():
        role = role_of(f"{module}.weight")
        if role not in ("input", "output", "position") and MARKS.isdisjoint(ends):
            continue
        parts = {end: checkpoint.tensor(name) for end, name in ends.items()}
        unread = tuple(sorted(end for end in ends if end not in ENDS))
        change = TableChange(module, role or "input", parts, unread=unread)
        changes.append(change if change.tokens is None else replace(change, ids=_ids(module, settings)))
    appended = {role: (checkpoint.tensor(name),) for name, role in NEW_ROWS.items() if name in checkpoint.names}
    order = {"input": 0, "output": 1}
    changes.sort(key=lambda change: order.get(change.role, 2))
    return Adapter(settings, checkpoint, tuple(changes), appended)


def _split(name: str) -> tuple[str | None, str]:
    """Split the name of a tensor into the path of a module of the base and what it holds; None where it is neither."""
    if WITH_NAME.search(name):
        return None, name
    path = PREFIX.sub("", name)
    for end in ENDS:
        if path.endswith(f".{end}"):
            return path.removesuffix(f".{end}"), end
    module, _, end = path.rpartition(".")
    return module or None, end


def _ids(module: str, settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Read the ids that the rows of tokens stand for; a dictionary names them for each module.

    Raises:
        ConfigError: they are no ids.
    """
    said = settings.get("trainable_token_indices", settings.get("token_indices"))
    if isinstance(said, dict):
        keys: Sequence[str] = [key for key in said if module == key or module.endswith(f".{key}")]
        said = said[keys[0]] if keys else None
    if said is None:
        return ()
    if not isinstance(said, list) or len(said) > MOST_IDS or not all(type(each) is int and each >= 0 for each in said):
        raise ConfigError(f"{CONFIG} lists token ids that are none")
    return tuple(said)


def check_read(adapter: Adapter, change: TableChange, name: str) -> None:
    """Refuse by its name what changes a table in a way that is not read here.

    Raises:
        UnsupportedFormat: it is such a way.
    """
    if change.unread:
        what = ", ".join(change.unread)
        raise UnsupportedFormat(f"{name} changes {change.module} by {adapter.kind}, which is not read ({what})")
    variant = next((key for key in VARIANTS if adapter.settings.get(key)), None)
    if change.low_rank is not None and variant is not None:
        raise UnsupportedFormat(f"{name} changes {change.module} by a kind of LoRA that is not read here: {variant}")
    begun = str(adapter.settings.get("init_lora_weights", "")).lower()
    if change.low_rank is not None and not change.is_embedding and begun.startswith(MOVES_BASE):
        raise UnsupportedFormat(
            f"{name} begins with init_lora_weights {begun!r}: PEFT changes {change.module} of the base at loading",
            hint="convert it to LoRA first: path_initial_model_for_weight_conversion in save_pretrained",
        )
