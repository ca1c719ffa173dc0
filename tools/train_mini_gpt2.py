"""Train the bundled model `mini-gpt2`: a small GPT-2, with a table of positions that it learned.

The text is drawn from the files that `mini` learned from; a byte-level BPE vocabulary is learned on it, and a GPT-2 of
transformers is trained from nothing to predict the next token. The whole model is written, as transformers writes it:
its tables, its blocks, its tokenizer, and a card with the figures of the run.

Run it on plain text files, one paragraph per line, compressed with xz or not:

    pip install torch transformers
    OMP_NUM_THREADS=1 python tools/train_mini_gpt2.py corpus/*.txt.xz --out src/embtool/bundled/mini-gpt2

The defaults are what the bundled model was trained with. The same files, seed, thread and versions give the same model.
"""

from __future__ import annotations

import argparse
import io
import logging
import lzma
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

log = logging.getLogger("train_mini_gpt2")

END_OF_TEXT = "<|endoftext|>"

SHARES = {"enwiki": 0.1, "gutenberg": 0.03, "gutenberg_food": 1.0, "keps": 0.4, "wikinews": 0.15, "wordnet": 0.12}
"""The part of each file's paragraphs that is read; a file that is not named here is left out."""

TERMS = {
    "enwiki": ("paragraphs of the English Wikipedia", "CC BY-SA 3.0"),
    "gutenberg": ("paragraphs of English books from Project Gutenberg", "public domain in the USA"),
    "gutenberg_food": ("such paragraphs that name fruits and berries", "public domain in the USA"),
    "keps": ("Kubernetes enhancement proposals", "Apache-2.0"),
    "wikinews": ("paragraphs of the English Wikinews", "CC BY 2.5"),
    "wordnet": ("definitions and examples of WordNet, as sentences", "CC BY 4.0 and the WordNet License"),
}
"""What a file of this name holds and on which terms; the model card repeats it."""

HELD_OUT = 100
"""One paragraph of so many is not trained on: the loss of the card is measured there."""

WARM_UP = 0.05
"""The part of all steps in which the learning rate rises."""

TOLD = 100
"""Steps after which the mean loss of these steps is told."""

CLIPPED = 1.0
"""The norm above which a step's gradient is cut."""


@dataclass(frozen=True)
class Source:
    """What was read of one file."""

    name: str
    paragraphs: list[str]


@dataclass(frozen=True)
class Loss:
    """Cross-entropy per token in nats on paragraphs that were not trained on: as trained, and with positions spoilt."""

    trained: float
    without_positions: float
    shuffled_positions: float


# Text


def read_source(path: Path, share: float, rng: random.Random) -> Source:
    """Read a share of the paragraphs of a .txt or .txt.xz file, each with a space before its first word."""
    paragraphs = [f" {line.strip()}" for line in read_lines(path) if rng.random() < share]
    return Source(path.name.partition(".")[0], paragraphs)


def read_lines(path: Path) -> Iterator[str]:
    """Give the lines of a text file that are not blank."""
    with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as binary:
        yield from (line for line in io.TextIOWrapper(binary, encoding="utf-8") if not line.isspace())


def train_tokenizer(paragraphs: Sequence[str], size: int) -> Tokenizer:
    """Learn a byte-level BPE of `size` tokens, the end of a text among them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(paragraphs, trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, paragraphs: Sequence[str]) -> torch.Tensor:
    """Give the ids of all paragraphs, one after the other, each with the end of a text behind it."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    ids = [
        identity
        for start in range(0, len(paragraphs), 5_000)
        for encoding in tokenizer.encode_batch_fast(paragraphs[start : start + 5_000])
        for identity in (*encoding.ids, end)
    ]
    return torch.tensor(ids, dtype=torch.int32)


# Training


def learning_rate(step: int, arguments: argparse.Namespace) -> float:
    """Give the rate of a step: a straight rise, then half a cosine down to a tenth."""
    warm_up = WARM_UP * arguments.steps
    if step < warm_up:
        return float(arguments.rate * (step + 1) / warm_up)
    done = (step - warm_up) / (arguments.steps - warm_up)
    return float(arguments.rate * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2))


