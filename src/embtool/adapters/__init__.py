"""Adapters: files that change a few rows, or all, of the tables of another model, their base.

Floors, from the bottom: `description` (what an adapter is, by the names of its tensors and its adapter_config.json),
`changes` (what it does to rows, in numbers), `adapted` (the base's checkpoint with the changed tables in it). `drafts`
are heads that guess ahead, with tables of their own. A format only finds tensors; that some of them are changes is told
here, once, for every question above.
"""

from embtool.adapters.adapted import adapt, table_of
from embtool.adapters.description import Adapter, TableChange, read_adapter
from embtool.adapters.drafts import Draft, read_draft

__all__ = ["Adapter", "Draft", "TableChange", "adapt", "read_adapter", "read_draft", "table_of"]
