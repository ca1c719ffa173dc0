"""Classes that split text with the sentencepiece library, and fold it or number its pieces in ways of their own.

They have no tokenizer.json. What is known of each is its row in `embtool.vocabulary.classes`: the recipe `mapped` and
`marian` have the ids of vocab.json, `library` those of the model, and `options` say what else the class does.
"""

import re
import string
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

from embtool.errors import FormatError, NoVocabulary
from embtool.vocabulary.classes import TokenizerClass
from embtool.vocabulary.describe import ids_around
from embtool.vocabulary.entries import Added, MemoryEntries, Traits
from embtool.vocabulary.settings import Settings
from embtool.vocabulary.splitter import Ids
from embtool.vocabulary.spm import SPACES, Batch, TokenSplitter, batch, checked_model, load_model
from embtool.vocabulary.words import Vocabulary

MARK = "\u2581"

CODE = re.compile(r">>.*?<<", re.DOTALL)
"""What a text for a Marian of several languages begins with."""

UNPRINTED = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160), 160, 173, 8203])
SPACED = dict.fromkeys(map(ord, "\u2002\u2003\u2005\u2008\u2009\u200a\u202f\u3000\ufffc"), " ")
"""What GPT-SW3 leaves out, and what is a space to it."""

MARKS = dict.fromkeys(map(ord, string.punctuation))

NO_PREFIX = b"\x1a\x02\x18\x00"
"""A field of a model's file, behind all others: no space is put before a text (`add_dummy_prefix`)."""


def read_sentences(
    kind: TokenizerClass,
    settings: Settings,
    model: tuple[bytes, str],
    table: tuple[Mapping[str, int], str] | None = None,
) -> Vocabulary:
    """Read the vocabulary of a class that splits text with the library.

    Args:
        kind: the class.
        settings: what the folder says of it.
        model: the SentencePiece model, and its file's name.
        table: the ids of the pieces and the name of the file that has them; None where they are the model's own.

    Raises:
        MissingExtra: the sentencepiece library is not installed.
        FormatError: a file is not what its name says.
        NoVocabulary: the class does something to a text that is not known here.
    """
    if "fills" in kind.options:
        filled = {key: value for key, value in settings.tokenizer.items() if value is not None}
        settings = replace(settings, tokenizer=filled)
    data, spm = _as_told(kind, settings, *model)
    parsed = checked_model(data, spm)
    pieces = {piece: place for place, piece in enumerate(parsed.pieces)} if table is None else dict(table[0])
    languages = _languages(kind, settings)
    base = {**pieces, **{token: len(pieces) + place for place, token in enumerate(languages)}}
    tokens = settings.tokens(
        kind.names,
        kind.options.get("more", ()),
        mask_takes_space=kind.mask_takes_space,
        strips=kind.options.get("strips", ()),
    )
    ids = settings.numbers(base, [token["content"] for token in tokens])
    name = settings.named("unk_token", kind.names["unk_token"]) or ""
    unknown = pieces.get(name) if table is not None else parsed.unknown
    if unknown is None:
        raise FormatError(f"{table[1] if table else spm} has no {name!r}, which {settings.name} needs")
    lost = dict.fromkeys(kind.options.get("lost", ()), unknown)
    ids |= lost
    kept = [(token["content"], token["special"]) for token in tokens if token["content"] not in lost]
    added = {ids[content]: Added(content, special) for content, special in kept}
    added |= {base[token]: Added(token, special=True) for token in languages}
    spelled = {place: piece for piece, place in pieces.items()}
    entries = MemoryEntries(spelled, added, Traits(SPACES, None, unknown, faithful=False, composes=False))

    def load() -> TokenSplitter:
        processor = load_model(data, spm)
        places = None if table is None else [ids.get(piece, unknown) for piece in parsed.pieces]
        split = _folded(kind, settings, batch(processor, data, spm))
        names = {token["content"]: ids[token["content"]] for token in ([] if settings.splits_special else tokens)}
        strips = {token["content"]: (token["lstrip"], token["rstrip"]) for token in tokens}
        split = _mapped(kind, ids, unknown, places, split)
        splitter = _Siglip if kind.options.get("folds") == "siglip" else TokenSplitter
        return splitter(split, names, *ids_around(kind, settings, ids), strips)

    label = f"{table[1]}, {settings.name}" if table else f"{spm}, {settings.name}"
    return Vocabulary(label, lambda: entries, load)


