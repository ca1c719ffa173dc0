"""Adapters: files that change a few rows, or all, of the tables of another model, their base.

Floors, from the bottom: `description` (what an adapter is, by the names of its tensors and its adapter_config.json),
`changes` (what it does to rows, in numbers), `adapted` (the base's checkpoint with the changed tables in it). `drafts`
are heads that guess ahead, with tables of their own. A format only finds tensors; that some of them are changes is told
here, once, for every question above.
"""

from itertools import islice

from embtool.storage.checkpoint import Checkpoint

FILES = ("adapter_model", "new_embeddings.safetensors")
"""How the files of adapters are called: PEFT's and vLLM's."""

SIGNS = ("lora_embedding_", "lora_A", "trainable_tokens_delta", "modules_to_save.", "prompt_embeddings")
"""Parts of tensors' names that only adapters have."""

INVERSION = "textual inversion"
"""The kind of a file of rows for new words, which needs no adapter_config.json."""

DRAFT_ENDS = ("d2t", "fc.weight")
DRAFT_STARTS = ("medusa", *"0123456789")
"""Ends and beginnings of names of tensors that draft heads have."""

MOST_NAMES = 1 << 16
"""Names that are looked at for a sign of an adapter, in a file that is not called one."""

MOST_OF_DRAFT = 256
"""Tensors of a draft head at most: it has a layer or two."""


def may_be_adapter(checkpoint: Checkpoint) -> bool:
    """Tell whether a checkpoint is named like an adapter, or has tensors that only adapters have."""
    files = [shard.rpartition("/")[2] for shard in checkpoint.shards]
    if any(file.startswith(FILES) for file in files) or bool(checkpoint.roles):
        return True
    return len(files) == 1 and any(sign in name for name in islice(checkpoint.names, MOST_NAMES) for sign in SIGNS)


def may_be_draft(checkpoint: Checkpoint) -> bool:
    """Tell whether a checkpoint is small, and has a tensor that draft heads have."""
    names = checkpoint.names
    return len(names) <= MOST_OF_DRAFT and any(
        name.endswith(DRAFT_ENDS) or name.startswith(DRAFT_STARTS) for name in names
    )
