"""Rules about a draft and its target: can the one speculate for the other, and by whose rules.

The rules are those of the engines: llama.cpp's `common_speculative_are_compatible` (speculative.cpp), vLLM's
`verify_equal_vocab_size_if_draft_model` (of its SpeculativeConfig) and `VocabMapping`, SGLang's check of STANDALONE
drafts (sgl-project/sglang#23838), transformers' assisted generation (`_validate_generation_mode`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from embtool.adapters.drafts import described, holds_tokens, is_map, read_map
from embtool.answers.text import percent, plural
from embtool.arrays import np
from embtool.errors import ConfigError
from embtool.questions.check.heads import DraftHead
from embtool.questions.check.rule import RULES, Finding, Found, Severity, rule, some
from embtool.questions.check.subject import Subject
from embtool.vocabulary import Vocabulary
from embtool.vocabulary.matching import match_tokens
from embtool.vocabulary.spelling import ByteLevel, Metaspace

MOST_DIFFERENCE = 128
"""Tokens by which two vocabularies may differ in size for llama.cpp (SPEC_VOCAB_MAX_SIZE_DIFFERENCE)."""

FIRST_COMPARED = 5
"""The id from which on llama.cpp compares texts (SPEC_VOCAB_CHECK_START_TOKEN_ID)."""

LEAST_SHARED = 100
"""Shared tokens below which vLLM warns of a very small intersection."""

ENGINES: Mapping[str, tuple[str, ...]] = {
    "llama.cpp": ("draft-llama-cpp",),
    "vLLM": ("draft-vocab-size",),
    "SGLang": ("draft-vocab-size", "draft-tokens"),
    "transformers": ("draft-tokens",),
    "token-level intersection": ("draft-intersection",),
    "EAGLE": ("draft-head",),
}
"""By which rules a draft fits each engine, or each way of drafting. Where vocab_size differs, transformers asks for
both tokenizers and drafts by the tokens that both have."""


@dataclass(frozen=True)
class EngineFit:
    """Whether a draft fits by one engine's rules: fits, does not fit, or not known where they were not looked at."""

    engine: str
    verdict: str
    rules: tuple[str, ...]


@dataclass(frozen=True)
class DraftFit:
    """Whether a draft fits its target."""

    target: str
    fits: bool
    engines: tuple[EngineFit, ...]
    shared: int | None
    """Tokens that both have, by their bytes."""
    of_draft: float | None
    """These as a part of the draft's."""
    of_target: float | None

    @property
    def lines(self) -> list[str]:
        """Say it engine by engine."""
        said = [f"{each.verdict} by {each.engine}" for each in self.engines]
        lines = [f"as a draft for {self.target}: {', '.join(said)}"]
        if self.of_draft is not None and self.of_target is not None:
            lines.append(
                f"{percent(self.of_draft)} of the draft's tokens are the target's too, by their bytes, and "
                f"{percent(self.of_target)} of the target's the draft's"
            )
        return lines


def fit(subject: Subject, looked: Iterable[str], findings: Iterable[Finding]) -> DraftFit:
    """Sum up by whose rules a draft fits; `looked` are the rules that were looked at."""
    assert subject.target is not None
    seen, refused = set(looked), {found.rule for found in findings}
    engines = []
    head = subject.draft_head
    translated = subject.draft_sizes is not None and len(set(subject.draft_sizes)) > 1
    for engine, own in ENGINES.items():
        rules = ("draft-intersection",) if engine == "transformers" and translated else own
        if (engine == "EAGLE") == (head is not None):
            verdict = (
                "does not fit" if refused.intersection(rules) else "fits" if seen.issuperset(rules) else "not known"
            )
            engines.append(EngineFit(engine if head is None else head.kind, verdict, rules))
    shared = of_draft = of_target = None
    if subject.both_vocabularies is not None:
        draft, target = subject.both_vocabularies
        match = match_tokens(draft, target)
        shared = len(match.same) + len(match.moved)
        of_draft, of_target = shared / len(draft), shared / len(target)
    return DraftFit(subject.target.name, not refused, tuple(engines), shared, of_draft, of_target)


