"""What a question costs: requests and bytes, counted by the hub that answers them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from hub_fixtures import HURRY, MODEL, ROW_BYTES, SHARD, Case, read, wait_until
from hubstub import HubStub
from safetensors import safe_open

from embtool.errors import FileNotInModel, TooLarge, Unreachable
from embtool.hub import HubSource, table
from embtool.storage.source import TensorDescription

LARGE = "acme/large"
SHARDS = 12
HIDDEN, VOCABULARY = 5120, 2000
SHARD_BYTES = 4_600_000_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HubStub, dict[str, int]]]:
    """A model of 55 GB in 12 shards that takes no disk: all zeros, but for the table."""
    folder = tmp_path_factory.mktemp("large")
    files: dict[str, bytes | Path] = {"config.json": json.dumps({"hidden_size": HIDDEN}).encode()}
    weight_map: dict[str, str] = {}
    place: dict[str, int] = {}
    for number in range(1, SHARDS + 1):
        name = f"model-{number:05}-of-{SHARDS:05}.safetensors"
        tensors: dict[str, object] = {}
        at = 0
        if number == 1:
            at = HIDDEN * VOCABULARY * 2
            shape = [VOCABULARY, HIDDEN]
            tensors["model.embed_tokens.weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [0, at]}
        size = (SHARD_BYTES - at) // 60
        for layer in range(60):
            tensors[f"model.layers.{number * 60 + layer}.mlp.down_proj.weight"] = {
                "dtype": "U8",
                "shape": [size],
                "data_offsets": [at, at := at + size],
            }
        header = json.dumps(tensors).encode()
        path = folder / name
        with path.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            if number == 1:
                place = {"header": file.tell(), "start": file.tell(), "row": HIDDEN * 2}
                file.writelines(bytes([row % 251]) * HIDDEN * 2 for row in range(VOCABULARY))
            file.truncate(8 + len(header) + at)
        files[name] = path
        weight_map |= dict.fromkeys(tensors, name)
    index = {"metadata": {"total_size": SHARDS * SHARD_BYTES}, "weight_map": weight_map}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    with HubStub() as hub:
        hub.add(LARGE, files)
        yield hub, place


@pytest.mark.slow
def test_config_index_and_a_header_of_a_55_gb_model_cost_9_requests_and_150_kb_at_most(
    large: tuple[HubStub, dict[str, int]], hub_home: Path
) -> None:
    hub, place = large
    hub.reset()

    def look(revision: str | None = None, *, offline: bool = False) -> HubSource:
        source = HubSource(
            LARGE, revision, endpoint=hub.endpoint, hub_cache=hub_home / "hub", patience=HURRY, offline=offline
        )
        assert "model-00012-of-00012.safetensors" in source.files()
        assert json.loads(source.read_file("config.json"))["hidden_size"] == HIDDEN
        shard = json.loads(source.read_file("model.safetensors.index.json"))["weight_map"]["model.embed_tokens.weight"]
        head = source.head(shard, place["header"] + 100)
        assert "model.embed_tokens.weight" in json.loads(head[8 : place["header"]])
        assert source.size(shard) > SHARD_BYTES * 0.99
        return source

    source = look()
    wait_until(lambda: hub.sent() >= source.cost.bytes)  # the hub counts what it has sent a moment after it is here
    assert hub.count() <= 9
    assert hub.sent() <= 150_000
    assert (source.cost.requests, source.cost.bytes) == (hub.count(), hub.sent())
    hub.reset()
    look(source.commit)
    look(offline=True)
    assert hub.count() == 0
    look()
    assert hub.count() <= 2, "a branch is asked again what it means"


def test_a_row_with_its_header_known_costs_2_requests_and_12_kb_the_next_one_1(
    large: tuple[HubStub, dict[str, int]], hub_home: Path
) -> None:
    hub, place = large
    shard = "model-00001-of-00012.safetensors"

    def source_at(revision: str | None) -> HubSource:
        return HubSource(LARGE, revision, endpoint=hub.endpoint, hub_cache=hub_home / "hub", patience=HURRY)

    first = source_at(None)
    first.head(shard, place["header"])
    hub.reset()

    def row(source: HubSource, number: int) -> bytes:
        start = place["start"] + number * place["row"]
        return source.read(shard, start, start + place["row"])

    source = source_at(first.commit)
    assert row(source, 7) == bytes([7]) * place["row"]
    assert hub.count() == 2
    assert hub.sent() <= 12_000
    assert row(source, 1999) == bytes([1999 % 251]) * place["row"]
    assert hub.count() == 3
    assert row(source_at(first.commit), 7) == bytes([7]) * place["row"]
    assert hub.count() == 3, "a row is kept"


def test_rows_far_apart_are_asked_for_side_by_side_and_near_ones_together(case: Case) -> None:
    source = case.source()
    source.head(SHARD, case.start)
    case.hub.reset()
    near, far = [3, 1, 2, 3], [600, 1200, 2400]
    ranges = [(case.start + row * ROW_BYTES, case.start + (row + 1) * ROW_BYTES) for row in near + far]
    assert source.read_ranges(SHARD, ranges) == [case.true_row(row) for row in near + far]
    assert case.hub.count("storage") == 4
    assert case.hub.count("hub") == 0
    assert source.read_ranges(SHARD, ranges) == [case.true_row(row) for row in near + far]
    assert case.hub.count() == 4


def test_the_table_costs_one_question_and_a_request_for_each_span(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "SPAN", 3 << 20)
    seen: list[tuple[str, int, int]] = []
    source = case.source(progress=lambda what, done, total: seen.append((what, done, total)))
    source.read_file("config.json")
    case.hub.reset()
    assert case.fetch(source) == case.table
    spans = -(-len(case.table) // (3 << 20))
    assert case.hub.count() <= 2 + spans
    assert sum(request.sent for request in case.hub.requests("storage")) == len(case.table)
    assert all(what.startswith("model.embed_tokens.weight in") and 0 <= done <= total for what, done, total in seen)
    case.hub.reset()
    again = case.source()
    assert case.fetch(again) == case.table
    assert case.row(5, again) == case.true_row(5)
    assert case.row(6) == case.true_row(6)
    assert case.hub.count() == 2, "only the branch is asked again, once for each source"


def test_safetensors_reads_the_fetched_table_and_where_it_came_from(case: Case) -> None:
    place = case.place()
    with safe_open(place.path, "numpy") as opened:
        metadata = opened.metadata()
        assert list(opened.keys()) == ["model.embed_tokens.weight"]
        assert opened.get_slice("model.embed_tokens.weight").get_shape() == [2501, 2048]
    assert metadata["model"] == MODEL
    assert metadata["commit"] == case.commit
    assert (int(metadata["start"]), int(metadata["stop"])) == (case.start, case.stop)
    assert metadata["endpoint"] == case.hub.endpoint
    assert b"Signature" not in place.path.read_bytes()[: place.start]
    assert not case.kept(".part") + case.kept(".journal") + case.kept(".lock")


def test_a_table_in_a_dtype_that_safetensors_does_not_have_is_bytes(case: Case) -> None:
    described = TensorDescription("token_embd.weight", "Q8_0", (32, 32))
    place = case.source().local_range(SHARD, 100, 100 + 34 * 32, describe=described)
    with safe_open(place.path, "numpy") as opened:
        assert opened.get_slice("token_embd.weight").get_dtype() == "U8"
        assert opened.metadata()["dtype"] == "Q8_0"
    assert read(place) == case.data[100 : 100 + 34 * 32]


def test_small_files_are_what_huggingface_hub_fetches_and_lie_in_its_cache(case: Case, tmp_path: Path) -> None:
    source = case.source()
    for name in ("config.json", "tokenizer.json"):
        judge = huggingface_hub.hf_hub_download(MODEL, name, endpoint=case.hub.endpoint, cache_dir=tmp_path / "judge")
        assert source.read_file(name) == Path(judge).read_bytes()
        ours = huggingface_hub.try_to_load_from_cache(MODEL, name, cache_dir=case.hub_cache)
        assert isinstance(ours, str)
        assert source.path(name) == Path(ours)
    assert len(huggingface_hub.scan_cache_dir(case.hub_cache).repos) == 1
    assert not huggingface_hub.scan_cache_dir(case.hub_cache).warnings


def test_a_shard_that_is_whole_in_the_shared_cache_is_read_there(case: Case) -> None:
    whole = huggingface_hub.hf_hub_download(MODEL, SHARD, endpoint=case.hub.endpoint, cache_dir=case.hub_cache)
    case.hub.reset()
    source = case.source(revision=case.commit)
    assert source.head(SHARD, 8) == case.data[:8]
    assert source.size(SHARD) == len(case.data)
    assert case.row(9, source) == case.true_row(9)
    place = case.place(source)
    assert place.path == Path(whole).resolve()
    assert read(place) == case.table
    assert source.plan_local_range(SHARD, case.start, case.stop).is_cached
    assert case.hub.count() == 0


def test_a_file_that_does_not_exist_is_asked_for_once(case: Case) -> None:
    source = case.source()
    for _ in range(2):
        with pytest.raises(FileNotInModel, match=r"no file nothing\.json"):
            source.read_file("nothing.json")
    assert case.hub.count() == 1
    with pytest.raises(FileNotInModel):
        case.source(revision=case.commit).read_file("nothing.json")
    assert case.hub.count() == 1, "the shared cache knows it"
    assert source.commit == case.commit, "the answer named the commit"


def test_what_files_there_are_is_asked_once_for_each_commit(case: Case) -> None:
    source = case.source()
    assert source.has(SHARD)
    assert not source.has("missing.txt")
    assert source.files() == ("config.json", SHARD, "tokenizer.json")
    case.hub.reset()
    assert case.source(revision=case.commit).files() == source.files()
    assert source.has("tokenizer.json")
    assert source.size("tokenizer.json") == len(b'{"model": {}}')
    assert case.hub.count() == 0


def test_offline_lists_what_another_program_has_fetched(case: Case) -> None:
    for name in case.files():
        huggingface_hub.hf_hub_download(MODEL, name, endpoint=case.hub.endpoint, cache_dir=case.hub_cache)
    case.hub.reset()
    source = case.source(offline=True)
    assert source.files() == ("config.json", SHARD, "tokenizer.json")
    assert source.head(SHARD, 8) == case.data[:8]
    assert source.has(SHARD)
    assert not source.has("model.safetensors.index.json")
    assert not source.has("other.safetensors")
    with pytest.raises(FileNotInModel):
        source.read_file("vocab.json")
    assert case.hub.count() == 0


def test_more_bytes_than_allowed_are_not_fetched_unless_somebody_says_yes(case: Case) -> None:
    with pytest.raises(TooLarge, match=f"{len(case.table):,} bytes") as caught:
        case.fetch(max_bytes=1_000_000)
    assert caught.value.exit_status == 7
    assert not case.kept(".part")
    asked: list[tuple[str, int]] = []

    def confirm(what: str, count: int) -> bool:
        asked.append((what, count))
        return True

    assert case.fetch(max_bytes=1_000_000, confirm=confirm) == case.table
    assert [count for _, count in asked] == [len(case.table)]
    assert case.fetch(max_bytes=0) == case.table, "what is here costs nothing"


def test_a_plan_says_what_would_be_fetched_and_fetches_nothing(case: Case) -> None:
    source = case.source()
    source.read_file("config.json")
    source.head(SHARD, case.start)
    case.hub.reset()
    ranges = [(case.start, case.start + 10), (case.start + 10, case.start + 20), (case.stop - 5, case.stop)]
    assert [(plan.start, plan.stop, plan.missing) for plan in source.plan_ranges(SHARD, ranges)] == [
        (case.start, case.start + 20, 20),
        (case.stop - 5, case.stop, 5),
    ]
    plan = source.plan_local_range(SHARD, case.start, case.stop)
    assert (plan.missing, plan.path) == (len(case.table), None)
    assert case.hub.count() == 0
    place = case.place(source)
    assert source.plan_local_range(SHARD, case.start, case.stop).path == place.path


def test_offline_asks_nobody(case: Case) -> None:
    with pytest.raises(Unreachable, match="offline, and not in the cache") as caught:
        case.source(offline=True).read_file("config.json")
    assert caught.value.exit_status == 5
    with pytest.raises(Unreachable, match="offline"):
        case.fetch(offline=True)
    with pytest.raises(Unreachable, match="offline"):
        case.source(offline=True).files()
    source = case.source()
    source.read_file("config.json")
    assert case.fetch(source) == case.table
    case.hub.reset()
    offline = case.source(offline=True)
    assert offline.read_file("config.json") == b'{"model_type": "llama"}'
    assert case.fetch(offline) == case.table
    assert offline.commit == case.commit
    assert case.hub.count() == 0


def test_a_mirror_that_does_not_redirect_costs_one_request_a_question(mirror: Case) -> None:
    source = mirror.source()
    assert source.head(SHARD, mirror.start) == mirror.data[: mirror.start]
    assert mirror.hub.count() == 1
    assert mirror.row(3, source) == mirror.true_row(3)
    assert mirror.hub.count() == 2
    assert mirror.fetch(source) == mirror.table
    assert source.read_file("config.json") == b'{"model_type": "llama"}'
    assert source.commit == mirror.commit
    assert mirror.hub.count("storage") == 0


def test_the_network_stack_is_loaded_only_for_a_model_of_the_hub() -> None:
    program = """
import sys
import embtool.hub, embtool.hub.inventory
embtool.hub.parse_reference("org/name")
assert not {"huggingface_hub", "httpx2"} & sys.modules.keys()
embtool.hub.HubSource
assert {"huggingface_hub", "httpx2"} <= sys.modules.keys()
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
