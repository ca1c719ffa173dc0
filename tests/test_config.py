"""Config files of every dialect, and whatever else may be in a file of that name."""

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embtool.configs.architectures import architecture
from embtool.configs.config import (
    ALIASES,
    NOT_IN_FILE,
    Config,
    EmbeddingScale,
    parse_config,
    parse_config_text,
    rounded,
)
from embtool.configs.families import (
    DECIDED,
    SAME_AS,
    SHAPES,
    TEXT_TYPES,
    TIED,
    UNKNOWN,
    Family,
    family_of,
    known_families,
)
from embtool.configs.fields import Fields
from embtool.errors import ConfigError


def config(**fields: Any) -> dict[str, Any]:
    return {"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2, **fields}


# --- Dialects -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alias", "name"),
    [(alias, name) for name, others in ALIASES.items() if name != "tie_word_embeddings" for alias in others],
)
def test_every_alias_is_read(alias: str, name: str) -> None:
    read = parse_config({"model_type": "unheard-of", alias: 17})
    assert getattr(read, name) == 17
    assert read.origins[name] == alias


def test_the_common_name_wins_over_an_alias() -> None:
    read = parse_config({"model_type": "chatglm", "num_layers": 99, "num_hidden_layers": 40})
    assert read.num_hidden_layers == 40


def test_gpt2_spells_everything_differently() -> None:
    read = parse_config({"model_type": "gpt2", "n_embd": 1280, "n_head": 20, "n_layer": 36, "n_positions": 1024})
    assert (read.hidden_size, read.num_attention_heads, read.num_hidden_layers) == (1280, 20, 36)
    assert read.max_position_embeddings == 1024
    assert read.head_dim == 64
    assert read.origins["hidden_size"] == "n_embd"
    assert read.origins["vocab_size"] == "class default of gpt2"
    assert read.origins["head_dim"] == "hidden_size / num_attention_heads"


def test_the_bundled_models_family_is_known() -> None:
    read = parse_config({"model_type": "embtool_static", "hidden_size": 64, "head_dim": 64, "num_hidden_layers": 0})
    assert read.family_known
    assert read.num_hidden_layers == 0


@pytest.mark.parametrize("stated", [4096.0, 4096])
def test_a_whole_number_may_be_written_as_a_float(stated: float) -> None:
    assert parse_config(config(max_position_embeddings=stated)).max_position_embeddings == 4096


def test_minus_one_is_no_limit() -> None:
    assert parse_config(config(max_position_embeddings=-1)).max_position_embeddings is None


# --- Composites ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [("text_config",), ("thinker_config", "text_config"), ("llm_config",), ("language_config",), ("decoder",)]
)
def test_the_language_model_is_found_at_its_known_places(path: tuple[str, ...]) -> None:
    raw: dict[str, Any] = {"model_type": "llama", "hidden_size": 96, "num_attention_heads": 3}
    for key in reversed(path):
        raw = {key: raw}
    read = parse_config({"model_type": "whole", **raw})
    assert read.text_path == path
    assert (read.hidden_size, read.model_type, read.top_model_type) == (96, "llama", "whole")
    assert read.origins["hidden_size"] == ".".join((*path, "hidden_size"))


def test_a_vision_part_is_never_read() -> None:
    decoy = {"hidden_size": 1, "rope_theta": 2.0, "max_position_embeddings": 3, "num_attention_heads": 1}
    read = parse_config({"model_type": "llava", "vision_config": decoy, "text_config": {"vocab_size": 32064}})
    assert read.hidden_size == 4096
    assert read.origins["hidden_size"] == "class default of llama"


def test_flat_files_of_composite_models_are_read_at_the_top() -> None:
    read = parse_config({"model_type": "qwen2_vl", "hidden_size": 1536, "vision_config": {"hidden_size": 1280}})
    assert read.text_path == ()
    assert (read.model_type, read.hidden_size) == ("qwen2_vl_text", 1536)


def test_gemma_3_leaves_nearly_everything_to_its_class() -> None:
    read = parse_config({"model_type": "gemma3", "text_config": {"hidden_size": 5376, "model_type": "gemma3_text"}})
    assert (read.vocab_size, read.max_position_embeddings, read.tie_word_embeddings) == (262_208, 131_072, True)


