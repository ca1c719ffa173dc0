"""Mistral's tekken.json: tokens in base64 in the order of their ranks, an expression that cuts text, special tokens.

Special tokens come first; a token's id is its rank plus their number (mistral-common's tekken.py).
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any

from embtool.errors import FormatError
from embtool.vocabulary.classes import TEXT
from embtool.vocabulary.describe import byte_merges, template
from embtool.vocabulary.entries import State, parse_tokenizer
from embtool.vocabulary.loading import loader
from embtool.vocabulary.spelling import ByteLevel
from embtool.vocabulary.words import Vocabulary

OLDER = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]"),
    *("[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]"),
    *("[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"),
)
"""The special tokens of files that do not list them."""

MOST_SPECIAL = 1 << 16
"""Special tokens that a file may have; Mistral's have a thousand."""


def read_tekken(document: Mapping[str, Any], file: str, *, splits_special: bool = False) -> Vocabulary:
    """Read the vocabulary of a decoded file; `splits_special`: a special token in a text is split like any other text.

    Raises:
        FormatError: it is malformed.
    """
    config = document.get("config")
    if not isinstance(config, dict) or not isinstance(config.get("pattern"), str):
        raise FormatError(f"{file} has no config with a pattern: it is not Mistral's tokenizer")
    special = _special(document, config, file)
    ranks = _ranks(document.get("vocab"), file)
    size = config.get("default_vocab_size")
    if type(size) is int:
        ranks = ranks[: max(0, size - len(special))]
    spelling = ByteLevel()
    vocabulary = {spelling.to_pieces(token)[0]: place for place, token in enumerate(ranks, len(special))}
    vocabulary |= {token: place for place, token in enumerate(special)}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    split = {"type": "Split", "pattern": {"Regex": config["pattern"]}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    state: State = {
        "version": "1.0",
        "added_tokens": [
            {"id": place, "content": token, "special": True, **flags} for place, token in enumerate(special)
        ],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": template(["<s>", TEXT], vocabulary) if "<s>" in special else None,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocabulary, "ignore_merges": True, "byte_fallback": False},
    }
    entries = parse_tokenizer(state, file)

    def load() -> Any:
        pairs = byte_merges({token: place for place, token in enumerate(ranks)})
        merges = [[spelling.to_pieces(part)[0] for part in pair] for pair in pairs]
        whole = {**state, "model": {**state["model"], "merges": merges}}
        if splits_special:  # the model itself takes a word that is a token of its vocabulary as that token
            hidden = {"\0" * (place < len(special)) + piece: place for piece, place in vocabulary.items()}
            whole |= {"added_tokens": [], "model": {**whole["model"], "vocab": hidden}}
        return loader(json.dumps(whole).encode(), file, splits_special=splits_special)()

    return Vocabulary(f"{file}, tekken", lambda: entries, load)


def _ranks(listed: Any, file: str) -> list[bytes]:
    """Read the tokens in the order of their ranks."""
    tokens: list[bytes] = []
    for entry in listed if isinstance(listed, list) else ():
        encoded = entry.get("token_bytes") if isinstance(entry, dict) else None
        try:
            tokens.append(base64.b64decode(encoded if isinstance(encoded, str) else "?", validate=True))
        except (binascii.Error, ValueError) as error:
            raise FormatError(f"{file} has a token that is not bytes in base64: the rank {len(tokens):,}") from error
    if not tokens or len(set(tokens)) != len(tokens):
        raise FormatError(f"{file} has {'a token twice' if tokens else 'no tokens'}")
    return tokens


def _special(document: Mapping[str, Any], config: Mapping[str, Any], file: str) -> list[str]:
    """List the special tokens by rank; places that have no name are called as mistral-common calls them."""
    listed = document.get("special_tokens")
    found: Iterable[tuple[Any, Any]] = enumerate(OLDER)
    if listed is not None:
        entries = listed if isinstance(listed, list) else [None]
        found = [
            (entry.get("rank"), entry.get("token_str")) if isinstance(entry, dict) else (0, 0) for entry in entries
        ]
    named: dict[int, str] = {}
    for rank, token in found:
        if type(rank) is not int or not 0 <= rank < MOST_SPECIAL or not isinstance(token, str) or not token:
            raise FormatError(f"{file} has a special token without a rank or a text")
        named[rank] = token
    count = config.get("default_num_special_tokens")
    count = count if type(count) is int and 0 <= count <= MOST_SPECIAL else len(named)
    return [named.get(rank, f"<SPECIAL_{rank}>") for rank in range(max(count, max(named, default=-1) + 1))]
