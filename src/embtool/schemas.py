"""The shape of every JSON document that embtool prints, as a table, and as JSON Schema (draft 2020-12).

A shape is written as the document looks: a dict for an object, a list of one for an array, a text for a value. Texts
are types of JSON, several with `|` between them; a `?` at the end allows null. A key that ends in `?` may be missing;
`...` says that other keys may stand there, of the shape given, or of any. A tuple lists shapes of which one fits.

Keys named here are API. A document may hold more than its schema names, and a reader must not mind.

To add a document: name it in `SHAPES`; a command with several kinds has one entry for each, `command-kind`.
"""

from collections.abc import Mapping
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Shape = str | dict[str, Any] | list[Any] | tuple[Any, ...]

TOKEN: dict[str, Any] = {"id": "integer?", "piece": "string?", "token": "string?", "bytes": "string?"}
QUERY: dict[str, Any] = {"query": "string", **TOKEN}
RANKED: dict[str, Any] = {"rank": "integer", **TOKEN, "score": "number?"}
NUMBERS = ["number?"]
IDS = ["integer"]

LAYER: dict[str, Any] = {
    "layer_type": "string",
    "layer_count": "integer?",
    "layers": (IDS, "null"),
    "rope_type": "string",
    "rope_theta": "number?",
    "head_dim": "integer",
    "rotary_dim": "integer",
    "layout": "string?",
    "rotated_part": "string",
    "direction": "string",
    "attention_factor": "number",
    "mrope_section": (IDS, "null"),
    "mrope_order": "string?",
    "origins": {"...": "string"},
    "...": "any",
}
PAIRS: dict[str, Any] = {
    **LAYER,
    "mrope_axes": (["string"], "null"),
    "precision": "string",
    "inv_freq": NUMBERS,
    "wavelength": NUMBERS,
    "unfinished_pairs": (IDS, "null"),
}
TURNED: dict[str, Any] = {
    "position": ("integer", IDS),
    "query?": "string",
    **{f"{key}?": shape for key, shape in TOKEN.items()},
    "head?": "integer",
    "angle": NUMBERS,
    "cos": NUMBERS,
    "sin": NUMBERS,
    "vector": (NUMBERS, "null"),
    "rotated": (NUMBERS, "null"),
}
ROPE: dict[str, Any] = {
    "model": "string?",
    "precision": "string",
    "layers": [
        {
            **PAIRS,
            "positions": [TURNED],
            "relative?": [
                {"layer_type": "string", **dict.fromkeys("mn", "integer"), "distance": "integer", "dot": "number"}
            ],
        }
    ],
}

MODEL: dict[str, Any] = {
    "model": "string",
    "revision": "string?",
    "commit": "string?",
    "architecture": "string?",
    "model_type": "string?",
    "hidden_size": "integer?",
    "format": "string?",
    "shards": "integer",
    "tables": [
        {
            "role": "string",
            "tensor": "string",
            "file": "string",
            "shape": IDS,
            "stored_shape": IDS,
            "dtype": "string",
            "bytes": "integer",
            "bits_per_weight": "number?",
        }
    ],
    "tied": ({"config": "boolean?", "stored": "string", "verdict": "string", "origin": "string?"}, "null"),
    "vocabulary": (
        {
            "file?": "string",
            "rows": "integer?",
            "tokens": "integer?",
            "added": "integer?",
            "padding_rows": "integer?",
            "padding": ([IDS], "null"),
            "tokens_without_row?": "integer",
        },
        "null",
    ),
    "position": (
        {
            "kind": "string",
            "context_length": "integer?",
            "layers": [LAYER],
            "nope_layers": IDS,
            "origins": {"...": "string"},
            "notes": ["string"],
            "embedding_scale": ({"...": "any"}, "null"),
            "...": "any",
        },
        "null",
    ),
    "cost": {"requests": "integer", "bytes": "integer"},
}

