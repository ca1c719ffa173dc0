"""A model opens where its pickle arrives, and what asks a hub side by side shares a limit."""

from __future__ import annotations

import pickle
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_fixtures import HURRY, MODEL, Case
from hubstub import HubStub
from huggingface_hub import constants

import embtool
from embtool.errors import InvalidArgument, ModelNotFound
from embtool.hub.limit import RequestLimit, await_turn
from embtool.model import Model
from embtool.storage.source import Folder


def sent(held: Any) -> Any:
    """What arrives in another process."""
    return pickle.loads(pickle.dumps(held))  # noqa: S301 - its own


@pytest.mark.parametrize("name", ["small/", "small/config.json", "./small", "mini"])
def test_a_local_model_opens_in_another_folder(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(models)
    name = name.replace("config.json", next(path.name for path in (models / "small").glob("*.safetensors")))
    model = embtool.open_model(name, tokenizer="gpt2" if name != "mini" else None)
    before = model.info().to_dict()
    packed = pickle.dumps(model)
    assert len(packed) < 1000
    monkeypatch.chdir(tmp_path)
    arrived = pickle.loads(packed)  # noqa: S301 - its own
    assert (arrived.name, arrived.has_other_tokenizer) == (name, name != "mini")
    assert {**arrived.info().to_dict(), "cost": 0} == {**before, "cost": 0}


def test_a_folder_that_is_called_like_a_part_of_one(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a#b").symlink_to(models / "small")
    (tmp_path / "pipe").mkdir()
    shutil.copytree(models / "small", tmp_path / "pipe" / "text")
    monkeypatch.chdir(tmp_path)
    packed = [pickle.dumps(embtool.open_model(name)) for name in ("a#b", Path("a#b"), "pipe#text")]
    monkeypatch.chdir("/")
    for each, name in zip(packed, ("a#b", "a#b", "pipe#text"), strict=True):
        arrived = pickle.loads(each)  # noqa: S301 - its own
        assert arrived.name == name
        assert arrived.input_table.shape == embtool.open_model(models / "small").input_table.shape


def test_a_model_that_is_gone_says_so_where_it_arrives(tmp_path: Path, models: Path) -> None:
    place = tmp_path / "m"
    place.symlink_to(models / "small")
    packed = pickle.dumps(embtool.open_model(place))
    place.unlink()
    with pytest.raises(ModelNotFound, match="no such file or folder"):
        pickle.loads(packed)  # noqa: S301 - its own


def test_only_what_was_opened_by_name_travels(models: Path) -> None:
    with pytest.raises(TypeError, match="not opened by open_model"):
        pickle.dumps(Model(Folder(models / "small", "small")))


@pytest.fixture
def hub(case: Case, monkeypatch: pytest.MonkeyPatch) -> HubStub:
    """The test hub, as the one that everybody asks."""
    monkeypatch.setattr(constants, "ENDPOINT", case.hub.endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(case.hub_cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("embtool.hub.repository.default_patience", lambda: HURRY)
    return case.hub


def test_a_repository_opens_at_the_commit_that_was_read_and_without_the_token(case: Case, hub: HubStub) -> None:
    model = embtool.open_model(MODEL, token="hf_good", max_bytes=10**8)  # noqa: S106 - of the test hub
    assert model.config is not None
    hub.add(MODEL, case.files(**{"config.json": b'{"model_type": "gpt2"}'}))
    packed = pickle.dumps(model)
    assert b"hf_good" not in packed
    arrived = pickle.loads(packed)  # noqa: S301 - its own
    assert (arrived.name, arrived.source.commit, arrived.source.revision) == (MODEL, case.commit, "main")
    assert arrived.config.model_type == "llama"
    assert embtool.open_model(MODEL).config.model_type == "gpt2"  # type: ignore[union-attr]
    assert np.array_equal(arrived.input_table.rows([3]), model.input_table.rows([3]))
    assert not hub.leaks()


# --- a shared limit ---------------------------------------------------------------------------------------------------


def test_a_limit_lets_so_many_through_in_a_window() -> None:
    limit = RequestLimit(3, 60)
    assert [limit.turn() for _ in range(3)] == [0, 0, 0]
    assert 50 < limit.turn() <= 60


def test_a_limit_without_a_number_only_holds() -> None:
    limit = RequestLimit(None)
    assert not any(limit.turn() for _ in range(5000))
    limit.hold(100)
    limit.hold(1)
    assert 90 < limit.turn() <= 100


@pytest.mark.parametrize(("requests", "seconds"), [(0, 1), (-1, 1), (1, 0), (1, -1), (1, float("nan"))])
def test_a_limit_that_lets_nothing_through_is_refused(requests: int, seconds: float) -> None:
    with pytest.raises(InvalidArgument):
        RequestLimit(requests, seconds)


def test_a_limit_is_not_copied() -> None:
    with pytest.raises(TypeError, match="shared, not copied"):
        pickle.dumps(RequestLimit())


def test_threads_share_a_limit() -> None:
    """Of any eleven requests the first and the last lie a window apart, whoever sent them."""
    limit, times, lock = RequestLimit(10, 0.3), list[float](), threading.Lock()

    def send(_: int) -> None:
        await_turn(limit)
        with lock:
            times.append(time.monotonic())

    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(35)))
    assert time.monotonic() - started >= 3 * 0.3
    assert len(times) == 35


class Counting:
    """A limit that notes what it is told."""

    def __init__(self) -> None:
        self.turns = 0
        self.held: list[float] = []

    def turn(self) -> float:
        self.turns += 1
        return 0.0

    def hold(self, seconds: float) -> None:
        self.held.append(seconds)


@pytest.mark.usefixtures("case")
def test_requests_of_several_models_take_turns(hub: HubStub) -> None:
    limit = Counting()
    for name in (MODEL, f"{MODEL}@main"):
        embtool.open_model(name, limit=limit).source.files()
    assert limit.turns == hub.count("hub") > 0
    embtool.open_model(MODEL, limit=limit).checkpoint  # noqa: B018 - reads a header
    assert limit.turns == hub.count("hub"), "those of the hub count, those of its storage hosts do not"
    assert hub.count("storage") > 0
    assert limit.held == []


@pytest.mark.usefixtures("case")
@pytest.mark.slow
def test_what_the_hub_asks_of_one_all_are_told(hub: HubStub) -> None:
    limit = Counting()
    hub.fault("status", code=429, headers={"Retry-After": "1"})
    hub.fault("status", code=429, headers={"RateLimit": '"resolvers";r=0;t=1'}, skip=1)
    assert embtool.open_model(MODEL, limit=limit).config is not None
    assert limit.held == [1, 1]
