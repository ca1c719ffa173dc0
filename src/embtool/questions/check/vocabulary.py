"""Rules about the tokenizer: its files can be read and agree, its tokens are distinct, and it is this model's."""

import json
from collections import Counter
from collections.abc import Iterator

from embtool.answers.text import percent, plural
from embtool.configs.config import Config
from embtool.errors import EmbtoolError
from embtool.questions.check.rule import Found, Severity, ids_in_words, rule, some
from embtool.questions.check.shapes import is_foreign
from embtool.questions.check.subject import Subject
from embtool.tables.categories import padding_ids
from embtool.vocabulary import Vocabulary, read_vocabulary_file
from embtool.vocabulary.settings import TOKENIZER

OTHER_FILES = ("vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")
"""Files of older tokenizers, which lie beside tokenizer.json and are read by other programs."""


@rule(
    "damaged-config",
    Severity.ERROR,
    "the config can be read",
    "A loader stops at once. The other rules take the model as one without a config.",
    advice="fetch config.json again, or take it from the model that this one was made from",
)
def damaged_config(subject: Subject) -> Iterator[Found]:
    for error in subject.damage_of("config"):
        files = (file for file in ("adapter_config.json", "config.json") if file in error.message)
        yield Found(error.message, file=next(files, "config.json"), advice=error.hint)


@rule(
    "damaged-tokenizer",
    Severity.ERROR,
    "the tokenizer can be read",
    "No text can be turned into ids. The rules about tokens are left out.",
    advice="fetch the file again, or take it from the model that this one was made from",
    threads=(
        "turboderp/exllama#242",
        "turboderp/exllama#176",
    ),
)
def damaged_tokenizer(subject: Subject) -> Iterator[Found]:
    for error in subject.damage_of("tokenizer"):
        named = next((file for file in (TOKENIZER, *OTHER_FILES) if file in error.message), None)
        yield Found(error.message, file=named, advice=error.hint)


@rule(
    "damaged-small-file",
    Severity.ERROR,
    "the small files beside the config can be read",
    "What they say of special tokens, the chat template and generation is lost: some loaders stop, some go on without.",
    advice="fetch the file again, or write it anew: it is JSON",
)
def damaged_small_file(subject: Subject) -> Iterator[Found]:
    subject.small.special_ids, subject.small.special_texts, subject.chat_template  # noqa: B018 - reads them all
    for file, message in subject.small.unreadable.items():
        yield Found(message, file=file)


@rule(
    "foreign-tokenizer",
    Severity.WARNING,
    "the tokenizer has about as many tokens as the table has rows",
    "Rows without a token are padding only where they are few: this looks like the tokenizer of another model, whose "
    "ids read the wrong rows.",
    advice="take the tokenizer's files from the model that the table was trained with",
    measured="found from 10 % of the rows on, and more than 128 of them. Rows without a token: none in GPT-2, Llama 2, "
    "Falcon, BERT, 0.09 % in T5, 0.13 % in mini, 0.18 % in Qwen3, 0.26 % in Qwen2.5-7B, 1.8 % in Phi-1 (51,200 rows); "
    "with the tokenizer of another of them 23 % (GPT-2's for Falcon), 36 % (Llama 2's for GPT-2) and more",
    threads=(
        "HUBioDataLab/SELFormer#19",
        "huggingface/blog#140",
    ),
    needs=("input",),
)
def foreign_tokenizer(subject: Subject, vocabulary: Vocabulary) -> Iterator[Found]:
    assert subject.rows is not None
    padding = padding_ids(vocabulary, subject.rows)
    if is_foreign(len(padding), subject.rows):
        share = percent(len(padding) / subject.rows)
        message = f"{plural(len(padding), 'row')} of {subject.rows:,} ({share}) without a token in {vocabulary.file}"
        yield Found(message, padding, file=vocabulary.file)


@rule(
    "vocab-sizes-differ",
    Severity.WARNING,
    "the config states one vocab_size",
    "Libraries read one place or the other, and make tables of different sizes.",
    advice="write the number of rows in both places",
)
def vocab_sizes_differ(config: Config) -> Iterator[Found]:
    top, text = config.raw.get("vocab_size"), config.text.get("vocab_size")
    if config.text_path and type(top) is int and type(text) is int and top != text:
        inner = ".".join((*config.text_path, "vocab_size"))
        message = f"vocab_size is {top:,} at the top of {config.file}, {inner} is {text:,}"
        yield Found(message, file=config.file, field="vocab_size")


