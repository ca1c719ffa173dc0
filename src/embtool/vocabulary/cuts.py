"""How byte-level tokenizers cut text into words before they merge bytes: the expressions, and who uses which.

The names are llama.cpp's (`tokenizer.ggml.pre`, llama-vocab.cpp); the expressions are those of the models' own
tokenizer.json files.
"""

from collections.abc import Mapping
from types import MappingProxyType

CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
BLOOM = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_ENDS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _ENDS
QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _ENDS
QWEN35 = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _of_case(text: str, letters: str) -> str:
    """Write an expression with llama.cpp's letters of a case: those of ASCII, and all others of both."""
    upper, lower = rf"[{letters}&&[^a-z]]", rf"[{letters}&&[^A-Z]]"
    return text.replace(_UPPER, upper).replace(_LOWER, lower)


DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    (
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
)
_SPARK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"
)
DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}")
_CASED = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-"
    "\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-"
    "\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf"
    "\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-"
    "\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc"
    "\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115"
    "\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e"
    "\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-"
    "\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-"
    "\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
DEEPSEEK_LLM = (
    r"[\r\n]",
    rf"\s?[{_CASED}]+",
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
    r"\s+$",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
    r"\p{N}+",
)
_YOUTU = (
    "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-"
    "\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
)
_AFMOE = (
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-"
    "\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+"
)
_UNCASED = rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+{_CONTRACTIONS}?|" + GPT4O[GPT4O.index(r"\p{N}{1,3}") :]
"""GPT-4o's, where llama.cpp takes letters of either case for letters of both."""
_JAIS2 = LLAMA3.removesuffix(r"|\s+(?!\S)|\s+") + "".join(
    rf"|\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4)
)
_UPPER_HAN, _LOWER_HAN = _UPPER[:-1] + r"&&[^\p{Han}]]", _LOWER[:-1] + r"&&[^\p{Han}]]"
KIMI = (
    rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER_HAN}*{_LOWER_HAN}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER_HAN}+{_LOWER_HAN}*{_CONTRACTIONS}?|\p{{N}}{{1,3}}" + _ENDS
)
_KIMI_UNCASED = rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}&&[^\p{{Han}}]]+{_CONTRACTIONS}?|\p{{N}}{{1,3}}" + _ENDS
"""As llama.cpp cuts it: not where small letters become capitals."""
_EXAONE_MOE = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)
_SEED_CODER = (
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}"
    r"| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BAILING = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
THOUSANDS = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))"
"""Digits in threes, counted from the last."""
LINES = r"[^\n]+|[\n]+"
PUNCTUATION = r"[\p{P}\$\+<=>\^~\|`]+"
DIGITS = r"\p{N}"

CUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "default": (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
        **dict.fromkeys(
            ("gpt-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "phi-2", "jina-es", "jina-de", "gigachat"),
            (GPT2,),
        ),
        **dict.fromkeys(("jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "exaone4"), (GPT2,)),
        **dict.fromkeys(("jina-v1-en", "jina-v2-code", "roberta-bpe"), (GPT2,)),
        **dict.fromkeys(
            ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"), (LLAMA3,)
        ),
        **dict.fromkeys(("jina-v5-nano", "dbrx", "smaug-bpe", "chatglm-bpe", "glm4", "glm5"), (LLAMA3,)),
        "jais-2": (_JAIS2 + r"|\s{1,2}(?!\S)|\s{1}",),
        "minicpm5": (r"\p{N}{1,3}", LLAMA3.replace("{1,3}", "+")),
        **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "grok-2"), (QWEN2,)),
        **dict.fromkeys(("kormo", "f2llmv2", "solar-open"), (QWEN2,)),
        "ufakzeka": (QWEN2.removeprefix(_CONTRACTIONS + "|"),),
        "laguna": (LINES, QWEN2),
        "qwen35": (QWEN35,),
        **dict.fromkeys(("gpt-4o", "llama4", "o200k", "minimax-m2", "kanana2", "talkie"), (_of_case(GPT4O, r"\p{L}"),)),
        "granite-embed-multi-97m": (_of_case(GPT4O, r"\p{L}\p{M}"),),
        **dict.fromkeys(("tiny_aya", "cohere2moe"), (r"[0-9]{1,3}(?=(?:[0-9]{3})*(?![A-Za-z0-9_]))", _UNCASED)),
        "youtu": (_YOUTU, _UNCASED.replace(r"\p{N}{1,3}", r"\p{N}")),
        "kimi-k2": (_KIMI_UNCASED,),
        **dict.fromkeys(
            ("starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"),
            (DIGITS, GPT2),
        ),
        "exaone-moe": (_EXAONE_MOE,),
        **dict.fromkeys(("bailingmoe", "bailingmoe2", "llada-moe"), (_BAILING,)),
        "seed-coder": (_SEED_CODER,),
        "tekken": (_of_case(TEKKEN, r"\p{L}"),),
        **dict.fromkeys(("deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"), DEEPSEEK_V3),
        "spark2_5": (*DEEPSEEK_V3[:2], _SPARK, DIGITS),
        "afmoe": (THOUSANDS, _AFMOE, DEEPSEEK_V3[2]),
        "deepseek-coder": DEEPSEEK_CODER,
        "deepseek-llm": DEEPSEEK_LLM,
        "falcon": (PUNCTUATION, GPT2, "[0-9][0-9][0-9]"),
        "viking": (BLOOM, DIGITS),
        "chameleon": (
            "<sentinel:[0-9]+>",
            "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
            "([\t\n]|    |  )",
            DIGITS,
            r"[\p{P}!-/:-@\[-`{-~]",
            GPT2,
        ),
    }
)
"""How text is cut before it is merged, by `tokenizer.ggml.pre`: each expression cuts what the one before it left
(llama-vocab.cpp, `llm_tokenizer_bpe`)."""