@rule(
    "draft-llama-cpp",
    Severity.ERROR,
    "llama.cpp takes the draft",
    "llama.cpp compares the two vocabularies when it loads them, and stops: draft model vocab type must match target "
    "model to use speculation. The type must be one, what is put around a sequence, the sizes but for 128 tokens, and "
    "every text from id 5 on.",
    advice="take a draft of the target's own family, or another way of drafting that needs none, such as n-grams",
    threads=("ggml-org/llama.cpp#10175",),
    needs=("target", "both_vocabularies"),
)
def draft_llama_cpp(subject: Subject) -> Iterator[Found]:
    assert subject.target is not None
    draft, target = subject.llama_cpp, subject.target.llama_cpp
    if draft.type != target.type:
        yield Found(f"llama.cpp refuses: the vocabulary is of type {draft.type}, the target's {target.type}")
    around = (("bos", draft.adds_bos, target.adds_bos), ("eos", draft.adds_eos, target.adds_eos))
    for name, ours, theirs in around:
        tokens = getattr(draft, name), getattr(target, name)
        if ours != theirs:
            says = ("adds", "does not") if ours else ("does not add", "does")
            yield Found(f"llama.cpp refuses: the draft {says[0]} {name} to a sequence, the target {says[1]}")
        elif theirs and tokens[0] != tokens[1]:
            yield Found(f"llama.cpp refuses: {name} is {tokens[0]}, the target's {tokens[1]}")
    apart = abs(draft.size - target.size)
    if apart > MOST_DIFFERENCE:
        yield Found(
            f"llama.cpp refuses: {draft.size:,} tokens, the target has {target.size:,}: {apart:,} apart, of which "
            f"{MOST_DIFFERENCE} are allowed"
        )
    both = min(draft.size, target.size)
    ids = sorted({place for each in (draft, target) for place in each.texts if FIRST_COMPARED <= place < both})
    unlike = [place for place in ids if draft.text(place) != target.text(place)]
    if unlike:
        named = some(f"{place} {draft.text(place)!r}, there {target.text(place)!r}" for place in unlike)
        yield Found(f"llama.cpp refuses: {plural(len(unlike), 'id')} with another text: {named}", unlike)


@rule(
    "draft-vocab-size",
    Severity.ERROR,
    "draft and target have one vocab_size",
    "vLLM (method draft_model) and SGLang (STANDALONE) compare vocab_size of the two configs and stop where they "
    "differ, be it by padding alone: the probabilities of the two are compared column by column.",
    advice="take a draft with the target's vocab_size, or draft by the tokens that both have: use_heterogeneous_vocab",
    threads=("vllm-project/vllm#7252", "vllm-project/vllm#13849", "sgl-project/sglang#23838"),
    needs=("target",),
)
def draft_vocab_size(subject: Subject, draft_sizes: tuple[int, int]) -> Iterator[Found]:
    ours, theirs = draft_sizes
    if ours != theirs:
        file = None if subject.config is None else subject.config.file
        yield Found(
            f"vLLM and SGLang refuse: vocab_size is {ours:,}, the target's {theirs:,}", file=file, field="vocab_size"
        )


@rule(
    "draft-tokens",
    Severity.ERROR,
    "every id is the same token in draft and target",
    "SGLang compares the two tokenizers and stops. vLLM and transformers do not: where vocab_size is one, the draft's "
    "ids are taken as they are, and what it proposes are other words, which the target hardly ever accepts.",
    advice="take a draft of the target's own family; else draft by the tokens that both have",
    threads=("sgl-project/sglang#23838", "a-ghorbani/pocketpal-ai#876", "LostRuins/koboldcpp#2325"),
    needs=("target",),
)
def draft_tokens(both_vocabularies: tuple[Vocabulary, Vocabulary]) -> Iterator[Found]:
    ours, theirs = (dict(words.pieces()) for words in both_vocabularies)
    unlike = sorted(place for place in ours.keys() & theirs.keys() if ours[place] != theirs[place])
    if unlike:
        named = some(f"{place} {ours[place]!r}, there {theirs[place]!r}" for place in unlike)
        yield Found(f"SGLang refuses: {plural(len(unlike), 'id')} with another token: {named}", unlike)
    for whose, mine, others in (("draft", ours, theirs), ("target", theirs, ours)):
        alone = sorted(mine.keys() - others.keys())
        if alone:
            named = some(f"{place} {mine[place]!r}" for place in alone)
            yield Found(f"SGLang refuses: {plural(len(alone), 'id')} that only the {whose} has: {named}", alone)


@rule(
    "draft-intersection",
    Severity.WARNING,
    "draft and target share enough tokens to draft by these alone",
    "Drafting by the tokens that both have (token-level intersection: vLLM's use_heterogeneous_vocab, transformers' "
    "universal assisted generation) puts the unknown token, or eos, in the place of what the other lacks, and is slow "
    "where the draft can say little.",
    advice="take a draft that shares more tokens, or one that drafts by strings",
    threads=("vllm-project/vllm#38174", "huggingface/transformers#35029"),
)
def draft_intersection(
    subject: Subject, target: Subject, both_vocabularies: tuple[Vocabulary, Vocabulary]
) -> Iterator[Found]:
    shared = shared_texts(*both_vocabularies)
    if shared == max(map(len, both_vocabularies)):
        return
    if shared < LEAST_SHARED:
        yield Found(f"draft and target share {plural(shared, 'token')}: vLLM warns below {LEAST_SHARED}")
    for whose, each in (("draft", subject), ("target", target)):
        if not any(each.named_special(name) for name in ("unk", "eos")):
            yield Found(f"vLLM refuses: the {whose} names neither an unknown token nor an end of a text")


