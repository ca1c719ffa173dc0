"""Changes to a case that keep most of its structure, so that a reader is met behind its first check.

Every function takes a case, a random generator and the words of the target's seeds, and returns another case. A case
that does not have the structure it should have is changed byte by byte.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

Change = Callable[[bytes, Random, Sequence[Any]], bytes]

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 4, 7, 8, 16, 31, 32, 64, 100, 127, 128, 255, 256, 1000, 4096, 65_535, 65_536, 100_001),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63)),
    *(0.0, -0.0, 0.5, 1.0, 1.5, 1e-320, 1e-9, 1e9, 1e38, 1e300, 1.7976931348623157e308, 10**30, 10**400),
    *(float("nan"), float("inf"), float("-inf")),
)
TEXTS: tuple[Any, ...] = (
    *("", " ", "a", "0", "-1", "true", "null", "\0", "\n", "\ud800", "\udc00\ud800", "é", "▁", "Ġ", "##", "<0x41>"),
    *("../x", "/etc/passwd", "a/b", "con", "..", "x" * 300, "\u202e", "\U0001d4b3", "1e999", "nan", "0x10", "1_0", "٣"),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": {}}, [0] * 40, [[[[[[]]]]]])
ODD_BYTES = (b"\0", b"\xff", b"\n", b" ", b'"', b"\\", b"{", b"[", b"\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"9" * 30)
FIELD = re.compile(rb"[^\s,]+")
LONGEST_WORD = 200


def octets(case: bytes, random: Random, words: Sequence[Any] = ("",)) -> bytes:
    """Change bytes, or fields between blanks and commas: cut, repeat, swap, insert, turn a bit."""
    for _ in range(random.choice((1, 1, 2, 4))):
        start = random.randrange(len(case) + 1)
        stop = random.choice((start, start + random.choice((1, 1, 2, 8, 64))))
        if random.random() < 0.4 and (field := FIELD.search(case, start)):
            start, stop = field.start(), random.choice(field.span())
        word = str(random.choice(random.choice((words, TEXTS, NUMBERS[:-4])))).encode("utf-8", "surrogatepass")
        number = random.choice((0, 1, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1, random.randrange(300)))
        size, order = random.choice((2, 4, 8)), random.choice(("little", "little", "big"))
        packed = (number & ((1 << 8 * size) - 1)).to_bytes(size, order)
        turned = bytes(byte ^ (1 << random.randrange(8)) for byte in case[start : start + 1])
        other = random.choice((b"", case[start : start + size], random.choice(ODD_BYTES), packed, turned, word))
        case = case[:start] + other + case[stop:]
    return case


def framed(start: int, size: int, change: Change) -> Change:
    """Change the part of a case whose length stands at `start`, in `size` bytes, and keep that length true."""

    def changed(case: bytes, random: Random, words: Sequence[Any]) -> bytes:
        begin = start + size
        stop = begin + int.from_bytes(case[start:begin], "little")
        body = change(case[begin:stop], random, words)[: (1 << 8 * size) - 1]
        return case[:start] + len(body).to_bytes(size, "little") + body + case[stop:]

    return changed


def words_of(cases: Iterable[bytes]) -> list[Any]:
    """Return the keys and the smaller values of those cases that are JSON documents, and the fields of the others."""
    found: dict[str, Any] = {}

    def add(value: Any) -> None:
        text = json.dumps(value)
        if len(text) < LONGEST_WORD:
            found[text] = value
        if isinstance(value, dict | list):
            for one in (*value, *value.values()) if isinstance(value, dict) else value:
                add(one)

    for case in cases:
        try:
            add(json.loads(case))
        except (ValueError, RecursionError):
            for field in case.split()[:40]:
                add(field.decode("utf-8", "replace"))
    return list(found.values()) or [""]


def document(case: bytes, random: Random, words: Sequence[Any]) -> bytes:
    """Change places of a JSON document, the deeper ones as likely as the others."""
    try:
        value = json.loads(case)
        for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
            _edit(value, random, words)
        text = json.dumps(value, ensure_ascii=random.random() < 0.5, separators=(",", ":"))
    except (ValueError, RecursionError):
        return octets(case, random)
    place, kind = text.find(":") + 1, random.randrange(60)
    if kind == 0:
        text = text.replace("{", '{"a":1,"a":2,', 1)
    elif kind == 1:  # more digits than Python converts to an integer
        text = text[:place] + "7" * 5000 + text[place:].lstrip("0123456789")
    elif kind == 2:
        text = text[:place] + "[" * 1200 + "]" * 1200 + ',"x":' + text[place:]
    data = text.encode("utf-8", "surrogatepass")
    return octets(data, random) if kind == 3 else data


def _edit(value: Any, random: Random, words: Sequence[Any]) -> None:
    """Change one place in a list or an object."""
    while isinstance(value, dict | list) and value:
        key: Any = random.choice(list(value)) if isinstance(value, dict) else random.randrange(len(value))
        if isinstance(value[key], dict | list) and value[key] and random.random() < 0.7:
            value = value[key]
            continue
        kind, other = random.randrange(8), _other(value[key], random, words)
        if kind == 0:
            del value[key]
        elif kind == 1 and isinstance(value, list) and len(value) < 200:
            value *= random.choice((2, 3, 8))
        elif kind <= 3 and isinstance(value, dict):
            value[str(random.choice((*words, *TEXTS)))] = value.pop(key) if kind == 1 else other
        elif kind <= 3:
            value.insert(key, other)
        else:
            value[key] = other
        return


def _other(value: Any, random: Random, words: Sequence[Any]) -> Any:
    """Return another value in place of one: near it, one of the words, or an odd one."""
    near = random.random() < 0.4
    if near and isinstance(value, int) and not isinstance(value, bool):
        return random.choice((value + 1, value - 1, -value, value // 2, value * 1000))
    if near and isinstance(value, float):
        return random.choice((value + 0.5, -value, value * 1000))
    if near and isinstance(value, str) and value:
        place = random.randrange(len(value))
        return value[:place] + random.choice((*TEXTS, chr(random.randrange(0x3000)))) + value[place + 1 :]
    chosen = random.choice((words, words, words, NUMBERS, TEXTS, OTHERS))
    return json.loads(json.dumps(random.choice(chosen)))  # a copy, since it may be changed too


def mixed(*choices: Change) -> Change:
    """Change a case in one of several ways."""
    return lambda case, random, words: random.choice(choices)(case, random, words)
