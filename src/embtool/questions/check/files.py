"""Rules about files, sizes and tying."""

from collections.abc import Iterator

from embtool.answers.text import plural, size
from embtool.arrays import np
from embtool.configs.config import Config
from embtool.errors import EmbtoolError, FileNotInModel, FormatError
from embtool.formats import foreign_below
from embtool.positions import Learned
from embtool.questions.check.rule import Found, Severity, ids_in_words, rule, some
from embtool.questions.check.shapes import is_foreign
from embtool.questions.check.subject import Subject
from embtool.questions.check.surveys import Surveys
from embtool.storage.checkpoint import Checkpoint
from embtool.tables.categories import padding_ids
from embtool.tables.table import has_too_many_rows
from embtool.tables.table_diff import align_by_id, compare_tables
from embtool.tables.table_roles import PREDICTS, Tables
from embtool.tables.unknown_tables import hint_of_candidates
from embtool.vocabulary import Vocabulary


@rule(
    "missing-shard",
    Severity.ERROR,
    "every shard that the index names is there",
    "A checkpoint without one of its shards cannot be loaded; an upload or a download was probably cut off.",
    advice="fetch the files that are missing, or save the model again",
)
def missing_shard(subject: Subject, checkpoint: Checkpoint) -> Iterator[Found]:
    missing = [shard for shard in checkpoint.shards if not subject.source.has(shard)]
    if missing:
        known = {*checkpoint.shards, "model.safetensors.index.json"}
        files = [file for file in subject.source.files() if "/" not in file and file.endswith(".safetensors")]
        others = [file for file in files if file not in known]
        beside = f"; {plural(len(others), 'file')} there that the index does not name: {some(others)}" if others else ""
        message = f"{plural(len(missing), 'shard')} of {len(checkpoint.shards)} not there: {some(missing)}"
        stale = (
            "the index is that of another saving: write it anew, or fetch the files that it names" if others else None
        )
        yield Found(message + beside, file=missing[0], advice=stale)


@rule(
    "damaged-shard",
    Severity.ERROR,
    "every shard's header fits the file and the index",
    "A truncated file or a header that contradicts the index gives wrong numbers or a crash in the middle of a load.",
    advice="delete the file and fetch it again, or save the model again",
)
def damaged_shard(subject: Subject) -> Iterator[Found]:
    told = [error.message for error in subject.broken if isinstance(error, FormatError)]
    if subject.tables is not None:
        told += [
            f"{table.tensor.name} has {table.tensor.shape[0]:,} rows: no vocabulary has so many"
            for table in filter(has_too_many_rows, subject.tables.stored)
        ]
    for name in () if subject.checkpoint is None else subject.checkpoint.names:
        try:
            subject.checkpoint.tensor(name)  # type: ignore[union-attr]
        except FileNotInModel:
            continue  # that is a missing shard
        except FormatError as error:
            told.append(error.message)
    for message in dict.fromkeys(told):
        yield Found(message)


@rule(
    "missing-table",
    Severity.ERROR,
    "there is an input table",
    "Without a table that turns token ids into vectors nothing can be run; the tensors may have unusual names.",
    advice="if a tensor under another name is the table, `--table NAME` reads it; else save the model again, "
    "with its embeddings",
    threads=(
        "huggingface/transformers#34759",
        "huggingface/lerobot#1529",
    ),
    needs=("has_input",),
)
def missing_table(subject: Subject) -> Iterator[Found]:
    if subject.checkpoint is None:
        other = foreign_below(subject.source)
        why = "the files that hold the tables were perhaps not uploaded"
        yield Found(f"no weights here: {why if other is None else other}")
    elif not subject.has_input and subject.output is not None:
        name = subject.output.tensor.name
        message = f"only the output table is stored ({name}), and it does not say that the two are tied"
        yield Found(message, tensor=name, file=subject.output.tensor.shard)
    elif not subject.has_input and not (subject.recorded and not subject.recorded.input):
        sizes = () if subject.vocabulary is None else (len(subject.vocabulary),)
        found = [] if subject.tables is None else subject.tables.candidates(*sizes)
        if found:
            message = f"no tensor is named like a table of tokens; {hint_of_candidates(found)}"
            yield Found(message, tensor=found[0].name, file=found[0].shard)
        else:
            yield Found("no tensor looks like a table from token ids to vectors")


