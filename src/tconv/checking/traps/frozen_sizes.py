"""Traps of sizes that were frozen from an example while the file promises others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from tconv.checking.facts import facts_from
from tconv.checking.joined_sizes import Mismatch, mismatches_of
from tconv.checking.layer_check import LayerCheck
from tconv.checking.layer_reading import ReadLayer, read_layer
from tconv.checking.sizes import Symbols, affine
from tconv.checking.trap import Trap
from tconv.checking.traps.trap_context import TrapContext, TrapKind
from tconv.dialects.converter_faults import is_batchnorm
from tconv.models.inventory.model_layer import ModelInventory, ModelLayer, Neighbour

_PADDING = TrapKind(
    "frozen-output-padding",
    "refused",
    "output_padding frozen from an example",
    "The spatial sizes vary, the layer has a fixed output_padding, and its output is joined with a tensor of another "
    "path, which has a size of its own. The file takes only sizes like the example's: others are refused where the two "
    "are joined, or are one row off. A padding of 0 is the number of some examples, too; it is a note, because a "
    "decoder that never asks for a size has the same limit.",
    "every runtime; output_size of a PyTorch decoder becomes such a number in torch.onnx.export",
    "pytorch/pytorch#80301, #8816; milesial/Pytorch-UNet#32",
    "tconv rewrite MODEL.onnx -o OUT.onnx --step dynamic-size, which asks the graph for the size",
)
_SHAPE = TrapKind(
    "frozen-output-shape",
    "wrong",
    "output_shape frozen from an example",
    "The spatial sizes vary, and the layer has a fixed output_shape: every input gives an output of the example's "
    "size, "
    "cropped or extended with rows of bias.",
    "every runtime",
    "ONNX specification, ConvTranspose: output_shape",
    "pads in place of output_shape: tconv rewrite MODEL.onnx -o OUT.onnx --step dynamic-size",
)
KINDS = (_PADDING, _SHAPE)

_JOINS = ("concat", "concatv2", "concatenate", "concatenation", "cat", "add", "addv2", "sum", "binaryop", "eltwise")
_RESIZES = ("slice", "pad", "resize", "upsample", "crop", "interpolate", "narrow", "gather", "center")


def of_layer(context: TrapContext) -> Iterator[Trap]:
    """Yield the traps of frozen sizes."""
    facts, layer = context.facts, context.layer
    if facts is None or not context.has_open_sizes or context.read.shapes is None:
        return
    if facts.output_shape:
        given = next(layer.arguments[name] for name in ("output_shape", "output_w") if layer.arguments.get(name))
        what = f"output_shape is {given}, and the sizes of x vary: y has that size for every x"
        yield _SHAPE.trap(layer, what, output_shape=given)
        return
    join = _join(layer.after)
    if join is None or _meets_its_like(context, join):
        return
    axes = zip(
        facts.output_padding, facts.input or (), context.geometry.stride if context.geometry else (), strict=True
    )
    varying = [(axis, op) for axis, (op, size, stride) in enumerate(axes) if size is None and stride > 1]
    mismatches = mismatches_of(join)
    if not varying or mismatches == ():
        return
    frozen = [(axis, op) for axis, op in varying if op > 0]
    decided = any(each.fits for each in mismatches or ())  # two free inputs are the caller's matter
    if frozen or decided or (mismatches is None and _is_frozen_elsewhere(context)):
        padding = list(facts.output_padding)
        start = f"output_padding is {padding}, and the sizes vary: "
        words = start + (_meeting(join, mismatches) if mismatches else _unknown_meeting(context, join))
        fits = [each.fits for each in mismatches or ()]
        possible = bool(fits) and all(each not in ("", "no size") for each in fits)
        instead = _PADDING.instead + (f"; or only inputs where {' and '.join(fits)}" if possible else "")
        trap = _PADDING.trap(layer, words, instead=instead, output_padding=padding, join=join.name)
        yield trap if frozen else replace(trap, severity="note")


def after_failure(trap: Trap, error: str) -> Trap:
    """Return a trap of this family as a refusal if the error of a run names the operation that joins its sizes."""
    join = trap.numbers.get("join")
    is_named = bool(join) and re.search(rf"['\"\s]{re.escape(str(join))}['\"\s.,:]", f"{error} ") is not None
    return replace(trap, severity="refused") if trap.key == _PADDING.key and is_named else trap


def _meeting(join: Neighbour, mismatches: tuple[Mismatch, ...]) -> str:
    """Return the sizes that meet in a join, for each axis on which they are not always equal."""
    parts = []
    for each in mismatches:
        fits = f"equal only where {each.fits}" if each.fits else "which are not equal for all sizes"
        fits = "equal for no size" if each.fits == "no size" else fits
        parts.append(f"on axis {each.axis} {each.first} and {each.second}, {fits}")
    return f"in {join.op} {join.name!r} meet {'; '.join(parts)}"


def _unknown_meeting(context: TrapContext, join: Neighbour) -> str:
    """Return the sizes of y, which meet others that the file does not tell."""
    shapes = context.read.shapes
    stated = shapes.y[2:] if shapes else (None,) * len(_growth(context.read))
    sizes = [size or affine("n", *line) for size, line in zip(stated, _growth(context.read), strict=True)]
    return (
        f"y has {' x '.join(map(str, sizes))} elements; {join.op} {join.name!r} joins it with a tensor of another "
        "path, whose sizes the file does not tell: it runs only where they are the same"
    )


def _is_frozen_elsewhere(context: TrapContext) -> bool:
    """Return True if another layer of the model has an output_padding: 0 here is the number of the same example."""
    others = (each.arguments.get("output_padding") for each in context.model.layers if each is not context.layer)
    return any(any(given) if isinstance(given, (list, tuple)) else bool(given) for given in others)


def frozen_size(model: ModelInventory, layer: ModelLayer) -> str:
    """Return the sentence about the size that is frozen in a layer; "" if none is."""
    read = read_layer(layer, Symbols(model))
    context = TrapContext(model, read, LayerCheck(layer, read.geometry), facts_from(read), None)
    return next((trap.what for trap in of_layer(context)), "")


def _meets_its_like(context: TrapContext, join: Neighbour) -> bool:
    """Return True if another layer with the same sizes is joined there: parallel branches of one x."""
    own = _growth(context.read)
    for other in context.model.layers:
        if other is not context.layer and (there := _join(other.after)) is not None and there.name == join.name:
            read = read_layer(other, Symbols(context.model))
            if read.shapes is not None and context.read.shapes is not None and _growth(read) == own:
                return read.shapes.x[2:] == context.read.shapes.x[2:]
    return False


def _growth(read: ReadLayer) -> tuple[tuple[int, int], ...]:
    """Return (s, c) of each axis, with s*n + c elements in y for n in x."""
    g = read.geometry
    if g is None:
        return ()
    axes = zip(g.stride, g.extent, g.crop, strict=True)
    return tuple((s, e - s - lo - hi) for s, e, (lo, hi) in axes)


def _join(after: tuple[Neighbour, ...]) -> Neighbour | None:
    """Return the operation that joins the output with another tensor, before anything changes its size."""
    read: set[str] = set()  # tensors that operations before read: the other way of a fork comes back with our own size
    for operation in after:
        name = operation.op.lower().split(".")[-1 if "." in operation.op else 0].split("::")[-1].rstrip("_")
        if name in ("tensor", "default", "scalar") and "." in operation.op:
            name = operation.op.lower().split(".")[-2]
        if name in _JOINS and len(operation.inputs) > 1 and not is_batchnorm(operation):
            return None if read.intersection(operation.inputs) else operation
        if any(word in name for word in _RESIZES):
            return None
        read.update(operation.inputs)
    return None
