"""`embtool view`: a page that asks nobody and obeys no name, and whose numbers are those of the commands."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import os
import re
import shlex
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from program import Program
from small_models import END_OF_TEXT, bfloat16, config, float32, table, texts, tokenizer_json, write_single

import embtool
from embtool.errors import UnknownToken
from embtool.references import bundled_folder
from embtool.rope import RopeSettings, frequencies
from embtool.tables.sequence import cosines
from embtool.view.order import _regimes
from embtool.view.parts import coded, decoded

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "{{data}}",
    "<!--",
    "&amp;\"'",
    "\x1b[31m\u202ered",
    "$\\frac$",
)


class Page(html.parser.HTMLParser):
    """Reads a page as a browser does: its elements, what it would load, the texts of its scripts and styles."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.content = content
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.metas: dict[str, str] = {}
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = {name: value or "" for name, value in attrs}
        self.loads += [given[name] for name in ("src", "href", "data", "action", "poster", "srcset") if name in given]
        self.metas |= {given["http-equiv"]: given["content"]} if "http-equiv" in given else {}
        assert not any(name.startswith("on") or name == "style" for name in given)

    def handle_data(self, data: str) -> None:
        if self.lasttag in self.texts and data.strip():
            self.texts[self.lasttag].append(data)

    @property
    def data(self) -> Any:
        return json.loads(self.texts["script"][0])


def make(run: Program, *arguments: str | Path) -> Page:
    """Make a page by the command, and read it."""
    place = run.home / "page.html"
    run("view", *arguments, "-o", place, "--force").ok()
    return Page(place.read_text("utf-8"))


def numbers(text: str, kind: str) -> list[Any]:
    """Unpack what the page packs, without its code."""
    raw = base64.b64decode(text)
    return [value for (value,) in struct.iter_unpack(f"<{kind}", raw)]


def test_a_page_stands_alone(run: Program) -> None:
    page = make(run, "small/")
    policy = dict(part.strip().split(" ", 1) for part in page.metas["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["base-uri"] == policy["form-action"] == "'none'"
    assert {place for place in page.loads if not place.startswith("#")} == {"data:,"}
    style, (_, script) = page.texts["style"][0], page.texts["script"]
    for text, name in ((style, "style-src"), (script, "script-src")):
        assert policy[name] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)", style + script)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function", script)


def test_names_are_data(run: Program, tmp_path: Path) -> None:
    tokenizer = tokenizer_json({END_OF_TEXT: True, **dict.fromkeys(HOSTILE, False)})
    rows = len(texts()) + len(HOSTILE)
    values = np.random.default_rng(0).standard_normal((rows, 4))
    tensors = {"model.embed_tokens.weight": ("F32", values.shape, float32(values))}
    model = write_single(tmp_path / "</title><i>", tensors, config=config(vocab_size=rows), tokenizer=tokenizer)
    words = [part for name in HOSTILE for part in ("--token", f"piece:{name}")]
    page, plain = make(run, model, *words), make(run, "small/")
    assert page.tags == plain.tags
    named = [point["name"] for point in page.data["shadow"]["points"] if point["parent"] is None]
    assert named[5] == "\\x1b[31m\\u202ered"
    assert named == [
        name.replace(" ", "␣").replace("\\", "\\\\") if at != 5 else named[5] for at, name in enumerate(HOSTILE)
    ]
    assert all(name.isprintable() for name in page.data["table"]["names"])


MODELS = ("small/", "mini", "mini-gpt2", "gpt2/", "bert/", "tied/", "minilm", "qwen")
MINILM = Path(os.environ.get("EMBTOOL_TEST_MINILM") or Path(__file__).parent.parent / ".models" / "minilm")


@pytest.fixture
def model(request: pytest.FixtureRequest, models: Path, tmp_path: Path) -> str | Path:
    """One of `MODELS`: bundled, small, a published one, or as wide as Qwen3.6-27B with its published settings."""
    name = request.param
    if name == "minilm" and not MINILM.is_dir():
        pytest.skip("no .models/minilm: make models")
    if name == "qwen":
        return write_qwen(tmp_path / "qwen")
    return MINILM if name == "minilm" else models / name.rstrip("/") if name.endswith("/") else name


