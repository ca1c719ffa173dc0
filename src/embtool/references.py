"""What a user's word for a model means: something bundled, a folder, a file, a folder of one, or a repository."""

import os
import re
from pathlib import Path

from embtool.errors import BadReference, EmbtoolError, FormatError, ModelNotFound
from embtool.formats import OPENERS, PICKLES, check_named_file
from embtool.formats.folders import hint_of_folders
from embtool.opening import Reach
from embtool.settings import BUNDLED, BUNDLED_MODELS
from embtool.storage.places import expand, is_folder, is_there_or_elsewhere
from embtool.storage.source import Below, Folder, Source, check_file_name

PATH_LIKE = re.compile(r"^(\.{0,2}[/\\]|~|\.{1,2}$|[A-Za-z]:[/\\])|[/\\]$|\\|^[^/]*/[^/]*/")
"""References that can only mean a local path: they are never sent to the hub."""

FILE_LIKE = (*OPENERS, ".index.json", *PICKLES)
"""Ends of references that name a file, which no repository's name has."""

ENCODER = "text_encoder"
"""How diffusers names the folders of text encoders; a number follows from the second on."""

SIGNS_OF_MODELS = ("config.json", "tokenizer.json")


def is_model(path: Path) -> bool:
    """Return whether something local can be opened as a model: a file of a kind that is, or a folder with its files."""
    try:
        source, file = find_source(path, Reach())
        names = source.files() if file is None else (file,)
    except EmbtoolError:
        return False
    return any(name in SIGNS_OF_MODELS or name.endswith(tuple(OPENERS)) for name in names)


def listed(line: str | Path) -> str:
    """Return the name of a model as a line of a list has it: without space around it, or the mark of a text's encoding.

    Raises:
        TypeError: it is neither a text nor a path.
    """
    return os.fspath(line).strip().removeprefix("\ufeff").lstrip()


def find_source(reference: str | Path, reach: Reach) -> tuple[Source, str | None]:
    """Find where a model is, and which file of that it is, if it is one."""
    text = str(reference)
    if not text:
        raise BadReference("the name of a model is empty")
    if text in BUNDLED_MODELS and not isinstance(reference, Path):
        return Folder(bundled_folder(text), text), None
    is_hub = text.startswith("hf://") and not isinstance(reference, Path)
    if (
        "#" in text
        and not isinstance(reference, Path)
        and (is_hub or not is_there_or_elsewhere(expand(text), is_path=False))
    ):
        return _find_below(text, reach), None
    is_path = isinstance(reference, Path) or (not is_hub and (PATH_LIKE.search(text) or text.endswith(FILE_LIKE)))
    if not is_hub and is_there_or_elsewhere(path := expand(text), is_path=bool(is_path)):
        if is_folder(path):
            return Folder(path, text), None
        source: Source = Folder(path.parent, text, named=path.name)
        if path.name == SIGNS_OF_MODELS[0]:  # named itself it stands for its folder
            return source, None
        return source, check_named_file(source, path.name)
    if is_path:
        raise ModelNotFound(f"no such file or folder: {text}")
    from embtool.hub import HubSource  # noqa: PLC0415 - the network stack is loaded only where a hub model is named

    source = HubSource(text, **vars(reach))
    return source, None if source.file is None else check_named_file(source, source.file)


def tokenizer_beside(source: Source) -> tuple[Source, str] | None:
    """Find the tokenizer of a pipeline's text encoder: `../tokenizer` of `text_encoder`, where diffusers puts it.

    Return it with its folder's name; None where there is none.
    """
    if isinstance(source, Below):
        whole, path = source.whole, source.folder
    elif isinstance(source, Folder) and source.named is None:
        place = source.folder.absolute()
        if not place.name.startswith(ENCODER):
            return None
        whole, path = Folder(place.parent, source.name), place.name
    else:
        return None
    above, _, name = path.rpartition("/")
    start = f"{above}/" if above else ""
    if not name.startswith(ENCODER) or not whole.has(f"{start}model_index.json"):
        return None
    beside = f"tokenizer{name.removeprefix(ENCODER)}"
    found = Below(whole, f"{start}{beside}", source.name)
    return (found, beside) if found.files() else None


def base_reference(named: str, source: Source) -> str:
    """Return how the base that an adapter names is opened: that of a repository is one, never a place here.

    Raises:
        BadReference: an adapter of a repository names a place on its author's machine.
    """
    if source.local:
        return named
    if PATH_LIKE.search(named) or named.endswith(FILE_LIKE):
        raise BadReference(
            f"{source.name} is an adapter of {named!r}, a place on the machine of who made it",
            hint="name its base: --base MODEL",
        )
    return named if named.startswith("hf://") else f"hf://{named}"


def _find_below(text: str, reach: Reach) -> Source:
    """Find a folder of a model, `MODEL#FOLDER`.

    Raises:
        BadReference: it cannot be the name of a folder, or what is before it is a file.
        ModelNotFound: the model is on this machine and has no such folder.
    """
    name, _, folder = text.partition("#")
    folder = folder.strip("/")
    try:
        check_file_name(folder, said_by="the reference")
    except FormatError as error:
        raise BadReference(f"not the name of a folder of {name}: {folder!r}") from error
    whole, file = find_source(name, reach)
    if file is not None:
        raise BadReference(f"{name} is a file: it has no folders")
    found = Below(whole, folder, text)
    if whole.local and not found.files():
        raise ModelNotFound(f"{name} has no folder {folder}", hint=hint_of_folders(whole))
    return found


def bundled_folder(name: str = BUNDLED) -> Path:
    """Return where a bundled model is."""
    return Path(__file__).with_name("bundled") / name
