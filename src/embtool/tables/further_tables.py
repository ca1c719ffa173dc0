"""The tables of a model beyond those that read and predict its text: found by name, each with a role of its own."""

import re
from collections.abc import Collection
from dataclasses import replace

from embtool.errors import TableNotFound
from embtool.storage.checkpoint import Checkpoint, Part, TensorInfo

LEAF = re.compile(
    r"(^|_)(emb|embd|embed|embeds|embedding|embeddings|embedder|wte|wpe|shared|codebook|tokens?)(_|$)"
    r"|Embedder_\d+$",
    re.IGNORECASE,
)
"""Parts of names that speak of a table, as in `embed_tokens`, `row_embedder` or `text_token_embedding`."""

NO_TABLE = re.compile(r"proj|norm|linear|conv|scale|bias|lora|mapping|dense|gate|router|mask", re.IGNORECASE)
"""Parts of names of what stands beside a table."""

NUMBERED = re.compile(r"(^|\.)(layers?|h|blocks?|blk|resblocks)\.(\d+)\.")
"""Where one of a model's blocks begins in a name."""

TOWERS = {
    "mtp": re.compile(r"(^|\.|_)(mtp\w*|nextn)(\.|$)"),
    "audio": re.compile(r"(^|\.|_)(audio|speech|codec|depth_decoder|code2wav|token2wav|talker|acoustic|wav)\w*"),
    "vision": re.compile(r"(^|\.|_)(vision|visual|image|img|pixel|qformer|patch|tile)\w*"),
    "encoder": re.compile(r"(^|\.)\w*encoder(\.|$)"),
    "decoder": re.compile(r"(^|\.)\w*decoder(\.|$)"),
}
"""What a table belongs to, by the path of its tensor; the first that fits."""

KINDS = {
    "relative": re.compile(r"(^|_)rel(ative)?(_|$)"),
    "position": re.compile(r"(^|_)(pos|positions?|wpe)(_|$)", re.IGNORECASE),
    "token_type": re.compile(r"(^|_)(type|segment|seg)(_|$)"),
    "codes": re.compile(r"(^|_)(codec|codebook|audio_tokens?)(_|$)"),
    "input": re.compile(r"^(embed_tokens?|word_embeddings?|shared|wte|tok(ens?)?_embed(ding)?s?|tok_emb|embed)$"),
    "output": re.compile(r"^(head|shared_head_head|lm_head)$"),
}
"""What the rows of a table are, by the last part of its path; the first that fits, else `embedding`."""

OF_TOKENS = frozenset({"input", "output"})
"""The kinds of tables whose rows are tokens, those of a multi-token-prediction head or of another stack too."""


def further_tables(checkpoint: Checkpoint, taken: Collection[str], layers: int | None) -> list[tuple[str, TensorInfo]]:
    """List (role, tensor) for every table that none of the names in `taken` is.

    Args:
        checkpoint: the tensors.
        taken: names of tensors that have a role already.
        layers: blocks of the model, by its config; a block after the last is one of multi-token prediction, as DeepSeek
            V3 and GLM 4.5 store it.
    """
    found = []
    for name in checkpoint.names:
        if name in taken or not may_be(name):
            continue
        role = further_role(name, layers)
        if role is None:
            continue
        tensor = as_rows(checkpoint.tensor(name))
        if len(tensor.shape) == 2 and tensor.shape[0] > 1:  # noqa: PLR2004 - rows, columns
            found.append((role, tensor))
    return found


def may_be(name: str) -> bool:
    """Return whether a name has what each name of a table has: a million others are passed over quickly."""
    return (  # one after the other: three times as quick as a pattern, or `any`
        ("mb" in name or "wte" in name or "wpe" in name or "shared" in name)
        or ("code" in name or "tok" in name or "head" in name or "pos" in name)
    )


def further_role(name: str, layers: int | None = None) -> str | None:
    """Return the role that the name of a tensor tells, or None where it tells of no table.

    >>> further_role("model.layers.61.shared_head.head.weight", 61)
    'mtp_output'
    >>> further_role("vision_model.embeddings.position_embedding.weight")
    'vision_position'
    >>> further_role("model.layers.3.mlp.up_proj.weight", 61)
    """
    parts = name.removesuffix(".weight").split(".")
    while len(parts) > 1 and parts[-1].isdigit():
        parts.pop()
    leaf, path = parts[-1], ".".join(parts[:-1])
    block = NUMBERED.search(name)
    after_last = block is not None and layers is not None and int(block[3]) >= layers
    tower = "mtp" if after_last else next((tower for tower, known in TOWERS.items() if known.search(path)), "")
    kind = next((kind for kind, known in KINDS.items() if known.search(leaf)), "embedding")
    if kind == "output" and tower != "mtp":
        return None
    if NO_TABLE.search(leaf) or (kind not in ("output", "position") and not LEAF.search(leaf)):
        return None
    return f"{tower or 'other'}_{kind}" if block is None or tower == "mtp" else None


def of_tokens(role: str) -> bool:
    """Return whether the rows of a table of this role may be tokens."""
    return role.rpartition("_")[2] in OF_TOKENS or role.startswith(("per_layer", "tensor"))


def as_rows(tensor: TensorInfo) -> TensorInfo:
    """Return a tensor of 1 × rows × width, as vision towers keep positions, as rows × width; any other as it is."""
    if len(tensor.shape) == 3 and tensor.shape[0] == 1 and not tensor.parts:  # noqa: PLR2004
        return replace(tensor, shape=tensor.shape[1:])
    return tensor


def one_layer(tensor: TensorInfo, layer: int, layers: int | None) -> TensorInfo:
    """Return the columns that one layer reads of a table per layer: (tokens, width of a layer).

    Gemma 3n's and 4's `embed_tokens_per_layer` has those of all layers side by side.

    Raises:
        TableNotFound: the model has no such layer, or its columns cannot be told apart.
    """
    whole = "name the whole table: --table per_layer"
    if layers is None or layers <= 0 or len(tensor.shape) != 2 or tensor.shape[1] % layers:  # noqa: PLR2004
        raise TableNotFound(f"the columns of {tensor.name} cannot be told apart by layer", hint=whole)
    if not 0 <= layer < layers:
        raise TableNotFound(f"no layer {layer} in {tensor.name}: the layers are 0 to {layers - 1}", hint=whole)
    width = tensor.shape[1] // layers
    begin, end = tensor.dtype.nbytes(layer * width), tensor.dtype.nbytes((layer + 1) * width)
    if tensor.parts or begin is None or end is None:
        raise TableNotFound(f"{tensor.name} is quantised in blocks that layers share", hint=whole)
    return replace(
        tensor,
        shape=(tensor.shape[0], width),
        nbytes=tensor.shape[0] * (end - begin),
        parts=(Part(tensor, columns=(begin, end)),),
    )
