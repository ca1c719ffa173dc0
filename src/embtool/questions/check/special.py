"""Rules about the beginning and the end of texts, and padding: the files that name them agree."""

from collections.abc import Iterator

from embtool.questions.check.rule import Found, Severity, rule
from embtool.questions.check.small_files import GENERATION, TOKENIZER_CONFIG
from embtool.questions.check.subject import Subject
from embtool.vocabulary import Vocabulary

TURN_ENDS = (
    *("<|im_end|>", "<|eot_id|>", "<|eot|>", "<end_of_turn>", "<turn|>", "<|end|>", "<|return|>", "<|end_of_turn|>"),
    *("<|END_OF_TURN_TOKEN|>", "<|endofturn|>", "[|endofturn|]", "<|eom_id|>", "<|end_of_role|>", "<|user_end|>"),
)
"""Tokens that end a turn, in the templates of public models."""

NORMAL = 1
"""Value of tokenizer.ggml.token_type of an ordinary token; a token that is never text has 3."""


def _places(subject: Subject, kind: str) -> dict[str, set[int]]:
    """Return the ids of a kind, such as eos, by the place that names them; those that no token has are left out."""
    words = subject.vocabulary
    assert words is not None
    named = subject.small.ids_of(f"{kind}_token_id")
    known = {file: {identity for identity in ids if words.token(identity) is not None} for file, ids in named.items()}
    found = {f"{kind}_token_id in {file}": ids for file, ids in known.items() if ids}
    for special in subject.small.special_texts:
        if special.kind == f"{kind}_token" and words.has_piece(special.text):
            found.setdefault(special.place, set()).add(words.find_piece(special.text).id)
    return found


def _disagreeing(subject: Subject, kind: str) -> Iterator[Found]:
    """Yield one finding where two places name tokens of which they have none in common."""
    places = _places(subject, kind)
    sets = list(places.values())
    if all(one & other for one in sets for other in sets):
        return
    said = "; ".join(f"{place} is {_named(subject, ids)}" for place, ids in places.items())
    ids = sorted(set().union(*sets))
    first = next(iter(places))
    yield Found(said, ids, file=first.rpartition(" in ")[2], field=first.partition(" in ")[0])


def _named(subject: Subject, ids: set[int]) -> str:
    """Name tokens by id and text."""
    assert subject.vocabulary is not None
    tokens = [(identity, subject.vocabulary.token(identity)) for identity in sorted(ids)]
    return ", ".join(f"{identity} ({'no token' if token is None else repr(token.text)})" for identity, token in tokens)


@rule(
    "eos-differs",
    Severity.WARNING,
    "all files name the same end of a text",
    "Programs read different files: where the token that the model was taught to end with is not the one that is "
    "waited for, generation runs on and repeats itself.",
    advice="name the token that ends a turn in eos_token_id of generation_config.json and config.json, several in a "
    "list, and in eos_token of tokenizer_config.json",
    threads=(
        "huggingface/transformers#17431",
        "Blaizzy/mlx-vlm#2112",
        "raullenchai/Rapid-MLX#546",
        "huggingface/transformers#31362",
        "ml-explore/mlx-lm#1414",
    ),
    needs=("vocabulary", "generates"),
)
def eos_differs(subject: Subject) -> Iterator[Found]:
    yield from _disagreeing(subject, "eos")


@rule(
    "bos-differs",
    Severity.WARNING,
    "all files name the same beginning of a text",
    "A text that begins with another token than in training is read worse, by programs that take the id from a config.",
    advice="write the id of tokenizer_config.json's bos_token into config.json and generation_config.json",
    threads=("salesforce/CodeGen#32",),
    needs=("vocabulary", "generates"),
)
def bos_differs(subject: Subject) -> Iterator[Found]:
    yield from _disagreeing(subject, "bos")


@rule(
    "pad-differs",
    Severity.INFO,
    "all files name the same padding",
    "A batch is filled with one token and another is masked: what stands in between is read as text, or left out of "
    "the loss.",
    advice="write the id of tokenizer_config.json's pad_token into config.json and generation_config.json",
    needs=("vocabulary", "generates"),
)
def pad_differs(subject: Subject) -> Iterator[Found]:
    yield from _disagreeing(subject, "pad")


@rule(
    "turn-end",
    Severity.INFO,
    "what ends a turn in the chat template ends a text",
    "A chat model whose turns end with a token that is not waited for talks on, in the user's voice; a base model that "
    "merely carries a template is sound.",
    advice="add the token's id to eos_token_id of generation_config.json",
    threads=(
        "Blaizzy/mlx-vlm#2112",
        "huggingface/transformers#31362",
    ),
    needs=("generates",),
)
def turn_end(subject: Subject, vocabulary: Vocabulary) -> Iterator[Found]:
    stops = set().union(*subject.small.ids_of("eos_token_id").values(), *_places(subject, "eos").values())
    written = [text for text in TURN_ENDS if text in subject.chat_template and vocabulary.has_piece(text)]
    ends = {text: vocabulary.find_piece(text).id for text in written}
    if stops and ends and not stops & set(ends.values()):
        ids = sorted(ends.values())
        message = (
            f"the chat template ends turns with {', '.join(ends)}, and the end of a text is {_named(subject, stops)}"
        )
        yield Found(message, ids, file=subject.small.template_file, field="chat_template")


@rule(
    "ordinary-eos",
    Severity.WARNING,
    "the end of a text is a special token",
    "An ordinary piece of text ends the generation wherever it occurs, and the token that the model learned never "
    "does.",
    advice=f"look up the token that ends a text, in {TOKENIZER_CONFIG} or the model's card, and name its id in "
    f"{GENERATION} and config.json; a GGUF file needs its type set to control",
    threads=(
        "huggingface/transformers#17431",
        "salesforce/CodeGen#32",
        "ggml-org/llama.cpp#17071",
    ),
    needs=("generates",),
)
def ordinary_eos(subject: Subject, vocabulary: Vocabulary) -> Iterator[Found]:
    types = subject.metadata.get("tokenizer.ggml.token_type")
    added = set(vocabulary.added_ids.tolist())
    stated = {special.text for special in subject.small.special_texts}
    for special in subject.special_ids:
        token = vocabulary.token(special.id) if special.kind == "eos_token_id" else None
        if token is None or token.piece in stated:
            continue
        if subject.is_gguf:
            ordinary = types is not None and special.id < len(types) and int(types[special.id]) == NORMAL
        else:
            ordinary = vocabulary.file == "tokenizer.json" and bool(added) and special.id not in added
        if ordinary:
            message = f"{special.place} is {special.id}, {token.text!r}, an ordinary token"
            yield Found(message, (special.id,), file=special.file, field=special.field)
