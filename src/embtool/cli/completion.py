"""What can be completed on a command line: models, tokens, tables and names; `shells` brings it to a shell.

Each function here is named as the `autocompletion` of an argument or option, and gives values with a help text. None of
them asks a network or reads much: tokens are offered only where the model's token index exists, or is made in a moment.
What else a shell may offer, files, is left in the context's `meta` under `FILES`.

Tokens are strings of strangers. One that holds a character which a terminal would obey, or no reader can see, is not
offered by its text.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from embtool.errors import EmbtoolError
from embtool.settings import BUNDLED_MODELS, choose_model
from embtool.storage.cache import cache_root, shared_cache
from embtool.storage.places import is_folder, is_there

if TYPE_CHECKING:
    from embtool.vocabulary import Token, Vocabulary

Offers = list[tuple[str, str]]
"""Values, each with its help text."""

FILES = "embtool.files"
"""The key in a context's `meta`: `files` lets the shell complete any file, `models` those that can be a model."""

MOST = 50
"""Tokens that are offered at a time: what fits on a screen."""

LOOKED_AT = 1000
"""Tokens that are ranked: those with the lowest ids, which tokenizers learned first."""

FORMS = {"id:": "a row number", "piece:": "the tokenizer's own spelling", "bytes:": "bytes, in hexadecimal"}

TABLES = {
    "input": "turns token ids into vectors",
    "output": "turns the last vector into scores of tokens",
    "position": "one row for each position",
}


def choices(*values: str) -> Callable[[str], list[str]]:
    """Make a completion of fixed values."""

    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def files(ctx: typer.Context) -> Offers:
    """Leave it to the shell: the value is a file."""
    ctx.meta[FILES] = "files"
    return []


def tables() -> Offers:
    """Offer the roles of tables."""
    return list(TABLES.items())


def kept_models() -> Offers:
    """Offer the models of embtool's own cache."""
    from embtool.hub.inventory import model_names  # noqa: PLC0415 - only where a model is completed

    with contextlib.suppress(EmbtoolError):  # a cache that may not be read
        return [(name, "in embtool's cache") for name in sorted(model_names(cache_root()))]
    return []


def models(ctx: typer.Context, incomplete: str) -> Offers:
    """Offer the bundled models and those in the caches; the shell adds local files and folders."""
    from embtool.hub.inventory import shared_names  # noqa: PLC0415 - only where a model is completed

    ctx.meta[FILES] = "models"
    shared: Offers = []
    with contextlib.suppress(EmbtoolError):
        shared = [(name, "in the Hugging Face cache") for name in sorted(shared_names(shared_cache()))]
    named = {**dict.fromkeys(BUNDLED_MODELS, "comes with embtool"), **dict(kept_models()), **dict(shared)}
    scheme = "hf://" if incomplete.startswith("hf://") else ""
    return [(scheme + name, where) for name, where in named.items() if not (scheme and name in BUNDLED_MODELS)]


def tokens(ctx: typer.Context, incomplete: str) -> Offers:
    """Offer tokens of the model that was named, or of the default one, the most useful first."""
    typed = ctx.params.get("tokens")
    if ctx.info_name == "rope" and typed and typed[0] == "compare":
        return models(ctx, incomplete)
    forms = [(form, about) for form, about in FORMS.items() if form.startswith(incomplete) and form != incomplete]
    vocabulary = _vocabulary(ctx.params)
    if vocabulary is None:
        return forms
    form, colon, rest = incomplete.partition(":")
    find = {"id": _ids, "piece": _pieces, "bytes": _bytes}.get(form) if colon else None
    if find is not None:
        return find(vocabulary, rest)[:MOST]
    return [*_texts(vocabulary, incomplete, exact=bool(ctx.params.get("exact")))[: MOST - len(forms)], *forms]


def _vocabulary(given: dict[str, Any]) -> "Vocabulary | None":
    """Read the tokens of the model meant, if that is quick."""
    from embtool.vocabulary.files import read_quickly  # noqa: PLC0415 - only where a token is completed

    named = given.get("models") or given.get("model")
    try:
        reference = (named if isinstance(named, str) else named[-1]) if named else choose_model()[0]
        folder = _folder(reference, given.get("revision"))
        return None if folder is None else read_quickly(folder)
    except (EmbtoolError, OSError, ValueError, RuntimeError):  # no such model, no such user, a broken tokenizer
        return None


