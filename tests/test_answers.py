import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hostile import HOSTILE, dangers, tallest
from hypothesis import given
from hypothesis import strategies as st
from program import strict_json
from rich.cells import cell_len

from embtool.answers import (
    RENDERERS,
    Answer,
    Block,
    Card,
    Column,
    Failure,
    Format,
    Listing,
    Section,
    column,
    context,
    emit,
    plain,
    python,
    records,
    to_json,
    value,
)
from embtool.answers.machine import cell
from embtool.answers.terminal import Page, folded, make_console, print_blocks
from embtool.answers.text import (
    MOST_MARKS,
    abridge,
    count,
    printable,
    safe,
    shell,
    size,
    spelled,
    unescape,
    visible,
)
from embtool.errors import UnknownToken

ANY_TEXT = st.text(st.characters() | st.sampled_from("\\\\xun\x1b\u202e\t\n\ud800\udfff"))
"""Text of every character, lone surrogates too, and often of those that matter."""


@dataclass(frozen=True)
class Named:
    name: str | None = column(show=visible)
    score: float = column(right=True, show=lambda held: f"{held:.2f}", also=Column("drawn", title="", machine=False))
    hidden: None = column(terminal=False, default=None)
    drawn: str = value(default="█")


@dataclass(frozen=True, repr=False, eq=False)
class NamedAnswer(Listing[Named]):
    command = "test"
    many_key = "groups"
    always_many = True
    line_keys = ("query",)

    model: str = context()
    query: str = value()
    records_: tuple[Named, ...] = records()
    heading: str | None = python(default=None)

    def title(self) -> str | None:
        return self.heading


@dataclass(frozen=True, repr=False, eq=False)
class TextCard(Card):
    command = "test"
    many_key = "cards"

    a: Any = value()
    text: str = python(default="t")

    def title(self) -> str:
        return self.text

    def sections(self) -> Sequence[Section]:
        return [Section(self.text, [(self.text, self.text)])]


def listing(names: Sequence[str | None]) -> list[Answer]:
    """Two answers, one of them empty."""
    entries = tuple(Named(name, place / 3) for place, name in enumerate(names))
    return [NamedAnswer("m", "q", entries, "first"), NamedAnswer("m", "r", ())]


def printed(result: Answer | Sequence[Answer], form: Format, **options: Any) -> str:
    stream = io.StringIO()
    emit(result, form, stream=stream, **options)
    return stream.getvalue()


def drawn(
    columns: Sequence[Column],
    entries: Sequence[dict[str, Any]],
    *,
    header: bool = True,
    **block: Any,
) -> str:
    """Draw a table of any columns on a terminal."""
    stream = io.StringIO()
    print_blocks(
        [Block(columns=[each for each in columns if each.terminal], records=entries, **block)],
        make_console(stream),
        stream,
        header=header,
    )
    return stream.getvalue()


# --- strings of strangers ---------------------------------------------------------------------------------------------


@given(ANY_TEXT)
def test_printable_is_safe_and_can_be_read_back(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert not dangers(shown)
    assert "\n" not in shown
    assert unescape(shown) == text


@given(ANY_TEXT, ANY_TEXT)
def test_two_texts_never_print_alike(one: str, other: str) -> None:
    assert (printable(one) == printable(other)) == (one == other)


@given(ANY_TEXT)
def test_safe_and_visible_are_safe(text: str) -> None:
    for shown in (safe(text), visible(text), abridge(visible(text))):
        assert shown.isprintable()
        assert not dangers(shown)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="\\")))
def test_plain_text_prints_as_itself(text: str) -> None:
    assert printable(text) == safe(text) == text


def test_escapes_are_those_of_the_contract() -> None:
    assert printable("\t\n\r\\\x1b\x9b\u202e\U000e0041\ud800") == r"\t\n\r\\\x1b\x9b\u202e\U000e0041\ud800"
    assert visible(" a b ") == "␣a␣b␣"
    assert visible(None) == ""