LONG_CUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("bloom", "poro-chat", "gpt3-finnish"), (BLOOM,)),
        "superbpe": (r"\p{N}+", THOUSANDS),
        **dict.fromkeys(("gemma4", "granite-embed-multi-311m", "sarvam-moe"), (LINES,)),
        "whitespace": (),
    }
)
"""The same, where a part may be a word with its marks, or many words."""

WITHOUT_BYTES = frozenset({"gemma4", "granite-embed-multi-311m", "sarvam-moe", "whitespace"})
"""Where pieces are spelled in UTF-8, with `▁` for a space, not byte by byte."""

BEGINNING = frozenset(
    {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"}
    | {"tekken", "chameleon", "gemma4", "granite-embed-multi-311m"}
)
"""Where a sequence has a beginning, unless the file says otherwise."""

WHOLE_WORDS_FIRST = frozenset(
    {"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"}
    | {"tekken", "glm4", "glm5", "minicpm5", "youtu", "granite-embed-multi-97m"}
)
"""Where a cut-out text that is a token is that token, whatever the merges say."""

HANGUL: Mapping[str, str] = MappingProxyType(
    {f"[{chr(0xAC00 + 588 * place)}-{chr(0xAC00 + 588 * place + 587)}]": chr(0x1100 + place) for place in range(19)}
)
"""Syllables, and the letter that each of them begins with: all that llama.cpp leaves of one where it strips accents."""

MARKS = r"\p{M}"
EDGES = r"\A | \z"
"""A space at either end of a text."""
ONLY_SPACES = r"\A\u2581(?= +\z)"
"""A mark that was put before spaces alone."""

WHOLE_BREAKS_FIRST = frozenset({"gemma4", "granite-embed-multi-311m"})
"""Where that holds for line breaks only."""

LOOKING_AHEAD = {THOUSANDS, *CUTS["tiny_aya"][:1], r"\s+$"}
"""Expressions that look ahead over a whole run of digits or spaces from many of its places."""

EXPRESSIONS = frozenset(
    {
        *({cut for cuts in (*CUTS.values(), *LONG_CUTS.values()) for cut in cuts} - LOOKING_AHEAD),
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        *HANGUL,
        MARKS,
        EDGES,
        ONLY_SPACES,
        *(GPT4O, TEKKEN, KIMI),
        CLIP,
        BLOOM,
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
        r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"\p{N}{1,3}",
        r"\p{N}",
        r"[0-9]",
        r"[0-9]{3}",
        r"\d{1,3}",
        r"\s+",
        r"\s",
        r"\n+",
        r"[\r\n]",
        r"[\r\n]+",
        " {2,}",
        " +",
    }
)
"""The expressions of published tokenizers: each goes over a text once, and comes back over a run of spaces at most.
Text is cut by any other one in a process of its own."""

ACROSS = frozenset({_EXAONE_MOE, LINES, EDGES, ONLY_SPACES})
"""Those of them that find something around a space which follows a word, or look for the ends of a text."""

AT_SPACES = frozenset(cut for cut in EXPRESSIONS - ACROSS if cut.endswith(r"|\s+(?!\S)|\s+"))
"""Those that cut before each such space: they find every space, and none after anything else."""
