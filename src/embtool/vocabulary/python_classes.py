"""What all classes share that transformers has in plain Python only: how tokens are added, and found in a text.

The tokens that a class adds are looked for first, and stand for themselves; what is between them is split by the class.
A class gives its pieces and what splits; `subwords` does so, and here are the classes whose tokens are bytes.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from embtool.errors import NoVocabulary
from embtool.vocabulary.classes import TokenizerClass
from embtool.vocabulary.describe import extra_ids, ids_around
from embtool.vocabulary.entries import Added, MemoryEntries, State, Traits
from embtool.vocabulary.settings import Settings
from embtool.vocabulary.spelling import LATIN
from embtool.vocabulary.splitter import Ids, Splitter
from embtool.vocabulary.spm import Batch
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
    reserved: Sequence[State] = (),
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
    ids, tokens = _added(kind, settings, base, reserved)
    added = {place: Added(token["content"], token["special"]) for place, token in tokens.items()}
    name = settings.named("unk_token", kind.names.get("unk_token")) or ""
    pieces = {place: piece for piece, place in base.items()}
    traits = Traits(decoder, None, base.get(name, ids.get(name)), faithful=False, composes=False)
    entries = MemoryEntries(pieces, added, traits)

    def load() -> PythonSplitter:
        for option in kind.options.get("unknown_options", ()):
            if settings.tokenizer.get(option):
                raise NoVocabulary(f"how {settings.name} splits text with {option} is not known", hint=HINT)
        is_whole = settings.splits_special
        names, looked_for = ({}, {}) if is_whole else (ids, tokens)
        splitter = PythonSplitter(split(ids), names, looked_for, *ids_around(kind, settings, {**base, **ids}))
        splitter.ends_once = bool(kind.options.get("ends_once"))
        return splitter

    return Vocabulary(label, lambda: entries, load)


def _added(
    kind: TokenizerClass, settings: Settings, base: Mapping[str, int], reserved: Sequence[State]
) -> tuple[dict[str, int], dict[int, State]]:
    """Number the added tokens, in the order in which the class adds them; of two with one id only the last is kept.

    Those that the class reserves or a file numbers have these ids and are found as these say; others have the id of the
    piece that they are, or follow, and take no spaces with them.
    """
    numbered = dict(settings.numbered())
    written = map(int, settings.tokenizer.get("added_tokens_decoder", ()))  # of two ids of one token the last counts
    tokens = {**dict(enumerate(reserved)), **{place: numbered[place] for place in (*written, *numbered)}}
    ids = {token["content"]: place for place, token in tokens.items()}
    hidden = set(tokens) if kind.options.get("hides") else set()
    known = {piece: place for piece, place in base.items() if place not in hidden}
    following = len({*known, *ids})
    listed = settings.tokens(kind.names)
    if not settings.lists_further:  # the further tokens of ByT5 follow, the first first
        listed = [*listed, *(_plain(content, special=True) for content in reversed(extra_ids(kind, settings)))]
    for token in listed:
        content, special = token["content"], token["special"]
        if content not in ids:
            ids[content] = known.get(content, following)
            following += content not in known
            tokens[ids[content]] = _plain(content, special=special)
        elif special:
            tokens[ids[content]] = {**tokens[ids[content]], "special": True}
    return ids, tokens


def _plain(content: str, *, special: bool, takes_space: bool = False) -> State:
    """Describe a token, which takes the spaces on both sides with it or none."""
    flags = {"lstrip": takes_space, "rstrip": takes_space, "single_word": False, "normalized": False}
    return {"content": content, **flags, "special": special}


class PythonSplitter(Splitter):
    """Splits text: at the added tokens, and what is between them as the class does.

    Args:
        split: splits what is between them.
        ids: the ids of the added tokens.
        tokens: the tokens that are looked for, by their ids, as tokenizer.json has them.
        begin: what begins a sequence.
        end: what ends it.

    Attributes:
        ends_once: whether a text that ends so already is left as it is.
    """

    def __init__(
        self,
        split: Batch,
        ids: Mapping[str, int],
        tokens: Mapping[int, State],
        begin: Sequence[int],
        end: Sequence[int],
    ) -> None:
        super().__init__(begin, end)
        self.ends_once = False
        self._split = split
        self._ids = ids
        self._tokens = tokens
        contents = {token["content"] for token in tokens.values()}
        listed = "|".join(re.escape(content) for content in sorted(contents, key=len, reverse=True) if content)
        self._cut = re.compile(f"({listed})") if listed else None

    def encode_batch(self, texts: Sequence[str], *, add_special_tokens: bool = False) -> list[Ids]:
        """Split several texts."""
        found = super().encode_batch(texts, add_special_tokens=add_special_tokens)
        if not add_special_tokens or not self.ends_once:
            return found
        ended = [*self.end, *self.end]
        return [Ids(each.ids[:-1]) if each.ids[-2:] == ended else each for each in found]

    def split_each(self, texts: Sequence[str]) -> list[list[int]]:
        """Split several texts, all that is between added tokens at once."""
        cut = [self._parts(text) for text in texts]
        found = iter(self._split([part for parts in cut for part in parts if part not in self._ids]))
        return [
            [place for part in parts for place in ([self._ids[part]] if part in self._ids else next(found))]
            for parts in cut
        ]

    def _parts(self, text: str) -> list[str]:
        """Cut a text at added tokens, which take spaces from what stands beside them, even from another such token."""
        parts = [part for part in self._cut.split(text) if part] if self._cut is not None else [text]
        for place, part in enumerate(parts):
            if part not in self._ids:
                continue
            token = self._tokens[self._ids[part]]
            before = parts[place - 1] if place else ""
            behind = parts[place + 1] if place + 1 < len(parts) else ""
            if behind and token["rstrip"]:
                parts[place + 1] = behind.lstrip()
            if before and token["lstrip"]:
                parts[place - 1] = before.rstrip()
            if token["single_word"] and before and not before.endswith(" "):  # it is a part of the word before it
                parts[place - 1 : place + 1] = [parts[place - 1] + part, ""]
            elif token["single_word"] and behind and not behind.startswith(" "):  # or behind it
                parts[place : place + 2] = ["", part + parts[place + 1]]
        return [part for part in parts if part]


BYTES = 256

LARGEST_OFFSET = 1 << 20
"""The largest id of the first byte."""


def _reserved(kind: TokenizerClass, settings: Settings, name: str) -> State:
    """Describe a token that the class reserves: of a purpose, as the folder has it, or one that has no purpose."""
    if name not in kind.names:
        return _plain(name, special=False)
    content = settings.named(name, kind.names[name]) or ""
    is_named = name in settings.tokenizer or name in settings.special
    listed = [token for _, token in settings.numbered() if is_named and token["content"] == content]
    own = listed[-1] if listed else settings.described(name)
    return own or _plain(content, special=True, takes_space=bool(kind.options.get("takes_space")))


def read_bytes(kind: TokenizerClass, settings: Settings) -> Vocabulary:
    """Make the vocabulary of a class whose tokens are bytes, behind a few reserved ones; it has no file of its own."""
    listed: Sequence[str] = kind.options["reserved"]
    reserved = [_reserved(kind, settings, name) for name in listed]
    offset = settings.tokenizer.get("offset") if "offset" in kind.options else len(reserved)
    first = offset if type(offset) is int and 0 <= offset <= LARGEST_OFFSET else kind.options["offset"]
    base = {chr(byte): byte + first for byte in range(BYTES)}

    def split(ids: Mapping[str, int]) -> Batch:
        places = [ids.get(piece, place) for piece, place in base.items()]
        return lambda texts: [[places[byte] for byte in text.encode()] for text in texts]

    label = f"{settings.name}, bytes"
    return python_vocabulary(kind, settings, base, split, decoder=LATIN, label=label, reserved=reserved)
