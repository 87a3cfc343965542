"""Operations one behind the other as a `TileOperator`: a decoder, layer by layer, without its whole pictures."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tconv._arrays import Array
from tconv._memory import empty
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.scale.operators.tile_operator import Read, TileOperator
from tconv.scale.regions import Region, Sizes, elements, region_sizes


class ChainOperator:
    """Operations of which each reads the output of the one before it.

    The window of a tile is composed from the last operation to the first, and clipped to what exists before each. So
    no number is read beyond a border, and none is computed that the tile does not need.

    >>> import numpy as np
    >>> from tconv import Geometry
    >>> from tconv.scale.operators.layer import LayerOperator
    >>> doubled = LayerOperator(np.ones((1, 1, 4), np.float32), None, Geometry(4, 2, 1))
    >>> chain = ChainOperator([doubled, doubled])
    >>> chain.output_sizes((50,)), chain.window((slice(40, 60),), (50,))
    ((200,), (slice(9, 16, None),))

    Raises ShapeError for channels or axes that do not fit, DtypeError for dtypes that do not.
    """

    def __init__(self, operators: Sequence[TileOperator]) -> None:
        if not operators:
            raise ArgumentError("the chain has no layer; at least one is needed. Write [layer], for example")
        self.operators = tuple(operators)
        first, last = self.operators[0], self.operators[-1]
        for number, (before, after) in enumerate(zip(self.operators, self.operators[1:], strict=False), 1):
            if before.ndim != after.ndim:
                raise ShapeError(
                    f"layer {number} of the chain has {after.ndim} spatial axes and the one before it {before.ndim}. "
                    "Use layers of one number of axes"
                )
            if before.channels[1] != after.channels[0]:
                raise ShapeError(
                    f"layer {number} of the chain has {after.channels[0]} input channels; the one before it has "
                    f"{before.channels[1]} output channels. Use layers that fit"
                )
            if before.result != after.dtype:
                raise DtypeError(
                    f"layer {number} of the chain reads {after.dtype}; the one before it returns {before.result}. Use "
                    "weights of one floating dtype"
                )
        self.ndim, self.dtype, self.result = first.ndim, first.dtype, last.result
        self.channels = first.channels[0], last.channels[1]
        self.method = " and ".join(sorted({each.method for each in self.operators}))
        self.name = f"chain of {len(self.operators)}: {'; '.join(each.name for each in self.operators)}"

    def fingerprint_parts(self) -> tuple[Any, ...]:
        """Return the operations."""
        return self.operators

    def _sizes(self, sizes: Sizes) -> list[Sizes]:
        """Return the sizes of the input and of each output."""
        result = [tuple(sizes)]
        for each in self.operators:
            result.append(each.output_sizes(result[-1]))
        return result

    def _windows(self, outputs: Region, sizes: Sequence[Sizes]) -> list[Region]:
        """Return the regions of the input and of each output that a tile needs of the last one."""
        regions = [outputs]
        for each, given in zip(self.operators[::-1], sizes[-2::-1], strict=False):
            regions.append(each.window(regions[-1], given))
        return regions[::-1]

    def output_sizes(self, sizes: Sizes) -> Sizes:
        """Return the sizes of the last output. Raises ShapeError if an axis of one would be empty."""
        return self._sizes(sizes)[-1]

    def window(self, outputs: Region, sizes: Sizes) -> Region:
        """Return the inputs that outputs read; at least one along each axis."""
        return self._windows(outputs, self._sizes(sizes))[0]

    def compute(self, x: Array, window: Region, sizes: Sizes, outputs: Region, out: Array, context: Any = None) -> None:
        """Fill out from x, operation by operation."""
        totals = self._sizes(sizes)
        regions = self._windows(outputs, totals)
        regions[0] = window
        for number, each in enumerate(self.operators):
            last = number == len(self.operators) - 1
            target = out if last else empty((each.channels[1], *region_sizes(regions[number + 1])), each.result)
            each.compute(x, regions[number], totals[number], regions[number + 1], target, _context(context, number))
            x = target

    def scratch_bytes(self, outputs: Region, sizes: Sizes) -> int:
        """Return the most bytes of what an operation reads, what it writes and what it needs, of all of them."""
        totals = self._sizes(sizes)
        regions = self._windows(outputs, totals)
        kept = [each.channels[1] * elements(region) * each.result.itemsize for each, region in self._outputs(regions)]
        kept = [0, *kept[:-1], 0]  # without the tile itself and its input
        own = [
            each.scratch_bytes(region, given)
            for (each, region), given in zip(self._outputs(regions), totals, strict=False)
        ]
        # packed weights stay, and so does the scratch memory of the kernel's threads
        return sum(own) + max(before + after for before, after in itertools.pairwise(kept))

    def _outputs(self, regions: Sequence[Region]) -> list[tuple[TileOperator, Region]]:
        return list(zip(self.operators, regions[1:], strict=True))

    def work(self, outputs: Region, sizes: Sizes) -> int:
        """Return the multiply-adds of all operations, those beside the tile that the next ones read included."""
        totals = self._sizes(sizes)
        found = self._outputs(self._windows(outputs, totals))
        return sum(each.work(region, given) for (each, region), given in zip(found, totals, strict=False))

    def prepare(self, read: Read, sizes: Sizes, memory: int) -> dict[str, Array] | None:
        """Return what the operations need of their whole inputs; None if none needs any."""
        totals, found = self._sizes(sizes), dict[str, Array]()
        for number, each in enumerate(self.operators):
            part = each.prepare(partial(self._read, read, totals, number, found), totals[number], memory)
            found |= {f"{number}.{name}": values for name, values in (part or {}).items()}
        return found or None

    def _read(
        self, read: Read, totals: Sequence[Sizes], count: int, found: Mapping[str, Array], region: Region
    ) -> Array:
        """Return a region of the input of an operation, computed by the `count` ones before it."""
        if count == 0:
            return read(region)
        before = ChainOperator(self.operators[:count])
        window = before.window(region, totals[0])
        out = empty((before.channels[1], *region_sizes(region)), before.result)
        before.compute(read(window), window, totals[0], region, out, found)
        return out


def _context(context: Mapping[str, Array] | None, number: int) -> dict[str, Array] | None:
    """Return what one operation needs of its whole input."""
    prefix = f"{number}."
    return {
        name.removeprefix(prefix): values for name, values in (context or {}).items() if name.startswith(prefix)
    } or None
