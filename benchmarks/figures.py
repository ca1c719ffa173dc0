"""Make the figures of docs/performance.md anew: every benchmark once, in about half an hour, on a quiet machine.

    python benchmarks/figures.py [PAGE]

What the benchmarks print takes the place of what stands between the two marks of the page. A benchmark that is not done
in time is cut off, and the page says so.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

MINUTES = 32
MARKS = ("<!-- figures: made by `make figures` -->", "<!-- end of figures -->")

RUNS = (
    ["passes.py", "--rounds", "7"],
    ["run.py", "--size", "gpt2", "--size", "llama3", "--size", "qwen3.6", "--queries", "1"],
    ["run.py", "--size", "gpt2", "--queries", "1000"],
    ["run.py", "--size", "llama3", "--queries", "1000"],
    ["run.py", "--size", "qwen3.6", "--queries", "1000"],
)


def main() -> None:
    """Run every benchmark, and write the page."""
    page = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/performance.md")
    text = page.read_text(encoding="utf-8")
    pattern = re.compile("|".join(map(re.escape, MARKS)))
    if pattern.findall(text) != list(MARKS):
        sys.exit(f"{page} lacks the marks {MARKS[0]} and {MARKS[1]}")
    end = time.monotonic() + MINUTES * 60
    found = "\n\n".join(run(words, end - time.monotonic()) for words in RUNS)
    before, _, after = pattern.split(text)
    page.write_text(f"{before}{MARKS[0]}\n\n{found.strip()}\n\n{MARKS[1]}{after}", encoding="utf-8")


def run(words: list[str], seconds: float) -> str:
    """Run a benchmark, show what it prints, and return it."""
    command = [sys.executable, str(Path(__file__).with_name(words[0])), *words[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            printed = process.communicate(timeout=max(seconds, 1))[0]
        except subprocess.TimeoutExpired:
            process.kill()
            printed = process.communicate()[0] + f"\nCut off here: {MINUTES} minutes were over.\n"
        print(printed, flush=True)
    return printed.strip()


if __name__ == "__main__":
    main()
