"""Rules about special tokens and positions: what configs and templates name."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from embtool.configs.config import Config
from embtool.configs.fields import LARGEST
from embtool.errors import ConfigError
from embtool.positions import Positions, Rope, read_positions
from embtool.questions.check.rule import Found, Severity, rule, some
from embtool.questions.check.subject import Subject
from embtool.vocabulary import Vocabulary

TEMPLATE_TOKEN = re.compile(
    r"<\|[^|<>{}\s]{1,60}\|>|<\uff5c[^\uff5c<>{}]{1,60}\uff5c>|</?(?:start|end|begin)_of_\w{1,40}>|\[\|[^|\[\]{}\s]{1,60}\|\]|"
    r"\[gMASK\]|<sop>|<bos>|<eos>"
)
"""Markers that are tokens wherever they are written, in the styles of public models."""

TEMPLATE_TAG = re.compile(r"</?[A-Za-z_]\w{0,40}>|\[/?[A-Z_]{2,40}\]")
"""Markers that can as well be mere text, such as `<think>` and `[INST]`: where one of a pair is a token, both are."""

ROPE_FIELDS = ("rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor")

SAME_TYPES = ({"su", "longrope"}, {"mrope", "default"})

COMPARED_FIELDS = ("rope_theta", "partial_rotary_factor", "rope_type", "factor", "original_max_position_embeddings")


@rule(
    "special-id",
    Severity.ERROR,
    "the token ids that the configs name have a row and a token",
    "Generation never stops, or begins with an index error, when the end or the beginning of a text is an id that the "
    "table or the tokenizer does not have.",
    advice="name the id of a token that is there",
)
def special_id(subject: Subject) -> Iterator[Found]:
    late = {identity for identity, _ in subject.small.late_tokens.values()}
    for special in subject.special_ids:
        where, identity, message = special.place, special.id, None
        if identity < 0 or (subject.rows is not None and identity >= subject.rows):
            message = f"{where} is {identity}, which is no row of the table"
        elif subject.vocabulary is not None and subject.vocabulary.token(identity) is None and identity not in late:
            message = f"{where} is {identity}, which no token of {subject.vocabulary.file} has"
        if message is not None:
            yield Found(message, (identity,), file=special.file, field=special.field)


@rule(
    "template-token",
    Severity.WARNING,
    "what the chat template writes as one token is one token",
    "A marker such as <|im_start|> that the tokenizer does not know is split into ordinary pieces: the model sees "
    "something else than it was trained on.",
    advice="write the markers that the tokenizer has, or add these to it and train their rows",
    threads=("ggml-org/llama.cpp#12196",),
)
def template_token(subject: Subject, vocabulary: Vocabulary) -> Iterator[Found]:
    has = vocabulary.has_piece
    late = subject.small.late_tokens
    found = dict.fromkeys(TEMPLATE_TOKEN.findall(subject.chat_template))
    for text in dict.fromkeys(TEMPLATE_TAG.findall(subject.chat_template)):
        partner = text.replace("/", "", 1) if "/" in text else f"{text[0]}/{text[1:]}"
        if has(partner):
            found[text] = None
    for text in found:
        if not has(text) and text not in late:
            message = f"the chat template writes {text}, which is not a token"
            yield Found(message, file=subject.small.template_file, field="chat_template")


@rule(
    "rope-invalid",
    Severity.ERROR,
    "the position settings can be read",
    "Settings that are missing, of a wrong type or of an unknown kind are treated as the default by some libraries and "
    "refused by others.",
    advice="take the RoPE settings of the model that this one was made from",
    threads=(
        "StartHua/Comfyui_CXH_joy_caption#35",
        "apache/tvm#18102",
    ),
)
def rope_invalid(config: Config) -> Iterator[Found]:
    try:
        read_positions(config)
    except ConfigError as error:
        yield Found(error.message)


@rule(
    "rope-conflict",
    Severity.ERROR,
    "the RoPE settings do not contradict each other",
    "Libraries read different fields: one that is stated twice with two values gives two models.",
    advice="state the field once, in rope_parameters for transformers 5",
)
def rope_conflict(config: Config) -> Iterator[Found]:
    for name, values in _stated(config.text).items():
        distinct = {json.dumps(value) for value in values.values()}
        if len(distinct) > 1 and set(map(str, values.values())) not in SAME_TYPES:
            said = " and ".join(f"{json.dumps(value)[:40]} in {place}" for place, value in values.items())
            yield Found(f"{name} is {said}")


def _stated(text: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Collect the fields that are stated in several places: for each the place and the value."""
    found: dict[str, dict[str, Any]] = {}
    for place in ("", "rope_parameters", "rope_scaling"):
        fields = text.get(place) if place else text
        if not isinstance(fields, Mapping):
            continue
        for name in COMPARED_FIELDS:
            if fields.get(name) is not None and (place or name in ROPE_FIELDS):
                found.setdefault(name, {})[f"{place or 'the config'}"] = fields[name]
        if place and fields.get("type") is not None:
            found.setdefault("rope_type", {})[f"{place} as type"] = fields["type"]
    return {
        name: {
            place: float(value) if type(value) is int and abs(value) < LARGEST else value
            for place, value in values.items()
        }
        for name, values in found.items()
        if len(values) > 1
    }


@rule(
    "rope-ignored",
    Severity.WARNING,
    "every RoPE setting in the file has an effect",
    "Somebody set it in the belief that it does something; other libraries may well use it.",
    advice="take it out, or set what does have the effect",
    needs=("config", "positions"),
)
def rope_ignored(subject: Subject) -> Iterator[Found]:
    if isinstance(subject.positions, Rope):
        for note in subject.positions.notes:
            if " is in the file, but " in note:
                yield Found(note)


@rule(
    "rope-unused",
    Severity.INFO,
    "a model without rotary positions states no RoPE settings",
    "They are left over from a default or from another model, and mislead whoever reads the file.",
    advice="take it out",
)
def rope_unused(config: Config, positions: Positions) -> Iterator[Found]:
    if isinstance(positions, Rope):
        return
    stated = [name for name in ROPE_FIELDS if config.text.get(name) is not None]
    if stated:
        yield Found(f"{some(stated)} in {config.file}, but positions are {positions.kind}")
