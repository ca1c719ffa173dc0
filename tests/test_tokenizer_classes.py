"""Folders without tokenizer.json: text is split as the class that the folder names splits it.

`data/tokenizer_classes.json` holds small vocabularies, and the ids that transformers 5.24 gives texts with them.
Classes made of a SentencePiece model are held against the sentencepiece library, whose ids they shift.
"""

from __future__ import annotations

import base64
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from program import Program
from small_models import config, pieces, safetensors, tokenizer_json, write_json
from sources import Memory

from embtool.errors import FormatError, NoVocabulary
from embtool.tables.categories import Categorizer, Category
from embtool.vocabulary import Vocabulary, read_vocabulary
from embtool.vocabulary.classes import CLASSES, MODEL_TYPES
from embtool.vocabulary.merges import byte_merges
from embtool.vocabulary.ranks import FLAVOURS

KNOWN = json.loads((Path(__file__).parent / "data" / "tokenizer_classes.json").read_text("utf-8"))
TEXTS: list[str] = KNOWN["texts"]


def files_of(name: str) -> dict[str, bytes]:
    """Give the files of a recorded folder."""
    folder = KNOWN["folders"][name]
    files = {"tokenizer_config.json": json.dumps(folder["config"]).encode()}
    if "map" in folder:
        files["special_tokens_map.json"] = json.dumps(folder["map"]).encode()
    if "base" in folder:
        listed, merges = KNOWN["pieces"][folder["base"]]
        vocabulary = {piece: place for place, piece in enumerate([*listed, *folder["more"]])}
        files |= {"vocab.json": json.dumps(vocabulary).encode(), "merges.txt": "\n".join(merges).encode()}
    else:
        files["vocab.txt"] = "\n".join(folder.get("vocab", KNOWN["words"])).encode()
    return files


def ids(vocabulary: Vocabulary, text: str, *, special: bool = False) -> list[int]:
    return [token.id for token in vocabulary.encode(text, special=special)]


@pytest.mark.parametrize("name", KNOWN["folders"])
def test_texts_are_split_as_transformers_splits_them(name: str) -> None:
    words, folder = read_vocabulary(Memory(files_of(name))), KNOWN["folders"][name]
    for text, plain, special in zip(TEXTS, folder["plain"], folder["special"], strict=True):
        assert ids(words, text) == plain, text
        assert ids(words, text, special=True) == special, text
    assert words.ids.tolist() == list(range(folder["size"]))


@pytest.mark.parametrize(
    ("name", "model_type"),
    [("clip", "clip"), ("qwen2", "qwen3"), ("bert", "bert"), ("esm", "esm"), ("openai", "openai-gpt")],
)
def test_the_model_type_names_the_class_where_nothing_else_does(name: str, model_type: str) -> None:
    files = files_of(name) | {"config.json": json.dumps({"model_type": model_type}).encode()}
    expected = read_vocabulary(Memory(files_of(name)))
    settings = json.loads(files["tokenizer_config.json"])
    for generic in (None, "PreTrainedTokenizerFast"):
        del settings["tokenizer_class"]
        settings |= {"tokenizer_class": generic} if generic else {}
        found = read_vocabulary(Memory(files | {"tokenizer_config.json": json.dumps(settings).encode()}))
        assert [ids(found, text, special=True) for text in TEXTS] == [
            ids(expected, text, special=True) for text in TEXTS
        ]
        settings.setdefault("tokenizer_class", "")


def test_every_model_type_has_a_class_that_is_known() -> None:
    assert set(MODEL_TYPES.values()) <= set(CLASSES)


@pytest.mark.parametrize(
    "settings",
    [
        {"tokenizer_class": "BioGptTokenizer"},
        {"auto_map": {"AutoTokenizer": ["tokenization_mine.BioGptTokenizer", None]}},
        {"tokenizer_class": "PreTrainedTokenizerFast", "auto_map": ["tokenization_mine.BioGptTokenizer", None]},
    ],
)
@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_another_class_is_refused_by_its_name_and_its_tokens_are_listed(name: str, settings: dict[str, Any]) -> None:
    words = read_vocabulary(Memory(files_of(name) | {"tokenizer_config.json": json.dumps(settings).encode()}))
    assert len(words) in (len(KNOWN["words"]), KNOWN["folders"]["gpt2"]["size"])
    assert words.find("the").text.strip() == "the"
    with pytest.raises(NoVocabulary, match="BioGptTokenizer"):
        words.encode("the cat")
    categorizer = Categorizer(words)
    assert set(categorizer.each(list(words))) <= {None, Category.BYTE, Category.PARTIAL}
    assert "BioGptTokenizer" in categorizer.notes[0]


