from __future__ import annotations

from program import Program
from small_models import END_OF_TEXT, texts

from embtool.answers.text import unescape


def test_the_keys_of_the_contract(run: Program) -> None:
    document = run("tokens", " king\n", "-m", "small/", "--json").ok().document
    assert document == {
        "schema": "embtool/tokens@1",
        "model": "small/",
        "tokens": [
            {"position": 0, "id": texts().index(" king"), "piece": "Ġking", "token": " king", "bytes": "206b696e67"},
            {"position": 1, "id": texts().index("\n"), "piece": "Ċ", "token": "\n", "bytes": "0a"},
        ],
    }


def test_several_texts_stand_in_a_list_each(run: Program) -> None:
    document = run("tokens", "a", " king", "-m", "small/", "--json").ok().document
    assert [entry["text"] for entry in document["texts"]] == ["a", " king"]
    records = run("tokens", "a", " king!", "-m", "small/", "--jsonl").ok().records
    assert [(record["text"], record["position"], record["token"]) for record in records] == [
        ("a", 0, "a"),
        (" king!", 0, " king"),
        (" king!", 1, "!"),
    ]


def test_lines_of_stdin(run: Program) -> None:
    for dash in ([], ["-"]):
        records = run("tokens", *dash, "-m", "small/", "--jsonl", stdin=b" king\n\nab\n").ok().records
        assert [(record["text"], record["token"]) for record in records] == [
            (" king", " king"),
            ("ab", "a"),
            ("ab", "b"),
        ]
    run("tokens", "-m", "small/", stdin=b"").refused(2)


def test_the_bytes_are_those_of_the_text(run: Program) -> None:
    text = "naïve 東京 🍓\x1b[31m\t\u202e"
    lines = run("tokens", text, "-m", "small/", "--tsv").ok().cells
    head = lines[0]
    assert b"".join(bytes.fromhex(line[head.index("bytes")]) for line in lines[1:]) == text.encode()
    for line in lines[1:]:
        token = bytes.fromhex(line[head.index("bytes")]).decode("utf-8", "replace")
        assert unescape(line[head.index("token")]) == token


def test_special_tokens_are_tokens(run: Program) -> None:
    (token,) = run("tokens", END_OF_TEXT, "-m", "small/", "--json").ok().document["tokens"]
    assert (token["id"], token["token"]) == (len(texts()) - 1, END_OF_TEXT)


def test_an_empty_text_has_no_tokens(run: Program) -> None:
    assert run("tokens", "", "-m", "small/", "--json").ok().document["tokens"] == []
    assert run("tokens", "", "-m", "small/", "--tsv").ok().text.count("\n") == 1
    assert run("tokens", "", "-m", "small/", "--tsv", "--no-header").ok().text == ""


def test_a_folder_with_only_a_tokenizer_answers(run: Program) -> None:
    assert run("tokens", " king", "-m", "only-tokenizer/", "--json").ok().document["tokens"][0]["piece"] == "Ġking"


def test_a_byte_that_is_no_text(run: Program) -> None:
    answer = run("tokens", "a\udcffb", "-m", "small/", "--json").ok()
    assert answer.document["tokens"][0]["piece"] == "a"


def test_several_arguments_are_several_texts_and_a_note_says_how_they_are_one(run: Program) -> None:
    answer = run("tokens", "king", "queen", "-m", "small/", "--tsv").ok()
    assert "each argument is a text of its own" in answer.errors
    assert 'embtool tokens "king queen"' in answer.errors
    assert "a text of its own" not in run("tokens", "king queen", "-m", "small/", "--tsv").ok().errors
