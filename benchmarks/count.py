"""Time `vocab --count` beside the tokenizers library's own batches: `benchmarks/count.py TEXT... [--folder DIR]`.

The peer splits the lines of the text with `encode_batch` and counts what comes out with a Counter; embtool reads the
file, cuts it, splits it and counts. Each round runs both, the order changing; what counts is the median of the ratios.
The ratio of the least times is told too: on a busy machine each time is as long as the others let it be.
"""

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

import embtool
from embtool.references import bundled_folder


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    """Print the median of the peer's time over embtool's, with and without the peer's counting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path, nargs="+")
    parser.add_argument("--folder", type=Path, default=bundled_folder(), help="With a tokenizer.json.")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(asked.folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = embtool.open_model(asked.folder)
    model.count(texts=["warm"])
    for text in asked.texts:
        print(f"{text}, {text.stat().st_size / 1e6:.1f} MB:")
        measure(tokenizer, model, text, asked.rounds)


def measure(tokenizer: Tokenizer, model: embtool.Model, text: Path, rounds: int) -> None:
    """Time one text in turns."""
    lines = text.read_text(encoding="utf-8", errors="replace").splitlines()

    def batch() -> None:
        tokenizer.encode_batch(lines, add_special_tokens=False)

    def counted() -> None:
        found: Counter[int] = Counter()
        for each in tokenizer.encode_batch(lines, add_special_tokens=False):
            found.update(each.ids)

    runs = {"own": lambda: model.count(text, k=1), "batch": batch, "counter": counted}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for place in range(rounds):
        for name in list(runs)[:: 1 if place % 2 else -1]:
            times[name].append(seconds(runs[name]))
    for name, what in (("batch", "encode_batch alone"), ("counter", "encode_batch and a Counter")):
        ratios = [peer / own for peer, own in zip(times[name], times["own"], strict=True)]
        print(
            f"  {statistics.median(ratios):.2f} x the speed of {what} ({min(ratios):.2f} to {max(ratios):.2f}); "
            f"by the least times {min(times[name]) / min(times['own']):.2f}"
        )


if __name__ == "__main__":
    main()
