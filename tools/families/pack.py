"""Facts as observed -> the compact recording that embtool carries, one line a type."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from families import tiny

RECORDING = Path(__file__).parents[2] / "src" / "embtool" / "configs" / "families.json"
KEPT = (
    "text",
    "text_type",
    "tied",
    "tie_at",
    "tie_by_all",
    "input",
    "output",
    "encoder",
    "embedding_size",
    "type_vocab_size",
    "scale_embedding",
    "embedding_multiplier",
)
WAY = re.compile(
    r"(?P<layout>\S+) (?P<end>first|last) (?P<clockwise>clockwise )?(?P<start>\d) of (?P<width>\d+) "
    r"pairs (?P<pairs>\d+)"
)


def pack(observed: Mapping[str, Mapping[str, Any]], *, beside: bool = False) -> None:
    """Write the recording; `beside` the other types of the one that is there."""
    there = json.loads(RECORDING.read_text(encoding="utf-8"))["types"] if beside else {}
    types = there | {kind: entry(kind, facts) for kind, facts in observed.items()}
    lines = [
        f" {json.dumps(kind)}: {json.dumps(found, separators=(',', ':'), sort_keys=True)}"
        for kind, found in sorted(types.items())
    ]
    head = f'{{"transformers": "{transformers.__version__}", "types": {{\n'
    RECORDING.write_text(head + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


def entry(kind: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of one type's facts."""
    found = {key: facts[key] for key in KEPT if facts.get(key) not in (None, []) or (key == "tie_at" and key in facts)}
    multiplier = getattr(tiny.whole(kind), "scale_emb", None)
    if isinstance(multiplier, int | float):
        found["embedding_multiplier"] = multiplier
    apart = [name for name in facts.get("flipped_input", ()) if name not in facts.get("input", ())]
    if facts.get("tied") and apart:
        found["untied_input"] = apart
    for role in ("input", "output"):
        found[role] = list(dict.fromkeys((*facts.get(role, ()), *facts.get(f"flipped_{role}", ()))))
    if not facts.get("tied"):  # then the other way round is tied, and its output table is the input table
        apart = [name for name in facts.get("flipped_output", ()) if "embed" not in name and name not in found["input"]]
        found["output"] = list(dict.fromkeys((*apart, *facts.get("output", ()))))
    if found.get("scale_embedding") is False:
        del found["scale_embedding"]
    if found.get("embedding_multiplier") == 1:
        del found["embedding_multiplier"]
    heads = facts.get("heads", {})
    found["heads"] = sorted(name for name, has in heads.items() if has)
    found["headless"] = sorted(name for name, has in heads.items() if not has)
    if not facts.get("text"):
        found["shape"] = shape(kind, facts["shape"])
    _, added, _, fits = facts.get("sum") or (1.0, [], None, False)
    if fits:
        named = [name for name, _ in added if not name.startswith(("sinusoid", "?"))]
        found["position"] = [name for name in named if re.search(r"pos|wpe", name)]
        found["token_type"] = [name for name in named if re.search(r"type|segment", name)]
    if facts.get("own_width"):
        found["own_width"] = True
    if facts.get("extra_rows_of_input"):
        found["extra_rows"] = facts["extra_rows_of_input"]
    family = family_of(facts)
    if family is not None:
        found["family"] = family
    return {key: value for key, value in found.items() if value not in ([], None) or key == "tie_at"}


def shape(kind: str, sizes: Sequence[int | None]) -> list[int | None]:
    """Return the sizes; a head's width only where it does not follow from the others."""
    found = list(sizes)
    if found[4] is not None and follows(kind, found[4]):
        found[4] = None
    return found


def follows(kind: str, head_dim: int) -> bool:
    """Return whether a class makes its heads wider when the model is."""
    whole = tiny.whole(kind)
    for key in ("hidden_size", "d_model", "n_embd", "dim"):
        try:
            width = getattr(whole, key)
            wider = CONFIG_MAPPING[kind](**{key: 2 * width})
            return bool(getattr(wider, "head_dim", None) != head_dim)
        except Exception:  # noqa: BLE001 - a class that does not take it
            continue
    return False


