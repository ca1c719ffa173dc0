"""Tensors that look like a table of tokens under a name that nobody knows: told, never taken."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from embtool.errors import EmbtoolError
from embtool.storage.checkpoint import Checkpoint, TensorInfo

EMBEDS = re.compile(r"emb|wte|vocab|token|lm_?head|out_?head|unembed|logits", re.IGNORECASE)
"""Parts of names that people give to tables of tokens."""

OTHER = re.compile(r"pos(ition)?s?_?|wpe|type|seg(ment)?|relative|rotary|norm|lora_|\.\d+\.", re.IGNORECASE)
"""Parts of names of other tables, and of tensors of single blocks."""

MOST_NAMES = 512
"""Names whose tensors are looked at: each may cost the header of a shard."""

MOST_UNREAD = 8
"""Names that may be in shards that cannot be read."""

LISTED = 4
"""Tensors named in a hint."""

NEAR = 0.1
"""By how much rows and tokens may differ."""

TALL = 4
"""A table has that many times more rows than columns, where nothing else speaks for it."""

SIDES = 2


def find_candidates(checkpoint: Checkpoint, sizes: Iterable[int]) -> list[TensorInfo]:
    """List matrices that may be tables of tokens, the likeliest first.

    Those with about as many rows as there are tokens (`sizes`: by the config, by the tokenizer) come first, then those
    that are named like a table, then tall ones. Each needs a sign of these.
    """
    wanted = [size for size in sizes if size > 0]
    ranked = [(rank, -tensor.shape[0], tensor) for tensor in _matrices(checkpoint) if (rank := _rank(tensor, wanted))]
    return [tensor for *_, tensor in sorted(ranked, key=lambda each: each[:2])]


def _matrices(checkpoint: Checkpoint) -> Iterator[TensorInfo]:
    likely = (name for name in checkpoint.names if not OTHER.search(name))
    unread = 0
    for name in islice(likely, MOST_NAMES):
        try:
            tensor = checkpoint.tensor(name)
        except EmbtoolError:  # in a shard that is not there, perhaps: each costs a look
            unread += 1
            if unread == MOST_UNREAD:
                return
            continue
        if len(tensor.shape) == SIDES and 0 not in tensor.shape and tensor.dtype.decode is not None:
            yield tensor


def _rank(tensor: TensorInfo, wanted: list[int]) -> int:
    """Return how likely it is, 1 the most; 0 is not at all."""
    rows, width = tensor.shape
    if any(abs(rows - size) <= NEAR * size for size in wanted):
        return 1
    if wanted or rows < width:
        return 0
    return 2 if EMBEDS.search(tensor.name) else 3 if rows >= TALL * width else 0


def hint_of_candidates(found: list[TensorInfo]) -> str | None:
    """Say which tensors look like a table and how one is read; None where there is none."""
    if not found:
        return None
    shapes = [f"{tensor.name}, {tensor.shape[0]:,} × {tensor.shape[1]:,}" for tensor in found[:LISTED]]
    verb = "looks like one" if len(found) == 1 else "look like tables"
    return f"{'; '.join(shapes)}, {verb}: --table {found[0].name}"
