"""Convolutions, transposed ones, and products with a matrix over the channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.dialects import dialect
from tconv.errors import FileError
from tconv.geometry import Geometry
from tconv.models.inventory.other_forms import same_pads
from tconv.models.layers import Convolution
from tconv.models.readers.onnx_graph import label
from tconv.models.readers.onnx_network.builder import Atom, GraphPicture
from tconv.models.readers.onnx_network.inputs import NodeReader
from tconv.models.steps.padding import Padding
from tconv.models.steps.strided_convolution import StridedConvolution

Sides = tuple[tuple[int, int], tuple[int, int]]


def _weights(reader: NodeReader, node: Any) -> tuple[Array, Array | None]:
    attributes = reader.attributes(node)
    weight = reader.floats(node, 1)
    if weight.ndim != 4:
        raise FileError(f"{label(node)} has a weight of {weight.ndim} axes; 4 are needed, for pictures")
    if attributes.get("kernel_shape", list(weight.shape[2:])) != list(weight.shape[2:]):
        raise FileError(f"{label(node)} has kernel_shape={attributes['kernel_shape']} and a weight of {weight.shape}")
    return weight, reader.floats(node, 2) if reader.has(node, 2) else None


def pads_of(
    reader: NodeReader, node: Any, place: int, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: Any
) -> Sides:
    """Return the pads of a convolution or pooling, ((top, bottom), (left, right)). Raises FileError."""
    attributes = reader.attributes(node)
    forward = Geometry(kernel, stride, 0, dilation)
    rule = attributes.get("auto_pad", "NOTSET")
    if rule in ("SAME_UPPER", "SAME_LOWER"):
        if set(forward.stride) == {1}:
            both = same_pads(forward.kernel, forward.dilation, upper=rule == "SAME_UPPER")
            return both[0], both[1]
        found = [_same_at_stride(reader, place, axis, forward, rule) for axis in (0, 1)]
        if None in found:
            raise FileError(
                f"{label(node)} has auto_pad={rule!r} and strides {list(forward.stride)}, whose pads depend on the "
                "picture's size. Write the pads as numbers"
            )
        return found[0], found[1]  # type: ignore[return-value]
    if rule not in ("NOTSET", "VALID"):
        raise FileError(f"{label(node)} has auto_pad={rule!r}; NOTSET, SAME_UPPER, SAME_LOWER and VALID are read")
    given = attributes.get("pads", [0] * 4) if rule == "NOTSET" else [0] * 4
    if len(given) != 4:
        raise FileError(f"{label(node)} has pads={given}; 4 are needed, all beginnings and then all ends")
    return (given[0], given[2]), (given[1], given[3])


def _same_at_stride(reader: NodeReader, place: int, axis: int, forward: Geometry, rule: str) -> tuple[int, int] | None:
    """Return the pads along an axis if they are the same for all sizes."""
    sizes, stride, extent = reader.builder.extents(place, axis), forward.stride[axis], forward.extent[axis]
    totals = {
        max((-(-int(size) // stride) - 1) * stride + extent - int(size), 0)
        for size, alive in zip(sizes, reader.builder.alive, strict=True)
        if alive
    }
    if len(totals) != 1:
        return None
    (total,) = totals
    small = total // 2
    return (small, total - small) if rule == "SAME_UPPER" else (total - small, small)


def _conv(reader: NodeReader, node: Any) -> GraphPicture:
    place = reader.place(node)
    weight, bias = _weights(reader, node)
    attributes = reader.attributes(node)
    strides, groups = attributes.get("strides", [1, 1]), attributes.get("group", 1)
    geometry = Geometry(weight.shape[2:], strides, 0, attributes.get("dilations", 1), groups)
    pads = pads_of(reader, node, place, geometry.kernel, geometry.stride, geometry.dilation)
    if min(min(sides) for sides in pads) < 0:  # they crop
        cut = tuple((min(lo, 0), min(hi, 0)) for lo, hi in pads)
        place = reader.builder.add(Padding((cut[0], cut[1])), place)
        pads = tuple((max(lo, 0), max(hi, 0)) for lo, hi in pads)  # type: ignore[assignment]
    if set(geometry.stride) == {1}:
        step: Any = Convolution.ordinary(weight, bias, pads, geometry.dilation, groups)
    else:
        if len(weight) % groups or (bias is not None and bias.shape != (len(weight),)):
            raise FileError(f"{label(node)} has {len(weight)} output channels, which do not fit its groups or its bias")
        step = StridedConvolution(weight, bias, geometry.stride, pads, geometry.dilation, groups)  # type: ignore[arg-type]
    return reader.builder.whole(reader.builder.add(step, place))


def _conv_transpose(reader: NodeReader, node: Any) -> GraphPicture:
    place = reader.place(node)
    weight, bias = _weights(reader, node)
    attributes = reader.attributes(node)
    native = {name: value for name, value in attributes.items() if name != "kernel_shape"}
    read = dialect("onnx").read
    if "output_shape" not in attributes:
        geometry = read((1, weight.shape[0], 64, 64), weight.shape, native).geometry
    elif not reader.sized:
        raise FileError(
            f"{label(node)} has an output_shape, which fits one size only. Write pads and output_padding instead"
        )
    else:
        given = reader.builder.sizes[place][0]
        geometry = read((1, weight.shape[0], *given), weight.shape, native).geometry
        reader.builder.note(f"{label(node)} states an output_shape, which is read as the pads that it has there")
    return reader.builder.whole(reader.builder.add(Convolution(weight, geometry, bias), place))


def on_channels(reader: NodeReader, place: int, matrix: Array, bias: Array | None = None) -> int:
    """Append a product of the channels with a matrix [C_out, C_in]; return its place."""
    weight = np.ascontiguousarray(matrix, np.float32)[:, :, None, None]
    return reader.builder.add(Convolution.ordinary(weight, bias), place)


def _linear(reader: NodeReader, node: Any) -> GraphPicture:
    """MatMul or Gemm of a picture, whose last axis is that of the channels, and a constant matrix."""
    attributes = reader.attributes(node)
    if not reader.is_picture(node, 0) or reader.is_picture(node, 1):
        raise FileError(
            f"{label(node)} multiplies matrices of the picture, as attention does; a product of the channels and a "
            "constant matrix is needed"
        )
    picture, matrix = reader.picture(node, 0), reader.floats(node, 1)
    gemm = node.op_type == "Gemm"
    if gemm and (attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1):
        raise FileError(f"{label(node)} has transA, alpha or beta; a plain product is needed")
    matrix = matrix if gemm and attributes.get("transB", 0) else matrix.T
    channels = reader.builder.channels[picture.place]
    last = [atom for atom in picture.axes[-1] if any(size != 1 for size in atom.sizes)]
    if (
        matrix.ndim != 2
        or matrix.shape[1] != channels
        or [(a.kind, a.path) for a in last] != [("C", ())] * (channels > 1)
    ):
        raise FileError(
            f"{label(node)} multiplies the axes {picture.shape} by a matrix of {matrix.T.shape}; channels last, and a "
            f"matrix of ({channels}, outputs) are needed"
        )
    bias = reader.floats(node, 2).ravel() if gemm and reader.has(node, 2) else None
    if bias is not None and bias.size == 1:
        bias = np.repeat(bias, len(matrix))
    place = on_channels(reader, picture.place, matrix, bias)
    atom = Atom("C", (), (len(matrix),) * len(reader.builder.alive))
    return GraphPicture(place, (*picture.axes[:-1], (atom,)))


OPERATORS: dict[str, Callable[[NodeReader, Any], GraphPicture]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _linear,
    "Gemm": _linear,
}
"""Operators of this family."""
