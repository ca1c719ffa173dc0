"""How often a corpus uses each row, against the tokenizers library and a Counter of Python's."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tarfile
import threading
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from program import Program
from small_models import bfloat16, config, table, tokenizer_json, write_single
from tokenizers import Regex, Tokenizer, decoders, models, normalizers
from tokenizers.pre_tokenizers import ByteLevel, Digits, Punctuation, Split
from tokenizers.pre_tokenizers import Sequence as Steps

import embtool
from embtool.errors import EmbtoolError, FormatError, InvalidArgument
from embtool.references import bundled_folder
from embtool.tables import corpus
from embtool.tables.corpus import Text, lines_of
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.cuts import AT_SPACES
from embtool.vocabulary.ordinary import LOCAL

REAL = Path(os.environ.get("EMBTOOL_TEST_REAL", "nowhere")) / "tokenizers"
HERE = Path(__file__).parent

PROSE = (HERE / "everyday.txt").read_text(encoding="utf-8")
CODE = "".join(path.read_text(encoding="utf-8") for path in sorted(HERE.glob("test_*s.py")))[:40_000]
MIXED = "".join(
    f"{place}. 東京は🍓 naïve cafe\u0301\t<|endoftext|></s>\r\n\r\n  x = [{place}];\n\n\nA  b.Cd\n"
    for place in range(500)
)
TEXTS = {"prose": PROSE[:40_000], "code": CODE, "code of Windows": CODE.replace("\n", "\r\n"), "mixed": MIXED}


def split_alone(tokenizer: Tokenizer, texts: Sequence[str]) -> Counter[int]:
    """Count as others do: each text by itself, whole."""
    counted: Counter[int] = Counter()
    for text in texts:
        counted.update(tokenizer.encode(text, add_special_tokens=False).ids)
    return counted


def by_id(counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[int, int]:
    return {row: times for row, times in enumerate(counts.tolist()) if times}


def in_parts(vocabulary: Vocabulary, text: str, part: int = 700) -> corpus.Tally:
    counter = corpus.Counter(vocabulary, part=part)
    counter.count([Text("text", io.BytesIO(text.encode()))])
    return counter.tally


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read and cut in small steps, so that a short text is cut in many places."""
    monkeypatch.setattr(corpus, "AHEAD", 400)
    monkeypatch.setattr(corpus, "BLOCK", 1009)
    monkeypatch.setattr(corpus, "BATCH", 5000)
    monkeypatch.setattr(corpus, "MOST_WORDS", 300)
    monkeypatch.setattr(corpus, "MOST_READ", 8000)


@pytest.mark.parametrize("kind", TEXTS)
def test_parts_have_the_tokens_of_the_whole(kind: str) -> None:
    tally = in_parts(embtool.open_model().vocabulary, TEXTS[kind])
    tokenizer = Tokenizer.from_file(str(bundled_folder() / "tokenizer.json"))
    assert by_id(tally.counts) == split_alone(tokenizer, [TEXTS[kind]])
    assert tally.unsure == 0


@pytest.mark.skipif(not REAL.is_dir(), reason="tokenizers of published models are not part of the project")
@pytest.mark.parametrize("name", ["falcon", "gpt2", "llama2", "qwen3", "t5-small"])
@pytest.mark.few(1)
def test_parts_have_the_tokens_of_the_whole_by_published_tokenizers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path))
    vocabulary = embtool.open_model(REAL / name).vocabulary
    tokenizer = Tokenizer.from_file(str(REAL / name / "tokenizer.json"))
    tokenizer.no_truncation()
    for kind, text in TEXTS.items():
        tally = in_parts(vocabulary, text)
        assert by_id(tally.counts) == split_alone(tokenizer, [text]), kind
        assert tally.unsure == 0, kind


