"""The gather: each output element collects the products that reach it, as its window slides over the input."""

from __future__ import annotations

import numpy as np

from tconv.draw.animation.animated_operator import AnimatedOperator
from tconv.draw.animation.film import BLANK, PLAIN, SUM, Box, Film, Frame, Grid, only, whole
from tconv.draw.animation.wording import crop_notes, sum_lines, title
from tconv.draw.array_grid import by


def film(op: AnimatedOperator) -> Film:
    """Return a frame per output element, in C order, and a last one that shows the output."""
    grids = {
        "input": Grid("input", f"INPUT {by(op.x.shape)}", np.full(op.x.shape, PLAIN), whole(op.x.shape)),
        "kernel": Grid("kernel", f"KERNEL {by(op.w.shape)}", np.full(op.w.shape, PLAIN), whole(op.w.shape)),
        "output": Grid("output", f"OUTPUT {by(op.output_shape)}", op.kinds, op.canvas.output),
    }
    return Film(title("Gather", op), grids, ("×", "→"), _frames(op), crop_notes(op), op.x.shape)


def _frames(op: AnimatedOperator) -> list[Frame]:
    sums = np.zeros(op.canvas.shape, op.output.dtype)
    sums[op.canvas.output] = op.output
    done = np.zeros(op.canvas.shape, bool)
    operands = {"input": only(op.x), "kernel": only(op.w)}
    frames = []
    for output in np.ndindex(*op.output_shape):
        products = op.canvas.products(output)
        at = op.canvas.cell_of(output)
        done[at] = True
        tints = {"input": np.full(op.x.shape, BLANK), "kernel": np.full(op.w.shape, BLANK)}
        for element, tap in products:
            tints["input"][element] = tints["kernel"][tap] = op.elements[element]
        written = np.full(op.canvas.shape, BLANK)
        written[at] = op.elements[products[0][0]] if len(products) == 1 else SUM if products else BLANK
        boxes = [Box("output", at, (1,) * op.x.ndim)]
        if products:
            elements = np.array([element for element, _ in products])
            start = elements.min(0)
            size = elements.max(0) - start + 1
            boxes.append(Box("input", tuple(map(int, start)), tuple(map(int, size))))
        frames.append(
            Frame(
                numbers={**operands, "output": only(sums, done.copy())},
                tints={**tints, "output": written},
                boxes=tuple(boxes),
                sentence=sum_lines(op, output, products),
            )
        )
    rest = {"kernel": np.full(op.w.shape, BLANK), "output": np.full(op.canvas.shape, BLANK)}
    last = Frame(
        numbers=frames[-1].numbers,
        tints={"input": op.elements, **rest},
        boxes=(),
        sentence=(
            f"Gathered: OUTPUT is {by(op.output_shape)}, the same numbers as the scatter's.",
            "As the window moves on in the input, the tap steps back: that is the flip.",
        ),
        beats=4,
    )
    return [*frames, last]
