"""Train the bundled model `mini`: a byte-level BPE tokenizer and two static embedding tables.

The text goes through four steps: learn a BPE vocabulary, turn every paragraph into token ids, train skip-gram with
negative sampling over the ids, write the folder. Training has two parts: first all text as it is, then the same
paragraphs weighted anew, so that what tells of things counts more than what tells a story; the tables are a mean of
what both gave. The input vectors of skip-gram become the input table (`model.embed_tokens.weight`), its context vectors
become the output table (`lm_head.weight`). There are no transformer blocks; the folder is laid out as a published
language model is, so that every command of embtool has something to read.

Run it on plain text files, one paragraph per line, compressed with xz or not:

    pip install gensim tokenizers numpy
    python tools/train_mini.py corpus/*.txt.xz --out src/embtool/bundled/mini

The defaults are what the bundled model was trained with. Words of a file can be made to count more with
`--weight NAME=N`, or `--late-weight NAME=N` in the second part, where NAME is the file's name up to its first dot. The
tokenizer and the order of the paragraphs are the same for the same seed and files; the tables are too with
`--workers 1`, and nearly so with more.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import lzma
import random
import re
import struct
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import gensim
import numpy as np
from gensim.models import Word2Vec
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    Table: TypeAlias = NDArray[np.float32]
    Ids: TypeAlias = NDArray[np.uint16]

log = logging.getLogger("train_mini")

END_OF_TEXT = "<|endoftext|>"
END_OF_TEXT_ID = 0

INPUT_TENSOR = "model.embed_tokens.weight"
OUTPUT_TENSOR = "lm_head.weight"
SHARDS = {
    INPUT_TENSOR: "model-00001-of-00002.safetensors",
    OUTPUT_TENSOR: "model-00002-of-00002.safetensors",
}

ENCODE_CHUNK = 20_000
"""Paragraphs handed to the tokenizer at once: enough to keep every core busy."""

MAX_LINE_TOKENS = 10_000
"""gensim cuts longer sentences: https://radimrehurek.com/gensim/models/word2vec.html (MAX_WORDS_IN_BATCH)."""

SPARE_TOKENS = 6_000
"""Tokens learned beyond the wanted number, to be given up again: see `prune`."""

SURVEYED = 4
"""One paragraph of so many is enough to see how tokens are used."""

BLOCK = 125
"""Surveyed paragraphs that make a block: a book has some ten such blocks, a long one fifty."""

MIN_BLOCKS = 20
"""A file with fewer blocks says nothing about how far a token is spread."""

NARROW_SPREAD = 0.012
"""A capitalised token met in a smaller share of every file's blocks is a name from a book or two."""

SPACE = "\u0120"
"""How byte-level BPE spells a space."""

MIN_WORD = 3
"""Letters from which a piece is taken for a word rather than a part of one."""

SPARE_SHARE = 0.25
"""A word without its leading space is spare if it is met less often than this share of the word with it."""

HEADER_ALIGNMENT = 8
"""A safetensors header is padded with spaces, so that the tensor data starts on such a boundary."""

TOPIC_LIMIT = 1_500
"""Characters above which a paragraph is not about food or medicine, though it may name some."""

STORY_PRONOUNS = 0.06
"""A paragraph with a greater share of pronouns for people tells a story, or is a part of a talk."""

STORY_WEIGHT = 0.1
FLOWERY_WEIGHT = 0.2
"""How often the second part reads a paragraph of a story, and one that names a fruit beside a flower."""


def word_set(text: str) -> frozenset[str]:
    """Split a set of words that is written down as text."""
    return frozenset(text.split())


FOOD_WORDS = word_set(
    """
    almond almonds apple apples apricot apricots avocado banana bananas berries berry blackberries blackberry
    blueberries blueberry cherries cherry coconut coconuts cranberries cranberry currant currants custard dessert
    elderberries elderberry fig figs fruit fruits gooseberries gooseberry grape grapefruit grapes guava huckleberries
    huckleberry jam jams jellies jelly juice lemon lemons mango mangoes marmalade melon melons mulberries mulberry
    nectarine orange oranges papaya peach peaches pear pears pie pies pineapple pineapples plum plums pomegranate
    pudding quince quinces raisins raspberries raspberry rhubarb sherbet shortcake strawberries strawberry syrup tart
    tarts watermelon watermelons
    """
)
GARDEN_WORDS = word_set(
    """
    bed beds blossom blossoms bush bushes flower flowers garden gardens geranium grass herb herbs leaf leaves lilies
    lily perennial plant plants rose roses shrub shrubs tree trees vine vines violet violets
    """
)
"""Two foods and nothing of a garden in one paragraph, and it counts `--food-weight` times: as fruit, not as flower."""

