"""What `--explain` adds under a result: what was computed, the formula, and one thing to try next.

All its texts stand here. On a terminal they follow the table; in machine formats they are notes on stderr, so that
stdout holds the result and nothing else. What is tried next is an ordinary command about the same model and, where one
was asked for, the same token; it runs as it is shown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embtool.answers import Format
from embtool.answers.text import count, plural, shell
from embtool.cli.messages import note
from embtool.errors import EmbtoolError
from embtool.positions import Rope

if TYPE_CHECKING:  # a command loads the answers of its own question only
    from embtool.model import Model
    from embtool.questions.calc import CalcAnswer
    from embtool.questions.diff import DiffAnswer
    from embtool.questions.diff_copy import CopyAnswer
    from embtool.questions.diff_vocabulary import VocabularyAnswer
    from embtool.questions.map import MapAnswer
    from embtool.questions.similarity import SimilarityAnswer
    from embtool.tables.sequence import InputSequence
    from embtool.tables.table import EmbeddingTable
    from embtool.vocabulary import Query

FAR = 1000
"""A position to try: far enough for slow pairs to have moved."""

MOST_TRIED = 8
"""Tokens of a command to try."""

LONGEST_TEXT = 60
"""Characters of a text that is repeated in a command."""


@dataclass(frozen=True)
class Explanation:
    """What stands under a result; `follow` is a command line without the program's name, `why` what it shows."""

    computed: str
    formula: str
    follow: tuple[str, ...]
    why: str

    def show(self, output_format: Format) -> None:
        """Print it: as prose below a table, as notes otherwise."""
        if output_format is not Format.TABLE:
            note(f"computed: {self.computed}")
            note(f"formula: {self.formula}")
            note(f"try next: {shell(self.follow)} ({self.why})")
            return
        from embtool.answers.terminal import Page  # noqa: PLC0415 - draws with rich

        page = Page()
        for title, text in (("what was computed", self.computed), ("formula", self.formula)):
            page.gap()
            page.say(title, "bold cyan")
            page.say(text, indent=2)
        page.gap()
        page.say("try next", "bold cyan")
        page.line(f"  $ {shell(self.follow)}")
        page.say(self.why, indent=2)


@dataclass(frozen=True)
class About:
    """What an explanation is about: a model and the options that reach it, a table, and the first query if any."""

    model: "Model"
    reached: Sequence[str]
    table: "EmbeddingTable | None" = None
    query: "Query | None" = None

    def command(self, name: str, *arguments: str) -> tuple[str, ...]:
        """Write a command line about this model and table."""
        role = () if self.table is None or self.table.role == "input" else ("--table", self.table.role)
        return (name, *arguments, *role, *self.of_model())

    def of(self, name: str) -> tuple[str, ...]:
        """Write the command line of a command that takes this model as its argument."""
        return (name, self.model.name, *self.reached)

    def of_model(self) -> tuple[str, ...]:
        """The options that name the model."""
        return ("-m", self.model.name, *self.reached)

    @property
    def token(self) -> str:
        """The first query as it can be typed again."""
        if self.query is None:
            return "id:0"
        repeatable = self.query.text.isprintable() and not self.query.text.startswith("-")
        return self.query.text if len(self.query.ids) == 1 and repeatable else f"id:{self.query.ids[0]}"

    @property
    def passed(self) -> str:
        """How a pass went through the table, as a sentence more; none for one that is gone through in no time."""
        told = None if self.table is None else self.table.checkpoint.mappings.told
        return "" if told is None else f" The table was {told}."

    @property
    def finite(self) -> bool:
        """Whether the row of the first query can be compared."""
        ids = [self.query.ids[0]] if self.query is not None else [0]
        return self.table is not None and all(map(math.isfinite, self.table.rows(ids)[0].tolist()))


