"""A model to a page: every part that the model can fill, and why the others are missing."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from embtool import __version__
from embtool.answers import Listing, context, python, records, value
from embtool.answers.text import abridge, count, plural, size, visible
from embtool.arguments import check_count
from embtool.errors import EmbtoolError, InvalidArgument, UnknownToken
from embtool.lesson import Subject
from embtool.model import Model
from embtool.questions.export import WrittenFile
from embtool.storage.replacing import whole
from embtool.view.cards import deal
from embtool.view.carried import Slice, carry
from embtool.view.order import describe_order
from embtool.view.parts import Json, name_of, packed, shades, typed
from embtool.view.shadow import cast
from embtool.view.sheet import write_sheet

Part = TypeVar("Part")

LONGEST_NAME = 40
"""Characters of a model's name in a title."""

BAR_WIDTH = 256
"""Numbers of a row that the bar code of a sentence's token shows."""


@dataclass(frozen=True, repr=False, eq=False)
class ViewAnswer(Listing[WrittenFile]):
    """The page that was written, and what is in it."""

    command = "view"

    model: str = context("the model, as it was named")
    files: tuple[WrittenFile, ...] = records("the page")
    tokens: int = value("how many tokens it carries")
    exact: int = value("for how many of them the neighbours are exact")
    seconds: float = value("how long it took")
    notes: tuple[str, ...] = python(default=())


@dataclass(frozen=True)
class View:
    """A page, and what is to be said of it."""

    content: bytes
    tokens: int
    exact: int
    seconds: float
    left_out: tuple[str, ...]

    @property
    def about(self) -> str:
        """What is in it, and how long that took."""
        held = (
            f"{plural(self.tokens, 'token')}, {count(self.exact)} with exact neighbours" if self.tokens else "no tokens"
        )
        return f"{held}; made in {self.seconds:.1f} s"


def write_view(view: View, model: Model, path: Path) -> ViewAnswer:
    """Write a page; a file that is there is replaced.

    Raises:
        LocalFailure: the system does not let it be written.
    """
    with whole(path) as file:
        file.write(view.content)
    written = WrittenFile(str(path), len(view.content))
    told = f"wrote {path} ({size(len(view.content))}): {view.about}"
    return ViewAnswer(model.name, (written,), view.tokens, view.exact, view.seconds, (told, *view.left_out))


def make_view(
    model: Model, tokens: Sequence[str] = (), *, exact: int | None = None, reached: Sequence[str] = ()
) -> View:
    """Make the page of a model.

    Args:
        model: the model.
        tokens: whose rows and neighbours the shadow shows; everyday words unless some are named.
        exact: for how many tokens the neighbours are computed; 2,000 unless said, of small tables more.
        reached: the options with which the model was opened; the commands on the page repeat them.

    Raises:
        UnknownToken: one of the tokens is none.
        EmbtoolError: the model has nothing of which a page could tell.
    """
    if exact is not None:
        check_count(exact, "exact")
    started = time.monotonic()
    subject = Subject(model, reached)
    missing: dict[str, EmbtoolError] = {}

    def part(name: str, make: Callable[[], Part]) -> Part | None:
        try:
            return make()
        except (UnknownToken, InvalidArgument):
            if tokens:
                raise
            return None
        except EmbtoolError as error:
            missing[name] = error
            return None

    lesson = part("the lesson", lambda: deal(subject)) or {"steps": [], "left_out": []}
    shadow = part("the two dimensions", lambda: cast(subject, tokens))
    sentences = part("the two sentences", lambda: _sentences(subject))
    wanted = [] if shadow is None else list(shadow.ids)
    carried = part("the table", lambda: carry(subject, [*_spoken_of(subject, sentences), *wanted], exact))
    order = part("positions", lambda: describe_order(subject))
    if carried is None and (order is None or order["kind"] == "unknown"):
        raise missing["the table"]
    left_out = tuple(f"{name} left out: {error.message}" for name, error in missing.items())
    seconds = time.monotonic() - started
    name = abridge(visible(model.name), LONGEST_NAME)
    data: Json = {
        "version": __version__,
        "model": name,
        "options": typed(subject.command("x")).removeprefix("embtool x"),  # the end of each command line about tokens
        "info": typed(subject.about("info")),
        "lesson": lesson,
        "table": None if carried is None else carried.data,
        "first": subject.first if carried is not None else None,
        "shadow": None if shadow is None else shadow.data,
        "order": order,
        "sentences": sentences,
        "left_out": list(left_out),
    }
    held = carried or Slice((), 0, {})
    content = write_sheet(f"{name}: from a number to what it reads", data)
    return View(content, len(held.ids), held.exact, seconds, left_out)


def _spoken_of(subject: Subject, sentences: Json | None) -> list[int]:
    """List the rows that the page names: the first one, the lesson's words, those of the sentences."""
    row, others = subject.company
    is_own = subject.with_order.subject is subject
    said = [token["id"] for token in sentences["texts"][0]["tokens"]] if sentences is not None and is_own else []
    return list(dict.fromkeys([subject.first, row, *others, *said]))


def _sentences(subject: Subject) -> Json | None:
    """Set two texts of the same words side by side; None where no text can be split."""
    told = subject.with_order
    subject, pair = told.subject, told.subject.sentences
    if pair is None or subject.positions is None:
        return None
    found = subject.model.compare_inputs(*pair)
    step = max(1, found.sequence.rows.shape[1] // BAR_WIDTH)
    texts = [
        {
            "text": text.strip(),
            "tokens": [
                {
                    "id": token.id,
                    "name": name_of(token.id, token.token),
                    "position": token.position,
                    "norm": f"{token.token_norm:.4f}",
                    "added": None if token.position_norm is None else f"{token.position_norm:.4f}",
                    "sum": f"{token.norm:.4f}",
                    "cosine": f"{token.cosine:.4f}",
                    "bars": packed(shades(token.values[::step]), "u1"),
                }
                for token in tokens
            ],
        }
        for text, tokens in ((pair[0], found.rows), (pair[1], found.against.rows))
    ]
    return {
        "texts": texts,
        "kind": found.position_kind,
        "same": [{"id": each.id, "input": each.inputs_equal, "cosine": f"{each.cosine:.4f}"} for each in found.pairs],
        "why": " ".join(told.why),
        "command": typed(subject.command("input", pair[0], "--against", pair[1])),
    }