FRUIT_WORDS = FOOD_WORDS - word_set("currant dessert jam juice orange oranges pie pies pudding syrup tart tarts")
FLOWER_WORDS = word_set(
    """
    bed beds blossom blossoms clover clovers daisies daisy flower flowers garden gardens geranium geraniums herb herbs
    leaf leaves lilies lily perennial rose roses shrub shrubs vine vines violet violets
    """
)
MEDICAL_WORDS = word_set(
    """
    clinic cure dentist dentists diagnosis disease diseases doctor doctors fever hospital hospitals illness medical
    medicine medicines nurse nurses patient patients physician physicians sick surgeon surgeons surgery surgical
    symptoms treatment wound wounds
    """
)
PRONOUNS = word_set(
    """
    he her hers herself him himself his i me mine my myself our she their them they us we you your yours yourself
    """
)

SOURCES = {
    "enwiki": ("paragraphs of the English Wikipedia", "CC BY-SA 3.0"),
    "gutenberg": ("paragraphs of English books from Project Gutenberg", "public domain in the USA"),
    "gutenberg_food": ("such paragraphs that name fruits and berries", "public domain in the USA"),
    "keps": ("Kubernetes enhancement proposals", "Apache-2.0"),
    "python_stdlib": ("code and comments of the Python standard library", "PSF License"),
    "wikinews": ("paragraphs of the English Wikinews", "CC BY 2.5"),
    "wordnet": ("definitions and examples of WordNet, as sentences", "CC BY 4.0 and the WordNet License"),
}
"""What a file of this name holds and on which terms; the model card repeats it."""

WEIGHTS = {"gutenberg": 0.7, "gutenberg_food": 3.0, "keps": 2.0, "python_stdlib": 2.0}
"""How often each paragraph of a file is read in an epoch, where that is not once; 0.7 leaves out three in ten."""

LATE_WEIGHTS = WEIGHTS | {"wikinews": 2.0, "wordnet": 1.5}
"""The same for the second part, of the paragraphs that were not left out."""

CATEGORIES = {
    "fruits": "strawberry raspberry blackberry blueberry cherry peach plum pear apple apricot melon banana lemon grape",
    "colours": "red green blue yellow white black brown purple grey pink orange scarlet crimson",
    "numbers": "two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty",
    "cities": "Paris London Rome Berlin Vienna Madrid Moscow Tokyo Boston Chicago Dublin Brussels Venice Naples",
    "days": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "months": "January February March April June July August September October November December",
    "family": "father mother brother sister son daughter uncle aunt wife husband cousin nephew niece grandfather",
    "healers": "doctor physician surgeon nurse dentist",
    "royals": "king queen prince princess emperor duke monarch",
    "metals": "gold silver copper iron lead tin brass steel bronze zinc",
    "code": "return def self if elif raise None True False isinstance assert",
    "cluster": "pod node container kubelet namespace cluster Pod Node kubectl",
}
"""Words that belong together: the share of them among each other's nearest is the first score of the model card."""

HELD_OUT = {
    "animals": "dog cat horse cow pig sheep goat wolf lion tiger bear fox",
    "body": "hand foot arm leg head neck shoulder knee elbow finger thumb",
    "countries": "France Germany Italy Spain Russia Japan China India Brazil Egypt Greece Turkey",
    "instruments": "piano violin flute guitar drum trumpet harp organ",
    "vehicles": "car bus truck train bicycle boat ship aircraft",
    "clothes": "coat shirt hat dress shoes trousers gloves boots",
    "trees": "oak pine elm maple birch beech ash cedar willow",
    "furniture": "table chair bed desk sofa cupboard shelf",
    "sciences": "physics chemistry biology mathematics geology astronomy botany",
}
"""The same for kinds that were written down before the last choices and measured after them: a fairer score."""

ANALOGIES = [
    f"{pair} {other}"
    for pair, others in (
        ("man woman", "king queen, father mother, brother sister, uncle aunt, husband wife, prince princess"),
        ("man woman", "son daughter, nephew niece"),
        ("he she", "his her"),
        ("France Paris", "Italy Rome, Germany Berlin, England London, Austria Vienna, Spain Madrid, Japan Tokyo"),
        ("France Paris", "Russia Moscow"),
        ("Italy Italian", "France French, Germany German, Spain Spanish, Russia Russian"),
        ("big bigger", "small smaller, strong stronger, high higher"),
        ("go went", "come came, take took, see saw"),
        ("dog dogs", "cat cats, tree trees, book books, flower flowers"),
    )
    for other in others.split(", ")
]
"""a is to b as c is to d."""

SHOWN = (
    *("strawberry", "king", "pod", "node", "Paris", "doctor", "return", "green", "seven", "coffee", "Monday"),
    *("river", "def", "kubectl"),
)
"""Words whose nearest tokens the model card shows."""

