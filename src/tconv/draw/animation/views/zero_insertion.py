"""Zero insertion: zeros between the inputs and around them, and the flipped kernel slides with stride 1."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.draw.animation.animated_operator import AnimatedOperator
from tconv.draw.animation.film import BEYOND, BLANK, HOLE, PLAIN, SUM, ZERO, Box, Film, Frame, Grid, only, whole
from tconv.draw.animation.wording import factor, title
from tconv.draw.array_grid import brackets, by
from tconv.draw.cell_board import short
from tconv.draw.output_canvas import Product


def film(op: AnimatedOperator) -> Film:
    """Return a frame per output element, in C order, and a last one that shows the output."""
    board = _Spread(op)
    kernel, taps = _flipped(op)
    grids = {
        "input": Grid("input", f"INPUT {by(op.x.shape)} and zeros", board.kinds, board.part),
        "kernel": Grid("kernel", "FLIPPED KERNEL", np.where(taps, PLAIN, HOLE), whole(kernel.shape)),
        "output": Grid(
            "output", f"OUTPUT {by(op.output_shape)}", np.full(op.output_shape, PLAIN), whole(op.output_shape)
        ),
    }
    frames = _frames(op, board, only(kernel, taps))
    return Film(title("Zero insertion", op), grids, ("×", "→"), frames, board.notes, op.x.shape)


class _Spread:
    """The input with s - 1 zeros between its elements, and with the zeros around it that the windows reach."""

    def __init__(self, op: AnimatedOperator) -> None:
        g = op.geometry
        spread = [s * (n - 1) + 1 for s, n in zip(g.stride, op.x.shape, strict=True)]
        # the window of output o begins at o + lo - (extent - 1) of the spread input
        first = [lo - e + 1 for (lo, _), e in zip(g.crop, g.extent, strict=True)]
        last = [lo + size for (lo, _), size in zip(g.crop, op.output_shape, strict=True)]
        self.front = [max(0, -f) for f in first]
        self.windows = tuple(max(0, f) for f in first)  # where the window of output 0 begins on this board
        shape = [f + max(n, end) for f, n, end in zip(self.front, spread, last, strict=True)]
        self.part = tuple(slice(f, f + n) for f, n in zip(self.front, spread, strict=True))
        inputs = tuple(slice(f, f + n, s) for f, n, s in zip(self.front, spread, g.stride, strict=True))
        self.values = np.zeros(shape, op.output.dtype)
        self.values[inputs] = op.x
        self.tints = np.full(shape, BLANK)
        self.tints[inputs] = op.elements
        self.kinds = np.full(shape, BEYOND)
        self.kinds[self.part] = ZERO
        self.kinds[inputs] = PLAIN
        behind = [n - side.stop for n, side in zip(shape, self.part, strict=True)]
        between = _each([s - 1 for s in g.stride])
        around = _each(self.front) if self.front == behind else f"{_each(self.front)} in front, {_each(behind)} behind"
        rule = "extent - 1 - padding" if max(g.dilation) > 1 else "kernel - 1 - padding"
        self.notes = [f"Zeros between: stride - 1 = {between}. Zeros around, dashed: {rule} = {around}."]


def _each(sizes: list[int]) -> str:
    """Return sizes of all axes as text, once if they are the same."""
    return by(tuple(sizes[:1] if len(set(sizes)) == 1 else sizes))


def _flipped(op: AnimatedOperator) -> tuple[Array, Array]:
    """Return the flipped kernel on its extent, and where its taps are: a dilation leaves holes."""
    extent = op.geometry.extent
    taps = tuple(slice(None, None, d) for d in op.geometry.dilation)
    kernel, is_tap = np.zeros(extent, op.w.dtype), np.zeros(extent, bool)
    kernel[taps] = np.flip(op.w)
    is_tap[taps] = True
    return kernel, is_tap


def _frames(op: AnimatedOperator, board: _Spread, kernel: Array) -> list[Frame]:
    done = np.zeros(op.output_shape, bool)
    extent = op.geometry.extent
    inputs = {"input": only(board.values), "kernel": kernel}
    frames = []
    for output in np.ndindex(*op.output_shape):
        products = op.canvas.products(output)
        done[output] = True
        tints = np.full(extent, BLANK)
        for element, tap in products:
            tints[_place(op, tap)] = op.elements[element]
        written = np.full(op.output_shape, BLANK)
        written[output] = op.elements[products[0][0]] if len(products) == 1 else SUM if products else BLANK
        start = tuple(first + o for first, o in zip(board.windows, output, strict=True))
        frames.append(
            Frame(
                numbers={**inputs, "output": only(op.output, done.copy())},
                tints={"input": board.tints, "kernel": tints, "output": written},
                boxes=(Box("input", start, extent), Box("output", output, (1,) * op.x.ndim)),
                sentence=_sentence(op, output, products),
            )
        )
    last = Frame(
        numbers=frames[-1].numbers,
        tints={"input": board.tints, "kernel": np.full(extent, BLANK), "output": np.full(op.output_shape, BLANK)},
        boxes=(),
        sentence=(
            f"An ordinary convolution of stride 1 made y: {by(op.output_shape)}, as the scatter does.",
            "Most products are with zeros: this is for reading, and no fast program computes it so.",
        ),
        beats=4,
    )
    return [*frames, last]


def _place(op: AnimatedOperator, tap: tuple[int, ...]) -> tuple[int, ...]:
    """Return the place of a tap in the flipped kernel on its extent."""
    return tuple(e - 1 - d * t for e, d, t in zip(op.geometry.extent, op.geometry.dilation, tap, strict=True))


def _sentence(op: AnimatedOperator, output: tuple[int, ...], products: list[Product]) -> tuple[str, str]:
    """Return the sum of the products that are not with zeros, and how many are."""
    name, value = f"y{brackets(output)}", short(op.output[output])
    zeros = op.w.size - len(products)
    if not products:
        return f"{name} = 0: under the kernel are zeros alone", f"All {zeros} products are with zeros."
    terms = " + ".join(f"{factor(op.x[i])}·{factor(op.w[t])}" for i, t in products)
    if len(terms) > 60:
        terms = f"{len(products)} products of inputs and taps"
    others = f"The other {zeros} products are with zeros." if zeros else "No product is with a zero."
    return f"{name} = {terms} = {value}", others