def write_qwen(folder: Path) -> Path:
    settings = json.loads((bundled_folder("qwen3.6-settings") / "config.json").read_text())
    rows, width = len(texts()), settings["text_config"]["hidden_size"]
    settings["text_config"]["vocab_size"] = rows
    tables = [(table(kind, width)[:rows] / 64).astype("f4").view("u4") >> 16 for kind in ("input", "output")]
    names = ("model.language_model.embed_tokens.weight", "lm_head.weight")
    tensors = {
        name: ("BF16", values.shape, values.astype("<u2").tobytes()) for name, values in zip(names, tables, strict=True)
    }
    return write_single(folder, tensors, config=settings, tokenizer=tokenizer_json())


@pytest.mark.parametrize("model", MODELS, indirect=True)
@pytest.mark.few(1)
def test_neighbours_and_lengths_are_those_of_the_commands(run: Program, model: str | Path) -> None:
    told = make(run, model, "--tokens", "12").data["table"]
    ids, k = numbers(told["ids"], "I"), told["nearest"]
    near, scores = numbers(told["neighbors"], "H" if told["rows"] <= 65536 else "I"), numbers(told["scores"], "h")
    asked = [f"id:{row}" for row in ids[: told["exact"]]]
    found = run("neighbors", *asked, "-m", model, "-k", k, "--json").document["queries"]
    for place, query in enumerate(found):
        ours = slice(place * k, place * k + len(query["neighbors"]))
        for row, score, each in zip(near[ours], scores[ours], query["neighbors"], strict=True):
            assert (row, None if score == -32768 else score / 10000) == (
                each["id"],
                None if each["score"] is None else float(f"{each['score']:.4f}"),
            )
    lengths = numbers(told["norms"], "d")
    shown = run("row", *asked[:3], "-m", model, "-f", "table").text
    for norm, said in zip(lengths, re.findall(r"norm +([\d.]+)(?: +longer than (\d+) %)?", shown), strict=False):
        assert f"{norm:.4f}" == said[0]
    shares = [int(said) for said in re.findall(r"longer than (\d+) %", shown)]
    assert numbers(told["shorter"], "B")[: len(shares)] == shares


