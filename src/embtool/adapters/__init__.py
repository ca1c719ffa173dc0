"""Adapters: files that change a few rows, or all, of the tables of another model, their base.

Floors, from the bottom: `description` (what an adapter is, by the names of its tensors and its adapter_config.json),
`changes` (what it does to rows, in numbers), `adapted` (the base's checkpoint with the changed tables in it).
`inversions` and `drafts` are two kinds that bring tables of their own: vectors of new words, and heads that guess
ahead. A format only finds tensors; that some of them are changes is told here, once, for every question above.
"""

from embtool.adapters.adapted import adapt, table_of
from embtool.adapters.description import Adapter, TableChange, read_adapter

__all__ = ["Adapter", "TableChange", "adapt", "read_adapter", "table_of"]
