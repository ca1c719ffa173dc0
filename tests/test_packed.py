"""Tables made of several tensors: MLX's packing against MLX itself, FP8 and 4-bit floats against their formulas."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import Program
from small_models import bfloat16, float32, safetensors, write_json
from sources import Memory
from tables import DTYPES, EIGHT_BITS, on_disk, ranked, scores

from embtool import nearest, open_model
from embtool.errors import EmbtoolError, FormatError, TableNotFound, UnsupportedDType
from embtool.formats import PACKING_SIGNS
from embtool.formats.codes import E2M1, E8M0, unpack
from embtool.formats.recipes import RECIPES
from embtool.model import Model
from embtool.storage import dtypes
from embtool.tables.norms import row_norms
from embtool.tables.sequence import read_sequence, sequence_tables
from embtool.tables.survey import mean_row

ROWS, WIDTH = 23, 256
NAME = "model.embed_tokens"
RANDOM = np.random.default_rng(8)
VALUES = RANDOM.normal(size=(ROWS, WIDTH)).astype(np.float32)

Tensors = Mapping[str, tuple[str, tuple[int, ...], bytes]]


def write(folder: Path, tensors: Tensors, **settings: Any) -> Model:
    """Write a model whose table is made of these tensors, beside one that is plain."""
    folder.mkdir(exist_ok=True)
    described = {
        "model_type": "llama",
        "vocab_size": ROWS,
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "tie_word_embeddings": False,
        **settings,
    }
    write_json(folder / "config.json", described)
    other = {"model.norm.weight": ("F32", (WIDTH,), float32(np.ones(WIDTH)))}
    (folder / "model.safetensors").write_bytes(safetensors({**other, **tensors}))
    return open_model(folder)


def words(codes: Any) -> tuple[str, tuple[int, ...], bytes]:
    """Write U32 words."""
    return ("U32", codes.shape, codes.astype("<u4").tobytes())


def f32(values: Any) -> tuple[str, tuple[int, ...], bytes]:
    """Write float32."""
    return ("F32", np.shape(values), float32(np.asarray(values)))


def u8(values: Any, dtype: str = "U8") -> tuple[str, tuple[int, ...], bytes]:
    """Write bytes."""
    return (dtype, values.shape, values.astype(np.uint8).tobytes())


# --- Codes


@given(st.sampled_from([1, 2, 3, 4, 5, 6, 8]), st.integers(1, 6), st.data())
def test_codes_are_unpacked_from_a_stream_of_bits(bits: int, groups: int, data: st.DataObject) -> None:
    count = 8 * groups
    codes = data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=count, max_size=count))
    stream = sum(code << (bits * place) for place, code in enumerate(codes))
    stored = np.frombuffer(stream.to_bytes(count * bits // 8, "little"), np.uint8)
    assert unpack(stored, bits).tolist() == codes
    assert unpack(np.stack([stored, stored]), bits).tolist() == [codes, codes]


def test_small_floats_are_those_of_the_specification() -> None:
    for code in range(16):
        sign, exponent, mantissa = code >> 3, (code >> 1) & 3, code & 1
        value = mantissa / 2 if exponent == 0 else (1 + mantissa / 2) * 2 ** (exponent - 1)
        assert E2M1[code] == (-value if sign else value)
    assert E8M0[127] == 1.0
    assert E8M0[0] == 2.0**-127
    assert np.isnan(E8M0[255])


# --- MLX


def by_hand(codes: Any, scales: Any, biases: Any, group: int) -> Any:
    """Compute scale × code + bias of each group: the formula of mlx.core.quantize."""
    return np.repeat(scales, group, axis=1) * codes.astype(np.float32) + np.repeat(biases, group, axis=1)


def pack(codes: Any, bits: int) -> Any:
    """Write codes as a stream of bits in U32 words, the least significant first."""
    rows = []
    for row in codes.tolist():
        stream = sum(int(code) << (bits * place) for place, code in enumerate(row))
        rows.append(np.frombuffer(stream.to_bytes(len(row) * bits // 8, "little"), "<u4"))
    return np.stack(rows)


def affine(bits: int, group: int) -> tuple[Tensors, Any]:
    """Make a packed table and the numbers in it, by the formula alone."""
    codes = RANDOM.integers(0, 1 << bits, (ROWS, WIDTH))
    scales = RANDOM.normal(size=(ROWS, WIDTH // group)).astype(np.float32)
    biases = RANDOM.normal(size=(ROWS, WIDTH // group)).astype(np.float32)
    tensors = {
        f"{NAME}.weight": words(pack(codes, bits)),
        f"{NAME}.scales": f32(scales),
        f"{NAME}.biases": f32(biases),
    }
    return tensors, by_hand(codes, scales, biases, group)


@pytest.mark.parametrize("group", [32, 64, 128])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_affine_rows_are_scale_times_code_plus_bias(tmp_path: Path, bits: int, group: int) -> None:
    tensors, expected = affine(bits, group)
    table = write(tmp_path, tensors, quantization={"group_size": group, "bits": bits}).input_table
    assert table.shape == (ROWS, WIDTH)
    assert table.tensor.dtype.name == f"MLX affine {bits}-bit, group {group}"
    np.testing.assert_array_equal(table.rows([22, 0, 5, 6, 5]), expected[[22, 0, 5, 6, 5]])
    assert table.tensor.nbytes * 8 / (ROWS * WIDTH) == bits + 64 / group


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_rows_are_what_mlx_reads(tmp_path: Path, bits: int, dtype: str) -> None:
    mx = pytest.importorskip("mlx.core", reason="MLX's own quantise is the measure here: pip install 'mlx[cpu]'")
    source = mx.array(VALUES).astype(getattr(mx, dtype))
    codes, scales, biases = mx.quantize(source, group_size=64, bits=bits)
    mx.save_safetensors(
        str(tmp_path / "model.safetensors"),
        {f"{NAME}.weight": codes, f"{NAME}.scales": scales, f"{NAME}.biases": biases},
        metadata={"format": "mlx"},
    )
    write_json(tmp_path / "config.json", {"model_type": "llama", "quantization": {"group_size": 64, "bits": bits}})
    wide = [part.astype(mx.float32) for part in (scales, biases)]
    expected = np.array(mx.dequantize(codes, *wide, group_size=64, bits=bits))
    np.testing.assert_allclose(open_model(tmp_path).input_table.rows(range(ROWS)), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("mode", "bits", "group"), [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)])
def test_rows_of_the_modes_of_floats_are_what_mlx_reads(tmp_path: Path, mode: str, bits: int, group: int) -> None:
    mx = pytest.importorskip("mlx.core", reason="MLX's own quantise is the measure here: pip install 'mlx[cpu]'")
    codes, scales = mx.quantize(mx.array(VALUES), mode=mode)
    mx.save_safetensors(
        str(tmp_path / "model.safetensors"),
        {f"{NAME}.weight": codes, f"{NAME}.scales": scales},
        metadata={"format": "mlx"},
    )
    said = {"group_size": group, "bits": bits, "mode": mode}
    write_json(tmp_path / "config.json", {"model_type": "llama", "quantization": said})
    table = open_model(tmp_path).input_table
    expected = np.array(mx.dequantize(codes, scales, mode=mode, dtype=mx.float32))
    np.testing.assert_array_equal(table.rows(range(ROWS)), expected)
    assert table.tensor.dtype.name == f"MLX {mode} {bits}-bit, group {group}"


def test_one_table_can_be_packed_in_its_own_way(tmp_path: Path) -> None:
    tensors, expected = affine(6, 32)
    said = {"group_size": 64, "bits": 4, NAME: {"group_size": 32, "bits": 6}, "lm_head": False}
    table = write(tmp_path, tensors, quantization=said).input_table
    np.testing.assert_array_equal(table.rows([3]), expected[[3]])
    (folder := tmp_path / "dropped").mkdir()
    prefixed = {f"language_model.{name}": tensor for name, tensor in tensors.items()}
    table = write(folder, prefixed, quantization=said).input_table
    np.testing.assert_array_equal(table.rows([3]), expected[[3]])


def test_what_the_config_leaves_out_follows_from_the_shapes(tmp_path: Path) -> None:
    tensors, expected = affine(3, 128)
    table = write(tmp_path, tensors).input_table
    np.testing.assert_array_equal(table.rows([3]), expected[[3]])


@pytest.mark.parametrize("said", [(4, 64), (8, 32), (3, 128), (4, 32)])
@pytest.mark.parametrize("stored", [(8, 64), (4, 32), (6, 64), (2, 128)])
def test_where_the_config_says_other_bits_the_shapes_are_right(
    tmp_path: Path, said: tuple[int, int], stored: tuple[int, int]
) -> None:
    tensors, expected = affine(*stored)
    table = write(tmp_path, tensors, quantization={"bits": said[0], "group_size": said[1]}).input_table
    assert table.tensor.dtype.name.startswith(f"MLX affine {stored[0]}-bit, group {stored[1]}")
    assert ("config says" in table.tensor.dtype.name) is (said != stored)
    np.testing.assert_array_equal(table.rows([3, 0]), expected[[3, 0]])


def test_a_table_that_is_wider_than_the_model_is_read_as_the_config_says(tmp_path: Path) -> None:
    tensors, expected = affine(4, 64)
    table = write(tmp_path, tensors, quantization={"bits": 4, "group_size": 64}, hidden_size=WIDTH * 4).input_table
    np.testing.assert_array_equal(table.rows([3]), expected[[3]])


@pytest.mark.parametrize(("mode", "bits", "group"), [("mxfp4", 4, 32), ("mxfp8", 8, 32), ("nvfp4", 4, 16)])
def test_a_mode_of_floats_that_the_config_does_not_say(tmp_path: Path, mode: str, bits: int, group: int) -> None:
    codes = words(RANDOM.integers(0, 1 << 32, (ROWS, WIDTH * bits // 32)))
    scales = u8(RANDOM.integers(100, 120, (ROWS, WIDTH // group)))
    tensors = {f"{NAME}.weight": codes, f"{NAME}.scales": scales}
    said = write(tmp_path / "said", tensors, quantization={"mode": mode, "bits": bits, "group_size": group})
    unsaid = write(tmp_path / "unsaid", tensors, quantization={"bits": 4, "group_size": 64})
    np.testing.assert_array_equal(unsaid.input_table[:], said.input_table[:])
    assert unsaid.input_table.tensor.dtype.name.startswith(f"MLX {mode} {bits}-bit, group {group}")


def test_bits_that_nothing_tells_are_not_guessed(tmp_path: Path) -> None:
    tensors, _ = affine(4, 64)
    with pytest.raises(
        FormatError, match="2 bits in groups of 128 or 4 bits in groups of 64 or 8 bits in groups of 32"
    ):
        _ = write(tmp_path, tensors, quantization={"bits": 3, "group_size": 64}, hidden_size=48).input_table


@pytest.mark.parametrize("tall", [True, False])
def test_eight_bits_of_bitsandbytes(tmp_path: Path, tall: bool) -> None:  # noqa: FBT001 - a case
    codes = RANDOM.integers(-127, 128, (ROWS, WIDTH)).astype(np.int8)
    largest = np.abs(RANDOM.normal(size=ROWS)).astype(np.float32)
    tensors = {
        "lm_head.weight": ("I8", codes.shape, codes.tobytes()),
        "lm_head.SCB": f32(largest[:, None] if tall else largest),
        "lm_head.weight_format": ("U8", (), bytes(1)),
    }
    model = write(tmp_path, tensors, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    table = model.output_table
    expected = (codes.astype(np.float64) * largest.astype(np.float64)[:, None] / 127).astype(np.float32)
    np.testing.assert_array_equal(table.rows(range(ROWS)), expected)
    assert (table.shape, table.tensor.dtype.name) == ((ROWS, WIDTH), "bitsandbytes 8-bit")
    assert set(table.checkpoint.names) == {"lm_head.weight", "model.norm.weight"}
    assert_scans_as_its_rows(table)


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"lm_head.weight_format": ("U8", (), b"\2")}, UnsupportedDType, "bitsandbytes 8-bit, reordered for a kernel"),
        ({"lm_head.SCB": ("F32", (2,), bytes(8))}, FormatError, "not one number for each of its 23 rows"),
        ({"lm_head.SCB": ("I32", (ROWS,), bytes(4 * ROWS))}, FormatError, "not one number for each"),
    ],
)
def test_eight_bits_that_do_not_fit(tmp_path: Path, change: Tensors, error: type[FormatError], word: str) -> None:
    tensors = {"lm_head.weight": ("I8", (ROWS, 4), bytes(4 * ROWS)), "lm_head.SCB": f32(np.ones(ROWS)), **change}
    with pytest.raises(error, match=word):
        write(tmp_path, tensors, hidden_size=4).output_table.rows([0])


def state(shape: Any) -> tuple[str, tuple[int, ...], bytes]:
    text = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": shape}).encode()
    return ("U8", (len(text),), text)


def u32(*shape: int, dtype: str = "I32", size: int = 4) -> tuple[str, tuple[int, ...], bytes]:
    return (dtype, shape, bytes(size * int(np.prod(shape))))


ELSEWHERE: dict[str, tuple[Tensors, str]] = {
    "NF4": (
        {
            "weight": u32(ROWS * WIDTH // 2, 1, dtype="U8", size=1),
            "weight.absmax": u32(ROWS * WIDTH // 64, dtype="U8", size=1),
            "weight.quant_map": u32(16),
            "weight.nested_absmax": u32(1),
            "weight.nested_quant_map": u32(256),
            "weight.quant_state.bitsandbytes__nf4": state([ROWS, WIDTH]),
        },
        "bitsandbytes NF4 4-bit",
    ),
    "FP4": (
        {
            "weight": u32(ROWS * WIDTH // 2, 1, dtype="U8", size=1),
            "weight.absmax": u32(ROWS * WIDTH // 64),
            "weight.quant_map": u32(16),
            "weight.quant_state.bitsandbytes__fp4": ("U8", (1,), b"?"),
        },
        "bitsandbytes FP4 4-bit",
    ),
    "EXL2": (
        {
            "q_weight": u32(WIDTH // 8, ROWS),
            "q_scale": u32(2, 3),
            "q_scale_max": u32(2, dtype="F16", size=2),
            "q_groups": u32(4, dtype="I16", size=2),
            "q_invperm": u32(WIDTH),
        },
        "EXL2",
    ),
    "EXL3": ({"trellis": u32(16, 2, 96, dtype="I16", size=2), "suh": u32(256), "svh": u32(32)}, "EXL3 6-bit"),
    "HQQ": ({"W_q": u32(ROWS, WIDTH // 2, dtype="U8", size=1), "scale": u32(1), "zero": u32(1)}, "HQQ"),
    "AQLM": ({"codes": u32(ROWS, WIDTH // 8, 1), "codebooks": u32(1, 4, 1, 8), "scales": u32(ROWS)}, "AQLM"),
    "quanto": ({"weight._data": u32(ROWS, WIDTH, dtype="I8", size=1), "weight._scale": u32(ROWS, 1)}, "quanto"),
    "EETQ": ({"weight": u32(WIDTH, ROWS, dtype="I8", size=1), "weight_scales": u32(ROWS)}, "EETQ 8-bit, reordered"),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_heads_of_other_quantisations_are_listed_and_refused_by_name(run: Program, tmp_path: Path, case: str) -> None:
    tensors, name = ELSEWHERE[case]
    held = {f"lm_head.{end}": tensor for end, tensor in tensors.items()}
    padded = {"vocab_size": 32} if case == "EXL3" else {}
    write(tmp_path, {f"{NAME}.weight": f32(VALUES), **held}, **padded)
    first, second = run("info", tmp_path, "--json").ok().document["tables"]
    assert (first["dtype"], second["tensor"], second["dtype"]) == ("F32", "lm_head.weight", name)
    if case not in ("EXL3", "HQQ"):  # whole tiles, and groups that are not rows
        assert second["shape"] == [ROWS, WIDTH]
    run("row", "-m", tmp_path, "--table", "output", "id:0").refused(6, name, "lm_head.weight")
    run("row", "-m", tmp_path, "id:0").ok()


@pytest.mark.parametrize("case", ELSEWHERE)
def test_they_are_no_tracebacks_where_they_have_other_shapes(tmp_path: Path, case: str) -> None:
    for shape in ((), (0,), (2,), (2, 2), (2, 2, 2)):
        held = {f"lm_head.{end}": u32(*shape) for end in ELSEWHERE[case][0]}
        model = write(tmp_path, {f"{NAME}.weight": f32(VALUES), **held})
        with pytest.raises(EmbtoolError):
            model.output_table.rows([0])


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_small_floats_without_their_scale_are_no_rows(run: Program, tmp_path: Path, dtype: str) -> None:
    codes, _ = eight_bit()
    plain = {f"{NAME}.weight": f32(VALUES), "lm_head.weight": u8(codes, dtype)}
    other = {
        "model.layers.0.mlp.up_proj.weight": u8(codes, dtype),
        "model.layers.0.mlp.up_proj.weight_scale": f32([0.1]),
    }
    for place, (tensors, said) in enumerate(
        (
            (plain, {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}),
            ({**plain, **other}, {}),
        )
    ):
        write(folder := tmp_path / str(place), tensors, **said)
        run("row", "-m", folder, "--table", "output", "id:0").refused(6, f"{dtype} without its scale", "lm_head.weight")
        assert run("info", folder, "--json").ok().document["tables"][1]["dtype"] == f"{dtype} without its scale"
    cast = write(tmp_path / "cast", plain).output_table  # nothing says that there were scales: it was only cast
    np.testing.assert_array_equal(cast.rows([1]), dtypes.DTYPES[dtype].to_float32(codes[[1]]))


def test_a_row_costs_three_ranges(tmp_path: Path) -> None:
    tensors, _ = affine(4, 64)
    write(tmp_path, tensors, quantization={"group_size": 64, "bits": 4})
    names = ("config.json", "model.safetensors")
    source = Memory({name: (tmp_path / name).read_bytes() for name in names})
    table = Model(source).input_table
    before = len(source.reads)
    table.rows([7])
    assert [read.stop - read.start for read in source.reads[before:]] == [WIDTH // 2, WIDTH // 64 * 4, WIDTH // 64 * 4]


def test_info_shows_the_shape_stored_and_the_bits(run: Program, tmp_path: Path) -> None:
    tensors, _ = affine(4, 64)
    write(tmp_path, tensors, quantization={"group_size": 64, "bits": 4})
    (table,) = run("info", tmp_path, "--json").ok().document["tables"]
    assert (table["shape"], table["stored_shape"]) == ([ROWS, WIDTH], [ROWS, WIDTH // 8])
    assert table["bits_per_weight"] == 5.0
    assert "stored as 23 × 32" in run("info", tmp_path, "-f", "table").ok().text
    assert run("row", "-m", tmp_path, "id:4", "--json").ok().document["dtype"] == "MLX affine 4-bit, group 64"


# --- Scales


def eight_bit(dtype: str = "F8_E4M3") -> tuple[Any, Any]:
    """Make 8-bit codes that are all numbers, and those numbers."""
    usable = np.flatnonzero(np.isfinite(EIGHT_BITS[dtype]))
    codes = usable[RANDOM.integers(0, len(usable), (ROWS, WIDTH))]
    return codes, EIGHT_BITS[dtype][codes]


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
@pytest.mark.parametrize("shape", [(), (1,), (ROWS, 1), (ROWS,), (1, WIDTH)])
@pytest.mark.parametrize("end", ["weight_scale", "weight_scale_inv", "scale_weight"])
def test_fp8_rows_are_code_times_scale(tmp_path: Path, dtype: str, shape: tuple[int, ...], end: str) -> None:
    codes, numbers = eight_bit(dtype)
    scales = RANDOM.uniform(0.5, 2, shape).astype(np.float32)
    tensors = {f"{NAME}.weight": u8(codes, dtype), f"{NAME}.{end}": f32(scales)}
    table = write(tmp_path, tensors).input_table
    wide = scales[:, None] if shape == (ROWS,) else scales
    expected = (numbers.astype(np.float32) * wide.astype(np.float32)).astype(np.float32)
    np.testing.assert_array_equal(table.rows(range(ROWS)), np.broadcast_to(expected, (ROWS, WIDTH)))
    assert table.tensor.dtype.name == f"{dtype}, scaled"


@pytest.mark.parametrize("block", [(8, 64), (5, 100)])
def test_fp8_rows_in_blocks(tmp_path: Path, block: tuple[int, int]) -> None:
    codes, numbers = eight_bit()
    down, across = -(-ROWS // block[0]), -(-WIDTH // block[1])
    scales = RANDOM.uniform(0.5, 2, (down, across)).astype(np.float32)
    tensors = {"lm_head.weight": u8(codes, "F8_E4M3"), "lm_head.weight_scale_inv": f32(scales)}
    model = write(tmp_path, tensors, quantization_config={"quant_method": "fp8", "weight_block_size": list(block)})
    spread = np.repeat(np.repeat(scales, block[0], axis=0), block[1], axis=1)[:ROWS, :WIDTH]
    np.testing.assert_array_equal(model.output_table.rows(range(ROWS)), numbers.astype(np.float32) * spread)
    assert_scans_as_its_rows(model.output_table)


def test_int8_rows_are_code_times_scale(tmp_path: Path) -> None:
    codes = RANDOM.integers(-127, 128, (ROWS, WIDTH))
    scales = (2.0 ** -RANDOM.integers(3, 9, (ROWS, 1))).astype(np.float32)
    tensors = {
        f"{NAME}.weight": ("I8", codes.shape, codes.astype(np.int8).tobytes()),
        f"{NAME}.weight_scale": ("BF16", scales.shape, bfloat16(scales)),
    }
    np.testing.assert_array_equal(write(tmp_path, tensors).input_table.rows(range(ROWS)), codes * scales)


def test_a_scale_beside_a_plain_table_changes_nothing(tmp_path: Path) -> None:
    tensors = {f"{NAME}.weight": f32(VALUES), f"{NAME}.weight_scale": f32([2.0])}
    np.testing.assert_array_equal(write(tmp_path, tensors).input_table.rows([1]), VALUES[[1]])


def four_bit() -> tuple[Any, Any, Any, Any]:
    """Make 4-bit codes two a byte, their numbers, and scales of groups of 16 as bytes and as numbers."""
    codes = RANDOM.integers(0, 16, (ROWS, WIDTH))
    packed = codes[:, 0::2] | codes[:, 1::2] << 4
    scale_codes = RANDOM.integers(0x20, 0x70, (ROWS, WIDTH // 16))
    return packed, E2M1[codes], scale_codes, EIGHT_BITS["F8_E4M3"][scale_codes].astype(np.float32)


def test_a_modelopt_head_of_nvfp4_is_whole(run: Program, tmp_path: Path) -> None:
    packed, numbers, scale_codes, scales = four_bit()
    tensors = {
        f"{NAME}.weight": ("BF16", (ROWS, WIDTH), bytes(ROWS * WIDTH * 2)),
        "lm_head.weight": u8(packed),
        "lm_head.weight_scale": u8(scale_codes, "F8_E4M3"),
        "lm_head.weight_scale_2": f32(np.float32(0.25)),
        "lm_head.input_scale": f32(np.float32(7.0)),
    }
    model = write(tmp_path, tensors)
    expected = numbers * np.repeat(scales * np.float32(0.25), 16, axis=1)
    np.testing.assert_array_equal(model.output_table.rows(range(ROWS)), expected)
    assert_scans_as_its_rows(model.output_table)
    _, head = run("info", tmp_path, "--json").ok().document["tables"]
    assert (head["dtype"], head["shape"], head["stored_shape"]) == ("NVFP4", [ROWS, WIDTH], [ROWS, WIDTH // 2])


def test_compressed_tensors_divide_by_the_global_scale(tmp_path: Path) -> None:
    packed, numbers, scale_codes, scales = four_bit()
    tensors = {
        "lm_head.weight_packed": u8(packed),
        "lm_head.weight_scale": u8(scale_codes, "F8_E4M3"),
        "lm_head.weight_global_scale": f32([8.0]),
    }
    table = write(tmp_path, tensors).output_table
    assert table.tensor.name == "lm_head.weight"
    np.testing.assert_array_equal(table.rows(range(ROWS)), numbers * np.repeat(scales / np.float32(8), 16, axis=1))


def test_mxfp4_has_powers_of_two_for_scales(tmp_path: Path) -> None:
    packed, numbers, _, _ = four_bit()
    exponents = RANDOM.integers(100, 140, (ROWS, WIDTH // 32))
    tensors = {"lm_head.weight_packed": u8(packed), "lm_head.weight_scale": u8(exponents)}
    expected = numbers * np.repeat(np.exp2(exponents - 127.0), 32, axis=1)
    np.testing.assert_array_equal(write(tmp_path, tensors).output_table.rows(range(ROWS)), expected)


@pytest.mark.parametrize("bits", [4, 8])
def test_whole_numbers_in_words(tmp_path: Path, bits: int) -> None:
    codes = RANDOM.integers(0, 1 << bits, (ROWS, WIDTH))
    scales = RANDOM.uniform(0.5, 2, (ROWS, WIDTH // 32)).astype(np.float32)
    packed = pack(codes, bits)
    tensors = {
        "lm_head.weight_packed": ("I32", packed.shape, packed.tobytes()),
        "lm_head.weight_scale": f32(scales),
        "lm_head.weight_shape": ("I64", (2,), np.array([ROWS, WIDTH], "<i8").tobytes()),
    }
    said = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": bits}}}}
    table = write(tmp_path, tensors, quantization_config=said).output_table
    expected = (codes - float(1 << (bits - 1))).astype(np.float32) * np.repeat(scales, 32, axis=1)
    np.testing.assert_array_equal(table.rows(range(ROWS)), expected)
    assert table.tensor.dtype.name == f"pack-quantized {bits}-bit"


@pytest.mark.parametrize(
    ("method", "shape", "name"), [("gptq", (WIDTH // 8, ROWS), "GPTQ"), ("awq", (WIDTH, ROWS // 8 + 1), "AWQ")]
)
def test_tables_packed_along_the_other_side_are_refused_by_name(
    run: Program, tmp_path: Path, method: str, shape: tuple[int, int], name: str
) -> None:
    tensors = {
        f"{NAME}.weight": f32(VALUES),
        "lm_head.qweight": ("I32", shape, bytes(4 * shape[0] * shape[1])),
        "lm_head.scales": f32(np.ones((2, ROWS))),
        "lm_head.qzeros": ("I32", (2, 1), bytes(8)),
    }
    write(tmp_path, tensors, quantization_config={"quant_method": method, "bits": 4})
    first, second = run("info", tmp_path, "--json").ok().document["tables"]
    assert (first["dtype"], second["dtype"]) == ("F32", f"{name} 4-bit")
    run("row", "-m", tmp_path, "--table", "output", "id:0").refused(6, name, "lm_head.weight")
    run("neighbors", "-m", tmp_path, "id:0", "--against", "output").refused(6, name)
    run("row", "-m", tmp_path, "id:0").ok()


@pytest.mark.parametrize(("end", "word"), [("weight_zero_point", "zero points"), ("weight_g_idx", "reordered groups")])
def test_words_with_zero_points_or_reordered_groups_are_refused_by_name(tmp_path: Path, end: str, word: str) -> None:
    tensors = {
        "lm_head.weight_packed": ("I32", (ROWS, WIDTH // 8), bytes(ROWS * WIDTH // 2)),
        "lm_head.weight_scale": f32(np.ones((ROWS, 8))),
        f"lm_head.{end}": ("I32", (1,), bytes(4)),
    }
    said = {"config_groups": {"group_0": {"weights": {"num_bits": 4}}}}
    with pytest.raises(UnsupportedDType, match=word):
        write(tmp_path, tensors, quantization_config=said).output_table.rows([0])


def test_blocks_that_compressed_tensors_describes(tmp_path: Path) -> None:
    codes, numbers = eight_bit()
    scales = RANDOM.uniform(0.5, 2, (-(-ROWS // 4), WIDTH // 32)).astype(np.float32)
    tensors = {"lm_head.weight": u8(codes, "F8_E4M3"), "lm_head.weight_scale": f32(scales)}
    said = {"config_groups": {"group_0": {"weights": {"num_bits": 8, "block_structure": [4, 32]}}}}
    table = write(tmp_path, tensors, quantization_config=said).output_table
    spread = np.repeat(np.repeat(scales, 4, axis=0), 32, axis=1)[:ROWS]
    np.testing.assert_array_equal(table.rows(range(ROWS)), numbers.astype(np.float32) * spread)


def test_zero_points_are_refused_by_name(tmp_path: Path) -> None:
    codes = np.zeros((ROWS, WIDTH), np.int8)
    tensors = {
        f"{NAME}.weight": ("I8", codes.shape, codes.tobytes()),
        f"{NAME}.weight_scale": f32([1.0]),
        f"{NAME}.weight_zero_point": ("I8", (1,), b"\1"),
    }
    with pytest.raises(UnsupportedDType, match="zero points"):
        write(tmp_path, tensors).input_table.rows([0])


# --- Scans


def assert_scans_as_its_rows(table: Any) -> None:
    """Hold the neighbours, norms and mean of a table against those of its own rows, for blocks of one row too."""
    rows = table.rows(range(table.shape[0])).astype(np.float64)
    query = np.random.default_rng(1).normal(size=table.shape[1])
    for metric in ("cosine", "dot", "euclidean"):
        found = nearest(table, query, 6, metric=metric)
        assert found.ids.tolist() == ranked(scores(rows, query, metric), 6, metric)
    np.testing.assert_allclose(row_norms(table), np.linalg.norm(rows, axis=1), rtol=1e-5)
    with table.open() as reader:
        np.testing.assert_allclose(mean_row(table, reader), rows.mean(axis=0), rtol=1e-5, atol=1e-6)
        assert reader.row_cost == 4 * table.shape[1]
        for first, count in ((0, 1), (3, 2), (0, table.shape[0])):
            block = np.empty((count, reader.row_bytes), np.uint8)
            reader.read(first, block)
            np.testing.assert_array_equal(block, table.stored_rows(range(first, first + count)))


@pytest.mark.parametrize("bits", [3, 4])
def test_scanning_a_packed_table_is_ranking_its_rows(tmp_path: Path, bits: int) -> None:
    tensors, _ = affine(bits, 64)
    assert_scans_as_its_rows(write(tmp_path, tensors, quantization={"group_size": 64, "bits": bits}).input_table)


# --- Broken ones


def spoiled() -> dict[str, tuple[Callable[[], tuple[Tensors, dict[str, Any]]], str]]:
    """Tables whose tensors do not fit each other, and a word of what is said of each."""

    def mlx(drop: str = "", said: dict[str, Any] | None = None, **changes: Any) -> Any:
        tensors, _ = affine(4, 64)
        kept = {name: tensor for name, tensor in tensors.items() if not name.endswith(drop or "?")}
        return lambda: ({**kept, **{f"{NAME}.{end}": value for end, value in changes.items()}}, {"quantization": said})

    def scaled(**changes: Any) -> Any:
        codes, _ = eight_bit()
        tensors = {f"{NAME}.weight": u8(codes, "F8_E4M3"), **{f"{NAME}.{end}": value for end, value in changes.items()}}
        return lambda: (tensors, {})

    usual = {"group_size": 64, "bits": 4}
    packed, _, scale_codes, _ = four_bit()
    nvfp4 = {f"{NAME}.weight": u8(packed), f"{NAME}.weight_scale": u8(scale_codes, "F8_E4M3")}
    return {
        "codes without scales": (mlx("scales", usual), "no scales"),
        "codes without biases": (mlx("biases", usual), "no biases"),
        "bits of 5 in groups of 60": (mlx("", {"bits": 5, "group_size": 60}), "5 bits, groups of 60"),
        "bits of 7": (mlx("", {"bits": 7, "group_size": 64}), "7 bits"),
        "bits that are a word": (mlx("", {"bits": "four", "group_size": 64}), "four bits"),
        "another mode": (mlx("", {**usual, "mode": "mxfp9"}), "mode mxfp9"),
        "a mode with other bits": (mlx("", {"bits": 8, "group_size": 32, "mode": "mxfp4"}), "8 bits"),
        "scales of no groups": (mlx("", usual, scales=f32(np.ones((ROWS, 3)))), "3 scales a row, which fit no bits"),
        "scales of other rows": (mlx("", usual, scales=f32(np.ones((2, 4)))), "scales"),
        "biases of another dtype": (mlx("", usual, biases=u8(np.ones((ROWS, 4)))), "biases of U8"),
        "scales that fit no block": (scaled(weight_scale_inv=f32(np.ones((3, 3)))), "do not fit blocks"),
        "scales of three dimensions": (scaled(weight_scale=f32(np.ones((1, 1, 1)))), "do not fit blocks"),
        "scales that are whole numbers": (scaled(weight_scale=("I32", (1,), bytes(4))), "do not fit blocks"),
        "an odd width": (
            lambda: (
                {"lm_head.weight_packed": u8(packed[:, :5]), "lm_head.weight_scale": u8(scale_codes, "F8_E4M3")},
                {},
            ),
            "not divide into groups of 32",
        ),
        "scales of another format": (
            lambda: ({"lm_head.weight_packed": u8(packed), "lm_head.weight_scale": u8(np.ones((ROWS, 8)), "I8")}, {}),
            "where this format has F8_E8M0 or U8",
        ),
        "words of unknown bits": (
            lambda: (
                {"lm_head.weight_packed": ("I32", (ROWS, 32), bytes(ROWS * 128)), "lm_head.weight_scale": f32([1.0])},
                {},
            ),
            "words of None bits",
        ),
        "a mode of floats with scales that are floats": (
            mlx("biases", {"mode": "mxfp4"}, scales=f32(np.ones((ROWS, 8)))),
            "scales of F32, where mode mxfp4 has U8",
        ),
        "words that fit no groups": (mlx("", usual, weight=words(np.ones((ROWS, 30)))), "30 words and 4 scales"),
        "two whole scales": (lambda: ({**nvfp4, f"{NAME}.weight_scale_2": f32([1.0, 1.0])}, {}), "one number of F32"),
    }


@pytest.mark.parametrize("name", spoiled())
def test_tensors_that_do_not_fit_are_refused_in_one_line(run: Program, tmp_path: Path, name: str) -> None:
    make, word = spoiled()[name]
    tensors, settings = make()
    write(tmp_path, tensors, **settings)
    table = "input" if any(name.startswith(NAME) for name in tensors) else "output"
    run("row", "-m", tmp_path, "--table", table, "id:0").refused(6, word, NAME if table == "input" else "lm_head")


@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_of_plain_dtypes(tmp_path: Path, dtype: str) -> None:
    table, held = on_disk(tmp_path, VALUES.astype(np.float64), dtype)
    np.testing.assert_allclose(row_norms(table), np.linalg.norm(held, axis=1), rtol=1e-5)


# --- Several tables


def test_added_rows_stand_below_the_others(run: Program, tmp_path: Path) -> None:
    base = "model.transformer.wte"
    tensors = {f"{base}.embedding": f32(VALUES[:15]), f"{base}.new_embedding": f32(VALUES[15:])}
    table = write(tmp_path, tensors).input_table
    assert table.shape == (ROWS, WIDTH)
    np.testing.assert_array_equal(table.rows([14, 15, 22, 0, 15]), VALUES[[14, 15, 22, 0, 15]])
    query = VALUES[16].astype(np.float64)
    assert nearest(table, query, ROWS).ids.tolist() == ranked(
        scores(VALUES.astype(float), query, "cosine"), ROWS, "cosine"
    )
    with table.open() as reader:
        for first, count in ((13, 4), (0, 15), (15, 8), (14, 1)):
            block = np.empty((count, reader.row_bytes), np.uint8)
            reader.read(first, block)
            np.testing.assert_array_equal(block.view("<f4"), VALUES[first : first + count])
    assert run("row", "-m", tmp_path, "--table", f"{base}.new_embedding", "id:0", "--json").ok().document["rows"]
    differing = {f"{base}.embedding": f32(VALUES), f"{base}.new_embedding": f32(VALUES[:, :8])}
    write(tmp_path / "differing", differing)
    run("row", "-m", tmp_path / "differing", "id:0").refused(6, "differ in width")


def test_positions_by_two_axes_are_one_table(run: Program, tmp_path: Path) -> None:
    """Reformer's: its own code spreads both over a grid, and lays their numbers side by side."""
    base, rows, each = "reformer.embeddings.position_embeddings", 5, 7
    one, two = VALUES[:rows, None, :6], VALUES[None, :each, 6:]
    tensors = {
        "reformer.embeddings.word_embeddings.weight": f32(VALUES),
        f"{base}.weights.0": f32(one),
        f"{base}.weights.1": f32(two),
    }
    model = write(tmp_path, tensors, model_type="reformer", hidden_size=WIDTH)
    spread = np.concatenate(
        [np.broadcast_to(part, (rows, each, part.shape[2])) for part in (one, two)], axis=2
    ).reshape(rows * each, WIDTH)
    table = model.tables.find("position")
    assert table.shape == spread.shape
    np.testing.assert_array_equal(table.rows([34, 0, 7, 6, 13]), spread[[34, 0, 7, 6, 13]])
    query = spread[16].astype(np.float64)
    wanted = ranked(scores(spread.astype(float), query, "cosine"), rows * each, "cosine")
    assert nearest(table, query, rows * each).ids.tolist() == wanted
    read = read_sequence(
        [3, 4], sequence_tables(model.tables, model.positions, model.config), model.positions, model.config
    )
    np.testing.assert_allclose(read.rows[1], VALUES[4].astype(float) + spread[1])
    write(tmp_path / "odd", tensors | {f"{base}.weights.1": f32(VALUES)}, model_type="reformer")
    run("row", "-m", tmp_path / "odd", "--table", "position", "id:0").refused(6, "two axes")