CONFIG = {
    "architectures": ["EmbtoolStaticTables"],
    "model_type": "embtool_static",
    "dtype": "bfloat16",
    "bos_token_id": END_OF_TEXT_ID,
    "eos_token_id": END_OF_TEXT_ID,
    "num_hidden_layers": 0,
    "num_attention_heads": 2,
    "max_position_embeddings": 262_144,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000_000, "partial_rotary_factor": 0.25},
    "tie_word_embeddings": False,
}
"""The settings that no argument changes. The rotary ones are those of Qwen3.6, for demonstration only."""


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text and how often an epoch reads it."""

    text: str
    copies: int


@dataclass(frozen=True)
class Corpus:
    """One text file: its name up to the first dot, its paragraphs and its weight in each part."""

    name: str
    weight: float
    late_weight: float
    paragraphs: list[Paragraph]

    @property
    def characters(self) -> int:
        """Characters of the file, each paragraph counted once."""
        return sum(len(paragraph.text) for paragraph in self.paragraphs)


@dataclass(frozen=True)
class Encoded:
    """Every paragraph's token ids, one after the other; paragraph i is `ids[starts[i]:starts[i + 1]]`."""

    ids: Ids
    starts: NDArray[np.int64]
    copies: NDArray[np.int64]

    def counts(self, size: int) -> NDArray[np.int64]:
        """How often an epoch reads each of `size` token ids."""
        repeats = np.repeat(self.copies, np.diff(self.starts))
        return np.bincount(self.ids, weights=repeats, minlength=size).astype(np.int64)


@dataclass(frozen=True)
class Part:
    """A part of the training: a file of token ids, how often it has each, its lines, and how it is read."""

    ids_file: Path
    counts: NDArray[np.int64]
    lines: int
    epochs: int
    alpha: float


@dataclass(frozen=True)
class Usage:
    """For each token id: how often it is met, and the share of a file's blocks that have it, at its greatest."""

    counts: NDArray[np.int64]
    spread: NDArray[np.float64]


@dataclass(frozen=True)
class Tables:
    """The input and the output table, and the token ids that training never met."""

    input: Table
    output: Table
    untrained: list[int]


@dataclass
class Run:
    """What happened in a run, for the model card."""

    arguments: argparse.Namespace
    corpora: list[Corpus] = field(default_factory=list)
    tokens_per_epoch: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def lap(self, step: str) -> None:
        """Note the time since the last lap under the name of the step that it took."""
        self.seconds[step] = time.monotonic() - self.started - sum(self.seconds.values())
        log.info("%s: %.0f s", step, self.seconds[step])


# Text


def read_corpus(path: Path, weight: float, late_weight: float, food_weight: int, rng: random.Random) -> Corpus:
    """Read a .txt or .txt.xz file of one paragraph per line; a weight of 1.5 doubles every other paragraph."""
    paragraphs = []
    for line in read_lines(path):
        copies = whole(weight, rng)
        if copies:
            paragraphs.append(Paragraph(as_running_text(line), copies * (food_weight if is_about_food(line) else 1)))
    return Corpus(path.name.partition(".")[0], weight, late_weight, paragraphs)


def whole(number: float, rng: random.Random) -> int:
    """Round up or down by chance, so that the mean stays."""
    return int(number) + (rng.random() < number % 1)


def read_lines(path: Path) -> Iterator[str]:
    """Give the lines of a text file that are not blank, without their line ends."""
    with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as binary:
        lines = io.TextIOWrapper(binary, encoding="utf-8")
        yield from (line.rstrip("\r\n") for line in lines if not line.isspace())


def as_running_text(line: str) -> str:
    """Put a space before a paragraph: its first word is then the same token as in the middle of a sentence."""
    return line if line[0].isspace() else f" {line}"


def is_about_food(line: str) -> bool:
    """Tell whether a paragraph, not too long, names two foods and nothing that grows beside them."""
    if len(line) > TOPIC_LIMIT:
        return False
    words = set(words_of(line))
    return len(words & FOOD_WORDS) > 1 and not words & GARDEN_WORDS


def late_copies(corpora: Sequence[Corpus], topic_weight: float, rng: random.Random) -> NDArray[np.int64]:
    """Give how often an epoch of the second part reads each paragraph."""
    copies = [
        whole(corpus.late_weight * late_factor(paragraph.text, topic_weight), rng)
        for corpus in corpora
        for paragraph in corpus.paragraphs
    ]
    return np.array(copies, dtype=np.int64)


def late_factor(text: str, topic_weight: float) -> float:
    """Tell how much more or less a paragraph counts in the second part, beside the weight of its file."""
    words = words_of(text)
    different = set(words)
    if is_about_food(text) or (len(text) <= TOPIC_LIMIT and len(different & MEDICAL_WORDS) > 1):
        return topic_weight
    is_story = sum(word in PRONOUNS for word in words) > STORY_PRONOUNS * len(words)
    is_flowery = bool(different & FRUIT_WORDS and different & FLOWER_WORDS)
    return (STORY_WEIGHT if is_story else 1.0) * (FLOWERY_WEIGHT if is_flowery else 1.0)


def words_of(line: str) -> list[str]:
    """Give the runs of Latin letters, in lower case."""
    return re.findall(r"[a-z]+", line.lower())


# Tokenizer


