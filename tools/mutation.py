"""Mutation testing by areas: change the code in one place at a time, and see whether a test notices.

mutmut makes the mutants, finds the tests that reach each function, and runs them, each mutant in a fork of one process.
Three things are done here around it:

- It leaves decorated functions alone, properties and the formulas of RoPE among them. So the code that is mutated is a
  copy in which `@decorate def f` is written `def f` and `f = decorate(f)`.
- All mutants take hours. A sample is drawn, the same for the same seed, and the score comes with its 95 % interval.
- Mutants that nobody could notice are not run: another wording of a message, another type in a `cast`.

A test that runs the program in a process of its own reaches no mutant; such tests, and slow ones, are not asked.

    python tools/mutation.py rope
    python tools/mutation.py formats --sample 300 --seed 2
    python tools/mutation.py formats --again        # only what the last run let through, with the tests of now
"""

from __future__ import annotations

import argparse
import ast
import configparser
import difflib
import json
import math
import random
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.stats import status_by_exit_code
from mutmut.utils.format_utils import get_mutant_name

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "mutation"
COPIED = ("src", "tests", "tools", "README.md", "pyproject.toml")
LET_THROUGH = ("survived", "no tests")
CODECS = ("utf-8", "ascii", "latin-1")


@dataclass(frozen=True)
class Area:
    """Modules that are mutated together, and the tests that are asked about them."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    left_out: str = ""
    """Words of the names of tests that are not asked, for pytest's `-k`."""


AREAS = {
    "rope": Area(("rope/*.py",), ("rope", "positions", "sequence", "cli_rope")),
    "config": Area(("configs/config.py",), ("config", "positions", "model", "cli_info", "cli_position")),
    "scan": Area(
        ("tables/scan.py", "tables/kernels.py", "tables/scoring.py", "tables/candidates.py"),
        ("scan", "neighbors", "vectors", "norms", "survey", "arithmetic", "undertrained", "diff", "cli_neighbors"),
    ),
    "formats": Area(
        ("formats/*.py",),
        ("format_details", "safetensors", "packed", "gguf", "static", "source", "table", "model", "positions"),
    ),
    "hub": Area(
        ("hub/*.py",),
        ("hub_decisions", "hub_names", "hub_faults", "hub_requests", "hub_table", "hub_crew", "hub_commands"),
        "Signals or Processes or EveryFailure or long_fetch or bomb or grows_only or person_is_asked or terminal_only",
    ),
}


@dataclass(frozen=True)
class Mutant:
    """One change in one place, and what came of it."""

    name: str
    change: str
    """The changed lines with those around them, and the function they are in."""
    status: str = "not run"


