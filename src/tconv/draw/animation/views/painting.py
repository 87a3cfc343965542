"""The scatter, element by element: each input element paints its multiple of the kernel into the output."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv._textbook_arguments import wide_dtype
from tconv.draw.animation.animated_operator import AnimatedOperator
from tconv.draw.animation.film import BLANK, CUT, PLAIN, SUM, Box, Film, Frame, Grid, only, whole
from tconv.draw.animation.wording import crop_notes, factor, title
from tconv.draw.array_grid import brackets, by


def film(op: AnimatedOperator) -> Film:
    """Return a frame per input element, in C order, and a last one that shows the output."""
    grids = {
        "input": Grid("input", f"INPUT {by(op.x.shape)}", np.full(op.x.shape, PLAIN), whole(op.x.shape)),
        "kernel": Grid("kernel", f"KERNEL {by(op.w.shape)}", np.full(op.w.shape, PLAIN), whole(op.w.shape)),
        "product": Grid("product", "PRODUCT", np.full(op.w.shape, PLAIN), whole(op.w.shape)),
        "output": Grid("output", f"OUTPUT {by(op.output_shape)}", op.kinds, op.canvas.output),
    }
    frames = list(_frames(op))
    return Film(title("Scatter", op), grids, ("×", "=", "→"), frames, crop_notes(op), op.x.shape)


def _frames(op: AnimatedOperator) -> list[Frame]:
    sums = np.zeros(op.canvas.shape, wide_dtype(op.output.dtype))
    counts = np.zeros(op.canvas.shape, int)
    first = np.zeros(op.canvas.shape, int)  # number of the first element that reached a cell
    frames = []
    for element in np.ndindex(*op.x.shape):
        window = op.window(element)
        taps = tuple(slice(side.start, side.stop, d) for side, d in zip(window, op.geometry.dilation, strict=True))
        product = op.x[element] * op.w
        sums[taps] += op.x[element].astype(sums.dtype) * op.w.astype(sums.dtype)
        counts[taps] += 1
        first[taps] = np.where(first[taps], first[taps], op.elements[element])
        tints = _tints(counts, first)
        tints[taps] = op.elements[element]
        frames.append(
            Frame(
                numbers={
                    "input": only(op.x),
                    "kernel": only(op.w),
                    "product": only(product),
                    "output": only(sums.copy(), counts > 0),
                },
                tints={
                    "input": op.elements,
                    "kernel": np.full(op.w.shape, BLANK),
                    "product": np.full(op.w.shape, op.elements[element]),
                    "output": tints,
                },
                boxes=(
                    Box("input", element, (1,) * op.x.ndim),
                    Box("output", tuple(side.start for side in window), op.geometry.extent),
                ),
                sentence=_sentence(op, element, window),
            )
        )
    return [*frames, _last(op, frames[-1], counts, _tints(counts, first))]


def _tints(counts: Array, first: Array) -> Array:
    """Return the colour of the element in cells that one reached, and grey where several are summed."""
    return np.where(counts == 1, first, np.where(counts > 1, SUM, BLANK))


def _sentence(op: AnimatedOperator, element: tuple[int, ...], window: tuple[slice, ...]) -> tuple[str, str]:
    """Return what an element paints, and what follows from stride, dilation and crop."""
    what = f"x{brackets(element)} = {factor(op.x[element])}: {factor(op.x[element])} × KERNEL is added to the output"
    if element[-1]:
        step, way = op.geometry.stride[-1], "right"
    elif any(element):
        step, way = op.geometry.stride[0], "down"
    else:
        return what, "One element after the other; the stride is the step between them."
    return what, f"It paints {step} further {way} than the one before: the stride is a step in the OUTPUT."


def _last(op: AnimatedOperator, before: Frame, counts: Array, tints: Array) -> Frame:
    """Return the output alone: cut cells are empty, cells that nothing reaches are 0."""
    kept = op.kinds != CUT
    sums = np.zeros(op.canvas.shape, op.output.dtype)
    sums[op.canvas.output] = op.output
    zeros = int((counts[kept] == 0).sum())
    text = f"Summed: OUTPUT is {by(op.output_shape)}."
    if op.is_cropped:
        text = f"Padding is a crop: of the full {by(op.full_shape)} it keeps {by(op.output_shape)}. This is y."
    more = "Every cell has one product: nothing overlaps."
    if zeros:
        more = f"{zeros} of its cells no element reaches: 0, or the bias."
    elif (counts[kept] > 1).any():
        more = "Grey cells are sums of several products."
    return Frame(
        numbers={**before.numbers, "product": only(op.w, False), "output": only(sums, kept)},
        tints={**before.tints, "product": np.full(op.w.shape, BLANK), "output": np.where(kept, tints, BLANK)},
        boxes=(),
        sentence=(text, more),
        beats=4,
    )
