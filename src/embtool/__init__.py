"""Look inside the embedding tables of language models.

`open_model` gives a `Model`; its `input_table` and `output_table` are `EmbeddingTable`s, which give rows by token id;
its `vocabulary` turns text into `Token`s and back; `nearest` ranks the rows of a table. Whatever a user can cause is an
`EmbtoolError`. Nothing here prints or exits. docs/reference/python.md shows each at work.
"""

__version__ = "0.1.0"

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embtool.errors import EmbtoolError
    from embtool.model import Model, open_model
    from embtool.neighbors import Neighbors, nearest
    from embtool.table import EmbeddingTable
    from embtool.vocabulary import Token, Vocabulary

__all__ = ["EmbeddingTable", "EmbtoolError", "Model", "Neighbors", "Token", "Vocabulary", "nearest", "open_model"]

_HOMES = {
    "EmbeddingTable": "embtool.table",
    "EmbtoolError": "embtool.errors",
    "Model": "embtool.model",
    "Neighbors": "embtool.neighbors",
    "Token": "embtool.vocabulary",
    "Vocabulary": "embtool.vocabulary",
    "nearest": "embtool.neighbors",
    "open_model": "embtool.model",
}
"""Where each public name lives; it is imported when first used, so that `embtool --version` does not load numpy."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'embtool' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only needed here

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
