"""Record the ids that transformers' classes in plain Python give texts: `tests/data/python_tokenizers.json.gz`.

    python tools/record_python_tokenizers.py     # with transformers

Small vocabularies are learned of the texts, and written as the files of each class. What is recorded are the files and
the ids, so that the test needs nothing of this.
"""

import ast
import gzip
import json
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import transformers
from transformers import AutoTokenizer
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

HERE = Path(__file__).parent
TESTS = HERE.parent / "tests"
ENDS = ("Tokenizer", "TokenizerFast")

PARTS = {"AutoTokenizer", "BasicTokenizer", "CharacterTokenizer", "MecabTokenizer", "WordpieceTokenizer"}
"""Names that end so and are no class of one kind, but what finds it or a part of it."""

TARGET = TESTS / "data" / "python_tokenizers.json.gz"

# ruff: noqa: RUF001 - characters that look alike are what is recorded
MORE = (
    *("a\x1cb\x1dc\x1ed\x1fe", "\x1c", "x\x85y\u1680z\u2028\u2029", "\u202f \u205f\u3000", "a\n b\n\n c \n", "\n a"),
    *("don't 'quoted' it's, (yes) no. no?! ...", "cannot ca n't @user http://x.y #tag", "one\ttwo\vthree\ffour\rfive"),
    *("xin chào các bạn Việt_Nam , tôi là sinh_viên", "Tôi là Nguyễn", "aaaaaaaaaaaa", "abababababab", "hahahahaha"),
    *("@@", "a@@ b", "th@@", "</w>", "a</w> b", "İSTANBUL ǅ ß", "<mask>", "a <mask>b<mask> c", "<s>a</s>", "</s>"),
    *("</s></s>", "a </s>  b", "x <pad> y", "<unk>", "<extra_id_0> a <extra_id_124>", "<extra_id_1", "[CLS] a [SEP]"),
    *(
        "[S1] a[S2] b [S3]",
        "[MASK]x [PAD]",
        "[BOS][EOS]",
        "__start__ a __end__",
        "__newln__",
        "é",
        "\u00e9\u0301",
        "\ud7ff\ue000\uffff",
    ),
    *(
        "\U0001f3f3\ufe0f\u200d\U0001f308",
        "𝔘𝔫𝔦",
        "\U0010ffff",
        "Wikipedia Salesforce Inc. is",
        "<new> a<new>b",
        "<new>",
    ),
    *("Links https://example.org\nTitle: x", "的 的的", "ไทย ไทย", "ελληνικά", "0 00 000 0000 00000", "1.5e-3 0x1F"),
)


def texts() -> list[str]:
    """Gather the texts of other recorded tokenizers, these here, and lines of everyday words."""
    recorded = [
        *json.loads(gzip.decompress((TESTS / "data" / "llama_vocabularies.json.gz").read_bytes()))["texts"],
        *json.loads((TESTS / "data" / "tokenizer_classes.json").read_text("utf-8"))["texts"],
        *MORE,
    ]
    found = [*recorded, *(f" {left}  {right}\n" for left, right in pairwise(recorded))]
    words = (TESTS / "everyday.txt").read_text("utf-8").split()
    lines = [" ".join(words[place : place + 9]) for place in range(0, len(words), 9)]
    return list(dict.fromkeys([*found, *lines[:60], *(line.title() for line in lines[60:90])]))


def learn(words: Iterable[str], count: int) -> list[tuple[str, str]]:
    """Learn the pairs of letters that are joined, the most frequent first, as subword-nmt does."""
    found: list[tuple[str, str]] = []
    counts = Counter((*word[:-1], word[-1] + "</w>") for word in words)
    while len(found) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in counts.items():
            for pair in pairwise(word):
                pairs[pair] += times
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        found.append(best)
        counts = Counter({join(word, best): times for word, times in counts.items()})
    return found


