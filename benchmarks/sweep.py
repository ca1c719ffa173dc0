"""Measure what many models cost, and what a second worker brings.

    python benchmarks/sweep.py cost                   requests, bytes and seconds of a processor of some kinds of model
    python benchmarks/sweep.py workers --engine ray   one worker against two, in turn, on a hub that is far away

The hub is the one of the tests, for `workers` in a process of its own. There no repository answers "too many requests":
that holds all workers together, as it should, however many they are. `cost` takes the tokenizers of the folder that
EMBTOOL_TEST_REAL names, where it names one: of small random ones neither bytes nor seconds mean much.
"""

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))


class Shape(NamedTuple):
    """A model as it is published: its tokenizer, its table, its layers, and how many files it is in."""

    tokenizer: str
    rows: int
    width: int
    layers: int
    shards: int
    settings: Mapping[str, Any]


SHAPES = {
    "BERT base, vocab.txt": Shape("bert-base-cased", 28_996, 768, 12, 1, {"model_type": "bert"}),
    "GPT-2": Shape("gpt2", 50_257, 768, 12, 1, {"model_type": "gpt2", "tie_word_embeddings": True}),
    "Llama 2, 7B": Shape("llama2", 32_000, 4_096, 32, 2, {"model_type": "llama", "tie_word_embeddings": False}),
    "Qwen3, 27B": Shape("qwen3", 151_936, 5_120, 64, 15, {"model_type": "qwen3", "tie_word_embeddings": False}),
}


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("cost")
    workers = commands.add_parser("workers")
    workers.add_argument("--engine", choices=["ray", "dask"], default="dask")
    workers.add_argument("--rounds", type=int, default=3)
    served = commands.add_parser("hub")
    served.add_argument("folder", type=Path)
    for command in (workers, served):
        command.add_argument("--models", type=int, default=500)
        command.add_argument("--delay", type=float, default=0.1, help="seconds that the hub thinks about each answer")
    arguments = parser.parse_args()
    if arguments.command == "hub":
        serve(arguments.folder, arguments.models, arguments.delay)
        return
    with tempfile.TemporaryDirectory() as name:
        if arguments.command == "cost":
            cost(Path(name))
        else:
            compare_workers(Path(name), arguments)


