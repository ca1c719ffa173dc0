"""Small files, through huggingface_hub: its cache, its tokens, its offline mode.

`hf_hub_download` puts config.json and its like into the one cache that every Hugging Face tool shares. It is watched on
its way: hooks on its HTTP client, which do nothing for anybody else's requests, count what is sent and received, set
time-outs, and end what would not end well (a server that asks to wait a day, an ETag that is a path, a file that is far
larger than a small file). What arrives is held against its ETag, which is the hash of the content: huggingface_hub does
not check it.
"""

import contextlib
import hashlib
import logging
import os
import re
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub import get_session
from huggingface_hub.utils import tqdm as hub_tqdm  # type: ignore[attr-defined] # documented there, not in __all__

from embtool.errors import EmbtoolError, FileNotInModel, FormatError, LocalFailure, Unreachable
from embtool.hub.crew import Stop
from embtool.hub.failures import (
    RETRIED,
    Asked,
    cut,
    from_foreign,
    from_os_error,
    from_status,
    is_transport_error,
    offline_error,
)
from embtool.hub.reference import COMMIT
from embtool.hub.transport import (
    REDIRECTS,
    REFUSALS,
    Again,
    Patience,
    Transport,
    asks_too_long,
    plain_etag,
    user_agent,
    wait_asked,
)

BAD = 400
"""The first status that is an error."""

SAFE_ETAG = re.compile(r"[0-9A-Za-z_-]{1,128}(?:\.[0-9A-Za-z_-]{1,64})*")
"""huggingface_hub makes a file name of the ETag, so it must be one."""

HARNESSES = "/api/agent-harnesses"
"""What huggingface_hub asks once a day beside the file, to name who calls: it is not sent, which is no error there."""

GIT_SHA1 = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass
class Watch:
    """One download being watched: what was sent, what came, and what is not allowed."""

    asked: Asked
    patience: Patience
    limit: int
    questions: dict[str, float] = field(default_factory=dict)
    responses: list[Any] = field(default_factory=list)
    requests: int = 0
    received: int = 0
    """Bytes of earlier attempts."""
    is_fetched: bool = False
    """Whether bytes of the file were asked for, rather than found in the cache."""
    etag: str = ""

    def before(self, request: Any) -> None:
        """Look at a request that is about to be sent, and give it a time-out."""
        url = str(request.url)
        if urlsplit(self.asked.endpoint.url).scheme == "https" and urlsplit(url).scheme == "http":
            raise FormatError(f"{self.asked.endpoint.shown} redirects from https to plain http")
        if request.method == "HEAD":
            self._count_question(url)
        elif urlsplit(url).path.endswith(HARNESSES):
            raise Unreachable("not asked")
        else:
            self.is_fetched = True
        if not self.asked.endpoint.is_origin_of(url):
            for secret in ("authorization", "cookie"):
                request.headers.pop(secret, None)
        request.headers["User-Agent"] = user_agent()  # huggingface_hub names Python, torch, and who calls
        request.extensions["timeout"] = {
            "connect": self.patience.connect,
            "read": self.patience.read,
            "write": self.patience.read,
            "pool": None,
        }
        self.requests += 1

    def _count_question(self, url: str) -> None:
        """Let each question be asked once: asking again is decided here, not by huggingface_hub.

        Its own second round waits as long as a server likes, and closes the client with these hooks on it.
        """
        now = time.monotonic()
        first = self.questions.setdefault(url, now)
        if first == now:
            return
        last, server = (self.responses[-1] if self.responses else None), self.asked.endpoint.shown
        if last is not None and last.status_code in REDIRECTS:
            raise FormatError(f"{server} redirects without end for {self.asked}")
        if last is not None and last.status_code in RETRIED:
            raise Again(from_status(last.status_code, last.headers, self.asked), wait_asked(last.headers))
        if now - first >= self.patience.read:
            raise Again(
                Unreachable(f"{server} did not answer in time", hint="try again; HF_HUB_ETAG_TIMEOUT sets the seconds"),
                is_silence=True,
            )
        hint = "check the network, the proxy, HF_ENDPOINT"
        raise Again(Unreachable(f"cannot connect to {server}", hint=hint))

    def after(self, response: Any) -> None:
        """Look at an answer before its body is read."""
        self.responses.append(response)
        headers, status, url = response.headers, response.status_code, str(response.request.url)
        wait = wait_asked(headers)
        if status in RETRIED and wait is not None and wait > self.patience.longest_wait:
            raise asks_too_long(from_status(status, headers, self.asked), wait)
        if not self.asked.endpoint.is_origin_of(url) or "/resolve" not in urlsplit(url).path:
            return
        server = self.asked.endpoint.shown
        commit = headers.get("x-repo-commit")
        if commit is not None and not COMMIT.fullmatch(commit):
            raise FormatError(f"{server} sent a commit that is none: {cut(repr(commit))}")
        etag = headers.get("x-linked-etag", headers.get("etag"))
        if etag is not None:
            self.etag = plain_etag(etag, server)
            if not SAFE_ETAG.fullmatch(self.etag):
                raise FormatError(f"{server} sent an ETag that is none: {cut(repr(etag))}")
        for name in ("x-linked-size", "content-length"):
            size = headers.get(name, "")
            if size.isascii() and size.isdigit() and int(size[:20]) > self.limit:
                raise too_large(self.asked, self.limit)

    def progress_class(self) -> type[Any]:
        """Make a silent progress bar that notices when a file unpacks to more than is allowed."""
        watch = self

        class Limit(hub_tqdm):
            monitor_interval = 0  # tqdm would start a thread to look after slow bars

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                kwargs["disable"] = True
                super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
                self.unpacked = 0

            def update(self, n: float | None = 1) -> bool | None:
                self.unpacked += int(n or 0)
                if self.unpacked > watch.limit:
                    raise too_large(watch.asked, watch.limit)
                return None

        return Limit


