"""What a user types to name a model of the hub: `org/name`, `org/name@revision`, `hf://org/name@revision/file`.

A reference is checked here, before anything is asked of a server: the rules for a repository's name are those of
huggingface_hub (https://huggingface.co/docs/huggingface_hub/package_reference/hf_uris), the rules for a revision those
of git (https://git-scm.com/docs/git-check-ref-format).
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from embtool.errors import BadReference, FormatError
from embtool.storage.source import check_file_name

SCHEME = "hf://"

REPOSITORY = re.compile(r"(?:[A-Za-z0-9](?:[\w.-]*\w)?/)?[A-Za-z0-9_](?:[\w.-]*\w)?", re.ASCII)
REPOSITORY_LIMIT = 96
"""Characters; the hub's own limit."""

REVISION = re.compile(r"[^\s\x00-\x20\x7f~^:?*\[\\]+")
REVISION_LIMIT = 255
"""Characters; a branch is a file name on the server."""

COMMIT = re.compile(r"[0-9a-f]{40}")

SHOWN = 100
"""Characters of a bad reference that an error quotes."""

OTHER_KINDS = ("datasets", "spaces", "buckets", "kernels")


@dataclass(frozen=True)
class Reference:
    """A repository of the hub, at a revision if one was named, and one file of it if one was named."""

    repo_id: str
    revision: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{SCHEME}{self.repo_id}{revision}/{self.file}" if self.file else f"{self.repo_id}{revision}"


def parse_reference(text: str) -> Reference:
    """Read what a user typed as the name of a repository; nothing is asked of any server.

    Raises:
        BadReference: it cannot be the name of a repository, of a revision, or of a file.

    >>> parse_reference("Qwen/Qwen3.6-27B@main")
    Reference(repo_id='Qwen/Qwen3.6-27B', revision='main', file=None)
    >>> parse_reference("hf://org/name@refs/pr/1/model.gguf")
    Reference(repo_id='org/name', revision='refs/pr/1', file='model.gguf')
    """
    if text.startswith(SCHEME):
        return _parse_address(text)
    repo_id, at, revision = text.partition("@")
    return Reference(check_repository(repo_id), check_revision(revision) if at else None)


def check_repository(repo_id: str) -> str:
    """Return the name of a repository, or refuse it.

    Raises:
        BadReference: it is not `name` or `org/name`.
    """
    if (
        len(repo_id) > REPOSITORY_LIMIT
        or not REPOSITORY.fullmatch(repo_id)
        or "--" in repo_id
        or ".." in repo_id
        or repo_id.endswith(".git")
    ):
        raise BadReference(
            f"not the name of a model on the hub: {repo_id[:SHOWN]!r}",
            hint="write org/name, org/name@revision, or the path of a local folder",
        )
    return repo_id


def check_revision(revision: str) -> str:
    """Return the name of a branch, tag or commit, or refuse it.

    Raises:
        BadReference: git would not allow it.
    """
    parts = revision.split("/")
    if (
        len(revision) > REVISION_LIMIT
        or not REVISION.fullmatch(revision)
        or not revision.isprintable()
        or ".." in revision
        or "@{" in revision
        or revision == "@"
        or revision.startswith("-")
        or revision.endswith(".")
        or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts)
    ):
        raise BadReference(
            f"not the name of a revision: {revision[:SHOWN]!r}", hint="a revision is a branch, a tag or a commit"
        )
    return revision


def _parse_address(text: str) -> Reference:
    """Read `hf://org/name[@revision][/file]`; a `/` in the revision is written `%2F`, except in `refs/pr/1`."""
    rest = text.removeprefix(SCHEME)
    owner, _, below = rest.partition("/")
    if owner in OTHER_KINDS:
        raise BadReference(f"not a model: {text[:SHOWN]!r}", hint="embtool reads models, not datasets or spaces")
    if "@" in owner or not below:
        return parse_reference(rest)
    name, slash, file = below.partition("/")
    name, at, revision = name.partition("@")
    if at and revision == "refs" and file.count("/") >= 1:
        kind, number, *path = file.split("/", 2)
        revision, file = f"refs/{kind}/{number}", path[0] if path else ""
        slash = "/" if path else ""
    if slash and not file:
        raise BadReference(f"no file is named after the last slash: {text[:SHOWN]!r}")
    try:
        checked_file = check_file_name(file, said_by="the reference") if file else None
    except FormatError as error:
        raise BadReference(f"not the name of a file: {file[:SHOWN]!r}") from error
    return Reference(
        check_repository(f"{owner}/{name}"), check_revision(unquote(revision)) if at else None, checked_file
    )
