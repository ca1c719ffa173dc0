"""What a server or the network says, as embtool's errors.

Two ways in: an HTTP status with its headers, and an exception of the HTTP library, known by the name of its class, so
that nobody loads that library to word an error. Foreign text is cut here and escaped where it is printed.
"""

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from embtool.errors import (
    AccessDenied,
    EmbtoolError,
    FileNotInModel,
    FormatError,
    LocalFailure,
    ModelNotFound,
    Unreachable,
)
from embtool.hub.endpoint import Endpoint
from embtool.storage.cache import NotOurs

FOREIGN_TEXT = 200
"""Characters of a server's message that are passed on: enough for every real one."""

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that may be gone at the next attempt."""

NOT_A_HUB = "does not answer like a Hugging Face endpoint (captive portal, proxy, wrong HF_ENDPOINT?)"

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of a disk, a quota or a file size limit that is reached."""


@dataclass(frozen=True)
class Asked:
    """What was asked for, to be named in an error."""

    endpoint: Endpoint
    repo_id: str
    revision: str
    file: str | None = None
    sent_token: bool = False
    withheld_token: bool = False

    def __str__(self) -> str:
        return f"{self.file} of {self.repo_id}" if self.file else self.repo_id


def cut(text: str) -> str:
    """Shorten a foreign text to what an error may quote."""
    return text if len(text) <= FOREIGN_TEXT else f"{text[:FOREIGN_TEXT]}…"


def from_status(status: int, headers: Mapping[str, str], asked: Asked) -> EmbtoolError:
    """Translate a status of the hub that is not a success.

    The codes are those that https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/utils/_http.py
    tells apart; 401 is what the hub answers for an unknown repository to somebody without a token.
    """
    code = headers.get("x-error-code", "")
    if code not in CODES and status == NOT_FOUND and headers.get("x-repo-commit"):
        code = "EntryNotFound"  # the revision is there
    said = cut(headers.get("x-error-message", ""))
    is_odd = (code == "RepoNotFound" and status == UNAUTHORIZED) or (code == "EntryNotFound" and asked.file is None)
    if code in CODES and not is_odd:
        return CODES[code](asked)
    if status == NOT_FOUND:
        hint = f"asked {asked.endpoint.shown}, which did not say what is missing"
        return ModelNotFound(f"not found: {asked} at revision {asked.revision}", hint=hint)
    if status in (UNAUTHORIZED, FORBIDDEN):
        return _from_refusal(status, said, asked)
    what = f"{asked.endpoint.shown} answered {status} for {asked}{_quote(said)}"
    if status == LEGAL_REASONS:
        return AccessDenied(what)
    if status in RETRIED or status == PROXY_WANTS_PASSWORD:
        return Unreachable(what, hint="try again later" if status in RETRIED else "name the user in HTTPS_PROXY")
    return FormatError(what)


CODES: dict[str, Callable[[Asked], EmbtoolError]] = {
    "GatedRepo": lambda asked: AccessDenied(
        f"{asked.repo_id} is gated: its owner wants to know who reads it",
        hint=f"ask for access at {asked.endpoint.page_url(asked.repo_id)}, then log in: hf auth login",
    ),
    "RevisionNotFound": lambda asked: ModelNotFound(f"{asked.repo_id} has no revision {asked.revision}"),
    "EntryNotFound": lambda asked: FileNotInModel(f"{asked.repo_id} has no file {asked.file}"),
    "RepoNotFound": lambda asked: ModelNotFound(
        f"no such repository: {asked.repo_id}", hint="if it is private, the token must be of somebody who may read it"
    ),
}
"""What the hub says in `X-Error-Code`."""

UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
PROXY_WANTS_PASSWORD = 407
LEGAL_REASONS = 451


def _from_refusal(status: int, said: str, asked: Asked) -> EmbtoolError:
    if "disabled" in said:
        return AccessDenied(f"{asked.repo_id} was disabled by the hub")
    if asked.withheld_token:
        hint = f"the token was not sent: {asked.endpoint.shown} is plain http, and anyone on the way could read it"
    elif asked.sent_token:
        hint = "the token that was sent is not known or may not read it: hf auth login, or check HF_TOKEN"
    else:
        hint = "if it is private or gated, log in: hf auth login, or set HF_TOKEN"
    if status == UNAUTHORIZED:
        return AccessDenied(f"no such repository, or private: {asked.repo_id}", hint=hint)
    return AccessDenied(f"{asked.endpoint.shown} refuses {asked} (403){_quote(said)}", hint=hint)


def from_os_error(error: OSError, what: str) -> EmbtoolError:
    """Translate what the operating system said about a local file."""
    hint = "free some space, or set EMBTOOL_CACHE to a folder on another disk" if error.errno in FULL else None
    place = f" ({error.filename})" if error.filename else ""
    said = str(error) if isinstance(error, NotOurs) else error.strerror or cut(str(error))  # the cache's own words
    return LocalFailure(f"{what}: {said}{place}", hint=hint)


def is_transport_error(error: Exception) -> bool:
    """Return whether the connection failed, so that another attempt may succeed."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return "TransportError" in names and not names & {"UnsupportedProtocol", "LocalProtocolError", "ProxyError"}


def network_error(error: Exception, host: str) -> EmbtoolError:
    """Translate a connection that failed for good; the host is named."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if "ConnectError" in names:
        return Unreachable(
            f"cannot connect to {host}: {cut(str(error))}", hint="check the network, the proxy, HF_ENDPOINT"
        )
    if "TimeoutException" in names:
        variable = "HF_HUB_ETAG_TIMEOUT" if "ConnectTimeout" in names else "HF_HUB_DOWNLOAD_TIMEOUT"
        said = _quote(cut(str(error)))
        return Unreachable(f"{host} did not answer in time{said}", hint=f"try again; {variable} sets the seconds")
    if "ProxyError" in names:
        return Unreachable(f"the proxy does not lead to {host}: {cut(str(error))}", hint="check HTTPS_PROXY")
    if "UnsupportedProtocol" in names:
        return FormatError(f"{host} leads to an address that is neither http nor https")
    if "TooManyRedirects" in names:
        return FormatError(f"{host} redirects without end")
    return Unreachable(f"the connection to {host} broke: {type(error).__name__}", hint="try again")


def _quote(said: str) -> str:
    return f": {said}" if said else ""


def offline_error(asked: Asked) -> EmbtoolError:
    """Say that offline mode forbids to fetch what is not here."""
    return Unreachable(f"offline, and not in the cache: {asked}", hint="run once without --offline and HF_HUB_OFFLINE")


def host_of(url: str) -> str:
    """Return the host of an address, and nothing else of it: what follows may be a signature."""
    try:
        return cut(str(urlsplit(url).hostname or "an unnamed host"))
    except ValueError:
        return "an unreadable address"