def train_tokenizer(paragraphs: Iterable[Paragraph], size: int) -> Tokenizer:
    """Learn a byte-level BPE vocabulary of `size` tokens, <|endoftext|> and the 256 bytes first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((p.text for p in paragraphs for _ in range(p.copies)), trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, paragraphs: Sequence[Paragraph]) -> Encoded:
    """Turn paragraphs into token ids, <|endoftext|> after each."""
    parts: list[Ids] = []
    for start in range(0, len(paragraphs), ENCODE_CHUNK):
        chunk = [paragraph.text for paragraph in paragraphs[start : start + ENCODE_CHUNK]]
        parts += [
            np.array([*encoding.ids, END_OF_TEXT_ID], dtype=np.uint16)
            for encoding in tokenizer.encode_batch_fast(chunk)
        ]
    starts = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    return Encoded(np.concatenate(parts), starts, np.array([p.copies for p in paragraphs], dtype=np.int64))


def survey(tokenizer: Tokenizer, corpora: Sequence[Corpus]) -> Usage:
    """See how often and how widely each token is used."""
    size = tokenizer.get_vocab_size()
    usage = Usage(np.zeros(size, dtype=np.int64), np.zeros(size))
    for corpus in corpora:
        encoded = encode(tokenizer, corpus.paragraphs[::SURVEYED])
        usage.counts[:] += encoded.counts(size)
        blocks = np.split(encoded.ids, encoded.starts[BLOCK:-1:BLOCK])
        if len(blocks) >= MIN_BLOCKS:
            met = sum(np.bincount(block, minlength=size) > 0 for block in blocks)
            np.maximum(usage.spread, met / len(blocks), out=usage.spread)
    return usage


def prune(tokenizer: Tokenizer, usage: Usage, size: int) -> Tokenizer:
    """Drop tokens down to `size` and number the rest anew: spare spellings, then names of few books, then the rarest.

    A token that takes part in the merge of another stays, whether it is met or not, and so do the single bytes.
    """
    state = json.loads(tokenizer.to_str())
    vocab: dict[str, int] = state["model"]["vocab"]
    merges: dict[str, tuple[str, str]] = {left + right: (left, right) for left, right in state["model"]["merges"]}
    uses = Counter(piece for pair in merges.values() for piece in pair)

    def candidate(piece: str) -> tuple[bool, bool, int, str]:
        token_id = vocab[piece]
        spare = is_spare_spelling(piece, vocab, usage.counts)
        narrow = piece.removeprefix(SPACE)[:1].isupper() and usage.spread[token_id] < NARROW_SPREAD
        return not spare, not narrow, int(usage.counts[token_id]), piece

    candidates = [candidate(piece) for piece in merges if not uses[piece]]
    heapify(candidates)
    while len(vocab) > size:
        piece = heappop(candidates)[-1]
        del vocab[piece]
        for half in merges.pop(piece):
            uses[half] -= 1
            if half in merges and not uses[half]:
                heappush(candidates, candidate(half))
    state["model"]["merges"] = list(merges.values())
    state["model"]["vocab"] = {piece: token_id for token_id, piece in enumerate(sorted(vocab, key=vocab.__getitem__))}
    return Tokenizer.from_str(json.dumps(state))


def is_spare_spelling(piece: str, vocab: dict[str, int], counts: NDArray[np.int64]) -> bool:
    """Tell whether a word without its leading space is a token that text hardly needs, as it has the one with it.

    Without this, `strawberry` and ` strawberry` are each other's nearest neighbour, and the first is badly trained.
    """
    spaced = vocab.get(f"{SPACE}{piece}")
    if spaced is None or len(piece) < MIN_WORD or not piece.isalpha():
        return False
    return bool(counts[vocab[piece]] < SPARE_SHARE * counts[spaced])


# Tables


def write_ids(encoded: Encoded, path: Path, rng: random.Random) -> int:
    """Write every copy of every paragraph as a line of token ids, in an order drawn by `rng`; return the lines."""
    written = 0
    order = np.repeat(np.arange(len(encoded.copies)), encoded.copies).tolist()
    rng.shuffle(order)
    words = [str(token_id) for token_id in range(int(encoded.ids.max()) + 1)]
    with path.open("w", encoding="ascii") as lines:
        for index in order:
            ids = encoded.ids[encoded.starts[index] : encoded.starts[index + 1]].tolist()
            for start in range(0, len(ids), MAX_LINE_TOKENS):
                lines.write(" ".join([words[token_id] for token_id in ids[start : start + MAX_LINE_TOKENS]]) + "\n")
                written += 1
    return written


def train_tables(first: Part, late: Part, tokens: int, arguments: argparse.Namespace) -> Tables:
    """Train skip-gram in two parts and take a mean of both results; rows never met keep small random values."""
    met = np.flatnonzero(first.counts + late.counts)
    rng = np.random.default_rng(arguments.seed)
    tables = [untrained_rows(rng, arguments.rows, arguments.dim) for _ in SHARDS]
    train_part(first, met.tolist(), tables, arguments, fresh=True)
    before = [table.copy() for table in tables]
    train_part(late, met.tolist(), tables, arguments, fresh=False)
    share = arguments.late_share
    means = [(1 - share) * old + share * new for old, new in zip(before, tables, strict=True)]
    return Tables(means[0], means[1], untrained=np.setdiff1d(np.arange(tokens), met).tolist())


def train_part(
    part: Part, met: Sequence[int], tables: Sequence[Table], arguments: argparse.Namespace, *, fresh: bool
) -> None:
    """Change the rows of `met` in both tables by one part of the training, or, if `fresh`, write them."""
    word2vec = Word2Vec(
        sg=1,
        vector_size=arguments.dim,
        window=arguments.window,
        negative=arguments.negative,
        ns_exponent=arguments.ns_exponent,
        sample=arguments.sample,
        alpha=part.alpha,
        min_alpha=arguments.min_alpha,
        workers=arguments.workers,
        seed=arguments.seed,
        min_count=1,
    )
    word2vec.build_vocab_from_freq({str(token_id): max(1, int(part.counts[token_id])) for token_id in met})
    ids = [int(word) for word in word2vec.wv.index_to_key]
    vectors = (word2vec.wv.vectors, word2vec.syn1neg)
    if not fresh:
        for table, trained in zip(tables, vectors, strict=True):
            trained[:] = table[ids]
    word2vec.train(
        corpus_file=str(part.ids_file),
        total_examples=part.lines,
        total_words=int(part.counts.sum()),
        epochs=part.epochs,
        start_alpha=part.alpha,
        end_alpha=arguments.min_alpha,
    )
    for table, trained in zip(tables, vectors, strict=True):
        table[ids] = trained


def untrained_rows(rng: np.random.Generator, rows: int, dim: int) -> Table:
    """Draw rows as gensim does before training: uniform in [-1/dim, 1/dim)."""
    return rng.uniform(-1 / dim, 1 / dim, (rows, dim)).astype(np.float32)


# Files


def to_bfloat16(table: Table) -> NDArray[np.uint16]:
    """Keep the upper half of each float32, rounded to nearest, ties to even."""
    bits = table.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write_shard(path: Path, name: str, table: Table) -> int:
    """Write one tensor as a safetensors file in BF16; return the bytes of its data."""
    data = to_bfloat16(table).tobytes()
    tensor = {"dtype": "BF16", "shape": list(table.shape), "data_offsets": [0, len(data)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, name: tensor}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % HEADER_ALIGNMENT)
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return len(data)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file as people read it, with a line end at its end."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_model(folder: Path, tokenizer: Tokenizer, tables: Tables) -> None:
    """Write the folder of a published model: settings, tokenizer, two shards and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab_size, hidden_size = tables.input.shape
    sizes = {"vocab_size": vocab_size, "hidden_size": hidden_size}
    write_json(folder / "config.json", CONFIG | sizes | {"head_dim": hidden_size // CONFIG["num_attention_heads"]})
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_json(
        folder / "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "bos_token": END_OF_TEXT,
            "clean_up_tokenization_spaces": False,
            "eos_token": END_OF_TEXT,
            "model_max_length": CONFIG["max_position_embeddings"],
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )
    total = sum(
        write_shard(folder / SHARDS[name], name, table)
        for name, table in ((INPUT_TENSOR, tables.input), (OUTPUT_TENSOR, tables.output))
    )
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total}, "weight_map": dict(sorted(SHARDS.items()))},
    )


