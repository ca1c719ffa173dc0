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
DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    (
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
)
DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}")
PUNCTUATION = r"[\p{P}\$\+<=>\^~\|`]+"
DIGITS = r"\p{N}"

CUTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("gpt-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "phi-2", "jina-es", "jina-de", "gigachat"),
            (GPT2,),
        ),
        **dict.fromkeys(("jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert"), (GPT2,)),
        **dict.fromkeys(
            ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"), (LLAMA3,)
        ),
        **dict.fromkeys(("dbrx", "smaug-bpe", "chatglm-bpe", "glm4"), (LLAMA3,)),
        **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "grok-2"), (QWEN2,)),
        "qwen35": (QWEN35,),
        **dict.fromkeys(("gpt-4o", "llama4", "o200k", "minimax-m2"), (GPT4O,)),
        **dict.fromkeys(
            ("starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"), (DIGITS, GPT2)
        ),
        "tekken": (TEKKEN,),
        **dict.fromkeys(("deepseek-v3", "hunyuan-dense"), DEEPSEEK_V3),
        "deepseek-coder": DEEPSEEK_CODER,
        "falcon": (PUNCTUATION, GPT2, "[0-9][0-9][0-9]"),
    }
)
"""How text is cut before it is merged, by `tokenizer.ggml.pre`: each expression cuts what the one before it left
(llama-vocab.cpp, `llm_tokenizer_bpe`)."""

WHOLE_WORDS_FIRST = frozenset({"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "lfm2"})
"""Where a cut-out text that is a token is that token, whatever the merges say."""

EXPRESSIONS = frozenset(
    {
        *(cut for cuts in CUTS.values() for cut in cuts),
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
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