def _folder(reference: str, revision: str | None) -> Path | None:
    """Tell where the tokenizer of a model is on this machine; None where it has none beside it."""
    if reference in BUNDLED_MODELS:
        return Path(__file__).parent.parent / "bundled" / reference
    path = Path(reference).expanduser()
    if is_there(path):
        folder = path if is_folder(path) else path.parent
        return folder if is_folder(path) or path.name.endswith((".safetensors", ".index.json")) else None
    from embtool.hub.inventory import shared_snapshot  # noqa: PLC0415 - only where a model of the hub is named
    from embtool.hub.reference import parse_reference  # noqa: PLC0415 - as above

    parsed = parse_reference(reference)
    whole = parsed.file is None or parsed.file.endswith(".safetensors")
    return shared_snapshot(shared_cache(), parsed.repo_id, revision or parsed.revision or "main") if whole else None


def _texts(vocabulary: "Vocabulary", typed: str, *, exact: bool) -> Offers:
    """Offer tokens by what is typed for them: their text, or the text without the space that is tried before it."""
    found: dict[str, Token] = {}
    words: set[str] = set()
    if not (exact or typed.startswith(" ")):
        for token in _beginning(vocabulary, " " + typed):
            found.setdefault(token.text[1:], token)
            words.add(token.text[1:])
    found |= {token.text: token for token in _beginning(vocabulary, typed)}  # a token of just that text comes first
    offered = [text for text in found if text and not text.startswith((*FORMS, "-", "+"))]
    offered.sort(key=lambda text: (text != typed, not text.strip().isalpha(), text not in words, found[text].id))
    return [(text, _about(found[text])) for text in offered]


def _beginning(vocabulary: "Vocabulary", text: str) -> "Iterator[Token]":
    for token in vocabulary.beginning(text.encode("utf-8", "surrogatepass"), LOOKED_AT):
        if token.text.startswith(text) and _is_plain(token.text):
            yield token


def _ids(vocabulary: "Vocabulary", digits: str) -> Offers:
    """Offer the rows whose numbers begin with these digits."""
    if digits and not (digits.isascii() and digits.isdecimal()):
        return []
    last = vocabulary.id_ranges[-1][1] if len(vocabulary) else -1
    if not digits or digits == "0":
        numbers = list(range(10)) if not digits else [0]
    else:
        begun = int(digits)
        numbers = [begun * 10**power + more for power in range(len(str(last))) for more in range(10**power)][: 2 * MOST]
    found = [vocabulary.token(number) for number in numbers if number <= last and str(number).startswith(digits)]
    return [(f"id:{token.id}", _name(token)) for token in found if token is not None]


def _pieces(vocabulary: "Vocabulary", spelled: str) -> Offers:
    """Offer tokens by the tokenizer's own spelling."""
    found = [token for token in vocabulary.beginning_piece(spelled, LOOKED_AT) if _is_plain(token.piece)]
    found.sort(key=lambda token: (token.piece != spelled, token.id))
    return [(f"piece:{token.piece}", _about(token)) for token in found]


def _bytes(vocabulary: "Vocabulary", digits: str) -> Offers:
    """Offer tokens by their bytes, once one is typed."""
    try:
        begun = bytes.fromhex(digits[: len(digits) // 2 * 2])
    except ValueError:
        return []
    found = vocabulary.beginning(begun, LOOKED_AT) if begun else []
    return [(f"bytes:{token.bytes.hex()}", _about(token)) for token in found if token.bytes.hex().startswith(digits)]


def _is_plain(text: str) -> bool:
    """Tell whether a text can be typed and read as it is."""
    from embtool.answers.text import visible  # noqa: PLC0415 - only where a token is completed

    shown = visible(text).replace("\\\\", "\\")
    return shown == text.replace(" ", "␣") and "\ufffd" not in text and "␣" not in text


def _name(token: "Token") -> str:
    from embtool.answers.text import brief  # noqa: PLC0415 - as above

    return brief(token.text)


def _about(token: "Token") -> str:
    return f"row {token.id:,} {_name(token)}"