@pytest.mark.few(21)
@pytest.mark.parametrize("expression", sorted(AT_SPACES))
@pytest.mark.parametrize("first", [(), (Split(Regex(r"\p{N}"), "isolated"),), (Punctuation("contiguous"), Digits())])
@settings(max_examples=30, deadline=None)
@given(texts=strategies.lists(strategies.text("aZ9é. !\n\t\r\u3000\xa0'東\u0301\0\x1c_/", max_size=12), max_size=6))
def test_words_are_cut_apart_as_they_are_together(expression: str, first: tuple[Any, ...], texts: list[str]) -> None:
    step = Steps([*first, Split(Regex(expression), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])
    whole = " ".join(texts)
    found = [
        piece for place, word in enumerate(corpus.WORD.split(whole)) for piece in pieces(step, " " * bool(place) + word)
    ]
    assert found == pieces(step, whole)


def pieces(step: Any, text: str) -> list[str]:
    return [piece for piece, _ in step.pre_tokenize_str(text)]


@pytest.mark.parametrize("kind", sorted(LOCAL))
def test_steps_before_make_the_same_of_words_apart(kind: str) -> None:
    step = getattr(normalizers, kind)()
    for letter in map(chr, (*range(0xD800), *range(0xE000, sys.maxunicode + 1))):
        changes = letter.lower() != letter or unicodedata.decomposition(letter) or unicodedata.combining(letter)
        if changes and not letter.isspace():
            alone = step.normalize_str(letter)
            assert step.normalize_str(f"{letter} {letter}") == f"{alone} {alone}"
            assert not alone[-1:].isspace(), ascii(letter)


def added(content: str, **flags: bool) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"id": 31_000, "content": content, **plain, **flags}


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("change", "whether"),
    [
        ({}, True),
        ({"normalizer": {"type": "NFC"}}, True),
        (
            {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
            True,
        ),
        ({"normalizer": {"type": "Strip", "strip_left": True, "strip_right": True}}, False),
        ({"normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "_"}}, False),
        ({"pre_tokenizer": None}, False),
        (
            {
                "pre_tokenizer": {
                    "type": "ByteLevel",
                    "add_prefix_space": True,
                    "trim_offsets": True,
                    "use_regex": False,
                }
            },
            False,
        ),
        (
            {"pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": True}},
            False,
        ),
        ({"added_tokens": [added("of the")]}, False),
        ({"added_tokens": [added(" the", lstrip=True)]}, True),
        ({"added_tokens": [added("the", rstrip=True)]}, False),
        ({"added_tokens": [added("the", single_word=True)]}, True),
        ({"added_tokens": [added(" the", single_word=True)]}, False),
    ],
)
def test_counts_are_those_of_the_library_whatever_it_does_at_spaces(
    change: dict[str, Any],
    whether: bool,  # noqa: FBT001 - a column of the table above
    tmp_path: Path,
) -> None:
    """Words are counted before they are split where that is known to be the same, and only there."""
    data = json.loads((bundled_folder() / "tokenizer.json").read_bytes()) | change
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    vocabulary = embtool.open_model(tmp_path).vocabulary
    assert vocabulary.parts_at_spaces is whether
    text = f" {MIXED[:4000]}of the  the\tthe of the. breathe the{PROSE[:9000]}"
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tally = in_parts(vocabulary, text)
    assert by_id(tally.counts) == split_alone(tokenizer, [text]) or tally.unsure
    counter = corpus.Counter(vocabulary)
    counter.count(text.split("\n"))
    assert by_id(counter.tally.counts) == split_alone(tokenizer, text.split("\n"))


def test_a_text_without_spaces_is_not_held() -> None:
    vocabulary = embtool.open_model().vocabulary
    text = f"so {'東京は大きい。' * 4000} ends {PROSE[:5000]}"
    tally = in_parts(vocabulary, text)
    tokenizer = Tokenizer.from_file(str(bundled_folder() / "tokenizer.json"))
    assert by_id(tally.counts) == split_alone(tokenizer, [text])


def test_lines_without_spaces_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    take = corpus.Counter._of

    def taken(self: corpus.Counter, words: Any) -> Any:
        held.append(sum(map(len, [*words.plain, *words.edges])))
        return take(self, words)

    monkeypatch.setattr(corpus.Counter, "_of", taken)
    lines = [chr(0x4E00 + place) * 900 for place in range(60)]
    counter = corpus.Counter(embtool.open_model().vocabulary)
    counter.count(lines)
    assert max(held) <= corpus.MOST_READ + 900
    assert by_id(counter.tally.counts) == split_alone(
        Tokenizer.from_file(str(bundled_folder() / "tokenizer.json")), lines
    )


def with_mark_at_the_start() -> Tokenizer:
    """Make a tokenizer that puts a mark before a text and none before a line, and never cuts a text into words."""
    letters = sorted(set("▁" + PROSE.replace(" ", "▁")))
    tokenizer = Tokenizer(models.BPE({letter: place for place, letter in enumerate(letters)}, [], unk_token=letters[0]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Replace("▁", " ")
    return tokenizer


def test_what_is_put_before_a_text_is_not_put_before_a_part(tmp_path: Path) -> None:
    tokenizer = with_mark_at_the_start()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tally = in_parts(embtool.open_model(tmp_path).vocabulary, PROSE[:30_000])
    assert by_id(tally.counts) == split_alone(tokenizer, [PROSE[:30_000]])
    assert tally.unsure == 0


@pytest.mark.slow
def test_a_cut_that_may_change_tokens_is_told(run: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "PART", 1000)
    monkeypatch.setattr(corpus.Counter.__init__, "__kwdefaults__", {"part": 1000})
    (tmp_path / "letters.txt").write_text("a" * 10_000)
    answer = run("vocab", "--count", tmp_path / "letters.txt", "--json").ok()
    (told,) = answer.of("warning")
    assert "where no word ends" in told
    assert answer.document["corpus_bytes"] == 10_000


def test_every_row_is_counted_zeros_included(run: Program, tmp_path: Path, models: Path) -> None:
    text = " king queen\n king"
    (tmp_path / "a.txt").write_text(text)
    document = run("vocab", "--count", tmp_path / "a.txt", "-m", "small/", "--json").ok().document
    tokenizer = Tokenizer.from_file(str(models / "small" / "tokenizer.json"))
    expected = split_alone(tokenizer, [text])
    rows = len(table("input"))
    assert {use["id"]: use["count"] for use in document["uses"]} == {row: expected[row] for row in range(rows)}
    order = [(-use["count"], use["id"]) for use in document["uses"]]
    assert order == sorted(order)
    row_bytes = document["table_bytes"] // rows
    assert document["rows"] == rows
    assert document["used"] == len(expected)
    assert document["unused_bytes"] == (rows - len(expected)) * row_bytes
    assert document["corpus_tokens"] == expected.total()
    covered = np.cumsum([use["count"] for use in document["uses"]]) / expected.total()
    np.testing.assert_allclose([use["covered"] for use in document["uses"]], covered)


def test_the_footer_says_what_no_text_reaches(run: Program, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" king queen")
    shown = run("vocab", "--count", tmp_path / "a.txt", "-k", "3", "-f", "table").ok().text
    told = run("vocab", "--count", tmp_path / "a.txt", "-k", "3", "--tsv").ok().of("note")
    for line in ("2 of 32,000 rows used by 2 tokens", "no text here reaches them"):
        assert line in shown
        assert any(line in note for note in told)


@pytest.mark.slow
def test_files_and_stdin_are_texts_of_their_own(run: Program, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the")
    (tmp_path / "b.txt").write_text("m the")
    tokenizer = Tokenizer.from_file(str(bundled_folder() / "tokenizer.json"))
    expected = split_alone(tokenizer, ["the", "m the", "then the"])
    lines: tuple[list[str | Path], ...] = (
        ["--count", tmp_path / "a.txt", tmp_path / "b.txt", "-"],
        ["--count", tmp_path / "a.txt", "--count", tmp_path / "b.txt", "--count", "-"],
    )
    for line in lines:
        document = run("vocab", *line, "--json", stdin=b"then the").ok().document
        assert {use["id"]: use["count"] for use in document["uses"] if use["count"]} == expected
        assert document["texts"] == 3


@pytest.mark.slow
def test_lines_are_texts_of_their_own_without_their_ends(run: Program, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"the\r\n\n the king\nthe")
    document = run("vocab", "--count", tmp_path / "a.txt", "--lines", "--json").ok().document
    tokenizer = Tokenizer.from_file(str(bundled_folder() / "tokenizer.json"))
    expected = split_alone(tokenizer, ["the", "", " the king", "the"])
    assert {use["id"]: use["count"] for use in document["uses"] if use["count"]} == expected
    assert list(lines_of(["a", "b\n", "\nc\r\nd"])) == ["ab", "", "c", "d"]


def test_what_is_put_around_a_text_is_not_counted(run: Program, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("king")
    document = (
        run("vocab", "--count", tmp_path / "a.txt", "-m", "bert/", "--category", "special", "--json").ok().document
    )
    assert document["uses"]
    assert not any(use["count"] for use in document["uses"])


def test_bytes_that_are_not_utf8_are_replaced_counted_and_told(run: Program, tmp_path: Path) -> None:
    data = "naïve café\n".encode("latin-1") * 300 + "\ufffd ok".encode() + b"\xf0\x9f"
    (tmp_path / "latin.txt").write_bytes(data)
    answer = run("vocab", "--count", tmp_path / "latin.txt", "--json").ok()
    assert answer.document["replaced_bytes"] == 602
    assert "602 bytes not UTF-8" in answer.of("warning")[0]
    tokenizer = Tokenizer.from_file(str(bundled_folder() / "tokenizer.json"))
    expected = split_alone(tokenizer, [data.decode("utf-8", "replace")])
    assert {use["id"]: use["count"] for use in answer.document["uses"] if use["count"]} == expected
    utf16 = run("vocab", "--count", "-", "-k", "1", stdin="naïve".encode("utf-16")).ok()
    assert "looks like UTF-16" in utf16.of("warning")[0]


def test_a_character_across_two_blocks_is_whole() -> None:
    text = "🍓" * 1500
    tally = in_parts(embtool.open_model().vocabulary, text, part=10_000)
    tokenizer = Tokenizer.from_file(str(bundled_folder() / "tokenizer.json"))
    assert by_id(tally.counts) == split_alone(tokenizer, [text])


def test_what_cannot_be_counted_is_refused_by_name(run: Program, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"the king " * 100))
    run("vocab", "--count", tmp_path / "empty.txt").refused(6, "empty.txt is empty")
    run("vocab", "--count", tmp_path / "a.txt", tmp_path / "nowhere.txt").refused(3, "no such file", "nowhere.txt")
    run("vocab", "--count", tmp_path).refused(7, "is a folder")
    run("vocab", "--count", tmp_path / "a.gz").refused(6, "a.gz is no text", "gzip", "gunzip")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "a.txt", "a.txt")
    run("vocab", "--count", tmp_path / "a.tar").refused(6, "a.tar is no text", "a tar archive", "unpack it first")
    np.save(tmp_path / "a.npy", np.arange(300))
    refused = run("vocab", "--count", tmp_path / "a.npy")
    refused.refused(6, "a.npy is no text", "a corpus is plain text")
    assert "--vector" not in refused.errors
    run("vocab", "--count", tmp_path / "a.txt", "--counts").refused(2, "--count")
    run("vocab", "--lines").refused(2, "--count")
    run("vocab", "a", "b").refused(2, "one PATTERN")
    told = run("vocab", "--count", tmp_path / "a.txt", tmp_path / "empty.txt").ok().of("note")
    assert "empty.txt is empty" in told[-1]


def test_zero_bytes_are_told(run: Program, tmp_path: Path) -> None:
    """UTF-16 without its mark is UTF-8 too, and no text that anybody wrote."""
    (tmp_path / "x.txt").write_bytes("the king".encode("utf-16-le"))
    (told,) = run("vocab", "--count", tmp_path / "x.txt").ok().of("warning")
    assert "x.txt: 8 zero bytes, which no text has" in told
    assert "iconv" in told


def test_an_empty_stdin_is_named(run: Program) -> None:
    run("vocab", "--count", "-", stdin=b"").refused(6, "stdin is empty")


def test_a_pipe_with_a_name_is_read(run: Program, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(" king"))
    writer.start()
    document = run("vocab", "--count", tmp_path / "pipe", "-k", "1", "--json").ok().document
    writer.join()
    assert [use["token"] for use in document["uses"]] == [" king"]


def test_a_tokenizer_alone_counts_its_tokens(run: Program, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" king")
    document = run("vocab", "--count", tmp_path / "a.txt", "-m", "only-tokenizer/", "--json").ok().document
    assert document["table_bytes"] is None
    assert document["rows"] == len(document["uses"])
    run("vocab", "--count", tmp_path / "a.txt", "-m", "bare/").refused(3, "tokenizer")


def test_tokens_beyond_the_table_are_told(run: Program, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" king" * 3)
    rows = table("input")[:100]
    tensors = {"model.embed_tokens.weight": ("BF16", rows.shape, bfloat16(rows))}
    write_single(tmp_path / "cut", tensors, config=config(tie_word_embeddings=True), tokenizer=tokenizer_json())
    answer = run("vocab", "--count", tmp_path / "a.txt", "-m", f"{tmp_path}/cut", "--json").ok()
    assert "3 tokens of the corpus have ids beyond the 100 rows" in answer.of("warning")[0]
    assert answer.document["used"] == 0


def test_in_python(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the king")
    model = embtool.open_model()
    answer = model.count(tmp_path / "a.txt", texts=["the king", "the"], k=2)
    assert answer.corpus_tokens == int(answer.counts.sum()) == 5
    assert answer.counts[model.vocabulary["the"].id] == 3
    assert [use.token.text for use in answer if use.token is not None] == ["the", " king"]
    assert len(model.count(texts=["the"], search=embtool.Search(ids="0..9"))) == 10
    with pytest.raises(InvalidArgument, match="k is at least 1"):
        model.count(texts=["the"], k=0)
    with pytest.raises(FormatError, match="the corpus is empty"):
        model.count()
    with pytest.raises(EmbtoolError, match="no such file"):
        model.count(tmp_path / "nowhere")