def explain_info(model: "Model", reached: Sequence[str]) -> Explanation:
    """Explain `embtool info`."""
    about = About(model, reached)
    if _has_table(model):
        follow, why = about.command("norms"), "how long its rows are; this one reads the whole table"
    elif model.config is not None and isinstance(model.positions, Rope):
        follow, why = about.command("rope"), "how fast its positions turn: that needs the config only"
    elif model.vocabulary_if_any is not None:
        follow, why = about.command("tokens", "hello"), "how its tokenizer splits a text"
    else:
        follow, why = ("info", "mini"), "the same of the bundled model, which has every part"
    return Explanation(
        "Nothing was computed from weights. Shapes, dtypes and places come from the headers of the files, settings "
        "from config.json, tokens from the tokenizer; a row without a token is one that no id of the tokenizer names.",
        "bytes of a table = rows × width × bytes of a number; tied = one tensor serves as input and output table",
        follow,
        why,
    )


def _has_table(model: "Model") -> bool:
    try:
        return any(table.role == "input" for table in model.tables.stored)
    except EmbtoolError:
        return False


def explain_row(about: About) -> Explanation:
    """Explain `embtool row`."""
    assert about.table is not None
    dtype, width = about.table.tensor.dtype.name, about.table.shape[1]
    pooled = about.query is not None and len(about.query.ids) > 1
    computed = (
        f"One row was read where its id says, {plural(width, 'number')} of {dtype}, and written out as they are. Only "
        "the norm is arithmetic: the length of the row as an arrow."
    )
    if pooled:
        computed = (
            f"The text is several tokens, so several rows of {plural(width, 'number')} of {dtype} were read and made "
            "one, as --pool says. The model itself never does that here."
        )
    follow, why = about.command("neighbors", about.token), "which rows point the same way"
    if not about.finite:
        follow, why = about.command("norms"), "where the rows stand that are not finite"
    return Explanation(computed, "row = table[id];  norm = ‖row‖ = √(x₀² + x₁² + …)", follow, why)


METRICS = {
    "cosine": "score = a·b / (‖a‖ ‖b‖): 1 is the same direction, 0 a right angle, -1 the opposite",
    "dot": "score = a·b = a₀b₀ + a₁b₁ + …: long rows score high",
    "euclidean": "score = ‖a - b‖: the smaller the nearer",
}


def explain_neighbors(about: About, metric: str, *, centered: bool, through: str | None = None) -> Explanation:
    """Explain `embtool neighbors`; `through` is the norm that the query passed."""
    assert about.table is not None
    computed = (
        f"The query was held against every one of {plural(about.table.shape[0], 'row')}, and the scores sorted; ties "
        "go by id. The result is exact: no index, no sample."
    )
    if centered:
        computed += " The mean of all rows was taken from the query and from each row first."
    if through is not None:
        computed += (
            f" It passed {through} first, as the last block's vectors do: the raw logit lens. No block was run, and a "
            "vector that steers a model may name no tokens here."
        )
    computed += about.passed
    if about.query is None:
        return Explanation(computed, METRICS[metric], about.command("norms"), "what these rows have in common")
    if centered:
        follow = about.command("neighbors", about.token, "--metric", "dot")
        return Explanation(computed, METRICS[metric], follow, "whether the order holds where length counts too")
    follow = about.command("neighbors", about.token, "--center")
    return Explanation(computed, METRICS[metric], follow, "the same without what all rows have in common")


def explain_rope(typed: Sequence[str], *, placed: bool, relative: bool, layout_known: bool) -> Explanation:
    """Explain `embtool rope`; `typed` are the options that name the model, or the settings."""
    computed = "Each pair of channels of a head turns at a speed of its own; pair 0 is the fastest."
    formula = "default: inv_freq of pair i = theta^(-2i / rotary_dim); other types change that as rope_type says"
    if placed or relative:
        computed = (
            "Each pair was turned by its angle; where the type has an attention factor, it was also scaled by that."
        )
        formula = "angle = position × inv_freq;  (x, y) -> (x cos - y sin, x sin + y cos); clockwise: by -angle"
    if relative:
        computed += " Moved together, query and key turn alike, so the angle between them stays."
        formula += ";  q(m)·k(n) depends on m - n only"
    if placed and layout_known:
        return Explanation(
            computed, formula, ("rope", "--relative", "7", "3", *typed), "why attention sees distances, not places"
        )
    follow = ("rope", "--pos", str(FAR), *typed)
    return Explanation(computed, formula, follow, f"how far each pair has turned at position {count(FAR)}")


