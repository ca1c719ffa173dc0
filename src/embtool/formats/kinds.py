"""What opens and what is refused, kind by kind: one table, from which docs/formats.md is written."""

from collections.abc import Iterable
from dataclasses import dataclass

from embtool.formats import scaled
from embtool.formats.ggml import BLOCKS, NEVER_STORED, PLAIN
from embtool.formats.gguf import VERSIONS
from embtool.formats.mlx import AFFINE_BITS, AFFINE_GROUPS, FLOAT_MODES
from embtool.storage.dtypes import DTYPES
from embtool.storage.impostors import IMPOSTORS


@dataclass(frozen=True)
class Kind:
    """One kind of model: what it is, how it is named, what its rows are made of, where its tokens are."""

    what: str
    named: str
    rows: str
    tokens: str = "as safetensors"


def _listed(words: Iterable[object]) -> str:
    """Join words as a sentence lists them."""
    *most, last = map(str, words)
    return f"{', '.join(most)} or {last}" if most else last


READABLE = [dtype.name for dtype in DTYPES.values() if dtype.decode is not None]
BLOCKED = [name for name, _, _ in BLOCKS.values() if name not in NEVER_STORED]
AS_THEY_ARE = [name for name in PLAIN.values() if DTYPES[name].decode is not None]

KINDS = (
    Kind(
        "safetensors, one file or many",
        "folder, file, index, repository",
        ", ".join(READABLE),
        "`tokenizer.json`, or the files of a class that is known: see [Tokenizers](#tokenizers)",
    ),
    Kind(
        f"GGUF of version {_listed(VERSIONS)}, also split",
        "`x.gguf`, `hf://org/name/x.gguf`, a blob of Ollama",
        f"{', '.join(AS_THEY_ARE)}; with the extra `gguf` {', '.join(BLOCKED)}",
        "its own metadata",
    ),
    Kind(
        "MLX, packed",
        "folder, repository",
        f"affine with {_listed(AFFINE_BITS)} bits in groups of {_listed(AFFINE_GROUPS)}, as the shapes have it; "
        f"{', '.join(FLOAT_MODES)}",
    ),
    Kind(
        "FP8 and INT8 with scales",
        "as safetensors",
        f"{_listed(sorted(scaled.CODE_DTYPES))}, with a scale for the table, for a row, or for a block",
    ),
    Kind("bitsandbytes, 8 bits", "as safetensors", f"code × `SCB` / {scaled.LARGEST_CODE}"),
    Kind(
        "NVFP4, MXFP4, compressed-tensors",
        "as safetensors",
        f"4-bit floats; whole numbers of {_listed(scaled.PACKED_BITS)} bits in groups",
    ),
    Kind("word2vec, GloVe, fastText `.vec`", "the file, whatever its name, on this machine", "F32", "its words"),
    Kind(
        "model2vec",
        "folder, repository",
        "with `mapping` and `weights`: a row for each token; rows of 8 bits are the numbers as they are",
    ),
    Kind(
        "models in folders of a folder",
        "`DIR#text_encoder`, `hf://org/name#text_encoder`",
        "as the folder's own",
        "the folder's own, that of a pipeline beside it, or `--tokenizer DIR#tokenizer`",
    ),
    Kind(
        "an adapter of PEFT, on top of its base",
        "its folder, file or repository; `--base MODEL` where it names none",
        "whole tables, LoRA (also rsLoRA and DoRA), rows of single tokens, vLLM's new rows",
        "its own, or the base's",
    ),
    Kind(
        "textual inversions",
        "`learned_embeds.safetensors`, or a file with `clip_l`, `clip_g`, `emb_params`",
        "the vectors of each word; with `--base` below those of a text encoder",
        "the words, where they are in the file",
    ),
)
"""To add one: a row here, then `make examples`."""


def table_of_kinds() -> str:
    """Write what opens as a table of Markdown."""
    rows = (f"| {kind.what} | {kind.named} | {kind.rows} | {kind.tokens} |" for kind in KINDS)
    return "\n".join(("| what you have | how to name it | rows | tokens |", "|---|---|---|---|", *rows))


def table_of_refused() -> str:
    """Write what is told by a file's first bytes, and what to do about it, as a table of Markdown."""
    rows = dict.fromkeys(f"| {kind.what.partition(':')[0]} | {kind.hint or ''} |" for kind in IMPOSTORS)
    return "\n".join(("| a file that is | way out |", "|---|---|", *rows))