def test_a_class_that_reads_other_files_is_refused_by_its_name() -> None:
    files = files_of("gpt2") | {"tokenizer_config.json": b'{"tokenizer_class": "T5Tokenizer"}'}
    with pytest.raises(NoVocabulary, match=r"T5Tokenizer, does not read vocab\.json"):
        read_vocabulary(Memory(files)).encode("the cat")


def test_an_unknown_model_type_is_no_reason_to_guess() -> None:
    files = files_of("gpt2") | {"tokenizer_config.json": b"{}", "config.json": b'{"model_type": "gpt_bigcode"}'}
    with pytest.raises(NoVocabulary, match="gpt_bigcode"):
        read_vocabulary(Memory(files)).encode("the cat")


def test_a_folder_that_says_nothing_is_read_as_its_file_shows() -> None:
    files = {key: data for key, data in files_of("gpt2").items() if key != "tokenizer_config.json"}
    assert ids(read_vocabulary(Memory(files)), "the cat") == ids(read_vocabulary(Memory(files_of("gpt2"))), "the cat")
    marked = {key: data for key, data in files_of("openai").items() if key != "tokenizer_config.json"}
    with pytest.raises(NoVocabulary, match="nothing says which class"):
        read_vocabulary(Memory(marked)).encode("the cat")
    words = read_vocabulary(Memory({"vocab.txt": files_of("bert")["vocab.txt"]}))
    assert ids(words, "the cat", special=True)[0] == words.find("[CLS]").id


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({"vocab.json": b"{}", "merges.txt": b"", "added_tokens.json": b'{"x": "y"}'}, r"added_tokens\.json"),
        ({"vocab.json": b"{}", "merges.txt": b"", "special_tokens_map.json": b'{"bos_token": ["x"]}'}, "bos_token"),
        ({"vocab.txt": b"a", "tokenizer_config.json": b'{"added_tokens_decoder": {"x": {}}}'}, "invalid id"),
        ({"vocab.txt": b"a", "tokenizer_config.json": b'{"unk_token": 5}'}, "unk_token"),
        ({"spiece.model": b"x", "config.json": b'{"model_type": "t5"}'}, r"spiece\.model"),
    ],
)
def test_small_files_that_hold_something_else_are_named(files: dict[str, bytes], word: str) -> None:
    with pytest.raises(FormatError, match=word):
        read_vocabulary(Memory(files))


# --- SentencePiece


def trained(**settings: Any) -> bytes:
    spm = pytest.importorskip("sentencepiece", reason="these classes are made of its files: pip install sentencepiece")
    written = io.BytesIO()
    lines = [
        *TEXTS[2:6],
        *TEXTS[10:12],
        "the cat sat on the mat, 9, 10, playing",
        "a king and a queen",
        "Hello World",
    ] * 8
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=written, hard_vocab_limit=False, minloglevel=2, **settings
    )
    return written.getvalue()


def library(data: bytes) -> Any:
    spm = pytest.importorskip("sentencepiece")
    return spm.SentencePieceProcessor(model_proto=data)


def with_class(name: str, file: str, data: bytes, **settings: Any) -> Vocabulary:
    document = json.dumps({"tokenizer_class": name, **settings}).encode()
    return read_vocabulary(Memory({file: data, "tokenizer_config.json": document}))


