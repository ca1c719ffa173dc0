"""Textual inversions: vectors of words that a text encoder did not know, in files of a few kilobytes.

diffusers writes `learned_embeds.safetensors`: one tensor, named as the word that stands for it, of one vector or
several (`<cat-toy>`, `<cat-toy>_1`, ...). A file for the two encoders of Stable Diffusion XL has `clip_l` and `clip_g`,
one for Stable Diffusion 3 `t5xxl` too; the web user interface of AUTOMATIC1111 writes `emb_params`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType

from embtool.configs.config import Config
from embtool.storage.checkpoint import Checkpoint, TensorInfo
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.plain import few_words

FILE = "learned_embeds"
KNOWN = frozenset({"emb_params", "clip_l", "clip_g", "t5", "t5xxl"})
"""Names of tensors that say which encoder they are for, or nothing, and are no words."""

MOST_VECTORS = 512
"""Vectors of one word; programs stop at the 77 positions of CLIP."""

SIDES = 2


class InversionCheckpoint(Checkpoint):
    """The vectors of new words, each tensor as a table of rows."""

    format = "safetensors, a textual inversion"

    def __init__(self, inner: Checkpoint) -> None:
        self.inner = inner
        self.source = inner.source

    @property
    def names(self) -> Sequence[str]:
        """Every tensor's name."""
        return self.inner.names

    @property
    def shards(self) -> Sequence[str]:
        """The one file."""
        return self.inner.shards

    @cached_property
    def roles(self) -> Mapping[str, str]:  # type: ignore[override]
        """All are read by an encoder."""
        return MappingProxyType(dict.fromkeys(self.names, "input"))

    def tensor(self, name: str) -> TensorInfo:
        """Find a tensor; a vector alone is a table of one row."""
        found = self.inner.tensor(name)
        return found if len(found.shape) == SIDES else replace(found, shape=(1, *found.shape))

    def read_config(self) -> Config | None:
        """Return None: the config is the encoder's."""
        return None

    def read_vocabulary(self) -> Vocabulary | None:
        """Return the words of the first table, where they are in the file."""
        word = self.names[0]
        if word in KNOWN:
            return None
        rows = self.tensor(word).shape[0]
        return few_words([word, *(f"{word}_{place}" for place in range(1, rows))], self.shards[0])


def as_inversion(checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint as a textual inversion, if it is one; else as it is."""
    names = checkpoint.names
    tensors = [checkpoint.tensor(name) for name in names]
    fits = all(
        tensor.dtype.decode is not None
        and 0 not in tensor.shape
        and (len(tensor.shape) == 1 or (len(tensor.shape) == SIDES and tensor.shape[0] <= MOST_VECTORS))
        for tensor in tensors
    )
    is_named = checkpoint.shards[0].rpartition("/")[2].startswith(FILE)
    is_known = all(name in KNOWN or (name.startswith("<") and name.endswith(">")) for name in names)
    is_vector = len(names) == 1 and len(tensors[0].shape) == 1 and "." not in names[0]
    return InversionCheckpoint(checkpoint) if fits and (is_named or is_known or is_vector) else checkpoint
