"""Rules about adapters: what they bring fits their base, and a loader takes all of it."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

from embtool.adapters.adapted import table_of
from embtool.adapters.description import Adapter
from embtool.answers.text import plural, size
from embtool.questions.check.rule import Found, Severity, ids_in_words, rule, some
from embtool.questions.check.subject import Subject
from embtool.references import PATH_LIKE

SIDES = 2


@rule(
    "adapter-rows",
    Severity.WARNING,
    "what an adapter brings fits its base's rows",
    "PEFT stops with a size mismatch where the tables differ, or with an index out of range: the tokenizer was "
    "enlarged for the adapter, and the base is loaded as it was.",
    advice="call resize_token_embeddings on the base, with the adapter's number of rows, before the adapter is loaded",
    threads=("unslothai/unsloth#978", "huggingface/peft#1457", "huggingface/peft#2290", "hiyouga/LlamaFactory#3154"),
)
def adapter_rows(subject: Subject, adapter: Adapter, base: Subject) -> Iterator[Found]:
    tables = base.tables
    if tables is None:
        return
    for change in adapter.changes:
        table = table_of(change, tables)
        if table is None or len(table.tensor.shape) != SIDES:
            continue
        rows = table.tensor.shape[0]
        first = next(iter(change.parts.values()))
        if change.rows is not None and change.rows != rows:
            message = f"{change.module} is made for {change.rows:,} rows, that of {base.name} has {rows:,}"
            yield Found(message, file=first.shard, tensor=first.name)
        late = [identity for identity in change.ids if identity >= rows]
        if late:
            message = f"{change.module} has rows for tokens beyond the {rows:,} rows of {base.name}"
            yield Found(f"{message}: {ids_in_words(late)}", late, file=first.shard, tensor=first.name)
    if subject.rows is None and subject.vocabulary is not None and base.rows is not None:
        beyond = [each for each in subject.vocabulary.ids.tolist() if each >= base.rows]
        if beyond:
            message = f"{plural(len(beyond), 'token')} of its tokenizer beyond the {base.rows:,} rows"
            words = f"{message} of {base.name}, and it brings no rows for them: {ids_in_words(beyond)}"
            yield Found(words, beyond, file=subject.vocabulary.file)


@rule(
    "adapter-module",
    Severity.ERROR,
    "an adapter changes tables that its base has",
    "An adapter made for another class of the model names other modules: PEFT loads it without them, and says so in a "
    "warning at most.",
    advice="take the base and the class of model that the adapter was made for",
    threads=("huggingface/peft#1579", "huggingface/peft#2566", "huggingface/peft#3110"),
)
def adapter_module(adapter: Adapter, base: Subject) -> Iterator[Found]:
    tables = base.tables
    if tables is None:
        return
    for change in adapter.changes:
        if table_of(change, tables) is None:
            first = next(iter(change.parts.values()))
            message = f"it changes {change.module}, which {base.name} does not have"
            yield Found(message, file=first.shard, tensor=first.name)


@rule(
    "adapter-ids",
    Severity.ERROR,
    "every row of a token that an adapter brings has an id",
    "Which token a row belongs to stands in adapter_config.json alone: PEFT stops where they are not as many.",
    advice="write the ids of the training into trainable_token_indices, in its order",
    threads=("vllm-project/vllm#36501", "huggingface/peft#2376", "huggingface/peft#2864"),
)
def adapter_ids(adapter: Adapter) -> Iterator[Found]:
    for change in adapter.changes:
        tensor = change.tokens
        if tensor is None:
            continue
        rows = tensor.shape[0] if tensor.shape else 0
        twice = sorted(identity for identity, times in Counter(change.ids).items() if times > 1)
        place = partial(Found, file="adapter_config.json", field="trainable_token_indices", tensor=tensor.name)
        if rows != len(change.ids):
            listed = f"adapter_config.json lists {plural(len(change.ids), 'id')}"
            yield place(f"{tensor.name} has {plural(rows, 'row')}, and {listed}")
        elif twice:
            yield place(f"trainable_token_indices lists {ids_in_words(twice)} twice", twice)


@rule(
    "adapter-names",
    Severity.ERROR,
    "tensors of an adapter are named as its loader expects them",
    "PEFT saves tensors without the adapter's name, and passes over those that have it in theirs: the adapter loads, "
    "and does nothing.",
    advice="save it with save_pretrained, or take the adapter's name (such as .default) out of the names",
    threads=("huggingface/diffusers#11675", "huggingface/peft#2699"),
)
def adapter_names(adapter: Adapter) -> Iterator[Found]:
    names = adapter.misnamed
    if names:
        message = f"{plural(len(names), 'tensor')} with the adapter's name in theirs: {some(names)}"
        yield Found(message, file=adapter.checkpoint.tensor(names[0]).shard, tensor=names[0])


@rule(
    "adapter-empty",
    Severity.ERROR,
    "no tensor of an adapter is empty or flat",
    "ZeRO-3 and FSDP leave placeholders where pieces were not gathered before saving: the adapter cannot be loaded.",
    advice="gather the weights when saving: stage3_gather_16bit_weights_on_model_save, or FSDP's full state dict",
    threads=("huggingface/peft#1443", "huggingface/peft#1710", "OpenRLHF/OpenRLHF#651"),
)
def adapter_empty(adapter: Adapter) -> Iterator[Found]:
    tensors = (adapter.checkpoint.tensor(name) for name in adapter.checkpoint.names)
    flat = [
        tensor
        for tensor in tensors
        if 0 in tensor.shape or (len(tensor.shape) < SIDES and tensor.name.endswith(MATRICES))
    ]
    if flat:
        first = flat[0]
        shape = " × ".join(map(str, first.shape)) or "scalar"
        message = f"{plural(len(flat), 'tensor')} that hold no matrix: {first.name} has the shape [{shape}]"
        yield Found(message, file=first.shard, tensor=first.name)


MATRICES = ("lora_embedding_A", "lora_embedding_B", "lora_A.weight", "lora_B.weight", "trainable_tokens_delta")
"""Ends of the names of tensors that have rows and columns."""


@rule(
    "adapter-copies",
    Severity.INFO,
    "an adapter holds a table once",
    "PEFT saves a table two or three times over where it was resized and is in modules_to_save: the file is larger for "
    "nothing.",
    advice="leave the copies out, or pass save_embedding_layers=False to save_pretrained",
    threads=("huggingface/trl#1287", "huggingface/peft#1314"),
)
def adapter_copies(adapter: Adapter) -> Iterator[Found]:
    unused = [tensor for change in adapter.changes for tensor in change.unused]
    if unused:
        taken = size(sum(tensor.nbytes for tensor in unused))
        message = (
            f"{plural(len(unused), 'copy', 'copies')} of tables, {taken}: {some(tensor.name for tensor in unused)}"
        )
        yield Found(message, file=unused[0].shard, tensor=unused[0].name)


@rule(
    "adapter-tying",
    Severity.WARNING,
    "an adapter of a tied model changes both tables, or none",
    "One table of the base reads and predicts tokens; under the adapter they are two. Merged, the model keeps the flag "
    "tie_word_embeddings, and the next load throws one of them away.",
    advice="train with ensure_weight_tying=True, or write tie_word_embeddings: false when merging",
    threads=("huggingface/peft#2777", "huggingface/transformers#45127", "unslothai/unsloth#9331"),
)
def adapter_tying(adapter: Adapter, base: Subject) -> Iterator[Found]:
    tables = base.tables
    if tables is None or tables.tying.verdict != "tied" or adapter.ties:
        return
    changed = [  # rows of single tokens are changed in both tables
        change
        for change in adapter.changes
        if change.role in ("input", "output") and (change.whole is not None or change.low_rank is not None)
    ]
    if len(changed) == 1:
        first = next(iter(changed[0].parts.values()))
        message = f"{base.name} is tied, and the adapter changes {changed[0].module} alone"
        yield Found(message, file=first.shard, tensor=first.name)


@rule(
    "adapter-base",
    Severity.INFO,
    "an adapter names a base that others can load",
    "AutoPeftModel, vLLM and hubs find the base by its name in adapter_config.json: a path of the machine that trained "
    "it leads nowhere else.",
    advice="write the repository of the base into base_model_name_or_path",
)
def adapter_base(adapter: Adapter) -> Iterator[Found]:
    base = adapter.base
    if adapter.stands_alone:
        return
    if base is None:
        yield Found("no base is named", file="adapter_config.json", field="base_model_name_or_path")
    elif PATH_LIKE.search(base):
        message = f"its base is a place on one machine: {base}"
        yield Found(message, file="adapter_config.json", field="base_model_name_or_path")