WATCH: ContextVar[Watch | None] = ContextVar("embtool_hub_watch", default=None)


def too_large(asked: Asked, limit: int) -> EmbtoolError:
    """Say that a file is larger than a small file can be."""
    return FormatError(f"{asked} is too large: the limit is {limit:,} bytes")


@dataclass(frozen=True)
class Found:
    """A small file in huggingface_hub's cache; `is_fresh` unless the hub did not answer and an older one was taken."""

    path: Path
    is_fresh: bool


def download(transport: Transport, asked: Asked, *, hub_cache: Path, limit: int, token: str | None) -> Found:
    """Fetch a small file into huggingface_hub's cache, unless it is there, and tell where it is.

    Raises:
        FileNotInModel: the model has no such file.
        FormatError: the file is too large, or its bytes do not match its hash.
        ModelNotFound, AccessDenied, Unreachable, LocalFailure: as the hub or this machine says.
    """
    watch = Watch(asked, transport.patience, limit)
    before = WATCH.set(watch)
    try:
        path = transport.patiently(lambda: _attempt(watch, hub_cache, token), Stop())
    finally:
        WATCH.reset(before)
        received = watch.received + sum(response.num_bytes_downloaded for response in watch.responses)
        transport.meter.add(requests=watch.requests, received=received)
    _check_download(path, watch, hub_cache)
    return Found(path, any(response.status_code < BAD for response in watch.responses))


def cached(repo_id: str, revision: str, file: str, hub_cache: Path) -> Path | None:
    """Tell where huggingface_hub's cache has a file, if it has it.

    Raises:
        FileNotInModel: the cache knows that the model has no such file.
    """
    try:
        found = huggingface_hub.try_to_load_from_cache(repo_id, file, cache_dir=hub_cache, revision=revision)
    except (OSError, ValueError):
        return None
    if found is huggingface_hub._CACHED_NO_EXIST:  # noqa: SLF001 - the documented name of this answer
        raise FileNotInModel(f"{repo_id} has no file {file}")
    return Path(found) if isinstance(found, str) else None


def snapshot(repo_id: str, commit: str, hub_cache: Path) -> tuple[str, ...]:
    """Name the files of a commit that huggingface_hub's cache has whole."""
    folder = hub_cache / f"models--{repo_id.replace('/', '--')}" / "snapshots" / commit
    return tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))


def commit_of(path: Path) -> str | None:
    """Tell the commit of a file in huggingface_hub's cache: .../snapshots/COMMIT/config.json."""
    for before, name in pairwise(path.parts):
        if before == "snapshots" and COMMIT.fullmatch(name):
            return name
    return None


def verify(path: Path, file: str) -> bytes:
    """Read a small file of huggingface_hub's cache and hold it against its hash, where the cache knows it.

    The cache names a blob by its ETag and links to it; where links are not supported (Windows) the hash is not known.

    Raises:
        FormatError: the bytes are not those that the hub has.
        LocalFailure: they cannot be read.
    """
    try:
        etag = Path(os.readlink(path)).name if path.is_symlink() else ""  # noqa: PTH115 - without resolving further
        data = path.read_bytes()
    except OSError as error:
        raise from_os_error(error, f"cannot read {file}") from error
    if not matches(etag, data):
        raise FormatError(
            f"{file} does not match its hash: {path} is damaged", hint="delete it, and it will be fetched again"
        )
    return data


