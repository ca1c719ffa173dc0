"""Classes whose words are joined of letters as subword-nmt joins them, and whose vocabulary has a mark for the rest.

A piece that another one of its word follows ends with `@@` (https://github.com/rsennrich/subword-nmt). The letters of a
word, the last with `</w>`, are joined by a list of pairs, whether what they make is in the vocabulary or not; what is
in it has an id. The tokenizers library would not join letters that are no tokens, and it joins pair by pair from the
left, where these classes join a pair everywhere in the word before they look for another.
"""

import io
import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from heapq import heappop, heappush

from embtool.errors import FormatError, NoVocabulary
from embtool.vocabulary.classes import TokenizerClass
from embtool.vocabulary.describe import MOST_MERGES, parse_vocabulary
from embtool.vocabulary.python_classes import HINT, python_vocabulary
from embtool.vocabulary.settings import Settings, decode_json, decode_text
from embtool.vocabulary.spelling import CONTINUED
from embtool.vocabulary.spm import Batch
from embtool.vocabulary.words import Vocabulary

END = "</w>"
MARK = "@@"

Pairs = Mapping[tuple[str, str], int]
"""The pairs that are joined, and their places in the list: the first is joined first."""

SPACE = r"\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""Unicode's white space; Python's `\\s` has the separators U+001C to U+001F too."""

WORDS = {"unicode": re.compile(rf"[^{SPACE}]+\n?"), "python": re.compile(r"\S+\n?")}
"""How text is cut into words, at either white space."""

MOST_KEPT = 1 << 14
"""Words whose pieces are kept."""

LONGEST_KEPT = 64
"""Characters of such a word."""


def read_subwords(
    kind: TokenizerClass, settings: Settings, table: tuple[bytes, str], merges: tuple[bytes | None, str]
) -> Vocabulary:
    """Read the vocabulary of such a class.

    Args:
        kind: the class.
        settings: what the folder says of it.
        table: its pieces and ids, and the name of that file.
        merges: the pairs that are joined, None where they are not there, and the name of that file.

    Raises:
        FormatError: a file is not what its name says.
    """
    data, file = table
    if kind.recipe == "codes":
        heads = (
            settings.named(role, kind.names[role]) for role in ("bos_token", "pad_token", "eos_token", "unk_token")
        )
        base = parse_counted(decode_text(data, file), file, heads)
    else:
        base = parse_vocabulary(decode_json(data, file), file)
    unknown = base.get(settings.named("unk_token", kind.names["unk_token"]) or "")

    def split(ids: Mapping[str, int]) -> Batch:
        joins, name = merges
        if joins is None:
            raise NoVocabulary(f"its class, {settings.name}, needs {name} too, so text cannot be split", hint=HINT)
        pairs = parse_pairs(decode_text(joins, name), name, counted=kind.recipe == "codes")
        prepare = PREPARED[kind.options.get("prepares", "")]
        words = WORDS[kind.options.get("words", "python")]

        def encode(word: str) -> tuple[int, ...]:
            pieces = [piece for part in prepare(word) for piece in cut(part, pairs)]
            found = [ids.get(piece, base.get(piece, unknown)) for piece in pieces]
            if None in found:
                raise FormatError(f"{file} has no piece for what is unknown, which {settings.name} needs")
            return tuple(place for place in found if place is not None)

        kept = lru_cache(MOST_KEPT)(encode)

        def places(text: str) -> list[int]:
            found = words.findall(text)
            return [place for word in found for place in (encode if len(word) > LONGEST_KEPT else kept)(word)]

        return lambda texts: [places(text) for text in texts]

    return python_vocabulary(kind, settings, base, split, decoder=CONTINUED, label=f"{file}, {settings.name}")


def parse_counted(text: str, file: str, heads: Iterable[str | None]) -> dict[str, int]:
    """Read lines of a piece and its count, as fairseq writes them; the heads come before them.

    Raises:
        FormatError: a line has no count.
    """
    found = {str(head): place for place, head in enumerate(heads)}
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        piece, space, _ = line.strip().rpartition(" ")
        if not space:
            raise FormatError(f"line {number:,} of {file} is not a piece and its count")
        found[piece] = len(found)
    return found


def parse_pairs(text: str, file: str, *, counted: bool) -> dict[tuple[str, str], int]:
    """Read the pairs, one a line: with a count, or below a line that names the version; what no line end ends is left.

    Raises:
        FormatError: they are too many.
    """
    if text.count("\n") > MOST_MERGES:
        raise FormatError(f"{file} has more than {MOST_MERGES:,} lines, more than any tokenizer needs")
    lines = io.StringIO(text, newline=None).read().split("\n")
    listed = [line.split()[:-1] for line in lines[:-1]] if counted else [line.split() for line in lines[1:-1]]
    return {(pair[0], pair[1]): place for place, pair in enumerate(listed) if len(pair) == 2}  # noqa: PLR2004 - a pair


def cut(word: str, pairs: Pairs) -> list[str]:
    """Cut a word into pieces, all but the last of which bear the mark."""
    *rest, last = join([*word[:-1], word[-1] + END], pairs)
    return [*(symbol + MARK for symbol in rest), last.removesuffix(END)]


def join(symbols: list[str], pairs: Pairs) -> list[str]:
    """Join neighbours: of all pairs that stand there the first of the list, everywhere from the left, and so on.

    The time grows with the length, not with its square: neighbours are linked, and pairs wait in a queue.
    """
    symbols = ["", *symbols, ""]  # which nothing is joined with
    before, behind = array("q", range(-1, len(symbols) - 1)), array("q", range(1, len(symbols) + 1))
    places: dict[tuple[str, str], list[int]] = {}
    queue: list[tuple[int, tuple[str, str]]] = []

    def look(place: int) -> None:
        pair = symbols[place], symbols[behind[place]]
        if pair in pairs and pair not in places:
            heappush(queue, (pairs[pair], pair))
        if pair in pairs:
            places.setdefault(pair, []).append(place)

    for place in range(len(symbols) - 1):
        look(place)
    while queue:
        _, pair = heappop(queue)
        joined = []
        for place in sorted(places.pop(pair)):
            other = behind[place]
            if (symbols[place], symbols[other]) == pair:
                symbols[place], symbols[other] = "".join(pair), ""
                behind[place] = behind[other]
                before[behind[other]] = place
                joined.append(place)
        for place in joined:
            look(before[place])
            look(place)
    return [symbol for symbol in symbols if symbol]


def _blenderbot(word: str) -> Sequence[str]:
    """Fold and cut a word as the small Blenderbot does: marks apart, lower case, a name for the end of a line."""
    spaced = re.sub("(')", r" \1 ", re.sub("([.,!?()])", r" \1", word))
    spaced = re.sub(rf"[{SPACE}]{{2,}}", " ", spaced).replace("\n", " __newln__")
    return [part.lower() for part in spaced.split(" ") if part]


PREPARED: Mapping[str, Callable[[str], Sequence[str]]] = {"": lambda word: [word], "blenderbot": _blenderbot}
"""What is done to a word before its letters are joined, by the option `prepares`."""
