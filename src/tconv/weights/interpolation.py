"""Interpolation filters as transposed convolutions: their weights, and upsampling and downsampling with them.

Making an array `s` times larger by a filter h is the transposed convolution with stride s whose tap t weighs

    w[t] = h((t - (k - 1)/2) / s)             h in input pixels, half-pixel centres (align_corners=False)

where k is the largest size, even or odd as s is, without a tap outside h's support; cropping (k - s)/2 from
both ends leaves exactly s*n outputs. At a border taps are missing and the picture would darken, and the phases of
Lanczos do not quite sum to one; so the result is divided by the same operator's output for ones:

    y = T(x) / T(1)                           making smaller: u = T*(y) / T*(1), with the adjoint T*

Two axes are two passes of one axis each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv._arguments import int_of
from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv.errors import ArgumentError, DtypeError, ShapeError
from tconv.geometry import Geometry
from tconv.operator.functional import conv
from tconv.operator.strips import conv_transpose_strip


class Filter(NamedTuple):
    """A filter h(u): its full width in input pixels, its formula, and a description."""

    width: int
    weight: Callable[[Array], Array]
    description: str


def _keys(u: Array) -> Array:
    a, u = -0.5, np.abs(u)
    inner = (a + 2) * u**3 - (a + 3) * u**2 + 1
    outer = a * (u**3 - 5 * u**2 + 8 * u - 4)
    return np.where(u < 1, inner, np.where(u < 2, outer, 0.0))


FILTERS = {
    "nearest": Filter(1, np.ones_like, "every pixel repeated"),
    "bilinear": Filter(2, lambda u: np.maximum(0.0, 1 - np.abs(u)), "a triangle of 2 pixels"),
    "bicubic": Filter(4, _keys, "Keys, a = -0.5"),
    "lanczos": Filter(6, lambda u: np.where(np.abs(u) < 3, np.sinc(u) * np.sinc(u / 3), 0.0), "3 lobes"),
}
"""Filters by name. Bicubic: Keys 1981, doi:10.1109/TASSP.1981.1163711, eq. 4; Lanczos: Duchon 1979, 3 lobes."""


@dataclass(frozen=True)
class Interpolation:
    """One filter at one scale, as a transposed convolution with stride `scale` on each of the two axes.

    >>> bilinear = Interpolation("bilinear", 2)
    >>> bilinear.taps
    array([0.25, 0.75, 0.75, 0.25])
    >>> bilinear.geometry
    Geometry(kernel=(4,), stride=(2,), crop=((1, 1),), dilation=(1,), groups=1)
    >>> bilinear.upsample(np.float32([[0, 4]]))
    array([[0., 1., 3., 4.],
           [0., 1., 3., 4.]], dtype=float32)

    Raises ArgumentError for a filter that does not exist, GeometryError for a scale that is not an integer from 1 up.
    """

    kernel: str
    scale: int

    def __post_init__(self) -> None:
        if self.kernel not in FILTERS:
            raise ArgumentError(
                f'kernel is {self.kernel!r}; there are {", ".join(FILTERS)}. Write kernel="bicubic", for example'
            )
        object.__setattr__(self, "scale", int_of(self.scale, "scale", least=1))

    @property
    def description(self) -> str:
        """Name and description of the filter, for a report."""
        return f"{self.kernel} ({FILTERS[self.kernel].description})"

    @property
    def size(self) -> int:
        """Number of taps of one axis, k."""
        width, s = FILTERS[self.kernel].width, self.scale
        return width * s - (width - 1) * s % 2

    @cached_property
    def taps(self) -> Array:
        """Weights of one axis [k], float64, symmetric."""
        k, s = self.size, self.scale
        return FILTERS[self.kernel].weight((np.arange(k) - (k - 1) / 2) / s)

    @cached_property
    def geometry(self) -> Geometry:
        """Geometry of the operator on one axis: n inputs to scale*n outputs."""
        return Geometry(self.size, self.scale, (self.size - self.scale) // 2)

    # -- whole arrays --------------------------------------------------------------------------------------------

    def upsample(self, x: Any) -> Any:
        """Return x [..., H, W], floating or complex, `scale` times larger on both axes; the dtype stays.

        Raises ShapeError, DtypeError, and the errors of `conv_transpose`.
        """
        library, x = _images(x)
        return _arrays.give(self.strip(x, 0, slice(0, self.scale * x.shape[-2])), library)

    def downsample(self, y: Any) -> Any:
        """Return y [..., s*H, s*W] as [..., H, W]: the adjoint of `upsample`, each output a mean of s*width inputs.

        >>> Interpolation("nearest", 2).downsample(np.float32([[1, 3, 5, 5], [1, 3, 5, 5]]))
        array([[2., 5.]], dtype=float32)

        Raises ShapeError if the scale does not divide the size.
        """
        library, y = _images(y)
        s, (height, width) = self.scale, y.shape[-2:]
        if height % s or width % s:
            raise ShapeError(
                f"the array is {height} x {width}, which scale {s} does not divide; multiples of it are needed. "
                f"Write y[..., :{height // s * s}, :{width // s * s}]"
            )
        for axis in (0, 1):
            g = self.planar(axis)
            w = self._weight(g, y.dtype)
            planes = y.reshape(-1, 1, *y.shape[-2:])
            ones = np.ones_like(planes[:1, :, :1] if axis else planes[:1, :, :, :1])
            smaller = conv(planes, w, geometry=g) / conv(ones, w, geometry=g)
            y = smaller.reshape(*y.shape[:-2], *smaller.shape[-2:])
        return _arrays.give(y, library)

    # -- a part of the rows --------------------------------------------------------------------------------------

    def window(self, rows: slice, height: int) -> slice:
        """Return the input rows that these output rows need, of an input of this height."""
        return self.geometry.input_window([rows], height)[0]

    def strip(
        self, x: Array, first: int, rows: slice, step: int = 1, columns: slice | None = None, left: int = 0
    ) -> Array:
        """Return the output rows `rows` of images, from x [..., h, W] with the input rows from `first` on.

        With a `step` n, return only every n-th of those rows, and every n-th column, the middle one of each n. With
        `columns`, return those output columns only, from x with the input columns from `left` on.
        """
        columns = columns or slice(step // 2, self.scale * x.shape[-1])
        # unused rows are dropped before columns are computed, so that no unused number is computed on both axes
        tall = self._stretch(x, 0, first, rows)[..., ::step, :]
        return self._stretch(tall, 1, left, columns)[..., ::step]

    def _stretch(self, x: Array, axis: int, first: int, outputs: slice) -> Array:
        """Return `outputs` along one axis from the inputs x, which start at index `first`: T(x) / T(1)."""
        n = x.shape[axis - 2]
        g = self.planar(axis, crop_for(self.geometry, first, n, outputs))
        w = self._weight(g, x.dtype)
        y = conv_transpose_strip(x.reshape(-1, 1, *x.shape[-2:]), w, g)
        ones = np.ones((1, 1, 1, n) if axis else (1, 1, n, 1))
        gain = conv_transpose_strip(ones, self._weight(g, ones.dtype), g).ravel().astype(w.real.dtype)
        uneven = np.flatnonzero(gain != 1)  # mostly a few at the border: the other outputs need no division
        where = uneven if 2 * uneven.size < gain.size else slice(None)
        with np.errstate(over="ignore", invalid="ignore"):  # inf and NaN are ordinary values here
            if axis:
                y[..., where] /= gain[where]
            else:
                y[..., where, :] /= gain[where, None]
        return y.reshape(*x.shape[:-2], *y.shape[-2:])

    def planar(self, axis: int, crop: tuple[int, int] | None = None) -> Geometry:
        """Return the geometry on planes [N, 1, H, W], along rows (axis 0) or columns (axis 1), with any `crop`."""
        shape, stride, crops = [1, 1], [1, 1], [(0, 0), (0, 0)]
        shape[axis], stride[axis], crops[axis] = self.size, self.scale, crop or self.geometry.crop[0]
        return Geometry(shape, stride, crops)

    def _weight(self, g: Geometry, dtype: Any) -> Array:
        return self.taps.astype(dtype).reshape(1, 1, *g.kernel)


def upsample(x: Any, scale: int = 2, kernel: str = "bicubic") -> Any:
    """Return x [..., H, W] `scale` times larger on its two last axes by a named filter.

    >>> upsample(np.float32([[0, 4]]), 2, "nearest")
    array([[0., 0., 4., 4.],
           [0., 0., 4., 4.]], dtype=float32)

    x is a floating or complex array of any library that `conv_transpose` takes; library and dtype stay. `kernel` is a
    name in `FILTERS`. A constant stays constant, up to the border. Raises the errors of `Interpolation`.
    """
    return Interpolation(kernel, scale).upsample(x)


def downsample(y: Any, scale: int = 2, kernel: str = "bicubic") -> Any:
    """Return y [..., s*H, s*W] `scale` times smaller, without aliasing: the adjoint of `upsample`, normalised.

    >>> downsample(upsample(np.float32([[1, 1], [1, 1]])))
    array([[1., 1.],
           [1., 1.]], dtype=float32)

    Arrays, dtypes and errors as `upsample`; the scale must divide the size.
    """
    return Interpolation(kernel, scale).downsample(y)


def crop_for(g: Geometry, first: int, n: int, outputs: slice) -> tuple[int, int]:
    """Return the crop with which a one-axis operator on the n inputs from index `first` on gives just `outputs`.

    >>> crop_for(Geometry(4, 2, 1), first=1, n=3, outputs=slice(4, 6))
    (3, 3)
    """
    (full,) = g.full_shape(n)
    lo = outputs.start + g.crop[0][0] - g.stride[0] * first
    return lo, full - lo - (outputs.stop - outputs.start)


def _images(x: Any) -> tuple[str, Array]:
    """Return library and array, with two axes or more, floating or complex. Raises ShapeError, DtypeError."""
    library, array = _arrays.take(x, "x")
    if array.ndim < 2:
        raise ShapeError(f"x has shape {array.shape}; rows and columns are needed: [..., H, W]. Write x[None]")
    if array.dtype.kind in "biu":
        raise DtypeError(
            f"x has dtype {array.dtype}, and weighted means of integers are fractions. Write x.astype(np.float32)"
        )
    if math.prod(array.shape[-2:]) == 0:
        raise ShapeError(f"x has shape {array.shape}; every image needs at least 1 row and 1 column")
    return library, array
