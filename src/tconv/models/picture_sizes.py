"""Scale, border and sizes that a network of pictures takes, found from the sizes that it produces.

Nothing in a file states them. A network with s*(n - 2b) outputs for n pixels has the scale s and loses a border of b
pixels. U-Nets may take multiples of 2, 4 or 8 only.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import NamedTuple

from tconv.errors import ShapeError
from tconv.models.network import Network
from tconv.models.receptive_field import extents, spans_read

_SIDES = 64, 1 << 14
"""Sides of the squares whose output sizes show scale and border: a small one, and one for very wide borders."""
_BLOCKS = 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64
"""Differences between sizes that a network takes, as far as they are tried."""
_TRIED = 4096
"""Most lines added to a picture until a network takes it."""
_PERIOD = 16
"""Pixels after which the places that a network with strides reads repeat."""


class PictureSizes(NamedTuple):
    """Scale and border of a network, and the sizes that it takes: those with the rest `rest` by `block`."""

    scale: int
    border: int
    block: int = 1
    rest: int = 0

    def added(self, network: Network, size: int, axis: int) -> int:
        """Return the lines behind a picture of this height (width) that the network needs, besides both borders.

        Raises ShapeError if it takes no larger picture either.
        """
        bordered = size + 2 * self.border
        first = (self.rest - bordered) % self.block
        for added in range(first, first + _TRIED, self.block):
            try:
                result = extents(network, bordered + added, axis)[-1]
            except ShapeError:  # too few pixels for its padding by reflection, for example
                continue
            if result == self.scale * (size + added):
                return added
        line = "rows", "columns"
        raise ShapeError(
            f"the network takes no picture of {size} {line[axis]}, nor of a few more. Use a larger picture"
        )


def sizes_of(network: Network, name: str) -> PictureSizes:
    """Return scale, border and block of a network. Raises ShapeError for one that is not a network of pictures."""
    error: ShapeError | None = None
    for side in _SIDES:
        outputs = _Outputs(network, name)
        # a few sizes beside each other: a network with strides may refuse most of them
        if any(outputs(side + more) is not None for more in range(_BLOCKS[-1] if side == _SIDES[0] else 8)):
            return _found(outputs, name, side)
        error = error or outputs.error
    raise ShapeError(f"{name} does not take a picture of ({_SIDES[-1]}, {_SIDES[-1]}): {error}")


class _Outputs:
    """Side of the output for a square of each side; None where the network does not take it."""

    def __init__(self, network: Network, name: str) -> None:
        self._network, self._name = network, name
        self._known: dict[int, int | None] = {}
        self.error: ShapeError | None = None

    def __call__(self, side: int) -> int | None:
        if side not in self._known:
            self._known[side] = self._computed(side)
        return self._known[side]

    def _computed(self, side: int) -> int | None:
        try:
            height, width = self._network.output_shape((side, side))
        except ShapeError as error:
            self.error = self.error or error
            return None
        if height != width:
            raise ShapeError(
                f"{self._name} turns ({side}, {side}) into {(height, width)}; a square must become a square"
            )
        return height


def _found(outputs: _Outputs, name: str, side: int) -> PictureSizes:
    slopes: dict[tuple[int, int], tuple[Fraction, int]] = {}
    for block in _BLOCKS:
        for rest in range(block):
            first = side + (rest - side) % block
            results = [outputs(first + block * number) for number in range(8 if block == 1 else 4)]
            steps = {b - a for a, b in itertools.pairwise(results) if a is not None and b is not None}
            if None not in results and len(steps) == 1:
                start = results[0]
                assert start is not None
                slopes[block, rest] = Fraction(steps.pop(), block), start
                scale, lost = slopes[block, rest][0], first * slopes[block, rest][0] - start
                if scale.denominator == 1 and scale >= 1 and lost >= 0 and lost % (2 * scale) == 0:
                    return PictureSizes(int(scale), int(lost // (2 * scale)), block, rest)
        if slopes:
            break  # larger blocks have the same slope
    return _refuse(outputs, name, side, slopes)


def _refuse(
    outputs: _Outputs, name: str, side: int, slopes: dict[tuple[int, int], tuple[Fraction, int]]
) -> PictureSizes:
    """Raise ShapeError: the sizes are not those of a picture with a border."""
    places = [each for each in range(side, side + _BLOCKS[-1]) if outputs(each) is not None]
    if slopes:
        block = next(iter(slopes))[0]
        places = [places[0], next((each for each in places if each >= places[0] + block), places[-1])]
    given = ", and ".join(f"({n}, {n}) into ({outputs(n)}, {outputs(n)})" for n in places[:2])
    text = f"{name} turns {given}"
    if not slopes:
        raise ShapeError(f"{text}, by no rule. Write a network whose output grows with the picture")
    scale = next(iter(slopes.values()))[0]
    if scale == 0:
        raise ShapeError(f"{text}: its output does not grow with the picture. Write a network of pictures")
    if scale < 1:
        raise ShapeError(
            f"{text}: it makes pictures smaller. Write a network whose output is as large as the picture, or larger"
        )
    if scale.denominator > 1:
        raise ShapeError(f"{text}: its scale is {scale}. Write a network whose scale is a whole number")
    raise ShapeError(
        f"{text}; at scale {scale} that is not a picture with a border of whole pixels. Write a crop (padding) that "
        "leaves scale x the size, or that less a multiple of 2 x scale"
    )


def refuse_off_centre(network: Network, name: str, sizes: PictureSizes) -> None:
    """Raise ShapeError if output pixels depend on inputs whose centre is a pixel or more beside them."""
    size = _SIDES[1] // sizes.block * sizes.block + sizes.rest
    centre = size // 2 // _PERIOD * _PERIOD
    for axis, lines in enumerate(("rows", "columns")):
        sides = extents(network, size, axis)
        # with strides inside, each pixel of a block reads beside itself to another side: their mean counts
        strided = any(
            1 < side < 0.75 * sides[place]
            for node, side in zip(network.nodes, sides[1:], strict=True)
            for place in node.inputs
        )
        places = range(centre, centre + (_PERIOD if strided or sizes.block > 1 else 1))
        spans = []
        for place in places:
            outputs = slice(sizes.scale * (place - sizes.border), sizes.scale * (place - sizes.border + 1))
            spans.append(spans_read(network, sides, outputs, axis)[0] or slice(place, place + 1))
        aside = sum(s.start + s.stop - 1 - 2 * place for s, place in zip(spans, places, strict=True)) / len(places)
        if abs(aside) >= 2:
            first, last = spans[0].start - places[0], spans[0].stop - 1 - places[0]
            raise ShapeError(
                f"{name} computes the output {lines} of pixel i from the input {lines} i{first:+d} to i{last:+d}, "
                "which would shift the picture. Write a padding (crop) that is the same on both sides"
            )
