"""Traps of sizes that were frozen from an example while the file promises others."""

from __future__ import annotations

from collections.abc import Iterator

from tconv.checking.facts import facts_from
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
    "are joined, or are one row off.",
    "every runtime; output_size of a PyTorch decoder becomes such a number in torch.onnx.export",
    "pytorch/pytorch#80301, #8816; milesial/Pytorch-UNet#32",
    "tconv rewrite --step dynamic-size, which asks the graph for the size; or inputs padded to a multiple of the "
    "strides",
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
    "pads in place of output_shape: tconv rewrite --step dynamic-size",
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
    extra = [
        (axis, op)
        for axis, (op, size) in enumerate(zip(facts.output_padding, facts.input or (), strict=True))
        if op > 0 and size is None
    ]
    join = _join(layer.after)
    if extra and join is not None and not _meets_its_like(context, join):
        axis, op = extra[0]
        rows = context.read.shapes.y[2 + axis] or affine("n", *_growth(context.read)[axis])
        what = (
            f"output_padding is {op} on spatial axis {axis}, whose size varies, so y has "
            f"{rows} rows there; {join.op} {join.name!r} joins it with a tensor of "
            "another path, which fits only for sizes that the strides divide like the example's"
        )
        yield _PADDING.trap(layer, what, output_padding=list(facts.output_padding), join=join.name)


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