def cost(folder: Path) -> None:
    """Ask each question of each kind of model once, with empty caches."""
    os.environ |= {"HF_HOME": str(folder / "hf"), "EMBTOOL_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "0"}
    from hubstub import HubStub

    with HubStub() as hub:
        os.environ["HF_ENDPOINT"] = hub.endpoint
        from embtool.sweep import Sweep

        print("| model | question | requests to the hub | to its storage | received | processor |")
        print("|---|---|---|---|---|---|")
        for number, (name, shape) in enumerate(SHAPES.items()):
            write_shape(folder / "models" / str(number), shape)
            place = folder / "models" / str(number)
            hub.add(f"acme/m{number}", {path.name: path for path in place.iterdir()})
            for question in ("info", "check"):
                for cache in ("hf", "cache"):
                    shutil.rmtree(folder / cache, ignore_errors=True)
                hub.reset()
                (record,) = Sweep(question, folder).answer(f"acme/m{number}")
                assert not record["status"], record
                counts, received = f"{hub.count('hub')} | {hub.count('storage')}", hub.sent() / 1e6
                started = time.process_time()
                Sweep(question, folder).answer(f"acme/m{number}")  # from the cache: without the hub's own work
                spent = time.process_time() - started
                print(f"| {name} | {question} | {counts} | {received:.2f} MB | {spent:.2f} s |", flush=True)


def write_shape(folder: Path, shape: Shape) -> None:
    """Write a model's small files and headers; its numbers are a hole in the file."""
    folder.mkdir(parents=True)
    real = Path(os.environ.get("EMBTOOL_TEST_REAL", "")) / "tokenizers" / shape.tokenizer
    for path in real.iterdir() if os.environ.get("EMBTOOL_TEST_REAL") else ():
        if path.name != "config.json":
            shutil.copy(path, folder / path.name)
    settings = {
        **shape.settings,
        "vocab_size": shape.rows,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.width // 128,
        "num_key_value_heads": 8,
        "max_position_embeddings": 32_768,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    names = {"model.embed_tokens.weight": (shape.rows, shape.width), "model.norm.weight": (shape.width,)}
    if not shape.settings.get("tie_word_embeddings"):
        names["lm_head.weight"] = (shape.rows, shape.width)
    for layer in range(shape.layers):
        for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.up_proj"):
            names[f"model.layers.{layer}.{part}.weight"] = (shape.width, shape.width)
        for part in ("mlp.gate_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm"):
            names[f"model.layers.{layer}.{part}.weight"] = (shape.width, shape.width)
    files: dict[str, dict[str, Any]] = {}
    for place, (name, size) in enumerate(names.items()):
        number = place * shape.shards // len(names) + 1
        file = f"model-{number:05}-of-{shape.shards:05}.safetensors" if shape.shards > 1 else "model.safetensors"
        files.setdefault(file, {})[name] = size
    for file, tensors in files.items():
        write_shard(folder / file, tensors)
    if shape.shards > 1:
        weight_map = {name: file for file, tensors in files.items() for name in tensors}
        text = json.dumps({"metadata": {"total_size": 0}, "weight_map": weight_map}, indent=2)
        (folder / "model.safetensors.index.json").write_text(text)


def write_shard(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write a safetensors file of BF16 zeros that takes no room."""
    header, end = {}, 0
    for name, size in tensors.items():
        start, end = end, end + 2 * (size[0] * size[1] if len(size) > 1 else size[0])
        header[name] = {"dtype": "BF16", "shape": list(size), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def compare_workers(folder: Path, asked: argparse.Namespace) -> None:
    """Sweep the test hub's repositories with one worker and with two, in turn, each time with empty caches."""
    taken: dict[int, list[float]] = {1: [], 2: []}
    engine = asked.engine
    command = [sys.executable, __file__, "hub", folder, "--models", asked.models, "--delay", asked.delay]
    with subprocess.Popen(
        [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as hub:
        assert hub.stdout is not None
        endpoint = hub.stdout.readline().strip()
        try:
            for number in range(asked.rounds):
                for workers in (1, 2):
                    before = processor_time()
                    taken[workers].append(sweep(folder / f"{number}-{workers}", endpoint, engine, workers))
                    spent = processor_time() - before
                    print(
                        f"{engine}, {workers} worker(s): {taken[workers][-1]:.1f} s, of processors {spent:.0f} s",
                        flush=True,
                    )
        finally:
            hub.kill()
    ratios = [one / two for one, two in zip(taken[1], taken[2], strict=True)]
    middle, least, most = statistics.median(ratios), min(ratios), max(ratios)
    print(f"{engine}: two workers do {middle:.2f} × one's work ({least:.2f} to {most:.2f})")


def processor_time() -> float:
    """Return the seconds of a processor that the programs took which have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def sweep(home: Path, endpoint: str, engine: str, workers: int) -> float:
    """Run one sweep; return the seconds from the first task to the last answer, as the example tells them."""
    home.mkdir()
    script = ROOT / "examples" / "many_models" / f"with_{engine}.py"
    command = [sys.executable, script, "sweep", "info", home.parent / "models.txt", home / "out"]
    options = ("--workers", workers, "--batch", 8, "--requests", 10**6)
    environment = {
        **os.environ,
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "EMBTOOL_CACHE": str(home / "cache"),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "EMBTOOL_RETRIES": "2",
    }
    done = subprocess.run(
        [str(word) for word in (*command, *options)], env=environment, capture_output=True, text=True, check=False
    )
    found = re.findall(r"([0-9,]+) of \1 models, [0-9]+ with an error; ([0-9.]+) s", done.stderr)
    assert found, done.stderr
    return float(found[-1][1])


def serve(folder: Path, models: int, delay: float) -> None:
    """Serve the repositories of the tests, thinking about each answer, until this process is ended."""
    from hubstub import HubStub
    from many_models import populate

    with HubStub() as hub:
        names = populate(hub, folder / "models", models)
        hub.faults = [fault for fault in hub.faults if "/busy-" not in fault.path]
        hub.fault("delay", times=None, seconds=delay)
        (folder / "models.txt").write_text("\n".join(names))
        print(hub.endpoint, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
