"""What every test may ask for: small models in a folder of their own, and the program, run apart from this machine.

Command lines run in the folder `models`, so they name a model as a person would: `-m small/`.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from program import Program
from small_models import (
    bfloat16,
    config,
    table,
    tokenizer_json,
    write_bert,
    write_gpt2,
    write_json,
    write_model,
    write_single,
)

from embtool.storage.cache import refusal

pytest_plugins = ["hub_fixtures"]

os.environ.setdefault(
    "HF_HUB_OFFLINE", "1"
)  # huggingface_hub reads it once, when it is imported: no test asks a real hub

ROOT = Path(__file__).parent.parent

settings.register_profile(
    "usual",
    deadline=None,
    max_examples=int(os.environ.get("EMBTOOL_TEST_EXAMPLES", "40")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=True,
    database=None,
)
settings.load_profile("usual")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Write the golden files from what is printed now.")


SLOW = frozenset(
    f"test_{name}"
    for name in (
        *("cache", "completion", "confined", "crash", "extremes", "fuzz", "golden_file", "hub_faults", "hub_slow"),
        *("judge", "limits", "load", "narrow", "packaging", "sandbox", "strangers"),
    )
)
"""Files whose tests take many processes, or long; of each function the first case is run with the others."""


def pytest_configure() -> None:
    """Let Ctrl-C end the programs that tests start, though a shell that put the tests in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the further cases of slow tests: `make test-all` and CI run them after the others.

    Of a function marked `few(n)` n cases are run with the others: the first, and others by chance, always the same.
    """
    functions: dict[str, list[pytest.Item]] = {}
    for item in items:
        functions.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for name, cases in functions.items():
        mark = cases[0].get_closest_marker("few")
        most = mark.args[0] if mark is not None else 1 if cases[0].path.stem in SLOW else len(cases)
        further = range(1, len(cases))
        chosen = {0, *Random(name).sample(further, min(most - 1, len(further)))}  # noqa: S311 - it need not be secret
        for place, item in enumerate(cases):
            if place not in chosen:
                item.add_marker("slow")


@pytest.fixture(autouse=True)
def nothing_refused() -> None:
    """Forget what an earlier test of this process passed over in its cache: the first reason stays until told."""
    refusal()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small models; tests read them and change nothing."""
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "small")
    tied = {"model.embed_tokens.weight": ("BF16", table("input").shape, bfloat16(table("input")))}
    write_single(folder / "tied", tied, config=config(tie_word_embeddings=True), tokenizer=tokenizer_json())
    write_single(folder / "bare", tied)
    write_gpt2(folder / "gpt2")
    write_bert(folder / "bert")
    moved = table("input")
    moved[280] += 0.25
    moved[281] *= -1
    tuned = {"model.embed_tokens.weight": ("BF16", moved.shape, bfloat16(moved))}
    write_single(folder / "tuned", tuned, config=config(tie_word_embeddings=True), tokenizer=tokenizer_json())
    (folder / "trace.json").write_text('{"positions": [1, 2], "inv_freq": [1, 0.1]}')
    (folder / "questions.txt").write_text(": people\nking queen man woman\n: other\nblue green cherry unheard\n")
    (folder / "only-config").mkdir()
    write_json(folder / "only-config" / "config.json", config())
    (folder / "only-tokenizer").mkdir()
    write_json(folder / "only-tokenizer" / "tokenizer.json", tokenizer_json())
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="session")
def small(models: Path) -> Path:
    """The usual model: BF16, sharded, untied; one row is zero, the last ones have no token."""
    return models / "small"


@pytest.fixture(scope="session")
def derived(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the program keeps of the bundled models' tokenizers, made once: each costs half a second."""
    home = tmp_path_factory.mktemp("derived")
    for name in ("mini", "mini-gpt2"):
        Program(home, models)("row", "the", "-m", name).ok()
    return home / "hf"


@pytest.fixture
def run(tmp_path: Path, models: Path, derived: Path) -> Program:
    """The program, in the folder of models, with a home of its own, which knows the bundled models."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(derived, home / "hf")
    return Program(home, models)
