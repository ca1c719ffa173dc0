"""The bundled model as shipped: its files agree with each other, and its nearest tokens make sense to a person.

The files are read with numpy, tokenizers and a few lines of struct only, so that a failure here is about the model.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUT_TENSOR = "model.embed_tokens.weight"
OUTPUT_TENSOR = "lm_head.weight"
ROWS, DIM = 32_000, 128
BF16_BYTES = 2
WHEEL_LIMIT = 25_000_000
END_OF_TEXT = "<|endoftext|>"


def words(text: str) -> frozenset[str]:
    """Split a set of words that is written down as text."""
    return frozenset(text.split())


FRUITS = words(
    """
    apple apricot banana berry blackberry blueberry cherry coconut cranberry currant date elderberry fig fruit
    gooseberry grape grapefruit guava huckleberry lemon lime loganberry mango melon mulberry nectarine orange papaya
    peach pear persimmon pineapple plum pomegranate quince raisin raspberry rhubarb strawberry watermelon
    apples apricots bananas berries blackberries blueberries cherries coconuts cranberries currants dates elderberries
    figs fruits gooseberries grapes grapefruits guavas huckleberries lemons limes loganberries mangoes melons
    mulberries nectarines oranges papayas peaches pears persimmons pineapples plums pomegranates quinces raisins
    raspberries strawberries watermelons
    """
)
FLOWERS = words(
    """
    aster azalea blossom blossoms buttercup carnation carnations chrysanthemum clover crocus daffodil daffodils dahlia
    daisies daisy flower flowers geranium geraniums hibiscus honeysuckle hyacinth iris jasmine lavender lilac lilacs
    lilies lily magnolia marigold narcissus orchid orchids pansies pansy petunia poppies poppy primrose primroses rose
    roses sunflower tulip tulips violet violets
    """
)
CITIES = words(
    """
    amsterdam antwerp athens barcelona berlin bordeaux boston brussels budapest cairo calais chicago copenhagen dresden
    dublin edinburgh florence frankfurt geneva genoa hamburg istanbul lisbon london lyon lyons madrid manchester
    marseille marseilles milan montreal moscow munich naples nice orleans petersburg philadelphia prague rome rouen
    stockholm strasbourg tokyo toulouse turin venice versailles vienna warsaw washington york zurich
    """
)
CODE = words(
    """
    args assert async attributeerror await bool callable classmethod cls def del elif expr false func getattr hasattr
    indexerror int isinstance keyerror kwargs lambda len none notimplemented null obj raise ret self setattr
    staticmethod str super true try tuple typeerror valueerror yield __init__
    """
)
COLOURS = words(
    """
    amber azure black blue bluish brown colored coloured crimson emerald golden gray green greenish grey greyish indigo
    maroon mauve olive orange pink purple purplish red reddish scarlet tan turquoise violet white yellow yellowish
    """
)
NUMBERS = words(
    """
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand dozen
    """
)
HEALERS = words("physician physicians nurse nurses surgeon surgeons")
MEDICAL = HEALERS | words(
    """
    doctor doctors dr apothecary asylum clinic dentist diagnosed diagnosis disease hospital hospitals ill illness
    medical medicine medicines patient patients pharmacist prescribed prescription psychiatrist psychologist sick
    practitioner specialist surgery surgical therapist treatment midwife veterinary ambulance
    """
)
KUBERNETES = words("node nodes container containers kubelet")

ONE_TOKEN = words(
    """
    strawberry king queen pod node container banana Paris doctor green seven return man woman coffee Monday river def
    kubectl
    """
)

TEXTS = (
    "",
    " ",
    "A strawberry, please.",
    "  def f(x):\n\treturn x\r\n",
    "naïve café, 東京 🍓 \u200d\ufeff",
    "\x00\x01\x7f",
    "kubectl get pods -n kube-system   # all of them",
    END_OF_TEXT,
)


@dataclass(frozen=True)
class Model:
    """The shipped files, read: texts are those of the tokens, unit rows those of the input table that have one."""

    folder: Path
    tokenizer: Tokenizer
    input: NDArray[np.float32]
    output: NDArray[np.float32]
    unit: NDArray[np.float32]

    def id_of(self, word: str) -> int:
        """Give the id of a word with a leading space, which must be one token."""
        ids: list[int] = self.tokenizer.encode(f" {word}").ids
        assert len(ids) == 1, f"{word!r} is {len(ids)} tokens"
        return ids[0]

    def best(self, scores: NDArray[np.float32], without: list[int], number: int = 10) -> list[str]:
        """Give the texts of the tokens with the highest scores, in lower case and without their space."""
        kept = scores.copy()
        kept[without] = -np.inf
        order = np.argsort(-kept, kind="stable")[:number]
        return [self.tokenizer.decode([int(token_id)]).strip().casefold() for token_id in order]

    def neighbors(self, word: str, number: int = 10) -> list[str]:
        """Give the tokens nearest to a word by cosine in the input table, itself left out."""
        token_id = self.id_of(word)
        return self.best(self.unit @ self.unit[token_id], [token_id], number)


def read_tensor(path: Path, name: str) -> NDArray[np.float32]:
    """Decode the one BF16 tensor of a safetensors file."""
    content = path.read_bytes()
    (header_size,) = struct.unpack_from("<Q", content)
    header: dict[str, Any] = json.loads(content[8 : 8 + header_size])
    header.pop("__metadata__", None)
    assert list(header) == [name]
    assert header[name]["dtype"] == "BF16"
    assert header[name]["shape"] == [ROWS, DIM]
    assert header[name]["data_offsets"] == [0, ROWS * DIM * BF16_BYTES]
    assert len(content) == 8 + header_size + ROWS * DIM * BF16_BYTES
    bits = np.frombuffer(content, dtype="<u2", offset=8 + header_size)
    return (bits.astype(np.uint32) << 16).view(np.float32).reshape(ROWS, DIM)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def model() -> Model:
    """Read the bundled model once."""
    folder = Path(str(files("embtool") / "bundled" / "mini"))
    weight_map = read_json(folder / "model.safetensors.index.json")["weight_map"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tables = {name: read_tensor(folder / weight_map[name], name) for name in (INPUT_TENSOR, OUTPUT_TENSOR)}
    known = tables[INPUT_TENSOR][: tokenizer.get_vocab_size()]
    unit = known / np.linalg.norm(known, axis=1, keepdims=True)
    return Model(folder, tokenizer, tables[INPUT_TENSOR], tables[OUTPUT_TENSOR], unit)


def test_index_names_two_shards(model: Model) -> None:
    index = read_json(model.folder / "model.safetensors.index.json")
    assert index["metadata"]["total_size"] == 2 * ROWS * DIM * BF16_BYTES
    assert index["weight_map"] == {
        INPUT_TENSOR: "model-00001-of-00002.safetensors",
        OUTPUT_TENSOR: "model-00002-of-00002.safetensors",
    }


def test_config_agrees_with_the_tables(model: Model) -> None:
    config = read_json(model.folder / "config.json")
    assert config == {
        "architectures": ["EmbtoolStaticTables"],
        "model_type": "embtool_static",
        "vocab_size": ROWS,
        "hidden_size": DIM,
        "num_hidden_layers": 0,
        "num_attention_heads": 2,
        "head_dim": 64,
        "max_position_embeddings": 262_144,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000_000, "partial_rotary_factor": 0.25},
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
        "bos_token_id": model.tokenizer.token_to_id(END_OF_TEXT),
        "eos_token_id": model.tokenizer.token_to_id(END_OF_TEXT),
    }


def test_folder_fits_into_a_wheel(model: Model) -> None:
    assert sum(path.stat().st_size for path in model.folder.iterdir()) < WHEEL_LIMIT


def test_last_rows_have_no_token(model: Model) -> None:
    ids = sorted(model.tokenizer.get_vocab(with_added_tokens=True).values())
    assert ids == list(range(len(ids)))
    assert ROWS - 100 < len(ids) < ROWS


@pytest.mark.parametrize("text", TEXTS)
def test_any_text_survives_the_tokenizer(model: Model, text: str) -> None:
    ids = model.tokenizer.encode(text).ids
    assert model.tokenizer.decode(ids, skip_special_tokens=False) == text


def test_every_row_is_finite_and_none_is_zero(model: Model) -> None:
    for table in (model.input, model.output):
        assert np.isfinite(table).all()
        assert np.count_nonzero(table.any(axis=1)) == ROWS


@pytest.mark.parametrize("word", sorted(ONE_TOKEN))
def test_word_is_one_token(model: Model, word: str) -> None:
    assert model.id_of(word) < len(model.unit)


def test_strawberry_is_among_fruits(model: Model) -> None:
    near = model.neighbors("strawberry")
    assert sum(text in FRUITS for text in near) >= 5, near
    assert not FLOWERS.intersection(near[:3]), near


def test_king_is_among_royals(model: Model) -> None:
    assert set(model.neighbors("king")) >= {"queen", "prince"}


def test_pod_is_a_thing_of_kubernetes(model: Model) -> None:
    assert KUBERNETES.intersection(model.neighbors("pod"))


def test_paris_is_a_city_in_france(model: Model) -> None:
    near = model.neighbors("Paris")
    assert "france" in near or sum(text in CITIES for text in near) >= 3, near


def test_doctor_is_among_healers(model: Model) -> None:
    assert HEALERS.intersection(model.neighbors("doctor"))


def test_doctor_has_only_medical_words_in_front(model: Model) -> None:
    near = model.neighbors("doctor", number=5)
    assert MEDICAL.issuperset(near), near


def test_return_reads_as_code(model: Model) -> None:
    near = model.neighbors("return")
    assert sum(text in CODE for text in near) >= 3, near


def test_green_is_among_colours(model: Model) -> None:
    near = model.neighbors("green")
    assert sum(text in COLOURS - {"green"} for text in near) >= 3, near


def test_seven_is_among_numbers(model: Model) -> None:
    near = model.neighbors("seven")
    assert sum(text in NUMBERS - {"seven"} for text in near) >= 3, near


def test_king_minus_man_plus_woman_is_queen(model: Model) -> None:
    ids = [model.id_of(word) for word in ("king", "man", "woman")]
    king, man, woman = model.unit[ids]
    assert "queen" in model.best(model.unit @ (king - man + woman), ids, number=3)


@pytest.mark.parametrize(
    ("word", "context"),
    [
        ("strawberry", {"jam", "shortcake", "cream", "berry", "raspberry", "strawberries", "leaves", "beds", "ice"}),
        ("king", {"of", "queen", "throne", "majesty", "prince", "kings", "crown"}),
        ("kubectl", {"apply", "get", "describe", "create", "delete", "exec", "logs", "run", "kubectl"}),
    ],
)
def test_output_table_gives_words_found_around(model: Model, word: str, context: set[str]) -> None:
    scores = model.output[: len(model.unit)] @ model.input[model.id_of(word)]
    assert context.intersection(model.best(scores, [], number=20))
