"""Which server is asked, and who may see the token.

The endpoint is huggingface.co or what `HF_ENDPOINT` names. A token goes to the endpoint's own origin and nowhere else,
and never over plain HTTP, except to this machine itself.
"""

import hashlib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from embtool.errors import AccessDenied, BadReference, LocalFailure

DEFAULT_PORTS = {"http": 80, "https": 443}

TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
"""What a header can carry: visible ASCII, and no more than any real token has (OIDC tokens reach 2,000 characters)."""


def origin(url: str) -> tuple[str, str, int | None]:
    """Return who is behind a URL: scheme, host and port.

    >>> origin("https://HuggingFace.co/x")
    ('https', 'huggingface.co', 443)
    """
    parts = urlsplit(url)
    return (parts.scheme, (parts.hostname or "").lower(), parts.port or DEFAULT_PORTS.get(parts.scheme))


@dataclass(frozen=True)
class Endpoint:
    """The server that answers for repositories; `url` has no slash at its end."""

    url: str

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read an endpoint as `HF_ENDPOINT` holds it; spaces around it are forgiven.

        Raises:
            BadReference: it is not an http or https address.
        """
        url = text.strip().rstrip("/")
        try:
            scheme, host, _ = origin(url)
        except ValueError as error:
            raise BadReference("HF_ENDPOINT is not an address") from error
        if scheme not in DEFAULT_PORTS or not host or not url.isprintable() or " " in url:
            raise BadReference("HF_ENDPOINT is not an http or https address", hint="unset HF_ENDPOINT to use the hub")
        return cls(url)

    @property
    def shown(self) -> str:
        """The address as it may be printed: without a user name or password."""
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    @property
    def key(self) -> str:
        """The endpoint's folder in the cache: bytes of one server never pass for those of another.

        >>> Endpoint("https://huggingface.co").key
        'huggingface.co'
        """
        if self.is_default:
            return "huggingface.co"
        return f"endpoint-{hashlib.sha256(self.shown.encode()).hexdigest()[:16]}"

    @property
    def is_default(self) -> bool:
        """Whether this is the hub that every Hugging Face tool asks unless told otherwise."""
        return self.shown == "https://huggingface.co"

    @property
    def is_private_line(self) -> bool:
        """Whether nobody can listen on the way: TLS, or this machine talking to itself."""
        scheme, host, _ = origin(self.url)
        if scheme == "https" or host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def is_origin_of(self, url: str) -> bool:
        """Return whether a URL leads to this server."""
        return origin(url) == origin(self.url)

    def resolve_url(self, repo_id: str, revision: str, file: str) -> str:
        """Return the address at which the hub says where a file's bytes are."""
        return f"{self.url}/{repo_id}/resolve/{quote(revision, safe='')}/{quote(file, safe='/')}"

    def listing_url(self, repo_id: str, revision: str) -> str:
        """Return the address at which the hub lists a repository's files."""
        return f"{self.url}/api/models/{repo_id}/revision/{quote(revision, safe='')}?blobs=true"

    def page_url(self, repo_id: str) -> str:
        """Return the page that a person opens to ask for access."""
        return f"{self.shown}/{repo_id}"


class Credentials:
    """The token, asked for only when a request is really sent: looking it up may itself use the network or the disk."""

    def __init__(self, endpoint: Endpoint, token: str | None, look_up: Callable[[], str | None]) -> None:
        self._endpoint = endpoint
        self._token = token
        self._look_up = look_up
        self._known = False
        self.withheld = False
        """Whether there is a token that was not sent, because anyone on the way could have read it."""

    def token(self) -> str | None:
        """Return the token to send to the endpoint, if there is one and it may be sent.

        Raises:
            AccessDenied: the token cannot be one.
            LocalFailure: the file that holds it cannot be read.
        """
        if not self._known:
            try:
                token = self._look_up() if self._token is None else self._token
            except OSError as error:
                raise LocalFailure(
                    f"cannot read the token: {error.strerror or type(error).__name__}",
                    hint="see HF_TOKEN_PATH, or log in again",
                ) from error
            except UnicodeDecodeError as error:
                raise AccessDenied("the token file does not hold text", hint="log in again: hf auth login") from error
            token = (token or "").strip()
            if token and not TOKEN.fullmatch(token):
                raise AccessDenied(
                    "the token holds spaces or other characters that a token cannot have",
                    hint="log in again: hf auth login",
                )
            self._token = token or None
            self.withheld = self._token is not None and not self._endpoint.is_private_line
            self._known = True
        return None if self.withheld else self._token
