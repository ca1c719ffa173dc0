"""How a model knows positions, put into words and keys: for `info`, and for the commands about positions."""

from typing import Any

from embtool.errors import ConfigError
from embtool.model import Model
from embtool.output import count
from embtool.positions import Alibi, LayerRope, Learned, Positions, Rope, T5Buckets


def describe_positions(model: Model) -> tuple[dict[str, Any] | None, list[tuple[str, str]]]:
    """Describe a model's positions as a document and as lines; both say so where nothing is known."""
    if model.config is None:
        return None, [("kind", "not known: no config.json")]
    try:
        positions = model.positions
    except ConfigError as error:
        return None, [("kind", f"not known: {error.message}")]
    return document(positions), lines(positions)


def document(positions: Positions) -> dict[str, Any]:
    """Describe positions by the keys of `info@1`."""
    return {
        "kind": positions.kind,
        "context_length": positions.context_length,
        "layers": [layer_document(layer) for layer in positions.layers] if isinstance(positions, Rope) else [],
        "nope_layers": list(positions.nope_layers) if isinstance(positions, Rope) else [],
        "origins": dict(positions.origins),
    }


def layer_document(layer: LayerRope) -> dict[str, Any]:
    """Describe the rotation of one layer type by the keys of `rope@1`."""
    settings = layer.settings
    return {
        "layer_type": layer.layer_type,
        "layer_count": layer.layer_count,
        "rope_type": settings.rope_type,
        "rope_theta": settings.rope_theta,
        "head_dim": settings.head_dim,
        "rotary_dim": settings.rotary_dim,
        "layout": settings.layout,
        "mrope_section": list(settings.mrope_section) if settings.mrope_section is not None else None,
    }


def lines(positions: Positions) -> list[tuple[str, str]]:
    """Describe positions for a reader."""
    found = []
    if isinstance(positions, Rope):
        found += [_layer_line(layer) for layer in positions.layers]
    elif isinstance(positions, Learned):
        rows = "a table" if positions.rows is None else f"{count(positions.rows)} rows"
        found.append(("learned", f"{rows}, added to the token's row; position p is row p + {positions.row_offset}"))
    elif isinstance(positions, Alibi):
        found.append(
            (
                "ALiBi",
                f"{count(len(positions.slopes))} heads, slopes {positions.slopes[0]:.4g} to {positions.slopes[-1]:.4g}",
            )
        )
    elif isinstance(positions, T5Buckets):
        found.append(("relative", f"{positions.buckets} buckets up to distance {count(positions.max_distance)}"))
    else:
        found.append(("kind", positions.kind))
    context = positions.context_length
    found.append(("context", "not in the file" if context is None else f"{count(context)} tokens"))
    return found


def _layer_line(layer: LayerRope) -> tuple[str, str]:
    settings = layer.settings
    turned = settings.rotary_dim if settings.rotary_dim is not None else settings.head_dim
    where = "" if layer.layer_count is None else f", {count(layer.layer_count)} layers"
    name = "RoPE" if layer.layer_type == "all" else f"RoPE, {layer.layer_type}"
    return (
        name,
        f"{settings.rope_type}, theta {settings.rope_theta:g}, {turned} of {settings.head_dim} channels turn{where}",
    )
