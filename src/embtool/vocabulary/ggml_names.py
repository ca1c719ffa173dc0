"""What llama.cpp knows of GGUF files without being told: tokens by name, ids by purpose, escapes (llama-vocab.cpp)."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from embtool.vocabulary.protobuf import CONTROL, NORMAL, USER_DEFINED

ENDS = frozenset(
    """
    <|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s> <|eom_id|>
    <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response> [e~[
    <\uff5cend\u2581of\u2581sentence\uff5c>
    """.split()  # noqa: SIM905 - as the file of llama.cpp names them, one after the other
)
"""Where a model stops."""

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "fim_pre": (
            *("<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<\uff5cfim\u2581begin\uff5c>", "<PRE>"),
            *("\u2581<PRE>", "<|code_prefix|>", "<|prefix|>"),
        ),
        "fim_suf": (
            *("<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<\uff5cfim\u2581hole\uff5c>", "<SUF>"),
            *("\u2581<SUF>", "<|code_suffix|>", "<|suffix|>"),
        ),
        "fim_mid": (
            *("<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<\uff5cfim\u2581end\uff5c>", "<MID>"),
            *("\u2581<MID>", "<|code_middle|>", "<|middle|>"),
        ),
        "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
        "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
        "fim_sep": ("<|file_sep|>",),
    }
)
"""What stands between the parts of code that is filled in, by the purpose for which a file can name a token; where it
does, the names are not looked for."""

OLDER_ROLES: Mapping[str, str] = MappingProxyType({"fim_pre": "prefix", "fim_suf": "suffix", "fim_mid": "middle"})
"""How older files name these purposes."""

OF_TEXT = frozenset({"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"})
"""What is shown with the text, as gpt-oss needs it."""


DEFAULTS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "llama": {"bos": 1, "eos": 2, "unknown": 0},
        "bert": {"bos": 101, "unknown": 100, "seperator": 102},
        "gpt2": {"bos": 11, "eos": 11},
        "t5": {"eos": 1, "unknown": 2},
        "plamo2": {"bos": 1, "eos": 2, "unknown": 0},
    }
)
"""Ids of tokens with a purpose where a file does not say them, by kind (llama-vocab.cpp, `impl::load`)."""

WITHOUT_BEGINNING = frozenset({"glm4", "glm5", "chatglm-bpe"})
"""Ways to cut text whose models have no beginning of a text unless the file says which token it is."""


def retyped(pieces: Sequence[str], types: Sequence[int], is_named: Callable[[str], bool]) -> list[int]:
    """Return the types of a file's pieces with those that follow from names.

    Args:
        pieces: every piece, by id.
        types: the type that the file gives it.
        is_named: tells whether the file names a token for a purpose, such as `fim_pre`.
    """
    places = {piece: place for place, piece in enumerate(pieces)}
    found = list(types)

    def put(names: Iterable[str], kind: int) -> None:
        for name in names:
            if name in places:
                found[places[name]] = kind

    put(ENDS, CONTROL)
    for role, names in PARTS.items():
        if not is_named(role) and not is_named(OLDER_ROLES.get(role, role)):
            put([name for name in names if name in places][:1], CONTROL)
    put(OF_TEXT, USER_DEFINED)
    if places.keys() & {"<|call|>", "<|calls|>"} and places.keys() & {"<|return|>", "<|flush|>"}:
        put(["<|end|>"], USER_DEFINED)
    if "<|tool_response>" in places or "<|plamo:eos|>" in places:
        put(["</s>"], NORMAL)
    return found


def spaces_taken(metadata: Mapping[str, Any], pre: str) -> Callable[[str], dict[str, bool]]:
    """Return which spaces around a token in a text belong to it: what llama.cpp knows by the names of models."""
    name, architecture = (str(metadata.get(f"general.{key}", "")).lower() for key in ("name", "architecture"))
    if any(known in pre for known in ("jina-v2-de", "jina-v2-es", "jina-v2-code")) or any(
        known in architecture for known in ("nomic-bert-moe", "jina-bert-v3")
    ):
        return lambda piece: {"lstrip": piece == "<mask>"}
    if "phi-3" in name or "phi3" in name:
        return lambda piece: {"rstrip": piece not in ("<unk>", "<s>", "<|endoftext|>")}
    return lambda piece: {"lstrip": "modern-bert" in name and piece == "[MASK]"}


ESCAPED = re.compile(r"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)


def unescape(piece: str) -> bytes:
    """Read a piece of RWKV, in which some characters and bytes are written with a backslash."""

    def read(found: re.Match[str]) -> str:
        mark = found[1]
        if len(mark) > 1:
            return chr(0xDC00 + int(mark[1:], 16)) if int(mark[1:], 16) >= 128 else chr(int(mark[1:], 16))  # noqa: PLR2004
        return {"t": "\t", "n": "\n", "r": "\r"}.get(mark, mark)

    return ESCAPED.sub(read, piece).encode("utf-8", "surrogateescape")