def _duplicates(subject: Subject, *, added: bool) -> Iterator[Found]:
    """Yield the pieces that several ids have; `added` includes those of tokens added beside the vocabulary."""
    assert subject.vocabulary is not None
    left_out = frozenset() if added else frozenset(subject.vocabulary.added_ids.tolist())
    pieces = [(identity, piece) for identity, piece in subject.vocabulary.pieces() if identity not in left_out]
    several = {piece for piece, count in Counter(piece for _, piece in pieces).items() if count > 1}
    ids: dict[str, list[int]] = {}
    for identity, piece in pieces:
        if piece in several:
            ids.setdefault(piece, []).append(identity)
    if ids:
        named = some(f"{piece!r} ({', '.join(map(str, same))})" for piece, same in ids.items())
        message = f"{plural(len(ids), 'piece')} with more than one id: {named}"
        yield Found(message, [each for same in ids.values() for each in same], file=subject.vocabulary.file)


@rule(
    "duplicate-token",
    Severity.WARNING,
    "every token has one id, and every id one token",
    "Of two ids with one token only one is ever given to a model; the other row is never trained, or never reached. "
    "Of two tokens with one id one is lost.",
    advice="rename the one that is not used, such as to [unused1], in the tokenizer's file",
    needs=("vocabulary",),
)
def duplicate_token(subject: Subject) -> Iterator[Found]:
    if subject.is_gguf:
        return
    twice = subject.small.shadowed
    if twice:
        named = some(f"{piece!r} ({', '.join(map(str, ids))})" for piece, ids in twice.items())
        ids = [each for same in twice.values() for each in same]
        yield Found(f"{plural(len(twice), 'piece')} with more than one id: {named}", ids, file=TOKENIZER)
    elif subject.vocabulary is not None and subject.vocabulary.file != TOKENIZER:
        yield from _duplicates(subject, added=False)
    pieces = subject.small.tokenizer_json.get("model", {}).get("vocab")
    if isinstance(pieces, dict):
        shared = sorted(identity for identity, count in Counter(pieces.values()).items() if count > 1)
        if shared:
            message = f"{plural(len(shared), 'id')} with more than one piece: {ids_in_words(shared)}"
            yield Found(message, shared, file=TOKENIZER, field="model.vocab")


@rule(
    "gguf-duplicate-token",
    Severity.ERROR,
    "no two tokens of a GGUF file have the same text",
    "llama.cpp stops when it loads the file: GGML_ASSERT(id_to_token.size() == token_to_id.size()).",
    advice="rename one of them in the tokenizer of the model, such as to [PAD296], and convert it again",
    threads=(
        "ggml-org/llama.cpp#25739",
        "ggml-org/llama.cpp#18500",
        "ggml-org/llama.cpp#413",
    ),
    needs=("vocabulary", "gguf"),
)
def gguf_duplicate_token(subject: Subject) -> Iterator[Found]:
    yield from _duplicates(subject, added=True)


@rule(
    "added-id",
    Severity.WARNING,
    "added tokens get the ids that tokenizer.json says",
    "The tokenizers library numbers added tokens itself when it loads the file: what is already in the vocabulary "
    "keeps its id there, others get the next free one. Programs that believe the file read other rows.",
    advice="let the library write the file anew, with the table's rows in the order of the ids that it gives",
    threads=(
        "huggingface/tokenizers#1528",
        "EricLBuehler/mistral.rs#329",
        "ggml-org/llama.cpp#3583",
        "ggml-org/llama.cpp#23466",
        "unslothai/unsloth#3416",
    ),
    needs=("vocabulary",),
)
def added_id(subject: Subject) -> Iterator[Found]:
    state = subject.small.tokenizer_json
    pieces = state.get("model", {}).get("vocab")
    known = dict(pieces) if isinstance(pieces, dict) else {}
    if isinstance(pieces, list):
        known = {entry[0]: place for place, entry in reversed(list(enumerate(pieces))) if isinstance(entry, list)}
    size, given = len(pieces or ()), dict[str, int]()
    moved: list[tuple[str, int, int]] = []
    listed = state.get("added_tokens")
    for entry in listed if isinstance(listed, list) else ():
        content, said = entry.get("content"), entry.get("id")
        last = max(given.values(), default=-1)
        following = last + 1 if last >= size else size
        given[content] = known.get(content, given.get(content, following))
        if given[content] != said:
            moved.append((content, said, given[content]))
    if moved:
        named = some(f"{content!r} (file {said}, library {got})" for content, said, got in moved)
        message = f"{plural(len(moved), 'added token')} with another id in the tokenizers library: {named}"
        yield Found(message, [got for *_, got in moved], file=TOKENIZER, field="added_tokens")


