"""Rules about how tables are stored: whole, upright, under names that loaders know, readable, once."""

import re
from collections.abc import Iterator

from embtool.configs.config import Config
from embtool.errors import EmbtoolError
from embtool.questions.check.rule import Found, Severity, rule, some
from embtool.questions.check.shapes import Misshapen
from embtool.questions.check.subject import Subject
from embtool.questions.parts import left_out
from embtool.storage.checkpoint import Checkpoint
from embtool.tables.table import EmbeddingTable
from embtool.tables.table_roles import Tables

WRAPPERS = re.compile(
    r"^((?:_orig_mod|module|_forward_module|_fsdp_wrapped_module|state_dict)\.)+|"
    r"\b(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
"""What torch.compile, DataParallel, DeepSpeed, FSDP and Lightning put before or into the names of tensors."""

ADAPTED = re.compile(r"^base_model\.model\.|\b(base_layer|original_module|modules_to_save(?:\.\w+)?)\.(?=weight$)")
"""What PEFT puts into names, and takes away only where it reads an adapter, or merges one."""

DOUBLED = re.compile(r"(?:^|\.)((language_model|text_model|transformer|backbone|base_model\.model)\.)\1")
"""A part of a path twice, one after the other, as a model saved from inside its own wrapper has it."""

FP8 = frozenset({"F8_E4M3", "F8_E5M2"})

CODES = frozenset({*FP8, "I8", "U8", "I32", "U32"})
"""Types of codes of tools that also write into the config how they pack; a mapping of model2vec is none."""

QUANTIZATION_FILES = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
"""Files of tools that say how they quantised beside config.json."""


def _of(subject: Subject, kind: str) -> Iterator[Misshapen]:
    return (each for each in subject.misshapen if each.kind == kind)


def _found(each: Misshapen, advice: str | None = None) -> Found:
    message = f"{each.tensor.name} {each.words}; it stands where the {each.role} table should"
    return Found(message, file=each.tensor.shard, tensor=each.tensor.name, advice=advice)


@rule(
    "flat-table",
    Severity.ERROR,
    "tables are stored as rows and columns",
    "One process of a sharded training saved its own piece: loaders stop at the shape, or initialise the table anew.",
    advice="save again with the weights gathered: FSDP's FULL_STATE_DICT, or merge the pieces with `accelerate "
    "merge-weights`",
    threads=(
        "huggingface/transformers#34080",
        "mlfoundations/open_flamingo#260",
    ),
    needs=("tables",),
)
def flat_table(subject: Subject) -> Iterator[Found]:
    yield from map(_found, _of(subject, "flat"))


@rule(
    "empty-table",
    Severity.ERROR,
    "tables that are named hold numbers",
    "A placeholder is what ZeRO stage 3 leaves of a parameter that was not gathered: the table is lost in this file, "
    "and loaders stop at the shape or initialise it at random.",
    advice="save again with stage3_gather_16bit_weights_on_model_save, or make the weights from the training's own "
    "checkpoint with DeepSpeed's zero_to_fp32",
    threads=(
        "huggingface/transformers#28510",
        "deepspeedai/DeepSpeed#1394",
    ),
    needs=("tables",),
)
def empty_table(subject: Subject) -> Iterator[Found]:
    yield from map(_found, _of(subject, "empty"))


@rule(
    "transposed-table",
    Severity.ERROR,
    "tables stand upright: a row for every token",
    "A converter from another framework left the table on its side: a token's vector is a column, and loaders stop.",
    advice="transpose the tensor: rows are tokens in every file that transformers, vLLM and llama.cpp read",
    threads=("huggingface/transformers#27064",),
    needs=("tables", "config"),
)
def transposed_table(subject: Subject) -> Iterator[Found]:
    yield from map(_found, _of(subject, "transposed"))


@rule(
    "cut-table",
    Severity.ERROR,
    "tables are whole, not cut for several devices",
    "A piece of a model-parallel checkpoint is no model: each file holds a part of every row, or a part of the rows.",
    advice="put the pieces together with the converter of the model's family, then check what comes of it",
    threads=(
        "ggml-org/llama.cpp#2376",
        "karpathy/llama2.c#355",
        "ggml-org/llama.cpp#2766",
    ),
    needs=("tables", "config"),
)
def cut_table(subject: Subject) -> Iterator[Found]:
    yield from map(_found, _of(subject, "cut"))


@rule(
    "unread-table",
    Severity.INFO,
    "the rows of every table can be read",
    "What cannot be decoded cannot be checked: the rules about rows leave this table out.",
    advice="check the model that was quantised, whose tables can be read",
    threads=(
        "vllm-project/vllm#15959",
        "sgl-project/sglang#2935",
        "vllm-project/vllm#8799",
    ),
    needs=("tables",),
)
def unread_table(subject: Subject) -> Iterator[Found]:
    for each in _of(subject, "packed"):
        yield Found(
            f"{each.tensor.name} {each.words}: its rows are not looked at",
            file=each.tensor.shard,
            tensor=each.tensor.name,
        )
    for table in (subject.input, subject.output):
        if table is None or _lost_scale(subject, table):
            continue
        try:
            table.shape  # noqa: B018 - raises where rows cannot be decoded
        except EmbtoolError as error:
            tensor = table.tensor
            yield Found(f"{error.message}: they are not looked at", file=tensor.shard, tensor=tensor.name)


@rule(
    "lost-quantization",
    Severity.WARNING,
    "quantised tables have what unpacks them",
    "Codes without their scale, or without the config that says how they are packed, are read as if they were "
    "numbers, or not at all.",
    advice="take config.json and every tensor of the table from the model that was quantised; a merge or a second "
    "saving lost them",
    threads=(
        "vllm-project/vllm#20052",
        "vllm-project/vllm#5513",
    ),
)
def lost_quantization(subject: Subject, tables: Tables, config: Config) -> Iterator[Found]:
    for table in tables.stored:
        tensor = table.tensor
        if table.role not in ("input", "output"):
            continue
        codes = tensor.parts[0].tensor.dtype.name if tensor.parts and not tensor.stacked else None
        if _lost_scale(subject, table):
            message = f"{tensor.name} holds codes of {tensor.dtype.name.split()[0]}, and no scale is stored beside it"
            yield Found(message, file=tensor.shard, tensor=tensor.name)
        elif codes in CODES and not _says_how(subject):
            message = f"{tensor.name} is packed ({tensor.dtype.name}), and {config.file} does not say how"
            yield Found(message, file=config.file, field="quantization_config", tensor=tensor.name)
    for each in _of(subject, "packed"):
        if not _says_how(subject):
            message = f"{each.tensor.name} {each.words}, and {config.file} does not say so"
            yield Found(message, file=config.file, field="quantization_config", tensor=each.tensor.name)


def _lost_scale(subject: Subject, table: EmbeddingTable) -> bool:
    """Tell whether a table holds 8-bit floats that the config says are scaled, and that have no scale."""
    tensor, packing = table.tensor, {} if subject.config is None else subject.config.packing
    return tensor.dtype.name.split()[0] in FP8 and not tensor.parts and (bool(packing) or tensor.dtype.decode is None)


def _says_how(subject: Subject) -> bool:
    """Tell whether a file says how weights are quantised; a GGUF file does by itself."""
    assert subject.config is not None
    return bool(subject.config.packing) or subject.is_gguf or any(map(subject.source.has, QUANTIZATION_FILES))


@rule(
    "odd-prefix",
    Severity.WARNING,
    "tensors have the names that loaders know",
    "Loaders look for other names, find none of them, and initialise the model at random, often with a mere warning.",
    advice="save the model itself and not its wrapper, or rename the tensors: take the prefix away",
    threads=(
        "safetensors/safetensors#403",
        "huggingface/transformers#28041",
        "karpathy/nanoGPT#325",
        "eole-nlp/eole#179",
    ),
)
def odd_prefix(subject: Subject, checkpoint: Checkpoint) -> Iterator[Found]:
    told: dict[str, list[str]] = {}
    is_adapter = subject.source.has("adapter_config.json")
    for name in checkpoint.names:
        wrapped = WRAPPERS.search(name) or (None if is_adapter else ADAPTED.search(name))
        doubled = DOUBLED.search(name)
        if wrapped is not None:
            told.setdefault(wrapped[0], []).append(name)
        elif doubled is not None:
            told.setdefault(doubled[1] * 2, []).append(name)
    for prefix, names in told.items():
        share = f"{len(names):,} of {len(checkpoint.names):,} tensors"
        yield Found(f"{share} have {prefix} in their names, such as {names[0]}", tensor=names[0])


@rule(
    "stray-weights",
    Severity.INFO,
    "every weight file of the folder is part of the model",
    "Loaders choose differently among the files of one folder, and whoever downloads it takes twice the bytes.",
    advice="remove what is not needed, or keep it in a folder of its own",
    threads=(
        "vllm-project/vllm#5005",
        "modelscope/ms-swift#7074",
    ),
)
def stray_weights(subject: Subject, checkpoint: Checkpoint) -> Iterator[Found]:
    left = [file for file in left_out(subject.source, checkpoint) if not _is_rival(subject, file)]
    if left:
        yield Found(f"{some(left)} left out: the tables are read from {some(checkpoint.shards)}", file=left[0])


@rule(
    "rival-weights",
    Severity.WARNING,
    "one set of weights has the names that loaders look for",
    "transformers prefers model.safetensors to the shards of an index, vLLM and embtool the index: two programs run "
    "two models.",
    advice="remove the one that is out of date",
    threads=(
        "Blaizzy/mlx-vlm#1464",
        "vllm-project/vllm#40765",
        "vllm-project/vllm#5005",
    ),
)
def rival_weights(subject: Subject, checkpoint: Checkpoint) -> Iterator[Found]:
    for file in left_out(subject.source, checkpoint):
        if _is_rival(subject, file):
            yield Found(f"{file} lies beside the shards of an index ({some(checkpoint.shards)})", file=file)


def _is_rival(subject: Subject, file: str) -> bool:
    return file == "model.safetensors" and subject.source.has("model.safetensors.index.json")


@rule(
    "output-shape",
    Severity.ERROR,
    "the output table has the rows and the width of the model",
    "A library that makes the table by the config and then loads the tensor stops at the shape, or scores other "
    "tokens.",
    advice="resize both tables together (model.resize_token_embeddings), and save config and weights at once",
    threads=(
        "huggingface/transformers#1786",
        "hiyouga/LlamaFactory#3154",
        "earth-insights/SegEarth-R2#9",
    ),
)
def output_shape(subject: Subject, output: EmbeddingTable) -> Iterator[Found]:
    config, tensor = subject.config, output.tensor
    try:
        rows, width = output.shape
        own = None if subject.input is None else subject.input.shape[1]
    except EmbtoolError:
        return
    recorded = subject.recorded
    if recorded is not None and recorded.tied is False and not recorded.tie_at and tensor.name in recorded.output:
        return  # a table of its own, whatever the input table is
    numbers = [] if config is None else [("vocab_size", config.vocab_size), *config.text.items()]
    stated = {key: number for key, number in numbers if key.endswith("vocab_size") and type(number) is int}
    drafted = None if subject.draft is None else subject.draft.rows
    durations = None if config is None else config.raw.get("durations")  # a transducer's head says how long, too
    lasting = [number + len(durations) for number in stated.values()] if isinstance(durations, list) else []
    known = {subject.rows, drafted, *stated.values(), *lasting} - {None}
    if known and rows not in known:
        said = [f"{key} is {number:,} in {config.file}" for key, number in stated.items()] if config is not None else []
        said += [f"the input table has {subject.rows:,} rows"] if subject.rows is not None else []
        yield Found(f"{tensor.name} has {rows:,} rows; {', '.join(said)}", file=tensor.shard, tensor=tensor.name)
    widths = {own} if config is None else {own, config.hidden_size, config.embedding_size}
    sizes = sorted(size for size in widths if size is not None)
    if sizes and width not in sizes and width not in {2 * size for size in sizes}:  # Reformer predicts from two streams
        message = f"the rows of {tensor.name} have {width:,} numbers, the model {some(sizes)}"
        yield Found(message, file=tensor.shard, tensor=tensor.name)