def explain_input(about: About, sequence: "InputSequence", text: str, *, against: bool) -> Explanation:
    """Explain `embtool input`."""
    factor = "" if sequence.scale == 1 else f"{sequence.scale:g} × "
    kinds = {"learned": "positions[p]", "sinusoidal": "waves(p)"}
    added = [] if sequence.position_rows is None else [kinds.get(sequence.position_kind, "position(p)")]
    added += [] if sequence.token_type_row is None else ["types[0]"]
    computed = (
        "For each token its row was read, and what its position adds was added: this sum is what the first block gets."
        if sequence.position_rows is not None
        else "For each token its row was read, and nothing was added for its position: order enters later, if at all."
    )
    formula = " + ".join([f"input = {factor}table[id]", *added])
    words = text.split()
    if not against and len(words) > 1 and text.isprintable() and len(text) <= LONGEST_TEXT and text[0] != "-":
        space = text[: -len(text.lstrip())]  # a word with a space before it is another token than one without
        follow = about.command("input", text, "--against", space + " ".join(reversed(words)))
        return Explanation(computed, formula, follow, "the same tokens in another order: what stays, what changes")
    if sequence.position_kind == "rope":
        follow = about.command("rope", "--pos", str(FAR))
        return Explanation(computed, formula, follow, "how far a position turns queries and keys")
    return Explanation(computed, formula, ("info", about.model.name, *about.reached), "how this model knows order")


INDICATORS = {
    "norm": (
        (
            "The length of every row was measured and sorted. A row that training never read stays near where it "
            "began, or decays, so short rows are suspects; the model was not run."
        ),
        "score = ‖row‖, the smaller the less trained",
    ),
    "distance": (
        (
            "Rows that surely were never trained were averaged, and every row's distance to that mean measured. What "
            "lies near it was probably moved by the same push only; the model was not run."
        ),
        "score = ‖row - mean of the reference rows‖, the smaller the less trained",
    ),
}


def explain_undertrained(about: About, indicator: str, first: int | None) -> Explanation:
    """Explain `embtool undertrained`."""
    computed, formula = INDICATORS[indicator]
    computed += about.passed
    if first is None:
        return Explanation(computed, formula, about.command("norms"), "the shortest and longest rows by name")
    return Explanation(computed, formula, about.command("row", f"id:{first}"), "the first of them, number by number")


def explain_similarity(about: About, found: "SimilarityAnswer") -> Explanation:
    """Explain `embtool similarity`."""
    computed = (
        "Two rows at a time were multiplied number by number and summed up, in float64: for the cosine divided by both "
        "lengths. Nothing else of the model took part."
    )
    formula = "cosine = a·b / (‖a‖ ‖b‖);  dot = a·b = a₀b₀ + a₁b₁ + …;  euclidean = ‖a - b‖"
    if found.odd is not None:
        computed += " What belongs least has the lowest cosine with the mean of all, each at length 1."
        formula += ";  belongs = cosine of a and mean(row / ‖row‖)"
    if not about.finite:
        return Explanation(computed, formula, about.command("norms"), "where the rows stand that are not finite")
    follow = about.command("neighbors", about.token)
    return Explanation(computed, formula, follow, "whether there are nearer rows than those that were named")


