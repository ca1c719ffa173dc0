"""Classes whose text cannot be split here, and what they do: their tokens are listed all the same, where they have any.

A class that is neither here nor in `embtool.vocabulary.classes` is not known at all.
"""

from collections.abc import Mapping
from types import MappingProxyType

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        name: does
        for names, does in (
            (
                ("BioGptTokenizer", "FlaubertTokenizer", "FSMTTokenizer", "XLMTokenizer"),
                "cuts text by the rules of Moses, as the sacremoses library has them",
            ),
            (("CpmTokenizer", "CpmAntTokenizer", "RoFormerTokenizer"), "cuts Chinese with the jieba library"),
            (("GPTNeoXJapaneseTokenizer",), "cuts Japanese, and writes emoji, by rules of its own"),
            (
                ("CanineTokenizer",),
                "numbers letters by their code points, and the rows of CANINE's tables are those of hashes of them",
            ),
            (("MyT5Tokenizer",), "writes bytes as others, by tables of its own"),
            (("TapasTokenizer",), "puts the cells of a table together"),
            (("RoCBertTokenizer",), "numbers the shape and the sound of a word too"),
            (("ProphetNetTokenizer",), "folds text in a way of its own"),
            (("RagTokenizer",), "is two others, in folders of their own"),
            (("MgpstrTokenizer",), "writes what stands in a picture, letter by letter"),
            (("Pop2PianoTokenizer",), "writes notes of music, not text"),
            (
                ("Wav2Vec2CTCTokenizer", "Wav2Vec2PhonemeCTCTokenizer"),
                "writes what is heard, letter by letter or sound by sound",
            ),
            (
                ("VitsTokenizer", "FastSpeech2ConformerTokenizer", "ClvpTokenizer"),
                "writes what is to be spoken, by rules of its own",
            ),
            (("BertJapaneseTokenizer",), "cuts text with a dictionary of Japanese, such as MeCab's"),
            (("NougatTokenizer",), "is read from a tokenizer.json only"),
            (("MLukeTokenizer",), "numbers pieces in a way of its own, and marks entities"),
        )
        for name in names
    }
)
"""What each of them does, as it follows `its class, NAME, ...`."""

REFUSED_TYPES: Mapping[str, str] = MappingProxyType(
    {
        kind: name
        for name, kinds in {
            "BertJapaneseTokenizer": "bert-japanese",
            "BioGptTokenizer": "biogpt",
            "CanineTokenizer": "canine",
            "ClvpTokenizer": "clvp",
            "CpmAntTokenizer": "cpmant",
            "CpmTokenizer": "cpm",
            "FastSpeech2ConformerTokenizer": "fastspeech2_conformer",
            "FlaubertTokenizer": "flaubert",
            "FSMTTokenizer": "fsmt",
            "GPTNeoXJapaneseTokenizer": "gpt_neox_japanese",
            "MgpstrTokenizer": "mgp-str",
            "MLukeTokenizer": "mluke",
            "MyT5Tokenizer": "myt5",
            "NougatTokenizer": "nougat pp_formulanet",
            "ProphetNetTokenizer": "prophetnet",
            "RagTokenizer": "rag",
            "RoCBertTokenizer": "roc_bert",
            "RoFormerTokenizer": "roformer",
            "TapasTokenizer": "tapas",
            "VitsTokenizer": "vits",
            "Wav2Vec2CTCTokenizer": (
                "data2vec-audio hubert unispeech unispeech-sat wav2vec2 wav2vec2-bert wav2vec2-conformer"
            ),
            "Wav2Vec2PhonemeCTCTokenizer": "wav2vec2_phoneme",
            "XLMTokenizer": "xlm",
        }.items()
        for kind in kinds.split()
    }
)
"""Which of these a model of each type has, where the folder names none."""