def test_a_stack_of_marks_is_cut_for_a_reader() -> None:
    assert tallest(visible(HOSTILE["marks"])) == MOST_MARKS
    assert visible("naïve e\u0301") == "naïve␣e\u0301"


@given(st.text(max_size=200), st.integers(10, 80))
def test_an_abridged_text_has_both_its_ends(text: str, longest: int) -> None:
    short = abridge(text, longest)
    assert len(short) <= longest
    if len(text) <= longest:
        assert short == text
    else:
        left, right = short.split("…", 1) if "…" not in text else (short[:3], short[-2:])
        assert text.startswith(left)
        assert text.endswith(right)


def test_numbers_for_a_reader() -> None:
    assert [count(0), count(248_320)] == ["0", "248,320"]
    assert [size(0), size(999), size(1000), size(2_542_796_800)] == ["0 B", "999 B", "1 kB", "2.54 GB"]
    assert size(3_000_000_000_000_000) == "3e+03 TB"


# --- values -----------------------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(JSON_VALUES)
def test_json_is_strict_ascii_on_one_line(value: Any) -> None:
    text = to_json(value)
    assert text.isascii()
    assert text.isprintable()
    assert strict_json(text) == plain(value)


def test_numbers_of_numpy_become_those_of_python() -> None:
    value = {"a": np.float32(0.5), "b": np.arange(2), "c": [np.int64(7), np.nan, math.inf], "d": np.array(["x"])}
    assert plain(value) == {"a": 0.5, "b": [0, 1], "c": [7, None, None], "d": ["x"]}
    assert plain((np.float64(-np.inf), True)) == [None, True]