def explain_direction(about: About) -> Explanation:
    """Explain `embtool similarity --along`."""
    computed = (
        "The rows of the direction were scaled to length 1 and added up, those of --minus subtracted; each row was "
        "then held against that one arrow. What an arrow between two words means is for whoever reads it to say."
    )
    formula = "d = Σ along/‖along‖ - Σ minus/‖minus‖;  cosine = row·d / (‖row‖ ‖d‖);  projection = row·d / ‖d‖"
    if not about.finite:
        return Explanation(computed, formula, about.command("norms"), "where the rows stand that are not finite")
    return Explanation(computed, formula, about.command("neighbors", about.token), "what is near the first of them")


def explain_calc(about: About, found: "CalcAnswer | None") -> Explanation:
    """Explain `embtool calc`; of an expression the answer is found, of lines of stdin none is."""
    at_length = found is None or found.normalized
    scaled = "scaled to length 1, then " if at_length else ""
    computed = (
        f"Each row of the expression was {scaled}added or subtracted, and the sum held against every row of the table. "
        "The expression's own tokens are left out, for one of them is nearly always the nearest: a habit of such tests "
        "that flatters them."
    )
    computed += about.passed
    formula = "v = ±row₁/‖row₁‖ ±row₂/‖row₂‖ …" if at_length else "v = ±row₁ ±row₂ …"
    formula += f";  {METRICS[found.metric if found is not None else 'cosine']}, of v and each row"
    terms = [] if found is None else sorted(found.terms, key=lambda term: -term.sign)
    if found is None or terms[0].sign < 0 or any(term.id is None for term in terms):
        return Explanation(computed, formula, about.command("norms"), "what all rows have in common")
    first, *rest = (part for term in terms for part in ("+" if term.sign > 0 else "-", f"id:{term.id}"))
    follow = about.command("calc", *rest, *(("--include-inputs",) if found.inputs_left_out else ("--no-normalize",)))
    why = (
        "the same with its own tokens" if found.inputs_left_out else "the same with rows at the lengths that they have"
    )
    assert first == "+", "a sum begins with what is added"
    return Explanation(computed, formula, follow, why)


def explain_analogies(about: About, file: str, *, each: bool) -> Explanation:
    """Explain `embtool calc --questions`."""
    computed = (
        "For each question a b c d the row nearest by cosine to b - a + c was looked for, a, b and c left out, and is "
        "right where it is d (3CosAdd, as in gensim). Questions with a word that is not one token were skipped."
    )
    formula = "v = b/‖b‖ - a/‖a‖ + c/‖c‖;  right where the largest cosine of v and a row is that of d"
    if each or file == "-":
        return Explanation(computed, formula, about.command("norms"), "what all rows have in common")
    follow = about.command("calc", "--questions", file, "--each")
    return Explanation(computed, formula, follow, "every question with what was answered")


def explain_map(about: About, found: "MapAnswer") -> Explanation:
    """Explain `embtool map`."""
    whose = "these rows" if found.basis == "tokens" else "the whole table"
    computed = (
        f"The mean was taken away, and each row laid on the two axes along which {whose} spread most (PCA). Such a "
        f"shadow leaves out the rest: it keeps {found.kept:.1%} of the variance: what is near here may be far away."
    )
    computed += about.passed
    formula = "x = (row - mean)·axis₁, y = (row - mean)·axis₂;  keeps = (x² + y² of all) / ‖row - mean‖² of all"
    ids = dict.fromkeys(point.id for point in found.points if point.rank is None and point.id is not None)
    if len(ids) > 1:
        follow = about.command("similarity", *(f"id:{row}" for row in list(ids)[:MOST_TRIED]))
        return Explanation(computed, formula, follow, "how near they are with nothing left out")
    return Explanation(computed, formula, about.command("neighbors", about.token), "what is near with nothing left out")