READ: dict[str, Any] = {
    "position": "integer",
    **TOKEN,
    "token_norm": "number?",
    "position_norm": "number?",
    "norm": "number?",
    "cosine": "number?",
    "angle?": NUMBERS,
    "values": NUMBERS,
}
MATCHED: dict[str, Any] = {
    **TOKEN,
    "position": "integer?",
    "position_against": "integer?",
    "rows_equal": "boolean?",
    "inputs_equal": "boolean?",
    "cosine": "number?",
    "distance": "number?",
}

ABOUT: dict[str, Any] = {"model": "string", "table": "string"}
TALLY: dict[str, Any] = {
    "section": "string",
    **dict.fromkeys(("correct", "asked", "skipped"), "integer"),
    "accuracy": "number?",
}
STATISTICS: dict[str, Any] = {
    **ABOUT,
    "tensor": "string",
    "rows": "integer",
    "width": "integer",
    "norm": (
        {**dict.fromkeys(("mean", "deviation", "least", "greatest"), "number"), "percentiles": {"...": "number"}},
        "null",
    ),
    "mean_row": {"norm": "number?", "share": "number?"},
    "average_cosine": "number?",
    "spectrum": (
        {"effective_rank": "number?", "exact": "boolean", "variance": "number?", "shares": NUMBERS},
        "null",
    ),
    "zero": {"count": "integer", "ids": IDS},
    "nonfinite": {"count": "integer", "ids": IDS},
    "duplicates": {"groups": "integer", "rows": "integer", "largest": [{"count": "integer", "ids": IDS}]},
    "shortest": [{**TOKEN, "norm": "number"}],
    "longest": [{**TOKEN, "norm": "number"}],
}
ENTRY: dict[str, Any] = {
    **dict.fromkeys(("kind", "model", "file", "about"), "string?"),
    "bytes": "integer",
    "modified": "string",
    "path": "string",
}
QUESTION: dict[str, Any] = {
    "told": ["string"],
    "kind": "string",
    "ask": "string",
    "choices": ["string"],
    "unit": "string?",
    "answer": "number|string",
    "shown": "string",
    "lines": ["string"],
    "commands": ["string"],
}
STEP: dict[str, Any] = {
    "number": "integer",
    **dict.fromkeys(("name", "title", "asks"), "string"),
    "done": "boolean",
    "done_on": "string?",
    "right": "integer?",
    "asked": "integer?",
    "recall": (QUESTION, "null"),
    "questions": [QUESTION],
}