PLAIN = [text for text in TEXTS if not any(mark in text for mark in "<[\x00\u00ad")]
SHIFTED = ("XLMRobertaTokenizer", "MBartTokenizer", "MBart50Tokenizer", "NllbTokenizer", "XGLMTokenizer")


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("name", [*SHIFTED, "CamembertTokenizer", "PegasusTokenizer"])
def test_classes_that_shift_the_ids_of_their_model(name: str, kind: str) -> None:
    pegasus = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1} if name == "PegasusTokenizer" else {}
    data = trained(vocab_size=120 if kind == "unigram" else 200, model_type=kind, **pegasus)
    shift = {"CamembertTokenizer": 4, "PegasusTokenizer": 103}.get(name, 1)
    own, unknown = library(data), 105 if name == "PegasusTokenizer" else 3
    words = with_class(name, "sentencepiece.bpe.model", data)
    for text in PLAIN:
        expected = [unknown if place == own.unk_id() else place + shift for place in own.encode(text)]
        assert ids(words, text) == expected, text
    for place in range(3, own.get_piece_size()):
        token = words.token(place + shift)
        assert token is not None
        assert token.piece == own.id_to_piece(place)


@pytest.mark.parametrize(
    ("name", "around"),
    [
        ("XLMRobertaTokenizer", ["<s>", "</s>"]),
        ("CamembertTokenizer", ["<s>", "</s>"]),
        ("MBartTokenizer", ["</s>", "en_XX"]),
        ("MBart50Tokenizer", ["en_XX", "</s>"]),
        ("NllbTokenizer", ["eng_Latn", "</s>"]),
        ("XGLMTokenizer", ["</s>"]),
        ("T5Tokenizer", ["</s>"]),
        ("DebertaV2Tokenizer", ["[CLS]", "[SEP]"]),
        ("AlbertTokenizer", ["[CLS]", "[SEP]"]),
        ("XLNetTokenizer", ["<sep>", "<cls>"]),
        ("LlamaTokenizer", ["<s>"]),
        ("ReformerTokenizer", []),
    ],
)
def test_what_stands_around_a_text(name: str, around: list[str]) -> None:
    words = with_class(name, "spiece.model", trained(vocab_size=120))
    plain, special = (words.encode("the cat", special=special) for special in (False, True))
    assert [token.piece for token in special if token not in plain] == around
    assert len(special) == len(plain) + len(around)


def test_a_language_and_the_older_order_are_those_that_the_folder_names() -> None:
    data = trained(vocab_size=120)
    words = with_class("NllbTokenizer", "sentencepiece.bpe.model", data, src_lang="deu_Latn", legacy_behaviour=True)
    assert [token.piece for token in words.encode("the", special=True)][-2:] == ["</s>", "deu_Latn"]
    assert [token.piece for token in words][-2:] == ["zul_Latn", "<mask>"]


@pytest.mark.parametrize("count", [100, 7])
def test_t5_has_further_tokens_behind_its_pieces(count: int) -> None:
    data = trained(vocab_size=120, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    own = library(data)
    words = with_class("T5Tokenizer", "spiece.model", data, **({} if count == 100 else {"extra_ids": count}))
    assert len(words) == own.get_piece_size() + count
    assert words.find("<extra_id_0>").id == len(words) - 1
    assert ids(words, "<extra_id_0>") == [len(words) - 1]
    assert [ids(words, text) for text in PLAIN] == [own.encode(text) for text in PLAIN]


def folded(text: str, *, lower: bool) -> str:
    """Fold as ALBERT and XLNet do before their model."""
    text = " ".join(text.split()).replace("``", '"').replace("''", '"')
    text = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return text.lower() if lower else text


@pytest.mark.parametrize(("name", "lower"), [("AlbertTokenizer", True), ("XLNetTokenizer", False)])
def test_albert_and_xlnet_fold_before_their_model(name: str, *, lower: bool) -> None:
    data = trained(vocab_size=120)
    own = library(data)
    words = with_class(name, "spiece.model", data, do_lower_case=lower)
    for text in PLAIN:
        if not any("COMBINING" in unicodedata.name(letter, "") for letter in text) and "9," not in text:
            assert ids(words, text) == own.encode(folded(text, lower=lower)), text
    kept = with_class(name, "spiece.model", data, do_lower_case=False, keep_accents=True)
    assert ids(kept, "café Hello") == own.encode("café Hello")


LLAMA = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True}


