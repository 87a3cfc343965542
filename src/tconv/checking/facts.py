"""One layer of an inventory as the numbers that targets limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import ints_of
from tconv.checking.layer_reading import ReadLayer, read_layer
from tconv.checking.sizes import Symbols
from tconv.errors import ArgumentError, TconvError
from tconv.geometry import Geometry
from tconv.models.inventory.model_layer import ModelInventory, ModelLayer, Size
from tconv.targets.layer_facts import LayerFacts


def facts_of(layer: ModelLayer) -> LayerFacts:
    """Return the numbers of a layer that targets limit.

    Sizes that the file leaves open are None. Raises ArgumentError for a layer whose geometry is not known.
    """
    read = read_layer(layer, Symbols(ModelInventory("", "", (layer,))))
    facts = facts_from(read)
    if facts is None:
        reasons = "; ".join((*read.notes, *layer.limitations)) or "its weight is not in the file"
        raise ArgumentError(
            f"the layer {layer.name!r} has no known geometry: {reasons}. Write a layer with a constant weight"
        )
    return facts


def facts_from(read: ReadLayer) -> LayerFacts | None:
    """Return the numbers of a layer that was read; None without a geometry."""
    layer, g, shapes = read.layer, read.geometry, read.shapes
    if g is None or shapes is None or read.in_channels is None or read.out_channels is None:
        return None
    extra = _output_padding(layer, g)
    quantization = None if layer.weight is None else layer.weight.quantization
    return LayerFacts(
        kernel=g.kernel,
        stride=g.stride,
        dilation=g.dilation,
        pads_begin=tuple(lo for lo, _ in g.crop),
        pads_end=tuple(hi + op for (_, hi), op in zip(g.crop, extra, strict=True)),
        output_padding=extra,
        groups=g.groups,
        in_channels=read.in_channels,
        out_channels=read.out_channels,
        batch=_number(shapes.x[0]),
        input=tuple(map(_number, shapes.x[2:])),
        output=tuple(map(_number, shapes.y[2:])),
        dtype=layer.dtype,
        auto_pad=_auto_pad(layer),
        output_shape=any(layer.arguments.get(name) for name in _SIZES) and layer.dialect in ("onnx", "ncnn"),
        constant_weight=layer.weight is not None,
        bias=layer.bias is not None,
        weight_scales="" if quantization is None else "one" if quantization.axis is None else "per channel",
    )


_SIZES = ("output_shape", "output_w", "output_h", "output_d")


def _number(size: Size) -> int | None:
    return size if isinstance(size, int) else None


def _auto_pad(layer: ModelLayer) -> str:
    """Return the rule that chooses the pads, in ONNX's words."""
    given = layer.arguments.get("auto_pad", layer.arguments.get("padding", "NOTSET"))
    if not isinstance(given, str):
        return "NOTSET"
    rule = given.upper()
    return {"SAME": "SAME_UPPER"}.get(rule, rule if rule in ("SAME_UPPER", "SAME_LOWER", "VALID") else "NOTSET")


def _output_padding(layer: ModelLayer, g: Geometry) -> tuple[int, ...]:
    """Return the output_padding that the file has; where its words have none, the part that extends the output."""
    least = tuple(max(0, -hi) for _, hi in g.crop)
    given: Any = layer.arguments.get("output_padding")
    if given is None and layer.dialect == "ncnn":
        names = ("output_pad_behind", "output_pad_bottom", "output_pad_right")[-g.ndim :]
        default = layer.arguments.get("output_pad_right", 0)
        given = [layer.arguments.get(name, default) for name in names]
    if given is None or (isinstance(given, Sequence) and not given):
        return least
    try:
        stated = ints_of(given, "output_padding", g.ndim, least=0)
    except TconvError:
        return least
    return tuple(max(a, b) for a, b in zip(least, stated, strict=True))