SHAPES: dict[str, Shape] = {
    "info": (MODEL, {"models": [MODEL]}),
    "tokens": (
        {"model": "string", "tokens": [{"position": "integer", **TOKEN}]},
        {"model": "string", "texts": [{"text": "string", "tokens": [{"position": "integer", **TOKEN}]}]},
    ),
    "vocab": (
        {"model": "string", "tokens": [{**TOKEN, "category": "string"}]},
        {"model": "string", "counts": [{"category": "string", "tokens": "integer", "meaning": "string"}]},
    ),
    "row": {
        **ABOUT,
        "tensor": "string",
        "dtype": "string",
        "rows": [{**QUERY, "ids?": IDS, "norm": "number?", "values": NUMBERS}],
    },
    "neighbors": {
        **ABOUT,
        "against": "string",
        "metric": "string",
        "queries": [{**QUERY, "neighbors": [RANKED]}],
    },
    "similarity": {**ABOUT, "items": [QUERY], "cosine": [NUMBERS], "dot": [NUMBERS], "euclidean": [NUMBERS]},
    "calc": {
        **ABOUT,
        "metric": "string",
        "normalized": "boolean",
        "queries": [
            {"query": "string", "terms": [{"sign": "number", **QUERY, "rank": "integer?"}], "neighbors": [RANKED]}
        ],
    },
    "odd": {**ABOUT, "metric": "string", "items": [{"rank": "integer", **QUERY, "score": "number?"}]},
    "analogy": (
        {**ABOUT, "metric": "string", "file": "string", "sections": [TALLY], "total": TALLY},
        {
            **ABOUT,
            "metric": "string",
            "file": "string",
            "questions": [
                {
                    **dict.fromkeys(("section", "first", "second", "third", "fourth"), "string"),
                    "answer": "string?",
                    "id": "integer?",
                    "score": "number?",
                    "correct": "boolean?",
                }
            ],
        },
    ),
    "map": {
        **ABOUT,
        "basis": "string",
        "shares": NUMBERS,
        "kept": "number?",
        "table_shares": (NUMBERS, "null"),
        "points": [{"query": "string", "rank": "integer?", **TOKEN, "x": "number", "y": "number"}],
    },
    "check": (
        {
            "model": "string",
            "deep": "boolean",
            "findings": [{"rule": "string", "severity": "string", "message": "string", "ids": IDS}],
            "looked": ["string"],
            "skipped": ["string"],
        },
        {"rules": [{"rule": "string", "severity": "string", "deep": "boolean", "summary": "string", "why": "string"}]},
    ),
    "diff": {
        **dict.fromkeys(("a", "b", "table", "by", "rank"), "string"),
        "rows": dict.fromkeys(("a", "b", "same", "changed", "only_a", "only_b", "reassigned", "not_finite"), "integer"),
        "median": dict.fromkeys(("relative", "distance", "cosine"), "number?"),
        "differences": [
            {
                "status": "string",
                "rank": "integer?",
                **TOKEN,
                "id_b": "integer?",
                "token_b": "string?",
                **dict.fromkeys(("distance", "relative", "cosine", "outlying"), "number?"),
            }
        ],
    },
    "norms": (
        STATISTICS,
        {
            **ABOUT,
            "rows": [
                {"query?": "string", **TOKEN, "norm": "number?", "percentile?": "number?", "shorter?": "integer?"}
            ],
        },
    ),
    "undertrained": {
        **ABOUT,
        "indicator": "string",
        "why": "string",
        "verified": "boolean",
        "reference": {"...": "integer"},
        "tokens": [
            {
                "rank": "integer",
                **TOKEN,
                "category": "string",
                "score": "number",
                "percentile": "number",
                "reference": "string?",
                "within": ["string"],
            }
        ],
    },
    "rope": (
        {
            **ROPE,
            "context_length": "integer?",
            "inverse": "boolean",
            "sequence_length": "integer?",
            "nope_layers": IDS,
            "notes": ["string"],
        },
        ROPE,
    ),
    "rope-compare": {
        "models": [
            {
                "model": "string?",
                "context_length": "integer?",
                "layers": [{**PAIRS, "context_length": "integer?", "longest_wavelength": "number?"}],
            }
        ],
        "differences": [{"layer_type": "string", "field": "string", "a": "any", "b": "any", "equal": "boolean"}],
    },
    "input": (
        {"model": "string", "position_kind": "string", "scale": "number", "rows": [READ]},
        {
            "model": "string",
            "position_kind": "string",
            "scale": "number",
            "rows": [READ],
            "against": {"rows": [READ]},
            "pairs": [MATCHED],
        },
    ),
    "learn": {"model": "string", "steps": [STEP]},
    "schema": {"schemas": [{"command": "string", "document": "string", "about": "string"}]},
    "cache-ls": {"entries": [ENTRY]},
    "cache-rm": {"entries": [ENTRY]},
    "cache-verify": {"entries": [{**ENTRY, "verdict": "string"}]},
    "use": {"model": "string", "why": "string", "file": "string"},
    "plan": {
        "ranges": [
            {
                "model": "string",
                "file": "string",
                **dict.fromkeys(("start", "stop", "bytes", "missing"), "integer?"),
                "cached": "boolean",
                "path": "string?",
            }
        ]
    },
}
"""Every document, by the name in its `schema`; the version is 1."""