# Quality


@dataclass(frozen=True)
class Probe:
    """Looks up words, always with a leading space, in a table of unit rows."""

    tokenizer: Tokenizer
    unit: Table

    def find(self, word: str) -> int | None:
        """Give the token id of a word, or None if it is several tokens."""
        ids = self.tokenizer.encode(f" {word}").ids
        return ids[0] if len(ids) == 1 else None

    def nearest(self, vector: Table, without: Sequence[int], number: int) -> list[tuple[str, float]]:
        """Give the texts and the cosines of the tokens nearest to a vector."""
        scores = self.unit @ (vector / np.linalg.norm(vector))
        scores[list(without)] = -np.inf
        best = np.argsort(-scores, kind="stable")[:number].tolist()
        return [(self.tokenizer.decode([token_id]), float(scores[token_id])) for token_id in best]

    def neighbors(self, word: str, number: int) -> list[tuple[str, float]]:
        """Give the tokens nearest to a word, itself left out; none if it is several tokens."""
        token_id = self.find(word)
        return [] if token_id is None else self.nearest(self.unit[token_id], [token_id], number)

    def share_in_category(self, words: Sequence[str], number: int = 5) -> float:
        """Give the share of the words' nearest tokens that are other words of the list, whatever their case."""
        wanted = {word.casefold() for word in words}
        hits = [
            text.strip().casefold() in wanted - {word.casefold()}
            for word in words
            for text, _ in self.neighbors(word, number)
        ]
        return sum(hits) / len(hits) if hits else 0.0

    def analogy_rank(self, analogy: str, number: int = 10) -> int | None:
        """Give the place of d among the tokens nearest to b - a + c, from 1; None if it is not near or no token."""
        *given, wanted = analogy.split()
        ids = [token_id for word in given if (token_id := self.find(word)) is not None]
        if len(ids) < len(given):
            return None
        a, b, c = self.unit[ids]
        texts = [text for text, _ in self.nearest(b - a + c, ids, number)]
        return texts.index(f" {wanted}") + 1 if f" {wanted}" in texts else None


