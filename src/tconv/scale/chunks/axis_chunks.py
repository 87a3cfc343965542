"""Chunks along one axis: borders of those of the input and the output, and the inputs that each output chunk reads."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

from tconv._cached_property import cached_property
from tconv.scale.operators.tile_operator import TileOperator


@dataclass(frozen=True)
class AxisChunks:
    """One spatial axis of input and output.

    >>> axis = AxisChunks((0, 4, 8), (0, 8, 16), (slice(0, 5), slice(3, 8)))
    >>> axis.parts[0]
    ((0, slice(0, 4, None), slice(0, 4, None)), (1, slice(0, 1, None), slice(4, 5, None)))
    """

    inputs: tuple[int, ...]
    """Borders of the input's chunks, from 0 to its size."""
    outputs: tuple[int, ...]
    windows: tuple[slice, ...]
    """Inputs that each output chunk reads."""

    @property
    def count(self) -> int:
        """Return the number of output chunks."""
        return len(self.outputs) - 1

    def output(self, chunk: int) -> slice:
        """Return the outputs of a chunk."""
        return slice(self.outputs[chunk], self.outputs[chunk + 1])

    @cached_property
    def parts(self) -> tuple[tuple[tuple[int, slice, slice], ...], ...]:
        """Parts of the window of each output chunk: input chunk, span inside of it, place in the window."""
        borders, found = self.inputs, []
        for window in self.windows:
            parts, chunk = [], bisect_right(borders, window.start) - 1
            while borders[chunk] < window.stop:
                start, stop = max(borders[chunk], window.start), min(borders[chunk + 1], window.stop)
                if start < stop:
                    span = slice(start - borders[chunk], stop - borders[chunk])
                    parts.append((chunk, span, slice(start - window.start, stop - window.start)))
                chunk += 1
                if chunk == len(borders) - 1:
                    break
            found.append(tuple(parts))
        return tuple(found)

    @cached_property
    def sources(self) -> tuple[tuple[tuple[int, ...], tuple[bool, ...]], ...]:
        """Input chunks of each output chunk, and True for those of which it reads at least half."""
        return tuple(
            (tuple(part[0] for part in parts), tuple(self._reads_most(part[0], part[1]) for part in parts))
            for parts in self.parts
        )

    @cached_property
    def readers(self) -> tuple[tuple[tuple[int, slice, bool], ...], ...]:
        """Output chunks that read each input chunk, the span of it that they read, and True for at least half of it."""
        found: list[list[tuple[int, slice, bool]]] = [[] for _ in self.inputs[1:]]
        for output, parts in enumerate(self.parts):
            for chunk, span, _ in parts:
                found[chunk].append((output, span, self._reads_most(chunk, span)))
        return tuple(map(tuple, found))

    @cached_property
    def shares(self) -> tuple[tuple[float, float], ...]:
        """Of each input chunk: elements that all output chunks read of it, and of those that read most of it.

        Both are relative to the elements of the chunk.
        """
        shares = []
        for (start, stop), readers in zip(pairwise(self.inputs), self.readers, strict=True):
            size = max(stop - start, 1)
            counts = [(span.stop - span.start, most) for _, span, most in readers]
            shares.append(
                (sum(count for count, _ in counts) / size, sum(count * most for count, most in counts) / size)
            )
        return tuple(shares)

    def _reads_most(self, chunk: int, span: slice) -> bool:
        size = self.inputs[chunk + 1] - self.inputs[chunk]
        return 2 * int(span.stop - span.start) >= size


def borders_of(chunks: Sequence[int]) -> tuple[int, ...]:
    """Return the borders of chunks of these sizes: (3, 4) is (0, 3, 7)."""
    return tuple(accumulate(chunks, initial=0))


def output_scale(operator: TileOperator, sizes: tuple[int, ...], axis: int) -> tuple[Fraction, Fraction]:
    """Return scale and offset of an axis: the centre of output o lies over input (o + 1/2 - offset)/scale - 1/2.

    The scale is that of long axes; the offset is a mean over the outputs of one period in the middle of a long axis.
    """
    longer = max(64, sizes[axis])
    one, two = (operator.output_sizes((*sizes[:axis], count * longer, *sizes[axis + 1 :]))[axis] for count in (2, 4))
    scale = Fraction(two - one, 2 * longer)
    whole = (*sizes[:axis], 4 * longer, *sizes[axis + 1 :])
    length, offsets = operator.output_sizes(whole), []
    first = tuple(slice(0, 1) for _ in length)
    for output in range(length[axis] // 2, length[axis] // 2 + max(1, round(scale))):
        window = operator.window((*first[:axis], slice(output, output + 1), *first[axis + 1 :]), whole)[axis]
        centre = Fraction(window.start + window.stop, 2)
        offsets.append(output + Fraction(1, 2) - scale * centre)
    return scale, sum(offsets, Fraction(0)) / len(offsets)


def output_borders(inputs: Sequence[int], size: int, scale: Fraction, offset: Fraction) -> tuple[int, ...]:
    """Return the borders of an output of this size over those of the input: scale times them.

    They are moved by the offset, where that is more than the scale: outputs lie in the chunk of the inputs that they
    read. The last chunk gets the rest. Chunks without outputs are left out.
    """
    is_near = abs(offset) <= scale or abs(offset) <= 1
    moved = 0 if is_near else round(offset)
    inner = sorted({round(scale * border) + moved for border in inputs[1:-1]})
    return (0, *(border for border in inner if 0 < border < size), size)


def chunks_along(
    operator: TileOperator, sizes: tuple[int, ...], axis: int, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> AxisChunks:
    """Return the chunks of an axis with the windows of the operator, which depend on this axis alone."""
    first = tuple(slice(0, 1) for _ in sizes)
    windows = tuple(
        operator.window((*first[:axis], slice(start, stop), *first[axis + 1 :]), sizes)[axis]
        for start, stop in pairwise(outputs)
    )
    return AxisChunks(inputs, outputs, windows)
