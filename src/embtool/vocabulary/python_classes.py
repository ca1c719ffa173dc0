"""What all classes share that transformers has in plain Python only: how tokens are added, and found in a text.

The tokens that a class adds are looked for first, and stand for themselves; what is between them is split by the class.
A class gives its pieces and what splits; `subwords` does so, and here are the classes whose tokens are bytes.
"""

from collections.abc import Callable, Mapping, Sequence

from embtool.errors import NoVocabulary
from embtool.vocabulary.classes import TEXT, TokenizerClass
from embtool.vocabulary.describe import around, extra_ids
from embtool.vocabulary.entries import Added, MemoryEntries, State, Traits
from embtool.vocabulary.settings import FLAGS, Settings
from embtool.vocabulary.spelling import LATIN
from embtool.vocabulary.spm import Batch, EndsOnce, TokenSplitter
from embtool.vocabulary.words import Vocabulary

HINT = "name one token by its text, by piece: or by id:"


def python_vocabulary(
    kind: TokenizerClass,
    settings: Settings,
    base: Mapping[str, int],
    split: Callable[[Mapping[str, int]], Batch],
    *,
    decoder: State,
    label: str,
    reserved: Sequence[str] = (),
) -> Vocabulary:
    """Make the vocabulary of a class.

    Args:
        kind: the class.
        settings: what the folder says of it.
        base: its pieces and their ids.
        split: makes of the ids of the added tokens what splits the text between them; it is called for the first text.
        decoder: how a piece is spelled.
        label: what the vocabulary is called.
        reserved: tokens that the class adds before all others, with the ids from 0.
    """
    tokens = settings.tokens(kind.names, _extra_ids(kind, settings), strips=kind.options.get("strips", ()))
    known = {token["content"] for token in tokens}
    tokens = [*(_ordinary(content) for content in reserved if content not in known), *tokens]
    ids = _numbered(base, settings, [token["content"] for token in tokens], reserved)
    added = {ids[token["content"]]: Added(token["content"], token["special"]) for token in tokens}
    name = settings.named("unk_token", kind.names.get("unk_token"))
    unknown = base.get(name or "", ids.get(name or ""))
    pieces = {place: piece for piece, place in base.items()}
    entries = MemoryEntries(pieces, added, Traits(decoder, None, unknown, faithful=False, composes=False))

    def load() -> TokenSplitter:
        for option in kind.options.get("unknown_options", ()):
            if settings.tokenizer.get(option):
                raise NoVocabulary(f"how {settings.name} splits text with {option} is not known", hint=HINT)
        if any(token["single_word"] for token in tokens):
            raise NoVocabulary(f"how {settings.name} finds tokens that are single_word is not known", hint=HINT)
        parts = around(kind, settings, {**base, **ids})
        place = parts.index(TEXT)
        begin, end = ([{**base, **ids}[part] for part in side] for side in (parts[:place], parts[place + 1 :]))
        strips = {token["content"]: (token["lstrip"], token["rstrip"]) for token in tokens}
        splitter = EndsOnce if kind.options.get("ends_once") else TokenSplitter
        if settings.flag("split_special_tokens", otherwise=False):
            return splitter(split(ids), {}, begin, end)
        names = {token.content: place for place, token in added.items()}
        return splitter(_whole(split(ids), ids), names, begin, end, strips)

    return Vocabulary(label, lambda: entries, load)


def _ordinary(content: str) -> State:
    """Describe a token that is no special one."""
    return {"content": content, **dict.fromkeys((*FLAGS, "special"), False)}


def _extra_ids(kind: TokenizerClass, settings: Settings) -> list[str]:
    """List the further tokens of ByT5, the first first; none where a file lists special tokens of its own."""
    keys = ("extra_special_tokens", "additional_special_tokens")
    named = [file.get(key) for file in (settings.tokenizer, settings.special) for key in keys]
    is_listed = any(isinstance(value, list) and value for value in named)
    return [] if is_listed else extra_ids(kind, settings)[::-1]


def _whole(split: Batch, ids: Mapping[str, int]) -> Batch:
    """Know added tokens whose id another one has too: these are found only where nothing else stands."""
    return lambda texts: [
        [ids[text]] if text in ids else found for text, found in zip(texts, split(texts), strict=True)
    ]


def _numbered(
    base: Mapping[str, int], settings: Settings, contents: Sequence[str], reserved: Sequence[str]
) -> dict[str, int]:
    """Number the added tokens: those that a file numbers have its ids, pieces have theirs, the others follow."""
    places = {**dict(enumerate(reserved)), **{place: token["content"] for place, token in settings.numbered()}}
    ids = {content: place for place, content in places.items()}
    following = len({*base, *ids})
    for content in contents:
        if content not in ids:
            ids[content] = base.get(content, following)
            following += content not in base
    return ids


BYTES = 256

LARGEST_OFFSET = 1 << 20
"""The largest id of the first byte."""


def read_bytes(kind: TokenizerClass, settings: Settings) -> Vocabulary:
    """Make the vocabulary of a class whose tokens are bytes, behind a few reserved ones; it has no file of its own."""
    listed: Sequence[str] = kind.options["reserved"]
    reserved = [(settings.named(name, kind.names[name]) or "") if name in kind.names else name for name in listed]
    offset = settings.tokenizer.get("offset") if "offset" in kind.options else len(reserved)
    first = offset if type(offset) is int and 0 <= offset <= LARGEST_OFFSET else kind.options["offset"]
    base = {chr(byte): byte + first for byte in range(BYTES)}

    def split(ids: Mapping[str, int]) -> Batch:
        places = [ids.get(piece, place) for piece, place in base.items()]
        return lambda texts: [[places[byte] for byte in text.encode()] for text in texts]

    label = f"{settings.name}, bytes"
    return python_vocabulary(kind, settings, base, split, decoder=LATIN, label=label, reserved=reserved)