def matches(etag: str, data: bytes) -> bool:
    """Tell whether bytes have the hash that their ETag is; True if the ETag is no hash.

    >>> matches("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", b"")
    True
    """
    if SHA256.fullmatch(etag):
        return hashlib.sha256(data).hexdigest() == etag
    if GIT_SHA1.fullmatch(etag):
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == etag
    return True


def _attempt(watch: Watch, hub_cache: Path, token: str | None) -> Path:
    asked = watch.asked
    _hook()
    watch.questions.clear()
    watch.responses[:], earlier = [], watch.responses[:]
    watch.received += sum(response.num_bytes_downloaded for response in earlier)
    try:
        found = huggingface_hub.hf_hub_download(
            asked.repo_id,
            asked.file or "",
            revision=asked.revision,
            cache_dir=hub_cache,
            endpoint=asked.endpoint.url,
            token=token or False,
            etag_timeout=watch.patience.connect,
            library_name="embtool",
            tqdm_class=watch.progress_class(),
        )
    except (EmbtoolError, Again):
        raise
    except Exception as error:
        failure = from_foreign(error, asked)
        if _may_pass(error, watch):
            broken = Unreachable(f"the connection broke while {asked} was fetched", hint="try again")
            raise Again(broken if isinstance(failure, LocalFailure) else failure) from error
        if isinstance(failure, LocalFailure):
            failure.hint = "HF_HUB_CACHE or HF_HOME names the folder in which small files are kept"
        raise failure from error
    return Path(found)


def _may_pass(error: Exception, watch: Watch) -> bool:
    """Tell whether another attempt may succeed where huggingface_hub makes none.

    It does not try again after a reset connection, a body that ended early, or a storage host's 5xx, and it does not
    ask for a new address when a signed one has expired.
    """
    response = getattr(error, "response", None)
    if response is not None:
        is_hub = watch.asked.endpoint.is_origin_of(str(response.request.url))
        return response.status_code in RETRIED or (not is_hub and response.status_code in REFUSALS)
    # A client is closed under a download when huggingface_hub cannot connect for somebody else in this process.
    is_closed = isinstance(error, RuntimeError) and "closed" in str(error)
    return is_closed or is_transport_error(error) or "Consistency check failed" in str(error)


def from_cache(asked: Asked, hub_cache: Path) -> Path:
    """Find a small file without asking anybody.

    Raises:
        FileNotInModel: the cache knows that the model has no such file.
        Unreachable: it is not in the cache.
    """
    path = cached(asked.repo_id, asked.revision, asked.file or "", hub_cache)
    if path is None:
        raise offline_error(asked)
    return path


def _check_download(path: Path, watch: Watch, hub_cache: Path) -> None:
    """Hold what was just downloaded against its ETag; what does not match is not left in the shared cache."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(os.path.realpath(hub_cache)):
        raise FormatError(f"{watch.asked} was put outside the cache by what {watch.asked.endpoint.shown} sent")
    try:
        size = real.stat().st_size
        if size > watch.limit:
            raise too_large(watch.asked, watch.limit)
        if not watch.is_fetched:
            return
        is_sound = matches(watch.etag, real.read_bytes())
    except OSError as error:
        raise from_os_error(error, f"cannot read {watch.asked}") from error
    if not is_sound:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            real.unlink(missing_ok=True)
        raise FormatError(
            f"{watch.asked} was altered on the way: its bytes do not match the hash that the hub has",
            hint="a proxy or a mirror changes files; try another network or HF_ENDPOINT",
        )


def _hook() -> None:
    """Put the hooks on the client that huggingface_hub uses at the moment; they only act on a watched download."""
    hooks = get_session().event_hooks
    for name, hook in (("request", _before), ("response", _after)):
        if hook not in hooks[name]:
            hooks[name].append(hook)
    for handler in huggingface_hub.utils.logging.get_logger("huggingface_hub").handlers:
        if QUIET not in handler.filters:
            handler.addFilter(QUIET)


def _before(request: Any) -> None:
    if (watch := WATCH.get()) is not None:
        watch.before(request)


def _after(response: Any) -> None:
    if (watch := WATCH.get()) is not None:
        watch.after(response)


class _Quiet(logging.Filter):
    """Keeps warnings about a watched download off the terminal: what went wrong is raised, and the rest is noise."""

    def filter(self, record: logging.LogRecord) -> bool:
        del record
        return WATCH.get() is None


QUIET = _Quiet()
