"""Tokenizers that exhaust: each ends in one line, in bounded time and memory, and can be stopped."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import Program
from sentencepiece import SentencePieceProcessor
from small_models import bfloat16, config, table, tokenizer_json, write_single
from sources import Memory
from tokenizers import Tokenizer

from embtool.errors import FormatError
from embtool.vocabulary import confined, read_vocabulary
from embtool.vocabulary.confined import Confined
from embtool.vocabulary.loading import loader
from embtool.vocabulary.ordinary import judge

REAL_INPUTS = Path(os.environ.get("EMBTOOL_TEST_REAL", ""))
NEEDS_REAL = pytest.mark.skipif(not (REAL_INPUTS / "tokenizers").is_dir(), reason="needs EMBTOOL_TEST_REAL")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc, and limits memory")

BACKTRACKING = {"Regex": r".+.+.+.+(?=\w)(?=\W)"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = {"vocab": {letter: place for place, letter in enumerate(LETTERS)}, "merges": []}


def described(**parts: Any) -> bytes:
    """A tokenizer.json of the letters, with these parts."""
    model = {"type": "BPE", "unk_token": "a", **WORDS, **parts.pop("model", {})}
    empty = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    return json.dumps({"version": "1.0", "added_tokens": [], **empty, "model": model, **parts}).encode()


def steps(kind: str, *inner: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", kind: list(inner)}


def template(*pieces: dict[str, Any], ids: int = 1) -> dict[str, Any]:
    special = {"z": {"id": "z", "ids": [1] * ids, "tokens": ["b"] * ids}}
    return {"type": "TemplateProcessing", "single": list(pieces), "pair": [], "special_tokens": special}


PREPEND = {"type": "Prepend", "prepend": "x" * 1000}
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}
SPECIAL = {"SpecialToken": {"id": "z", "type_id": 0}}
ITSELF = {"Sequence": {"id": "A", "type_id": 0}}
SPLIT = {"type": "Split", "pattern": BACKTRACKING, "behavior": "Isolated", "invert": False}

ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "bytes of bytes of bytes": (lambda: described(normalizer=steps("normalizers", *[BYTES] * 24)), "ByteLevel"),
    "a thousand and more prefixes": (lambda: described(normalizer=steps("normalizers", *[PREPEND] * 2000)), "Prepend"),
    "one prefix of 16 MB": (lambda: described(normalizer={"type": "Prepend", "prepend": "x" * (16 << 20)}), "Prepend"),
    "words of bytes of bytes": (lambda: described(pre_tokenizer=steps("pretokenizers", *[BYTES] * 24)), "ByteLevel"),
    "millions of tokens around": (
        lambda: described(post_processor=template(*[SPECIAL] * 200_000, ids=1000)),
        "TemplateProcessing",
    ),
    "a text thousands of times": (lambda: described(post_processor=template(*[ITSELF] * 5000)), "TemplateProcessing"),
    "a long unknown token": (
        lambda: described(model={"unk_token": "u" * 1_000_000, "vocab": {"u" * 1_000_000: 0, "a": 1}}),
        "model, BPE",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_what_grows_without_end_is_refused_by_its_step(name: str) -> None:
    make, step = ATTACKS[name]
    vocabulary = read_vocabulary(Memory({"tokenizer.json": make()}))
    with pytest.raises(FormatError, match=rf"tokenizer\.json .*, at .*{step}"):
        vocabulary.encode("hü lo" * 1200, special=True)
    if "around" not in name:  # which is not asked for here
        with pytest.raises(FormatError, match=rf"tokenizer\.json .*, at .*{step}"):
            vocabulary.encode_each(["ü" * 4000] * 3)


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer"])
@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.slow
def test_an_expression_that_tries_everything_is_stopped(
    part: str,
    limited: bool,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Onig's own limit is for each match, and not for a text."""
    monkeypatch.setattr(confined, "SECONDS", 1.5)
    monkeypatch.setattr(confined, "LIMITED", limited and confined.LIMITED)
    step = SPLIT if part == "pre_tokenizer" else {"type": "Replace", "pattern": BACKTRACKING}
    vocabulary = read_vocabulary(Memory({"tokenizer.json": described(**{part: {**step, "content": "x"}})}))
    begin = time.thread_time()
    with pytest.raises(FormatError, match=rf"tokenizer\.json takes more than .*, at its {part}, "):
        vocabulary.encode_each([LETTERS + LETTERS[:14]] * 60_000)
    assert time.thread_time() - begin < 5