def test_llama_and_gemma_are_byte_pairs_by_score() -> None:
    llama = trained(vocab_size=450, model_type="bpe", **LLAMA)
    words = with_class("LlamaTokenizer", "tokenizer.model", llama)
    assert [ids(words, text) for text in PLAIN] == [library(llama).encode(text) for text in PLAIN]
    assert ids(words, "the", special=True)[0] == library(llama).bos_id()
    without = with_class("LlamaTokenizer", "tokenizer.model", llama, add_bos_token=False, add_eos_token=True)
    assert ids(without, "the", special=True)[-1] == library(llama).eos_id()
    settings = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "add_dummy_prefix": False}
    gemma = trained(vocab_size=450, model_type="bpe", eos_piece="<eos>", bos_piece="<bos>", **LLAMA, **settings)
    words = with_class("GemmaTokenizer", "tokenizer.model", gemma)
    assert [ids(words, text) for text in PLAIN] == [library(gemma).encode(text) for text in PLAIN]
    assert ids(words, "<bos>the", special=True)[:2] == [2, 2]


def test_marian_takes_its_ids_from_vocab_json() -> None:
    data = trained(vocab_size=120)
    own = library(data)
    listed = ["</s>", "<unk>", *(own.id_to_piece(place) for place in reversed(range(20, own.get_piece_size())))]
    vocabulary = {piece: place for place, piece in enumerate([*listed, ">>fra<<", "<pad>"])}
    files = {
        "vocab.json": json.dumps(vocabulary).encode(),
        "source.spm": data,
        "target.spm": data,
        "tokenizer_config.json": b'{"tokenizer_class": "MarianTokenizer"}',
    }
    words = read_vocabulary(Memory(files))
    for text in PLAIN:
        assert ids(words, text) == [vocabulary.get(piece, 1) for piece in own.encode(text, out_type=str)], text
    assert ids(words, ">>fra<<the", special=True)[0] == vocabulary[">>fra<<"]
    assert ids(words, "the", special=True)[-1] == 0
    del vocabulary["<unk>"]
    with pytest.raises(FormatError, match="<unk>"):
        read_vocabulary(Memory(files | {"vocab.json": json.dumps(vocabulary).encode()})).encode("x")


MAPPED = ["<s>", "<pad>", "</s>", "<unk>"]


@pytest.mark.parametrize(
    ("settings", "around"),
    [
        ({"tokenizer_class": "M2M100Tokenizer"}, ("__en__", "</s>")),
        ({"tokenizer_class": "M2M100Tokenizer", "src_lang": "de", "language_codes": "wmt21"}, ("__de__", "</s>")),
        ({"tokenizer_class": "Speech2TextTokenizer"}, (None, "</s>")),
    ],
)
def test_pieces_that_vocab_json_numbers_are_split_by_the_library(
    settings: dict[str, str], around: tuple[str | None, str]
) -> None:
    data = trained(vocab_size=120)
    own = library(data)
    listed = [*MAPPED, *(own.id_to_piece(place) for place in reversed(range(20, own.get_piece_size())))]
    vocabulary = {piece: place for place, piece in enumerate(listed)}
    files = {
        "vocab.json": json.dumps(vocabulary).encode(),
        "sentencepiece.bpe.model": data,
        "tokenizer_config.json": json.dumps(settings).encode(),
    }
    words = read_vocabulary(Memory(files))
    for text in PLAIN:
        plain = [vocabulary.get(piece, 3) for piece in own.encode(text, out_type=str)]
        assert ids(words, text) == plain, text
        framed = [words.find_piece(token).id for token in around if token is not None]
        assert ids(words, text, special=True) == [*framed[:-1], *plain, framed[-1]], text
    if around[0] is not None:
        assert words.find_piece("__en__").id >= len(vocabulary)
        assert words.find_piece("__de__").special


