from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embtool.arrays import Doubles
from embtool.errors import FormatError
from embtool.tables.arithmetic import combine, pool
from embtool.vocabulary import POOLS

ROWS = np.array([[3.0, 4], [0, -2], [1, 1]], np.float32)


def test_an_expression_is_the_signed_sum_of_unit_rows() -> None:
    expected = np.array([0.6, 0.8]) - np.array([0, -1]) + np.array([1, 1]) / np.sqrt(2)
    np.testing.assert_allclose(combine(ROWS, [1, -1, 1]), expected, rtol=1e-15)


@given(arrays(np.float64, (3, 4), elements=st.floats(1, 9)), st.floats(0.01, 100))
def test_the_length_of_a_row_does_not_matter(rows: Doubles, scale: float) -> None:
    longer = rows * np.array([[scale], [1], [1]])
    np.testing.assert_allclose(combine(longer, [1, 1, -1]), combine(rows, [1, 1, -1]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("row", [[0, 0], [np.nan, 1], [np.inf, 1]])
def test_a_row_without_a_direction_is_refused(row: list[float]) -> None:
    with pytest.raises(FormatError, match="no direction"):
        combine(np.array([[1, 1], row]), [1, 1])


def test_pools() -> None:
    pools = {how: pool(ROWS, how).tolist() for how in POOLS}
    assert pools == {"mean": [4 / 3, 1], "sum": [4, 3], "first": [3, 4], "last": [1, 1]}
    assert pool(ROWS, "mean").dtype == np.float64


def test_a_pool_of_rows_that_are_not_finite_is_quiet() -> None:
    rows = np.array([[np.inf, np.nan], [-np.inf, 1]], np.float32)
    assert np.isnan(pool(rows, "sum")).all()
    assert np.isnan(pool(rows, "mean")).all()