def family_of(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what was seen of positions, by the fields of `embtool.configs.families.Family`; None where nothing was."""
    _, added, norm, fits = facts.get("sum") or (1.0, [], None, False)
    found: dict[str, Any] = {}
    if facts.get("turning_layers"):
        found = rope(facts)
    elif fits and added and re.search(r"pos|wpe", added[0][0]):
        found = learned(facts, added[0][1])
    elif fits and added and added[0][0].startswith("sinusoid"):
        _, last, order = added[0][0].split()
        found = {"kind": "sinusoidal", "row_offset": added[0][1]}
        found |= {"last_included": True} if last == "last" else {}
        found |= {"alternating_sines": True} if order == "pairs" else {}
    else:
        return None
    if fits and norm is not None:
        found["embedding_norm"] = norm
    rule = scaling(facts)
    if rule is not None:
        found["embedding_scale"] = rule
    if not fits or any(name == "?" for name, _ in added):
        found["sum_known"] = False
    return found


def learned(facts: Mapping[str, Any], offset: int) -> dict[str, Any]:
    """Return how a learned table is read."""
    found: dict[str, Any] = {"kind": "learned"}
    if facts.get("padded_positions"):
        return found | {"row_offset": "padding"}
    if offset:
        found["row_offset"] = offset
        if facts.get("position_rows", 0) - (facts["shape"][5] or 0) == offset:
            found["extra_rows"] = True
    return found


def scaling(facts: Mapping[str, Any]) -> str | None:
    """Return the rule by which rows are multiplied."""
    if facts.get("scale_embedding_is_read"):
        return "scale_embedding"
    if facts.get("embedding_multiplier_is_read"):
        return "embedding_multiplier"
    scale, width = (facts.get("sum") or [1.0])[0], facts.get("tiny_width")
    if width and scale not in (1.0, None) and math.isclose(scale, math.sqrt(width), rel_tol=1e-4):
        return "sqrt_rounded" if facts.get("rounded_scale") else "sqrt"
    return None


def rope(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rotation that was seen."""
    ways = [match for match in map(WAY.fullmatch, facts.get("ways", ())) if match]
    layouts = {way["layout"] for way in ways}
    found: dict[str, Any] = {} if layouts == {"half"} else {"layout": layouts.pop() if len(layouts) == 1 else None}
    if ways and all(way["end"] == "last" for way in ways):
        found["rotated_part"] = "last"
    if ways and all(way["clockwise"] for way in ways):
        found["clockwise"] = True
    start = min((int(way["start"]) for way in ways), default=0)
    if start:
        found["first_position"] = start
    if facts.get("latent"):
        found["latent"] = True
    return found | parameters(facts) | layers(facts)


def parameters(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the RoPE settings that the class has when the file has none."""
    stated = facts.get("rope") or {}
    found: dict[str, Any] = {"honours_partial": True} if facts.get("honours_partial") else {}
    nested = {key: value for key, value in stated.items() if isinstance(value, dict)}
    if nested:
        found |= {"per_layer_type": True, "labels": sorted(nested), "rope_parameters": nested}
        return found
    if stated.get("rope_theta") not in (None, 10_000.0):
        found["rope_theta"] = stated["rope_theta"]
    if stated.get("partial_rotary_factor") is not None:
        found["partial_rotary_factor"] = stated["partial_rotary_factor"]
    if stated.get("rope_type", "default") != "default":
        found["rope_parameters"] = stated
    return found


def layers(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return which layers turn, as far as the kinds of layers tell."""
    kinds = facts.get("layer_types")
    found: dict[str, Any] = {}
    fitted = pattern(kinds) if kinds else None
    if fitted is not None:
        found["pattern"] = fitted
    turning = {int(name.rsplit(".", 1)[-1]) for name in facts["turning_layers"] if name.rsplit(".", 1)[-1].isdigit()}
    count = facts.get("layers") or 0
    if kinds and not facts.get("failed") and count:
        silent = {kinds[index] for index in range(min(count, len(kinds))) if index not in turning}
        if silent == {"full_attention"}:
            found["nope"] = "full_attention"
    return found


def pattern(kinds: Sequence[str]) -> dict[str, Any] | None:
    """Return the period in which two kinds of layer follow each other."""
    names = sorted(set(kinds))
    for at, elsewhere in (names, names[::-1]) if len(names) == 2 else ():
        for period in range(2, 13):
            for first in (False, True):
                phase = 0 if first else period - 1
                if list(kinds) == [at if index % period == phase else elsewhere for index in range(len(kinds))]:
                    return {"period": period, "at": at, "elsewhere": elsewhere} | ({"first": True} if first else {})
    return None
