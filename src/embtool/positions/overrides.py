"""What if: the rotation of a model with settings that are given, not read in its file.

What is given is whole: with another `scaling` nothing of the file's stretching stays, so that a factor of the file is
never taken for one that goes with another type. Theta, the width and the layout stay as they are unless they are given
too. Every given value has the option that gave it as its origin.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from embtool.arguments import checked
from embtool.configs.config import Config
from embtool.configs.fields import Fields, once
from embtool.errors import ConfigError, InvalidArgument
from embtool.positions.rope_fields import ATTENTION_FACTORS, OLD_NAMES, SHARE
from embtool.positions.rope_sources import takes_flat
from embtool.positions.schemes import LayerRope
from embtool.rope import STRETCHING, USUAL, RopeSettings, attention_factor

SCALING, THETA, PARTIAL = "--scaling", "--theta", "--partial"
"""The options that give settings; also the origins of what is given."""

ORIGINAL = "original_max_position_embeddings"

LISTS, FLAGS, COUNTS = ("short_factor", "long_factor"), ("truncate",), (ORIGINAL,)
"""Fields that are no plain number."""

READ_ALWAYS = ("rope_type", "type", "rope_theta", SHARE, "attention_factor", "mrope_section")

HARMLESS = ("mrope_interleaved", "finetuned", "max_position_embeddings")
"""What engines pass along, and no formula reads."""

UNREAD = ("llama_4_scaling_beta", "apply_yarn_scaling", "attn_factor")
"""What some engines read, and no formula here: it is said."""

KNOWN = frozenset(READ_ALWAYS).union(HARMLESS, UNREAD, *STRETCHING.values())

MULTIPLY = ("yarn", "linear")
"""Types whose factor is how much longer the context becomes."""

LARGEST = 2**53
"""No context is as long."""

LONGEST = 1 << 16
"""Characters of --scaling: two lists of some hundred numbers fit."""

SHORT = "TYPE:FACTOR, such as yarn:4, or a JSON object, as engines take it"


@checked
@dataclass(frozen=True, kw_only=True)
class RopeOverride:
    """Settings given in place of a model's own; what is None stays as the model has it.

    Attributes:
        scaling: "yarn:4", "linear:2", "default", the JSON text that engines take, or that as a mapping; also one
            mapping for each kind of layer.
        theta: The base of the frequencies.
        partial: The share of a head that turns.
    """

    scaling: str | Mapping[str, Any] | None = None
    theta: float | None = None
    partial: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is given."""
        return self.scaling is None and self.theta is None and self.partial is None

    @property
    def written(self) -> str:
        """As options on a command line."""
        scaling = self.scaling if isinstance(self.scaling, str) or self.scaling is None else json.dumps(self.scaling)
        given = ((SCALING, scaling), (THETA, self.theta), (PARTIAL, self.partial))
        return " ".join(f"{option} {held}" for option, held in given if held is not None)


@dataclass(frozen=True)
class Overridden:
    """What becomes of the rotation: its kinds of layer, the context they are made for, and what is to be said."""

    layers: tuple[LayerRope, ...]
    context_length: int | None
    notes: tuple[str, ...]


def override(
    layers: Sequence[LayerRope],
    context_length: int | None,
    config: Config | None,
    given: RopeOverride,
    length: int | None = None,
) -> Overridden:
    """Return the rotation with what is given.

    A flat scaling goes where the family reads a flat dictionary of its file: to all kinds of layer or, as in Gemma 3,
    to full attention only. A `length` is that of the context which it is meant for.

    Raises:
        InvalidArgument: a field is missing, is not known, or is nothing that a formula can use; the message names it.
    """
    scaling = _read(given.scaling)
    names = [layer.layer_type for layer in layers]
    nested = scaling is not None and bool(scaling) and all(isinstance(each, Mapping) for each in scaling.values())
    if nested and scaling is not None:
        strange = next((name for name in scaling if name not in names), None)
        if strange is not None:
            raise InvalidArgument(
                f"{SCALING}: no layers of type {str(strange)[:40]!r} turn here, only {', '.join(names)}"
            )
    found, notes, contexts = [], [], []
    for layer in layers:
        takes = config is None or takes_flat(config, layer.layer_type)
        own = scaling.get(layer.layer_type) if nested and scaling is not None else scaling if takes else None
        part = replace(given, scaling=own) if takes else RopeOverride(scaling=own)
        if part.is_empty:
            found.append(layer)
            continue
        reader = _Reader(layer, context_length, part, length)
        found.append(reader.read())
        notes += reader.notes
        contexts += [reader.context] if reader.context is not None else []
    changed = [layer.layer_type for layer, before in zip(found, layers, strict=True) if layer is not before]
    if len(changed) < len(layers):
        notes.append(f"given to layers of type {', '.join(changed)} only: the others have settings of their own")
    return Overridden(tuple(found), contexts[0] if contexts else context_length, tuple(dict.fromkeys(notes)))


