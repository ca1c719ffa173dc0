"""What a long pass tells of how far it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tables import on_disk

from embtool.tables import table as tables
from embtool.tables.survey import survey

Told = list[tuple[str, int, int]]


def test_a_pass_over_a_large_table_is_told_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: Told = []
    monkeypatch.setattr(tables, "WATCHED_BYTES", 1)
    monkeypatch.setattr(tables, "TOLD_BYTES", 100)
    table, held = on_disk(tmp_path, np.arange(4000.0).reshape(1000, 4), "F32")
    with table.open(lambda *progress: told.append(progress)) as reader:
        found = survey(table, reader)
    np.testing.assert_allclose(found.norms, np.linalg.norm(held, axis=1))
    assert {(what, total) for what, _, total in told} == {("reading e.weight", 16000)}
    assert [done for _, done, _ in told][:2] == [2000, 4000]
    assert told[-1][1] == 16000


def test_a_small_table_is_not_watched(tmp_path: Path) -> None:
    told: Told = []
    table, _ = on_disk(tmp_path, np.ones((10, 4)), "F32")
    with table.open(lambda *progress: told.append(progress)) as reader:
        survey(table, reader)
    assert told == []