def test_the_vocabulary_may_be_stated_beside_the_language_model() -> None:
    raw = {"model_type": "whole", "vocab_size": 7, "hidden_size": 5, "text_config": {"model_type": "llama"}}
    read = parse_config(raw)
    assert (read.vocab_size, read.origins["vocab_size"]) == (7, "vocab_size")
    assert read.hidden_size == 4096, "nothing else of the whole is taken for the language model's"
    inner = parse_config({**raw, "text_config": {"model_type": "llama", "n_vocab": 9}})
    assert (inner.vocab_size, inner.origins["vocab_size"]) == (9, "text_config.n_vocab")


def test_an_empty_part_is_no_language_model() -> None:
    read = parse_config({"model_type": "whole", "text_config": {}, "thinker_config": 5, "decoder": {"d_model": 3}})
    assert (read.text_path, read.hidden_size) == (("decoder",), 3)


@pytest.mark.parametrize(
    ("raw", "dtype"),
    [
        ({"torch_dtype": "float16", "text_config": {"dtype": "bfloat16", "torch_dtype": "float32"}}, "bfloat16"),
        ({"torch_dtype": "float16", "text_config": {"torch_dtype": "float32"}}, "float32"),
        ({"torch_dtype": "float16", "dtype": "float32", "text_config": {"vocab_size": 1}}, "float32"),
        ({"torch_dtype": "float16", "text_config": {"vocab_size": 1}}, "float16"),
        ({"text_config": {"vocab_size": 1}}, None),
    ],
)
def test_the_dtype_of_the_language_model_comes_before_that_of_the_whole(raw: dict[str, Any], dtype: str | None) -> None:
    assert parse_config({"model_type": "whole", **raw}).dtype == dtype


@pytest.mark.parametrize(
    ("stated", "architecture"),
    [(["LlamaForCausalLM", "Other"], "LlamaForCausalLM"), ([], None), ([3], None), ("LlamaForCausalLM", None)],
)
def test_the_first_architecture_counts(stated: Any, architecture: str | None) -> None:
    assert parse_config(config(architectures=stated)).architecture == architecture


def test_minus_one_is_no_limit_by_any_name() -> None:
    read = parse_config({"model_type": "gpt2", "n_ctx": -1})
    assert (read.max_position_embeddings, read.origins["max_position_embeddings"]) == (None, NOT_IN_FILE)


@pytest.mark.parametrize("name", ["num_hidden_layers", "type_vocab_size"])
def test_some_counts_may_be_zero(name: str) -> None:
    assert getattr(parse_config(config(**{name: 0})), name) == 0


# --- Fields -------------------------------------------------------------------------------------------------------


def fields(**values: Any) -> Fields:
    return Fields(values, "c.json", ("text_config",), {"text_config.depth.layers": "llm.block_count"})


def test_lists_of_numbers_are_read_whole() -> None:
    read = fields(a=[1, 2.5], b=[True, False, 3, 4.0], c=("x", "y"), d=[], e=None)
    assert read.numbers("a") == (1.0, 2.5)
    assert read.integers("b") == (1, 0, 3, 4)
    assert read.strings("c") == ("x", "y")
    assert read.numbers("d") == ()
    assert (read.integers("e"), read.strings("e"), read.numbers("f")) == (None, None, None)
    assert (read.has("a"), read.has("d"), read.has("e"), read.has("f")) == (True, True, False, False)


