"""The same job done with other libraries: the ten rows nearest by cosine to a row, from the same file.

Each peer reads the file once in `prepare`, as its users would, and answers in `ask`. Each is used as its own
documentation says for exact search; where one needs unit rows or float32, making them belongs to `prepare`.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from models import Size

K = 10
Ask = Callable[[Any], Any]


@dataclass(frozen=True)
class Peer:
    """A library: `prepare` opens the table and returns what answers rows, (q, width) as float32, with ids (q, K)."""

    name: str
    prepare: Callable[[Path, Size], Ask]
    needs_float32: bool = False
    """Whether it holds a float32 copy of the table."""


def stored(folder: Path, size: Size) -> Any:
    """Map the table's stored numbers, as uint16 for BF16."""
    path = folder / "model.safetensors"
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
    return np.memmap(path, np.float32 if size.dtype == "F32" else np.uint16, "r", 8 + length, (size.rows, size.width))


def decoded(block: Any) -> Any:
    """Turn stored numbers into float32."""
    if block.dtype == np.float32:
        return np.asarray(block)
    return (block.astype(np.uint32) << 16).view(np.float32)


def unit_rows(folder: Path, size: Size) -> Any:
    """Make the float32 copy at unit length that most libraries want."""
    rows = decoded(stored(folder, size))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embtool(folder: Path, size: Size) -> Ask:
    """This project: the table as it is stored."""
    del size
    from embtool.model import open_model
    from embtool.tables.neighbors import nearest_each

    table = open_model(folder).input_table
    return lambda queries: np.stack([found.ids for found in nearest_each(table, queries, K)])


def limit(folder: Path, size: Size) -> Ask:
    """No answer: one pass over the bytes, in as many threads as there are processors."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    flat = stored(folder, size).reshape(-1).view(np.uint64)
    threads = len(os.sched_getaffinity(0))
    parts = np.array_split(flat, threads)

    def ask(queries: Any) -> Any:
        del queries
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(np.bitwise_xor.reduce, parts))

    return ask


def limit_one(folder: Path, size: Size) -> Ask:
    """No answer: one pass over the bytes by one thread."""
    flat = stored(folder, size).reshape(-1).view(np.uint64)
    return lambda _: np.bitwise_xor.reduce(flat)


def numpy_chunks(folder: Path, size: Size) -> Ask:
    """numpy: blocks decoded to float32, a matrix product, a partial sort."""
    table = stored(folder, size)

    def ask(queries: Any) -> Any:
        unit = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).T
        scores = np.empty((size.rows, len(queries)), np.float32)
        for first in range(0, size.rows, 8192):
            rows = decoded(table[first : first + 8192])
            scores[first : first + 8192] = (rows @ unit) / np.linalg.norm(rows, axis=1, keepdims=True)
        return _best(scores.T)

    return ask


def torch_bf16(folder: Path, size: Size) -> Ask:
    """torch: a matrix product in the stored dtype, norms computed once, topk."""
    import torch
    from safetensors.torch import load_file

    table = load_file(folder / "model.safetensors")["model.embed_tokens.weight"]
    norms = torch.linalg.vector_norm(table, dim=1, dtype=torch.float32)

    def ask(queries: Any) -> Any:
        query = torch.from_numpy(queries).to(table.dtype)
        scores = (table @ query.T).float() / norms[:, None]
        return torch.topk(scores, K, dim=0).indices.T.numpy()

    del size
    return ask


def faiss_flat(folder: Path, size: Size) -> Ask:
    """faiss: IndexFlatIP over unit rows."""
    import faiss

    index = faiss.IndexFlatIP(size.width)
    index.add(unit_rows(folder, size))
    return lambda queries: index.search(np.ascontiguousarray(queries), K)[1]


def usearch_exact(folder: Path, size: Size) -> Ask:
    """usearch: exact search over the float32 rows."""
    from usearch.index import MetricKind, search

    rows = np.ascontiguousarray(decoded(stored(folder, size)))
    return lambda queries: search(rows, queries, K, MetricKind.Cos, exact=True).keys


def gensim_vectors(folder: Path, size: Size) -> Ask:
    """gensim: KeyedVectors.similar_by_vector."""
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(size.width, count=size.rows)
    vectors.vectors = np.ascontiguousarray(decoded(stored(folder, size)))
    vectors.index_to_key = list(range(size.rows))
    vectors.key_to_index = {key: key for key in range(size.rows)}
    vectors.fill_norms()
    return lambda queries: [[key for key, _ in vectors.similar_by_vector(query, topn=K)] for query in queries]


def sklearn_brute(folder: Path, size: Size) -> Ask:
    """scikit-learn: NearestNeighbors, brute force, cosine."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute")
    model.fit(np.ascontiguousarray(decoded(stored(folder, size))))
    return lambda queries: model.kneighbors(queries, return_distance=False)


def _best(scores: Any) -> Any:
    top = np.argpartition(-scores, K, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1)
    return np.take_along_axis(top, order, axis=1)


PEERS = (
    Peer("limit: one pass, one thread", limit_one),
    Peer("limit: one pass, all threads", limit),
    Peer("embtool", embtool),
    Peer("numpy float32 chunks", numpy_chunks),
    Peer("torch, stored dtype", torch_bf16),
    Peer("faiss IndexFlatIP", faiss_flat, needs_float32=True),
    Peer("usearch exact", usearch_exact, needs_float32=True),
    Peer("gensim KeyedVectors", gensim_vectors, needs_float32=True),
    Peer("scikit-learn brute", sklearn_brute, needs_float32=True),
)
