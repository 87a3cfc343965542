"""Reading of a picture's operator: arrays or sizes alone, and the words of the definition or of a dialect.

The animations and the command `tconv draw` read their arguments with it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tconv._arguments import Ints, entries_of, ints_of
from tconv._arrays import Array
from tconv.dialects import dialect as find_dialect
from tconv.draw.arguments import flat_arrays, geometry_of
from tconv.draw.array_grid import MOST_AXES
from tconv.errors import ArgumentError, GeometryError, ShapeError
from tconv.geometry import Geometry

LARGEST = 512
"""Most elements on an axis that is given as a size alone, and the root of the most in an array of three."""

_USUAL = 3


class Operands(NamedTuple):
    """Arrays x and w of one channel, w not flipped in the scatter sense, and the geometry that puts them together."""

    x: Array
    w: Array
    geometry: Geometry


def read_operands(
    x: Any = None,
    w: Any = None,
    *,
    input: Ints | None = None,
    kernel: Ints | None = None,
    dialect: str | None = None,
    grouped: bool = False,
    **spec: Any,
) -> Operands:
    """Return the arrays and the geometry of one operator of one channel, on one to three axes.

    >>> read_operands(kernel=3, input=2, stride=2, padding=1)
    Operands(x=array([1, 2]), w=array([1, 2, 3]), geometry=Geometry(kernel=(3,), stride=(2,), crop=((1, 1),), \
dilation=(1,), groups=1))

    x and w are bare arrays of any library; instead of them `input` and `kernel` may give sizes alone, and the elements
    are 1 to 9 in C order, again and again. An int for both is one axis, one alone as many as the other array has; an
    int for the kernel alone is a square, as in the commands. Left out, an input has 3 elements on each axis and a
    kernel 3 on each axis of x, or 3 x 3. `spec` is that of
    `tconv.definition.scatter`; with a `dialect` it is in the words of that dialect, and a given w has its taps in the
    order in which the dialect stores them.

    Raises ShapeError, GeometryError, DialectError, DtypeError, ArrayError and ArgumentError for what describes no
    operator, and for an operator with another number of axes, an empty output, or more than one group (unless
    `grouped`, in a dialect).
    """
    for array, name, size, alone in ((x, "x", input, "input"), (w, "w", kernel, "kernel")):
        if array is not None and size is not None:
            raise ArgumentError(
                f"{name}= and {alone}= were given; the array has its own size. Write the call without {alone}="
            )
    if x is not None:
        (x,) = flat_arrays(x=x)  # its own error comes before that of a kernel of as many axes
    counted = w is None
    if counted:
        w = _counting(_kernel_of(x, kernel, input, spec.get("geometry")), "kernel")
    if x is None:
        ndim = flat_arrays(w=w)[0].ndim
        x = _counting(ints_of(_USUAL if input is None else input, "input", ndim, least=1), "input")
    x, w = flat_arrays(x=x, w=w)
    if w.size == 0 or x.size == 0:
        name, shape = ("w", w.shape) if w.size == 0 else ("x", x.shape)
        raise ShapeError(f"{name} has shape {shape}, without an element. Use an array with at least one on each axis")
    if dialect is None:
        geometry = geometry_of(w.shape, spec)
    else:
        geometry, flipped = _in_dialect(dialect, x.shape, w.shape, spec)
        if geometry.groups != 1 and not grouped:
            raise GeometryError(
                f"the call has {geometry.groups} groups; the pictures show one channel. Write it without groups"
            )
        w = np.flip(w) if flipped and not counted else w
    geometry.output_shape(x.shape)  # refuses an empty output
    return Operands(x, w, geometry)


def _kernel_of(x: Any, kernel: Ints | None, input: Ints | None, geometry: Any) -> tuple[int, ...]:
    """Return the sizes of a kernel that is not given as an array."""
    if kernel is None and isinstance(geometry, Geometry):
        return geometry.kernel
    given = entries_of(kernel) or entries_of(input)
    if given is None and input is None and x is None:
        ndim = geometry.ndim if isinstance(geometry, Geometry) else 2
    else:
        ndim = np.ndim(x) if x is not None and entries_of(kernel) is None else len(given or (1,))
    return ints_of(_USUAL if kernel is None else kernel, "kernel", ndim, least=1)


def _counting(shape: tuple[int, ...], name: str) -> Array:
    """Return 1, 2, ..., 9, 1, 2, ... in C order. Raises ShapeError for sizes that no picture has."""
    if not 1 <= len(shape) <= MOST_AXES:
        raise ShapeError(f"{name} is {shape}; pictures have 1, 2 or 3 axes. Write {name}=3, or {name}=(3, 3)")
    if max(shape) > LARGEST or math.prod(shape) > LARGEST**2:
        raise ShapeError(
            f"{name} is {shape}; at most {LARGEST} on an axis and {LARGEST**2} elements can be drawn. Write "
            f"{name}={(8,) * len(shape)}"
        )
    return (np.arange(np.prod(shape)) % 9 + 1).reshape(shape)


def _in_dialect(
    name: str, sizes: tuple[int, ...], kernel: tuple[int, ...], native: dict[str, Any]
) -> tuple[Geometry, bool]:
    """Return the geometry of a dialect's own arguments, and True if it stores the taps in reversed order."""
    if "geometry" in native:
        raise ArgumentError("geometry= and dialect= were given; a geometry is in no dialect. Write geometry= alone")
    rules = find_dialect(name)
    geometry = rules.geometry(kernel=kernel, input=sizes, **native)
    layout = {argument: native[argument] for argument in rules.layout_arguments if argument in native}
    return geometry, rules.weight_layout(len(kernel), **layout).flip
