"""The bar over a pass through a large table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tables import on_disk

from embtool.cli import watching
from embtool.cli.reach import Visit
from embtool.cli.watching import watched
from embtool.survey import survey


class Told(Visit):
    """Writes down what the bar is told."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, int, int]] = []
        self.ended = 0

    def progress(self, what: str, done: int, total: int) -> None:
        self.calls.append((what, done, total))

    def end_progress(self) -> None:
        self.ended += 1


def test_a_pass_over_a_large_table_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = Told()
    monkeypatch.setattr(watching, "current", lambda: visit)
    monkeypatch.setattr(watching, "WATCHED_BYTES", 1)
    monkeypatch.setattr(watching, "TOLD_BYTES", 100)
    table, held = on_disk(tmp_path, np.arange(4000.0).reshape(1000, 4), "F32")
    with watched(table) as reader:
        found = survey(table, reader)
    np.testing.assert_allclose(found.norms, np.linalg.norm(held, axis=1))
    assert {(what, total) for what, _, total in visit.calls} == {("reading e.weight", 16000)}
    assert [done for _, done, _ in visit.calls][:2] == [2000, 4000]
    assert visit.ended == 1


def test_a_small_table_is_not_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visit = Told()
    monkeypatch.setattr(watching, "current", lambda: visit)
    table, _ = on_disk(tmp_path, np.ones((10, 4)), "F32")
    with watched(table) as reader:
        survey(table, reader)
    assert visit.calls == []
