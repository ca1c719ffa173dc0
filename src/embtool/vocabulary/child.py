"""The process in which an unusual tokenizer splits text: run as a script, it imports nothing of embtool.

It reads frames from stdin: four bytes of length, then that many. The first is JSON, how to run; the second the file;
each further one a request, JSON: texts, and whether to put something around them. It answers with frames of one byte of
kind, four of length, and:

    i   the token ids of a text, as the machine's 32-bit integers
    e   a text that cannot be split, in the library's words
    g   the step that made a text too long
    s   the step that begins now, where it was asked to go step by step

Nothing else is said: what a library prints goes nowhere.
"""

import json
import os
import signal
import sys
from array import array
from collections.abc import Iterator
from typing import Any

LONGEST_ERROR = 500
"""Characters of an error that are passed on."""


class _TooLongError(Exception):
    """A step has made a text too long."""


def _receive() -> bytes:
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:  # noqa: PLR2004 - a frame's head
        os._exit(0)
    return sys.stdin.buffer.read(int.from_bytes(head, "little"))


def _send(kind: str, payload: bytes) -> None:
    sys.stdout.buffer.write(kind.encode() + len(payload).to_bytes(4, "little") + payload)
    sys.stdout.buffer.flush()


def _limit(memory: int, seconds: int) -> None:
    """Bound this process's memory, where the system does that, and its time, should nobody be left to end it."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _steps(part: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the steps of a part of a tokenizer, with their names."""
    if part is None:
        return
    if type(part).__name__ != "Sequence":
        yield f"its {name}, {type(part).__name__}", part
        return
    place = 0
    while True:
        try:
            step = part[place]
        except IndexError:
            return
        place += 1
        yield f"step {place:,} of its {name}, {type(step).__name__}", step


class _Words:
    """A tokenizer of the tokenizers library; a step may make `least` characters or tokens, or `times` a text's."""

    def __init__(self, data: bytes, least: int, times: int, *, splits_special: bool) -> None:
        from tokenizers import Tokenizer  # noqa: PLC0415 - after the limits are set

        self.tokenizer = Tokenizer.from_buffer(data)
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.tokenizer.encode_special_tokens = splits_special
        self.least, self.times = least, times
        self.post_processor = self.tokenizer.post_processor

    def ids(self, text: str, *, special: bool, slow: bool) -> Any:
        """Split a text, all at once or step by step."""
        self.tokenizer.post_processor = None if slow else self.post_processor
        if not slow:
            return self.tokenizer.encode(text, add_special_tokens=special).ids
        from tokenizers import PreTokenizedString  # noqa: PLC0415 - where a step is looked for

        most = max(self.least, self.times * len(text))
        normal = text
        for name, step in _steps(self.tokenizer.normalizer, "normalizer"):
            _send("s", name.encode())
            normal = step.normalize_str(normal)
            self._check(len(normal), most, name)
        cut = PreTokenizedString(normal)
        for name, step in _steps(self.tokenizer.pre_tokenizer, "pre_tokenizer"):
            _send("s", name.encode())
            step.pre_tokenize(cut)
            self._check(sum(len(part) for part, *_ in cut.get_splits()), most, name)
        name = f"its model, {type(self.tokenizer.model).__name__}"
        _send("s", name.encode())
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        self._check(len(encoded.ids), most, name)
        if self.post_processor is not None:
            name = f"its post_processor, {type(self.post_processor).__name__}"
            _send("s", name.encode())
            encoded = self.post_processor.process(encoded, None, special)
            self._check(len(encoded.ids), most, name)
        return encoded.ids

    @staticmethod
    def _check(length: int, most: int, name: str) -> None:
        if length > most:
            raise _TooLongError(name)


class _Pieces:
    """A model of the sentencepiece library."""

    def __init__(self, data: bytes, *_: int, **_how: bool) -> None:
        from sentencepiece import SentencePieceProcessor  # noqa: PLC0415 - an extra

        self.processor = SentencePieceProcessor()
        self.processor.LoadFromSerializedProto(data)

    def ids(self, text: str, *, special: bool, slow: bool) -> Any:
        """Split a text; what is put around it is not this library's to say, nor what its steps are."""
        del special, slow
        return self.processor.encode(text)


def main() -> None:
    """Load the file, and split texts until there are none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked decides
    how = json.loads(_receive())
    data = _receive()
    sys.path[:] = how["path"]
    _limit(how["memory"], how["seconds"])
    load = {"tokenizers": _Words, "sentencepiece": _Pieces}[how["library"]]
    try:
        _send("s", b"loading it")
        splitter = load(data, how["least"], how["times"], splits_special=how["splits_special"])
    except BaseException as error:  # noqa: BLE001 - a panic of Rust code is no Exception
        _send("e", str(error)[:LONGEST_ERROR].encode("utf-8", "replace"))
        return
    del data
    _send("i", b"")
    while True:
        request = json.loads(_receive())
        for text in request.pop("texts"):
            try:
                _send("i", array("I", splitter.ids(text, **request)).tobytes())
            except _TooLongError as error:
                _send("g", str(error).encode())
            except MemoryError:
                os._exit(1)
            except BaseException as error:  # noqa: BLE001 - as above
                _send("e", str(error)[:LONGEST_ERROR].encode("utf-8", "replace"))


if __name__ == "__main__":
    main()