def train(model: GPT2LMHeadModel, ids: torch.Tensor, arguments: argparse.Namespace) -> None:
    """Train on windows that begin anywhere; weight decay for the matrices of the blocks only, never for a table."""
    blocks = [parameter for parameter in model.transformer.h.parameters() if parameter.ndim > 1]
    chosen = {id(parameter) for parameter in blocks}
    others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    optimizer = torch.optim.AdamW(
        [{"params": blocks, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=arguments.rate,
        betas=(0.9, 0.98),
    )
    offsets = torch.arange(arguments.positions)
    started, mean = time.monotonic(), 0.0
    for step in range(arguments.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, arguments)
        starts = torch.randint(len(ids) - arguments.positions, (arguments.batch,))
        window = ids[starts[:, None] + offsets].long()
        loss = model(input_ids=window, labels=window).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIPPED)
        optimizer.step()
        mean += (loss.item() - mean) / (step % TOLD + 1)
        if (step + 1) % TOLD == 0:
            log.info("step %d: loss %.3f, %.0f s", step + 1, mean, time.monotonic() - started)


@torch.no_grad()  # type: ignore[untyped-decorator]
def round_to_bfloat16(model: GPT2LMHeadModel) -> None:
    """Round every number to bfloat16, in which it will be stored: what is measured is then what is shipped."""
    for parameter in model.parameters():
        parameter.copy_(parameter.bfloat16())


@torch.no_grad()  # type: ignore[untyped-decorator]
def mean_loss(model: GPT2LMHeadModel, ids: torch.Tensor, positions: int) -> float:
    """Give the mean loss over a text cut into windows."""
    windows = ids[: len(ids) // positions * positions].long().view(-1, positions)
    losses = [model(input_ids=part, labels=part).loss.item() * len(part) for part in windows.split(32)]
    return float(sum(losses) / len(windows))


def measure(model: GPT2LMHeadModel, ids: torch.Tensor, positions: int) -> Loss:
    """Measure the loss, and what becomes of it where the table of positions is zero, or its rows change places."""
    table = model.transformer.wpe.weight.data
    learned = table.clone()
    losses = []
    for rows in (learned, torch.zeros_like(learned), learned[torch.randperm(len(learned))]):
        table.copy_(rows)
        losses.append(mean_loss(model, ids, positions))
    table.copy_(learned)
    return Loss(*losses)


# The folder

CARD = """\
---
language: en
license: other
license_name: terms-of-the-training-texts
library_name: transformers
pipeline_tag: text-generation
---

# mini-gpt2

A GPT-2 as small as it can be, trained from nothing by `tools/train_mini_gpt2.py` in embtool's repository. It comes with
embtool beside `mini`, because it has what `mini` has not: blocks, and a table of positions that training made.

It is for looking at. It predicts the next token far worse than any model that you know, and its rows know less of the
meaning of words than those of `mini`, which saw ten times as much text and had nothing else to do.

| | |
|---|---|
| tokenizer | byte-level BPE, {vocabulary:,} tokens, `{end_of_text}` among them (id {end_id}) |
| token table | `transformer.wte.weight`, {vocabulary:,} x {width}, BF16; it predicts the next token too (tied) |
| position table | `transformer.wpe.weight`, {positions} x {width}, BF16 |
| blocks | {layers}, of {heads} heads each |
| parameters | {parameters:,}, all of them in `model.safetensors` |

transformers loads it: `GPT2LMHeadModel.from_pretrained(folder)`.

## Training

    {command}

| | |
|---|---|
| text | {paragraphs:,} paragraphs, {characters:.1f} million characters, {tokens:.1f} million tokens |
| read | {steps:,} steps of {batch} windows of {positions} tokens: {read:.1f} million tokens |
| optimizer | AdamW, betas 0.9 and 0.98, weight decay 0.1 in the blocks' matrices, gradients cut at norm {clipped:g} |
| learning rate | up to {rate:g} in the first {warm_up:.0%} of the steps, then half a cosine down to a tenth |
| dropout | none |
| stored | trained in float32, rounded to bfloat16 at the end |
| seed, threads | {seed}, {threads} |
| time | {minutes:.0f} minutes on a processor that other work shared; torch {torch}, transformers {transformers} |

One paragraph of {held_out} was kept apart. On these {held_out_tokens:,} tokens:

| | loss, nats per token | perplexity |
|---|---:|---:|
| the model | {trained:.3f} | {trained_perplexity:,.0f} |
| the same with every row of the position table zero | {zero:.3f} | {zero_perplexity:,.0f} |
| the same with the rows of the position table in random places | {shuffled:.3f} | {shuffled_perplexity:,.0f} |
| a guess that knows how frequent each token is, and nothing else | {unigram:.3f} | {unigram_perplexity:,.0f} |

So its positions are used, and not for show.

## Texts

| file | what | terms | paragraphs read | million characters |
|---|---|---|---:|---:|
{sources}

The files of the model hold no text of these, but figures and word pieces counted from them. Whoever passes them on
may have to name the sources and their terms, as this card does.

## What it is bad at

* Writing. It finds a word that may follow, and loses the thread at once.
* More than {positions} tokens: there is no row for position {positions}, and nothing to put in its place.
* Anything recent, languages other than English, code.
* Fairness. It repeats what its texts, old novels among them, say about people.
"""


def unigram_loss(ids: torch.Tensor, held_out: torch.Tensor, size: int) -> float:
    """Give the loss of a guess by how often each token was met in training."""
    counts = torch.bincount(ids.long(), minlength=size) + 1
    return float(-(counts / counts.sum()).log()[held_out.long()].mean())


def source_row(source: Source) -> str:
    """Give a file as a row of the model card's table of texts."""
    what, terms = TERMS.get(source.name, ("", ""))
    characters = sum(map(len, source.paragraphs)) / 1e6
    return f"| {source.name} | {what} | {terms} | {len(source.paragraphs):,} | {characters:.1f} |"


def write_card(
    arguments: argparse.Namespace,
    model: GPT2LMHeadModel,
    sources: Sequence[Source],
    ids: torch.Tensor,
    held_out: torch.Tensor,
    loss: Loss,
    seconds: float,
) -> None:
    """Write the model card, with the figures of this run."""
    unigram = unigram_loss(ids, held_out, arguments.vocabulary)
    names = " ".join(path.name for path in arguments.files)
    card = CARD.format(
        **vars(arguments),
        end_of_text=END_OF_TEXT,
        end_id=model.config.eos_token_id,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        command=f"python tools/train_mini_gpt2.py {names} --out {arguments.out.name}",
        paragraphs=sum(len(source.paragraphs) for source in sources),
        characters=sum(len(text) for source in sources for text in source.paragraphs) / 1e6,
        tokens=len(ids) / 1e6,
        read=arguments.steps * arguments.batch * arguments.positions / 1e6,
        clipped=CLIPPED,
        warm_up=WARM_UP,
        threads=torch.get_num_threads(),
        minutes=seconds / 60,
        torch=torch.__version__,
        transformers=transformers.__version__,
        held_out=HELD_OUT,
        held_out_tokens=len(held_out),
        trained=loss.trained,
        trained_perplexity=math.exp(loss.trained),
        zero=loss.without_positions,
        zero_perplexity=math.exp(loss.without_positions),
        shuffled=loss.shuffled_positions,
        shuffled_perplexity=math.exp(loss.shuffled_positions),
        unigram=unigram,
        unigram_perplexity=math.exp(unigram),
        sources="\n".join(map(source_row, sources)),
    )
    (arguments.out / "README.md").write_text(card, encoding="utf-8")


# Command line


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train mini-gpt2 from plain text files.")
    add = parser.add_argument
    add("files", nargs="+", type=Path, help=".txt or .txt.xz, one paragraph per line")
    add("--out", type=Path, required=True, help="folder to write")
    add("--vocabulary", type=int, default=4096, help="tokens (default: %(default)s)")
    add("--positions", type=int, default=128, help="rows of the position table (default: %(default)s)")
    add("--width", type=int, default=64, help="numbers in a row (default: %(default)s)")
    add("--layers", type=int, default=2, help="blocks (default: %(default)s)")
    add("--heads", type=int, default=4, help="heads of a block (default: %(default)s)")
    add("--steps", type=int, default=3000, help="steps of training (default: %(default)s)")
    add("--batch", type=int, default=16, help="windows of a step (default: %(default)s)")
    add("--rate", type=float, default=5e-3, help="learning rate at its highest (default: %(default)s)")
    add("--seed", type=int, default=1, help="of everything that is drawn (default: %(default)s)")
    return parser.parse_args(arguments)


def main() -> None:
    """Train and write the model."""
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    arguments = parse_arguments()
    started = time.monotonic()
    torch.manual_seed(arguments.seed)
    rng = random.Random(arguments.seed)  # noqa: S311  (nothing secret is drawn)
    named = [(path, SHARES.get(path.name.partition(".")[0], 0.0)) for path in arguments.files]
    sources = [read_source(path, share, rng) for path, share in named if share]
    paragraphs = [text for source in sources for text in source.paragraphs]
    tokenizer = train_tokenizer(paragraphs, arguments.vocabulary)
    rng.shuffle(paragraphs)
    held_out = encode(tokenizer, paragraphs[::HELD_OUT])
    del paragraphs[::HELD_OUT]
    ids = encode(tokenizer, paragraphs)
    log.info("%d paragraphs, %d tokens, %.0f s", len(paragraphs), len(ids), time.monotonic() - started)

    end = tokenizer.token_to_id(END_OF_TEXT)
    config = GPT2Config(
        vocab_size=arguments.vocabulary,
        n_positions=arguments.positions,
        n_embd=arguments.width,
        n_layer=arguments.layers,
        n_head=arguments.heads,
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        bos_token_id=end,
        eos_token_id=end,
    )
    model = GPT2LMHeadModel(config)
    train(model, ids, arguments)
    model.eval()
    round_to_bfloat16(model)
    torch.manual_seed(arguments.seed)  # the same random places, whatever was drawn before
    loss = measure(model, held_out, arguments.positions)
    model.bfloat16().save_pretrained(arguments.out)
    tokenizer.save(str(arguments.out / "tokenizer.json"))
    write_card(arguments, model, sources, ids, held_out, loss, time.monotonic() - started)
    log.info("%s", loss)


if __name__ == "__main__":
    main()
