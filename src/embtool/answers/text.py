"""Texts for a reader: strings of strangers made safe, numbers and sizes written out, command lines quoted.

Strings from a model's files can hold anything: control characters, bidirectional marks, terminal commands, markup. None
reaches a terminal as it is: every string printed passes through `printable` or `safe`.
"""

import math
import re
import shlex
import unicodedata
from collections.abc import Sequence

from embtool import counts
from embtool.storage.checkpoint import runs

count, plural, plain_number = counts.count, counts.plural, counts.plain_number

MANY = 4
"""Ranges from which on only the ends are shown."""

LONGEST_CELL = 60
"""Characters of one cell in a table on a terminal; machine formats cut nothing."""

MOST_MARKS = 3
"""Combining marks that may stack on one character on a terminal: no script needs more, and many hide other lines."""

REPLACEMENT = "\ufffd"
"""What stands in a decoded text for bytes that are no character."""


def safe(text: str) -> str:
    r"""Escape every character that a terminal would obey or that no reader can see.

    >>> safe("\x1b[31mred\u202e")
    '\\x1b[31mred\\u202e'
    """
    return text if text.isprintable() else "".join(map(_escape, text))


def printable(text: str) -> str:
    r"""Escape text so that it is safe, stands on one line, and can be read back with `unescape`.

    >>> printable("a\tb\\")
    'a\\tb\\\\'
    """
    return safe(text.replace("\\", "\\\\")) if "\\" in text else safe(text)


def unescape(text: str) -> str:
    r"""Undo `printable`: for those who read the TSV.

    >>> unescape(printable("a\tb\\\u2028"))
    'a\tb\\\u2028'
    """
    names = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}

    def character(match: re.Match[str]) -> str:
        digits = match[2] or match[3] or match[4]
        return chr(int(digits, 16)) if digits else names[match[1]]

    return re.sub(r"\\(?:([tnr\\])|x([0-9a-f]{2})|u([0-9a-f]{4})|U(000[0-9a-f]{5}|0010[0-9a-f]{4}))", character, text)


BYTE, PLANE = 0xFF, 0xFFFF


def _escape(character: str) -> str:
    if character.isprintable():
        return character
    named = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}.get(character)
    if named is not None:
        return named
    code = ord(character)
    letter, digits = ("x", 2) if code <= BYTE else ("u", 4) if code <= PLANE else ("U", 8)
    return f"\\{letter}{code:0{digits}x}"


def visible(text: str | None) -> str:
    """Write a token for a reader: its spaces as ␣, everything unprintable escaped, stacks of marks cut."""
    shown = "" if text is None else printable(text)
    if not shown.isascii():
        marks, kept = 0, []
        for character in shown:
            marks = marks + 1 if unicodedata.category(character) in ("Mn", "Me") else 0
            kept.append(character if marks <= MOST_MARKS else f"\\u{ord(character):04x}")
        shown = "".join(kept)
    return shown.replace(" ", "␣")


def spelled(text: str, stored: str | None) -> str:
    """Give a token's text with those of its bytes that are no character by their numbers; `stored` are all, in hex.

    >>> spelled("a\ufffd", "61fe")
    'a<FE>'
    """
    if stored is None or REPLACEMENT not in text:
        return text
    decoded = bytes.fromhex(stored).decode("utf-8", "surrogateescape")
    return re.sub("[\udc80-\udcff]", lambda lone: f"<{ord(lone[0]) - 0xDC00:02X}>", decoded)


def abridge(text: str, longest: int = LONGEST_CELL) -> str:
    """Cut a text in the middle so that it has at most `longest` characters."""
    if len(text) <= longest:
        return text
    return f"{text[: longest * 2 // 3]}…{text[len(text) - (longest - 1 - longest * 2 // 3) :]}"


def title_of(text: str, stored: bytes | None) -> str:
    """Write a token for a title, with those of its bytes that are no character by their numbers."""
    return brief(spelled(text, None if stored is None else stored.hex()))


def brief(text: str | None) -> str:
    """Write a token for a title: visible, and never longer than a cell."""
    return abridge(visible(text))


EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(share: float, width: int) -> str:
    """Draw a share of 1 as a bar of at most `width` characters, to an eighth of one; what is above 0 is seen.

    >>> bar(0.5, 3), bar(0.001, 3), bar(0, 3)
    ('█▌', '▏', '')
    """
    eighths = max(round(min(max(share, 0.0), 1.0) * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()


def size(nbytes: int) -> str:
    """Write a number of bytes for a reader, in decimal units: 2.54 GB."""
    value = float(nbytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 1000 or unit == "TB":  # noqa: PLR2004 - decimal units
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    raise AssertionError


PLAIN = re.compile(r"[\w./:=@+,-]+", re.ASCII)
"""An argument that every shell takes as it is."""

QUOTABLE = re.compile(r"""[^"$`!\\\x00-\x1f]+""")
"""An argument that double quotes are enough for, in every shell."""


def shell(arguments: Sequence[str]) -> str:
    r"""Write a command line as it can be typed, quoted only where it must be.

    >>> shell(["row", " pod", "-m", "mini"])
    'embtool row " pod" -m mini'
    """
    words = [
        each if PLAIN.fullmatch(each) else f'"{each}"' if QUOTABLE.fullmatch(each) else shlex.quote(each)
        for each in arguments
    ]
    return " ".join(["embtool", *words])


def fixed(value: float) -> str:
    """Write a number with four decimals."""
    return f"{value:.4f}"


def percent(share: float) -> str:
    """Write a share for a reader: 52 %, 0.87 %; never 0 or 100 % of what is not none or all.

    >>> percent(0.516), percent(0.00874), percent(0.9996), percent(1.0)
    ('52 %', '0.87 %', '99.96 %', '100 %')
    """
    hundredths = share * 100
    if not 1 <= hundredths <= 99:  # noqa: PLR2004 - where whole percents would say none or all
        return f"{hundredths:.2g} %" if hundredths < 1 else f"{min(hundredths, 99.99) if share < 1 else 100:.4g} %"
    return f"{hundredths:.0f} %"


def ranges(numbers: Sequence[int]) -> str:
    """Write ascending numbers as ranges, and of many ranges the ends: 0..3, 7.

    >>> ranges([0, 1, 2, 3, 7]), ranges([3, 7, 11, 15, 19])
    ('0..3, 7', '3, 7, …, 19')
    """
    written = [str(first) if first == last else f"{first}..{last}" for first, last in runs(numbers)]
    return ", ".join(written if len(written) <= MANY else [*written[:2], "…", written[-1]])


ARROWS = "→↗↑↖←↙↓↘"


def dial(angle: float) -> str:
    """Draw an angle in radians as an arrow: right at 0, up at a quarter turn.

    >>> dial(0.0), dial(math.pi / 2)
    ('→', '↑')
    """
    return ARROWS[round(angle / (math.pi / 4)) % len(ARROWS)]
