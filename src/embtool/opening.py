"""How a model was opened, so that it can be opened again elsewhere: in another process, or on another machine.

What travels is the reference and the options, never the token: whoever opens the model there has credentials of its
own. A local path is made absolute, since nobody knows in which folder the other process works; a repository is opened
at the commit that was read here, so that a branch that moves in between cannot mix two states of a model.
"""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embtool.hub.limit import Limit
from embtool.settings import BUNDLED_MODELS
from embtool.storage.places import expand, is_there
from embtool.storage.source import Below, Confirm, Progress, Source


@dataclass(frozen=True)
class Reach:
    """How a model is reached, where it is not on this machine; `open_model` says what each is."""

    revision: str | None = None
    offline: bool = False
    token: str | None = None
    max_bytes: int | None = None
    progress: Progress | None = None
    confirm: Confirm | None = None
    plan_only: bool = False
    limit: Limit | None = None


@dataclass(frozen=True)
class Opening:
    """What `open_model` was called with, and what was found there."""

    reference: str | Path
    tokenizer: str | Path | None
    reach: Reach = field(repr=False)
    name: str = ""
    commit: str | None = None
    base: Any = None
    """What an adapter changes: a reference, or a model, which travels as this one does."""

    def of(self, source: Source) -> "Opening":
        """Return what travels of a model with this source: not a secret, nor whom this process tells and asks."""
        reach = replace(self.reach, token=None, progress=None, confirm=None)
        reference = _absolute(self.reference) if source.local else self.reference
        tokenizer = None if self.tokenizer is None else _absolute(self.tokenizer)
        base = _absolute(self.base) if isinstance(self.base, str | Path) else self.base
        return Opening(reference, tokenizer, reach, source.name, source.commit, base)

    def settle(self, source: Source) -> None:
        """Let a source that was opened anew be called as the first one was, and read the commit that was read there."""
        source.name = self.name
        whole = source.whole if isinstance(source, Below) else source
        if self.commit is not None and not whole.local:
            whole.commit = self.commit


def _absolute(reference: str | Path) -> str | Path:
    """Return a reference that means the same from any folder; one that is no path here stays as it is."""
    text = str(reference)
    path = expand(text.partition("#")[0] if isinstance(reference, str) and not is_there(expand(text)) else text)
    if text in BUNDLED_MODELS or not is_there(path):
        return reference
    absolute = os.path.abspath(expand(text))  # noqa: PTH100 - links are not to be resolved
    return Path(absolute) if isinstance(reference, Path) else absolute
