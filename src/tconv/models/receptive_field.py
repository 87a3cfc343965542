"""Rows and columns of each layer that an output of a network reads, besides the means of whole pictures."""

from __future__ import annotations

from tconv.errors import ShapeError
from tconv.models.layers import Convolution
from tconv.models.network import Network
from tconv.models.running import tiles


def extents(network: Network, size: int, axis: int) -> list[int]:
    """Return the heights (axis 1: widths) of the input and of every node's output. Raises ShapeError."""
    return tiles.extents(network.nodes, size, axis)


def spans_read(network: Network, sizes: list[int], outputs: slice, axis: int) -> list[slice | None]:
    """Return the rows (columns) of the input and of each node that output rows read; `sizes` are those of `extents`.

    None for a node that they read through a mean of the whole picture only, or not at all.
    """
    spans: list[slice | None] = [None] * len(network.nodes) + [outputs]
    for number in range(len(network.nodes), 0, -1):
        wanted, node = spans[number], network.nodes[number - 1]
        given = [sizes[place] for place in node.inputs]
        if wanted is None or sizes[number] == 1 < max(given):
            continue
        for order, place in enumerate(node.inputs):
            span, before = node.step.source(order, wanted, given, axis), spans[place]
            spans[place] = span if before is None else slice(min(span.start, before.start), max(span.stop, before.stop))
    return spans


def square_macs(network: Network, side: int) -> int:
    """Return the products that a square of the output takes, with all that its layers compute for it alone."""
    for size in range(4096, 4096 + 64):
        try:
            sides = [extents(network, size, axis) for axis in (0, 1)]
            break
        except ShapeError:  # a U-Net takes multiples of its strides
            continue
    else:
        return 0
    fields = [
        spans_read(network, each, slice(each[-1] // 2, each[-1] // 2 + side), axis) for axis, each in enumerate(sides)
    ]
    total = 0
    for node, rows, columns in zip(network.nodes, *(field[1:] for field in fields), strict=True):
        if rows is not None and columns is not None and isinstance(node.step, Convolution):
            pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
            g = node.step.geometry
            total += pixels * node.step.weight.size // (g.stride[0] * g.stride[1])
    return total
