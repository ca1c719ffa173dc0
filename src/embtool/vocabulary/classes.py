"""What is known of the classes that tokenizers are loaded by, and which of them a folder names.

A folder without tokenizer.json has only pieces and merges; how text is cut, what is folded and what is put around it
is in the code of the class that the folder names. The facts are those of Hugging Face's transformers: its classes, and
what its converters make of them. `embtool.vocabulary.describe` turns a row and the files into a
description like a tokenizer.json.

To add a class: a row in `CLASSES`; its model types in `MODEL_TYPES`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from embtool.vocabulary.cuts import BLOOM, CLIP, GPT2, QWEN2, QWEN35
from embtool.vocabulary.languages import FLORES, M2M, MBART, MBART50
from embtool.vocabulary.refused import REFUSED_TYPES
from embtool.vocabulary.settings import ROLES

TEXT = "$A"
"""Where the text stands in what is put around it."""


@dataclass(frozen=True)
class TokenizerClass:
    """How the tokenizer of a class is made.

    Attributes:
        recipe: which files it is made of, a name in `describe.RECIPES`.
        names: its special tokens, by purpose, where the folder does not name others.
        around: what is put around a text: purposes, tokens, `lang` for the language, `TEXT`; None where switches of
            the folder, `add_bos_token` and `add_eos_token`, say that.
        begins: what `add_bos_token` is where the folder does not say it.
        mask_takes_space: whether the mask takes the space before it with it.
        options: what the recipe asks for.
    """

    recipe: str
    names: Mapping[str, str] = field(default_factory=dict)
    around: tuple[str, ...] | None = None
    begins: bool = False
    mask_takes_space: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


_END_OF_TEXT = dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>")
_FAIRSEQ = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
_BERT = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_BRACKETS = {**_BERT, "bos_token": "[CLS]", "eos_token": "[SEP]"}
_SENTENCE = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
_T5 = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_CLS_SEP = ("cls_token", TEXT, "sep_token")
_HEAD = ("<s>", "<pad>", "</s>", "<unk>")


def _byte_level(names: Mapping[str, str], around: tuple[str, ...] | None = None, **options: Any) -> TokenizerClass:
    """Describe byte-level BPE.

    `cut` are expressions, GPT-2's where there are none, `folded` what is done first,
    `bare` whether special tokens are found as they stand, whatever a file says of spaces beside them.
    """
    return TokenizerClass("merges", names, around, mask_takes_space="mask_token" in names, options=options)


def _bert(names: Mapping[str, str], around: tuple[str, ...] = _CLS_SEP, **options: Any) -> TokenizerClass:
    """Describe WordPiece; `lowercase` where the class decides that, `cleans` where the folder may say no to it."""
    return TokenizerClass("words", names, around, mask_takes_space=names["mask_token"].startswith("<"), options=options)


def _pieces(
    names: Mapping[str, str],
    around: tuple[str, ...] | None,
    *,
    begins: bool = False,
    mask_takes_space: bool = True,
    **options: Any,
) -> TokenizerClass:
    """Describe what is made of a SentencePiece model.

    `head` stands in the place of the model's first `replaced` pieces, `tail` behind them; `unknown` is the id of the
    unknown token where it is not the model's; `folds` names how text is folded; `no_prefix_switch` says that a space is
    put before a text whatever `add_prefix_space` says, `prefixed` where, if not behind each added token too.
    """
    return TokenizerClass("pieces", names, around, begins, mask_takes_space, options)


_PREFIXED: dict[str, Any] = {"no_prefix_switch": True}
_FAIRSEQ_PIECES: dict[str, Any] = {"head": _HEAD, "replaced": 3, "unknown": 3}
_ROBERTA = _byte_level(_FAIRSEQ, _CLS_SEP)
_ALBERT = _pieces({**_BRACKETS, "unk_token": "<unk>", "pad_token": "<pad>"}, _CLS_SEP, folds="albert", lowercase=True)
_LLAMA = _pieces(_SENTENCE, None, begins=True, folds="llama", byte_fallback=True, unknown=0)
_FILLED = ("\u2581<PRE>", "\u2581<MID>", "\u2581<SUF>", "\u2581<EOT>", "<FILL_ME>")
_GEMMA = _pieces(
    {"unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "mask_token": "<mask>"},
    None,
    begins=True,
    mask_takes_space=False,
    folds="gemma",
    byte_fallback=True,
)
_DEBERTA_V2 = _pieces(_BRACKETS, _CLS_SEP, mask_takes_space=False, folds="deberta")
_GPT2 = _byte_level(_END_OF_TEXT)
_CODES = TokenizerClass("codes", _FAIRSEQ, _CLS_SEP, options={"unknown_options": ("normalization",)})
_QWEN = {"unk_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}

CLASSES: Mapping[str, TokenizerClass] = MappingProxyType(
    {
        **dict.fromkeys(("GPT2Tokenizer", "CodeGenTokenizer"), _GPT2),
        "GPTNeoXTokenizer": _byte_level({**_END_OF_TEXT, "pad_token": "<|padding|>"}, folded=("NFC",)),
        "BloomTokenizer": _byte_level({**_SENTENCE, "pad_token": "<pad>"}, cut=(BLOOM,)),
        "Qwen2Tokenizer": _byte_level(_QWEN, folded=("NFC",), cut=(QWEN2,), bare=True),
        "Qwen3_5Tokenizer": _byte_level(_QWEN, folded=("NFC",), cut=(QWEN35,)),
        "CohereTokenizer": TokenizerClass(
            "merges",
            {
                "unk_token": "<UNK>",
                "bos_token": "<BOS_TOKEN>",
                "eos_token": "<|END_OF_TURN_TOKEN|>",
                "pad_token": "<PAD>",
                "cls_token": "<CLS>",
                "sep_token": "<SEP>",
                "mask_token": "<MASK_TOKEN>",
            },
            begins=True,
            options={"folded": ("NFC",), "cut": (r"\p{N}", GPT2)},
        ),
        **dict.fromkeys(
            ("RobertaTokenizer", "BartTokenizer", "LEDTokenizer", "LongformerTokenizer", "MvpTokenizer"), _ROBERTA
        ),
        "LukeTokenizer": replace(_ROBERTA, options={"more": ("<ent>", "<ent2>")}),
        "LayoutLMv3Tokenizer": _byte_level(_FAIRSEQ, _CLS_SEP, prefix_space=True),
        "MarkupLMTokenizer": _byte_level(_FAIRSEQ, _CLS_SEP),
        "BlenderbotTokenizer": _byte_level(_FAIRSEQ, (TEXT, "eos_token"), prefix_space=True),
        "DebertaTokenizer": _byte_level(_BRACKETS, _CLS_SEP),
        "WhisperTokenizer": _byte_level(_END_OF_TEXT, ("speech", TEXT, "eos_token")),
        "CLIPTokenizer": _byte_level(
            {**_END_OF_TEXT, "bos_token": "<|startoftext|>", "pad_token": "<|endoftext|>"},
            ("bos_token", TEXT, "eos_token"),
            folded=("NFC", "spaces", "Lowercase"),
            kept=CLIP,
            suffix="</w>",
        ),
        "OpenAIGPTTokenizer": TokenizerClass(
            "merges", {"unk_token": "<unk>"}, (TEXT,), options={"suffix": "</w>", "bert": {"lowercase": True}}
        ),
        "HerbertTokenizer": TokenizerClass(
            "merges",
            {name: _FAIRSEQ[name] for name in ("cls_token", "unk_token", "pad_token", "mask_token", "sep_token")},
            _CLS_SEP,
            options={"suffix": "</w>", "bert": {"lowercase": False, "strip_accents": False}},
        ),
        **dict.fromkeys(
            (
                *("BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "LxmertTokenizer"),
                *("ConvBertTokenizer", "SqueezeBertTokenizer", "LayoutLMTokenizer", "LayoutLMv2Tokenizer"),
                *("RetriBertTokenizer", "RealmTokenizer", "NezhaTokenizer", "MiniLMTokenizer"),
            ),
            _bert(_BERT),
        ),
        **dict.fromkeys(
            ("DPRQuestionEncoderTokenizer", "DPRContextEncoderTokenizer", "DPRReaderTokenizer"),
            _bert(_BERT, lowercase=True),
        ),
        "SplinterTokenizer": _bert({**_BERT, "question_token": "[QUESTION]"}),
        "MPNetTokenizer": _bert({**_FAIRSEQ, "unk_token": "[UNK]"}),
        "FunnelTokenizer": _bert(
            {**_SENTENCE, "sep_token": "<sep>", "pad_token": "<pad>", "cls_token": "<cls>", "mask_token": "<mask>"},
            cleans=True,
        ),
        "EsmTokenizer": TokenizerClass(
            "letters",
            {
                "unk_token": "<unk>",
                "cls_token": "<cls>",
                "pad_token": "<pad>",
                "mask_token": "<mask>",
                "eos_token": "<eos>",
            },
            ("cls_token", TEXT, "eos_token"),
        ),
        "AlbertTokenizer": _ALBERT,
        "FNetTokenizer": _pieces(_ALBERT.names, _CLS_SEP, folds="albert", lowercase=False, keep_accents=True),
        "XLNetTokenizer": _pieces(
            {**_FAIRSEQ, "sep_token": "<sep>", "cls_token": "<cls>"},
            (TEXT, "sep_token", "cls_token"),
            folds="albert",
            lowercase=False,
            more=("<eop>", "<eod>"),
            **_PREFIXED,
        ),
        "RemBertTokenizer": _pieces(
            _ALBERT.names, _CLS_SEP, folds="albert", lowercase=False, keep_accents=True, commas=False, doubled=True
        ),
        "T5Tokenizer": _pieces(_T5, (TEXT, "eos_token"), extra_ids=100, **_PREFIXED),
        "MT5Tokenizer": _pieces(_T5, (TEXT, "eos_token"), extra_ids=0, **_PREFIXED),
        "UdopTokenizer": _pieces(_T5, (TEXT, "eos_token"), **_PREFIXED),
        "ReformerTokenizer": _pieces({"eos_token": "</s>", "unk_token": "<unk>"}, (TEXT,), **_PREFIXED),
        "BigBirdTokenizer": _pieces({**_BERT, **_SENTENCE, "pad_token": "<pad>"}, _CLS_SEP),
        "PegasusTokenizer": _pieces(
            {**_T5, "mask_token": "<mask_2>"}, (TEXT, "eos_token"), mask_takes_space=False, pegasus=True, **_PREFIXED
        ),
        **dict.fromkeys(
            ("XLMRobertaTokenizer", "LayoutXLMTokenizer"),
            _pieces(_FAIRSEQ, _CLS_SEP, **_FAIRSEQ_PIECES, tail=("<mask>",)),
        ),
        "BarthezTokenizer": _pieces(_FAIRSEQ, _CLS_SEP),
        "CamembertTokenizer": _pieces(
            _FAIRSEQ,
            _CLS_SEP,
            head=("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"),
            replaced=1,
            unknown=3,
            tail=("<mask>",),
            more=("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"),
        ),
        "MBartTokenizer": _pieces(
            _FAIRSEQ,
            (TEXT, "eos_token", "lang"),
            **_FAIRSEQ_PIECES,
            tail=(*MBART, "<mask>"),
            more=MBART,
            language="en_XX",
            **_PREFIXED,
        ),
        "MBart50Tokenizer": _pieces(
            _FAIRSEQ,
            ("lang", TEXT, "eos_token"),
            **_FAIRSEQ_PIECES,
            tail=(*MBART, *MBART50, "<mask>"),
            more=(*MBART, *MBART50),
            language="en_XX",
            **_PREFIXED,
        ),
        "NllbTokenizer": _pieces(
            _FAIRSEQ,
            ("lang", TEXT, "eos_token"),
            **_FAIRSEQ_PIECES,
            tail=(*FLORES, "<mask>"),
            more=FLORES,
            language="eng_Latn",
            **_PREFIXED,
        ),
        "XGLMTokenizer": _pieces(
            {name: _FAIRSEQ[name] for name in ROLES if name != "mask_token"},
            ("eos_token", TEXT),
            **_FAIRSEQ_PIECES,
            tail=tuple(f"<madeupword{place}>" for place in range(7)),
            more=tuple(f"<madeupword{place}>" for place in range(7)),
        ),
        "SeamlessM4TTokenizer": _pieces(
            {name: token for name, token in _FAIRSEQ.items() if name != "mask_token"},
            ("lang", TEXT, "eos_token"),
            head=("<pad>", "<unk>", "<s>", "</s>"),
            replaced=3,
            unknown=1,
            language="eng",
            written="__{}__",
            prefixed="first",
            **_PREFIXED,
        ),
        "DebertaV2Tokenizer": _DEBERTA_V2,
        **dict.fromkeys(("LlamaTokenizer", "Phi3Tokenizer", "YiTokenizer"), _LLAMA),
        "CodeLlamaTokenizer": replace(_LLAMA, options={**_LLAMA.options, "more": _FILLED}),
        **dict.fromkeys(("BaichuanTokenizer", "InternLMTokenizer", "InternLM2Tokenizer", "XverseTokenizer"), _LLAMA),
        "GemmaTokenizer": _GEMMA,
        "MarianTokenizer": TokenizerClass("marian", _T5, (TEXT, "eos_token"), options={"code": True}),
        "M2M100Tokenizer": TokenizerClass(
            "mapped",
            {**_SENTENCE, "sep_token": "</s>", "pad_token": "<pad>"},
            ("lang", TEXT, "eos_token"),
            options={"languages": M2M, "language": "en", "written": "__{}__"},
        ),
        "Speech2TextTokenizer": TokenizerClass(
            "mapped",
            {**_SENTENCE, "pad_token": "<pad>"},
            (TEXT, "eos_token"),
            options={"unknown_options": ("lang_codes",)},
        ),
        "SiglipTokenizer": TokenizerClass(
            "library",
            {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"},
            (TEXT, "eos_token"),
            options={"folds": "siglip", "strips": ("eos_token", "unk_token", "pad_token")},
        ),
        "BertGenerationTokenizer": TokenizerClass(
            "library", {**_SENTENCE, "pad_token": "<pad>", "sep_token": "<::::>"}, (TEXT,)
        ),
        "GPTSw3Tokenizer": TokenizerClass(
            "library",
            {"eos_token": "<|endoftext|>", "unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>"},
            (TEXT,),
            options={"folds": "sw3", "fills": True},  # a token that is `null` is the class's own
        ),
        "PLBartTokenizer": TokenizerClass(
            "library",
            _FAIRSEQ,
            (TEXT, "eos_token", "lang"),
            options={"numbered": "shifted", "written": "__{}__"},
        ),
        "BartphoTokenizer": TokenizerClass(
            "library", _FAIRSEQ, _CLS_SEP, mask_takes_space=True, options={"numbered": "listed"}
        ),
        "SpeechT5Tokenizer": TokenizerClass(
            "library",
            {**_SENTENCE, "pad_token": "<pad>"},
            (TEXT, "eos_token"),
            options={"unknown_options": ("normalize",)},
        ),
        **dict.fromkeys(("PhobertTokenizer", "BertweetTokenizer"), _CODES),
        "CTRLTokenizer": TokenizerClass("subwords", {"unk_token": "<unk>"}, (TEXT,), options={"words": "unicode"}),
        "BlenderbotSmallTokenizer": TokenizerClass(
            "subwords",
            {"bos_token": "__start__", "eos_token": "__end__", "unk_token": "__unk__", "pad_token": "__null__"},
            (TEXT,),
            options={"prepares": "blenderbot", "words": "unicode"},
        ),
        "ByT5Tokenizer": TokenizerClass(
            "bytes",
            _T5,
            (TEXT, "eos_token"),
            options={
                "reserved": ("pad_token", "eos_token", "unk_token"),
                "takes_space": True,
                "hides": True,
                "extra_ids": 125,
                "ends_once": True,
            },
        ),
        "PerceiverTokenizer": TokenizerClass(
            "bytes",
            {
                name: token
                for name, token in {**_BRACKETS, "bos_token": "[BOS]", "eos_token": "[EOS]"}.items()
                if name != "unk_token"
            },
            _CLS_SEP,
            options={"reserved": ("pad_token", "bos_token", "eos_token", "mask_token", "cls_token", "sep_token")},
        ),
        "DiaTokenizer": TokenizerClass(
            "bytes",
            {"pad_token": "<pad>", "unk_token": "<pad>"},
            (TEXT,),
            options={"reserved": ("pad_token", "[S1]", "[S2]"), "offset": 0, "hides": True},
        ),
        "RwkvTokenizer": TokenizerClass("world"),
        **dict.fromkeys(("QWenTokenizer", "TikTokenTokenizer"), TokenizerClass("ranks")),
    }
)
"""The classes whose text can be split, by the name without `Fast`."""

SAYS_NOTHING = frozenset(
    {
        *("PreTrainedTokenizer", "PreTrainedTokenizerFast", "PreTrainedTokenizerBase", "TokenizersBackend"),
        *("PythonBackend", "SentencePieceBackend", "MistralCommonBackend", "AutoTokenizer"),
    }
)
"""Names of classes that are not those of one kind of tokenizer."""

MODEL_TYPES: Mapping[str, str] = MappingProxyType(
    {
        kind: name
        for name, kinds in {
            "GPT2Tokenizer": (
                "gpt2 gpt_neo gptj opt phi codegen dbrx starcoder2 blip-2 instructblip instructblipvideo emu3 jais2"
                " hyperclovax_vision_v2"
            ),
            "GPTNeoXTokenizer": "gpt_neox mpt olmo olmoe mamba mamba2 falcon_mamba rwkv xlstm",
            "BloomTokenizer": "bloom",
            "Qwen2Tokenizer": (
                "qwen2 qwen2_moe qwen2_vl qwen2_5_vl qwen2_audio qwen2_5_omni qwen3 qwen3_moe qwen3_next qwen3_vl"
                " qwen3_vl_moe qwen3_omni_moe internvl colqwen2 ovis2 audioflamingo3 cosmos3_omni dots3_note"
                " fun_asr_nano hunyuan_vl lighton_ocr moss_transcribe_diarize qianfan_ocr qwen3_asr vibevoice"
            ),
            "Qwen3_5Tokenizer": "qwen3_5 qwen3_5_text qwen3_5_moe qwen3_5_moe_text qwen4_exp",
            "CohereTokenizer": "cohere cohere2 aya_vision",
            "RobertaTokenizer": (
                "roberta roberta-prelayernorm ibert data2vec-text bridgetower clap lilt mra longformer mega"
            ),
            "BartTokenizer": "bart florence2",
            "LEDTokenizer": "led",
            "LukeTokenizer": "luke",
            "PLBartTokenizer": "plbart",
            "BartphoTokenizer": "bartpho",
            "MvpTokenizer": "mvp",
            "LayoutLMv3Tokenizer": "layoutlmv3",
            "MarkupLMTokenizer": "markuplm",
            "BlenderbotTokenizer": "blenderbot",
            "DebertaTokenizer": "deberta",
            "WhisperTokenizer": "whisper",
            "CLIPTokenizer": (
                "clip clip_text_model aimv2 clipseg groupvit omdet-turbo oneformer owlvit owlv2 sam3 sam3_video xclip"
            ),
            "OpenAIGPTTokenizer": "openai-gpt",
            "HerbertTokenizer": "herbert",
            "BertTokenizer": (
                "bert align bark blip bros chinese_clip convbert distilbert electra ernie flava git grounding-dino"
                " layoutlm lxmert megatron-bert mm-grounding-dino mobilebert nezha nomic_bert qdqbert realm retribert"
                " squeezebert tvp vilt visual_bert"
            ),
            "SplinterTokenizer": "splinter",
            "LayoutLMv2Tokenizer": "layoutlmv2",
            "DPRQuestionEncoderTokenizer": "dpr",
            "MPNetTokenizer": "mpnet",
            "FunnelTokenizer": "funnel",
            "EsmTokenizer": "esm",
            "AlbertTokenizer": "albert yoso",
            "FNetTokenizer": "fnet",
            "XLNetTokenizer": "xlnet",
            "RemBertTokenizer": "rembert",
            "T5Tokenizer": "t5 switch_transformers musicgen musicgen_melody longt5 pix2struct pop2piano",
            "MT5Tokenizer": "mt5 umt5",
            "UdopTokenizer": "udop",
            "ReformerTokenizer": "reformer",
            "BertGenerationTokenizer": "bert-generation",
            "BigBirdTokenizer": "big_bird",
            "PegasusTokenizer": "pegasus pegasus_x bigbird_pegasus",
            "XLMRobertaTokenizer": "xlm-roberta xlm-roberta-xl xmod gte jina_embeddings_v3 metaclip_2 trocr",
            "LayoutXLMTokenizer": "layoutxlm",
            "CamembertTokenizer": "camembert",
            "BarthezTokenizer": "barthez",
            "MBartTokenizer": "mbart",
            "MBart50Tokenizer": "mbart50",
            "NllbTokenizer": "nllb nllb-moe",
            "XGLMTokenizer": "xglm",
            "SeamlessM4TTokenizer": "seamless_m4t seamless_m4t_v2",
            "DebertaV2Tokenizer": "deberta-v2",
            "LlamaTokenizer": "llama mistral mixtral phi3 idefics idefics2 stablelm-llama baichuan internlm internlm2",
            "CodeLlamaTokenizer": "code_llama",
            "GemmaTokenizer": (
                "gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text paligemma recurrent_gemma shieldgemma2 t5gemma"
                " diffusion_gemma zaya"
            ),
            "MarianTokenizer": "marian",
            "M2M100Tokenizer": "m2m_100",
            "Speech2TextTokenizer": "speech_to_text",
            "SiglipTokenizer": "siglip",
            "GPTSw3Tokenizer": "gpt-sw3",
            "SpeechT5Tokenizer": "speecht5",
            "PhobertTokenizer": "phobert",
            "BertweetTokenizer": "bertweet",
            "CTRLTokenizer": "ctrl",
            "BlenderbotSmallTokenizer": "blenderbot-small",
            "ByT5Tokenizer": "byt5",
            "PerceiverTokenizer": "perceiver",
            "DiaTokenizer": "dia",
            "QWenTokenizer": "qwen",
            "RwkvTokenizer": "rwkv5 rwkv6 rwkv7 rwkv_world",
        }.items()
        for kind in kinds.split()
    }
)
"""Which class a model of each type has, where the folder names none."""


def named_class(settings: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """Return the class that a folder names in tokenizer_config.json or config.json, without `Fast`; None if none.

    A class that is known wins over one of the repository's own code, and both over what follows from the model type.
    """
    mapped = settings.get("auto_map")
    mapped = mapped.get("AutoTokenizer") if isinstance(mapped, dict) else mapped
    own = next((name for name in mapped if name), None) if isinstance(mapped, list) else mapped
    own = own.rsplit(".", 1)[-1] if isinstance(own, str) else None
    names = [
        name.removesuffix("Fast")
        for name in (settings.get("tokenizer_class"), own, config.get("tokenizer_class"))
        if isinstance(name, str) and name and name.removesuffix("Fast") not in SAYS_NOTHING and name not in SAYS_NOTHING
    ]
    kind = config.get("model_type")
    known = [name for name in names if name in CLASSES]
    if known or names:
        return (known or names)[0]
    return MODEL_TYPES.get(kind, REFUSED_TYPES.get(kind)) if isinstance(kind, str) else None
