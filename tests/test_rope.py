"""RoPE against recorded figures of transformers, and against its own laws."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embtool.errors import ConfigError, UnsupportedRope
from embtool.model import open_model
from embtool.rope import (
    AXES,
    LAYOUTS,
    ROPE_TYPES,
    Layout,
    RopeSettings,
    channel_pairs,
    frequencies,
    is_long,
    mrope_axes,
    rotate,
    rotate_multimodal,
    stored_pairs,
    turn,
    yarn_mscale,
)

# --- The formulas, worked by hand ---------------------------------------------------------------------------------


def test_default_frequencies_fall_from_one_radian_by_equal_ratios() -> None:
    inv_freq = frequencies(RopeSettings(head_dim=8)).inv_freq
    assert inv_freq == pytest.approx([1, 0.1, 0.01, 0.001])


def test_wavelength_is_tokens_per_turn() -> None:
    assert frequencies(RopeSettings(head_dim=2)).wavelength == pytest.approx([2 * math.pi])


def test_a_quarter_turn_counter_clockwise() -> None:
    settings = RopeSettings(head_dim=2)
    assert turn([1.0, 0.0], np.array([math.pi / 2]), settings) == pytest.approx([0, 1])


def test_nanochat_turns_the_other_way() -> None:
    settings = RopeSettings(head_dim=2, clockwise=True)
    assert turn([1.0, 0.0], np.array([math.pi / 2]), settings) == pytest.approx([0, -1])


def test_linear_divides_every_frequency() -> None:
    assert frequencies(RopeSettings(head_dim=4, rope_type="linear", factor=4)).inv_freq == pytest.approx([0.25, 0.0025])


DYNAMIC = RopeSettings(head_dim=64, rope_type="dynamic", factor=2.0, max_position_embeddings=4096)


@pytest.mark.parametrize("length", [None, 1, 4096])
def test_dynamic_does_nothing_within_the_context(length: int | None) -> None:
    plain = frequencies(RopeSettings(head_dim=64)).inv_freq
    assert np.array_equal(frequencies(DYNAMIC, length).inv_freq, plain)


def test_dynamic_slows_the_last_pair_by_the_stretch_beyond_it() -> None:
    # (s n / M - (s - 1)) = 3 for n = 2 M, and the exponent d/(d-2) makes the slowest pair exactly 3 times slower
    plain = frequencies(RopeSettings(head_dim=64)).inv_freq
    grown = frequencies(DYNAMIC, 8192).inv_freq
    assert grown[0] == plain[0]
    assert plain[-1] / grown[-1] == pytest.approx(3.0)


def test_ntk_alpha_ignores_the_length() -> None:
    settings = RopeSettings(head_dim=64, rope_type="ntk_alpha", alpha=1000.0)
    assert np.array_equal(frequencies(settings).inv_freq, frequencies(settings, 10**6).inv_freq)
    assert frequencies(RopeSettings(head_dim=64)).inv_freq[-1] / frequencies(settings).inv_freq[-1] == pytest.approx(
        1000
    )


@pytest.mark.parametrize(("length", "slower"), [(None, 1), (8192, 1), (8193, 3), (16384, 3), (16385, 7), (32768, 7)])
def test_qwen_stretches_in_doubling_steps(length: int | None, slower: float) -> None:
    settings = RopeSettings(head_dim=128, rope_type="qwen_ntk", original_max_position_embeddings=8192)
    plain = frequencies(RopeSettings(head_dim=128)).inv_freq
    assert plain[-1] / frequencies(settings, length).inv_freq[-1] == pytest.approx(slower)


def yarn(**changes: Any) -> RopeSettings:
    values: dict[str, Any] = {"head_dim": 64, "factor": 4.0, "original_max_position_embeddings": 2048, **changes}
    return RopeSettings(rope_type="yarn", **values)


def test_yarn_keeps_fast_pairs_and_stretches_slow_ones() -> None:
    plain = frequencies(RopeSettings(head_dim=64)).inv_freq
    ratio = plain / frequencies(yarn()).inv_freq
    assert ratio[0] == 1
    assert ratio[-1] == pytest.approx(4)
    assert (np.diff(ratio) >= -1e-9).all()


def test_yarn_with_a_ramp_of_no_width_is_a_step() -> None:
    # both bounds are the place 1.5 between two pairs: 8 ln(L / 2 pi) / (2 ln 10,000) = 1.5
    original = 2 * math.pi * 10_000 ** (1.5 / 4)
    settings = yarn(head_dim=8, beta_fast=1.0, beta_slow=1.0, truncate=False, original_max_position_embeddings=original)
    ratio = frequencies(RopeSettings(head_dim=8)).inv_freq / frequencies(settings).inv_freq
    assert ratio == pytest.approx([1, 1, 4, 4])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.1 * math.log(4) + 1),
        ({"attention_factor": 1.5}, 1.5),
        ({"mscale": 1.0, "mscale_all_dim": 1.0}, 1.0),
        ({"mscale": 0.5}, 0.1 * math.log(4) + 1),
        ({"mscale": 1.0, "mscale_all_dim": 0.0}, 0.1 * math.log(4) + 1),
        ({"mscale": 1.0, "mscale_all_dim": 0.5}, (0.1 * math.log(4) + 1) / (0.05 * math.log(4) + 1)),
        ({"factor": 1.0}, 1.0),
        ({"factor": None, "max_position_embeddings": 8192}, 0.1 * math.log(4) + 1),
    ],
)
def test_yarn_attention_factor(changes: dict[str, Any], expected: float) -> None:
    assert frequencies(yarn(**changes)).attention_factor == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("factor", "expected"), [(0.5, 1.0), (1.0, 1.0), (1.5, 0.1 * math.log(1.5) + 1)])
def test_any_stretch_beyond_1_lengthens_what_yarn_turns(factor: float, expected: float) -> None:
    assert yarn_mscale(factor) == pytest.approx(expected, rel=1e-15)


def test_the_published_attention_factors() -> None:
    assert yarn_mscale(8.0) == pytest.approx(1.2079441541679836, rel=1e-15)  # OLMo-3.1 writes it into its file
    assert yarn_mscale(32.0) == pytest.approx(1.3465736, abs=1e-7)  # gpt-oss
    assert yarn_mscale(40.0, 1.0) ** 2 == pytest.approx(1.87385, abs=1e-5)  # DeepSeek-V3's softmax scale


LONGROPE = RopeSettings(
    head_dim=4,
    rope_type="longrope",
    short_factor=(1.0, 2.0),
    long_factor=(4.0, 8.0),
    max_position_embeddings=131_072,
    original_max_position_embeddings=4096,
)


def test_longrope_chooses_its_list_by_the_length_of_the_sequence() -> None:
    assert frequencies(LONGROPE).inv_freq == pytest.approx([1, 0.005])
    assert frequencies(LONGROPE, 4096).inv_freq == pytest.approx([1, 0.005])
    assert frequencies(LONGROPE, 4097).inv_freq == pytest.approx([0.25, 0.00125])
    assert is_long(LONGROPE, 4097)
    assert not is_long(LONGROPE, None)


def test_longrope_turns_token_0_with_the_long_list_too() -> None:
    ones = np.ones(4)
    short, long = rotate(ones, 1, LONGROPE, sequence_length=4096), rotate(ones, 1, LONGROPE, sequence_length=5000)
    assert not np.allclose(short, long)


def test_longrope_attention_factor_of_phi_3() -> None:
    assert frequencies(LONGROPE).attention_factor == pytest.approx(1.190238, abs=1e-6)


def test_phimoe_states_an_attention_factor_per_list() -> None:
    settings = RopeSettings(
        head_dim=4,
        rope_type="longrope",
        short_factor=(1.0, 1.0),
        long_factor=(2.0, 2.0),
        short_mscale=1.1,
        long_mscale=1.243163,
        original_max_position_embeddings=4096,
        max_position_embeddings=131_072,
    )
    assert frequencies(settings, 100).attention_factor == 1.1
    assert frequencies(settings, 5000).attention_factor == 1.243163


def llama3(low: float, high: float) -> RopeSettings:
    return RopeSettings(
        head_dim=128,
        rope_type="llama3",
        rope_theta=500_000.0,
        factor=8.0,
        low_freq_factor=low,
        high_freq_factor=high,
        original_max_position_embeddings=8192,
    )


@pytest.mark.parametrize(("low", "high"), [(1.0, 4.0), (2.0, 8.0), (0.5, 1.0)])
def test_llama3_bands(low: float, high: float) -> None:
    plain = frequencies(RopeSettings(head_dim=128, rope_theta=500_000.0))
    ratio = plain.inv_freq / frequencies(llama3(low, high)).inv_freq
    assert (ratio[plain.wavelength < 8192 / high] == 1).all()
    assert ratio[plain.wavelength > 8192 / low] == pytest.approx(8)
    between = (plain.wavelength > 8192 / high) & (plain.wavelength < 8192 / low)
    assert between.any()
    assert ((ratio[between] > 1) & (ratio[between] < 8)).all()


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_llama3_with_equal_factors_divides_by_no_zero(precision: Any) -> None:
    inv_freq = frequencies(llama3(1.0, 1.0), None, precision).inv_freq
    assert np.isfinite(inv_freq).all()


def test_proportional_pairs_over_the_whole_head_and_stops_the_rest() -> None:
    settings = RopeSettings(head_dim=16, rope_type="proportional", partial_rotary_factor=0.25)
    inv_freq = frequencies(settings).inv_freq
    assert inv_freq == pytest.approx([1, 10_000 ** (-2 / 16), 0, 0, 0, 0, 0, 0])
    assert channel_pairs(settings)[0].tolist() == [0, 8]
    assert np.isinf(frequencies(settings).wavelength[-1])


def test_unfinished_pairs_need_more_than_the_context_for_a_turn() -> None:
    unfinished = frequencies(RopeSettings(head_dim=8)).unfinished(1000)
    assert unfinished.tolist() == [3]  # 2 pi / 0.001 = 6283 tokens; the next faster one needs 628


# --- Layouts ------------------------------------------------------------------------------------------------------


def test_layouts_read_and_store_different_channels() -> None:
    read = {layout: channel_pairs(RopeSettings(head_dim=4, layout=layout)).tolist() for layout in LAYOUTS}
    stored = {layout: stored_pairs(RopeSettings(head_dim=4, layout=layout)).tolist() for layout in LAYOUTS}
    half, interleaved = [[0, 2], [1, 3]], [[0, 1], [2, 3]]
    assert read == {"half": half, "interleaved": interleaved, "interleaved-in-half-out": interleaved}
    assert stored == {"half": half, "interleaved": interleaved, "interleaved-in-half-out": half}


def test_deepseek_v4_turns_the_last_channels() -> None:
    settings = RopeSettings(head_dim=8, rotary_dim=4, layout="interleaved", rotated_part="last")
    assert channel_pairs(settings).tolist() == [[4, 5], [6, 7]]
    assert rotate(np.ones(8), 3, settings)[:4].tolist() == [1, 1, 1, 1]


def test_channels_beyond_the_rotary_width_pass_through() -> None:
    settings = RopeSettings(head_dim=8, rotary_dim=4, rope_type="yarn", factor=4.0, original_max_position_embeddings=64)
    turned = rotate(np.arange(8.0), 7, settings)
    assert turned[4:].tolist() == [4, 5, 6, 7]  # and the attention factor does not scale them


def test_an_unknown_layout_gives_frequencies_but_no_rotation() -> None:
    settings = RopeSettings(head_dim=4, layout=None)
    assert len(frequencies(settings).inv_freq) == 2
    with pytest.raises(ConfigError, match="not known") as caught:
        rotate(np.ones(4), 1, settings)
    assert caught.value.hint == "say which: layout half or interleaved or interleaved-in-half-out"


# --- Three positions ----------------------------------------------------------------------------------------------


def multimodal(section: tuple[int, ...], *, interleaved: bool) -> RopeSettings:
    return RopeSettings(
        head_dim=2 * sum(section), mrope_section=section, mrope_order="interleaved" if interleaved else "sectioned"
    )


def test_sectioned_axes_stand_in_blocks() -> None:
    assert mrope_axes(multimodal((2, 3, 1), interleaved=False)).tolist() == [0, 0, 1, 1, 1, 2]


def test_ernie_has_height_and_width_first() -> None:
    settings = RopeSettings(head_dim=14, mrope_section=(2, 2, 3), mrope_order="height-width-time")
    assert "".join(AXES[axis] for axis in mrope_axes(settings)) == "hwhwttt"
    with pytest.raises(ConfigError, match="must give height and width as many pairs each"):
        RopeSettings(head_dim=14, mrope_section=(3, 1, 3), mrope_order="height-width-time")


def test_what_a_type_stretches_by() -> None:
    assert RopeSettings(head_dim=4, factor=3.0).stretching == {}
    yarn = RopeSettings(head_dim=4, rope_type="yarn", max_position_embeddings=8, original_max_position_embeddings=2)
    assert yarn.stretching == {
        "factor": 4.0,
        "original_max_position_embeddings": 2,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": True,
    }


def test_pairs_that_stand_still_are_not_live() -> None:
    assert RopeSettings(head_dim=16, rope_type="proportional", partial_rotary_factor=0.25).live_pairs == 2
    assert RopeSettings(head_dim=16, rotary_dim=4).live_pairs == 2


def test_interleaved_axes_alternate_and_end_with_time() -> None:
    axes = mrope_axes(multimodal((4, 2, 2), interleaved=True))
    assert axes.tolist() == [0, 1, 2, 0, 1, 2, 0, 0]


@pytest.mark.parametrize("interleaved", [True, False])
def test_a_text_token_is_rotated_as_without_sections(interleaved: bool) -> None:  # noqa: FBT001
    settings = multimodal((11, 11, 10), interleaved=interleaved)
    x = np.arange(64.0)
    assert np.array_equal(rotate_multimodal(x, (9, 9, 9), settings), rotate(x, 9, settings))


def test_an_image_patch_far_out_turns_by_the_list_for_long_sequences() -> None:
    settings = dataclasses.replace(LONGROPE, mrope_section=(2, 0, 0))
    for position, length in ((4095, 4096), (4096, 4097)):
        turned = rotate_multimodal(np.ones(4), (1, position, 2), settings)
        expected = rotate_multimodal(np.ones(4), (1, position, 2), settings, sequence_length=length)
        assert np.array_equal(turned, expected)
        assert np.array_equal(turned, rotate(np.ones(4), 1, settings, sequence_length=length))


def test_three_positions_need_sections() -> None:
    with pytest.raises(ConfigError, match="mrope_section is missing"):
        rotate_multimodal(np.ones(4), (1, 2, 3), RopeSettings(head_dim=4))


# --- Refusals -----------------------------------------------------------------------------------------------------


def test_an_unknown_type_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedRope, match="rope_type 'xpos' is not known"):
        RopeSettings(head_dim=64, rope_type="xpos")


LISTS = {"short_factor": (1.0,) * 32, "long_factor": (1.0,) * 32}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head_dim": 0}, "head_dim must be between"),
        ({"head_dim": 2**40}, "head_dim must be between"),
        ({"head_dim": 63}, "rotary_dim must be even"),
        ({"rotary_dim": 66}, "rotary_dim must be between 2 and head_dim 64, not 66"),
        ({"rotary_dim": 0}, "rotary_dim must be between 2"),
        ({"rope_theta": 0.0}, "rope_theta must be a finite number above 0, not 0"),
        ({"rope_theta": math.inf}, "rope_theta must be a finite number"),
        ({"rope_type": "linear"}, "factor is missing, and rope_type 'linear' needs it"),
        ({"rope_type": "linear", "factor": 0.0}, "factor must be a finite number above 0, not 0"),
        ({"rope_type": "linear", "factor": -1.0}, "factor must be"),
        ({"rope_type": "dynamic", "factor": 2.0}, "max_position_embeddings is missing"),
        ({"rope_type": "yarn", "factor": 2.0}, "original_max_position_embeddings is missing"),
        ({"rope_type": "yarn", "original_max_position_embeddings": 64}, "factor is missing"),
        ({"rope_type": "llama3", "factor": 8.0}, "low_freq_factor is missing"),
        ({"rope_type": "longrope"}, "short_factor is missing"),
        ({"mrope_section": (1, 2)}, "mrope_section must have 3 counts, one per axis, not [1, 2]"),
        ({"mrope_section": (8, 8, 8, 8)}, "mrope_section must have 3 counts, one per axis, not [8, 8, 8, 8]"),
        ({"mrope_section": (1,) * 5}, "mrope_section must have 3 counts, one per axis, not 5 of them"),
        ({"mrope_section": (33, -1, 0)}, "mrope_section must have 3 counts, one per axis, not [33, -1, 0]"),
        ({"mrope_section": (16, 16, 16)}, "must add up to the 32 pairs, not 48"),
        ({"rope_type": "proportional", "partial_rotary_factor": 1.5}, "partial_rotary_factor must be between 0 and 1"),
        ({"rope_type": "proportional", "partial_rotary_factor": -0.1}, "partial_rotary_factor must be between 0 and 1"),
        ({"head_dim": 2, "rope_type": "ntk_alpha", "alpha": 2.0}, "2 is too narrow for rope_type 'ntk_alpha'"),
        (
            {"head_dim": 2, "rope_type": "dynamic", "factor": 2.0, "max_position_embeddings": 8},
            "2 is too narrow for rope_type 'dynamic'",
        ),
        (
            {"head_dim": 2, "rope_type": "qwen_ntk", "original_max_position_embeddings": 8},
            "2 is too narrow for rope_type 'qwen_ntk'",
        ),
        (
            {"rope_type": "yarn", "rope_theta": 1.0, "factor": 2.0, "original_max_position_embeddings": 64},
            "rope_theta 1 gives every pair the same frequency",
        ),
        (
            {"rope_type": "longrope", "original_max_position_embeddings": 1, **LISTS},
            "original_max_position_embeddings must be above 1 for rope_type 'longrope', not 1",
        ),
        *(
            (
                {"rope_type": "longrope", "original_max_position_embeddings": 8, "factor": 2.0, **LISTS, name: wrong},
                f"{name} must hold only finite numbers above 0",
            )
            for name in LISTS
            for wrong in ((0.0, *(1.0,) * 31), (*(1.0,) * 31, math.inf), (-1.0,) * 32, (math.nan,) * 32)
        ),
        ({"layout": "diagonal"}, "layout must be one of"),
        (
            {
                "rope_type": "longrope",
                "short_factor": (1.0,),
                "long_factor": (1.0,),
                "original_max_position_embeddings": 8,
            },
            "short_factor must have 32 entries, one per pair, not 1",
        ),
    ],
)
def test_settings_that_no_formula_could_use(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RopeSettings(**{"head_dim": 64, "max_position_embeddings": None, **values})
    assert message in caught.value.message


@pytest.mark.parametrize(
    "values",
    [
        {"head_dim": 1 << 16},
        {"rotary_dim": 2},
        {"rotary_dim": 64},
        {"head_dim": 2},
        {"head_dim": 2, "rope_type": "linear", "factor": 2.0},
        {"rope_theta": 1.0},
        {"rope_theta": 0.5},
        {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 1},
        {"rope_type": "yarn", "max_position_embeddings": 8, "original_max_position_embeddings": 4},
        {"rope_type": "longrope", "original_max_position_embeddings": 8, "attention_factor": 1.0, **LISTS},
        {"rope_type": "longrope", "original_max_position_embeddings": 2, "factor": 2.0, **LISTS},
        {"rope_type": "proportional", "partial_rotary_factor": 0.0},
        {"rope_type": "proportional", "partial_rotary_factor": 1.0},
        {"mrope_section": (32, 0, 0)},
        {"mrope_section": (0, 0, 32)},
    ],
)
def test_settings_at_the_edge_of_what_is_refused(values: dict[str, Any]) -> None:
    assert np.isfinite(frequencies(RopeSettings(**{"head_dim": 64, **values})).inv_freq).all()


def test_a_long_value_is_quoted_by_its_beginning() -> None:
    for name, shown in (("x" * 40, f"'{'x' * 40}' is"), ("x" * 41, f"'{'x' * 40}'… is")):
        with pytest.raises(UnsupportedRope) as caught:
            RopeSettings(head_dim=64, rope_type=name)
        assert shown in caught.value.message


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_base_of_one_turns_every_pair_alike(precision: Any) -> None:
    assert (frequencies(RopeSettings(head_dim=128, rope_theta=1.0), None, precision).inv_freq == 1).all()


@pytest.mark.parametrize("kind", ["default", "llama3"])
@pytest.mark.parametrize("dim", [8, 128])
def test_a_base_that_float32_cannot_hold(kind: str, dim: int) -> None:
    settings = dataclasses.replace(llama3(1.0, 4.0), rope_type=kind, head_dim=dim)
    with pytest.raises(ConfigError, match="rope_theta 1e-300 gives frequencies that are not finite"):
        frequencies(dataclasses.replace(settings, rope_theta=1e-300), None, "float32")
    turning = frequencies(dataclasses.replace(settings, rope_theta=1e300), None, "float32")
    assert turning.inv_freq.tolist() == [1, *[0] * (dim // 2 - 1)]
    assert np.isfinite(frequencies(dataclasses.replace(settings, rope_theta=1e-300)).inv_freq).all()


def test_high_below_low_is_refused() -> None:
    with pytest.raises(ConfigError, match="high_freq_factor 1 must not be below low_freq_factor 4"):
        llama3(4.0, 1.0)


def test_a_vector_of_another_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="a vector of 3 numbers does not fit head_dim 4"):
        rotate(np.ones(3), 1, RopeSettings(head_dim=4))


def test_frequencies_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        frequencies(RopeSettings(head_dim=4)).inv_freq[0] = 2


# --- Laws ---------------------------------------------------------------------------------------------------------

POSITIONS = st.integers(-(10**6), 10**6)


@st.composite
def settings_of_any_type(draw: st.DrawFn) -> RopeSettings:
    pairs = draw(st.integers(2, 32))
    extra = draw(st.integers(0, 16))
    lists = {name: tuple(draw(st.lists(st.floats(1, 64), min_size=pairs, max_size=pairs))) for name in ("s", "l")}
    kind = draw(st.sampled_from(sorted(ROPE_TYPES)))
    return RopeSettings(
        head_dim=2 * pairs + (0 if kind == "proportional" else extra),
        rotary_dim=2 * pairs,
        rope_type=kind,
        rope_theta=draw(st.floats(100, 1e8)),
        layout=draw(st.sampled_from(sorted(LAYOUTS))),
        rotated_part=draw(st.sampled_from(["first", "last"])),
        clockwise=draw(st.booleans()),
        factor=draw(st.floats(1, 64)),
        max_position_embeddings=8192,
        original_max_position_embeddings=2048,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        short_factor=lists["s"],
        long_factor=lists["l"],
        alpha=draw(st.floats(1, 1000)),
        partial_rotary_factor=draw(st.floats(0, 1)),
    )


def vector(settings: RopeSettings, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(settings.head_dim)


@given(settings=settings_of_any_type(), position=POSITIONS)
def test_norms_are_kept_times_the_attention_factor(settings: RopeSettings, position: int) -> None:
    x = vector(settings, 1)
    turned = rotate(x, position, settings, sequence_length=1)
    channels = channel_pairs(settings).ravel()
    stored = stored_pairs(settings).ravel()
    factor = frequencies(settings, 1).attention_factor
    assert np.linalg.norm(turned[stored]) == pytest.approx(factor * np.linalg.norm(x[channels]))


@given(settings=settings_of_any_type())
def test_position_0_is_the_identity_times_the_attention_factor(settings: RopeSettings) -> None:
    x = vector(settings, 2)
    turned = rotate(x, 0, settings)
    factor = frequencies(settings).attention_factor
    assert turned[stored_pairs(settings)] == pytest.approx(factor * x[channel_pairs(settings)])


@given(settings=settings_of_any_type(), m=POSITIONS, n=POSITIONS, shift=POSITIONS)
def test_the_dot_product_depends_on_the_distance_only(settings: RopeSettings, m: int, n: int, shift: int) -> None:
    q, k = vector(settings, 3), vector(settings, 4)

    def score(at: int, to: int) -> float:
        turned = rotate(np.stack([q, k]), np.array([at, to]), settings, sequence_length=10_000)
        return float(turned[0] @ turned[1])

    assert score(m, n) == pytest.approx(score(m + shift, n + shift), abs=1e-6)


@given(settings=settings_of_any_type(), position=POSITIONS)
def test_the_inverse_undoes_the_rotation(settings: RopeSettings, position: int) -> None:
    x = vector(settings, 5)
    turned = rotate(x, position, settings, sequence_length=3000)
    assert rotate(turned, position, settings, sequence_length=3000, inverse=True) == pytest.approx(x)


@given(position=POSITIONS, pairs=st.integers(1, 32))
def test_layouts_agree_after_the_permutation(position: int, pairs: int) -> None:
    layouts: tuple[Layout, ...] = ("half", "interleaved", "interleaved-in-half-out")
    half, interleaved, mixed = (RopeSettings(head_dim=2 * pairs, layout=layout) for layout in layouts)
    x = vector(half, 6)
    order = channel_pairs(interleaved).T.ravel()  # all first channels, then all second ones
    expected = rotate(x[order], position, half)
    assert np.array_equal(rotate(x, position, interleaved)[order], expected)
    assert np.array_equal(rotate(x, position, mixed), expected)


@given(a=POSITIONS, b=POSITIONS, pairs=st.integers(1, 32), layout=st.sampled_from(["half", "interleaved"]))
def test_turning_by_a_and_by_b_is_turning_by_their_sum(a: int, b: int, pairs: int, layout: Layout) -> None:
    settings = RopeSettings(head_dim=2 * pairs, layout=layout)
    x = vector(settings, 7)
    assert rotate(rotate(x, a, settings), b, settings) == pytest.approx(rotate(x, a + b, settings), abs=1e-6)


@given(settings=settings_of_any_type(), length=st.none() | st.integers(1, 10**7))
def test_both_precisions_agree_about_frequencies(settings: RopeSettings, length: int | None) -> None:
    exact, single = frequencies(settings, length), frequencies(settings, length, "float32")
    assert single.inv_freq.dtype == np.float32
    assert single.inv_freq == pytest.approx(exact.inv_freq, rel=2e-6)


def test_rotation_broadcasts_over_positions() -> None:
    settings = RopeSettings(head_dim=4)
    turned = rotate(np.ones((3, 1, 4)), np.arange(5), settings)
    assert turned.shape == (3, 5, 4)
    assert np.array_equal(turned[1, 2], rotate(np.ones(4), 2, settings))


@given(theta=st.floats(1.5, 1e9), pairs=st.integers(1, 128))
def test_float32_powers_are_within_one_unit_of_the_exact_ones(theta: float, pairs: int) -> None:
    theta = float(np.float32(theta))
    single = frequencies(RopeSettings(head_dim=2 * pairs, rope_theta=theta), None, "float32").inv_freq
    exponents = (np.arange(0, 2 * pairs, 2, dtype=np.float32) / np.float32(2 * pairs)).astype(np.float64)
    exact = 1 / theta**exponents
    assert (np.abs(single / exact - 1) < 2.5e-7).all()


def test_settings_show_what_is_not_usual() -> None:
    settings = RopeSettings(head_dim=64, rotary_dim=16, rope_theta=1e7)
    assert repr(settings) == "RopeSettings(head_dim=64, rotary_dim=16, rope_theta=10000000.0)"
    assert eval(repr(settings)) == settings  # noqa: S307 - what a repr of this kind promises
    with open_model("mini") as model:
        assert repr(model.rope) == "<rope of all: default, theta 10,000,000, 16 of 64 channels; context 262,144>"
