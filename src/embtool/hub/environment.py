"""What huggingface_hub's settings say of this machine: where its cache is, who asks, how patient its users are."""

import os
from dataclasses import replace
from pathlib import Path

from huggingface_hub import constants

from embtool.errors import BadReference, LocalFailure
from embtool.hub.transport import Patience

RETRIES_VARIABLE = "EMBTOOL_RETRIES"
MOST_RETRIES = 100


def shared_folder() -> Path:
    """Return where the cache is that all Hugging Face tools share.

    Raises:
        LocalFailure: nobody knows.
    """
    folder = Path(os.path.expanduser(constants.HF_HUB_CACHE))  # noqa: PTH111 - pathlib raises where there is no home
    if str(folder).startswith("~"):
        raise LocalFailure("there is no home folder for the Hugging Face cache", hint="HF_HOME names a folder for it")
    return folder


def look_up_token(notes: list[str]) -> str | None:
    """Find the token where `hf auth login` and the environment keep it; nobody is asked for a new one.

    huggingface_hub's `get_token` would exchange and renew tokens, by requests of its own. What the user
    should know is added to `notes`.
    """
    named = (os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or "").strip()
    if named:
        return named
    try:
        return Path(constants.HF_TOKEN_PATH).read_text("utf-8")
    except FileNotFoundError:
        if os.environ.get("HF_OIDC_RESOURCE"):
            notes.append("HF_OIDC_RESOURCE is not followed: embtool exchanges no tokens; set HF_TOKEN")
        return None


def default_patience() -> Patience:
    """Take huggingface_hub's time-outs, which its users know how to set, and the retries that `EMBTOOL_RETRIES` wants.

    Raises:
        BadReference: `EMBTOOL_RETRIES` is not a small number.
    """
    usual = Patience(connect=constants.HF_HUB_ETAG_TIMEOUT, read=constants.HF_HUB_DOWNLOAD_TIMEOUT)
    retries = os.environ.get(RETRIES_VARIABLE, "").strip()
    if not retries:
        return usual
    if not (retries.isascii() and retries.isdigit() and int(retries[:4]) <= MOST_RETRIES):
        raise BadReference(f"{RETRIES_VARIABLE} is a number up to {MOST_RETRIES}, not {retries[:50]!r}")
    return replace(usual, attempts=int(retries) + 1)