@pytest.mark.parametrize(
    ("value", "getter", "message"),
    [
        ([1, "2"], "numbers", "a list of numbers, not a list of 2"),
        ([1, True], "numbers", "a list of numbers, not a list of 2"),
        ([math.nan], "numbers", "a list of numbers, not a list of 1"),
        ([10**400], "numbers", "a list of numbers, not a list of 1"),
        (5, "numbers", "a list of numbers, not 5"),
        ([1.5], "integers", "a list of whole numbers, not a list of 1"),
        ("12", "integers", 'a list of whole numbers, not "12"'),
        (["x", 1], "strings", "a list of strings, not a list of 2"),
        (math.inf, "number", "a number, not Infinity"),
        (True, "number", "a number, not true"),
        (10**400, "number", "a number, not a number beyond 2^53"),
        (1, "boolean", "true or false, not 1"),
        (1.0, "string", "a string, not 1.0"),
        ([1], "section", "an object, not a list of 1"),
        (2**53 + 1, "integer", "between 0 and 2^53, not a number beyond 2^53"),
        (-(2**53) - 1, "integer", "between 0 and 2^53, not a number beyond 2^53"),
        (-1, "integer", "between 0 and 2^53, not -1"),
        (b"bytes", "string", "a string, not bytes"),
        ("é" * 40, "integer", f'a whole number, not "{"é" * 39}…'),
        ("é" * 38, "integer", f'a whole number, not "{"é" * 38}"'),
    ],
)
def test_a_field_of_another_type_is_refused(value: Any, getter: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        getattr(fields(a=value), getter)("a")
    assert caught.value.message == f"c.json: text_config.a must be {message}"


@pytest.mark.parametrize(("value", "getter"), [(2**53, "integer"), (0, "integer"), (0, "number"), (False, "boolean")])
def test_a_field_at_the_edge_is_read(value: Any, getter: str) -> None:
    assert getattr(fields(a=value), getter)("a") == value


def test_a_field_is_named_as_its_file_spells_it() -> None:
    section = fields(depth={"layers": "many", "width": "wide"}).section("depth")
    assert section is not None
    assert (section.name("layers"), section.name("width")) == ("llm.block_count", "text_config.depth.width")
    with pytest.raises(ConfigError, match=r"llm\.block_count must be a whole number"):
        section.integer("layers")


# --- Heads --------------------------------------------------------------------------------------------------------


def test_a_stated_head_dim_is_never_computed() -> None:
    read = parse_config({"model_type": "qwen3_5", "hidden_size": 5120, "num_attention_heads": 24, "head_dim": 256})
    assert read.head_dim == 256


def test_a_null_head_dim_is_no_statement() -> None:
    assert parse_config(config(head_dim=None)).head_dim == 16


def test_latent_attention_turns_its_rotary_part_only() -> None:
    read = parse_config({"model_type": "glm_moe_dsa", "head_dim": 192, "qk_rope_head_dim": 64})
    assert read.head_dim == 64
    assert read.origins["head_dim"] == "qk_rope_head_dim"


def test_a_small_deepseek_v2_has_ordinary_heads() -> None:
    inner = {"model_type": "deepseek_v2", "hidden_size": 1280, "num_attention_heads": 10, "qk_rope_head_dim": 0}
    assert parse_config({"model_type": "deepseek_vl_v2", "language_config": inner}).head_dim == 128


def test_latent_attention_that_states_nothing_has_the_width_of_its_class() -> None:
    read = parse_config({"model_type": "minicpm3", "head_dim": 96})
    assert read.head_dim == 32
    assert read.origins["head_dim"] == "class default of minicpm3 (qk_rope_head_dim)"


def test_the_rotary_part_of_an_unknown_family_is_its_head_dim() -> None:
    read = parse_config({"model_type": "unheard-of", "qk_rope_head_dim": 48, "head_dim": 96})
    assert (read.head_dim, read.origins["head_dim"]) == (96, "head_dim")
    read = parse_config({"model_type": "unheard-of", "qk_rope_head_dim": 48, "hidden_size": 64, "n_head": 4})
    assert (read.head_dim, read.origins["head_dim"]) == (48, "qk_rope_head_dim")
    assert parse_config(config(qk_rope_head_dim=48)).head_dim == 16


def test_a_head_dim_of_the_class_is_not_divided_out() -> None:
    read = parse_config({"model_type": "gemma", "hidden_size": 64, "num_attention_heads": 4})
    assert (read.head_dim, read.origins["head_dim"]) == (256, "class default of gemma")


@pytest.mark.parametrize("missing", ["hidden_size", "num_attention_heads"])
def test_without_a_width_or_heads_there_is_no_head_dim(missing: str) -> None:
    read = parse_config({**config(model_type="unheard-of"), missing: None})
    assert (read.head_dim, read.origins["head_dim"]) == (None, NOT_IN_FILE)


def test_some_families_round_an_uneven_head_down() -> None:
    read = parse_config(config(model_type="glm4_moe", hidden_size=66, head_dim=None))
    assert read.head_dim == 66 // 4


def test_heads_that_do_not_divide_leave_head_dim_open() -> None:
    read = parse_config(config(hidden_size=65))
    assert read.head_dim is None
    assert read.origins["head_dim"] == "65 channels do not divide into 4 heads"


# --- Tying, scaling, unknown families -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "tied", "origin"),
    [
        ({"model_type": "gpt2"}, True, "class default of gpt2"),
        ({"model_type": "llama"}, False, "class default of llama"),
        ({"model_type": "llama", "tie_word_embeddings": True}, True, "tie_word_embeddings"),
        ({"model_type": "lfm2", "tie_embedding": False}, False, "tie_embedding"),
        ({"model_type": "mistral3", "text_config": {"model_type": "mistral"}}, True, "class default of mistral3"),
        (
            {"model_type": "qwen3_vl", "text_config": {"model_type": "qwen3_vl_text", "tie_word_embeddings": True}},
            True,
            "text_config.tie_word_embeddings",
        ),
        (
            {"model_type": "qwen3_vl", "tie_word_embeddings": False, "text_config": {"tie_word_embeddings": True}},
            False,
            "tie_word_embeddings",
        ),
        ({"model_type": "unheard-of"}, None, NOT_IN_FILE),
    ],
)
def test_tying(raw: dict[str, Any], tied: bool | None, origin: str) -> None:  # noqa: FBT001
    read = parse_config(raw)
    assert read.tie_word_embeddings is tied
    assert read.origins["tie_word_embeddings"] == origin


