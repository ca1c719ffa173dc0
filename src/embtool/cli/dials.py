"""How far a pair has turned, as a picture of one character: for `rope` and `input`."""

import math
import sys

ARROWS = "→↗↑↖←↙↓↘"
COMPASS = ("E", "NE", "N", "NW", "W", "SW", "S", "SE")
"""What stands for the arrows where a stream's encoding lacks them."""


def dial(angle: float) -> str:
    """Draw an angle in radians as an arrow: right at 0, up at a quarter turn.

    >>> dial(0.0), dial(math.pi / 2)
    ('→', '↑')
    """
    eighth = round(angle / (math.pi / 4)) % len(ARROWS)
    return ARROWS[eighth] if _drawable() else COMPASS[eighth]


def dials(angles: list[float]) -> str:
    """Draw several angles side by side."""
    return ("" if _drawable() else " ").join(map(dial, angles))


def _drawable() -> bool:
    try:
        ARROWS.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