def test_every_table_is_reached_by_its_name(run: Program, tmp_path: Path) -> None:
    small = VALUES[:, :8]
    tensors = {
        "model.embed_tokens.weight": f32(VALUES),
        "model.embed_tokens_per_layer.weight": f32(np.concatenate([VALUES, VALUES], axis=1)),
        "decoder.project_in.weight": f32(small),
        "model.layers.0.self_attn.q_proj.weight": f32(-VALUES),
    }
    write(tmp_path, tensors)
    roles = {table["tensor"]: table["role"] for table in run("info", tmp_path, "--json").ok().document["tables"]}
    assert roles == {
        "model.embed_tokens.weight": "input",
        "model.embed_tokens_per_layer.weight": "per_layer",
        "decoder.project_in.weight": "projection",
    }
    for name, (_, shape, _) in tensors.items():
        document = run("row", "-m", tmp_path, "--table", name, "id:1", "--json").ok().document
        assert (document["tensor"], len(document["rows"][0]["values"])) == (name, shape[1])
        run("neighbors", "-m", tmp_path, "--table", name, "id:1", "-k", "2").ok()
    run("row", "-m", tmp_path, "--table", "nothing", "id:1").refused(3, "nothing")
    run("row", "-m", tmp_path, "--table", "model.norm.weight", "id:1").refused(6, "not a table")


def test_no_recipe_is_missed_because_its_sign_is_not_looked_for() -> None:
    for recipe in RECIPES:
        assert recipe.signs[0].rpartition(".")[2] in PACKING_SIGNS


def test_companions_are_no_tables(tmp_path: Path) -> None:
    tensors, _ = affine(4, 64)
    model = write(tmp_path, tensors, quantization={"group_size": 64, "bits": 4})
    checkpoint = model.tables.stored[0].checkpoint
    assert set(checkpoint.names) == {f"{NAME}.weight", "model.norm.weight"}
    assert checkpoint.shards == ("model.safetensors",)
    with pytest.raises(TableNotFound):
        checkpoint.tensor("nothing")
    with pytest.raises(FormatError, match="not a table"):
        _ = checkpoint.tensor("model.norm.weight").row_bytes
