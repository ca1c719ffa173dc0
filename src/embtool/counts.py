"""Counts in sentences."""


def count(number: int) -> str:
    """Write an integer for a reader: 248,320."""
    return f"{number:,}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """Write a count and what is counted; `many` is the plural where it is not `one` with an s.

    >>> plural(1, "row"), plural(2000, "row"), plural(2, "entry is", "entries are")
    ('1 row', '2,000 rows', '2 entries are')
    """
    return f"{count(number)} {one if number == 1 else many or f'{one}s'}"
