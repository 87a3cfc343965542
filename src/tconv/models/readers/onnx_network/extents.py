"""Pads, crops and enlargements of rows and columns, whose numbers may depend on the size of the picture."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.readers.onnx_graph import label
from tconv.models.readers.onnx_network.axes import picked
from tconv.models.readers.onnx_network.builder import GraphPicture
from tconv.models.readers.onnx_network.inputs import NodeReader
from tconv.models.steps.crop_like import CropLike
from tconv.models.steps.padding import MODES, Padding
from tconv.models.steps.strided_convolution import StridedConvolution

_LARGEST_MULTIPLE = 256
_END = 1 << 31
"""Ends of slices from here on mean the end of the axis."""


def _labelled(reader: NodeReader, node: Any) -> GraphPicture:
    picture = reader.picture(node)
    if not picture.labels:
        raise FileError(
            f"{label(node)} reads axes {picture.shape} of the picture; [N, C, H, W] or [N, H, W, C] are needed"
        )
    return picture


# -- pads ------------------------------------------------------------------------------------------------------------


def _pad(reader: NodeReader, node: Any) -> GraphPicture:
    picture, attributes = _labelled(reader, node), reader.attributes(node)
    mode = attributes.get("mode", "constant")
    if mode not in MODES:
        raise FileError(f"{label(node)} has mode={mode!r}; {', '.join(MODES)} are read")
    arrays, at = reader.sampled(node, 1, "pads")
    value = reader.constant(node, 2) if reader.has(node, 2) else np.asarray(attributes.get("value", 0.0))
    axes = list(range(4)) if not reader.has(node, 3) else [int(axis) % 4 for axis in reader.constant(node, 3).ravel()]
    pads = np.array([array.ravel() for array in arrays], np.int64)
    if pads.shape[1] != 2 * len(axes) or value.size != 1:
        raise FileError(f"{label(node)} has {pads.shape[1]} pads for {len(axes)} axes; two for each are needed")
    sides, multiples = [(0, 0), (0, 0)], [1, 1]
    for number, axis in enumerate(axes):
        letter, lo, hi = picture.labels[axis], pads[:, number], pads[:, number + len(axes)]
        if letter in "NC":
            if lo.any() or hi.any():
                raise FileError(f"{label(node)} pads the axis {letter}; rows and columns can be padded")
            continue
        along = "HW".index(letter)
        sizes = reader.builder.extents(picture.place, along)[at]
        if (lo != lo[0]).any():
            raise FileError(f"{label(node)} has a pad before the picture that depends on its size; a number is needed")
        found = _sides_of(sizes, int(lo[0]), hi)
        if found is None:
            raise FileError(
                f"{label(node)} has pads that depend on the picture's size in a way that is not read: "
                f"{hi.tolist()[:6]} behind {sizes.tolist()[:6]}; a number, or a padding to a multiple, is needed"
            )
        sides[along], multiples[along] = (int(lo[0]), found[0]), found[1]
    if not any(map(any, sides)) and multiples == [1, 1]:
        return picture
    step = Padding((sides[0], sides[1]), mode, float(value.item()), (multiples[0], multiples[1]))
    return reader.builder.whole(reader.builder.add(step, picture.place), picture.labels)


def _sides_of(sizes: Array, lo: int, hi: Array) -> tuple[int, int] | None:
    """Return the pad behind an axis, and the multiple to which it is padded further; None for any other rule."""
    if (hi == hi[0]).all():
        return int(hi[0]), 1
    total = sizes + lo + hi
    common = int(np.gcd.reduce(total))
    for multiple in range(min(common, _LARGEST_MULTIPLE), 1, -1):
        if common % multiple:
            continue
        fixed = range(int(hi.max()) - multiple + 1, int(hi.min()) + 1)
        fitting = [each for each in fixed if (hi - each == -(sizes + lo + each) % multiple).all()]
        if len(fitting) == 1:
            return fitting[0], multiple
    return None


# -- crops -----------------------------------------------------------------------------------------------------------


def _slice(reader: NodeReader, node: Any) -> GraphPicture:
    picture = _labelled(reader, node)
    starts, at = _bounds(reader, node, 1, "starts")
    ends, at_ends = _bounds(reader, node, 2, "ends")
    axes = reader.integers(node, 3, "axes")
    steps = reader.integers(node, 4, "steps")
    axes = list(range(starts.shape[1])) if axes is None else [axis % 4 for axis in axes]
    steps = [1] * len(axes) if steps is None else steps
    if not starts.shape[1] == ends.shape[1] == len(axes) == len(steps) or 0 in steps:
        raise FileError(f"{label(node)} has {len(axes)} axes; as many starts, ends and steps are needed")
    for number, axis in enumerate(axes):
        letter = picture.labels[axis]
        if letter in "NC":
            picture = _channels(reader, node, picture, letter, starts[:, number], ends[:, number], steps[number])
        else:
            along = "HW".index(letter)
            bounds = (starts[:, number], at), (ends[:, number], at_ends)
            picture = _cropped(reader, node, picture, along, *bounds, steps[number])
    return picture


def _bounds(reader: NodeReader, node: Any, number: int, name: str) -> tuple[Array, list[int]]:
    arrays, at = reader.sampled(node, number, name)
    return np.array([array.ravel() for array in arrays], np.int64), at


def _channels(
    reader: NodeReader, node: Any, picture: GraphPicture, letter: str, starts: Array, ends: Array, step: int
) -> GraphPicture:
    start, end = int(starts[0]), int(ends[0])
    count = reader.builder.batch if letter == "N" else reader.builder.channels[picture.place]
    if (starts != start).any() or (ends != end).any():
        raise FileError(
            f"{label(node)} takes a number of {'pictures' if letter == 'N' else 'channels'} that depends on the size"
        )
    numbers = np.arange(count)[slice(start, None if step < 0 and end < -count else end, step)]
    if letter == "N":
        if len(numbers) != count or step < 0:
            raise FileError(f"{label(node)} takes some of the pictures of a batch; all are needed")
        return picture
    if not len(numbers):
        raise FileError(f"{label(node)} takes no channels")
    return reader.builder.whole(picked(reader.builder, picture.place, numbers), picture.labels)


def _cropped(
    reader: NodeReader,
    node: Any,
    picture: GraphPicture,
    axis: int,
    starts: tuple[Array, list[int]],
    ends: tuple[Array, list[int]],
    step: int,
) -> GraphPicture:
    """Return a picture with some of its rows (columns)."""
    builder = reader.builder
    common = sorted(set(starts[1]) & set(ends[1]))
    start, end = (np.array([bound[list_at.index(n)] for n in common], np.int64) for bound, list_at in (starts, ends))
    sizes = builder.extents(picture.place, axis)[common]
    if step < 1:
        raise FileError(f"{label(node)} has a step of {step} along rows or columns; 1 or more is needed")
    lo = np.clip(np.where(start < 0, start + sizes, start), 0, sizes)
    hi = np.clip(np.where(end < 0, end + sizes, end), 0, sizes)
    constant = reader.sized and common == [0]
    if (end >= _END).all():
        hi = sizes
    elif (end < 0).all() and (end == end[0]).all():
        constant = False  # counted from the end, whatever the size
    place = picture.place
    behind = hi - sizes
    if (lo != lo[0]).any() or (lo >= hi).any():
        raise FileError(f"{label(node)} begins at a row or column that depends on the size; a number is needed")
    first = int(lo[0])
    if (behind == 0).all() or ((behind == behind[0]).all() and not constant):
        sides = [(0, 0), (0, 0)]
        sides[axis] = (-first, int(behind[0]))
        if any(map(any, sides)):
            place = builder.add(Padding((sides[0], sides[1])), place)
    else:
        if first:
            sides = [(0, 0), (0, 0)]
            sides[axis] = (-first, 0)
            place = builder.add(Padding((sides[0], sides[1])), place)
        place = _to_size(reader, node, place, axis, hi - lo, common)
    if step > 1:
        place = _every(reader, place, axis, step)
    return builder.whole(place, picture.labels)


def _to_size(reader: NodeReader, node: Any, place: int, axis: int, wanted: Array, at: list[int]) -> int:
    """Append a crop to a size that is a multiple of the picture's, or that of another node."""
    builder = reader.builder
    found = _reference(reader, place, axis, wanted, at)
    before = builder.nodes[place - 1] if place else None
    if axis == 1 and before is not None and isinstance(before.step, HalfCrop):  # rows and columns in two nodes
        source, like = before.inputs
        extents = builder.extents(like, 1)[at]
        factor = Fraction(int(wanted[0]), int(extents[0]))
        if (wanted * factor.denominator == extents * factor.numerator).all():
            return builder.add(CropLike((before.step.factors[0], factor)), source, like)
    if found is None:
        raise FileError(
            f"{label(node)} crops to {wanted.tolist()[:6]} {('rows', 'columns')[axis]}, which follow from no size of "
            "the network. Write a size that is a multiple of the picture's, or a crop by a number on each side"
        )
    reference, factor = found
    if reader.sized and at == [0]:
        builder.note(f"{label(node)} states the size {int(wanted[0])}, which is read as {factor} times the picture's")
    # the other axis stays as it is: it is measured against the picture itself
    other = builder.extents(place, 1 - axis)
    along = builder.extents(reference, 1 - axis)
    alive = np.array(builder.alive)
    ratio = Fraction(int(other[alive][0]), int(along[alive][0]))
    if (other[alive] * ratio.denominator == along[alive] * ratio.numerator).all():
        factors = (factor, ratio) if axis == 0 else (ratio, factor)
        return builder.add(CropLike(factors), place, reference)
    return builder.add(HalfCrop(axis, factor), place, reference)