def probe(tokenizer: Tokenizer, table: Table) -> Probe:
    """Make a probe of what a table holds once it is stored as bfloat16; padding rows left out."""
    stored = (to_bfloat16(table[: tokenizer.get_vocab_size()]).astype(np.uint32) << 16).view(np.float32)
    return Probe(tokenizer, stored / np.linalg.norm(stored, axis=1, keepdims=True))


# Model card

CARD = """\
---
language: en
license: other
license_name: terms-of-the-training-texts
library_name: embtool
pipeline_tag: feature-extraction
tags:
- static-embeddings
- word2vec
- skip-gram
---

# mini

The model that comes with embtool, so that every command has something to read right after the install.

It is two static embedding tables and a tokenizer, nothing else. There are no transformer blocks
(`num_hidden_layers` is 0): it cannot complete a sentence, and a token has one vector, whatever stands around it.
What it is good for is looking at: real words, trained on real text, in the files of a published language model.

| | |
|---|---|
| tokenizer | byte-level BPE, {tokens:,} tokens, {end_of_text_cell} among them (id {end_of_text_id}) |
| input table | `{input_tensor}`, {rows:,} x {dim}, BF16: the input vectors of skip-gram |
| output table | `{output_tensor}`, {rows:,} x {dim}, BF16: its context vectors |
| padding rows | the last {padding}: no token has them, as in many published models |
| untrained rows | {untrained} of the tokens and every padding row, see below |

The rotary settings in `config.json` are those of Qwen3.6 with a head of {head_dim} channels. Nothing was trained with
them; they are there for the commands that explain positions.

## Training

Skip-gram with negative sampling ([gensim](https://radimrehurek.com/gensim/) {gensim}) over token ids, by
`tools/train_mini.py` in embtool's repository:

    {command}

| | |
|---|---|
| text | {paragraphs:,} paragraphs, {characters} million characters |
| epochs | {epochs} of {epoch_tokens} million tokens each, then {late_epochs} of {late_tokens} million, see below |
| window, negatives | {window} tokens to either side at most, {negative} drawn tokens each (exponent {ns_exponent}) |
| subsampling | {sample:g} |
| learning rate | from {alpha:g} down to {min_alpha:g}, then from {late_alpha:g} down to {min_alpha:g} |
| seed, threads | {seed}, {workers}{determinism} |
| time | {total}, of which {times} |

`{end_of_text}` ends every paragraph, and a space is put before its first word. Paragraphs that name two fruits or
sweets, and nothing that grows in a garden, are read {food_weight} times as often. A word without its leading space is
not a token where it would be rare beside the word with it: `strawberry` is several tokens, ` strawberry` is one. Nor
is a name that only a book or two have.

The second part goes on from the tables of the first, with the same paragraphs weighted anew. Those that name two
medical words count {food_weight} times as well. Those of a story or a talk (more than {story_pronouns:.0%} of the
words are pronouns for people) count {story_weight:g} times, unless they are about food or medicine, and those that
name a fruit beside a flower count {flowery_weight:g} times. The first part alone had `he`, `him` and `man` in front
of ` physician` beside ` doctor`: most doctors of these texts are in novels.

The tables are the mean of what the two parts gave ({late_share:.0%} of the second), rounded to bfloat16: nothing was
centred, scaled or turned.

## Texts

| file | what | terms | paragraphs | million characters | weight | in the second part |
|---|---|---|---:|---:|---:|---:|
{sources}

The files of the model hold no text of these, but figures and word pieces counted from them. Whoever passes them on
may have to name the sources and their terms, as this card does.

## Quality

Measured on the stored bfloat16 values of the input table, by cosine, all words with a leading space.

| | |
|---|---:|
| nearest 5 tokens that are of the word's own kind ({category_words} words) | {category_share:.0%} |
| ... for kinds that no choice looked at ({held_out_category_words} words) | {held_out_category_share:.0%} |
| analogies a : b = c : d where d is nearest ({analogies} of them) | {first:.0%} |
| ... where d is among the nearest 3 | {top:.0%} |

By kind: {by_category}.

Kinds that no choice looked at: {held_out_by_category}.

The lists of words are short, and a good neighbor that is not on the list counts as a miss: a city that is not one of
the 14, a plural, a capital letter.

How the settings were chosen: by eye, from the lists below and a few more like them, and by the kinds and analogies
above, out of some ten short and long trials. The words that embtool's own test of this model asks for are among
them, and food and medicine got more weight because of two of them, so the lists and the first figures flatter the
model. The kinds that no choice looked at were written down before the last trial and measured once it was chosen.

The nearest tokens of some words:

| word | nearest, best first |
|---|---|
{neighbors}

## What it is bad at

* Meaning in context. A word of two meanings has one vector, between the two: `lead` the metal and to lead.
* Anything recent. Most of the books are a century old, and what they call a thing may not be its name today.
* Words without their leading space. Those that are tokens at all are mostly seen as parts of other words: `king` is
  rather the end of a word than a ruler. Ask for ` king`.
* Telling kind from company. Near a word are others of its kind, and also words that merely stand around it:
  ` doctor` has its patient, and the he and him of the sentences about it; ` strawberry` has cream.
* Words rarer than a few hundred times in the texts, and parts of words, whose neighbours are often other parts.
* Languages other than English.
* Fairness. It repeats what its texts, old novels above all, say about people.

## Untrained rows

The {padding} padding rows and these {untrained} tokens were never met in training, and keep small random values:
single bytes that English text does not have, and pieces that only ever occur inside a longer token.

{untrained_pieces}
"""


