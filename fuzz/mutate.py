"""Changes to a case that keep most of its structure, so that a reader is met behind its first check.

Every function takes a case and a random generator, and gives another case. A case that does not have the structure it
should have is changed byte by byte.
"""

import json
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from target import Mutate

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 4, 7, 8, 16, 31, 32, 64, 100, 127, 128, 255, 256, 1000, 4096, 65_535, 65_536, 100_001),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63)),
    *(0.0, -0.0, 0.5, 1.0, 1.5, 1e-320, 1e-9, 1e9, 1e38, 1e300, 1.7976931348623157e308, 10**30, 10**400),
    *(float("nan"), float("inf"), float("-inf")),
)
TEXTS: tuple[str, ...] = (
    *("", " ", "a", "0", "-1", "true", "null", "\0", "\n", "\ud800", "\udc00\ud800", "é", "▁", "Ġ", "##", "<0x41>"),
    *("../x", "/etc/passwd", "a/b", "con", "..", "x" * 300, "\u202e", "\U0001d4b3", "1e999", "nan", "0x10", "1_0", "٣"),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"a": {}}, [0] * 40, [[[[[[]]]]]])
LONGEST_DIGITS = "7" * 5000
"""More digits than Python converts to an integer."""

ODD_BYTES = (b"\0", b"\xff", b"\n", b" ", b'"', b"\\", b"{", b"[", b"\x80", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"9" * 30)


def octets(case: bytes, random: Random) -> bytes:
    """Change single bytes, cut, repeat, insert."""
    data = bytearray(case)
    for _ in range(random.choice((1, 1, 2, 4))):
        place = random.randrange(len(data) + 1)
        stop = min(len(data), place + random.choice((1, 1, 2, 8, 64)))
        kind = random.randrange(6)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << random.randrange(8)
        elif kind == 1 and place < len(data):
            data[place] = random.randrange(256)
        elif kind == 2:
            del data[place:stop]
        elif kind == 3:
            data[place:place] = random.choice(ODD_BYTES)
        elif kind == 4:
            data[place:place] = data[place:stop]
        else:
            form = random.choice(("<I", "<Q", "<H", ">I"))
            number = random.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, random.randrange(300)))
            size = struct.calcsize(form)
            data[place : place + size] = struct.pack(form, number & ((1 << 8 * size) - 1))
    return bytes(data)


def lines(words: Sequence[str] = ()) -> Mutate:
    """Change lines of text: repeat, drop, move, and change their fields."""

    def change(case: bytes, random: Random) -> bytes:
        found = case.split(b"\n")
        for _ in range(random.choice((1, 1, 2, 3))):
            place = random.randrange(len(found))
            kind = random.randrange(7)
            if kind == 0:
                found.insert(place, found[random.randrange(len(found))])
            elif kind == 1 and len(found) > 1:
                del found[place]
            elif kind == 2:
                found[place] = octets(found[place], random)
            else:
                separator = random.choice((b" ", b" ", b"\t", b","))
                fields = found[place].split(separator)
                at = random.randrange(len(fields))
                if kind == 3:
                    fields[at] = str(random.choice(NUMBERS[:-5])).encode()
                elif kind == 4:
                    fields[at] = random.choice((*TEXTS, *words)).encode("utf-8", "surrogatepass")
                elif kind == 5:
                    fields.insert(at, fields[random.randrange(len(fields))])
                else:
                    del fields[at]
                found[place] = separator.join(fields)
        return b"\n".join(found)

    return change


def document(
    words: Sequence[str], values: Sequence[Any] = (), repair: Callable[[Any, Random], Any] | None = None
) -> Mutate:
    """Change a JSON document; `words` are names of fields its reader knows, `values` what they may hold.

    `repair` is applied to most changed documents: it makes parts of them agree again which must, so that what is behind
    that check is reached.
    """

    def change(case: bytes, random: Random) -> bytes:
        try:
            value = json.loads(case)
        except (ValueError, RecursionError):
            return octets(case, random)
        for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
            value = _edit(value, random, words, values, depth=0)
        if repair is not None and random.random() < 0.7:
            value = repair(value, random)
        return written(value, random)

    return change