def test_siglip_leaves_out_marks_and_ends_once() -> None:
    data = trained(vocab_size=120, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    own = library(data)
    files = {"spiece.model": data, "tokenizer_config.json": b'{"tokenizer_class": "SiglipTokenizer"}'}
    words = read_vocabulary(Memory(files))
    assert ids(words, "  The CAT, (sat)!") == own.encode("the cat sat")
    assert ids(words, "the cat", special=True) == [*own.encode("the cat"), 1]
    assert ids(words, "the cat </s>", special=True) == [*own.encode("the cat"), 1]
    assert "".join(token.piece for token in words.encode("</s> the")) == "</s>the"


def test_gpt_sw3_folds_spaces_and_leaves_out_what_is_not_printed() -> None:
    data = trained(vocab_size=120)
    files = {"spiece.model": data, "tokenizer_config.json": b'{"tokenizer_class": "GPTSw3Tokenizer"}'}
    words = read_vocabulary(Memory(files))
    assert ids(words, "the\u2009c\u00ada\x07t\u200b", special=True) == library(data).encode("the cat")
    assert ids(words, "<|endoftext|>") == [words.find_piece("<|endoftext|>").id]


def test_what_a_class_is_not_known_to_do_is_refused_by_its_name() -> None:
    settings = {"tokenizer_class": "SpeechT5Tokenizer", "normalize": True}
    files = {"spm_char.model": trained(vocab_size=120), "tokenizer_config.json": json.dumps(settings).encode()}
    with pytest.raises(NoVocabulary, match="SpeechT5Tokenizer splits text with normalize"):
        read_vocabulary(Memory(files))
    files["tokenizer_config.json"] = b'{"tokenizer_class": "SpeechT5Tokenizer"}'
    assert ids(read_vocabulary(Memory(files)), "the cat") == library(files["spm_char.model"]).encode("the cat")


@pytest.mark.parametrize(
    "options",
    [
        {"never_split": ["the"]},
        {"do_basic_tokenize": False},
        {"clean_text": False},
        {"wordpieces_prefix": "@@"},
    ],
)
def test_bert_passes_over_what_its_class_passes_over(options: dict[str, Any]) -> None:
    settings = json.loads(files_of("bert")["tokenizer_config.json"])
    changed = files_of("bert") | {"tokenizer_config.json": json.dumps({**settings, **options}).encode()}
    expected, found = read_vocabulary(Memory(files_of("bert"))), read_vocabulary(Memory(changed))
    for text in [*TEXTS, "the\x00 THE, cat."]:
        assert ids(found, text, special=True) == ids(expected, text, special=True)


def test_lines_of_vocab_txt_may_end_in_any_way() -> None:
    plain = files_of("bert")
    expected = read_vocabulary(Memory(plain))
    for end in (b"\r\n", b"\r"):
        found = read_vocabulary(Memory(plain | {"vocab.txt": plain["vocab.txt"].replace(b"\n", end)}))
        assert list(found) == list(expected)


@pytest.mark.parametrize(
    ("config", "older", "expected"),
    [
        ({"additional_special_tokens": ["<a>"]}, {"additional_special_tokens": ["<m>"]}, ["<a>"]),
        ({"extra_special_tokens": ["<a>"]}, {"extra_special_tokens": ["<m>", "<a>"]}, ["<a>", "<m>"]),
        ({"extra_special_tokens": ["<a>"], "additional_special_tokens": ["<b>"]}, {}, ["<a>"]),
        ({}, {"additional_special_tokens": ["<m>"]}, ["<m>"]),
        ({"image_token": "<i>", "extra_special_tokens": {"sound_token": "<s1>"}}, {}, ["<i>", "<s1>"]),
        ({"image_token": "<i>", "extra_special_tokens": {"image_token": "<j>"}}, {}, ["<j>"]),
    ],
)
def test_files_that_name_other_special_tokens_count_as_transformers_has_it(
    config: dict[str, Any], older: dict[str, Any], expected: list[str]
) -> None:
    settings = json.loads(files_of("bert")["tokenizer_config.json"])
    files = files_of("bert") | {
        "tokenizer_config.json": json.dumps({**settings, **config}).encode(),
        "special_tokens_map.json": json.dumps(older).encode(),
    }
    words, size = read_vocabulary(Memory(files)), len(read_vocabulary(Memory(files_of("bert"))))
    assert [token.piece for token in words if token.id >= size] == expected
    assert all(token.special for token in words if token.id >= size)


def test_of_two_added_tokens_with_one_id_the_last_counts() -> None:
    size = len(read_vocabulary(Memory(files_of("bert"))))
    added = json.dumps({"<x>": size, "<y>": size}).encode()
    words = read_vocabulary(Memory(files_of("bert") | {"added_tokens.json": added}))
    assert [token.piece for token in words if token.id >= size] == ["<y>"]


def test_whispers_languages_are_known_by_their_names() -> None:
    settings = {"tokenizer_class": "WhisperTokenizer", "language": "Haitian Creole", "task": "transcribe"}
    added = ["<|startoftranscript|>", "<|ht|>", "<|transcribe|>", "<|notimestamps|>"]
    files = files_of("gpt2") | {
        "tokenizer_config.json": json.dumps({**settings, "additional_special_tokens": added}).encode()
    }
    words = read_vocabulary(Memory(files))
    assert [token.piece for token in words.encode("the", special=True)][:4] == added


@pytest.mark.parametrize(("size", "languages"), [(None, 99), (51_865, 99), (51_866, 100), (5, 99)])
@pytest.mark.few(3)
def test_whispers_tasks_follow_its_languages(size: int | None, languages: int) -> None:
    lines = [base64.b64encode(place.to_bytes(2, "big")) + b" %d\n" % place for place in range(50_256)]
    files = {"multilingual.tiktoken": b"".join(lines) + b"= 50256\n"}
    if size is not None:
        files["config.json"] = json.dumps({"model_type": "whisper", "vocab_size": size}).encode()
    words = read_vocabulary(Memory(files))
    assert words.find_piece("<|endoftext|>").id == 50_257
    assert words.find_piece("<|translate|>").id == 50_259 + languages
    assert words.find_piece("<|notimestamps|>").id == 50_264 + languages
    assert words.find_piece("<|30.00|>").id == 50_265 + languages + 1500
    assert ("<|yue|>" in {token.piece for token in words}) == (languages == 100)


def test_a_class_without_a_file_of_its_own_is_named() -> None:
    with pytest.raises(NoVocabulary, match="its class, EsmcTokenizer, is not known"):
        read_vocabulary(Memory({"tokenizer_config.json": b'{"tokenizer_class": "EsmcTokenizer"}'}))


def test_without_a_class_a_shifting_file_has_no_ids(run: Program, tmp_path: Path) -> None:
    data = trained(vocab_size=120)
    with pytest.raises(NoVocabulary, match=r"sentencepiece\.bpe\.model is there"):
        read_vocabulary(Memory({"sentencepiece.bpe.model": data}))
    (tmp_path / "config.json").write_text('{"model_type": "xlm-roberta"}')
    (tmp_path / "sentencepiece.bpe.model").write_bytes(data)
    run("tokens", "-m", tmp_path, "the").ok()
    for other in ({"tokenizer_class": "M2M100Tokenizer"}, {"tokenizer_class": "MyTokenizer"}):
        write_json(tmp_path / "tokenizer_config.json", other)
        run("tokens", "-m", tmp_path, "the").refused(3, "sentencepiece.bpe.model", other["tokenizer_class"])


# --- other files


def test_tekken_is_cut_by_its_own_expression() -> None:
    characters = {piece: place for place, piece in enumerate(pieces())}
    from small_models import byte_characters  # noqa: PLC0415 - the table of this test

    byte = {character: place for place, character in byte_characters().items()}
    tokens = [bytes(byte[character] for character in piece) for piece in characters]
    special = [{"rank": place, "token_str": text} for place, text in enumerate(("<unk>", "<s>", "</s>"))]
    document = {
        "config": {
            "pattern": FLAVOURS[50_256].cut,
            "default_vocab_size": len(tokens) + 5,
            "default_num_special_tokens": 5,
        },
        "vocab": [
            {"rank": place, "token_bytes": base64.b64encode(token).decode()}
            for place, token in enumerate([*tokens, b"zz"])
        ],
        "special_tokens": special,
    }
    words = read_vocabulary(Memory({"tekken.json": json.dumps(document).encode()}))
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken merges the same ranks")
    ranks = {token: place for place, token in enumerate(tokens)}
    own = tiktoken.Encoding("own", pat_str=FLAVOURS[50_256].cut, mergeable_ranks=ranks, special_tokens={})
    for text in ("the cat sat", " strawberry king", "naïve 日本 🍓", "a  b\n"):
        assert ids(words, text) == [place + 5 for place in own.encode(text)], text
    assert ids(words, "a</s>", special=True)[0] == 1
    assert ids(words, "</s>") == [2]
    assert [token.piece for token in words][3:5] == ["<SPECIAL_3>", "<SPECIAL_4>"]
    assert len(words) == len(tokens) + 5
    older = read_vocabulary(
        Memory({"tekken.json": json.dumps({k: v for k, v in document.items() if k != "special_tokens"}).encode()})
    )
    assert older.find("[TOOL_CALLS]").id == 9
    for broken in ({}, {"config": {"pattern": "x"}}, {"config": {"pattern": "x"}, "vocab": [{"token_bytes": "?"}]}):
        with pytest.raises(FormatError, match=r"tekken\.json"):
            read_vocabulary(Memory({"tekken.json": json.dumps(broken).encode()}))


def test_merges_of_ranks_are_in_their_order() -> None:
    assert byte_merges({b"a": 0, b"b": 1, b"ab": 3, b"c": 2, b"abc": 4}) == [(b"a", b"b"), (b"ab", b"c")]


WORLD = b"""1 '\\x00' 1
2 'a' 1
3 'b' 1
4 ' ' 1
5 ' the' 4
6 'hello' 5
7 '"' 1
8 b'\\xe6\\x97' 2
9 '\xe6\x97\xa5' 3
"""


@pytest.mark.parametrize("file", ["vocab.txt", "rwkv_vocab_v20230424.txt"])
def test_rwkvs_list_is_cut_longest_first(file: str) -> None:
    words = read_vocabulary(Memory({file: WORLD, "tokenizer_config.json": b'{"tokenizer_class": "RwkvTokenizer"}'}))
    assert ids(words, 'hello theab"日') == [6, 5, 2, 3, 7, 9]
    assert words.find_bytes(b"\xe6\x97").id == 8
    assert words.find("the").id == 5
    with pytest.raises(NoVocabulary, match="0x7a"):
        words.encode("z")
    for line in (b"10 'x' 2\n", b"10 x 1\n", b"10 'x'.y 1\n", b"10 __import__('os') 1\n"):
        with pytest.raises(FormatError, match="line 10"):
            read_vocabulary(Memory({file: WORLD + line}))


@pytest.mark.parametrize(
    ("file", "name"), [("vocab.txt", "RwkvTokenizer"), ("qwen.tiktoken", "QWenTokenizer"), ("vocab.txt", "T5Tokenizer")]
)
def test_a_file_that_is_not_what_its_class_reads_is_listed(file: str, name: str) -> None:
    data = trained(vocab_size=120) if file == "qwen.tiktoken" else b"king\nqueen\n"
    words = read_vocabulary(
        Memory({file: data, "tokenizer_config.json": json.dumps({"tokenizer_class": name}).encode()})
    )
    assert len(words) > 1
    with pytest.raises(NoVocabulary, match=f"{name}, does not read"):
        words.encode("kings")


def test_whispers_empty_token_is_a_rank_that_no_text_has() -> None:
    data = b"".join(base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256)) + b"aGk= 256\n= 257\n"
    words = read_vocabulary(Memory({"multilingual.tiktoken": data}))
    assert words.find("hi").id == 256
    assert words.token(257) is None
    assert words.find("<|endoftext|>").id == 258
    assert words.find("<|su|>").id == 258 + 100