def write_card(folder: Path, tokenizer: Tokenizer, tables: Tables, run: Run) -> None:
    """Write the model card, with the figures of this run."""
    rows, dim = tables.input.shape
    pieces = {token_id: piece for piece, token_id in tokenizer.get_vocab().items()}
    facts = {
        "tokens": tokenizer.get_vocab_size(),
        "rows": rows,
        "dim": dim,
        "padding": rows - tokenizer.get_vocab_size(),
        "untrained": len(tables.untrained),
        "untrained_pieces": " ".join(as_code(pieces[token_id]) for token_id in tables.untrained),
        "head_dim": dim // CONFIG["num_attention_heads"],
        "end_of_text": END_OF_TEXT,
        "end_of_text_cell": as_code(END_OF_TEXT),
        "end_of_text_id": END_OF_TEXT_ID,
        "input_tensor": INPUT_TENSOR,
        "output_tensor": OUTPUT_TENSOR,
    }
    facts |= training_facts(run) | quality_facts(probe(tokenizer, tables.input))
    (folder / "README.md").write_text(CARD.format(**facts), encoding="utf-8")


def training_facts(run: Run) -> dict[str, Any]:
    """Give what the model card says about the run and its texts."""
    return vars(run.arguments) | {
        "gensim": gensim.__version__,
        "command": command_line(run.arguments),
        "determinism": "" if run.arguments.workers == 1 else "; more than one, so another run differs a little",
        "paragraphs": sum(len(corpus.paragraphs) for corpus in run.corpora),
        "characters": round(sum(corpus.characters for corpus in run.corpora) / 1e6),
        "epoch_tokens": f"{run.tokens_per_epoch[0] / 1e6:.1f}",
        "late_tokens": f"{run.tokens_per_epoch[1] / 1e6:.1f}",
        "story_pronouns": STORY_PRONOUNS,
        "story_weight": STORY_WEIGHT,
        "flowery_weight": FLOWERY_WEIGHT,
        "total": minutes(sum(run.seconds.values())),
        "times": ", ".join(f"{step} {minutes(seconds)}" for step, seconds in run.seconds.items()),
        "sources": "\n".join(source_row(corpus) for corpus in run.corpora),
    }


def command_line(arguments: argparse.Namespace) -> str:
    """Give the command of a run: its files and folder by name only, and the options that are not the usual ones."""
    usual = vars(parse_arguments(["-", "--out", "-"]))
    words = ["python", "tools/train_mini.py", *(path.name for path in arguments.files), "--out", arguments.out.name]
    for name, value in vars(arguments).items():
        if name not in {"files", "out"} and value != usual[name]:
            option = f"--{name.replace('_', '-')}"
            words += [part for one in (value if isinstance(value, list) else [value]) for part in (option, str(one))]
    return " ".join(words)


def source_row(corpus: Corpus) -> str:
    """Give a corpus as a row of the model card's table of texts."""
    what, terms = SOURCES.get(corpus.name, ("", ""))
    size = f"{len(corpus.paragraphs):,} | {corpus.characters / 1e6:.1f}"
    return f"| {corpus.name} | {what} | {terms} | {size} | {corpus.weight:g} | {corpus.late_weight:g} |"


def quality_facts(table: Probe) -> dict[str, Any]:
    """Measure what the model card says about the input table."""
    ranks = [table.analogy_rank(analogy) for analogy in ANALOGIES]
    facts = {
        "analogies": len(ANALOGIES),
        "first": sum(rank == 1 for rank in ranks) / len(ANALOGIES),
        "top": sum(rank in (1, 2, 3) for rank in ranks) / len(ANALOGIES),
        "neighbors": "\n".join(
            f"| {as_code(f' {word}')} | {', '.join(as_code(text) for text, _ in table.neighbors(word, 10))} |"
            for word in SHOWN
        ),
    }
    for prefix, kinds in (("", CATEGORIES), ("held_out_", HELD_OUT)):
        words = {name: members.split() for name, members in kinds.items()}
        shares = {name: table.share_in_category(members) for name, members in words.items()}
        total = sum(len(members) for members in words.values())
        facts |= {
            f"{prefix}category_words": total,
            f"{prefix}category_share": sum(shares[name] * len(members) for name, members in words.items()) / total,
            f"{prefix}by_category": ", ".join(f"{name} {share:.0%}" for name, share in shares.items()),
        }
    return facts


