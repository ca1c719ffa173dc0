"""What a file is, by its first bytes, where it is not what its name says: a page of a server, a pointer, a pickle.

The one list of them for all readers. Beginnings are those that the formats' own documents give; of a pickle, of msgpack
and of protobuf, which have no magic number, the first bytes that writers of models write.
"""

import re
from dataclasses import dataclass

from embtool.errors import FormatError

LONGEST_MAGIC = 4096
"""Bytes of a file's beginning that are looked at."""

CONVERT = "convert it to safetensors first"
AGAIN = "delete it and fetch it again, with `hf download`"
TO_TEXT = "save it as text with gensim: KeyedVectors.load(file).save_word2vec_format('x.vec')"


@dataclass(frozen=True)
class Impostor:
    """A kind of file: how it begins, an expression, what it is called, and the way out."""

    begins: bytes
    what: str
    hint: str | None = None


_NEVER = ": embtool reads safetensors only and never loads a pickle"
PICKLE_HINT = "look for a revision or a fork with safetensors, or convert it with safetensors' own convert script"
_PROTOCOL = rb"\x80[\x01-\x05]"

IMPOSTORS: tuple[Impostor, ...] = (
    Impostor(
        rb"version https://(git-lfs|hawser)\.github\.com|version https://git-lfs",
        "a Git LFS pointer, not the file itself: run `git lfs pull`",
        "run `git lfs pull` in its repository, or fetch it with `hf download`",
    ),
    Impostor(rb"\s*(\xef\xbb\xbf)?<\?xml[^>]*>\s*<net\b|\s*<net name", "an OpenVINO model", CONVERT),
    Impostor(
        rb"\s*(\xef\xbb\xbf)?<(!doctype|html|head|body|\?xml|!--|error>)",
        "an HTML or XML page, not the file itself",
        AGAIN,
    ),
    Impostor(
        rb'\s*\{\s*"(error|errors|message|detail|code)"\s*:', "a server's error in JSON, not the file itself", AGAIN
    ),
    Impostor(
        rb"((Entry|Repository) not found|Invalid (username|credentials)|Access to model|(Unauthorized|Not Found)\s*\Z)",
        "a server's error, not the file itself",
        AGAIN,
    ),
    Impostor(rb"GGUF", "a GGUF file", "give it a name that ends in .gguf"),
    Impostor(rb"FUGG", "a big-endian GGUF file", "convert it with llama.cpp's gguf-py scripts"),
    Impostor(
        rb"(lmgg|fmgg|tjgg|algg)",
        "a GGML file of 2023, the format before GGUF",
        "convert it with llama.cpp's convert_llama_ggml_to_gguf.py, or fetch a GGUF of the same model",
    ),
    Impostor(rb"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them", CONVERT),
    Impostor(
        rb"PK\x03\x04.{26,60}?[\w.-]*/?(data\.pkl|byteorder|\.format_version|version)",
        f"a torch checkpoint, a pickle in a zip archive{_NEVER}",
        PICKLE_HINT,
    ),
    Impostor(rb"PK\x03\x04.{26}[^\x00]{1,200}?\.npy", "a zip archive of numpy arrays (npz)", CONVERT),
    Impostor(
        rb"PK\x03\x04.{26}(metadata\.json|config\.json|model\.weights\.h5)",
        "a zip archive of Keras (.keras)",
        CONVERT,
    ),
    Impostor(rb"PK\x03\x04|PK\x05\x06", "a zip archive", "unpack it first"),
    Impostor(rb"\x1f\x8b", "compressed by gzip", "unpack it first, with gunzip"),
    Impostor(rb"BZh[1-9]1AY", "compressed by bzip2", "unpack it first, with bunzip2"),
    Impostor(rb"\xfd7zXZ\x00", "compressed by xz", "unpack it first, with unxz"),
    Impostor(rb"\x28\xb5\x2f\xfd", "compressed by zstd", "unpack it first, with unzstd"),
    Impostor(rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    Impostor(rb"Rar!\x1a\x07", "a RAR archive", "unpack it first"),
    Impostor(rb".{257}ustar", "a tar archive", "unpack it first"),
    Impostor(rb"\x93NUMPY", "a numpy array (npy)", "an array is no model: it can be a query, --vector FILE"),
    Impostor(
        _PROTOCOL + rb".{0,300}?c?(gensim\.models)",
        f"a pickle of gensim's{_NEVER}",
        TO_TEXT,
    ),
    Impostor(
        rb"\((dp|lp)\d+\n|(?-i:[}\]]q\x00[^\x00])|c(numpy|torch|copy_reg|__builtin__)[\w.]*\n",
        f"a pickle{_NEVER}",
        PICKLE_HINT,
    ),
    Impostor(_PROTOCOL + rb"[\x8a\x95}\](cXU\x8cNKGqh.]", f"a pickle{_NEVER}", PICKLE_HINT),
    Impostor(
        rb"\xba\x16\x4f\x2f",
        "a binary model of fastText, whose words are made of parts",
        "fetch the .vec file of the same model, or write one with fastText's bin_to_vec.py",
    ),
    Impostor(
        # dim, ws, epoch, minCount, neg, wordNgrams, loss (1 to 3), model (1 to 3)
        rb".[\x00-\x0f]\x00\x00.\x00\x00\x00..\x00\x00..\x00\x00..\x00\x00.\x00\x00\x00"
        rb"[\x01-\x03]\x00\x00\x00[\x01-\x03]\x00\x00\x00.{5}",
        "a binary model of fastText from before 2017, whose words are made of parts",
        "write a .vec file with the fastText of its time: `fasttext print-word-vectors`",
    ),
    Impostor(rb"FiFu", "a file of finalfusion", "convert it with finalfusion's own `finalfusion convert -t textdims`"),
    Impostor(rb"SQLite format 3\x00", "a database of SQLite, as Magnitude has its vectors", "export it as text first"),
    Impostor(rb"ARROW1\x00\x00", "a file of Arrow", CONVERT),
    Impostor(rb"PAR1", "a file of Parquet", CONVERT),
    Impostor(rb".{4}TFL3", "a TensorFlow Lite model", CONVERT),
    Impostor(
        rb"(\xde..|\xdf....|[\x81-\x8f])([\xa1-\xbf]|\xd9.)[A-Za-z_][\w.-]*[^\w.-]",
        "a msgpack file, as Flax and spaCy write them",
        CONVERT,
    ),
    Impostor(rb"\x08[\x01-\x14](\x12[\x01-\x40][A-Z]|:|B)", "an ONNX model", CONVERT),
    Impostor(rb"%PDF-", "a PDF document"),
    Impostor(rb"\x7fELF", "a program"),
    Impostor(rb"\x00{64,}\Z", "empty: all of its first bytes are zero", AGAIN),
)
"""Of those that fit, the first counts."""


def impostor(head: bytes) -> Impostor | None:
    """Return what kind of file begins so, or None where it is none of the list."""
    start = head[:LONGEST_MAGIC]
    return next((kind for kind in IMPOSTORS if re.match(kind.begins, start, re.DOTALL | re.IGNORECASE)), None)


def refuse(data: bytes, file: str) -> None:
    """Refuse the bytes of a file that is of another kind than its name says, or has none.

    Raises:
        FormatError: it is on the list.
    """
    if not data:
        raise FormatError(f"{file} is empty: it has no bytes", hint=AGAIN)
    found = impostor(data)
    if found is not None:
        raise FormatError(f"{file} is {found.what}", hint=found.hint)


def seems(head: bytes) -> str | None:
    """Return what a file looks like that begins so, or None where it is none of the list."""
    found = impostor(head)
    return None if found is None else found.what