def shared_texts(draft: Vocabulary, target: Vocabulary) -> int:
    """Count the tokens that two vocabularies share as vLLM compares them: as strings, a word's mark read as a space.

    The mark is told by the spelling, as vLLM tells it by splitting ` a`.
    """
    texts = []
    for words in (draft, target):
        marks = {ByteLevel: ("Ġ",), Metaspace: ("▁",)}.get(type(words.spelling), ("Ġ", "▁"))
        pieces = [piece for _, piece in words.pieces()]
        texts.append({f" {piece[1:]}" if piece.startswith(marks) else piece for piece in pieces})
    return len(texts[0] & texts[1])


@rule(
    "draft-head",
    Severity.ERROR,
    "the ids of a draft head are mapped into its target's",
    "A head such as EAGLE-3's predicts in a vocabulary of its own. vLLM and SGLang add d2t to each of its ids, "
    "llama.cpp takes the d2t of a GGUF file as the target's ids; where the map is missing they take the head's ids as "
    "they are, without a word, and hardly anything is accepted; where it leads beyond the target, they read another "
    "token or stop.",
    advice="export the head again with its d2t, in which each id of the head has the distance to the target's id, in "
    "a GGUF file the target's id itself",
    threads=("NVIDIA/NeMo#2447", "SafeAILab/EAGLE#222", "SafeAILab/EAGLE#258"),
    needs=("draft_head",),
)
def draft_head(subject: Subject, target: Subject) -> Iterator[Found]:
    head = subject.draft_head
    assert head is not None
    size = target.vocab_size
    if size is None:
        return
    if head.target_size is not None and head.target_size != size:
        yield Found(
            f"the head was made for {head.target_size:,} tokens by its vocab_size, the target has {size:,}",
            file=None if subject.config is None else subject.config.file,
            field="vocab_size",
        )
    predicts = head.size if head.size is not None else head.rows
    if head.d2t is None and predicts is None and head.target_size is None:
        raise ConfigError(f"nothing says how many tokens {subject.name} predicts")
    if head.size is not None and head.rows is not None and head.rows != head.size:
        yield Found(f"the head's output table has {head.rows:,} rows, draft_vocab_size is {head.size:,}")
    if head.d2t is None:
        if predicts is not None and predicts != size:
            yield Found(f"the head predicts {predicts:,} tokens of {size:,}, and no d2t maps them")
        return
    yield from _map_into(head, predicts, size)


def _map_into(head: DraftHead, predicts: int | None, size: int) -> Iterator[Found]:
    """Tell what is wrong with the maps of a head whose target has `size` tokens."""
    assert head.d2t is not None
    name, shard = head.d2t.name, head.d2t.shard
    no_maps = [each for each in (head.d2t, head.t2d) if each is not None and not is_map(each)]
    for each in no_maps:
        yield Found(f"{described(each)}: it is no map of ids", file=each.shard, tensor=each.name)
    if no_maps:
        return
    stored = read_map(head.checkpoint, head.d2t)
    if predicts is not None and len(stored) != predicts:
        yield Found(f"{name} maps {len(stored):,} ids, the head predicts {predicts:,}", file=shard, tensor=name)
    added = stored + np.arange(len(stored))
    targets, others, misread = (stored, added, DISTANCES) if holds_tokens(head.d2t) else (added, stored, IDS_THEMSELVES)
    beyond = (targets < 0) | (targets >= size)
    order = np.argsort(targets, kind="stable")
    twice = np.zeros(len(targets), np.bool_)
    twice[order[1:]] = np.diff(targets[order]) == 0
    if beyond.any() or twice.any():
        is_list = len(others) > 0 and (np.diff(others) > 0).all() and others[0] >= 0 and others[-1] < size
        what = f"{plural(int(beyond.sum()), 'id')} beyond its {size:,} tokens" if beyond.any() else ""
        same = f"{plural(int(twice.sum()), 'id')} where another leads already" if twice.any() else ""
        wrong = " and ".join(filter(None, [what, same]))
        message = f"{name} leads to no token of its own: {wrong}{misread if is_list else ''}"
        yield Found(message, np.flatnonzero(beyond | twice).tolist(), file=shard, tensor=name)
    if head.t2d is None:
        return
    marked = read_map(head.checkpoint, head.t2d) != 0
    if len(marked) != size:
        yield Found(
            f"{head.t2d.name} is of {len(marked):,} tokens, the target has {size:,}",
            file=head.t2d.shard,
            tensor=head.t2d.name,
        )
        return
    if beyond.any():
        return
    reached = np.zeros(size, np.bool_)
    reached[targets] = True
    unlike = np.flatnonzero(reached != marked).tolist()
    if unlike:
        hint = misread if np.array_equal(np.flatnonzero(marked), np.sort(others)) else ""
        message = f"{name} and {head.t2d.name} disagree about {plural(len(unlike), 'token')} of the target{hint}"
        yield Found(message, unlike, file=head.t2d.shard, tensor=head.t2d.name)


IDS_THEMSELVES = "; d2t seems to hold the target's ids themselves, not the distance to them"
DISTANCES = "; d2t seems to hold the distance to the target's ids, not these themselves, as in GGUF"

DRAFT_RULES = tuple(name for name, each in RULES.items() if "target" in each.needs)
"""The rules that hold a draft against its target."""