def explain_norms(about: About) -> Explanation:
    """Explain `embtool norms`."""
    computed = (
        "One pass over the whole table: the length of every row, the mean of all rows, and how the variance spreads "
        "over directions. The model was not run."
    )
    computed += about.passed
    formula = (
        "norm = ‖row‖;  the mean row's share = rows × ‖mean‖² / sum of ‖row‖²;  effective rank = (sum of variances)² / "
        "sum of variances², of the principal axes"
    )
    if not about.finite:
        return Explanation(computed, formula, about.of("info"), "which tables there are")
    follow = about.command("neighbors", about.token, "--center")
    return Explanation(computed, formula, follow, "neighbours without the mean that all rows have in common")


def explain_diff(ours: About, theirs: About, found: "DiffAnswer | VocabularyAnswer | CopyAnswer") -> Explanation:
    """Explain `embtool diff`."""
    from embtool.questions.diff_copy import CopyAnswer  # noqa: PLC0415 - as above
    from embtool.questions.diff_vocabulary import VocabularyAnswer  # noqa: PLC0415

    if isinstance(found, VocabularyAnswer):
        return _explain_vocabularies(ours, theirs)
    if isinstance(found, CopyAnswer):
        return _explain_copy(theirs, found)
    computed = (
        f"Rows of the same {found.by} were read from both tables and compared as numbers, in float64, whatever dtype "
        "each is stored in. Those that hold NaN or infinity come first, then those that moved farthest."
    )
    formula = (
        "distance = ‖b - a‖;  relative = ‖b - a‖ / ‖a‖;  sd: (x - median) / (1.4826 × median of |x - median|), x being "
        "what is ranked by, of the rows that changed"
    )
    farthest = next((each.id_b for each in found if each.id_b is not None and each.cosine is not None), None)
    if farthest is None:
        both = ("info", ours.model.name, theirs.model.name, *ours.reached)
        return Explanation(computed, formula, both, "what else differs: shapes, dtypes, positions")
    follow = theirs.command("neighbors", f"id:{farthest}")
    return Explanation(computed, formula, follow, "where the row that moved farthest stands now")


def _explain_copy(copy: About, found: "CopyAnswer") -> Explanation:
    computed = (
        "Each row of A was held against its copy in B as numbers, in float64, whatever dtype each is stored in. Rows "
        "without a token are not judged; a row that the copy lacks, or that has no cosine, is beyond every line."
    )
    if found.kept is not None:
        computed += (
            f" For {plural(found.kept.sampled, 'row')} the {found.kept.neighbors} nearest rows were looked up in both."
        )
    formula = "error = 1 - a·b / (‖a‖ ‖b‖);  relative = ‖b - a‖ / ‖a‖;  kept = shared nearest rows / nearest rows"
    worst = next((each.id_b for each in found.worst if each.cosine is not None), None)
    if worst is None:
        return Explanation(computed, formula, copy.of("info"), "which tables there are")
    return Explanation(computed, formula, copy.command("neighbors", f"id:{worst}"), "where the worst copy stands")


def _explain_vocabularies(ours: About, theirs: About) -> Explanation:
    computed = (
        "Every token was turned into the bytes that it stands for, and each of A matched with one of B that has the "
        "same: under the same id if there is one, else under another. No weights were read."
    )
    formula = "shared = (same + moved) / tokens, of each vocabulary;  moved: the same bytes under another id"
    follow = ("check", ours.model.name, "--draft-for", theirs.model.name, *ours.reached)
    return Explanation(computed, formula, follow, "whether the first can draft for the second")


def explain_tokens(model: "Model", reached: Sequence[str], first: int | None) -> Explanation:
    """Explain `embtool tokens`; `first` is the id of the first token, if there is one."""
    about = About(model, reached)
    computed = (
        "The tokenizer's own rules cut the text into pieces of its vocabulary; no weights were read. An id is the "
        "number of the piece, and of the row that the model reads for it."
    )
    formula = "text -> pieces -> ids;  input of the model = table[id] for each id"
    if first is None or not _has_table(model):
        follow, why = about.command("vocab", "--counts"), "what kinds of tokens there are"
        return Explanation(computed, formula, follow, why)
    return Explanation(computed, formula, about.command("row", f"id:{first}"), "the row of the first of them")
