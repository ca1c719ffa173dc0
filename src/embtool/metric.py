"""What nearness can mean."""

from typing import Literal, TypeAlias, get_args

from embtool.errors import InvalidArgument

Metric: TypeAlias = Literal["cosine", "dot", "euclidean"]
"""`cosine` and `dot`: the larger the nearer; `euclidean`: the smaller the nearer."""

METRICS: tuple[Metric, ...] = get_args(Metric)


def check_metric(metric: str) -> None:
    """Raise InvalidArgument unless this is a metric."""
    if metric not in METRICS:
        raise InvalidArgument(f"metric is one of {', '.join(METRICS)}, not {metric!r}")
