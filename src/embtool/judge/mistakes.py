"""The known mistakes of engines, each as a change of the right engine.

To add one: a function under `@mistake("name", "in words")` that yields, for an engine and the scene, every way to make
it: what a person is told of that way, and the engine that makes it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from embtool.errors import ConfigError
from embtool.judge.engine import Engine
from embtool.rope import LAYOUTS, MROPE_ORDERS, RopeSettings, frequencies

ORIGINALS = tuple(1 << power for power in range(10, 21))
"""Contexts that models are first made for."""

USUAL_THETAS = (1e4, 1e5, 1.5e5, 2.5e5, 5e5, 1e6, 2e6, 3e6, 5e6, 8e6, 1e7, 5e7, 1e8)
"""Bases that models have."""

PERMUTED = ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0), (0, 0, 0))
"""Orders of the three positions that are not t, h, w; in the last there is one position only."""


@dataclass(frozen=True)
class Scene:
    """What a mistake can take from elsewhere.

    Attributes:
        others: The settings of the model's other kinds of layer, by their names.
        thetas: Bases that other models have.
        context_length: The longest sequence that the model is made for.
        turns: Whether the layer that is judged turns at all.
    """

    others: Mapping[str, RopeSettings] = field(default_factory=dict)
    thetas: tuple[float, ...] = USUAL_THETAS
    context_length: int | None = None
    turns: bool = True


Ways: TypeAlias = Iterator[tuple[str, Engine | None]]


@dataclass(frozen=True)
class Mistake:
    """A known mistake: its name, what it is in words, and the ways to make it."""

    name: str
    words: str
    ways: Callable[[Engine, Scene], Ways]


MISTAKES: dict[str, Mistake] = {}
"""Every known mistake by its name, those that change most first: two at once are made in this order."""


def mistake(name: str, words: str) -> Callable[[Callable[[Engine, Scene], Ways]], Callable[[Engine, Scene], Ways]]:
    """Register a function as the ways to make a mistake."""

    def register(ways: Callable[[Engine, Scene], Ways]) -> Callable[[Engine, Scene], Ways]:
        MISTAKES[name] = Mistake(name, words, ways)
        return ways

    return register


def _with(engine: Engine, **settings: Any) -> Engine | None:
    """Change settings; None where nothing could be computed of them, so that no engine has them."""
    try:
        return replace(engine, settings=replace(engine.settings, **settings))
    except ConfigError:
        return None


PLAIN = {
    "rope_type": "default",
    "attention_factor": None,
    "factor": None,
    "short_factor": None,
    "long_factor": None,
    "short_mscale": None,
    "long_mscale": None,
    "mscale": None,
    "mscale_all_dim": None,
}
"""What is left of a stretching that is ignored: nothing."""


@mistake("layer-turned", "a layer without positions is turned")
def layer_turned(engine: Engine, scene: Scene) -> Ways:
    if not scene.turns:
        yield "as the other layers are", replace(engine, turns=True)
        for name, settings in scene.others.items():
            yield f"as those of type {name} are", replace(engine, turns=True, settings=settings)


@mistake("layer-not-turned", "a layer that should turn is left as it is")
def layer_not_turned(engine: Engine, scene: Scene) -> Ways:
    if scene.turns:
        yield "queries come out as they went in", replace(engine, turns=False)


@mistake("layer-type", "the settings of another kind of layer are used")
def layer_type(engine: Engine, scene: Scene) -> Ways:
    if scene.turns:
        for name, settings in scene.others.items():
            yield f"those of {name}", replace(engine, settings=settings)


@mistake("scaling-ignored", "the scaling is ignored")
def scaling_ignored(engine: Engine, _: Scene) -> Ways:
    kind = engine.settings.rope_type
    if kind not in ("default", "proportional"):
        yield f"plain frequencies in place of {kind}", _with(engine, **PLAIN)
    elif kind == "proportional" and engine.settings.factor not in (None, 1):
        yield "its factor is 1", _with(engine, factor=None)


@mistake("positions-scaled", "the factor divides positions, and so every frequency")
def positions_scaled(engine: Engine, _: Scene) -> Ways:
    settings = engine.settings
    if settings.rope_type in ("default", "proportional", "linear") or settings.stretch <= 1:
        return
    grown = frequencies(settings).attention_factor
    linear = _with(engine, **{**PLAIN, "rope_type": "linear", "factor": settings.stretch})
    yield f"every pair {settings.stretch:g} times slower, as linear scaling does", linear
    if grown != 1 and linear is not None:
        yield f"every pair {settings.stretch:g} times slower, the attention factor kept", replace(linear, factor=grown)


@mistake("original-context", "another original context is used")
def original_context(engine: Engine, scene: Scene) -> Ways:
    settings = engine.settings
    right = settings.original_max_position_embeddings
    if settings.rope_type not in ("yarn", "llama3", "longrope") or right is None:
        return
    factor = settings.stretch
    lengths = dict.fromkeys((settings.max_position_embeddings, scene.context_length, *ORIGINALS))
    for length in lengths:
        if length is not None and length not in (right, 1):
            yield (
                f"{length:,} in place of {right:,}",
                _with(engine, original_max_position_embeddings=length, factor=factor),
            )
            if settings.factor is None and settings.max_position_embeddings is not None:
                yield (
                    f"{length:,} in place of {right:,}, and with it the factor",
                    _with(engine, original_max_position_embeddings=length),
                )


@mistake("longrope-list", "the list of divisors for the other length is used")
def longrope_list(engine: Engine, _: Scene) -> Ways:
    original = engine.settings.original_max_position_embeddings
    if engine.settings.rope_type == "longrope" and original is not None:
        yield "the short one", replace(engine, length=1)
        yield "the long one", replace(engine, length=original + 1)


@mistake("ramp-rounded", "the bounds of YaRN's ramp are rounded where they should not be, or the other way round")
def ramp_rounded(engine: Engine, _: Scene) -> Ways:
    if engine.settings.rope_type == "yarn":
        truncate = not engine.settings.truncate
        yield "rounded to whole pairs" if truncate else "not rounded", _with(engine, truncate=truncate)


@mistake("theta", "another theta is used")
def other_theta(engine: Engine, scene: Scene) -> Ways:
    right = engine.settings.rope_theta
    for theta in scene.thetas:
        if theta != right:
            yield f"{theta:,.10g} in place of {right:,.10g}", _with(engine, rope_theta=theta)


@mistake("partial-ignored", "the whole head turns in place of a part")
def partial_ignored(engine: Engine, _: Scene) -> Ways:
    settings = engine.settings
    if settings.rope_type == "proportional":
        yield "every pair turns", _with(engine, partial_rotary_factor=1.0)
    elif settings.turning_width < settings.head_dim:
        all_of_it = {"rotary_dim": settings.head_dim, "exponent_dim": None, "mrope_section": None}
        yield f"{settings.head_dim} channels in place of {settings.turning_width}", _with(engine, **all_of_it)


@mistake("partial-twice", "the share of the head that turns is taken twice")
def partial_twice(engine: Engine, _: Scene) -> Ways:
    settings = engine.settings
    share = settings.partial_rotary_factor
    if settings.rope_type == "proportional":
        if share is not None and share < 1:
            yield f"a share of {share * share:g}", _with(engine, partial_rotary_factor=share * share)
    elif settings.turning_width < settings.head_dim:
        width = settings.turning_width * settings.turning_width // settings.head_dim
        less = {"rotary_dim": width, "exponent_dim": None, "mrope_section": None}
        yield f"{width} channels in place of {settings.turning_width}", _with(engine, **less)


@mistake(
    "partial-exponent", "the frequencies of a part are spread as if it were the whole head, or the other way round"
)
def partial_exponent(engine: Engine, _: Scene) -> Ways:
    settings = engine.settings
    if settings.rope_type == "proportional" and settings.live_pairs < settings.pairs:
        part = {"rope_type": "default", "rotary_dim": 2 * settings.live_pairs, "partial_rotary_factor": None}
        yield "pairs inside the part that turns", _with(engine, **part)
    elif settings.turning_width < settings.head_dim:
        yield f"theta^(-2i/{settings.head_dim})", _with(engine, exponent_dim=settings.head_dim)


@mistake("layout", "other channels make a pair")
def other_layout(engine: Engine, _: Scene) -> Ways:
    for layout, words in LAYOUTS.items():
        if layout != engine.settings.layout:
            yield f"{layout}: {words}", _with(engine, layout=layout)


@mistake("direction", "pairs turn the other way round")
def other_direction(engine: Engine, _: Scene) -> Ways:
    yield "the sign of sin is wrong", replace(engine, backwards=not engine.backwards)


@mistake("mrope-sections", "the pairs of the three positions are exchanged")
def mrope_sections(engine: Engine, _: Scene) -> Ways:
    settings = engine.settings
    if settings.mrope_section is None:
        return
    for axes in PERMUTED:
        order = ", ".join("thw"[axis] for axis in axes)
        yield f"positions {order} in place of t, h, w", replace(engine, axes=axes)
    for order in MROPE_ORDERS:
        if order != settings.mrope_order:
            yield f"{order} in place of {settings.mrope_order}", _with(engine, mrope_order=order)


@mistake("attention-factor-missing", "the attention factor is left out")
def factor_missing(engine: Engine, _: Scene) -> Ways:
    if _grown(engine) != 1:
        yield f"1 in place of {_grown(engine):.6g}", replace(engine, power=0)


@mistake("attention-factor-squared", "the attention factor is applied twice")
def factor_squared(engine: Engine, _: Scene) -> Ways:
    if _grown(engine) != 1:
        yield f"{_grown(engine) ** 2:.6g} in place of {_grown(engine):.6g}", replace(engine, power=2)


def _grown(engine: Engine) -> float:
    return frequencies(engine.settings).attention_factor if engine.factor is None else engine.factor


@mistake("position-off-by-one", "positions are off by one")
def off_by_one(engine: Engine, _: Scene) -> Ways:
    yield "one too large", replace(engine, shift=1)
    yield "one too small", replace(engine, shift=-1)


@mistake("angles-rounded", "angles are computed in a precision too low for them")
def angles_rounded(engine: Engine, _: Scene) -> Ways:
    for dtype, name in (("bfloat16", "BF16"), ("float16", "F16")):
        yield f"frequencies and positions in {name}", replace(engine, rounding="both", dtype=dtype)
        yield f"frequencies in {name}", replace(engine, rounding="inv_freq", dtype=dtype)
        yield f"positions in {name}", replace(engine, rounding="positions", dtype=dtype)
        yield f"the angle in {name}", replace(engine, rounding="angles", dtype=dtype)
