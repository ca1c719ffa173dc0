"""Which kind of layer stands where, and which layers are left without positions.

Files name the kinds in a list (`layer_types`), in one of the lists that came before it, by a period, or not at all;
then the pattern of the family is what remains. Each answer carries its origin.

To teach it an older list: one row in `OLD_LISTS`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from embtool.configs.config import Config
from embtool.configs.fields import Fields
from embtool.counts import plural
from embtool.errors import ConfigError

MAX_LAYERS = 100_000
"""Layers. Real models have at most a few hundred; a config that claims more is a mistake or an attack on memory."""

WITHOUT_ATTENTION = frozenset(
    {"linear_attention", "conv", "mamba", "mamba2", "recurrent", "moe", "mlp", "lightning_attention", "linear"}
)
"""Layer types that mix tokens in order, or not at all, and so have no use for positions."""

CROSS_ATTENTION = (3, 8, 13, 18, 23, 28, 33, 38)
"""The layers of Llama 3.2 Vision that look at the image, when the file does not list them."""

TYPE_NAMES: Mapping[str, str] = {"attention": "full_attention"}
"""Other names of layer types."""


@dataclass(frozen=True)
class LayerTypes:
    """The type of every layer, and where that was read."""

    types: tuple[str, ...]
    origin: str


@dataclass(frozen=True)
class SilentLayers:
    """The attention layers that are left without positions, and where that was read; None where no rule exempts any."""

    layers: tuple[int, ...]
    origin: str | None


# --- Types --------------------------------------------------------------------------------------------------------


def read_layer_types(config: Config) -> LayerTypes | None:
    """The type of every layer, from the list in the file, an older field, or the pattern of the family.

    None where the layers are all alike, or their number is not known.

    Raises:
        ConfigError: A list is too short or holds what it must not; the message names it.
    """
    count = layer_count(config)
    if count is None:
        return None
    listed = _listed(config, count) or _by_family(config, count)
    if listed is not None:
        if len(listed.types) < count:
            raise ConfigError(
                f"{config.file}: {listed.origin} must have {plural(count, 'entry', 'entries')}, one per layer, "
                f"not {len(listed.types)}"
            )
        return LayerTypes(tuple(TYPE_NAMES.get(name, name) for name in listed.types[:count]), listed.origin)
    pattern = config.family.pattern
    if pattern is None or (config.family.nope == "full_attention" and _window(config) is None):
        return None  # without a window the layers are all alike, and the period in the file may be 0
    fields, period, origin = config.fields, pattern.period, config.class_default
    if pattern.key is not None and fields.has(pattern.key):
        origin = fields.name(pattern.key)
        letters = fields.mapping[pattern.key]
        if isinstance(letters, str):
            if not letters or set(letters) - {"L", "G"}:  # EXAONE's "LLLG": local, local, local, global, and again
                raise fields.error(pattern.key, "a number or a string of L and G")
            is_at = (letters[i % len(letters)] == "G" for i in range(count))
            return LayerTypes(tuple(pattern.at if at else pattern.elsewhere for at in is_at), origin)
        period = fields.integer(pattern.key, minimum=1) or period
    phase = 0 if pattern.first else period - 1
    types = (pattern.at if i % period == phase else pattern.elsewhere for i in range(count))
    return LayerTypes(tuple(types), origin)


def layer_count(config: Config) -> int | None:
    """The number of layers.

    Raises:
        ConfigError: It is beyond reason.
    """
    count = config.num_hidden_layers
    if count is not None and count > MAX_LAYERS:
        where = config.origins["num_hidden_layers"]
        raise ConfigError(f"{config.file}: {where} must be at most {MAX_LAYERS}, not {count}")
    return count


def _listed(config: Config, count: int) -> LayerTypes | None:
    """The list in the file: `layer_types`, or the first of those that came before it."""
    fields = config.fields
    listed = fields.strings("layer_types")
    if listed is not None:
        return LayerTypes(listed, fields.name("layer_types"))
    for key, read in OLD_LISTS.items():
        if fields.has(key):
            names = read(fields, key, count)
            return None if names is None else LayerTypes(names, fields.name(key))
    return None


def _by_family(config: Config, count: int) -> LayerTypes | None:
    """The lists of classes that no period describes."""
    if config.family_key == "mimo_v2_flash":
        return _class_list(config, ("full_attention" if i == 0 or (i + 1) % 6 == 0 else SLIDING for i in range(count)))
    if config.family_key == "deepseek_v4":
        kinds = ("heavily_compressed_attention", "compressed_sparse_attention")
        return _class_list(config, (kinds[0 if i < 2 else i % 2] for i in range(count)))  # noqa: PLR2004 - the first two
    if config.family_key == "llama4_text":
        silent = read_silent_layers(config, None)
        whole = frozenset(silent.layers)
        chunked = ("full_attention" if i in whole else "chunked_attention" for i in range(count))
        return LayerTypes(tuple(chunked), silent.origin or config.class_default)
    return None


SLIDING = "sliding_attention"


def _class_list(config: Config, names: Iterable[str]) -> LayerTypes:
    return LayerTypes(tuple(names), config.class_default)


ReadList = Callable[[Fields, str, int], tuple[str, ...] | None]


def _flags(one: str, zero: str) -> ReadList:
    """A list with a number per layer: 0 is one type, anything else the other."""

    def read(fields: Fields, key: str, count: int) -> tuple[str, ...] | None:
        del count
        numbers = fields.integers(key)
        return None if numbers is None else tuple(one if number else zero for number in numbers)

    return read


def _indices(fields: Fields, key: str, count: int) -> tuple[str, ...] | None:
    """A list of the layers that have attention."""
    chosen = frozenset(fields.integers(key) or ())
    return tuple("full_attention" if i in chosen else "conv" for i in range(count))


def _cycle(fields: Fields, key: str, count: int) -> tuple[str, ...] | None:
    """A short list that repeats."""
    names = fields.strings(key)
    if not names:
        return None
    names = tuple({"attention": SLIDING, "recurrent": "linear_attention"}.get(name, name) for name in names)
    return tuple(names[i % len(names)] for i in range(count))


COMPRESSION = {0: SLIDING, 4: "compressed_sparse_attention", 128: "heavily_compressed_attention"}


def _ratios(fields: Fields, key: str, count: int) -> tuple[str, ...] | None:
    """DeepSeek-V4's compression ratio per layer."""
    del count
    ratios = fields.integers(key) or ()
    if not all(ratio in COMPRESSION for ratio in ratios):
        raise fields.error(key, "a list of 0, 4 and 128")
    return tuple(COMPRESSION[ratio] for ratio in ratios)