def test_a_file_that_is_not_read_is_named(run: Program, tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", config())
    (tmp_path / "ice_text.model").write_bytes(b"x")
    run("tokens", "-m", tmp_path, "the").refused(3, "ice_text.model")
    assert "ice_text.model" in " ".join(run("info", tmp_path, "--json").ok().of("note"))
    (tmp_path / "vocab.txt").write_text("[UNK]\n[CLS]\n[SEP]\nking\n")
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    assert "ice_text.model" in " ".join(run("info", tmp_path, "--json").ok().of("note"))


# --- what stands beside a tokenizer.json


def beside(**files: Any) -> Vocabulary:
    encoded = {f"{name}.json": json.dumps(content).encode() for name, content in files.items()}
    return read_vocabulary(Memory({"tokenizer.json": json.dumps(tokenizer_json()).encode(), **encoded}))


def test_tokens_that_are_added_at_load_count() -> None:
    count = len(beside())
    words = beside(tokenizer_config={"pad_token": "<pad>", "additional_special_tokens": ["<x>"]})
    assert [token.piece for token in words][count:] == ["<pad>", "<x>"]
    assert ids(words, "a<pad><x>") == [words.find("a", exact=True).id, count, count + 1]
    words = beside(
        added_tokens={"<b>": 9, "<a>": 8}, special_tokens_map={"pad_token": {"content": "<a>", "lstrip": True}}
    )
    assert [(token.piece, token.special) for token in words][count:] == [("<a>", True), ("<b>", False)]
    decoder = {"7": {"content": "king", "special": False}, "8": {"content": "<c>", "special": True}}
    words = beside(tokenizer_config={"added_tokens_decoder": decoder}, added_tokens={"<not>": 3})
    assert words.find_piece("king").id == beside().find_piece("king").id
    assert [token.piece for token in words][count:] == ["<c>"]


def test_a_broken_file_beside_it_is_told(run: Program, tmp_path: Path) -> None:
    write_json(tmp_path / "tokenizer.json", tokenizer_json())
    for broken in ("x", "[]", '{"added_tokens_decoder": []}'):
        (tmp_path / "tokenizer_config.json").write_text(broken)
        run("tokens", "-m", tmp_path, "a").ok()
        assert "tokenizer_config.json" in " ".join(run("info", tmp_path, "--json").ok().of("note"))


def test_an_added_token_that_is_none_is_told_with_files_beside_it(run: Program, tmp_path: Path) -> None:
    write_json(tmp_path / "tokenizer.json", tokenizer_json() | {"added_tokens": [{"id": 7, "content": {"type": "x"}}]})
    write_json(tmp_path / "tokenizer_config.json", {"pad_token": "<pad>"})
    run("tokens", "-m", tmp_path, "a").refused(6, "an added token without an id or a content")


def test_such_tokens_are_found_and_checked_like_others(run: Program, tmp_path: Path) -> None:
    rows = len(beside())
    write_json(tmp_path / "tokenizer.json", tokenizer_json())
    write_json(tmp_path / "tokenizer_config.json", {"pad_token": "<pad>"})
    write_json(tmp_path / "config.json", config(vocab_size=rows))
    (tmp_path / "model.safetensors").write_bytes(
        safetensors({"model.embed_tokens.weight": ("F32", (rows, 4), bytes(rows * 16))})
    )
    assert run("tokens", "-m", tmp_path, "a<pad>", "--json").ok().document["tokens"][-1]["id"] == rows
    found = run("vocab", "-m", tmp_path, "pad", "--json").ok().document["tokens"]
    assert [token["id"] for token in found] == [rows]
    rules = [finding["rule"] for finding in run("check", tmp_path, "--json").document["findings"]]
    assert "tokens-beyond-table" in rules


# --- categories


def test_words_that_carry_an_end_mark_are_reached() -> None:
    words = read_vocabulary(Memory(files_of("clip")))
    found = {token.piece: category for token, category in zip(words, Categorizer(words).each(list(words)), strict=True)}
    assert found["the</w>"] is Category.NORMAL
    assert found["th"] is Category.NORMAL
    assert words.find("the").piece == "the</w>"


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_space_behind_and_a_space_alone_are_reached(kind: str) -> None:
    data = trained(vocab_size=100 if kind == "unigram" else 180, model_type=kind, treat_whitespace_as_suffix=True)
    words = read_vocabulary(Memory({"tokenizer.model": data}))
    found = {token.piece: category for token, category in zip(words, Categorizer(words).each(list(words)), strict=True)}
    assert found["▁"] is Category.NORMAL
    assert found["the▁"] is Category.NORMAL
    lost = [piece for piece, category in found.items() if category is Category.UNREACHABLE]
    assert len(lost) < len(found) / 10, lost


def test_the_mark_of_a_space_alone_is_reached() -> None:
    words = with_class("T5Tokenizer", "spiece.model", trained(vocab_size=120))
    assert Categorizer(words).each([words.find_piece("▁")]) == [Category.NORMAL]
