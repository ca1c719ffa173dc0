"""What one pass over each table finds, made when it is first asked for."""

from embtool.arrays import np
from embtool.tables.survey import Opener, Survey, equal_rows, survey
from embtool.tables.table import EmbeddingTable


class Surveys:
    """The passes over the tables of one model."""

    def __init__(self, opener: Opener = EmbeddingTable.open) -> None:
        self._open = opener
        self._found: dict[str, Survey] = {}
        self._groups: dict[str, list[list[int]]] = {}

    def of(self, table: EmbeddingTable) -> Survey:
        """Survey a table.

        Raises:
            FormatError: it cannot be read.
        """
        if table.tensor.name not in self._found:
            with self._open(table) as reader:
                found = survey(table, reader, units=False)
                distinct = np.ones(len(found.norms), np.bool_)
                distinct[found.zero] = False
                groups = equal_rows(reader, found.norms, distinct)
            self._found[table.tensor.name] = found
            self._groups[table.tensor.name] = [group.tolist() for group in groups]
        return self._found[table.tensor.name]

    def groups(self, table: EmbeddingTable) -> list[list[int]]:
        """List groups of identical rows that are not zero."""
        self.of(table)
        return self._groups[table.tensor.name]
