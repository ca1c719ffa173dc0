"""Counts in sentences, and numbers as they are printed and said."""

import re


def count(number: int) -> str:
    """Write an integer for a reader: 248,320."""
    return f"{number:,}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """Write a count and what is counted; `many` is the plural where it is not `one` with an s.

    >>> plural(1, "row"), plural(2000, "row"), plural(2, "entry is", "entries are")
    ('1 row', '2,000 rows', '2 entries are')
    """
    return f"{count(number)} {one if number == 1 else many or f'{one}s'}"


THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
POWER = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?[eE]\+?[0-9]{1,2}")


def plain_number(text: str) -> str:
    """Return a number as it is printed (1,000) or said (1e6) as its digits; any other text as it is.

    >>> plain_number("248,320"), plain_number("1e6"), plain_number("1,00")
    ('248320', '1000000', '1,00')
    """
    if THOUSANDS.fullmatch(text):
        return text.replace(",", "")
    if POWER.fullmatch(text):
        from decimal import Decimal  # noqa: PLC0415 - few type a number so

        if Decimal(text) == int(Decimal(text)):
            return str(int(Decimal(text)))
    return text
