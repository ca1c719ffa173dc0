"""What was seen of each architecture of transformers: the recording in `families.json`.

Every type of model that takes token ids was built tiny, saved and run (`tools/families`), and what came out is written
down: the sizes its class assumes, the names of its tables, whether and by which flag they are tied, which of its
classes predict tokens, how its queries turn. Nothing is decided here; what a recording cannot say is in
`embtool.configs.families`.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

RECORDING = "families.json"


class Shape(NamedTuple):
    """The sizes that a model class assumes where the file is silent; None where the class has no such default."""

    vocab_size: int | None
    hidden_size: int | None
    num_hidden_layers: int | None
    num_attention_heads: int | None
    head_dim: int | None
    max_position_embeddings: int | None


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One type of model, as it was recorded.

    Attributes:
        shape: The sizes of its class; None where they are those of the language model inside.
        text: Where the config of the language model stands; empty where it is the whole file.
        text_type: The type of that language model, when the file does not say.
        tied: Whether the class ties the output table to the input table; None where it has none.
        tie_at: The paths of the flags that decide it; none where it is so whatever the file says.
        tie_by_all: Whether all of them must say so.
        heads: Its classes that predict tokens.
        headless: Its classes that do not.
        input: The names of the input table in saved files, those of the class with a head first.
        output: The same of the output table.
        untied_input: The names of the input table where the file says that it is not tied, if they are others.
        extra_rows: Rows that the input table has by design beyond `vocab_size`.
        position: The position table that is added to the rows of that input table.
        token_type: The table of types that is added to them.
        family: What was seen of positions and of scaling, by the fields of `embtool.configs.families.Family`, where it
            is not what is usual; None where nothing was seen.
        own_width: Whether rows are of another width than the model.
        embedding_size: The width of a row, where it is not that of the model.
        type_vocab_size: Rows of the token-type table.
        scale_embedding: Whether the class scales rows when the file does not say.
        embedding_multiplier: By how much, in families that say so by a number.
    """

    shape: Shape | None = None
    text: tuple[str, ...] = ()
    text_type: str | None = None
    tied: bool | None = None
    tie_at: tuple[tuple[str, ...], ...] = ((),)
    tie_by_all: bool = False
    heads: frozenset[str] = frozenset()
    headless: frozenset[str] = frozenset()
    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    untied_input: tuple[str, ...] = ()
    extra_rows: int = 0
    position: tuple[str, ...] = ()
    token_type: tuple[str, ...] = ()
    family: Mapping[str, Any] | None = None
    own_width: bool = False
    embedding_size: int | None = None
    type_vocab_size: int | None = None
    scale_embedding: bool = False
    embedding_multiplier: float = 1.0


def _path(text: str) -> tuple[str, ...]:
    return tuple(text.split(".")) if text else ()


_READ: Mapping[str, Any] = {
    "shape": lambda sizes: Shape(*sizes),
    "text": _path,
    "tie_at": lambda paths: tuple(map(_path, paths)),
    **dict.fromkeys(("heads", "headless"), frozenset),
    **dict.fromkeys(("input", "output", "untied_input", "position", "token_type"), tuple),
}
"""How the values of an entry are read, where they are not what they are written as."""


@functools.cache
def _recording() -> Mapping[str, Mapping[str, Any]]:
    text = Path(__file__).with_name(RECORDING).read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, Any]] = json.loads(text)["types"]
    return found


@functools.cache
def architecture(model_type: str) -> Architecture | None:
    """Find what was recorded of a model type; None where transformers does not know it."""
    entry = _recording().get(model_type)
    if entry is None:
        return None
    return Architecture(**{key: _READ.get(key, lambda value: value)(value) for key, value in entry.items()})


def recorded_types() -> tuple[str, ...]:
    """List every model type of the recording, in alphabetical order."""
    return tuple(_recording())