@pytest.mark.parametrize(
    ("raw", "multiplier"),
    [
        ({"model_type": "gemma", "hidden_size": 3072}, 3072**0.5),
        ({"model_type": "granite", "embedding_multiplier": 12.0}, 12.0),
        ({"model_type": "granite"}, None),
        ({"model_type": "minicpm3"}, 12.0),
        ({"model_type": "minicpm", "scale_emb": 12}, 12.0),
        ({"model_type": "bart", "d_model": 1024}, None),
        ({"model_type": "bart", "d_model": 1024, "scale_embedding": True}, 32.0),
        ({"model_type": "xglm"}, 32.0),
        ({"model_type": "llama"}, None),
    ],
)
def test_embedding_scales(raw: dict[str, Any], multiplier: float | None) -> None:
    scale = parse_config(raw).embedding_scale
    assert (scale.multiplier if scale else None) == multiplier


@pytest.mark.parametrize(
    ("width", "dtype", "rounded"),
    [
        (3072, "BF16", 55.5),
        (5376, "bfloat16", 73.5),
        (3072, "F16", 55.4375),
        (3072, "F32", 55.425625),
        (3072, "F8", 55.4256),
    ],
)
def test_gemma_rounds_its_scale_to_the_dtype_of_its_weights(width: int, dtype: str, rounded: float) -> None:
    scale = EmbeddingScale("sqrt", width**0.5, rounded=True, origin="")
    assert scale.in_dtype(dtype) == pytest.approx(rounded, rel=1e-6)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (1.00390625, "BF16", 1.0),  # half-way between two: to the one that ends in 0
        (1.01171875, "bfloat16", 1.015625),
        (1.0039064, "BF16", 1.0078125),
        (-1.0039064, "BF16", -1.0078125),
        (1.00048828125, "F16", 1.0),
        (1.0004883, "float16", 1.0009765625),
        (1 + 2**-24 * 1.01, "float32", 1 + 2**-23),
        (1 + 2**-24 * 1.01, "F32", 1 + 2**-23),
        (1 + 2**-40, "float64", 1 + 2**-40),
        (1 + 2**-40, "Q8_0", 1 + 2**-40),
        (-1e5, "F16", -math.inf),
        (1e5, "F16", math.inf),
        (1e39, "F32", math.inf),
        (-1e39, "BF16", -math.inf),
    ],
)
def test_a_number_is_rounded_to_the_nearest_of_a_dtype(value: float, dtype: str, expected: float) -> None:
    assert rounded(value, dtype) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"model_type": "granite", "embedding_multiplier": 12.0},
            EmbeddingScale("multiplier", 12.0, rounded=False, origin="embedding_multiplier"),
        ),
        (
            {"model_type": "minicpm3"},
            EmbeddingScale("multiplier", 12.0, rounded=False, origin="class default of minicpm3"),
        ),
        (
            {"model_type": "gemma", "hidden_size": 64},
            EmbeddingScale("sqrt", 8.0, rounded=True, origin="sqrt(hidden_size)"),
        ),
        ({"model_type": "ctrl", "n_embd": 64}, EmbeddingScale("sqrt", 8.0, rounded=False, origin="sqrt(hidden_size)")),
        ({"model_type": "xglm", "scale_embedding": False}, None),
        ({"model_type": "granite"}, None),
        ({"model_type": "granite", "embedding_multiplier": 1.0}, None),
        ({"model_type": "llama", "embedding_multiplier": 3.0}, None),
    ],
)
def test_a_scale_says_what_it_is_and_where_it_was_read(raw: dict[str, Any], expected: EmbeddingScale | None) -> None:
    read = parse_config(raw)
    assert read.embedding_scale == expected
    assert read.origins["embedding_scale"] == (expected.origin if expected else "rows are read as they are")