@rule(
    "tokens-beyond-table",
    Severity.ERROR,
    "every token id has a row",
    "A text with such a token ends in an index error, on a GPU often without a word about why. "
    "Tokens were added to the tokenizer and the table was not resized.",
    advice="call model.resize_token_embeddings(len(tokenizer)) and save the model, or take the tokens out of "
    "the tokenizer",
    threads=(
        "OpenNMT/CTranslate2#1415",
        "lm-sys/FastChat#153",
        "huggingface/transformers#24899",
        "ggml-org/llama.cpp#5910",
        "OpenRLHF/OpenRLHF#87",
        "jzhang38/TinyLlama#41",
    ),
)
def tokens_beyond_table(subject: Subject, vocabulary: Vocabulary) -> Iterator[Found]:
    said = subject.config.vocab_size if subject.config is not None else None
    rows = subject.rows if subject.rows is not None else said
    if rows is None or vocabulary.implied:
        return
    late = {identity for identity, _ in subject.small.late_tokens.values()}
    beyond = [each for each in vocabulary.ids[vocabulary.ids >= rows].tolist() if each not in late]
    where = "the table has" if subject.rows is not None else "the config says"
    if beyond:
        message = f"{plural(len(beyond), 'token')} beyond the last row, {where} {rows:,} rows: {ids_in_words(beyond)}"
        yield Found(message, beyond, file=vocabulary.file)
    for text, (identity, place) in subject.small.late_tokens.items():
        if identity >= rows:
            message = f"{place} is {text!r}, which {vocabulary.file} does not have: it gets id {identity:,}"
            yield Found(f"{message}, {where} {rows:,} rows", (identity,), file=place.rpartition(" in ")[2])


@rule(
    "padding-rows",
    Severity.INFO,
    "every row has a token",
    "Rows without a token are usual: tables are padded for speed. But a model can predict such a row, and a tokenizer "
    "that decodes it fails; and tokens added later take these rows over, with what is in them.",
    advice="nothing, where the table was padded on purpose",
    needs=("input",),
)
def padding_rows(subject: Subject, vocabulary: Vocabulary) -> Iterator[Found]:
    assert subject.rows is not None
    told = {identity for identity, _ in subject.small.late_tokens.values()}  # by late-token, and by duplicate-token
    told |= {identity for ids in subject.small.shadowed.values() for identity in ids}
    padding = [row for row in padding_ids(vocabulary, subject.rows) if row not in told]
    if padding and not is_foreign(len(padding), subject.rows):
        yield Found(
            f"{plural(len(padding), 'row')} of {subject.rows:,} without a token: {ids_in_words(padding)}", padding
        )


@rule(
    "vocab-size",
    Severity.ERROR,
    "the config's vocab_size is the number of rows",
    "A library that makes the table by the config and then loads the tensor finds another shape, and refuses or "
    "initialises the rest at random.",
    advice="write the number of rows into config.json, or resize the table to vocab_size",
    needs=("input",),
)
def vocab_size(subject: Subject, config: Config) -> Iterator[Found]:
    stated = config.vocab_size
    by_design = subject.recorded is not None and subject.recorded.extra_rows > 0
    if by_design and stated is not None and subject.rows is not None and subject.rows > stated:
        return
    # A model of sound may have as many rows for each channel or codebook.
    counts = [value for key, value in config.text.items() if key.endswith(("num_channels", "num_codebooks"))]
    if stated is not None and subject.rows in [stated * number for number in counts if type(number) is int]:
        return
    if stated is not None and stated != subject.rows:
        yield Found(f"vocab_size is {stated:,} in {config.file}, the table has {subject.rows:,} rows")


@rule(
    "table-width",
    Severity.ERROR,
    "the rows are as wide as the config says",
    "The first layer expects vectors of hidden_size numbers, or of embedding_size where rows are projected first.",
    advice="take config.json and weights from one model",
    needs=("input",),
)
def table_width(subject: Subject, config: Config) -> Iterator[Found]:
    assert subject.input is not None
    stated = config.embedding_size or config.hidden_size
    try:
        width = subject.input.shape[1]
    except EmbtoolError:
        return
    by_design = subject.recorded is not None and subject.recorded.own_width
    if stated is not None and width != stated and not by_design:
        yield Found(f"the rows have {width:,} numbers, {config.file} says {stated:,}")


