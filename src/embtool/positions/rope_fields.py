"""RoPE settings as config files write them -> one `RopeSettings`, with the origin of every value.

Each setting is looked for in the dictionaries of its `RopeSource`, then at the top level of the language model's config
under the names its family uses, then in the class. What no formula can use is refused with the path of its field. Which
type reads which fields is in `embtool.rope.STRETCHING`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from embtool.configs.config import NOT_IN_FILE, Config
from embtool.configs.families import UNKNOWN
from embtool.configs.fields import Fields
from embtool.errors import ConfigError
from embtool.positions.layers import read_layer_types
from embtool.positions.rope_sources import RopeSource
from embtool.rope import STRETCHING, USUAL, RopeSettings, attention_factor

Value = TypeVar("Value")

OLD_NAMES: Mapping[str, str] = {"su": "longrope", "mrope": "default", "xdrope": "default"}
"""Older names of RoPE types."""

UNKNOWN_LAYOUT = "family unknown, layout not known"
"""The origin of the layout of a model whose family is not in the table."""

ATTENTION_FACTORS: Mapping[str, str] = {
    "yarn": "0.1 * ln(factor) + 1",
    "longrope": "sqrt(1 + ln(factor) / ln(original_max_position_embeddings))",
}
"""How the attention factor comes about where the file does not state it; in other types it is 1."""

CHATGLM_THETA = 10_000.0
"""What ChatGLM's `rope_ratio` multiplies."""


WHOLE_HEADS = frozenset({"mistral4", "mistral_large4_text", "dots3_note_text"})
"""Families with latent attention whose share is not that of the rotary part."""

ONE_POSITION = "mrope_section is in the file, but this family has one position per token"
UNSEEN_AXES = "how the pairs are shared among the positions of an image (mrope_section) was not seen"

UNSEEN = frozenset({"cosmos3_edge", "cosmos3_edge_text", "hy_v4_vl", "hy_v4_vl_text"})
"""Families with several positions per token whose order was not looked at: a text has the same in all."""

LONGEST_INDEX = 9
"""Digits of a layer's number."""

SHARE = "partial_rotary_factor"
"""The field that is read with the width, for every type."""


@dataclass(frozen=True)
class Share:
    """The part of a head that turns: as a share, in channels where the file counts so, and where it was read."""

    share: float
    channels: int | None
    origin: str


