"""What a sweep has written, opened by engines that read Parquet themselves: DuckDB, and Spark where there is Java."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from many_models import KINDS

from embtool.sweep import QUESTIONS, Sweep

pytest.importorskip("pyarrow", reason="an extra: pip install 'embtool[parquet]'")
dataset = pytest.importorskip("pyarrow.dataset")

Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every question asked of every kind of model, some of which have no answer, in parts of five models."""
    folder = tmp_path_factory.mktemp("lake")
    for kind, write in KINDS.items():
        write(folder / "models" / kind)
    names = [str(folder / "models" / kind) for kind in KINDS] + [
        f"{folder}/nothing",
        "nul\0",
        "\udcff",
        "a\U0001f600\n",
    ]
    for question in QUESTIONS:
        sweep = Sweep(question, folder / "answers")
        for batch in sweep.batches(names, 5):
            sweep.write(batch)
    return folder / "answers"


def own(folder: Path, question: str) -> Any:
    """The records of a question as pyarrow reads them, and their schema."""
    return dataset.dataset(folder / f"question={question}").to_table()


def ordered(rows: Rows) -> Rows:
    return sorted(rows, key=repr)


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_duckdb_reads_what_was_written(lake: Path, question: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    wanted = own(lake, question)
    read = duckdb.read_parquet(f"{lake}/question={question}/*.parquet", hive_partitioning=True)
    assert read.aggregate("question, count(*)").fetchall() == [(question, wanted.num_rows)]
    found = read.select(*map('"{}"'.format, wanted.column_names))
    names = {"int64": "BIGINT", "double": "DOUBLE", "string": "VARCHAR", "bool": "BOOLEAN"}
    names |= {f"list<element: {name}>": f"{kind}[]" for name, kind in names.items()}
    assert [str(kind) for kind in found.types] == [names[str(field.type)] for field in wanted.schema]
    got = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    assert ordered(got) == ordered(wanted.to_pylist())


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    sql = pytest.importorskip("pyspark.sql", reason="pip install pyspark")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark runs on Java, which is not here")
    settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.sql.shuffle.partitions": "1"}
    builder = sql.SparkSession.builder.master("local[1]")
    for key, held in settings.items():
        builder = builder.config(key, held)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        session = builder.getOrCreate()
        yield session
        session.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("question", QUESTIONS)
def test_spark_reads_what_was_written(lake: Path, spark: Any, question: str) -> None:
    """Every column nullable and of the type that was written, and the question a column beside them."""
    wanted = own(lake, question)
    found = spark.read.options(mergeSchema=True, basePath=str(lake)).parquet(f"{lake}/question={question}")
    names = {"int64": "bigint", "double": "double", "string": "string", "bool": "boolean"}
    names |= {f"list<element: {name}>": f"array<{kind}>" for name, kind in names.items()}
    assert found.dtypes == [*((field.name, names[str(field.type)]) for field in wanted.schema), ("question", "string")]
    assert all(field.nullable for field in found.schema)
    counted = [row.asDict() for row in found.groupBy("question").count().collect()]
    assert counted == [{"question": question, "count": wanted.num_rows}]
    rows = found.select(*wanted.column_names).collect()
    assert ordered([row.asDict() for row in rows]) == ordered(wanted.to_pylist())
