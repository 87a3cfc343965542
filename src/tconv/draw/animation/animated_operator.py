"""One operator with its numbers, as the views read it; each of its numbers is the definition's."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tconv import definition
from tconv._arrays import Array
from tconv.draw.animation.film import BEYOND, CUT, PLAIN
from tconv.draw.operands import Operands
from tconv.draw.output_canvas import Canvas

Index = tuple[int, ...]


class AnimatedOperator:
    """x, w and their geometry, and the canvas: the full result, and rows beyond it where the crop is negative."""

    def __init__(self, given: Operands) -> None:
        self.x, self.w, self.geometry = given
        self.canvas = Canvas(self.geometry, self.x.shape)
        self.full_shape = self.geometry.full_shape(self.x.shape)
        self.output_shape = self.canvas.output_shape
        self.is_cropped = any(max(pair) > 0 for pair in self.geometry.crop)
        self.is_extended = any(min(pair) < 0 for pair in self.geometry.crop)
        self.elements = np.arange(1, self.x.size + 1).reshape(self.x.shape)
        """Number of each input element: the tint of what it is multiplied with."""

    @cached_property
    def kinds(self) -> Array:
        """Kind of each cell of the canvas."""
        kinds = np.full(self.canvas.shape, BEYOND)
        origin = self.canvas.full_index((0,) * self.x.ndim)
        kinds[tuple(slice(-o, n - o) for o, n in zip(origin, self.full_shape, strict=True))] = PLAIN
        remains = np.zeros(self.canvas.shape, bool)
        remains[self.canvas.output] = True
        kinds[~remains] = CUT
        return kinds

    @cached_property
    def output(self) -> Array:
        """The output, by the definition."""
        return np.asarray(definition.scatter(self.x, self.w, geometry=self.geometry))

    def window(self, element: Index) -> tuple[slice, ...]:
        """Return the cells of the canvas that an input element spans."""
        return self.canvas.uncropped.output_window(tuple(slice(i, i + 1) for i in element))