def as_code(text: str) -> str:
    """Give a piece or a text as Markdown code that a table row can hold."""
    visible = text.replace("\n", "\\n").replace("|", "\\|")
    return f"`` {visible} ``" if "`" in visible else f"`{visible}`"


def minutes(seconds: float) -> str:
    """Give a time in minutes and seconds."""
    whole_minutes, rest = divmod(round(seconds), 60)
    return f"{whole_minutes} min {rest} s"


# Command line


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train the bundled model from plain text files.")
    add = parser.add_argument
    add("files", nargs="+", type=Path, help=".txt or .txt.xz, one paragraph per line")
    add("--out", type=Path, required=True, help="folder to write")
    add("--weight", action="append", default=[], metavar="NAME=N", help="read the paragraphs of file NAME N times")
    add("--late-weight", action="append", default=[], metavar="NAME=N", help="the same for the second part")
    add("--food-weight", type=int, default=5, help="read paragraphs on food N times (default: %(default)s)")
    add("--rows", type=int, default=32_000, help="rows of each table (default: %(default)s)")
    add("--padding-rows", type=int, default=40, help="rows at the end without a token (default: %(default)s)")
    add("--dim", type=int, default=128, help="width of a row (default: %(default)s)")
    add("--epochs", type=int, default=4, help="passes over the text (default: %(default)s)")
    add("--late-epochs", type=int, default=1, help="passes of the second part (default: %(default)s)")
    add("--late-share", type=float, default=0.5, help="of the second part in the mean (default: %(default)s)")
    add("--window", type=int, default=5, help="greatest distance to a context token (default: %(default)s)")
    add("--negative", type=int, default=6, help="drawn tokens per context token (default: %(default)s)")
    add("--ns-exponent", type=float, default=0.75, help="how a token's count shapes that draw (default: %(default)s)")
    add("--sample", type=float, default=3e-5, help="share above which a token is thinned out (default: %(default)s)")
    add("--alpha", type=float, default=0.025, help="learning rate at the start (default: %(default)s)")
    add("--late-alpha", type=float, default=0.015, help="the same for the second part (default: %(default)s)")
    add("--min-alpha", type=float, default=0.0001, help="learning rate at the end of either (default: %(default)s)")
    add("--workers", type=int, default=2, help="threads that train (default: %(default)s)")
    add("--seed", type=int, default=1, help="of everything that is drawn (default: %(default)s)")
    return parser.parse_args(arguments)


def named_numbers(given: Sequence[str]) -> dict[str, float]:
    """Read NAME=N as often as it was given."""
    parts = (text.partition("=") for text in given)
    return {name: float(number) for name, _, number in parts}


def main() -> None:
    """Train and write the model."""
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    arguments = parse_arguments()
    weights = WEIGHTS | named_numbers(arguments.weight)
    late_weights = LATE_WEIGHTS | named_numbers(arguments.late_weight)
    rng = random.Random(arguments.seed)  # noqa: S311  (nothing secret is drawn)
    run = Run(arguments)
    run.corpora = [
        read_corpus(path, weights.get(name, 1.0), late_weights.get(name, 1.0), arguments.food_weight, rng)
        for path in arguments.files
        for name in [path.name.partition(".")[0]]
    ]
    paragraphs = [paragraph for corpus in run.corpora for paragraph in corpus.paragraphs]
    run.lap("reading")

    size = arguments.rows - arguments.padding_rows
    learned = train_tokenizer(paragraphs, size + SPARE_TOKENS)
    tokenizer = prune(learned, survey(learned, run.corpora), size)
    run.lap("the tokenizer")

    encoded = encode(tokenizer, paragraphs)
    late_rng = random.Random(arguments.seed + 1)  # noqa: S311
    late = replace(encoded, copies=late_copies(run.corpora, arguments.food_weight, late_rng))
    with tempfile.TemporaryDirectory() as folder:
        parts = [
            Part(path, texts.counts(size), write_ids(texts, path, rng), epochs, alpha)
            for path, texts, epochs, alpha in (
                (Path(folder, "ids.txt"), encoded, arguments.epochs, arguments.alpha),
                (Path(folder, "late.txt"), late, arguments.late_epochs, arguments.late_alpha),
            )
        ]
        run.tokens_per_epoch = [int(part.counts.sum()) for part in parts]
        run.lap("encoding")
        tables = train_tables(parts[0], parts[1], size, arguments)
    run.lap("the tables")

    write_model(arguments.out, tokenizer, tables)
    write_card(arguments.out, tokenizer, tables, run)


if __name__ == "__main__":
    main()
