"""Answers for pages: Markdown to paste into an issue, HTML for a notebook. Strings of strangers are text in both."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import TextIO

from embtool.answers.answer import Answer, Block, Failure
from embtool.answers.terminal import shown
from embtool.answers.text import safe

MARKS = re.compile(r"([\\`*{}\[\]<>#|~&]|(?<!\w)_|_(?!\w))")
"""Characters that Markdown of GitHub's kind would obey inside a cell."""


def _table(block: Block) -> tuple[Sequence[str], list[list[str]]]:
    """Return the heads and the cells of a block's table, or of its sections."""
    if block.sections:
        lines = [(section.title, label, held) for section in block.sections for label, held in section.lines]
        return ("", "", ""), [[safe(text) for text in line] for line in lines]
    heads = [column.title if column.title is not None else column.key for column in block.columns]
    return heads, [[safe(shown(column, record)) for column in block.columns] for record in block.records]


def _right(block: Block) -> list[bool]:
    return [False] * 3 if block.sections else [column.right for column in block.columns]


def write_markdown(
    answers: Iterable[Answer | Failure],
    stream: TextIO,
    *,
    header: bool,
    many: bool,
    blank: Answer | type[Answer] | None,
) -> None:
    """Write each block as a title and a table of GitHub's Markdown."""
    del header, many, blank
    blocks = (block for answer in answers if isinstance(answer, Answer) for block in answer.blocks())
    for order, block in enumerate(blocks):
        if order:
            print(file=stream)
        if block.title is not None:
            print(f"**{_mark(safe(block.title))}**\n", file=stream)
        heads, lines = _table(block)
        if heads and lines:
            rules = ["---:" if right else "---" for right in _right(block)]
            for cells in (map(_mark, heads), rules, *(map(_mark, line) for line in lines)):
                print(f"| {' | '.join(cells)} |", file=stream)
        if drawn := _drawn(block):
            print("```text", *drawn, "```", sep="\n", file=stream)
        texts = [extra.strip() for extra in block.after if isinstance(extra, str) and extra.strip()]
        if texts:
            print(("\n" if lines else "") + "\n".join(f"{_mark(safe(text))}  " for text in texts), file=stream)
        stream.flush()


def _drawn(block: Block) -> list[str]:
    """Return the lines that are drawn with characters, without their colours."""
    return [safe("".join(text for text, _ in extra)) for extra in block.after if isinstance(extra, tuple)]


def _mark(text: str) -> str:
    return MARKS.sub(r"\\\1", text)


def to_html(answer: Answer) -> str:
    """Return what a notebook shows of an answer."""
    parts = []
    for block in answer.blocks():
        heads, lines = _table(block)
        aligned = [f' style="text-align:{"right" if right else "left"}"' for right in _right(block)]
        title = f"<caption>{html.escape(safe(block.title))}</caption>" if block.title is not None else ""
        head = "".join(f"<th{style}>{html.escape(text)}</th>" for style, text in zip(aligned, heads, strict=False))
        rows = (
            "".join(f"<td{style}>{html.escape(text)}</td>" for style, text in zip(aligned, line, strict=True))
            for line in lines
        )
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        parts.append(f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        drawn = _drawn(block)
        parts += [f"<pre>{html.escape(chr(10).join(drawn))}</pre>"] if drawn else []
        parts += [f"<div>{html.escape(safe(text.strip()))}</div>" for text in block.after if isinstance(text, str)]
    return "".join(parts)