@pytest.mark.parametrize("model", MODELS, indirect=True)
@pytest.mark.few(1)
def test_what_is_approximate_is_as_near_as_it_says(run: Program, model: str | Path) -> None:
    told = make(run, model, "--tokens", "5").data["table"]
    width, bits, drawn = told["width"], told["bits"], told["drawn"]
    codes = np.array(numbers(told["codes"], "B"), np.uint8).reshape(drawn, -1)
    rows = decoded(codes, np.array(numbers(told["steps"], "f"), np.float32), bits, width)
    opened = embtool.open_model(model)
    exact = opened.input_table.rows(numbers(told["ids"], "I"))[:drawn]
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(exact, axis=1)
    alike = (rows * exact).sum(axis=1)[lengths > 0] / lengths[lengths > 0]
    # a row of MiniLM may have one number that is far larger than all others; 99 in 100 have none
    least = np.percentile(alike, 1) if model == MINILM else alike.min()
    assert least > {8: 0.999, 4: 0.98, 2: 0.9}[bits]
    one, other = np.random.default_rng(1).permuted(np.tile(np.flatnonzero(lengths > 0), (2, 1)), axis=1)
    off = np.abs(cosines(rows[one], rows[other]) - cosines(exact[one], exact[other]))[one != other]
    assert np.percentile(off, 99) < 1.5 * told["off"] + 1e-6


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_rows_in_few_bits_point_where_they_did(bits: int) -> None:
    rows = np.random.default_rng(0).standard_normal((50, 401)) * np.logspace(-3, 3, 50)[:, None]
    again = decoded(*coded(rows, bits), bits, 401)
    alike = (rows * again).sum(axis=1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(again, axis=1)
    assert alike.min() > {8: 0.9999, 4: 0.99, 2: 0.92}[bits]
    assert np.isfinite(decoded(*coded(np.zeros((2, 5)), bits), bits, 5)).all()


def test_the_map_is_that_of_the_command(run: Program) -> None:
    for arguments in ((), ("--token", "king", "--token", "id:3")):
        told = make(run, "small/", *arguments).data["shadow"]
        again = run(*words_of(told["command"])[1:], "--json").document
        assert [(each["x"], each["y"], each["id"]) for each in told["points"]] == [
            (each["x"], each["y"], each["id"]) for each in again["points"]
        ]
        assert told["caption"].startswith(f"keeps {again['kept']:.1%}")


def words_of(line: str) -> list[str]:
    return [a or b for a, b in re.findall(r'"([^"]*)"|(\S+)', line)]


@pytest.mark.parametrize("model", ["mini", "small/", "qwen", "qwen3.6-settings"], indirect=True)
@pytest.mark.slow
def test_the_hands_turn_as_the_command_says(run: Program, model: str | Path) -> None:
    told = make(run, model, "--tokens", "1").data["order"]["layers"][0]
    again = run("rope", "--pos", "1000", "-m", model, "--json").document["layers"][0]
    assert told["regimes"][0]["speeds"] == again["inv_freq"]
    last, resting = {"mini": (262_143, 48), "small": (2047, 0)}.get(Path(model).name, (262_143, 192))
    assert (told["last"], told["resting"]) == (last, resting)


@pytest.mark.parametrize(
    "settings",
    [
        RopeSettings(head_dim=16),
        RopeSettings(head_dim=16, rope_type="qwen_ntk", original_max_position_embeddings=100),
        RopeSettings(
            head_dim=4,
            rope_type="longrope",
            short_factor=(1.0, 2.0),
            long_factor=(1.0, 4.0),
            original_max_position_embeddings=300,
            factor=4.0,
        ),
        RopeSettings(head_dim=16, rope_type="dynamic", factor=2.0, max_position_embeddings=990),
    ],
    ids=lambda settings: settings.rope_type,
)
def test_frequencies_change_where_the_formula_says(settings: RopeSettings) -> None:
    regimes = list(_regimes(settings, 1000))
    for length in (*range(1, 1001, 7), *range(98, 104), *range(298, 304), 1000):
        found = [turning for first, turning in regimes if first <= length][-1]
        assert np.array_equal(found.inv_freq, frequencies(settings, length).inv_freq), length


@pytest.mark.parametrize("model", ["gpt2/", "bert/", "mini-gpt2", "minilm"], indirect=True)
@pytest.mark.few(1)
def test_positions_are_alike_as_the_command_says(run: Program, model: str | Path) -> None:
    told = make(run, model).data["order"]["rows"]
    size = len(told["places"])
    alike = np.array(numbers(told["alike"], "h")).reshape(size, size)
    rows = [f"id:{place + told['offset']}" for place in told["places"]]
    again = run("similarity", *rows, "-m", model, "--table", "position", "--json").document["cosine"]
    for ours, theirs in zip(alike.tolist(), again, strict=True):
        assert [part / 10000 for part in ours] == [
            -3.2768 if value is None else float(f"{value:.4f}") for value in theirs
        ]


@pytest.mark.parametrize("model", ["small/", "mini", "mini-gpt2", "minilm", "qwen"], indirect=True)
@pytest.mark.few(1)
def test_cards_are_those_of_the_lesson(run: Program, model: str | Path) -> None:
    told = make(run, model, "--tokens", "1").data["lesson"]["steps"]
    again = run("learn", "all", "-m", model, "--json").document["steps"]
    for ours, theirs in zip(told, again, strict=True):
        asked = [*([theirs["recall"]] if theirs["recall"] is not None else []), *theirs["questions"]]
        assert [card["ask"] for card in ours["cards"]] == [card["ask"] for card in asked]
        assert [card["shown"] for card in ours["cards"]] == [card["shown"] for card in asked]
        assert [card["lines"] for card in ours["cards"]] == [card["lines"] for card in asked]
        assert [card["commands"] for card in ours["cards"]] == [card["commands"] for card in asked]


@pytest.mark.parametrize("model", ["small/", "mini", "mini-gpt2", "minilm", "qwen"], indirect=True)
@pytest.mark.few(1)
def test_two_sentences_are_those_of_the_command(run: Program, model: str | Path) -> None:
    told = make(run, model, "--tokens", "1").data["sentences"]
    again = run(*shlex.split(told["command"])[1:], "--json").document
    for ours, theirs in zip(told["texts"], (again, again["against"]), strict=True):
        for token, row in zip(ours["tokens"], theirs["rows"], strict=True):
            assert (token["id"], token["position"]) == (row["id"], row["position"])
            keys = {"norm": "token_norm", "added": "position_norm", "sum": "norm", "cosine": "cosine"}
            for name, key in keys.items():
                assert token[name] == (None if row[key] is None else f"{row[key]:.4f}")
    assert [each["input"] for each in told["same"]] == [pair["inputs_equal"] for pair in again["pairs"]]


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("bare/", {"lesson", "table", "shadow"}),
        ("only-config/", {"lesson", "order", "sentences"}),
    ],
)
def test_a_model_shows_what_it_has(run: Program, model: str, parts: set[str]) -> None:
    told = make(run, model).data
    held = {name for name in ("table", "shadow", "sentences") if told[name] is not None}
    held |= {"lesson"} if told["lesson"]["steps"] else set()
    held |= {"order"} if told["order"]["own"] else set()
    assert held == parts