@rule(
    "position-rows",
    Severity.ERROR,
    "a learned position table has a row for every position",
    "A text as long as max_position_embeddings promises ends in an index error.",
    advice="write the number of rows that the table has into config.json",
    needs=("config", "positions"),
)
def position_rows(subject: Subject, tables: Tables) -> Iterator[Found]:
    if not isinstance(subject.positions, Learned) or subject.positions.rows is None:
        return
    for table in tables.stored:
        if table.role == "position" and table.tensor.shape[0] < subject.positions.rows:
            rows = table.tensor.shape[0]
            yield Found(f"{table.tensor.name} has {rows:,} rows, the config needs {subject.positions.rows:,}")


@rule(
    "tied-but-different",
    Severity.ERROR,
    "tables tied by the config are the same if both are stored",
    "A library that ties them throws one of the two away, and which one differs between libraries: the model that "
    "is run is not the model that was trained.",
    advice="set tie_word_embeddings to false and save again, if both tables were trained; else leave the "
    "second one out",
    threads=(
        "huggingface/transformers#45127",
        "unslothai/unsloth#1971",
        "unslothai/unsloth#9331",
    ),
)
def tied_but_different(subject: Subject, tables: Tables) -> Iterator[Found]:
    tying = tables.tying
    if tying.config is not True or tying.stored != "both":
        return
    if subject.recorded is not None and subject.recorded.tied is None and not subject.recorded.heads:
        return  # its class does not tie, whatever its config says
    if tying.verdict == "untied" or (subject.surveys is not None and not _identical(subject, subject.surveys)):
        yield Found("the config says tied, but input and output table are stored both and differ")


@rule(
    "untied-but-identical",
    Severity.WARNING,
    "tables that the config says are untied differ",
    "Two equal tables take twice the memory for nothing, and training moves them apart: the config was probably not "
    "saved with tie_word_embeddings.",
    advice="set tie_word_embeddings to true and save again",
    deep=True,
)
def untied_but_identical(subject: Subject, tables: Tables, surveys: Surveys) -> Iterator[Found]:
    tying = tables.tying
    if tying.config is not True and tying.stored == "both" and _identical(subject, surveys):
        yield Found("the config does not say tied, but input and output table hold the same numbers")


def _identical(subject: Subject, surveys: Surveys) -> bool:
    """Compare both stored tables: by the lengths of their rows, which tell most, and by their numbers."""
    assert subject.tables is not None
    pair = [table for table in subject.tables.stored if table.role in ("input", "output")]
    if len({table.tensor.shape for table in pair}) != 1:
        return False
    if len({table.tensor.dtype.name for table in pair}) == 1:
        lengths, others = (surveys.of(table).norms for table in pair)
        if not np.array_equal(lengths, others, equal_nan=True):
            return False
    one, other = pair
    return bool(compare_tables(one, other, align_by_id(len(one), len(other))).same.all())


@rule(
    "stored-twice",
    Severity.INFO,
    "tied tables are stored once",
    "Some loaders stop at a name that a tied model has no place for (vLLM: KeyError 'lm_head.weight', MLX: parameters "
    "not in model), and the file is larger for nothing.",
    advice="save the model anew with a current transformers, which leaves the second one out",
    threads=(
        "vllm-project/vllm#6758",
        "sgl-project/sglang#2935",
        "ml-explore/mlx-lm#1298",
    ),
)
def stored_twice(subject: Subject, tables: Tables) -> Iterator[Found]:
    tying = tables.tying
    if tying.config is True and tying.stored == "both" and tying.verdict == "tied":
        if subject.surveys is not None and not _identical(subject, subject.surveys):
            return  # that is tied-but-different
        second = next(table.tensor for table in tables.stored if table.role == "output")
        message = f"the config says tied, and {second.name} is stored too: {size(second.nbytes)} twice"
        yield Found(message, file=second.shard, tensor=second.name)


@rule(
    "missing-output-table",
    Severity.ERROR,
    "a model that predicts tokens has an output table",
    "The output table would be initialised at random, and the model predicts nonsense.",
    advice="set tie_word_embeddings to true if the input table is used for both; else save the model again, "
    "with its head",
    needs=("has_output",),
)
def missing_output_table(subject: Subject, config: Config, tables: Tables) -> Iterator[Found]:
    architecture = config.architecture or ""
    headless = subject.recorded is not None and architecture in subject.recorded.headless
    predicts = PREDICTS.search(architecture) is not None and not headless
    tying = tables.tying
    if predicts and tying.config is False and tying.stored == "input":
        yield Found(f"{architecture} needs an output table; none is stored, and the config says that it is not tied")
