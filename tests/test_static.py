"""Static embeddings: the files of word2vec, GloVe and fastText as gensim reads them, model2vec by its formula."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from program import Program
from small_models import float32, safetensors, tokenizer_json, write_json
from sources import Memory
from tables import ranked, scores

from embtool import nearest, open_model
from embtool.errors import EmbtoolError, LocalFailure, TokenIdOutOfRange, UnknownToken, UnsupportedFormat
from embtool.formats import decimals, records, static
from embtool.model import Model

REAL = Path(os.environ.get("EMBTOOL_TEST_REAL", "/nowhere")) / "files"
WORDS = ["</s>", "the", "king", "queen", "naïve", "日本", "a.b", "strawberry", "▁", "<0x41>", ",", "the-end"]
VECTORS = np.random.default_rng(3).normal(size=(len(WORDS), 5)).astype(np.float32)
FORMS = ("word2vec text", "fastText", "GloVe", "word2vec binary", "word2vec binary with newlines")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path / "cache"))


def write(path: Path, form: str, words: Sequence[str] = WORDS, vectors: Any = VECTORS) -> Path:
    """Write a file of words and vectors."""
    header = f"{len(words)} {vectors.shape[1]}\n".encode()
    if form.startswith("word2vec binary"):
        end = b"\n" if form.endswith("newlines") else b""
        records = [word.encode() + b" " + row.astype("<f4").tobytes() for word, row in zip(words, vectors, strict=True)]
        path.write_bytes(header + end.join(records) + end)
        return path
    space = b" " if form == "fastText" else b""  # fastText leaves one at the end of each line
    lines = [
        f"{word} {' '.join(repr(float(value)) for value in row)}".encode() + space + b"\n"
        for word, row in zip(words, vectors, strict=True)
    ]
    path.write_bytes((b"" if form == "GloVe" else header) + b"".join(lines))
    return path


def by_gensim(path: Path, form: str) -> Any:
    """Read a file with gensim."""
    models = pytest.importorskip("gensim.models", reason="gensim's reading is the measure here: pip install gensim")
    return models.KeyedVectors.load_word2vec_format(
        str(path), binary=form.startswith("word2vec binary"), no_header=form == "GloVe"
    )


@pytest.mark.few(6)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of gensim, which reads the files
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["x.vec", "x.txt", "x.bin"])
def test_words_and_vectors_are_those_that_gensim_reads(tmp_path: Path, form: str, name: str) -> None:
    path = write(tmp_path / name, form)
    expected = by_gensim(path, form)
    model = open_model(path)
    assert [token.text for token in model.vocabulary] == expected.index_to_key == WORDS
    np.testing.assert_array_equal(model.input_table.rows(range(len(WORDS))), expected.vectors)
    for word in WORDS:
        token = model.vocabulary.find(word)
        assert (token.text, token.piece, token.bytes) == (word, word, word.encode())
        np.testing.assert_array_equal(model.input_table.rows([token.id])[0], expected[word])
    near = nearest(model.input_table, expected["king"], 3, exclude=[2]).ids
    assert [WORDS[place] for place in near] == [word for word, _ in expected.most_similar("king", topn=3)]


@pytest.mark.few(2)
@pytest.mark.parametrize("form", FORMS)
def test_the_program_opens_one(run: Program, tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "vectors.vec", form)
    document = run("info", path, "--json").ok().document
    (table,) = document["tables"]
    assert (table["role"], table["shape"], table["dtype"], table["file"]) == ("input", [12, 5], "F32", "vectors.vec")
    assert document["tied"]["verdict"] == "no output table"
    assert document["vocabulary"]["tokens"] == 12
    assert document["vocabulary"]["file"] == "vectors.vec, words"
    assert document["position"]["kind"] == "none"
    (row,) = run("row", "-m", path, "queen", "--json").ok().document["rows"]
    assert row["values"] == [float(value) for value in VECTORS[3]]
    (query,) = run("neighbors", "-m", path, "king", "-k", "2", "--json").ok().document["queries"]
    best = ranked(scores(VECTORS.astype(np.float64), VECTORS[2].astype(np.float64), "cosine"), 3, "cosine")[1:]
    assert [neighbor["id"] for neighbor in query["neighbors"]] == best
    assert run("tokens", "-m", path, "the king of 日本", "--json").ok().document["tokens"][1]["id"] == 2


def test_other_commands_take_one_too(run: Program, tmp_path: Path) -> None:
    path = write(tmp_path / "vectors.vec", "GloVe")
    for command in (
        ("check", path),
        ("undertrained", "-m", path),
        ("norms", "-m", path),
        ("vocab", "-m", path, "^the"),
    ):
        run(*command).ok()


def test_a_folder_with_one_is_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    write(folder / "x.vec", "fastText")
    assert open_model(folder).input_table.shape == (12, 5)
    assert open_model(folder).vocabulary.find("queen").id == 3


def test_a_word_can_have_spaces_in_it(tmp_path: Path) -> None:
    words = ["the", ". . .", "at name@domain.com"]
    model = open_model(write(tmp_path / "glove.txt", "GloVe", words, VECTORS[:3]))
    assert [token.text for token in model.vocabulary] == words
    np.testing.assert_array_equal(model.input_table.rows([1]), VECTORS[[1]])


def test_a_word_that_is_not_there_is_not_guessed(tmp_path: Path) -> None:
    vocabulary = open_model(write(tmp_path / "x.vec", "fastText")).vocabulary
    for text in ("kings", "the king", " king"):
        with pytest.raises(UnknownToken):
            vocabulary.find(text)
    with pytest.raises(UnknownToken, match="'quen'") as caught:
        vocabulary.find("quen")
    assert "queen" in str(caught.value.hint)


def test_of_two_equal_words_the_first_is_found(tmp_path: Path) -> None:
    model = open_model(write(tmp_path / "x.vec", "fastText", ["a", "b", "a"], VECTORS[:3]))
    assert len(model.vocabulary) == 3
    assert model.vocabulary.find("a").id == 0


def test_a_file_is_read_through_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.vec", "fastText")
    passes: list[BinaryIO] = []
    convert = static.StaticCheckpoint._convert

    def counted(self: static.StaticCheckpoint, place: BinaryIO, moment: int) -> None:
        passes.append(place)
        convert(self, place, moment)

    monkeypatch.setattr(static.StaticCheckpoint, "_convert", counted)
    for _ in range(2):
        assert open_model(path).input_table.rows([1])[0, 0] == VECTORS[1, 0]
    assert len(passes) == 1
    write(path, "fastText", ["x", "y"], VECTORS[5:7])
    model = open_model(path)
    assert model.input_table.rows([1])[0, 0] == VECTORS[6, 0]
    assert [token.text for token in model.vocabulary] == ["x", "y"]
    assert len(passes) == 2


def test_a_file_longer_than_a_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHUNK", 37)
    monkeypatch.setattr(records, "BLOCK", 21)
    for form in FORMS:
        path = write(tmp_path / f"{form}.vec", form)
        model = open_model(path)
        np.testing.assert_array_equal(model.input_table.rows(range(len(WORDS))), VECTORS)
        assert [token.text for token in model.vocabulary] == WORDS


def test_where_the_cache_cannot_be_written_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("EMBTOOL_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(LocalFailure, match="cannot be written"):
        open_model(write(tmp_path / "x.vec", "fastText")).input_table.rows([0])


def spoiled() -> dict[str, tuple[bytes, str]]:
    """Files that are no tables of words, and a word of what is said of each."""
    row = b"a 1 2 3\n"
    binary = b"2 2\n" + b"a " + struct.pack("<2f", 0.25, -1e9) + b"b " + struct.pack("<2f", 3, 4)
    return {
        "fewer words than it says": (b"3 3\n" + row * 2, "truncated"),
        "more words than it says": (b"1 3\n" + row * 2, "more words"),
        "a short line": (b"3 3\n" + row + b"b 1 2\n" + row, "line 3"),
        "a long line": (row + b"b 1 2 3 4 x\n", "line 2"),
        "a number that is none": (row + b"b 1 2 x\n", "line 2"),
        "no word": (b"2 3\n" + row + b" 1 2 3\n", "line 3"),
        "no words": (b"0 3\n", "no words"),
        "a binary cut off": (binary[:-1], "truncated"),
        "a binary with fewer words": (b"3" + binary[1:], "truncated"),
        "a binary with more words": (b"1" + binary[1:], "more words"),
        "a binary of other numbers": (
            b"2 3\n" + b"a " + bytes(8) + b"b " + bytes(8) + b"c " + bytes(8) + b"d " + bytes(8),
            "zero byte",
        ),
        "a long binary word": (b"2 2\n" + b"x" * 5000, "more than 4,096 bytes"),
        "text": (b"This is a text\nof two lines.\n", "in its first line field 2, 'is', is not a decimal number"),
        "sparse": (b"w 1:0.5 9:0.02\n", "in its first line field 2, '1:0.5', is not a decimal number"),
        "sparse, with a first line": (b"3 20\nw 1:0.5 9:0.0221\nv 2:0.25\n", "line 2"),
        "tabs": (b"2 2\na\t1\t2\nb\t3\t4\n", "line 2 of x.vec has tabs"),
        "tabs without a first line": (b"a\t1\t2\nb\t3\t4\n", "the first line of x.vec has tabs"),
        "a byte order mark": (b"\xef\xbb\xbf2 2\na 1 2\nb 3 4\n", "begins with a byte order mark"),
        "prose of one word": (b"text\n", "not a table of words"),
        "nothing": (b"", "not a table of words"),
        "a model of fastText": ((793712314).to_bytes(4, "little") + bytes(40), "binary model of fastText"),
    }


@pytest.mark.parametrize("name", spoiled())
def test_a_broken_file_is_refused_in_one_line(run: Program, tmp_path: Path, name: str) -> None:
    content, word = spoiled()[name]
    (tmp_path / "x.vec").write_bytes(content)
    run("info", tmp_path / "x.vec").refused(6, word)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_a_line_that_has_no_end_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "CHUNK", 64)
    monkeypatch.setattr(records, "LONGEST_LINE", 200)
    (tmp_path / "x.vec").write_bytes(b"2 3\na 1 2 3\nb" + b"1" * 1000)
    with pytest.raises(EmbtoolError, match="longer than 200 bytes"):
        open_model(tmp_path / "x.vec").input_table.rows([0])


def test_the_last_line_need_not_end(tmp_path: Path) -> None:
    (tmp_path / "x.vec").write_bytes(b"2 2\na 1 2\nb 3 4")
    assert open_model(tmp_path / "x.vec").input_table.rows([1]).tolist() == [[3.0, 4.0]]


def test_a_file_of_a_repository_is_not_read_as_a_whole() -> None:
    source = Memory({"x.vec": b"2 2\na 1 2\nb 3 4\n"})
    with pytest.raises(UnsupportedFormat, match="only on this machine") as caught:
        _ = Model(source, "x.vec").input_table
    assert "hf download" in str(caught.value.hint)


def test_a_text_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("1 2 3\nfour\n")
    (tmp_path / "x.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(UnsupportedFormat, match="pickle"):
        open_model(tmp_path / "x.bin")
    (tmp_path / "prose.txt").write_text("once upon a time\n")
    with pytest.raises(UnsupportedFormat, match="not a model"):
        open_model(tmp_path / "prose.txt")


NOT_UTF8 = [b"caf\xc3", b"caf", "café".encode(), b"caf\xe9", b"caf\\xe9", b"\xff\xfe", b"caf\xc3"]


def write_bytes(path: Path, form: str) -> Path:
    """Write a file whose words are not all UTF-8, with one of them twice, and one that is written like another."""
    rows = VECTORS[: len(NOT_UTF8)]
    header = f"{len(rows)} {rows.shape[1]}\n".encode()
    if form == "word2vec binary":
        body = b"".join(word + b" " + row.tobytes() for word, row in zip(NOT_UTF8, rows, strict=True))
    else:
        lines = (
            word + b" " + " ".join(map(repr, row.tolist())).encode() for word, row in zip(NOT_UTF8, rows, strict=True)
        )
        body = b"".join(line + b"\n" for line in lines)
    path.write_bytes((b"" if form == "GloVe" else header) + body)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("form", ["GloVe", "fastText", "word2vec binary"])
def test_words_that_are_not_utf8_keep_their_bytes(run: Program, tmp_path: Path, form: str) -> None:
    path = write_bytes(tmp_path / "x.vec", form)
    for _ in range(2):  # from the file, then from what was kept
        model = open_model(path)
        tokens = list(model.vocabulary)
        assert [token.bytes for token in tokens] == NOT_UTF8
        assert [token.text for token in tokens] == [
            word.decode("utf-8", "replace") if word != rb"caf\xe9" else rb"caf\xe9".decode() for word in NOT_UTF8
        ]
        assert len({token.piece for token in tokens}) == len(set(NOT_UTF8))
        for place, word in enumerate(NOT_UTF8[:-1]):
            assert model.vocabulary.find_bytes(word).id == place
            assert model.vocabulary.find_piece(tokens[place].piece).id == place
        np.testing.assert_array_equal(model.input_table.rows(range(len(NOT_UTF8))), VECTORS[: len(NOT_UTF8)])
    said = run("info", path, "--json").ok().document["format"]
    assert said.endswith(", 4 words are not UTF-8, 1 word stands there again")
    document = run("row", "-m", path, "bytes:" + NOT_UTF8[3].hex(), "--json").ok().document
    assert document["rows"][0]["bytes"] == NOT_UTF8[3].hex()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.skipif(not REAL.is_dir(), reason="EMBTOOL_TEST_REAL names no folder of real files")
@pytest.mark.parametrize("name", ["utf8-incomplete.bin", "utf8-incomplete.dims", "utf8-incomplete.txt"])
def test_published_files_with_words_that_are_not_utf8(name: str) -> None:
    path = REAL / f"finalfusion-{name}"
    models = pytest.importorskip("gensim.models", reason="gensim's reading is the measure here: pip install gensim")
    expected = models.KeyedVectors.load_word2vec_format(
        str(path), binary=name.endswith("bin"), no_header=name.endswith("txt"), unicode_errors="replace"
    )
    model = open_model(path)
    assert [token.text for token in model.vocabulary] == expected.index_to_key
    np.testing.assert_array_equal(model.input_table[:], expected.vectors)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"2 2\na 1 2 3\nb 4 5 6\n", "line 2 of x.vec has 3 numbers after its word, where the first line says 2"),
        (b"2 4\na 1 2 3\nb 4 5 6\n", "line 2 of x.vec has 3 numbers after its word, where the first line says 4"),
        (b"2 300\na 1 2 3\nb 4 5 6\n", "line 2 of x.vec has 3 numbers after its word, where the first line says 300"),
        (b"a 1 2 3\nb 4 5 6 7\n", "line 2 of x.vec has 4 numbers after its word, where the first line has 3"),
        (b"a 1 2 3\n\nb c 4 5\n", "line 3 of x.vec: field 2, 'c', is not a decimal number"),
        (b"a 1 2 3\nb 1:0.5 7:0.25\n", "line 2 of x.vec: field 2, '1:0.5', is not a decimal number"),
        (b"a 1 2 3\nb 1  2 3\n", "line 2 of x.vec: field 3 is empty: two spaces follow each other"),
        (b"a 1 2 3\nb 1,5 2 3\n", "line 2 of x.vec: field 2, '1,5', is not a decimal number"),
        (b"a 1 2 3\nb 0x1p3 2 3\n", "line 2 of x.vec: field 2, '0x1p3', is not a decimal number"),
        ("a 1 2 3\nb \uff11 2 3\n".encode(), "line 2 of x.vec: field 2, '\uff11', is not a decimal number"),
        (
            b"a 1 2  3\nb 1 2 3\n",
            "x.vec is not a table of words: in its first line field 4 is empty: two spaces follow each other",
        ),
        (
            b"a,1,2,3\nb,1,2,3\n",
            "the first line of x.vec has commas between its fields, where word vectors have spaces",
        ),
        (
            b"a 1,0 2,0 3,0\n",
            "x.vec is not a table of words: in its first line field 2, '1,0', is not a decimal number",
        ),
        (
            "a \u22121 2 3\n".encode(),
            "x.vec is not a table of words: in its first line field 2, '\u22121', is not a decimal number",
        ),
        (b"a 1 2 3\nb 1_0 2 3\n", "line 2 of x.vec: field 2, '1_0', is not a decimal number"),
        (b"a 1 2 3\nb 1 2 \xff\x1b[31m\n", "line 2 of x.vec: field 4, '\ufffd\\x1b[31m', is not a decimal number"),
    ],
)
def test_a_broken_line_is_named_by_line_and_field(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.vec").write_bytes(content)
    with pytest.raises(EmbtoolError) as caught:
        _ = open_model(tmp_path / "x.vec").input_table
    assert caught.value.message == message


NUMBERS = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(lambda number: repr(float(np.float32(number)))),
    st.floats(-1e4, 1e4).map(lambda number: f"{number:.6f}"),
    st.floats(-10, 10).map(lambda number: f"{number:.5g}"),
    st.floats(allow_nan=False).map(repr),
    st.from_regex(r"[+-]?(\d{1,20}\.?\d{0,20}|\.\d{1,20})([eE][+-]?\d{1,2})?", fullmatch=True).filter(str.isascii),
    st.sampled_from(["nan", "-inf", "Infinity", "9007199254740993", "90071992.54740993", "0.9007199254740993"]),
)


@given(st.lists(NUMBERS, min_size=1, max_size=40))
def test_numbers_are_rounded_as_python_rounds_them(written: list[str]) -> None:
    data = np.frombuffer((" ".join(written) + " ").encode(), np.uint8)
    stops = np.flatnonzero(data == ord(" "))
    starts = np.concatenate([[0], stops[:-1] + 1])
    found = decimals.parse(data, starts, stops)
    expected = np.array(list(map(float, written)))
    assert np.where(np.isnan(found), 0, found).tobytes() == np.where(np.isnan(expected), 0, expected).tobytes()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))


@given(st.lists(st.text("0123456789.+-eE_:,/;n xX\xa0\u0663", max_size=18), min_size=1, max_size=6))
def test_what_is_no_number_is_told_by_its_place(written: list[str]) -> None:
    fields = [field.replace(" ", "x").encode() for field in written]
    bad = next((place for place, field in enumerate(fields) if not decimals.WRITTEN.fullmatch(field)), None)
    data = np.frombuffer(b" ".join(fields) + b" ", np.uint8)
    stops = np.flatnonzero(data == ord(" "))
    starts = np.concatenate([[0], stops[:-1] + 1])
    if bad is None:
        assert decimals.parse(data, starts, stops).tolist() == [float(field) for field in fields]
    else:
        with pytest.raises(decimals.NotANumberError) as caught:
            decimals.parse(data, starts, stops)
        assert caught.value.place == bad


@given(st.binary(max_size=120))
def test_any_bytes_are_a_table_or_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.vec").write_bytes(b"2 2\n" + data)
    try:
        model = open_model(tmp_path / "x.vec")
        model.input_table.rows([0])
        len(model.vocabulary)
    except EmbtoolError:
        return


# --- model2vec


def model2vec(folder: Path, tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]]) -> Any:
    """Write a model as model2vec does."""
    folder.mkdir(exist_ok=True)
    write_json(
        folder / "config.json",
        {"model_type": "model2vec", "architectures": ["StaticModel"], "hidden_dim": 5, "normalize": True},
    )
    write_json(folder / "tokenizer.json", tokenizer_json())
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
    return open_model(folder)


MAPPING = np.array([3, 0, 0, 7, 11, 3, 2], "<i8")
WEIGHTS = np.array([1.0, 0.5, 2.0, 0.25, 1.5, 3.0, 0.125])
EMBEDDINGS = ("F32", VECTORS.shape, float32(VECTORS))


def test_a_table_of_its_own_rows(tmp_path: Path) -> None:
    model = model2vec(tmp_path, {"embeddings": EMBEDDINGS})
    np.testing.assert_array_equal(model.input_table.rows([2, 5]), VECTORS[[2, 5]])
    assert model.tables.tying.verdict in ("no output table", "tied")


@pytest.mark.parametrize("kind", ["<i8", "<i4"])
def test_a_row_is_the_one_its_token_is_mapped_to_times_its_weight(run: Program, tmp_path: Path, kind: str) -> None:
    dtype = {"<i8": "I64", "<i4": "I32"}[kind]
    mapping = (dtype, MAPPING.shape, MAPPING.astype(kind).tobytes())
    weights = ("F64", WEIGHTS.shape, WEIGHTS.astype("<f8").tobytes())
    for name, tensors, expected in (
        ("mapped", {"mapping": mapping}, VECTORS[MAPPING]),
        ("both", {"mapping": mapping, "weights": weights}, VECTORS[MAPPING] * WEIGHTS[:, None].astype(np.float32)),
    ):
        table = model2vec(tmp_path / name, {"embeddings": EMBEDDINGS, **tensors}).input_table
        assert table.shape == (7, 5)
        np.testing.assert_array_equal(table.rows([6, 0, 1, 2, 0]), expected[[6, 0, 1, 2, 0]])
        with pytest.raises(TokenIdOutOfRange):
            table.rows([7])
        query = VECTORS[0].astype(np.float64)
        found = nearest(table, query, 7)
        assert found.ids.tolist() == ranked(scores(expected.astype(np.float64), query, "cosine"), 7, "cosine")
        (described,) = run("info", tmp_path / name, "--json").ok().document["tables"]
        assert (described["shape"], described["stored_shape"]) == ([7, 5], [12, 5])


def test_weights_alone(tmp_path: Path) -> None:
    weights = np.linspace(0.5, 2, 12).astype(np.float32)
    model = model2vec(tmp_path, {"embeddings": EMBEDDINGS, "weights": ("F32", (12,), float32(weights))})
    np.testing.assert_array_equal(model.input_table.rows([4]), VECTORS[[4]] * weights[4])


CODES = np.random.default_rng(4).integers(-127, 128, VECTORS.shape).astype(np.int8)


@pytest.mark.parametrize("parts", [(), ("mapping",), ("weights",), ("mapping", "weights")])
def test_rows_of_8_bits_are_whole_numbers_times_the_weight(
    run: Program, tmp_path: Path, parts: tuple[str, ...]
) -> None:
    mapping, weights = MAPPING, WEIGHTS if "mapping" in parts else np.linspace(0.5, 2, len(CODES))
    tensors = {
        "mapping": ("I64", mapping.shape, mapping.tobytes()),
        "weights": ("F64", weights.shape, weights.astype("<f8").tobytes()),
    }
    held = {name: tensors[name] for name in parts}
    table = model2vec(tmp_path, {"embeddings": ("I8", CODES.shape, CODES.tobytes()), **held}).input_table
    expected = CODES.astype(np.float32)[mapping if "mapping" in parts else slice(None)]
    if "weights" in parts:
        expected = expected * weights[:, None].astype(np.float32)
    assert table.shape == expected.shape
    np.testing.assert_array_equal(table[:], expected)
    assert run("info", tmp_path, "--json").ok().document["tables"][0]["dtype"].startswith("I8")
    run("neighbors", "-m", tmp_path, "id:1", "-k", "2").ok()
    run("norms", tmp_path).ok()


def test_whole_numbers_called_embeddings_in_another_model_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(EmbtoolError, match="I8"):
        model2vec(tmp_path, {"tower.embeddings": ("I8", CODES.shape, CODES.tobytes())}).input_table.rows([0])


@pytest.mark.parametrize(
    ("tensors", "word"),
    [
        ({"mapping": ("I64", (2,), np.array([0, 12], "<i8").tobytes())}, "beyond its 12"),
        ({"mapping": ("I64", (2,), np.array([0, -1], "<i8").tobytes())}, "beyond its 12"),
        ({"mapping": ("F32", (2,), bytes(8))}, "not a list of rows"),
        ({"weights": ("F32", (2,), bytes(8))}, "not one number"),
        ({"weights": ("I8", (12,), bytes(12))}, "not one number"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(run: Program, tmp_path: Path, tensors: Any, word: str) -> None:
    model2vec(tmp_path, {"embeddings": EMBEDDINGS, **tensors})
    run("row", "-m", tmp_path, "id:1").refused(6, word)
