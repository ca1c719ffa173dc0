"""What can be asked of a model's positions; each question is a file of `embtool.questions`, loaded when first asked."""

from typing import TYPE_CHECKING

from embtool.arguments import checked
from embtool.opened import Opened
from embtool.positions import Rope
from embtool.tables.token_table import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from embtool.arrays import ArrayLike
    from embtool.positions import RopeOverride
    from embtool.questions.input import InputAnswer, InputComparison
    from embtool.questions.rope import RopeAnswer
    from embtool.questions.rope_relative import RelativeAnswer
    from embtool.questions.rotation import Place
    from embtool.rope import Layout, Precision


@checked
class Positioned(Opened):
    """A model and how it knows order: what its first block reads, and how it turns queries and keys."""

    @property
    def rope(self) -> Rope:
        """Its rotary positions; `rope.rotate` turns a vector as the model turns queries and keys.

        Raises:
            NoRope: it knows positions in another way, or not at all.
            ConfigError: it has no config.json, or one that does not say.
        """
        positions = self.positions
        if not isinstance(positions, Rope):
            from embtool.questions.positions import no_rope  # noqa: PLC0415 - as above

            raise no_rope(self.name, positions)
        return positions

    def input(self, text: str, *, start: int = 0, special: bool = False) -> "InputAnswer":
        """Tell what the first block reads of a text: for each token its row, and what its position adds.

        Args:
            text: the text.
            start: the position of the first token.
            special: add what the tokenizer puts around a text, such as its beginning.

        Raises:
            InvalidArgument: the text is empty, or the start below 0.
            TokenIdOutOfRange: a position has no row.
            ConfigError: it has no config.json, which says how it knows positions.
        """
        from embtool.questions.input import ask_input  # noqa: PLC0415 - as above

        return ask_input(self, text, start=start, special=special)

    def compare_inputs(self, text: str, other: str, *, start: int = 0, special: bool = False) -> "InputComparison":
        """Set what the first block reads of two texts side by side: the same tokens at other positions.

        Args:
            text: a text.
            other: another one.
            start: the position of the first token of each.
            special: add what the tokenizer puts around a text.

        Raises:
            InvalidArgument: a text is empty, or the start below 0.
            TokenIdOutOfRange: a position has no row.
        """
        from embtool.questions.input import compare_inputs  # noqa: PLC0415 - as above

        return compare_inputs(self, text, other, start=start, special=special)

    def rope_relative(
        self,
        m: int,
        n: int,
        tokens: "Sequence[str | int]" = (),
        *,
        vector: "ArrayLike | None" = None,
        layout: "Layout | None" = None,
        length: int | None = None,
        precision: "Precision" = "float64",
        exact: bool = False,
        pool: str | None = None,
    ) -> "RelativeAnswer":
        """Show that the dot product of a query at m and a key at n depends on m - n only.

        Args:
            m: where the query stands.
            n: where the key stands.
            tokens: whose rows are the query and the key, cut into heads; without them both are ones.
            vector: the query and the key, (2, width), or one for both, (width,).
            layout: which two channels make a pair, where the family is not known.
            length: tokens of the sequence, on which some types depend.
            precision: the arithmetic: float64 is exact, float32 repeats the rounding of transformers.
            exact: take tokens as typed.
            pool: make one vector of a text of several tokens.

        Raises:
            NoRope: it has no rotary positions.
            InvalidArgument: a position or an option cannot be meant.
        """
        from embtool.questions.rope_relative import ask_relative  # noqa: PLC0415 - as above
        from embtool.questions.rotation import Manner, rotary_of, vectors_of  # noqa: PLC0415 - as above

        vectors = vectors_of(self, tokens, vector, Reading(exact=exact, pool=pool))
        return ask_relative(rotary_of(self, layout), m, n, vectors, Manner(length, precision))

    def rope_table(
        self,
        positions: "Iterable[Place]" = (),
        tokens: "Sequence[str | int]" = (),
        *,
        vector: "ArrayLike | None" = None,
        inverse: bool = False,
        layout: "Layout | None" = None,
        override: "RopeOverride | None" = None,
        length: int | None = None,
        precision: "Precision" = "float64",
        exact: bool = False,
        pool: str | None = None,
    ) -> "RopeAnswer":
        """Tell how fast pairs of channels turn, and how far they have turned at positions.

        Args:
            positions: whole numbers, or three for a token of an image; none for the frequencies alone.
            tokens: whose rows are turned, cut into heads: an illustration. Without them a vector along the first
                channel of each pair is, so that what comes out is cos and sin.
            vector: turn these numbers, (width,) or (vectors, width), or "ones".
            inverse: turn back.
            layout: which two channels make a pair, where the family is not known.
            override: settings that take the place of its own: what if it were stretched?
            length: tokens of the sequence, on which some types depend; by default as many as the positions need.
            precision: the arithmetic: float64 is exact, float32 repeats the rounding of transformers.
            exact: take tokens as typed.
            pool: make one vector of a text of several tokens.

        Raises:
            NoRope: it has no rotary positions.
            InvalidArgument: a position or an option cannot be meant.
            ConfigError: vectors do not divide into heads, or it is not known which two channels make a pair.
        """
        from embtool.questions.rope import ask_rope  # noqa: PLC0415 - as above
        from embtool.questions.rotation import Manner, rotary_of, vectors_of  # noqa: PLC0415 - as above

        vectors = vectors_of(self, tokens, vector, Reading(exact=exact, pool=pool))
        return ask_rope(
            rotary_of(self, layout, override, length), positions, vectors, Manner(length, precision, inverse)
        )