class SettingsReader:
    """Reads the settings of one kind of layer, and writes down where each was found."""

    def __init__(self, config: Config, source: RopeSource) -> None:
        self.config = config
        self.source = source
        self.fields = config.fields
        self.origins: dict[str, str] = {}
        self.notes: list[str] = []

    def read(self) -> RopeSettings:
        """The settings.

        Raises:
            ConfigError: A field is missing, of the wrong type, or nothing a formula can use; the message names it.
            UnsupportedRope: The `rope_type` is not known.
        """
        try:
            head_dim = self._head_dim()
            kind = self._rope_type()
            values = {
                "head_dim": head_dim,
                "rope_type": kind,
                "rope_theta": self._theta(),
                **self._width(kind, head_dim),
                **{name: self._stretching_field(name, kind) for name in STRETCHING.get(kind, ()) if name != SHARE},
            }
            values |= {
                "attention_factor": self._attention_factor(kind, values),
                "max_position_embeddings": self.config.max_position_embeddings,
                "layout": self._layout(),
                "rotated_part": self.config.family.rotated_part,
                "clockwise": self.config.family.clockwise,
            }
            settings = RopeSettings(**values, **self._mrope(values["rotary_dim"] // 2))
            attention_factor(settings)
        except ConfigError as error:
            if error.message.startswith(f"{self.config.file}: "):
                raise
            raise self._naming(error) from error
        return settings

    # --- errors

    def _naming(self, error: ConfigError) -> ConfigError:
        """Put the file and the path of the field in front of an error about a setting."""
        name, _, rest = error.message.partition(" ")
        origin = self.origins.get(name, "")
        if name in ("head_dim", "rotary_dim") and not origin.endswith(name):
            return type(error)(f"{self.config.file}: {origin or name}: {error.message}", hint=error.hint)
        path = origin if origin.endswith(name) and " " not in origin else self._path(name)
        return type(error)(f"{self.config.file}: {path} {rest}", hint=error.hint)

    def _path(self, name: str) -> str:
        """Where a setting would stand in this file."""
        if name == "max_position_embeddings" or not self.source.sections:
            return self.fields.name(name)
        inside = self.source.sections[0]
        if name == "rope_type" and not inside.has("rope_type") and inside.has("type"):
            return inside.name("type")
        return inside.name(name)

    # --- one field

    def _find(self, key: str, read: Callable[[Fields, str], Value | None]) -> Value | None:
        """A setting from the dictionaries of the file, or of the class."""
        if key in self.source.ignored:
            return None
        if key in self.source.overrides and self.fields.has(key):
            return self._noted(key, read(self.fields, key), self.fields.name(key))
        for section in self.source.sections:
            if section.has(key):
                return self._noted(key, read(section, key), section.name(key))
        if self.source.class_section.get(key) is not None:
            inside = Fields(self.source.class_section, self.config.file)
            return self._noted(key, read(inside, key), self.config.class_default)
        return None

    def _noted(self, key: str, value: Value, origin: str) -> Value:
        self.origins[key] = origin
        return value

    # --- the head

    def _head_dim(self) -> int:
        """The channels of a head of this kind of layer."""
        family, label = self.config.family, self.source.label
        found = self._head_dim_of_layers(label)
        if found is not None:
            return found
        if family.global_head_dim is not None and label == "full_attention":
            stated = self.fields.integer("global_head_dim", minimum=1)
            origin = self.fields.name("global_head_dim") if stated else self.config.class_default
            return self._noted("head_dim", stated or family.global_head_dim, origin)
        found = self.config.head_dim
        if found is None:
            why = self.config.origins["head_dim"]
            missing = "and neither are hidden_size and num_attention_heads" if why == NOT_IN_FILE else f"and {why}"
            raise ConfigError(f"{self.config.file}: {self.fields.name('head_dim')} is not in the file, {missing}")
        return self._noted("head_dim", found, self.config.origins["head_dim"])

    def _head_dim_of_layers(self, label: str) -> int | None:
        """The width that `per_layer_config` gives the layers of this kind; None where it says nothing of them."""
        section = self.fields.section("per_layer_config")
        types = read_layer_types(self.config) if section is not None else None
        if section is None or types is None:
            return None
        found: dict[int, str] = {}
        for key in section.mapping:
            inner = section.section(key)
            width = inner.integer("head_dim", minimum=1) if inner is not None else None
            layer = int(key) if key.isascii() and key.isdecimal() and len(key) < LONGEST_INDEX else len(types.types)
            if width is not None and inner is not None and types.types[layer : layer + 1] == (label,):
                found[width] = inner.name("head_dim")
        if len(found) > 1:
            raise section.error(next(iter(section.mapping)), f"the same head_dim for all layers of type {label}")
        return self._noted("head_dim", *found.popitem()) if found else None

    def _width(self, kind: str, head_dim: int) -> dict[str, Any]:
        """How many channels turn; and the share, where the formula itself needs it."""
        found = self._share(head_dim)
        if kind == "proportional":
            self.origins["rotary_dim"] = "head_dim: pairs over the whole head, of which some turn"
            origin = self.config.class_default if found is None else found.origin
            share = self._noted(SHARE, 1.0 if found is None else found.share, origin)
            return {"rotary_dim": head_dim, "partial_rotary_factor": share}
        # a width counted in channels is obeyed, also by a family whose default RoPE does not read its share
        obeyed = self.config.family.honours_partial or (found is not None and found.channels is not None)
        if found is not None and kind == "default" and not obeyed:
            if found.share != 1:
                self.notes.append(f"{found.origin} is in the file, but this family's default RoPE ignores it")
            found = None
        if found is None or self.config.family_key in WHOLE_HEADS:
            # these count their share over both parts of a head; head_dim here is the rotary part alone
            return {"rotary_dim": self._noted("rotary_dim", head_dim, "head_dim")}
        self.origins["rotary_dim"] = found.origin
        width = found.channels if found.channels is not None else int(head_dim * min(max(found.share, -1), 2))
        if not 0 < found.share <= 1 or width == 0:
            raise ConfigError(f"{self.config.file}: {found.origin} leaves {width} of {head_dim} channels to rotate")
        if width % 2 and width < head_dim and self.config.family.odd_rotary_dim:
            self.notes.append(f"an odd rotary width of {width} is rounded up to whole pairs, as this family does")
            return {"rotary_dim": width + 1, "exponent_dim": width}
        return {"rotary_dim": width}

    def _share(self, head_dim: int) -> Share | None:
        """The share of a head that turns, from whichever field the family has; None is all of it."""
        family, fields = self.config.family, self.fields
        inside = self._find(SHARE, Fields.number)
        if inside is not None:
            return Share(inside, None, self.origins.pop(SHARE))
        for key in family.partial_keys:
            stated = fields.number(key)
            if stated is not None:
                return Share(stated, None, fields.name(key))
        own = ("rotary_dim",) if family.rotary_dim_key else ()
        for key in ("qk_rope_head_dim",) if self.config.family_key == "deepseek_v4" else own:
            width = fields.integer(key)
            if width is not None:
                return Share(width / head_dim, width, fields.name(key))
        if family.rotary_dim is not None:
            return Share(family.rotary_dim / head_dim, min(family.rotary_dim, head_dim), self.config.class_default)
        if family.partial_rotary_factor is None:
            return None
        return Share(family.partial_rotary_factor, None, self.config.class_default)

    def _layout(self) -> Any:
        """The pairing of the family; latent families can switch theirs in the file."""
        family = self.config.family
        stated = self.config.origins.get("layout")
        self.origins["layout"] = stated or (self.config.class_default if family.layout else UNKNOWN_LAYOUT)
        if stated is not None:
            return family.layout
        if family.layout == "interleaved-in-half-out" and self.fields.boolean("rope_interleave") is False:
            return self._noted("layout", "half", self.fields.name("rope_interleave"))
        if self.config.family_key == "deepseek_v2" and self.fields.boolean("use_mla") is False:
            return self._noted("layout", "half", self.fields.name("use_mla"))
        if self.config.family_key == "gpt_neo":
            return self._noted("layout", "interleaved", self.fields.name("rotary"))
        return family.layout

    # --- the frequencies

    def _rope_type(self) -> str:
        """The type by its own name, under whichever key and by whichever older name the file has it."""
        stated = self._find("rope_type", Fields.string)
        if stated is None:
            stated = self._find("type", Fields.string)
            if stated is not None:
                self.origins["rope_type"] = self.origins.pop("type")
        if stated is None:
            stated = self._noted("rope_type", "default", NOT_IN_FILE)
        family = self.config.family_key
        if stated == "yarn" and family == "phi3":
            return "longrope"
        if family == "qwen" and self.fields.boolean("use_dynamic_ntk"):
            return self._noted("rope_type", "qwen_ntk", self.fields.name("use_dynamic_ntk"))
        if stated == "dynamic" and self.config.family.dynamic_ntk == "alpha":
            alpha = self._find("alpha", Fields.number)
            return "ntk_alpha" if alpha else stated
        return OLD_NAMES.get(stated, stated)

    def _theta(self) -> float:
        """The base: from the dictionary, the top level, or the class."""
        if self.config.family.theta_by_layer and self.fields.has("layer_rope_theta"):
            thetas = {theta for theta in self.fields.numbers("layer_rope_theta") or () if theta}
            if len(thetas) != 1:
                raise self.fields.error("layer_rope_theta", "the same for all layers that turn")
            return self._noted("rope_theta", thetas.pop(), self.fields.name("layer_rope_theta"))
        inside = self._find("rope_theta", Fields.number)
        if inside is not None:
            return inside
        for key in self.source.theta_keys:
            stated = self.fields.number(key)
            if stated is not None:
                return self._noted("rope_theta", stated, self.fields.name(key))
            if key in self.fields.mapping:
                self.notes.append(f"{self.config.file}: {self.fields.name(key)} is null and counts as absent")
        ratio = self.fields.number("rope_ratio")
        if ratio is not None:
            origin = f"{CHATGLM_THETA:.0f} * {self.fields.name('rope_ratio')}"
            return self._noted("rope_theta", CHATGLM_THETA * ratio, origin)
        known = self.config.family is not UNKNOWN
        origin = self.config.class_default if known else f"{NOT_IN_FILE}; {self.source.theta:,.10g} is assumed"
        return self._noted("rope_theta", self.source.theta, origin)

    def _stretching_field(self, name: str, kind: str) -> Any:
        """One of them, or what is usual where it is not given."""
        if name == "original_max_position_embeddings":
            return self._original(kind)
        if name in ("short_factor", "long_factor"):
            return self._find(name, Fields.numbers)
        if name == "truncate":
            truncate = self._find(name, Fields.boolean)
            return self._usual(name, kind) if truncate is None else truncate
        found = self._find(name, Fields.number)
        if name == "factor" and found is None and kind in ("yarn", "longrope"):
            self.origins["factor"] = "max_position_embeddings / original_max_position_embeddings"
        if name in USUAL and not found:  # everyone who reads a beta of 0 takes the usual one
            return self._usual(name, kind)
        return found

    def _usual(self, name: str, kind: str) -> Any:
        return self._noted(name, USUAL[name], f"usual for {kind}")

    def _attention_factor(self, kind: str, values: Mapping[str, Any]) -> float | None:
        """What the file states; else only where the number comes from is written down."""
        if kind not in ATTENTION_FACTORS:
            return self._noted("attention_factor", None, f"1 for rope_type {kind}")
        stated = self._find("attention_factor", Fields.number)
        if stated is not None:
            return stated
        mscales = [self.origins.get(name, "") for name in ("mscale", "mscale_all_dim") if values.get(name)]
        lists = [self.origins.get(name, "") for name in ("short_mscale", "long_mscale") if values.get(name)]
        both = mscales if len(mscales) == 2 else lists  # noqa: PLR2004 - one of mscale and mscale_all_dim counts for nothing
        self.origins["attention_factor"] = " and ".join(both) if both else ATTENTION_FACTORS[kind]
        return None

    def _original(self, kind: str) -> int | None:
        """The context length before the stretching; the present one where the file does not tell them apart."""
        key = "original_max_position_embeddings"
        if kind == "qwen_ntk":
            trained = self.fields.integer("seq_length", minimum=1)
            if trained is not None:
                return self._noted(key, trained, self.fields.name("seq_length"))
        found = self._find(key, lambda fields, name: fields.integer(name, minimum=1))
        if found is not None:
            return found
        return self._noted(key, self.config.max_position_embeddings, "max_position_embeddings")

    # --- three positions

    def _mrope(self, pairs: int) -> dict[str, Any]:
        """How three positions share the frequencies. Their order is the class's choice: no field of a file is read."""
        family = self.config.family
        section = self._find("mrope_section", Fields.integers)
        if family.mrope is None and family is not UNKNOWN:
            if section is not None and self.config.family_key not in ("hunyuan_vl", "hunyuan_vl_text"):
                self.notes.append(UNSEEN_AXES if self.config.family_key in UNSEEN else ONE_POSITION)
            self.origins.pop("mrope_section", None)
            return {}
        if section is None and family.mrope_section is not None:
            if sum(family.mrope_section) != pairs:
                self.notes.append(f"the class default of mrope_section does not fit {pairs} pairs; it is left out")
                return {}
            section = self._noted("mrope_section", family.mrope_section, self.config.class_default)
        if section is None:
            return {}
        order = family.mrope or "sectioned"
        if family is UNKNOWN and self._find("mrope_interleaved", Fields.boolean):
            order = "interleaved"
        return {"mrope_section": section, "mrope_order": order}