def test_once_its_time_is_over_nothing_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "SECONDS", 0.0)
    monkeypatch.setattr(confined, "SECONDS_PER_BYTE", 0.0)
    vocabulary = read_vocabulary(Memory({"tokenizer.json": described(pre_tokenizer=SPLIT)}))
    for _ in range(3):
        with pytest.raises(FormatError, match="takes more than 0 seconds"):
            vocabulary.encode("ab")


def test_padding_and_truncation_of_any_size_do_nothing() -> None:
    padding = {"strategy": {"Fixed": 1 << 31}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "a"}
    truncation = {"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    data = described(padding={**padding, "pad_to_multiple_of": 1 << 30}, truncation=truncation)
    assert read_vocabulary(Memory({"tokenizer.json": data})).encode_each(["abc"]) == [[0, 1, 2]]


UNUSUAL: dict[str, dict[str, Any]] = {
    "an expression": {"pre_tokenizer": SPLIT},
    "one in the decoder": {"decoder": {"type": "Replace", "pattern": BACKTRACKING, "content": ""}},
    "a replacement everywhere": {"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "a"}},
    "a map": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "BAAAAHRyaWVhAA=="}},
    "many steps": {"normalizer": steps("normalizers", *[{"type": "NFC"}] * 1000)},
    "steps in steps": {"normalizer": steps("normalizers", *[steps("normalizers", *[{"type": "NFKC"}] * 6)] * 6)},
    "an unknown step": {"normalizer": {"type": "Nothing"}},
    "a step without a name": {"pre_tokenizer": {"add_prefix_space": True}},
    "a long added token": {"added_tokens": [{"id": 30, "content": "x" * 10_000}]},
    "a long prefix": {"model": {"continuing_subword_prefix": "#" * 100}},
    "words of any length": {"model": {"type": "WordPiece", "max_input_chars_per_word": 10**9}},
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_tokenizers_are_known_by_their_text(name: str) -> None:
    data = described(**UNUSUAL[name])
    assert judge(data).unusual is not None
    assert judge(data.replace(b'"type"', b'"\\u0074ype"')).unusual is not None
    assert judge(described()).unusual is None


def test_a_token_that_is_called_like_a_part_changes_nothing() -> None:
    vocab = {name: place for place, name in enumerate(("normalizer", "decoder", "Regex", "unk_token", "a"))}
    assert judge(described(model={"vocab": vocab})).unusual is None


def test_a_part_that_stands_twice_is_judged_twice() -> None:
    """The library takes the last one."""
    data = described().replace(
        b'"normalizer": null', b'"normalizer": %s, "normalizer": null' % json.dumps(PREPEND).encode()
    )
    assert judge(data).growth == 1001


REAL = ("gpt2", "qwen3", "llama2", "falcon", "t5-small")
SAMPLES = ("", " ", "Hello  world", "ünï ½ ﷺ 🍓", "<s>a</s><|endoftext|> x", "it's 1234567\n\n\tend ", "a" * 300)


@NEEDS_REAL
@pytest.mark.parametrize("name", REAL)
def test_published_tokenizers_stay_in_this_process_and_agree_with_the_other(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (REAL_INPUTS / "tokenizers" / name / "tokenizer.json").read_bytes()
    assert judge(data).unusual is None
    library = Tokenizer.from_buffer(data)
    other = Confined(data, name)
    here = loader(data, name)()
    with monkeypatch.context() as patch:
        patch.setattr(Confined, "encode_batch", lambda *_, **__: pytest.fail("a process was started"))
        found = [here.encode(text, add_special_tokens=True).ids for text in SAMPLES]
    assert found == [library.encode(text).ids for text in SAMPLES]
    assert found == [other.encode(text, add_special_tokens=True).ids for text in SAMPLES]
    plain = [library.encode(text, add_special_tokens=False).ids for text in SAMPLES]
    assert [each.ids for each in other.encode_batch(SAMPLES)] == plain
    assert [other.encode(text).ids for text in SAMPLES] == plain


@pytest.mark.slow
def test_a_text_that_ordinary_steps_could_make_very_long_is_split_elsewhere() -> None:
    nine = [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 9
    data = described(normalizer=steps("normalizers", *nine))
    assert judge(data).unusual is None
    splitter = loader(data, "x")()
    assert len(splitter.encode("a").ids) == 512
    with pytest.raises(FormatError, match=r"x .*, at step \d of its normalizer, Replace"):
        splitter.encode("a" * 100_000)


@NEEDS_REAL
def test_an_unusual_model_of_sentencepiece() -> None:
    data = (REAL_INPUTS / "files" / "ort-nmt-vocab.joint.spm").read_bytes()
    library = SentencePieceProcessor()
    library.LoadFromSerializedProto(data)
    vocabulary = read_vocabulary(Memory({"tokenizer.model": data}))
    assert vocabulary.encode_each(SAMPLES) == [library.encode(text) for text in SAMPLES]


@LINUX
def test_the_process_is_given_no_secret_and_ends_with_the_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    splitter = Confined(described(pre_tokenizer=SPLIT), "x")
    assert splitter.encode("ab").ids == [0, 1]
    assert splitter._child is not None
    running = Path(f"/proc/{splitter._child._process.pid}")
    assert b"hf_secret" not in (running / "environ").read_bytes()
    assert b"PATH=" in (running / "environ").read_bytes()
    del splitter
    gc.collect()
    assert not running.exists()


def test_a_process_that_goes_away_is_started_again() -> None:
    splitter = Confined(described(pre_tokenizer=SPLIT), "x")
    assert splitter.encode("ab").ids == [0, 1]
    assert splitter._child is not None
    splitter._child._process.kill()
    splitter._child._process.wait()
    with pytest.raises(FormatError, match="x cannot split a text in"):
        splitter.encode("ab")
    assert splitter.encode("ab").ids == [0, 1]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    (tmp_path / "home").mkdir()
    values = table("input")
    tensors = {"model.embed_tokens.weight": ("BF16", values.shape, bfloat16(values))}
    write_single(tmp_path / "m", tensors, config=config(), tokenizer=tokenizer_json())
    return Program(tmp_path / "home", tmp_path)


@LINUX
@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_person_can_stop_it(program: Program, sent: signal.Signals, status: int) -> None:
    """The library runs no signal handlers: it took four seconds and more."""
    vocab = {LETTERS + LETTERS[place % 26 :] + str(place): place for place in range(2000)}
    (program.folder / "m" / "tokenizer.json").write_bytes(described(pre_tokenizer=SPLIT, model={"vocab": vocab}))
    with program.start("tokens", "-m", "./m", *[f"{LETTERS * 3} {place}" for place in range(600)]) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not (begun := children.read_text().split()):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(sent)
        _, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert b"Traceback" not in err
    assert not any(Path(f"/proc/{one}").exists() for one in begun)


def test_added_tokens_that_stop_the_library_are_one_line(program: Program) -> None:
    """One of which nothing is left, and one that stands in the spaces which another one takes."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    nothing = {"type": "Replace", "pattern": {"String": " "}, "content": ""}
    for normalizer, tokens in (
        (nothing, [{"content": " ", "normalized": True}]),
        (None, [{"content": "q", "rstrip": True}, {"content": "\t", "lstrip": True}]),
    ):
        added = [{"id": place, **flags, **token} for place, token in enumerate(tokens)]
        (program.folder / "m" / "tokenizer.json").write_bytes(described(normalizer=normalizer, added_tokens=added))
        for text in ("a \u00e9 b", "q\t \u00e9", "q \t\tq\t"):
            answer = program.outside("tokens", text, "-m", "./m")
            if answer.status != 0:
                answer.refused(6, "tokenizer.json cannot split")
            assert len(answer.errors.splitlines()) <= 1


def test_a_panic_is_one_line(program: Program) -> None:
    """With RUST_BACKTRACE=1 it was 80."""
    broken = {"type": "Precompiled", "precompiled_charsmap": "CAAAAP////////9hAA=="}
    (program.folder / "m" / "tokenizer.json").write_bytes(described(normalizer=broken))
    answer = program.outside("tokens", "hello", "-m", "./m", env={"RUST_BACKTRACE": "1"})
    if answer.status != 0:
        answer.refused(6, "tokenizer.json")
    assert len(answer.errors.splitlines()) <= 1