class HalfCrop(CropLike):
    """Crop of rows alone, until the crop of the columns behind it is read, too."""

    def __init__(self, axis: int, factor: Fraction) -> None:
        super().__init__((factor, factor))
        object.__setattr__(self, "axis", axis)

    def output_extent(self, given: Any, axis: int) -> int:
        """Return the height (width) of the crop, or of the first input along the other axis."""
        return super().output_extent(given, axis) if axis == self.axis else int(given[0])  # type: ignore[attr-defined]

    def source(self, number: int, outputs: slice, sizes: Any, axis: int) -> slice:
        """Return the same rows of the first input, and one row near them of the second."""
        if number == 0 or axis == self.axis:  # type: ignore[attr-defined]
            return super().source(number, outputs, sizes, axis)
        row = min(outputs.start, sizes[1] - 1)
        return slice(row, row + 1)


def _reference(reader: NodeReader, place: int, axis: int, wanted: Array, at: list[int]) -> tuple[int, Fraction] | None:
    """Return the node whose size times a factor is the wanted one: the input, or another one with this size."""
    builder = reader.builder
    sizes = builder.extents(0, axis)[at]
    factor = Fraction(int(wanted[0]), int(sizes[0]))
    one_size = reader.sized and at == [0]
    plain = factor.denominator == 1 or factor.numerator == 1
    if (wanted * factor.denominator == sizes * factor.numerator).all() and (plain or not one_size):
        return 0, factor
    for number in range(len(builder.sizes) - 1, 0, -1):
        if number != place and (builder.extents(number, axis)[at] == wanted).all():
            return number, Fraction(1)
    return None


def _every(reader: NodeReader, place: int, axis: int, step: int) -> int:
    """Append the choice of every step-th row (column)."""
    count = reader.builder.channels[place]
    stride = (step, 1) if axis == 0 else (1, step)
    return reader.builder.add(
        StridedConvolution(np.ones((count, 1, 1, 1), np.float32), None, stride, groups=count), place
    )


OPERATORS: dict[str, Callable[[NodeReader, Any], GraphPicture]] = {"Pad": _pad, "Slice": _slice}
"""Operators of this family."""