def test_others_do_not_round() -> None:
    assert EmbeddingScale("sqrt", 1000**0.5, rounded=False, origin="").in_dtype("BF16") == 1000**0.5


def test_an_unknown_family_has_only_what_its_file_says() -> None:
    read = parse_config({"model_type": "unheard-of", "hidden_size": 4096, "num_layers": 32})
    assert not read.family_known
    assert read.vocab_size is None
    assert read.origins["vocab_size"] == NOT_IN_FILE


def test_a_family_whose_layout_is_not_known_is_not_known_whole() -> None:
    read = parse_config({"model_type": "minicpm"})
    assert read.family is family_of("minicpm")
    assert not read.family_known


def test_the_norm_behind_the_lookup_is_that_of_the_family() -> None:
    assert (
        parse_config({"model_type": "nomic_bert"}).embedding_norm == family_of("nomic_bert").embedding_norm is not None
    )
    assert parse_config({"model_type": "llama"}).embedding_norm is None


UNSIZED = sorted(name for name in DECIDED if name not in SHAPES and architecture(name) is None)


@pytest.mark.parametrize("model_type", UNSIZED)
def test_a_family_whose_class_is_not_known_ties_nothing(model_type: str) -> None:
    read = parse_config({"model_type": model_type})
    assert (read.tie_word_embeddings, read.origins["tie_word_embeddings"]) == (None, NOT_IN_FILE)


def test_kin_outside_transformers_borrow_a_family() -> None:
    read = parse_config({"model_type": "kimi_k2"})
    assert (read.model_type, read.family_key, read.family_known) == ("kimi_k2", "deepseek_v3", True)


def test_the_tables_name_only_families_that_exist() -> None:
    known = set(known_families())
    assert set(SHAPES) | set(TEXT_TYPES.values()) | set(SAME_AS.values()) | TIED <= known
    assert all(family_of(name) is not UNKNOWN for name in known)


def test_nothing_is_decided_that_was_seen_or_is_usual() -> None:
    for name, decided in DECIDED.items():
        recorded = architecture(name)
        seen = {} if recorded is None else dict(recorded.family or {})
        usual = {each.name: each.default for each in dataclasses.fields(Family)}
        told = {key: value for key, value in decided.items() if seen.get(key, usual[key]) == value}
        assert not told, (name, told)