@rule(
    "late-token",
    Severity.WARNING,
    "the special tokens that files name are in the tokenizer",
    "transformers adds such a token when it loads the tokenizer, at the next free id, and so takes over a row that was "
    "padding; programs that read the tokenizer's file alone split it into ordinary pieces.",
    advice="name a token that is there, or add it in the tokenizer's own file and train its row",
    threads=(
        "OpenRLHF/OpenRLHF#87",
        "jzhang38/TinyLlama#41",
        "meta-llama/llama#481",
    ),
)
def late_token(subject: Subject, vocabulary: Vocabulary) -> Iterator[Found]:
    rows = subject.rows
    for text, (identity, place) in subject.small.late_tokens.items():
        if rows is None or identity < rows:
            message = f"{place} is {text!r}, which {vocabulary.file} does not have: it gets id {identity:,}"
            yield Found(message, (identity,), file=place.rpartition(" in ")[2], field=place.partition(" in ")[0])


@rule(
    "tokenizers-differ",
    Severity.WARNING,
    "all files of the tokenizer give the same ids",
    "Programs choose differently among them: the same text is other ids, and so other rows.",
    advice="remove the files that are out of date; embtool, transformers and vLLM read tokenizer.json first, "
    "llama.cpp's converters tokenizer.model",
    threads=(
        "ggml-org/llama.cpp#5838",
        "ymcui/Chinese-LLaMA-Alpaca#737",
        "ggml-org/llama.cpp#1764",
    ),
    needs=("vocabulary",),
)
def tokenizers_differ(subject: Subject) -> Iterator[Found]:
    words = subject.vocabulary
    assert words is not None
    if words.file != TOKENIZER:
        return
    for file in OTHER_FILES:
        if not subject.source.has(file):
            continue
        own = {piece: identity for identity, piece in words.pieces()}
        other = _ids_of(subject, file)
        shared = {piece: identity for piece, identity in other.items() if piece in own}
        shifts = Counter(identity - own[piece] for piece, identity in shared.items())
        usual = shifts.most_common(1)[0][0] if shifts else 0
        moved = [piece for piece, identity in shared.items() if identity - own[piece] != usual]
        if moved and len(moved) > FEW_MOVED * len(shared):
            named = some(f"{piece!r} is {own[piece]} and {other[piece]}" for piece in moved)
            message = f"{file} gives {plural(len(moved), 'token')} another id than {TOKENIZER}: {named}"
            yield Found(message, [own[piece] for piece in moved], file=file)


FEW_MOVED = 0.01
"""Share of tokens that an older file may number otherwise: a wrapper's own special tokens."""


def _ids_of(subject: Subject, file: str) -> dict[str, int]:
    """Read the ids of an older tokenizer's file; none where it cannot be read here."""
    try:
        if file == "vocab.json":
            pieces = json.loads(subject.source.read_file(file))
            return {piece: identity for piece, identity in pieces.items() if type(identity) is int}
        if file == "vocab.txt":
            lines = subject.source.read_file(file).decode().removesuffix("\n").split("\n")
            return {line.rstrip("\r"): identity for identity, line in enumerate(lines)}
        return {piece: identity for identity, piece in read_vocabulary_file(subject.source, file).pieces()}
    except (EmbtoolError, ValueError, RecursionError, AttributeError):
        return {}