OLD_LISTS: Mapping[str, ReadList] = {
    "hybrid_layer_pattern": _flags(SLIDING, "full_attention"),  # MiMo
    "attn_type_list": _flags("full_attention", "linear_attention"),  # MiniMax-Text-01
    "full_attn_idxs": _indices,  # LFM2
    "attn_layer_indices": _indices,  # Bamba
    "block_types": _cycle,  # RecurrentGemma
    "compress_ratios": _ratios,  # DeepSeek-V4
    "layers_block_type": lambda fields, key, _: fields.strings(key),  # hybrids of attention and state spaces
}
"""The fields that held layer types before `layer_types` did, and how each is read."""


# --- Layers without positions -------------------------------------------------------------------------------------


def read_silent_layers(config: Config, types: LayerTypes | None) -> SilentLayers:
    """The attention layers that the family leaves without positions.

    Raises:
        ConfigError: `no_rope_layers` is too short.
    """
    rule = config.family.nope
    if rule == "no_rope_layers":
        return _listed_silent(config)
    if rule == "cross_attention_layers":
        count = layer_count(config) or 0
        listed = config.fields.integers(rule)
        silent = tuple(sorted({i for i in (CROSS_ATTENTION if listed is None else listed) if i < count}))
        return SilentLayers(silent, config.class_default if listed is None else config.fields.name(rule))
    if rule == "layer_rope_theta" and config.fields.has(rule):
        thetas = config.fields.numbers(rule) or ()
        return SilentLayers(tuple(i for i, theta in enumerate(thetas) if not theta), config.fields.name(rule))
    if rule == "layer_rope_theta" and types is not None and not config.family.theta_by_layer:
        return SilentLayers(
            tuple(i for i, kind in enumerate(types.types) if kind == "full_attention"), config.class_default
        )
    if rule == "full_attention" and types is not None and _window(config) is not None:
        silent = tuple(i for i, kind in enumerate(types.types) if kind == "full_attention")
        where = config.fields.name("sliding_window") if "sliding_window" in config.text else config.class_default
        return SilentLayers(silent, f"full attention beside a sliding window ({where})")
    return SilentLayers((), None)


def _window(config: Config) -> int | None:
    """The sliding window; an explicit null switches it off."""
    if "sliding_window" in config.text:
        return config.fields.integer("sliding_window")
    return config.family.sliding_window


def _listed_silent(config: Config) -> SilentLayers:
    """`no_rope_layers` has 1 for a layer WITH RoPE and 0 for one without, whatever its name says."""
    fields, count = config.fields, layer_count(config) or 0
    flags, name = fields.integers("no_rope_layers"), fields.name("no_rope_layers")
    # Llama 4 takes an empty list for the default; SmolLM3 only null.
    if flags is None or (not flags and config.family_key == "llama4_text"):
        stated = fields.integer("no_rope_layer_interval", minimum=1)
        interval = stated or 4
        origin = fields.name("no_rope_layer_interval") if stated else config.class_default
        return SilentLayers(tuple(range(interval - 1, count, interval)), origin)
    if len(flags) < count:
        wanted = plural(count, "entry", "entries")
        raise ConfigError(f"{config.file}: {name} must have {wanted}, one per layer, not {len(flags)}")
    return SilentLayers(tuple(i for i, rotates in enumerate(flags[:count]) if not rotates), name)