def _as_told(kind: TokenizerClass, settings: Settings, data: bytes, spm: str) -> tuple[bytes, str]:
    """Return a model, and its file's name, as the folder switches it; refuse a switch of which nothing is known."""
    for option in kind.options.get("unknown_options", ()):
        if settings.tokenizer.get(option):
            raise NoVocabulary(f"how {settings.name} splits text with {option} is not known", unread=(spm,))
    is_bare = kind.recipe == "library" and not settings.flag("legacy", otherwise=True)
    return data + NO_PREFIX if is_bare else data, spm


def _languages(kind: TokenizerClass, settings: Settings) -> list[str]:
    """List the tokens of the languages, which follow the vocabulary whether a file names them or not."""
    known: Mapping[str, Sequence[str]] = kind.options.get("languages", {})
    chosen = settings.text("language_codes", next(iter(known), ""))
    if known and chosen not in known:
        raise FormatError(f"tokenizer_config.json names the unknown languages {chosen!r}")
    return [f"__{code}__" for code in known.get(chosen, ())]


def _folded(kind: TokenizerClass, settings: Settings, split: Batch) -> Batch:
    """Fold texts before they are split, and keep the space before one where the class does."""
    name = kind.options.get("folds")
    bare = kind.recipe == "library" and not settings.flag("legacy", otherwise=True) and name is None
    if name is None and not bare:
        return split
    unknown = settings.named("unk_token", kind.names["unk_token"]) or ""
    before = len(split([unknown])[0])

    def fold(text: str) -> str:
        if name == "sw3":
            return unicodedata.normalize("NFC", text.translate({**SPACED, **UNPRINTED}))
        if name == "siglip":  # lower case, without ASCII's punctuation
            lowered = text.lower() if settings.flag("do_lower_case", otherwise=True) else text
            return " ".join(lowered.translate(MARKS).split())
        return text

    def encode(texts: Sequence[str]) -> list[list[int]]:
        """Split some behind the unknown token, whose pieces are left out, so that no space is put or taken there."""
        behind = [name == "siglip" or (bare and text.startswith((MARK, " "))) for text in texts]
        found = split([unknown * is_behind + fold(text) for text, is_behind in zip(texts, behind, strict=True)])
        return [
            ids[before:] if is_behind and len(ids) >= before else ids
            for ids, is_behind in zip(found, behind, strict=True)
        ]

    return encode


def _mapped(
    kind: TokenizerClass, ids: Mapping[str, int], unknown: int, places: Sequence[int] | None, split: Batch
) -> Batch:
    """Put ids in the place of the model's own, and cut off the code of a language that a text begins with."""
    if places is None:
        return split

    def encode(texts: Sequence[str]) -> list[list[int]]:
        codes = [CODE.match(text) if "code" in kind.options else None for text in texts]
        rest = [text[code.end() :] if code is not None else text for code, text in zip(codes, texts, strict=True)]
        return [
            [*([ids.get(code[0], unknown)] if code is not None else []), *(places[place] for place in found)]
            for code, found in zip(codes, split(rest), strict=True)
        ]

    return encode


class _Siglip(TokenSplitter):
    """SigLIP's: a space before the text, but not before an added token, and no second end behind a first."""

    def parts(self, text: str) -> list[str]:
        """Cut a text: what is between the added tokens, and these in every second place."""
        parts = super().parts(MARK + text.replace(MARK, " "))
        is_bare = len(parts) > 1 and parts[0].translate(MARKS).strip() == MARK
        return ["", *parts[1:]] if is_bare else parts

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[Ids]:
        """Split several texts, and end each if it does not end already."""
        found = super().encode_batch(texts, add_special_tokens=add_special_tokens)
        ended = [*self.end, *self.end]
        return [Ids(each.ids[:-1]) if add_special_tokens and each.ids[-2:] == ended else each for each in found]
