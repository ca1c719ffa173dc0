"""Strings of strangers: what they can hold, and how to see that none of it reaches a terminal."""

from __future__ import annotations

import re
import unicodedata

HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "clear": "\x1b[2J\x1b[H",
    "link": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "title": "\x1b]0;title\x07",
    "c1": "\x9b31m\x9d52;c;AA\x9c\x85next",
    "bell and back": "a\x07\x08\x08b\x7f",
    "lines": "one\ntwo\rthree\vfour\ffive",
    "tab": "a\tb",
    "separators": "a\u2028b\u2029c",
    "bidi": "\u202egnp.exe\u202c\u2066x\u2069\u200f\u061c",
    "invisible": "a\u200bb\u2060c\ufeffd\u00ade",
    "tags": "\U000e0041\U000e007f",
    "nul": "a\0b",
    "markup": "[red]x[/red][/INST][bold]",
    "link markup": "[link=http://evil.example]x[/link]",
    "emoji code": ":strawberry: :warning:",
    "backslashes": "\\x1b[31m \\n \\\\ \\u202e",
    "marks": "Z" + "\u0301\u0489" * 500,
    "private": "\ue000\U000f0000",
    "unassigned": "\U0003ffff\u0378",
    "quotes": "a\"b'c,d;e",
    "formula": "=1+1",
    "wide": "東京🍓",
}

ALLOWED_CONTROLS = "\n"


def dangers(text: str) -> set[str]:
    """Find the characters of a printed text that a terminal would obey, or that no reader can see."""
    return {
        character
        for character in text
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        and character not in ALLOWED_CONTROLS
    }


def tallest(text: str) -> int:
    """Count the combining marks of the highest stack."""
    return max((len(stack) for stack in re.findall(r"[\u0300-\u036f\u0483-\u0489]+", text)), default=0)
