"""Text to token ids."""

from dataclasses import dataclass

from embtool.answers import Column, Listing, column, context, identity, records, token_column, value
from embtool.answers.text import brief
from embtool.vocabulary import Token, Vocabulary


@dataclass(frozen=True)
class PlacedToken:
    """One token of a text."""

    position: int = column("its place in the text, from 0", right=True)
    id: int = identity()
    token: Token | None = token_column("piece", "token", "bytes")


@dataclass(frozen=True, repr=False, eq=False)
class TokensAnswer(Listing[PlacedToken]):
    """The tokens of a text, in order."""

    command = "tokens"

    model: str = context("the model, as it was named")
    tokens: tuple[PlacedToken, ...] = records("the tokens, in order")


@dataclass(frozen=True, repr=False, eq=False)
class TextTokens(Listing[PlacedToken]):
    """The tokens of one text of several."""

    command = "tokens"
    many_key = "texts"
    always_many = True
    line_keys = ("text",)
    line_columns = (Column("text", terminal=False),)

    model: str = context("the model, as it was named")
    text: str = value("the text")
    tokens: tuple[PlacedToken, ...] = records("the tokens, in order")

    def title(self) -> str:
        """Return the text."""
        return brief(self.text)


def ask_tokens(model: str, vocabulary: Vocabulary, text: str, *, special: bool = False) -> TokensAnswer:
    """Split a text into tokens; `special` adds what the tokenizer puts around a text.

    Raises:
        FormatError: the tokenizer cannot split it.
    """
    return TokensAnswer(model, _placed(vocabulary, text, special=special))


def ask_text_tokens(model: str, vocabulary: Vocabulary, text: str, *, special: bool = False) -> TextTokens:
    """Split one text of several; the answer says which it was."""
    return TextTokens(model, text, _placed(vocabulary, text, special=special))


def _placed(vocabulary: Vocabulary, text: str, *, special: bool) -> tuple[PlacedToken, ...]:
    tokens = vocabulary.encode(text, special=special)
    return tuple(PlacedToken(position, token.id, token) for position, token in enumerate(tokens))
