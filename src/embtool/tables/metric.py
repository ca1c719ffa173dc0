"""What nearness can mean."""

from typing import Literal, TypeAlias, get_args

from embtool.errors import InvalidArgument

Metric: TypeAlias = Literal["cosine", "dot", "euclidean"]
"""`cosine` and `dot`: the larger the nearer; `euclidean`: the smaller the nearer."""

METRICS: tuple[Metric, ...] = get_args(Metric)

MOST_QUERIES = 1024
"""Queries answered by one pass over the table: beyond this, time is spent on arithmetic, not on reading."""


def check_metric(metric: str) -> None:
    """Raise InvalidArgument unless this is a metric."""
    if metric not in METRICS:
        raise InvalidArgument(f"metric is one of {', '.join(METRICS)}, not {metric!r}")
