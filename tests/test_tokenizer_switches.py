"""What the small files of a folder switch: text is split as transformers splits it.

`data/tokenizer_switches.json` holds small folders and the ids that transformers 5.24 gives texts with them
(`tools/record_tokenizer_switches.py`). Where embtool keeps to sentencepiece, that library is the judge.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from sources import Memory

from embtool.errors import EmbtoolError, NoVocabulary
from embtool.vocabulary import Vocabulary, read_vocabulary
from embtool.vocabulary.ordinary import judge

KNOWN = json.loads((Path(__file__).parent / "data" / "tokenizer_switches.json").read_text("utf-8"))


def files_of(name: str) -> dict[str, bytes]:
    """Give the files of a recorded folder."""
    described, files = KNOWN["folders"][name], {}
    for file, key in described["files"].items():
        content = KNOWN["contents"][key]
        if file.endswith(".model"):
            files[file] = base64.b64decode(content)
        else:
            files[file] = content.encode() if file.endswith(".txt") else json.dumps(content).encode()
    for file in ("tokenizer_config", "special_tokens_map", "added_tokens"):
        if file in described:
            files[f"{file}.json"] = json.dumps(described[file]).encode()
    return files


def ids(vocabulary: Vocabulary, text: str) -> list[int]:
    return [token.id for token in vocabulary.encode(text, special=True)]


@pytest.mark.parametrize("name", KNOWN["folders"])
def test_texts_are_split_as_transformers_splits_them(name: str) -> None:
    files = files_of(name)
    if any(file.endswith(".model") for file in files):
        pytest.importorskip("sentencepiece", reason="reads its files: pip install sentencepiece")
    words = read_vocabulary(Memory(files))
    found = {text: ids(words, text) for text in KNOWN["texts"]}
    assert found == dict(zip(KNOWN["texts"], KNOWN["folders"][name]["ids"], strict=True))


# --- where transformers' classes of 5.24 leave their own model's file, embtool keeps to sentencepiece (docs/formats.md)


LINES = [
    "the cat sat on the mat, 9, 10, playing",
    "a king and a queen said Hello World",
    "naïve café, naïve café ﬁ ①",
    "return x, new lines under the tab",
] * 8
PLAIN = [
    *("the cat sat", "  two  spaces  ", " ", "\ttab\nnew\n\nlines ", "ﬁ ① é a\u00a0b\u3000c", "▁under ▁ x", "\r\n a"),
    "café naïve",
]
KEPT: dict[str, dict[str, Any]] = {
    "MBartTokenizer": {"shift": 1},
    "MBart50Tokenizer": {"shift": 1},
    "NllbTokenizer": {"shift": 1, "model_type": "bpe"},
    "XGLMTokenizer": {"shift": 1},
    "SeamlessM4TTokenizer": {"shift": 1, "unknown": 1, "model_type": "bpe"},
    "DebertaV2Tokenizer": {"unk_piece": "[UNK]", "bos_piece": "[CLS]", "eos_piece": "[SEP]"},
    "UdopTokenizer": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "ReformerTokenizer": {"model_type": "bpe"},
    "BigBirdTokenizer": {"model_type": "bpe"},
    "BarthezTokenizer": {"bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3},
}


def trained(**settings: Any) -> bytes:
    spm = pytest.importorskip("sentencepiece", reason="these classes are made of its files: pip install sentencepiece")
    written = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_writer=written,
        hard_vocab_limit=False,
        minloglevel=2,
        vocab_size=400 if settings.get("model_type") == "bpe" else 90,
        **settings,
    )
    return written.getvalue()


def with_class(name: str, data: bytes, **settings: Any) -> Vocabulary:
    document = json.dumps({"tokenizer_class": name, **settings}).encode()
    return read_vocabulary(Memory({"sentencepiece.bpe.model": data, "tokenizer_config.json": document}))


@pytest.mark.parametrize("name", KEPT)
def test_pieces_are_those_of_the_library(name: str) -> None:
    settings = dict(KEPT[name])
    shift, unknown = settings.pop("shift", 0), settings.pop("unknown", 3)
    data = trained(**settings)
    own = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_proto=data)
    words = with_class(name, data)
    unknown = unknown if shift else own.unk_id()
    for text in PLAIN:
        expected = [unknown if place == own.unk_id() else place + shift for place in own.encode(text)]
        assert [token.id for token in words.encode(text)] == expected, text


@pytest.mark.parametrize("legacy", [{}, {"legacy": True}, {"legacy": None}])
def test_a_llama_keeps_its_spaces_and_its_beginning(legacy: dict[str, Any]) -> None:
    data = trained(
        model_type="bpe", byte_fallback=True, remove_extra_whitespaces=False, normalization_rule_name="identity"
    )
    own = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_proto=data)
    words = with_class("LlamaTokenizer", data, **legacy)
    for text in PLAIN:
        assert ids(words, text) == [own.bos_id(), *own.encode(text)], text
    assert ids(words, "<s>the")[2:] == own.encode("the")
    assert ids(with_class("LlamaTokenizer", data, legacy=False), " the")[1:] == own.encode("the")
    assert ids(with_class("LlamaTokenizer", data, add_bos_token=False), "the") == own.encode("the")


@pytest.mark.parametrize(
    ("name", "settings", "begin", "end"),
    [
        ("FNetTokenizer", {}, ["[CLS]"], ["[SEP]"]),
        ("RemBertTokenizer", {}, ["[CLS]"], ["[SEP]"]),
        ("BarthezTokenizer", {}, ["<s>"], ["</s>"]),
        ("NllbTokenizer", {"src_lang": "fra_Latn"}, ["fra_Latn"], ["</s>"]),
        ("GemmaTokenizer", {}, ["<bos>"], []),
    ],
)
def test_what_stands_around_a_text_is_what_the_class_says_of_itself(
    name: str, settings: dict[str, Any], begin: list[str], end: list[str]
) -> None:
    special = {"control_symbols": ["[CLS]", "[SEP]", "[MASK]", "<bos>", "<eos>"]}
    words = with_class(name, trained(**special), **settings)
    pieces = [token.piece for token in words.encode("the", special=True)]
    assert pieces == [*begin, *(token.piece for token in words.encode("the")), *end]


@pytest.mark.parametrize(
    "name", ["MBart50Tokenizer", "NllbTokenizer", "PegasusTokenizer", "ReformerTokenizer", "XGLMTokenizer"]
)
def test_spaces_at_the_end_are_no_token(name: str) -> None:
    words = with_class(name, trained(model_type="bpe"))
    for text in ("the cat", "the", "a king</s> sat"):
        assert ids(words, f"{text}  ") == ids(words, text)


@pytest.mark.parametrize(
    ("name", "settings", "folded"),
    [
        ("XLNetTokenizer", {}, "naive cafe"),
        ("XLNetTokenizer", {"keep_accents": True}, "naïve café"),
        ("XLNetTokenizer", {"keep_accents": False, "do_lower_case": True}, "naive cafe"),
        ("FNetTokenizer", {}, "naïve café"),
        ("FNetTokenizer", {"keep_accents": False}, "naive cafe"),
        ("FNetTokenizer", {"do_lower_case": True, "keep_accents": False}, "naive cafe"),
    ],
)
def test_accents_are_kept_as_the_switch_says(name: str, settings: dict[str, Any], folded: str) -> None:
    words = with_class(name, trained(character_coverage=1.0), **settings)
    assert ids(words, "naïve café") == ids(words, folded)
    assert (ids(words, "naïve café") == ids(words, "naive cafe")) == (folded == "naive cafe")


def test_the_unknown_token_of_rembert_is_the_models() -> None:
    data = trained(unk_piece="[UNK]", unk_id=7, bos_id=1, eos_id=2)
    assert with_class("RemBertTokenizer", data).encode("\u1234")[-1].id == 7


@pytest.mark.parametrize("name", ["PLBartTokenizer", "BartphoTokenizer"])
def test_further_tokens_of_a_folder_follow_behind_the_last_id(name: str) -> None:
    data, listed = trained(), b"\xe2\x96\x81the 9\n\xe2\x96\x81cat 8\n"
    read = []
    for settings in ({}, {"additional_special_tokens": ["<new>", "<newer>"]}):
        config = json.dumps({"tokenizer_class": name, **settings}).encode()
        files = {"sentencepiece.bpe.model": data, "dict.txt": listed, "tokenizer_config.json": config}
        read.append(read_vocabulary(Memory(files)))
    plain, more = read
    last = int(plain.ids[-1])
    assert more.ids.tolist() == [*plain.ids.tolist(), last + 1, last + 2]
    assert [token.id for token in more.encode("<newer><new>")] == [last + 2, last + 1]
    assert [token.id for token in more.encode("the cat")] == [token.id for token in plain.encode("the cat")]


def test_a_token_of_the_settings_does_not_replace_another_in_the_post_processor() -> None:
    files = files_of("bert-json split_special_tokens")
    files["tokenizer_config.json"] = b"{}"
    plain = read_vocabulary(Memory(files))
    files["tokenizer_config.json"] = b'{"cls_token": "<new>", "sep_token": "<newer>"}'
    words = read_vocabulary(Memory(files))
    assert ids(words, "the cat") == ids(plain, "the cat")
    assert ids(words, "the cat") != [token.id for token in words.encode("the cat")]
    assert len(words.encode("<new>")) == 1


@pytest.mark.parametrize("name", ["RobertaTokenizer", "BartTokenizer", "LongformerTokenizer"])
def test_a_mask_takes_the_space_before_it(name: str) -> None:
    files = files_of("roberta add_prefix_space")
    files["tokenizer_config.json"] = json.dumps({"tokenizer_class": name}).encode()
    words = read_vocabulary(Memory(files))
    assert [token.piece for token in words.encode("hi <mask> there")] == [
        token.piece for token in words.encode("hi<mask> there")
    ]


def test_a_seamless_text_begins_with_its_language() -> None:
    languages = ["__eng__", "__fra__"]
    settings = {"additional_special_tokens": languages, "src_lang": "fra"}
    words = with_class("SeamlessM4TTokenizer", trained(model_type="bpe"), **settings)
    pieces = [token.piece for token in words.encode("the<s>the", special=True)]
    start = pieces.index("<s>")
    assert (pieces[0], pieces[-1]) == ("__fra__", "</s>")
    assert (pieces[1][0], pieces[start + 1][0]) == ("▁", "t")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("BertJapaneseTokenizer", "MeCab"),
        ("MLukeTokenizer", "a way of its own"),
        ("NougatTokenizer", r"tokenizer\.json"),
    ],
)
def test_a_class_that_is_not_split_says_why(name: str, why: str) -> None:
    files = files_of("bert cased") | {"tokenizer_config.json": json.dumps({"tokenizer_class": name}).encode()}
    words = read_vocabulary(Memory(files))
    assert words.find("the").text == "the"
    with pytest.raises(NoVocabulary, match=f"{name}, .*{why}.*, so text cannot be split"):
        words.encode("the cat")


def test_luke_is_a_roberta_with_two_tokens_for_entities() -> None:
    files = files_of("roberta add_prefix_space")
    files["entity_vocab.json"] = b'{"[UNK]": 0, "[PAD]": 1, "[MASK]": 2, "[MASK2]": 3}'
    read = {}
    for name in ("RobertaTokenizer", "LukeTokenizer"):
        files["tokenizer_config.json"] = json.dumps({"tokenizer_class": name}).encode()
        read[name] = read_vocabulary(Memory(files))
    size = len(read["RobertaTokenizer"])
    for text in (text for text in KNOWN["texts"] if "<ent>" not in text):
        assert ids(read["LukeTokenizer"], text) == ids(read["RobertaTokenizer"], text)
    assert [token.id for token in read["LukeTokenizer"].encode("<ent><ent2>")] == [size, size + 1]
    assert read["LukeTokenizer"].unread == ("entity_vocab.json",)


@pytest.mark.parametrize(
    ("settings", "files", "words"),
    [
        ({"tokenizer_class": "PLBartTokenizer", "language_codes": "all"}, {}, "unknown languages 'all'"),
        ({"tokenizer_class": "BartphoTokenizer"}, {}, "no dict.txt"),
        ({"tokenizer_class": "BartphoTokenizer"}, {"dict.txt": b"a 1\n\nb 2\n"}, "line 2 of dict.txt is empty"),
        ({"tokenizer_class": "BartphoTokenizer"}, {"dict.txt": b"<!DOCTYPE html>"}, "dict.txt is an HTML"),
    ],
)
def test_what_a_class_of_fairseq_lacks_is_named(settings: dict[str, Any], files: dict[str, bytes], words: str) -> None:
    document = json.dumps(settings).encode()
    with pytest.raises(EmbtoolError) as caught:
        read_vocabulary(Memory({"sentencepiece.bpe.model": trained(), "tokenizer_config.json": document, **files}))
    assert words in caught.value.message


# --- further ids of transformers 5.24


def with_config(name: str, **settings: Any) -> Vocabulary:
    """Read a recorded folder with other settings."""
    files = files_of(name)
    if any(file.endswith(".model") for file in files):
        pytest.importorskip("sentencepiece", reason="reads its files: pip install sentencepiece")
    known = KNOWN["folders"][name]["tokenizer_config"]["tokenizer_class"]
    document = json.dumps({"tokenizer_class": known, **settings}).encode()
    return read_vocabulary(Memory(files | {"tokenizer_config.json": document}))


@pytest.mark.parametrize("name", ["gpt2-plain-json split_special_tokens", "gpt2-json around"])
@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, [64, 220, 485, 220, 295, 485, 66]),
        ({"rstrip": True}, [64, 220, 485, 65, 485, 66]),
        ({"rstrip": True, "special": False}, [64, 220, 485, 65, 485, 66]),
        ({"single_word": True}, [64, 220, 485, 220, 295, 27, 91, 332, 282, 69, 454, 91, 29, 66]),
    ],
)
def test_a_token_is_found_as_the_settings_say_not_the_tokenizer_json(
    name: str, flags: dict[str, bool], expected: list[int]
) -> None:
    token = {"content": "<|endoftext|>", "special": True, **flags}
    for more in ({}, {"eos_token": "<|endoftext|>"}):
        words = with_config(name, added_tokens_decoder={"485": token}, **more)
        text = "a <|endoftext|>  b<|endoftext|>c"
        assert [found.id for found in words.encode(text)] == expected
        assert bool(len(words.special_ids)) == (token["special"] or bool(more))


def test_a_special_token_of_qwen2_takes_no_spaces() -> None:
    token = {"content": "##s", "rstrip": True, "single_word": True, "__type": "AddedToken"}
    words = with_config("qwen2 split_special_tokens", sep_token=token, extra_special_tokens=["é"])
    expected = [27, 84, 77, 74, 29, 64, 491, 220, 491, 58, 52, 45, 42, 60, 27, 80, 29]
    assert [found.id for found in words.encode("<unk>a##s ##s[UNK]<q>")] == expected


@pytest.mark.parametrize(
    ("name", "settings", "text", "expected"),
    [
        ("sw3 legacy", {"unk_token": None, "pad_token": None}, "<pad>THE▁the", [37, 3, 0, 24, 0, 8]),
        ("bertgen legacy", {"unk_token": None}, "é xthecat", [3, 0, 3, 31, 16, 17, 19, 13]),
        ("bertgen legacy", {"unk_token": " x"}, "<q>▁the", [3, 0, 28, 0, 8]),
        ("speecht5 legacy", {"unk_token": "<q>"}, " xTHE", [3, 31, 0, 24, 0]),
    ],
)
def test_what_is_unknown_is_the_models_own(name: str, settings: dict[str, Any], text: str, expected: list[int]) -> None:
    assert [token.id for token in with_config(name, **settings).encode(text)] == expected


# --- a special token that is split like any other text, where the tokens come from other files


SPLIT = b'{"split_special_tokens": true'


def test_an_unusual_tokenizer_splits_it_in_its_own_process() -> None:
    name = "bert-json split_special_tokens"
    files = files_of(name)
    files["tokenizer.json"] = files["tokenizer.json"].replace(b'"version"', b'"\\u0076ersion"', 1)
    words = read_vocabulary(Memory(files))
    assert [ids(words, text) for text in KNOWN["texts"]] == KNOWN["folders"][name]["ids"]
    assert judge(files["tokenizer.json"]).unusual is not None


def test_tiktokens_files_split_it_too() -> None:
    pytest.importorskip("tiktoken", reason="splits text for its files: pip install tiktoken")
    ranks = b"".join(base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256))
    for config, count in (
        (b'{"tokenizer_class": "QWenTokenizer"}', 1),
        (SPLIT + b', "tokenizer_class": "QWenTokenizer"}', 13),
    ):
        words = read_vocabulary(Memory({"x.tiktoken": ranks, "tokenizer_config.json": config}))
        assert len(words.encode("<|endoftext|>")) == count


def test_tekken_splits_it_too() -> None:
    document = {
        "config": {"pattern": r"\S+|\s+", "default_num_special_tokens": 3},
        "vocab": [{"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode()} for byte in range(256)],
        "special_tokens": [{"rank": rank, "token_str": token} for rank, token in enumerate(("<unk>", "<s>", "</s>"))],
    }
    for config, count in ((b"{}", 1), (SPLIT + b"}", 4)):
        words = read_vocabulary(Memory({"tekken.json": json.dumps(document).encode(), "tokenizer_config.json": config}))
        assert len(words.encode("</s>")) == count


def test_a_model_of_pieces_without_a_class_splits_it_too() -> None:
    decoder = {"90": {"content": "<new>", "special": True}, "91": {"content": "<ent>", "special": False}}
    found = []
    for settings in ({}, {"split_special_tokens": True}):
        document = json.dumps({"added_tokens_decoder": decoder, **settings}).encode()
        words = read_vocabulary(Memory({"tokenizer.model": trained(), "tokenizer_config.json": document}))
        found.append([token.id for token in words.encode("the<new><ent>")])
    assert 90 in found[0]
    assert 90 not in found[1]
    assert (found[0][-1], found[1][-1]) == (91, 91)