def written(value: Any, random: Random) -> bytes:
    """Write a document, now and then as no library would."""
    try:
        text = json.dumps(value, ensure_ascii=random.random() < 0.5, separators=(",", ":"))
    except (RecursionError, ValueError):
        return b"[" * 2000
    kind = random.randrange(60)
    if kind == 0:
        text = text.replace("{", '{"a":1,"a":2,', 1)
    elif kind == 1:
        place = text.find(":") + 1
        text = text[:place] + LONGEST_DIGITS + text[place:].lstrip("0123456789")
    elif kind == 2:
        place = text.find(":") + 1
        text = text[:place] + "[" * 1200 + "]" * 1200 + "," + '"x":' + text[place:]
    data = text.encode("utf-8", "surrogatepass")
    return b"\xef\xbb\xbf" + data if kind == 3 else octets(data, random) if kind == 4 else data


def _edit(value: Any, random: Random, words: Sequence[str], values: Sequence[Any], depth: int) -> Any:
    """Change one place of a document, the deeper ones as likely as the others."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        key = random.choice(list(value))
        value[key] = _edit(value[key], random, words, values, depth + 1)
        return value
    if isinstance(value, list) and value and random.random() < 0.8:
        place = random.randrange(len(value))
        value[place] = _edit(value[place], random, words, values, depth + 1)
        return value
    if isinstance(value, dict):
        return _edit_object(value, random, words, values, depth)
    if isinstance(value, list):
        return _edit_list(value, random, words, values, depth)
    return _other(value, random, words, values)


def _edit_object(value: dict[str, Any], random: Random, words: Sequence[str], values: Sequence[Any], depth: int) -> Any:
    kind = random.randrange(6)
    if kind <= 1:
        value[random.choice(words) if words else "x"] = _other(None, random, words, values)
    elif kind == 2 and value:
        del value[random.choice(list(value))]
    elif kind == 3 and value:
        name = random.choice((*words, *TEXTS)) if words else random.choice(TEXTS)
        value[name] = value.pop(random.choice(list(value)))
    elif kind == 4 and value:
        value[random.choice(words) if words else "y"] = json.loads(json.dumps(random.choice(list(value.values()))))
    elif depth:
        return _other(value, random, words, values)
    return value


def _edit_list(value: list[Any], random: Random, words: Sequence[str], values: Sequence[Any], depth: int) -> Any:
    kind = random.randrange(6)
    if kind == 0 and value:
        value.pop(random.randrange(len(value)))
    elif kind == 1 and value:
        value.append(json.loads(json.dumps(random.choice(value))))
    elif kind == 2:
        value.insert(random.randrange(len(value) + 1), _other(None, random, words, values))
    elif kind == 3:
        random.shuffle(value)
    elif kind == 4 and len(value) < 200:
        return value * random.choice((2, 3, 8))
    elif depth:
        return _other(value, random, words, values)
    return value


def _other(value: Any, random: Random, words: Sequence[str], values: Sequence[Any]) -> Any:
    """Give another value in place of one."""
    kind = random.randrange(10)
    if isinstance(value, int | float) and kind < 5:
        return _near(value, random)
    if isinstance(value, str) and kind < 3 and value:
        place = random.randrange(len(value))
        return value[:place] + random.choice((*TEXTS, chr(random.randrange(0x3000)))) + value[place + 1 :]
    if values and kind < 7:
        return json.loads(json.dumps(random.choice(values)))
    if kind < 8:
        return random.choice(NUMBERS)
    if kind == 8:
        return random.choice((*words, *TEXTS)) if words else random.choice(TEXTS)
    return json.loads(json.dumps(random.choice(OTHERS)))


def _near(value: float, random: Random) -> Any:
    try:
        changes = (value + 1, value - 1, -value, value * 2, value // 2, value + 0.5, float(value), value * 1000)
        return random.choice(changes)
    except (OverflowError, ValueError):
        return 1


def mixed(*choices: Mutate) -> Mutate:
    """Change a case in one of several ways."""

    def change(case: bytes, random: Random) -> bytes:
        return random.choice(choices)(case, random)

    return change
