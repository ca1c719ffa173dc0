"""A draft head, such as EAGLE-3's: it predicts in a small vocabulary of its own, and maps that into its target's.

`d2t` holds for each id of the head how far the target's id lies beyond it; `t2d` tells of each id of the target whether
the head can predict it. So vLLM and SGLang read them, and speculators and SpecForge write them. llama.cpp's converter
writes the target's ids themselves into a GGUF file, and no t2d.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embtool.adapters.drafts import MEDUSA_OUTPUT, find_maps
from embtool.configs.config import Config
from embtool.errors import TableNotFound
from embtool.storage.checkpoint import Checkpoint, TensorInfo

if TYPE_CHECKING:
    from embtool.adapters.drafts import Draft

HEAD = re.compile(r"eagle", re.IGNORECASE)
"""Architectures of draft heads."""


@dataclass(frozen=True)
class DraftHead:
    """A draft head's maps, as they are stored.

    Attributes:
        kind: what it is called: EAGLE or Medusa.
        size: how many tokens it predicts, by its config.
        target_size: how many tokens its target has, by its config.
        rows: rows of its output table; None where it has none of its own.
        d2t: the map into the target's vocabulary.
        t2d: which of the target's tokens it can predict.
        checkpoint: its tensors.
    """

    kind: str
    size: int | None
    target_size: int | None
    rows: int | None
    d2t: TensorInfo | None
    t2d: TensorInfo | None
    checkpoint: Checkpoint


def read_head(checkpoint: Checkpoint | None, config: Config | None, draft: "Draft | None") -> DraftHead | None:
    """Return a model's maps if it is known to be a draft head, has a map, or its config says so; else None.

    Raises:
        FormatError: a map's header cannot be read.
    """
    raw = {} if config is None else config.raw
    named = config is not None and HEAD.search(config.architecture or "") is not None
    maps = {} if checkpoint is None else find_maps(checkpoint)
    if checkpoint is None or not (draft is not None or maps or named or "draft_vocab_size" in raw):
        return None
    return DraftHead(
        kind="Medusa" if draft is not None and draft.kind == "Medusa" else "EAGLE",
        size=_whole(raw.get("draft_vocab_size")),
        target_size=_whole(raw.get("vocab_size")),
        rows=_rows(checkpoint),
        d2t=maps.get("d2t"),
        t2d=maps.get("t2d"),
        checkpoint=checkpoint,
    )


def _rows(checkpoint: Checkpoint) -> int | None:
    tables = [name for name in checkpoint.names if MEDUSA_OUTPUT.match(name)]
    for name in ("lm_head.weight", "output.weight", *tables[:1]):
        try:
            shape = checkpoint.tensor(name).shape
        except TableNotFound:
            continue
        return shape[0] if shape else None
    return None


def _whole(held: object) -> int | None:
    return held if type(held) is int else None