@pytest.mark.parametrize("what", ["nan", "zeros", "one", "nine"])
@pytest.mark.few(3)
def test_odd_tables(run: Program, tmp_path: Path, what: str) -> None:
    whole = table("input")
    values = np.array({"nan": whole, "zeros": whole * 0, "one": whole[:1], "nine": whole[:9]}[what], "<f4")
    if what == "nan":
        values[5:300, 3] = np.nan
    tensors = {"model.embed_tokens.weight": ("F32", values.shape, float32(values))}
    model = write_single(tmp_path / "odd", tensors, config=config(vocab_size=len(values)), tokenizer=tokenizer_json())
    page = make(run, model)
    assert page.data["order"]["own"]
    if what == "nan":
        told = page.data["table"]
        asked = numbers(told["ids"], "I")[: told["exact"]].index(6)
        assert set(numbers(told["scores"], "h")[asked * 10 : asked * 10 + 10]) == {-32768}


def test_a_model_that_is_none_is_refused(run: Program, tmp_path: Path) -> None:
    run("view", "empty/", "-o", tmp_path / "x.html").refused(3, "no ")
    run("view", "nowhere/", "-o", tmp_path / "x.html").refused(3, "no such file or folder")
    run("view", "small/", "--token", "kingqueen", "-o", tmp_path / "x.html").refused(3, "kingqueen")
    run("view", "small/", "-o", tmp_path / "x.pdf").refused(2, "ends in .html")
    run("view", "small/", "-o", tmp_path / "no" / "x.html").refused(7, "cannot write")
    run("view", "small/", "--tokens", "0", "-o", tmp_path / "x.html").refused(2, "tokens")
    assert not list(tmp_path.glob("*.html"))


def test_what_was_written_is_told(run: Program, tmp_path: Path) -> None:
    answer = run("view", "small/", "-o", tmp_path / "x.html").ok()
    assert answer.out == b""
    (told,) = answer.of("note")
    assert re.search(r"wrote .*x\.html \([\d.]+ kB\): \d+ tokens, \d+ with exact neighbours; made in [\d.]+ s", told)


def test_the_library_writes_the_same(run: Program, models: Path, tmp_path: Path) -> None:
    model = embtool.open_model(models / "small")
    answer = model.view(tmp_path / "x.html", ["king", "queen"], exact=5)
    assert answer.exact >= 5
    assert answer[0].bytes == (tmp_path / "x.html").stat().st_size
    run(
        "view", models / "small", "--token", "king", "--token", "queen", "--tokens", "5", "-o", tmp_path / "y.html"
    ).ok()
    assert (tmp_path / "x.html").read_bytes() == (tmp_path / "y.html").read_bytes()
    with pytest.raises(UnknownToken):
        model.view(tmp_path / "x.html", ["kingqueen"])


@pytest.mark.slow
def test_a_wide_table_is_carried_in_few_bits(run: Program, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-64, 64, (3000, 5120)) / 64
    tensors = {"model.embed_tokens.weight": ("BF16", values.shape, bfloat16(values))}
    model = write_single(tmp_path / "wide", tensors, config=config(vocab_size=3000, hidden_size=5120))
    for tokens, bits in (("20", 4), ("3000", 2)):
        page = make(run, model, "--tokens", tokens)
        assert page.data["table"]["bits"] == bits
        assert len(page.content) < 6_000_000


@pytest.mark.slow
def test_a_page_that_is_exact_throughout_is_small_enough_to_send(run: Program) -> None:
    page = make(run, "mini", "--tokens", "20000")
    told = page.data["table"]
    assert told["count"] == told["exact"] == told["drawn"] == 20_000
    assert len(page.content) < 6_000_000