def _read(scaling: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Read `yarn:4`, or JSON."""
    if scaling is None or isinstance(scaling, Mapping):
        return scaling
    text = scaling.strip()
    if len(text) > LONGEST:
        raise InvalidArgument(f"{SCALING} is longer than {LONGEST:,} characters")
    if text.startswith("{"):
        try:
            read = json.loads(text, parse_constant=_refuse, object_pairs_hook=once)
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"{SCALING} is not JSON: {error}") from error
        assert isinstance(read, dict), "what begins with a brace is an object"
        return read
    kind, colon, factor = text.partition(":")
    if not colon:
        return {"rope_type": "default" if kind == "none" else kind}
    try:
        return {"rope_type": kind, "factor": float(factor)}
    except ValueError as error:
        raise InvalidArgument(f"{SCALING} is {SHORT}, not {text[:40]!r}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")


class _Reader:
    """Puts what is given in the place of the settings of one kind of layer, and writes down where each came from."""

    def __init__(self, layer: LayerRope, context_length: int | None, given: RopeOverride, length: int | None) -> None:
        assert given.scaling is None or isinstance(given.scaling, Mapping)
        self.layer, self.settings, self.context_length, self.given = layer, layer.settings, context_length, given
        self.fields = Fields(given.scaling or {}, SCALING)
        self.origins = dict(layer.origins)
        self.notes: list[str] = []
        self.context, self.length = length, length

    def read(self) -> LayerRope:
        """The layer with what is given.

        Raises:
            InvalidArgument: It is nothing that a formula can use.
        """
        try:
            values = self._stretching() if self.given.scaling is not None else {}
            theta = self._given("rope_theta", self.given.theta, THETA)
            values |= {} if theta is None else {"rope_theta": theta}
            share = self._given(SHARE, self.given.partial, PARTIAL)
            values |= self._width(values.get("rope_type", self.settings.rope_type), share)
            settings = replace(self.settings, **values)
            attention_factor(settings)
        except ConfigError as error:
            raise self._naming(error) from error
        self._tell_context(settings)
        return replace(self.layer, settings=settings, origins=self.origins)

    def _naming(self, error: ConfigError) -> InvalidArgument:
        """Put the option in front of an error about a setting."""
        if error.message.startswith(SCALING):
            return InvalidArgument(error.message)
        name, _, rest = error.message.partition(" ")
        origin = self.origins.get("rotary_dim" if name in ("mrope_section", *LISTS) else name, "")
        option = origin if origin in (THETA, PARTIAL) else SCALING
        own = (name == "rope_theta" and option == THETA) or (name in ("rotary_dim", SHARE) and option == PARTIAL)
        return InvalidArgument(f"{option} {rest}" if own and name != "rotary_dim" else f"{option}: {error.message}")

    def _given(self, name: str, value: float | None, option: str) -> float | None:
        """A value of an option, or of the same field in the scaling; not of both."""
        inside = self.fields.number(name)
        if value is not None and inside is not None:
            raise InvalidArgument(f"{option} is given twice: {name} of {SCALING} says it too")
        if value is None and inside is None:
            return None
        self.origins[name] = option if inside is None else SCALING
        return value if inside is None else inside

    def _stretching(self) -> dict[str, Any]:
        """The type and its fields; those of the file's type are gone."""
        named = self.fields.string("rope_type") or self.fields.string("type")
        if named is None:
            raise InvalidArgument(f"{SCALING}: rope_type is missing", hint=f"{SCALING} is {SHORT}")
        kind = OLD_NAMES.get(named, named)
        if kind not in STRETCHING:
            known = ", ".join(sorted(STRETCHING))
            raise InvalidArgument(f"{SCALING}: rope_type {named[:40]!r} is not known (known: {known})")
        self.origins["rope_type"] = SCALING
        unknown = next((key for key in self.fields.mapping if key not in KNOWN), None)
        if unknown is not None:
            raise InvalidArgument(
                f"{SCALING}: {str(unknown)[:40]!r} is no field of RoPE",
                hint=f"rope_type {kind} reads {', '.join(STRETCHING[kind]) or 'nothing besides rope_theta'}",
            )
        idle = [
            key
            for key in self.fields.mapping
            if key not in (*READ_ALWAYS, *HARMLESS, *STRETCHING[kind]) and self.fields.has(key)
        ]
        if idle:
            self.notes.append(f"{SCALING}: {', '.join(idle)} is not read by rope_type {kind}")
        for names in STRETCHING.values():  # what the file says of another type is not the given one's
            for name in names:
                self.origins.pop(name, None)
        values: dict[str, Any] = {name: None for names in STRETCHING.values() for name in names if name not in USUAL}
        values |= {name: USUAL[name] if name == "truncate" else None for name in USUAL}
        values |= {name: self._field(name, kind) for name in STRETCHING[kind] if name != SHARE}
        values.pop(SHARE, None)
        ratio = kind == "longrope" or (kind == "yarn" and self.fields.has(ORIGINAL))
        if "factor" in STRETCHING[kind] and kind != "proportional" and values["factor"] is None and not ratio:
            raise InvalidArgument(f"{SCALING}: factor is missing, and rope_type '{kind}' needs it", hint=SHORT)
        stated = self.fields.number("attention_factor")
        self.origins["attention_factor"] = (
            SCALING if stated is not None else ATTENTION_FACTORS.get(kind, f"1 for rope_type {kind}")
        )
        values |= {"rope_type": kind, "attention_factor": stated if kind in ATTENTION_FACTORS else None}
        section = self.fields.integers("mrope_section")
        if section is not None:
            self.origins["mrope_section"] = SCALING
            values["mrope_section"] = section
        return values

    def _field(self, name: str, kind: str) -> Any:
        """One field of the given type, or what is usual."""
        read = (
            self.fields.numbers(name)
            if name in LISTS
            else self.fields.boolean(name)
            if name in FLAGS
            else self.fields.integer(name, minimum=1)
            if name in COUNTS
            else self.fields.number(name)
        )
        if read is not None:
            self.origins[name] = SCALING
            return read
        if name in USUAL:
            self.origins[name] = f"usual for {kind}"
            return USUAL[name]
        if name == ORIGINAL:  # from before the file's own stretching, or the present one
            self.origins[ORIGINAL] = self.layer.origins.get(ORIGINAL, "max_position_embeddings")
            return self._base
        return None

    @property
    def _base(self) -> int | None:
        settings = self.settings
        return settings.original_max_position_embeddings or settings.max_position_embeddings or self.context_length

    def _width(self, kind: str, share: float | None) -> dict[str, Any]:
        """How many channels turn; a share that is not given stays, also where the type writes it another way."""
        settings = self.settings
        whole = kind == "proportional"
        if share is None and whole == (settings.rope_type == "proportional"):
            return {}
        if share is None:
            stood = settings.partial_rotary_factor
            share = settings.turning_width / settings.head_dim if whole or stood is None else stood
        if whole:
            return {"rotary_dim": settings.head_dim, SHARE: share, "exponent_dim": None}
        if not 0 < share <= 1:
            raise ConfigError(f"{SHARE} must be above 0 and at most 1, not {share:g}")
        self.origins["rotary_dim"] = self.origins.get(SHARE, self.origins.get("rotary_dim", ""))
        return {"rotary_dim": int(settings.head_dim * share), SHARE: None, "exponent_dim": None}

    def _tell_context(self, settings: RopeSettings) -> None:
        """A factor is how much longer the context becomes, in the types that say so."""
        if self.length is not None:
            self.notes.append(f"the context is taken to be {self.length:,} tokens: --length")
            return
        if self.given.scaling is None or settings.rope_type not in MULTIPLY or settings.stretch < 1:
            return
        base = settings.original_max_position_embeddings or self._base
        if base is not None and base * settings.stretch <= LARGEST:
            self.context = round(base * settings.stretch)
            self.notes.append(
                f"the context is taken to be {self.context:,} tokens: {base:,} times {settings.stretch:g}"
            )
