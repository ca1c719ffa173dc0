"""Rules about params.json, the config of the original code, held against config.json and the table."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from embtool.configs.params import FIELDS, PARAMS, translate
from embtool.errors import EmbtoolError
from embtool.questions.check.rule import Found, Severity, rule
from embtool.questions.check.subject import Subject

COMPARED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size")
"""Fields that both files state in one number, beside theta."""


@rule(
    "params-differ",
    Severity.WARNING,
    "params.json says the same as config.json and the table",
    "transformers reads config.json, the original code and vLLM's mistral format params.json: one of them runs another "
    "model.",
    advice="find out which file is of these weights, and write the other one after it",
    threads=(
        "vllm-project/vllm#8168",
        "mistralai/mistral-inference#205",
        "vllm-project/vllm#19953",
    ),
)
def params_differ(subject: Subject) -> Iterator[Found]:
    raw = subject.small.json(PARAMS)
    stated = translate(raw)
    config = subject.config
    place, said = "the table", dict[str, Any]()
    if config is not None and config.file != PARAMS:
        place = config.file
        said = {name: getattr(config, name) for name in COMPARED if config.text.get(name) is not None}
        for section in (config.text, config.text.get("rope_parameters")):
            theta = section.get("rope_theta") if isinstance(section, Mapping) else None
            if isinstance(theta, int | float):
                said["rope_theta"] = theta
    elif subject.input is not None:
        with suppress(EmbtoolError):
            said = dict(zip(("vocab_size", "hidden_size"), subject.input.shape, strict=True))
    names = {FIELDS[key]: key for key in raw if key in FIELDS}
    for field, value in said.items():
        other = stated.get(field)
        if isinstance(other, int | float) and value is not None and other != value:
            own = names[field]
            yield Found(f"{own} is {other:,} in {PARAMS}, {field} is {value:,} in {place}", file=PARAMS, field=own)