def join(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """Join a pair everywhere in a word."""
    joined: list[str] = []
    for symbol in word:
        if joined and (joined[-1], symbol) == pair and not joined[-1].endswith("\0"):
            joined[-1] += symbol + "\0"
        else:
            joined.append(symbol)
    return tuple(symbol.replace("\0", "") for symbol in joined)


def pieces(words: Iterable[str], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """List the pieces that a vocabulary has: most letters, and most of what is joined."""
    letters = dict.fromkeys(letter for word in words for letter in word)
    symbols = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, pairs)]
    kept = [symbol for place, symbol in enumerate(symbols) if place % 11]
    return [symbol[:-4] if symbol.endswith("</w>") else f"{symbol}@@" for symbol in kept if symbol.strip()]


def counted(entries: Iterable[str]) -> str:
    """Write lines with a count."""
    return "".join(f"{entry} {1000 - place}\n" for place, entry in enumerate(entries))


def token(content: str, **flags: bool) -> dict[str, Any]:
    """Describe an added token."""
    return {"content": content, **dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False), **flags}


def typed(state: dict[str, Any]) -> dict[str, Any]:
    """Describe an added token as tokenizer_config.json does where it stands for a purpose."""
    return {**state, "__type": "AddedToken"}


def folders(listed: list[str], pairs: list[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Make the folders of all classes."""
    codes = {"vocab.txt": counted(listed), "bpe.codes": counted(" ".join(pair) for pair in pairs)}
    doubled = {
        "vocab.txt": counted([*listed[:90], listed[7], "<s>", "<mask>", "<pad>", "<pad>", *listed[90:]]),
        "bpe.codes": counted([*map(" ".join, [*pairs[40:], *pairs[:60]]), "a b c", "x"]),
    }
    lines = "".join(f"{left} {right}\n" for left, right in pairs)
    table = {piece: place for place, piece in enumerate(reversed(listed))}
    joined = {
        "vocab.json": json.dumps({**table, "<unk>": len(table)}),
        "merges.txt": f"#version: 0.2\n{lines}",
    }
    lower = {piece.lower(): 0 for piece in ["__null__", "__start__", "__end__", "__unk__", "__newln__", *listed]}
    small = {
        "vocab.json": json.dumps({piece: place for place, piece in enumerate(lower)}),
        "merges.txt": f"#version: 0.2\n{lines.lower()}",
    }
    stripped = {role: token(content, lstrip=True) for role, content in (("eos_token", "</s>"), ("pad_token", "<pad>"))}
    extra = [f"<extra_id_{place}>" for place in range(125)]
    saved = {str(len(listed) + 9): token("<new>", special=True), "3": token("<unk>", special=True, rstrip=True)}
    return {
        "phobert": {**codes, "config": "PhobertTokenizer"},
        "phobert, doubled lines": {**doubled, "config": "PhobertTokenizer"},
        "phobert, own tokens": {
            **codes,
            "config": json.dumps({"bos_token": "<b>", "additional_special_tokens": ["<new>"]}),
        },
        "bertweet": {**codes, "config": "BertweetTokenizer"},
        "bertweet, saved": {**codes, "bpe.codes": lines, "config": json.dumps({"added_tokens_decoder": saved})},
        "ctrl": {**joined, "config": "CTRLTokenizer"},
        "ctrl, no last line end": {
            **joined,
            "merges.txt": joined["merges.txt"].rstrip("\n"),
            "config": "CTRLTokenizer",
        },
        "ctrl, own tokens": {
            **joined,
            "config": json.dumps(
                {"bos_token": "Links", "pad_token": "<pad>", "eos_token": typed(token("</s>", rstrip=True))}
            ),
            "added_tokens.json": json.dumps({"<new>": len(listed) + 5, "th@@": 3}),
        },
        "ctrl, whole": {**joined, "config": json.dumps({"pad_token": "<pad>", "split_special_tokens": True})},
        "blenderbot-small": {**small, "config": "BlenderbotSmallTokenizer"},
        "byt5": {"config": "ByT5Tokenizer"},
        "byt5, as published": {
            "config": json.dumps(
                {
                    **{role: typed(state) for role, state in stripped.items()},
                    "extra_ids": 125,
                    "additional_special_tokens": extra,
                }
            ),
            "special_tokens_map.json": json.dumps({**stripped, "additional_special_tokens": extra}),
        },
        "byt5, whole": {"config": json.dumps({"split_special_tokens": True})},
        "byt5, few extra tokens": {"config": json.dumps({"extra_ids": 3, "mask_token": "<mask>"})},
        "byt5, saved": {
            "config": json.dumps(
                {
                    "added_tokens_decoder": {
                        **{
                            str(place): token(content, special=True)
                            for place, content in enumerate(("<pad>", "</s>", "<unk>"))
                        },
                        "259": token("<new>", rstrip=True),
                        "300": token("é"),
                    },
                    "extra_ids": 0,
                }
            )
        },
        "dia": {"config": "DiaTokenizer"},
        "dia, an offset": {"config": json.dumps({"offset": 3, "additional_special_tokens": ["<new>"]})},
        "perceiver": {"config": "PerceiverTokenizer"},
        "perceiver, own tokens": {
            "config": json.dumps({"sep_token": "</s>", "additional_special_tokens": ["<new>", "<s>"]}),
            "added_tokens.json": json.dumps({"<mask>": 262}),
        },
    }


CLASSES = {
    "phobert": "PhobertTokenizer",
    "bertweet": "BertweetTokenizer",
    "ctrl": "CTRLTokenizer",
    "blenderbot-small": "BlenderbotSmallTokenizer",
    "byt5": "ByT5Tokenizer",
    "perceiver": "PerceiverTokenizer",
    "dia": "DiaTokenizer",
}


ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
PLACES = (0, 1, 2, 3, 4, 5, 50, 259, 262, 1300, 1400)
WORDS = (
    *("<s>", "</s>", "<unk>", "<pad>", "<mask>", "<new>", " x", "y ", "the", "th@@", "[CLS]", "é", "a"),
    *("<extra_id_0>", "[S1]", "__unk__", "  ", " <q> "),
)
FOLDERS = 240
"""Folders with settings that chance chose."""


class Chance(random.Random):
    """Chooses settings, and texts in which tokens stand side by side."""

    def token(self, **more: Any) -> dict[str, Any]:
        """Describe an added token."""
        flags = {flag: self.random() < 0.35 for flag in ("lstrip", "rstrip", "normalized", "single_word")}  # noqa: PLR2004
        return {"content": self.choice(WORDS), **flags, **more}

    def settings(self, known: dict[str, Any]) -> dict[str, str]:
        """Choose the small files of a folder."""
        config, files = dict(known), {}
        for role in self.sample(ROLES, self.randint(0, 3)):
            config[role] = self.choice((self.choice(WORDS), typed(self.token())))
        for key in self.sample(("additional_special_tokens", "extra_special_tokens"), self.choice((0, 0, 1, 2))):
            config[key] = self.sample(WORDS, 2)
        if self.random() < 0.2:  # noqa: PLR2004 - a share
            config["extra_special_tokens"] = {"image_token": self.choice(WORDS)}
        if "ByT5" in config["tokenizer_class"]:
            config["extra_ids"] = self.choice((0, 2, 5, 125))
        numbered = self.choice(("added_tokens_decoder", "added_tokens.json", None))
        places = self.sample(PLACES, self.randint(0, 4))
        if numbered == "added_tokens_decoder":
            config[numbered] = {str(place): self.token(special=self.choice((True, False))) for place in places}
        elif numbered is not None:
            files[numbered] = json.dumps({self.choice(WORDS): place for place in places})
        if self.random() < 0.4:  # noqa: PLR2004 - a share
            named = {role: self.choice((self.choice(WORDS), self.token())) for role in self.sample(ROLES, 2)}
            more = self.choice(({}, {"additional_special_tokens": self.sample(WORDS, 2)}))
            files["special_tokens_map.json"] = json.dumps({**named, **more})
        return {**files, "tokenizer_config.json": json.dumps(config)}

    def text(self) -> str:
        """Choose a text."""
        return "".join(self.choices((*WORDS, " ", "  ", "\n", "the cat", "é"), k=self.randint(1, 8)))


def mixed(known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Record folders whose settings chance chose, as far as the library opens them and gives every piece an id."""
    chance, found = Chance(5), []
    for _ in range(FOLDERS):
        base = chance.choice(list(CLASSES))
        files = known[base]["files"]
        changed = chance.settings(json.loads(files["tokenizer_config.json"]))
        given = [chance.text() for _ in range(8)]
        try:
            tokenizer = load({**files, **changed})
            ids = [[tokenizer(text, add_special_tokens=special)["input_ids"] for text in given] for special in (0, 1)]
        except ValueError:
            continue
        if not any(None in each for listed in ids for each in listed):
            found.append({"base": base, "files": changed, "texts": given, "plain": ids[0], "special": ids[1]})
    return found


def load(files: dict[str, str]) -> Any:
    """Load a folder of these files."""
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            (Path(folder) / file).write_text(content, "utf-8")
        return AutoTokenizer.from_pretrained(folder)


def classes() -> list[str]:
    """List every class of tokenizers that the library has, by the name without `Fast`."""
    found = set()
    for file in Path(transformers.__file__).parent.glob("models/*/tokenization_*.py"):
        for listed in re.findall(r"^__all__ = (\[[^\]]*\])", file.read_text("utf-8"), re.MULTILINE):
            names = {name.removesuffix("Fast") for name in ast.literal_eval(listed)}
            found |= {name for name in names if name.endswith("Tokenizer")}
    return sorted(found - PARTS)


def types() -> dict[str, str]:
    """List the class that the library takes for each type of model, where it is one of a kind of its own."""
    return {
        kind: name.removesuffix("Fast") for kind, name in TOKENIZER_MAPPING_NAMES.items() if (name or "").endswith(ENDS)
    }


def main() -> None:
    """Write the file."""
    given = texts()
    words = [word for text in given for word in text.split()]
    pairs = learn(words, 900)
    listed = [
        piece
        for piece in pieces(words, pairs)
        if piece not in {f"{mark}>" for mark in ("<s", "</s", "<pad", "<unk", "<mask")}
    ]
    recorded = {}
    for name, files in folders(listed, pairs).items():
        name_of_class = CLASSES[name.split(",")[0]]
        config = files.pop("config")
        settings = {"tokenizer_class": name_of_class} | (json.loads(config) if config.startswith("{") else {})
        files["tokenizer_config.json"] = json.dumps(settings)
        tokenizer = load(files)
        if type(tokenizer).__name__ != name_of_class:
            sys.exit(f"{name} is read by {type(tokenizer).__name__}")
        recorded[name] = {
            "files": files,
            "plain": [tokenizer(text, add_special_tokens=False)["input_ids"] for text in given],
            "special": [tokenizer(text)["input_ids"] for text in given],
            "ids": sorted(set(tokenizer.get_vocab().values())),
            "names": tokenizer.convert_ids_to_tokens(list(range(max(tokenizer.get_vocab().values()) + 1))),
            "special_ids": sorted(
                {*tokenizer.all_special_ids, *(i for i, t in tokenizer.added_tokens_decoder.items() if t.special)}
            ),
        }
    document = json.dumps(
        {"texts": given, "folders": recorded, "mixed": mixed(recorded), "classes": classes(), "types": types()},
        ensure_ascii=False,
    )
    TARGET.write_bytes(gzip.compress(document.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
