"""One question asked of many models, on whatever runs a function over a list: threads, Ray, Dask, a queue of jobs.

A sweep is cut into batches of models. Whoever takes a batch asks the question of each and writes the flat records into
a Parquet file of its own, which appears when it is whole: nobody waits for anybody, what was killed is done again, and
what is done is not. A model that has no answer has the error as its record. The folder is a dataset that DuckDB, Spark
and pyarrow read: `FOLDER/question=info/part-0123456789abcdef.parquet`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from embtool.answers import Failure
from embtool.answers.arrow import fitted, need_pyarrow, outcomes, schema_of, write_parquet
from embtool.errors import EmbtoolError, FormatError, InvalidArgument, LocalFailure, trying_to
from embtool.hub.crew import in_order
from embtool.hub.limit import Limit
from embtool.model import open_model
from embtool.references import listed
from embtool.storage.replacing import whole

BATCH = 64
"""Models of a batch: as many are asked again when a worker dies, and a million make 16,000 files."""

BUG = 1
"""The status of what nobody has foreseen, as that of a traceback."""

PASSING = (5, 7)
"""Statuses of errors that can be gone another day: of the network, and of this machine."""


class Question(NamedTuple):
    """What can be asked in a sweep: the method of `Model`, its answer, and whether that is one record a model."""

    method: str
    answer: str
    is_one: bool


QUESTIONS = {
    "info": Question("info", "embtool.questions.info:InfoAnswer", is_one=True),
    "check": Question("check", "embtool.questions.check:CheckAnswer", is_one=True),
    "findings": Question("check", "embtool.questions.check:CheckAnswer", is_one=False),
    "norms": Question("norms", "embtool.questions.norms:NormsAnswer", is_one=True),
    "undertrained": Question("undertrained", "embtool.questions.undertrained:UndertrainedAnswer", is_one=False),
}
"""By name; `check` sums each model up in one record, and `findings` has a record for each finding."""


class Part(NamedTuple):
    """A batch that is done: its file, how many models it has, and for how many of them an error is recorded."""

    path: str
    models: int
    failed: int


@dataclass(frozen=True)
class Sweep:
    """One question and the folder of its answers. It pickles, so that any engine can hand it to its workers.

    Attributes:
        question: info, check, findings, norms or undertrained.
        folder: where the answers are written, one file a batch; every worker must reach it.
        asking: arguments of the question, such as `{"deep": True}` of check.
        opening: arguments of `open_model`, such as `{"revision": "main", "max_bytes": 10**9}`.
        side_by_side: how many models of a batch are asked at a time.
    """

    question: str
    folder: str | Path
    asking: Mapping[str, Any] = field(default_factory=dict)
    opening: Mapping[str, Any] = field(default_factory=dict)
    side_by_side: int = 4

    def __post_init__(self) -> None:
        if self.question not in QUESTIONS:
            raise InvalidArgument(f"question is one of {', '.join(QUESTIONS)}, not {self.question!r}")

    @property
    def parts(self) -> Path:
        """The folder of the parts."""
        return Path(self.folder) / f"question={self.question}"

    def batches(self, names: Iterable[str | Path], size: int = BATCH) -> list[tuple[str, ...]]:
        """Cut what is not done yet of a list of models into batches; empty lines and second mentions are passed over.

        Raises:
            InvalidArgument: it is one name; the folder holds the answers to the question asked in another way.
            FormatError: it holds a file that is no part of a sweep.
        """
        if isinstance(names, str):
            raise InvalidArgument("names are a list of models, not one text")
        done = self.done()
        left = [name for name in dict.fromkeys(map(listed, names)) if name and name not in done]
        return [tuple(left[first : first + size]) for first in range(0, len(left), size)]

    def done(self) -> set[str]:
        """Return the models that the folder has an answer or an error for.

        Raises:
            InvalidArgument: the folder holds the answers to the question asked in another way.
            FormatError: it holds a file that is no part of a sweep.
        """
        return {name for path in self._files() for name in self._models(path)}

    def write(self, names: Sequence[str], limit: Limit | None = None) -> Part:
        """Ask the question of each of these models, and write what they answer into a file of their own.

        Args:
            names: a batch.
            limit: what requests to the hub wait for, shared with whoever works on other batches.

        Raises:
            LocalFailure: the file cannot be written; pyarrow is not installed.
        """
        need_pyarrow()
        found = in_order(names, lambda name: self.answer(name, limit), self.side_by_side)
        return self._write(names, [record for records in found for record in records])

    def give_up(self, names: Sequence[str], why: str) -> Part:
        """Record for each of these models an error: those that no worker survives.

        Raises:
            LocalFailure: the file cannot be written.
        """
        failures = (Failure("model", name, LocalFailure(why)) for name in names)
        return self._write(names, [failure.to_record() for failure in failures])

    def answer(self, name: str, limit: Limit | None = None) -> list[dict[str, Any]]:
        """Ask the question of one model: its flat records, each with error, hint and status, or the one of its error.

        Whatever is wrong with a model is its record: of a fault of embtool's own, too, which nobody has foreseen.
        """
        question = QUESTIONS[self.question]
        try:
            with open_model(name, limit=limit, **self.opening) as model:
                answer = getattr(model, question.method)(**self.asking)
            return outcomes(answer, summary=question.is_one)
        except EmbtoolError as error:
            return outcomes(Failure("model", name, error))
        except MemoryError:
            return outcomes(Failure("model", name, LocalFailure("out of memory")))
        except Exception as error:  # noqa: BLE001 - of two million models one may find it
            said = f"{type(error).__name__}: {error}"
            return [{"model": name, "error": said, "hint": "this is a fault of embtool's: report it", "status": BUG}]

    def forget(self, statuses: Sequence[int] = PASSING) -> int:
        """Take the records of errors with these statuses away, so that those models are asked again; return how many.

        Raises:
            LocalFailure: a file cannot be written.
        """
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

        count = 0
        for path in self._files():
            table = pq.read_table(path, partitioning=None)
            wrong = {row["model"] for row in table.select(["model", "status"]).to_pylist() if row["status"] in statuses}
            names = self._models(path)
            kept = [name for name in names if str(fitted(name, need_pyarrow().string())) not in wrong]
            if len(kept) == len(names):
                continue
            count += len(names) - len(kept)
            if kept:
                self._put(path, kept, (row for row in table.to_pylist() if row["model"] not in wrong))
            else:
                path.unlink()
        return count

    @property
    def _asked(self) -> str:
        """What was asked, as a part says it."""
        return json.dumps([self.question, dict(self.asking)], sort_keys=True, default=str)

    def _files(self) -> Iterator[Path]:
        yield from sorted(self.parts.glob("part-*.parquet"))

    def _models(self, path: Path) -> list[str]:
        """Return the models of a part, as it says itself."""
        pa = need_pyarrow()
        import pyarrow.parquet as pq  # noqa: PLC0415 - as above

        try:
            said = pq.read_schema(path).metadata or {}
            names, asked = json.loads(said[b"embtool:models"]), said[b"embtool:asked"].decode()
        except (pa.ArrowException, KeyError, ValueError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise LocalFailure(f"cannot read {path}: {error.strerror or error}") from error
            raise FormatError(
                f"{path} is no part of a sweep", hint="remove it: its models are then asked again"
            ) from error
        if asked != self._asked:
            raise InvalidArgument(f"{path} holds what was asked as {asked}, not as {self._asked}: name another folder")
        return [str(name) for name in names]

    def _write(self, names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> Part:
        named = hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        path = self.parts / f"part-{named}.parquet"
        with trying_to(f"write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._put(path, names, records)
        return Part(str(path), len(names), len({record["model"] for record in records if record["status"]}))

    def _put(self, path: Path, names: Sequence[str], records: Iterable[Mapping[str, Any]]) -> None:
        question = QUESTIONS[self.question]
        module, _, kind = question.answer.partition(":")
        said = {"embtool:models": json.dumps(list(names)), "embtool:asked": self._asked}
        answers = getattr(import_module(module), kind)
        schema = schema_of(answers, summary=question.is_one, failures=True, **said)
        with whole(path) as file:
            write_parquet(records, schema, file)
