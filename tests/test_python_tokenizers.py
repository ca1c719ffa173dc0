"""Classes that transformers has in plain Python only: ids are what it gives.

`data/python_tokenizers.json.gz` holds small folders and the ids that transformers 5.24 gives texts with them;
`tools/record_python_tokenizers.py` writes it.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from sources import Memory

from embtool.vocabulary import Vocabulary, read_vocabulary

KNOWN = json.loads(gzip.decompress((Path(__file__).parent / "data" / "python_tokenizers.json.gz").read_bytes()))
TEXTS: list[str] = KNOWN["texts"]
FOLDERS: dict[str, dict[str, Any]] = KNOWN["folders"]


def files_of(name: str) -> dict[str, bytes]:
    """Give the files of a recorded folder."""
    return {file: content.encode() for file, content in FOLDERS[name]["files"].items()}


def ids(vocabulary: Vocabulary, text: str, *, special: bool = False) -> list[int]:
    return [token.id for token in vocabulary.encode(text, special=special)]


def test_there_are_texts_of_many_kinds() -> None:
    assert len(TEXTS) >= 340


@pytest.mark.parametrize("name", FOLDERS)
def test_texts_are_split_as_transformers_splits_them(name: str) -> None:
    words, folder = read_vocabulary(Memory(files_of(name))), FOLDERS[name]
    for text, plain, special in zip(TEXTS, folder["plain"], folder["special"], strict=True):
        assert ids(words, text) == plain, text
        assert ids(words, text, special=True) == special, text
    assert words.encode_each(TEXTS) == folder["plain"]


@pytest.mark.parametrize("name", FOLDERS)
def test_tokens_have_the_ids_and_names_of_transformers(name: str) -> None:
    words, folder = read_vocabulary(Memory(files_of(name))), FOLDERS[name]
    named = dict(words.pieces())
    assert set(folder["ids"]) <= set(named)
    assert named == {place: folder["names"][place] for place in named}
    assert set(words.special_ids.tolist()) == set(folder["special_ids"])
