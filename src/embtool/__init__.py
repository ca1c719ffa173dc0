"""Look inside the embedding tables of language models.

`open_model` gives a `Model`; its `input_table` and `output_table` are `EmbeddingTable`s, which give rows by token id;
its `vocabulary` turns text into `Token`s and back; `nearest` ranks the rows of a table. Whatever a user can cause is an
`EmbtoolError`. Every command is a method of `Model`, or a function: `diff` and `compare_rope` for two, `rope_golden`,
`judge_rope` and `rope_decay` for positions; its `Answer` is a sequence
of records or a card, prints as a table, and turns into what `--json` prints by `to_dict`. Nothing here prints or exits.
docs/reference/python.md shows each at work.
"""

__version__ = "0.1.0"

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embtool.answers import Answer
    from embtool.errors import EmbtoolError
    from embtool.hub.limit import RequestLimit
    from embtool.model import Model, open_model
    from embtool.positions import RopeOverride
    from embtool.questions.diff import diff
    from embtool.questions.neighbors import Filters
    from embtool.questions.rope_compare import compare_rope
    from embtool.questions.rope_decay import rope_decay
    from embtool.questions.rope_golden import rope_golden
    from embtool.questions.rope_judge import judge_rope
    from embtool.questions.vocab import Search
    from embtool.sweep import Sweep
    from embtool.tables.graph import NearestGraph, merge_graphs, nearest_graph
    from embtool.tables.neighbors import Neighbors, merge_neighbors, nearest, nearest_each
    from embtool.tables.table import EmbeddingTable
    from embtool.vector_files import read_vectors
    from embtool.vocabulary import Token, Vocabulary

__all__ = [
    "Answer",
    "EmbeddingTable",
    "EmbtoolError",
    "Filters",
    "Model",
    "NearestGraph",
    "Neighbors",
    "RequestLimit",
    "RopeOverride",
    "Search",
    "Sweep",
    "Token",
    "Vocabulary",
    "compare_rope",
    "diff",
    "judge_rope",
    "merge_graphs",
    "merge_neighbors",
    "nearest",
    "nearest_each",
    "nearest_graph",
    "open_model",
    "read_vectors",
    "rope_decay",
    "rope_golden",
]

_HOMES = {
    "Answer": "embtool.answers",
    "EmbeddingTable": "embtool.tables.table",
    "EmbtoolError": "embtool.errors",
    "Filters": "embtool.questions.neighbors",
    "Model": "embtool.model",
    "NearestGraph": "embtool.tables.graph",
    "Neighbors": "embtool.tables.neighbors",
    "RequestLimit": "embtool.hub.limit",
    "RopeOverride": "embtool.positions",
    "Search": "embtool.questions.vocab",
    "Sweep": "embtool.sweep",
    "Token": "embtool.vocabulary",
    "Vocabulary": "embtool.vocabulary",
    "compare_rope": "embtool.questions.rope_compare",
    "diff": "embtool.questions.diff",
    "judge_rope": "embtool.questions.rope_judge",
    "merge_graphs": "embtool.tables.graph",
    "merge_neighbors": "embtool.tables.neighbors",
    "nearest": "embtool.tables.neighbors",
    "nearest_each": "embtool.tables.neighbors",
    "nearest_graph": "embtool.tables.graph",
    "open_model": "embtool.model",
    "read_vectors": "embtool.vector_files",
    "rope_decay": "embtool.questions.rope_decay",
    "rope_golden": "embtool.questions.rope_golden",
}
"""Where each public name lives; it is imported when first used, so that `embtool --version` does not load numpy."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'embtool' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only needed here

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