def main() -> None:
    """Mutate an area, run its tests, print the survivors and the score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("area", choices=AREAS)
    parser.add_argument("--sample", type=int, default=200, help="how many mutants to run; 0 for all")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--again", action="store_true", help="run what the last run let through once more")
    options = parser.parse_args()
    area, folder = AREAS[options.area], WORK / options.area
    kept = folder / "mutants.json"
    before = [Mutant(**entry) for entry in json.loads(kept.read_text())] if options.again else []
    _copy(area, folder)
    mutants = list(_mutants(area, folder))
    if options.again:
        asked = {mutant.change for mutant in before if mutant.status in LET_THROUGH}
        chosen = [mutant for mutant in mutants if mutant.change in asked]
        gone = asked - {mutant.change for mutant in chosen}
        before = [mutant for mutant in before if mutant.change not in gone]
        print(f"{options.area}: {len(asked)} mutants were let through; the code of {len(gone)} is gone", flush=True)
    else:
        size = min(options.sample or len(mutants), len(mutants))
        chosen = random.Random(options.seed).sample(mutants, size)  # noqa: S311 - a sample, no secret
        print(f"{options.area}: {size} of {len(mutants)} mutants", flush=True)
    run = _run(folder, chosen)
    known = {mutant.change: mutant for mutant in [*before, *run]}
    kept.write_text(json.dumps([asdict(mutant) for mutant in known.values()], indent=1))
    for mutant in run:
        if mutant.status in LET_THROUGH:
            print(f"\n{mutant.name}: {mutant.status}\n{mutant.change}")
    print(f"\n{options.area}: {_score(list(known.values()), len(mutants))}")


def _copy(area: Area, folder: Path) -> None:
    """Copy what the tests need, with the area's functions undecorated, and write mutmut's settings."""
    for name in (*(name for name in COPIED if (ROOT / name).is_dir()), "mutants"):
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    for path in _modules(area, folder):
        path.write_text(_undecorated(path.read_text()))
    asked = ["-p", "no:cacheprovider", *(["-k", f"not ({area.left_out})"] if area.left_out else [])]
    settings = configparser.ConfigParser()
    settings["mutmut"] = {
        "source_paths": "src",
        "only_mutate": _lines(str(path.relative_to(folder)) for path in _modules(area, folder)),
        "also_copy": _lines(name for name in COPIED if name not in ("src", "tests", "pyproject.toml")),
        "pytest_add_cli_args": _lines(asked),
        "pytest_add_cli_args_test_selection": _lines(f"tests/test_{name}.py" for name in area.tests),
        "timeout_multiplier": "5",
        "timeout_constant": "3",
        "use_git_change_detection": "false",
    }
    with (folder / "setup.cfg").open("w") as file:
        settings.write(file)


def _lines(words: Iterable[str]) -> str:
    return "\n" + "\n".join(words)


def _modules(area: Area, folder: Path) -> list[Path]:
    return sorted(path for pattern in area.modules for path in (folder / "src" / "embtool").glob(pattern))


def _undecorated(code: str) -> str:
    """Write `@decorate def f` as `def f` and `f = decorate(f)`, but for the decorators that mutmut knows."""
    lines = code.splitlines()
    functions = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
    for function in sorted(functions, key=lambda node: node.lineno, reverse=True):
        decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
        if not decorators or decorators[0] in ("staticmethod", "classmethod"):
            continue
        value = function.name
        for decorator in reversed(decorators):
            value = f"{decorator}({value})"
        lines.insert(function.end_lineno or 0, f"{' ' * function.col_offset}{function.name} = {value}")
        del lines[function.decorator_list[0].lineno - 1 : function.lineno - 1]
    return "\n".join(lines) + "\n"


def _mutants(area: Area, folder: Path) -> Iterator[Mutant]:
    """Every mutant of the area that is worth a run."""
    for path in _modules(area, folder):
        relative = path.relative_to(folder)
        mutated = mutate_file_contents(str(relative), path.read_text())
        lines, spans = mutated.code.splitlines(), mutated.line_span_by_function_name
        for name in mutated.mutant_names:
            function = name.partition("__mutmut_")[0]
            original, changed = (
                [line.replace(which, function) for line in lines[spans[which].start - 1 : spans[which].end]]
                for which in (f"{function}__mutmut_orig", name)
            )
            if not _is_idle(original, changed):
                diff = difflib.unified_diff(original, changed, f"{relative} {function}", lineterm="", n=2)
                change = "\n".join(line for line in diff if not line.startswith(("@@", "+++")))
                yield Mutant(get_mutant_name(relative, name), change)


def _is_idle(original: Sequence[str], changed: Sequence[str]) -> bool:
    """Whether a mutant only words a message differently, or changes what only a type checker reads."""
    before, after = (_Bare().visit(ast.parse(textwrap.dedent("\n".join(text)))) for text in (original, changed))
    return ast.dump(before) == ast.dump(after)


class _Bare(ast.NodeTransformer):
    """Leaves out what no program reads: prose (a string with a space in it), the type in a `cast`, a codec's case."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        """Replace prose."""
        is_prose = isinstance(node.value, str) and (" " in node.value or node.value.lower() in CODECS)
        return ast.Constant("prose") if is_prose else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Replace a cast."""
        self.generic_visit(node)
        return node.args[-1] if isinstance(node.func, ast.Name) and node.func.id == "cast" and node.args[1:] else node


def _run(folder: Path, chosen: Sequence[Mutant]) -> list[Mutant]:
    """Run mutants and read what mutmut wrote down about them."""
    if not chosen:
        return []
    program = Path(sys.executable).with_name("mutmut")
    with (folder / "mutmut.log").open("wb") as log:
        command = [str(program), "run", "--max-children", "1", *(mutant.name for mutant in chosen)]
        ended = subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, check=False)
    if ended.returncode:
        sys.exit(f"mutmut did not come through: {folder / 'mutmut.log'}")
    codes: dict[str, int | None] = {}
    for path in (folder / "mutants").rglob("*.meta"):
        codes |= json.loads(path.read_text())["exit_code_by_key"]
    return [replace(mutant, status=status_by_exit_code[codes[mutant.name]]) for mutant in chosen]


def _score(mutants: Sequence[Mutant], population: int) -> str:
    """Say how many mutants were noticed, and what that says of all of them: the 95 % interval by Wilson's formula."""
    counts = Counter(mutant.status for mutant in mutants)
    size = len(mutants)
    noticed = size - sum(counts[status] for status in LET_THROUGH)
    z = 1.96 if size < population else 0.0
    share = noticed / size
    middle = (share + z * z / (2 * size)) / (1 + z * z / size)
    half = z * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size)) / (1 + z * z / size)
    told = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return f"{share:.1%} noticed, {middle - half:.1%} to {middle + half:.1%} of all {population}: {told}"


if __name__ == "__main__":
    main()
