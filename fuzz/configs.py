"""Target: config.json, from its bytes to rotated vectors."""

import math

import numpy as np

from embtool.config import EmbeddingScale, parse_config_text
from embtool.errors import ConfigError
from embtool.positions import Alibi, Learned, Positions, Rope, Sinusoidal, T5Buckets, read_positions
from embtool.rope import RopeSettings, frequencies, mrope_axes, rotate
from fuzz.engine import target

LENGTHS = (None, 1, 5000, 1 << 20)
POSITIONS = (0, 1, 4095, 1 << 20)


def check_positions(scheme: Positions) -> None:
    """Assert that what follows from a scheme are numbers."""
    if isinstance(scheme, Rope):
        for layer in scheme.layers[:3]:
            check_rope(layer.settings)
        count = scheme.num_hidden_layers
        assert count is None or all(0 <= index < count for index in scheme.nope_layers)
    elif isinstance(scheme, Sinusoidal):
        vectors = scheme.vectors([0, 5]) if scheme.width is not None else np.zeros(0)
        assert np.isfinite(vectors).all()
    elif isinstance(scheme, Alibi):
        assert all(math.isfinite(slope) and slope > 0 for slope in scheme.slopes)
        assert math.isfinite(scheme.score_scale)
    elif isinstance(scheme, T5Buckets):
        for distance in (0, 1, -1, 7, -100, 1 << 40, -(1 << 40)):
            for both in (True, False):
                assert 0 <= scheme.bucket(distance, both_ways=both) < scheme.buckets
    elif isinstance(scheme, Learned):
        assert scheme.rows is None or scheme.rows >= 0
        assert scheme.row(3) >= 3


def check_rope(settings: RopeSettings) -> None:
    """Assert that a head turns by finite angles, in both precisions and at any length, and back again."""
    for length in LENGTHS:
        try:
            exact = frequencies(settings, length)
        except ConfigError:  # some stretch beyond all numbers only at great lengths
            assert length is not None, "settings that were accepted have no frequencies"
            continue
        assert exact.inv_freq.shape == (settings.pairs,)
        assert np.isfinite(exact.inv_freq).all()
        assert math.isfinite(exact.attention_factor)
        assert exact.attention_factor > 0
    try:
        rough = frequencies(settings, None, "float32").inv_freq
    except ConfigError:  # a frequency that float32 cannot hold
        rough = np.zeros(0)
    assert np.isfinite(rough).all()
    if settings.mrope_section is not None:
        assert mrope_axes(settings).shape == (settings.pairs,)
    if settings.layout is not None and settings.head_dim <= 1 << 12:
        vector = np.ones(settings.head_dim)
        turned = rotate(vector, np.array(POSITIONS), settings)
        assert turned.shape == (len(POSITIONS), settings.head_dim)
        assert np.isfinite(turned).all()


def check_scale(scale: EmbeddingScale | None) -> None:
    """Assert that what multiplies a row is a number, in every dtype that has room for it."""
    if scale is not None:
        assert math.isfinite(scale.multiplier)
        for dtype in ("BF16", "F16", "F32", "bfloat16", "x"):
            assert not math.isnan(scale.in_dtype(dtype))


@target("config")
def read_config(case: bytes) -> None:
    """Read a config, then how the model knows order, then compute with it."""
    config = parse_config_text(case)
    for size in (config.vocab_size, config.hidden_size, config.num_hidden_layers, config.head_dim):
        assert size is None or 0 <= size <= 1 << 53
    check_scale(config.embedding_scale)
    check_positions(read_positions(config))