FILES_ONLY = frozenset({"export"})
"""Commands that print no document: they write files."""

MEANINGS = {
    "angle": "how far each pair has turned, in radians, less than a turn",
    "answer": "a number, the place of a choice counted from 0, or a text",
    "bytes": "of a token: its exact bytes in hexadecimal; of a file, a table or a range: how many",
    "context_length": "the longest sequence the model is made for, in tokens",
    "cosine": "cosine of the angle between two rows; null where one is zero",
    "dtype": "how numbers are stored",
    "id": "token id, which is the row's number",
    "inv_freq": "radians per token, a number for each pair",
    "metric": "how nearness is measured: cosine, dot or euclidean",
    "model": "the model, as it was named",
    "norm": "Euclidean length of a row; statistics of all of them where a table is described",
    "padding": "ranges of rows that no token has, each [first, last]",
    "percentile": "share of rows that are lower, in percent",
    "piece": "the tokenizer's own spelling; null for a row that no token has",
    "query": "what was typed",
    "rank": "place in the ranking, from 1",
    "score": "by the metric; null where a row has none",
    "table": "the role of the table asked",
    "tensor": "its name in the checkpoint",
    "token": "the decoded text, which can be lossy for a part of a character",
    "values": "the numbers, in full precision",
    "wavelength": "tokens for one turn, a number for each pair; null for a pair that stands still",
}
"""What keys mean, wherever they stand."""


def documents(command: str) -> list[str]:
    """List the documents that a command prints, by their names; a document's own name is one too."""
    return [name for name in SHAPES if name == command or name.startswith(f"{command}-")]


def schema(command: str) -> dict[str, Any]:
    """Make the JSON Schema of what a command prints with --json.

    Raises:
        KeyError: it prints no document.
    """
    names = documents(command)
    if not names:
        raise KeyError(command)
    variants = [variant for name in names for variant in _variants(name)]
    return {
        "$schema": DIALECT,
        "title": f"embtool {command} --json",
        **(variants[0] if len(variants) == 1 else {"anyOf": variants}),
    }


def _variants(name: str) -> list[dict[str, Any]]:
    shape = SHAPES[name]
    shapes = shape if isinstance(shape, tuple) else (shape,)
    found = [to_schema(entry) for entry in shapes]
    for entry in found:
        entry["properties"] = {"schema": {"const": f"embtool/{name}@1"}, **entry["properties"]}
        entry["required"] = ["schema", *entry["required"]]
    return found


def to_schema(shape: Shape) -> dict[str, Any]:
    """Turn a shape into a schema.

    >>> to_schema(["integer?"])
    {'type': 'array', 'items': {'type': ['integer', 'null']}}
    """
    if isinstance(shape, str):
        return _of_type(shape)
    if isinstance(shape, list):
        return {"type": "array", "items": to_schema(shape[0])}
    if isinstance(shape, tuple):
        return {"anyOf": [to_schema(entry) for entry in shape]}
    return _of_object(shape)


def _of_type(text: str) -> dict[str, Any]:
    if text == "any":
        return {}
    types = [*text.removesuffix("?").split("|"), *(["null"] if text.endswith("?") else [])]
    return {"type": types[0] if len(types) == 1 else types}


def _of_object(shape: Mapping[str, Any]) -> dict[str, Any]:
    keys = [key for key in shape if key != "..."]
    properties = {}
    for key in keys:
        name = key.removesuffix("?")
        meaning = MEANINGS.get(name)
        properties[name] = {**({} if meaning is None else {"description": meaning}), **to_schema(shape[key])}
    found = {
        "type": "object",
        "properties": properties,
        "required": [key for key in keys if not key.endswith("?")],
    }
    return {**found, "additionalProperties": to_schema(shape["..."])} if "..." in shape else found