# --- Bad files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "config.json is not JSON: line 1, column 1"),
        (b"{", "config.json is not JSON: line 1, column 2: expecting property name"),
        (b'{"a": 1,\n "b" 2}', "config.json is not JSON: line 2, column 6: expecting ':' delimiter"),
        (b"\xff\xfe{", "config.json is not UTF-8: byte 0"),
        (b'{"a": "\xff"}', "config.json is not UTF-8: byte 7"),
        (b"[]", "config.json must hold a JSON object, not a list of 0"),
        (b"null", "config.json must hold a JSON object, not null"),
        (b"NaN", "config.json must hold a JSON object, not NaN"),
        (b'{"hidden_size": 1, "hidden_size": 2}', 'config.json names the field "hidden_size" twice'),
        (b'{"vocab_size": NaN}', "config.json: vocab_size must be a whole number, not NaN"),
        (b'{"vocab_size": 1' + b"0" * 400 + b"}", "config.json: vocab_size must be between 1 and 2^53, not a number"),
        (b'{"vocab_size": ' + b"1" * 5000 + b"}", "config.json holds a number that is too long"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "config.json is nested too deep"),
    ],
)
def test_bad_bytes(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config_text(data)
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message


def test_an_error_names_the_file_it_was_read_from() -> None:
    for data in (b"{", b"\xff", b"[]", b'{"a": 1, "a": 1}', b'{"vocab_size": -1}'):
        with pytest.raises(ConfigError, match=r"^sub/c\.json"):
            parse_config_text(data, file="sub/c.json")
    assert parse_config_text(b"{}", file="sub/c.json").file == "sub/c.json"


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse_config_text(b'\xef\xbb\xbf{"hidden_size": 8}').hidden_size == 8


def test_infinity_outside_the_fields_that_are_read_does_no_harm() -> None:
    # Mamba 2 configs have "time_step_limit": [0.0, Infinity]
    assert parse_config_text(b'{"time_step_limit": [0.0, Infinity], "hidden_size": 8}').hidden_size == 8


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"hidden_size": "64"}, 'c.json: hidden_size must be a whole number, not "64"'),
        ({"hidden_size": True}, "c.json: hidden_size must be a whole number, not true"),
        ({"hidden_size": 0}, "c.json: hidden_size must be between 1 and 2^53, not 0"),
        ({"hidden_size": -1}, "c.json: hidden_size must be between 1 and 2^53, not -1"),
        ({"n_embd": 1.5}, "c.json: n_embd must be a whole number, not 1.5"),
        ({"text_config": 5}, "c.json: text_config must be an object, not 5"),
        ({"text_config": {"head_dim": []}}, "c.json: text_config.head_dim must be a whole number, not a list of 0"),
        ({"model_type": 3}, "c.json: model_type must be a string, not 3"),
        ({"tie_word_embeddings": "yes"}, 'c.json: tie_word_embeddings must be true or false, not "yes"'),
        (
            {"model_type": "granite", "embedding_multiplier": {}},
            "c.json: embedding_multiplier must be a number, not an object",
        ),
        ({"hidden_size": "x" * 99}, 'c.json: hidden_size must be a whole number, not "xxxxxxxx'),
    ],
)
def test_wrong_types_name_the_file_and_the_field(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(raw, file="c.json")
    assert caught.value.message.startswith(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def outcome(parse: Callable[[], Config]) -> str:
    """The message of the error, or the file of the config."""
    try:
        return parse().file
    except ConfigError as error:
        return error.message


@given(raw=JSON)
def test_any_json_gives_a_config_or_an_error(raw: Any) -> None:
    assert outcome(lambda: parse_config(raw)).startswith("config.json")


@given(data=st.binary(max_size=64) | JSON.map(lambda raw: json.dumps(raw).encode()))
def test_any_bytes_give_a_config_or_an_error(data: bytes) -> None:
    assert outcome(lambda: parse_config_text(data)).startswith("config.json")


def test_a_config_shows_itself_in_a_line_and_obeys_no_name() -> None:
    shown = repr(parse_config({"model_type": "\x1b[31mred", "vocab_size": 32000, "hidden_size": 64}))
    assert shown == "<config 'config.json': '\\x1b[31mred', 32,000 tokens, 64 wide>"
