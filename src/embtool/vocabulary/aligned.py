"""Classes that number the pieces of a SentencePiece model in their own order: those of fairseq's dictionaries.

PLBart's ids are the model's, shifted, with languages and a mask behind them; BARTpho's are the places in dict.txt, and
a piece that is not there is unknown.
"""

from collections.abc import Sequence
from dataclasses import replace

from embtool.errors import FormatError
from embtool.vocabulary.classes import PLBART_LANGUAGES, TokenizerClass
from embtool.vocabulary.settings import Settings

DICTIONARY = "dict.txt"

HEAD = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
"""The first four of fairseq's dictionaries."""


def shifted(kind: TokenizerClass, settings: Settings, pieces: Sequence[str]) -> tuple[TokenizerClass, dict[str, int]]:
    """Return PLBart's class with its languages, and the ids of its tokens.

    Raises:
        FormatError: the folder names languages that are not known.
    """
    chosen = settings.text("language_codes", "base")
    if chosen not in PLBART_LANGUAGES:
        raise FormatError(f"tokenizer_config.json names the unknown languages {chosen!r}")
    languages = [f"__{code}__" for code in PLBART_LANGUAGES[chosen]]
    table = {piece: place for place, piece in enumerate(pieces, 1)} | HEAD
    behind = [*languages, *(["<mask>"] if chosen == "base" else [])]
    lost = () if chosen == "base" else ("<mask>",)  # a token that is looked for, and is unknown
    table |= {token: place for place, token in enumerate(behind, len(pieces) + 1)}
    language = {"base": "", "multi": "en_XX"}[chosen]
    return replace(kind, options={**kind.options, "more": languages, "language": language, "lost": lost}), table


def listed(kind: TokenizerClass, settings: Settings, text: str) -> dict[str, int]:
    """Return the ids of BARTpho: of its special tokens, of the first field of each line of dict.txt, of its mask.

    Raises:
        FormatError: a line is empty.
    """
    table: dict[str, int] = {}
    for role in ("bos_token", "pad_token", "eos_token", "unk_token", "sep_token", "cls_token"):
        table.setdefault(settings.named(role, kind.names[role]) or kind.names[role], len(table))
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        fields = line.split()
        if not fields:
            raise FormatError(f"line {number:,} of {DICTIONARY} is empty")
        table[fields[0]] = len(table)
    table.setdefault(settings.named("mask_token", kind.names["mask_token"]) or "<mask>", len(table))
    return table
