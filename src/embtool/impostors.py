"""What is found under the name of another file, by its first bytes: a page of a server, a pointer, a pickle."""

IMPOSTORS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: run `git lfs pull`"),
    (b"PK\x03\x04", "a zip archive or a torch pickle: embtool reads safetensors only and never loads a pickle"),
    (b"\x80\x02", "a pickle: embtool reads safetensors only and never loads a pickle"),
    (b"\x80\x04", "a pickle: embtool reads safetensors only and never loads a pickle"),
    (b"GGUF", "a GGUF file"),
    (b"<", "an HTML or XML page, not the file itself"),
    (b"\x93NUMPY", "a numpy array"),
)
"""Beginnings of files, and what they are."""

LONGEST_MAGIC = max(len(magic) for magic, _ in IMPOSTORS)


def seems(head: bytes) -> str | None:
    """Return what a file looks like that begins so, or None where it is none of these."""
    return next((meaning for magic, meaning in IMPOSTORS if head.startswith(magic)), None)