def test_cells() -> None:
    assert [cell(value) for value in (None, True, 1, 0.1, math.nan, "a\tb", [1, "\n"], np.float32(0.1))] == [
        "",
        "true",
        "1",
        "0.1",
        "",
        r"a\tb",
        r'[1, "\\n"]',
        "0.10000000149011612",
    ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_a_cell_is_whole(value: float) -> None:
    assert float(cell(value)) == value


# --- answers ---------------------------------------------------------------------------------------------------------


@given(st.lists(ANY_TEXT, max_size=4))
def test_tsv_has_equal_tabs_and_is_read_back(names: list[str]) -> None:
    text = printed(listing(names), Format.TSV)
    lines = text.split("\n")
    assert lines.pop() == ""
    assert [line.count("\t") for line in lines] == [2] * (len(names) + 1)
    assert lines[0] == "name\tscore\thidden"
    cells = [line.split("\t") for line in lines[1:]]
    assert [unescape(name) for name, _, _ in cells] == names
    assert [float(score) for _, score, _ in cells] == [place / 3 for place in range(len(names))]


@given(st.lists(ANY_TEXT, max_size=4))
def test_csv_is_read_back(names: list[str]) -> None:
    rows = list(csv.reader(io.StringIO(printed(listing(names), Format.CSV)), strict=True))
    assert rows[0] == ["name", "score", "hidden"]
    assert [unescape(row[0]) for row in rows[1:]] == names


@given(st.lists(ANY_TEXT, max_size=4))
def test_jsonl_has_what_a_line_needs_to_be_used_alone(names: list[str]) -> None:
    text = printed(listing(names), Format.JSONL)
    records = [strict_json(line) for line in text.splitlines()]
    assert [record["name"] for record in records] == names
    assert all(record["query"] == "q" for record in records)


def test_json_is_one_document() -> None:
    assert strict_json(printed(listing(["a"]), Format.JSON)) == {
        "schema": "embtool/test@1",
        "model": "m",
        "groups": [
            {"query": "q", "records_": [{"name": "a", "score": 0.0, "hidden": None, "drawn": "█"}]},
            {"query": "r", "records_": []},
        ],
    }
    alone = listing(["a"])[0]
    assert strict_json(printed(alone, Format.JSON)) == alone.to_dict()


@pytest.mark.parametrize("form", list(Format))
@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.few(50)
def test_no_format_prints_a_stranger_raw(form: Format, hostile: str) -> None:
    text = HOSTILE[hostile]
    for result in (listing([text, text]), TextCard(text, text), [TextCard(text, text)] * 2):
        out = printed(result, form)
        assert out
        assert not dangers(out.replace("\t", " ") if form is Format.TSV else out)
        first = result if isinstance(result, Answer) else result[0]
        assert not dangers(repr(first))
        assert "<b>" not in first._repr_html_()
    if form is Format.TABLE:
        assert tallest(printed(listing([text]), form)) <= MOST_MARKS


def test_markup_and_emoji_codes_are_printed_as_they_are() -> None:
    for name in ("markup", "link markup", "emoji code"):
        assert HOSTILE[name].replace(" ", "␣") in printed(listing([HOSTILE[name]]), Format.TABLE)


def test_a_column_may_spread_over_many() -> None:
    @dataclass(frozen=True)
    class Numbers:
        v: Any = column(spread=3)

    @dataclass(frozen=True, repr=False, eq=False)
    class NumbersAnswer(Listing[Numbers]):
        command = "test"
        rows: tuple[Numbers, ...] = records()

        def columns(self) -> Sequence[Column]:
            return [Column("v", spread=3)]

    assert printed(NumbersAnswer((Numbers(np.array([1, np.nan, 3.0])),)), Format.TSV) == "v0\tv1\tv2\n1.0\t\t3.0\n"


@pytest.mark.parametrize("form", [Format.TSV, Format.CSV])
def test_the_header_can_be_left_out(form: Format) -> None:
    assert printed(listing(["a"]), form, header=False).count("\n") == 1
    assert printed(TextCard(1), form, header=False) == "1\n"
    assert printed(listing([]), form) == printed(listing([]), form, header=True) != ""
    assert printed(listing([]), form, header=False) == ""


@pytest.mark.parametrize("form", list(Format))
def test_nothing_is_printed_before_the_first_answer(form: Format) -> None:
    def answers() -> Iterator[Answer]:
        raise KeyError
        yield

    stream = io.StringIO()
    with pytest.raises(KeyError):
        emit(answers(), form, stream=stream, blank=NamedAnswer("m", "", ()))
    assert stream.getvalue() == ""


@pytest.mark.parametrize("form", [Format.TABLE, Format.MARKDOWN, Format.JSONL, Format.TSV, Format.CSV])
def test_each_answer_is_flushed_as_it_comes(form: Format) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(io.BufferedWriter(raw, 1 << 20), "utf-8")
    seen: list[int] = []

    def answers() -> Iterator[Answer]:
        for place in range(3):
            yield NamedAnswer("m", "q", (Named(f"n{place}", 1.0),))
            seen.append(raw.getvalue().count(b"n"))

    emit(answers(), form, stream=stream)
    assert seen == sorted(set(seen))
    assert seen[0] > 0


@pytest.mark.parametrize("form", [Format.TSV, Format.JSON])
def test_where_nothing_was_answered_the_blank_one_has_the_head(form: Format) -> None:
    text = printed([], form, blank=NamedAnswer("m", "", ()))
    if form is Format.TSV:
        assert text == "name\tscore\thidden\n"
    else:
        assert strict_json(text) == {"schema": "embtool/test@1", "model": "m", "groups": []}


def test_a_card_stands_alone_and_several_in_a_list_however_few_they_are() -> None:
    card = TextCard(1)
    assert strict_json(printed(card, Format.JSON)) == {"schema": "embtool/test@1", "a": 1}
    for cards in ([], [card], [card, card]):
        document = strict_json(printed(cards, Format.JSON, blank=TextCard))
        assert document == {"schema": "embtool/test@1", "cards": [{"a": 1}] * len(cards)}
    assert printed([card, card], Format.TSV) == "a\n1\n1\n"


def test_an_error_stands_in_the_place_of_its_answer_on_a_line_of_its_own() -> None:
    failed = Failure("query", "x", UnknownToken("no token 'x'", hint="try y"))
    lines = printed([*listing(["a"]), failed], Format.JSONL).splitlines()  # type: ignore[list-item]
    assert strict_json(lines[-1]) == {"query": "x", "error": "no token 'x'", "hint": "try y", "status": 3}


def test_a_listing_is_a_sequence_of_its_records() -> None:
    answer = listing(["a", "b"])[0]
    assert isinstance(answer, NamedAnswer)
    assert [entry.name for entry in answer] == ["a", "b"]
    assert (len(answer), answer[1].name, [entry.name for entry in answer[:1]]) == (2, "b", ["a"])


def test_markdown_is_a_table_whose_cells_obey_nothing() -> None:
    text = printed(NamedAnswer("m", "q", (Named("a|b*c_", 0.5),), "a title"), Format.MARKDOWN)
    assert text.splitlines() == [
        "**a title**",
        "",
        "| name | score |  |",
        "| --- | ---: | --- |",
        r"| a\|b\*c\_ | 0.50 | █ |",
    ]


def test_a_table_says_what_has_no_value() -> None:
    assert "–" in printed(NamedAnswer("m", "q", (Named(None, math.nan),)), Format.TABLE)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8", "utf-16"])
@pytest.mark.parametrize("form", list(Format))
def test_every_encoding_gets_something_it_has(form: Format, encoding: str) -> None:
    stream = io.TextIOWrapper(
        io.BytesIO(), encoding, errors="strict" if encoding.startswith("utf") else "backslashreplace"
    )
    emit(listing(["a", "東京", " x"]), form, stream=stream)
    stream.flush()
    assert stream.buffer.tell() > 0


def test_ornaments_are_replaced_where_the_encoding_lacks_them() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii", errors="strict")
    emit(listing([" a", "b" * 99]), Format.TABLE, stream=stream)
    stream.flush()
    assert b"_a" in raw.getvalue()
    assert b"..." in raw.getvalue()


def test_every_format_has_a_renderer() -> None:
    assert set(RENDERERS) == set(Format)


# --- narrow terminals -------------------------------------------------------------------------------------------------

CELL_TEXT = st.text("ab é日本\u0301", max_size=30)
DRAWN = st.tuples(CELL_TEXT, st.floats(-1e9, 1e9), CELL_TEXT, st.integers(0, 10**9))


@given(st.lists(DRAWN, min_size=1, max_size=4), st.integers(30, 120), st.booleans())
def test_a_table_fits_and_cuts_no_number(records: list[tuple[str, float, str, int]], width: int, header: bool) -> None:  # noqa: FBT001
    columns = (
        Column("token"),
        Column("score", right=True, show=lambda value: f"{value:.4f}"),
        Column("piece"),
        Column("id", right=True, show=count),
        Column("bar", title="", whole=True, worth=0),
    )
    keys = ("token", "score", "piece", "id")
    shown = [dict(zip(keys, record, strict=True)) | {"bar": "█" * 12} for record in records]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        text = drawn(columns, shown, header=header)
    lines = text.split("\n")
    assert all(cell_len(line) <= width for line in lines)
    assert all(line == line.rstrip() for line in lines)
    left_out = re.search(r"no room for (.*): a wider", " ".join(line.strip() for line in lines))
    missing = set(left_out[1].split(", ")) if left_out else set()
    for each in columns:
        full = all(each.show(record[each.key]) in text for record in shown) if each.show else None
        if full is not None:
            assert full or each.name in missing
    if header:
        heads = lines[1].split()
        for each in columns[:-1]:
            assert (each.key in heads) is (each.name not in missing)
    assert ("█" * 12 in text) is ("bar" not in missing)


def test_the_least_worthy_columns_go_first_and_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [Column("low", right=True, worth=0), Column("high", right=True, worth=2), Column("usual", right=True)]
    entries = [dict.fromkeys(("low", "high", "usual"), 10**11)]

    def heads(width: int) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        text = drawn(columns, entries)
        assert str(10**11) in text
        return " ".join(text.split("\n")[1].split())

    assert [heads(width) for width in (43, 41, 40, 27, 26, 5)] == [
        *("low high usual", "low high usual", "high usual", "high usual", "high", "high")
    ]


def test_many_columns_without_room_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    columns = [Column(f"c{place}", right=True) for place in range(40)]
    text = drawn(columns, [dict.fromkeys((c.key for c in columns), 123456)])
    assert "no room for c7, c8, c9, c10, c11, c12 and 27 more" in " ".join(text.split())


def test_what_is_wrapped_is_indented_under_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    text = drawn((), (), title="a title " * 6, after=["  label    " + "word " * 9, "  a note " + "word " * 9, ""])
    text += drawn((), (), title="t", sections=[Section("part", [("name", "word " * 9)])])
    lines = text.split("\n")
    assert all(len(line) <= 30 and line == line.rstrip() for line in lines)
    starts = [len(line) - len(line.lstrip()) for line in lines if line]
    assert starts == [0, 2, *(2, 11, 11), *(2, 2), 0, 0, *(2, 8, 8)]


def test_bytes_that_are_no_character_are_shown_by_their_numbers() -> None:
    columns = (Column("token", show=visible), Column("bytes", terminal=False))
    named = {"20e280": " \ufffd", "fe": "\ufffd", "efbfbd": "\ufffd", "61": "a", "ff5c": "\ufffd\\"}
    text = drawn(columns, [{"token": text, "bytes": stored} for stored, text in named.items()])
    assert text.split()[2:] == ["␣<E2><80>", "<FE>", "\ufffd", "a", "<FF>\\\\"]
    assert spelled("\ufffd", None) == "\ufffd"


@pytest.mark.parametrize("colour", [{"FORCE_COLOR": "1", "TERM": "xterm-256color"}, {"NO_COLOR": "1"}])
def test_no_line_of_a_table_ends_in_blanks(monkeypatch: pytest.MonkeyPatch, colour: dict[str, str]) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, setting in colour.items():
        monkeypatch.setenv(name, setting)
    columns = (Column("name", style="bold"), Column("about", style="dim"))
    text = drawn(columns, [{"name": "a", "about": "longer"}, {"name": "longer ", "about": ""}], title="t ")
    assert ("\x1b[" in text) is ("FORCE_COLOR" in colour)
    for line in re.sub(r"\x1b\[[\d;]*m", "", text).split("\n"):
        assert line == line.rstrip()


def test_a_page_wraps_prose_and_leaves_command_lines_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = io.StringIO()
    page = Page(stream)
    page.say("word " * 30, indent=2)
    page.line(f"  $ {shell(['row', 'x' * 60])}")
    page.say("\x1b[31m[red] \u202e")
    page.prompt("guess\x1b> ")
    *prose, command, hostile, prompt = stream.getvalue().split("\n")
    assert all(line.startswith("  word") and len(line) <= 40 and not line.endswith(" ") for line in prose)
    assert command == f"  $ embtool row {'x' * 60}"
    assert hostile == "\\x1b[31m[red] \\u202e"
    assert prompt == "guess\\x1b> "


@given(st.text("ab ./-%日\u0301", max_size=60), st.integers(1, 30))
def test_folding_loses_nothing_and_fits(text: str, width: int) -> None:
    lines = folded(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cell_len(line) <= max(width, 2) for line in lines)
    assert len(lines) == 1 or all(lines)


def test_names_are_broken_behind_a_joint_and_numbers_keep_their_percent_sign() -> None:
    assert folded("bert.embeddings.word_embeddings.weight in x", 16) == [
        "bert.embeddings.",
        "word_embeddings.",
        "weight in x",
    ]
    assert folded("all of it is 50 % of that", 14) == ["all of it is", "50 % of that"]
    assert folded("abcdefgh", 3) == ["abc", "def", "gh"]
