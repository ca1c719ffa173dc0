"""Models on the Hugging Face hub: read by file and by byte range, without their weights.

The floors inside, lowest first; each module's docstring says what it promises:

    reference    `org/name@revision` -> Reference, without a request
    endpoint     which server is asked, and who may see the token
    failures     what a server or the network says -> embtool's errors
    store        what was fetched, in embtool's own cache
    tablefile    a finished table on the disk, which describes itself
    inventory    what the cache holds: list, check, remove
    lock         who fetches, while the others wait
    journal      a partial file that survives any death
    crew         several jobs side by side, and an end that does not hang
    limit        how many requests all that share it may send
    line         which way a request takes, and how slow an answer may be
    transport    requests: who is told what, how often they are asked, when to give up
    environment  what huggingface_hub's settings say of this machine
    remote_file  one byte range over HTTP: checked, resumed, never believed
    table        one long range -> one finished table
    shared       one repository in the cache that all Hugging Face tools share
    small        small files, whole: checked, and believed by what their endpoint said
    listing      the hub's list of a repository's files
    known        one repository as this machine knows it
    repository   HubSource: all of it as a `Source`

Only this package imports huggingface_hub and httpx2, and importing it imports neither: that happens when `HubSource` is
first asked for.
"""

from typing import TYPE_CHECKING, Any

from embtool.hub.reference import Reference, parse_reference

if TYPE_CHECKING:
    from embtool.hub.repository import HubSource

__all__ = ["HubSource", "Reference", "parse_reference"]


def __getattr__(name: str) -> Any:
    if name == "HubSource":
        from embtool.hub.repository import HubSource  # noqa: PLC0415 - the network stack costs 0.2 s

        return HubSource
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
