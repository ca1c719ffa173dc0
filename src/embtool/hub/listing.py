"""The hub's list of a repository's files."""

import contextlib
import json
from typing import Any

from embtool.errors import FormatError
from embtool.hub.reference import COMMIT
from embtool.storage.source import check_file_name, is_overfull

LISTING_LIMIT = 64 << 20
"""Bytes of a repository's list of files; one with 100,000 files has 20 MB."""


def parse_listing(data: bytes, repo_id: str) -> tuple[str, dict[str, int | None]]:
    """Read the hub's description of a repository: its commit, and its files with their sizes where it says them.

    Raises:
        FormatError: it is not one.
    """
    try:
        known: Any = None if is_overfull(data) else json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the hub's description of {repo_id} is not JSON") from error
    commit, siblings = (known.get("sha"), known.get("siblings")) if isinstance(known, dict) else (None, None)
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit) or not isinstance(siblings, list):
        raise FormatError(f"the hub's description of {repo_id} names no commit or no files")
    listing: dict[str, int | None] = {}
    for sibling in siblings:
        name = sibling.get("rfilename") if isinstance(sibling, dict) else None
        size = sibling.get("size") if isinstance(sibling, dict) else None
        if isinstance(name, str):
            with contextlib.suppress(FormatError):  # a name that leads elsewhere is left out
                check_file_name(name, said_by="the hub")
                listing[name] = size if isinstance(size, int) and size >= 0 else None
    return commit, listing
