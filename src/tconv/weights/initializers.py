"""Initial weights for transposed convolutions: interpolation in all channels, and weights without a checkerboard.

Both are canonical weights [C_in, C_out/groups, *kernel], PyTorch's layout; `tconv.convert(w, source="torch", ...)`
converts them to others. `tconv.torch.bilinear_` and `icnr_` fill tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from tconv._arguments import Ints, entries_of, int_of, ints_of, shown
from tconv._arrays import Array
from tconv.errors import ArgumentError, DtypeError, GeometryError, ShapeError
from tconv.weights.interpolation import FILTERS


def bilinear(shape: Sequence[int], stride: Ints, groups: int = 1) -> Array:
    """Return a weight that enlarges by linear interpolation along each axis, in all channels.

    >>> import numpy as np, tconv
    >>> w = tconv.initializers.bilinear((1, 1, 4, 4), stride=2)
    >>> w[0, 0, 0] * 16
    array([1., 3., 3., 1.], dtype=float32)
    >>> y = tconv.conv_transpose(np.full((1, 1, 4, 4), 7, np.float32), w, stride=2, padding=1)
    >>> bool((y[0, 0, 1:-1, 1:-1] == 7).all())              # at the border, taps are missing
    True

    `shape` is [C_in, C_out/groups, *kernel], for any number of axes; the result is float32. A tap weighs
    max(0, 1 - |t - (k - 1)/2| / s) per axis (Long et al. 2015, arXiv 1411.4038, as in Caffe's bilinear filler).
    Within a group, output channel j interpolates input channel j mod C_in; where there are fewer output channels, each
    is the mean of its input channels. A constant input gives the same constant.

    Raises ShapeError for a shape that is not a weight's or that the groups do not divide, GeometryError for a kernel
    below 2*stride - 1, which is shorter than the filter.
    """
    return bilinear_weight(shape, stride, groups).astype(np.float32)


def bilinear_weight(shape: Sequence[int], stride: Ints, groups: int = 1) -> Array:
    """Return the weight of `bilinear` in float64, for faces that round it to another dtype.

    >>> bilinear_weight((1, 1, 4), 2)
    array([[[0.25, 0.75, 0.75, 0.25]]])
    """
    c_in, c_out, kernel, strides = _read(shape, stride, groups)
    axes = []
    for axis, (k, s) in enumerate(zip(kernel, strides, strict=True)):
        if k < 2 * s - 1:
            raise GeometryError(
                f"the kernel is {k} on spatial axis {axis}; linear interpolation with stride {s} needs {2 * s - 1} "
                f"taps or more. Write a kernel of {2 * s - s % 2}, with padding {math.ceil((s - 1) / 2)}"
            )
        axes.append(FILTERS["bilinear"].weight((np.arange(k) - (k - 1) / 2) / s))
    taps = reduce(np.multiply.outer, axes)
    i, j = np.arange(c_in // groups)[:, None], np.arange(c_out)
    fewest = min(c_in // groups, c_out)
    joined = (i % fewest == j % fewest) & ((i < fewest) | (j < fewest))
    share = joined / joined.sum(0)
    one = share.reshape(*share.shape, *[1] * len(kernel)) * taps
    return np.tile(one, (groups, 1, *[1] * len(kernel)))


def icnr(
    shape: Sequence[int],
    stride: Ints,
    groups: int = 1,
    *,
    draw: Callable[[tuple[int, ...]], Any] | None = None,
    seed: int | None = None,
) -> Array:
    """Return a random weight with equal phases: before training, the output repeats values without a checkerboard.

    >>> import numpy as np, tconv
    >>> w = tconv.initializers.icnr((8, 3, 4, 4), stride=2, seed=0)
    >>> y = tconv.conv_transpose(np.random.default_rng(0).standard_normal((1, 8, 5, 5), np.float32), w, stride=2)
    >>> blocks = y.reshape(1, 3, 6, 2, 6, 2)                # all four outputs of a block are equal
    >>> np.allclose(blocks, blocks[:, :, :, :1, :, :1], atol=1e-6)
    True

    `shape` is [C_in, C_out/groups, *kernel]; the result is float32. Tap t of an axis is small[t div s] for t < s*(k div
    s), and 0 for the others: ICNR (Aitken et al. 2017, arXiv 1707.02937), which is defined for a pixel shuffle, applied
    to the kernel of a transposed convolution. A kernel that is a multiple of the stride has no such zeros. The small
    weight [C_in, C_out/groups, *(k div s)] is draw(its shape); by default it is He's normal distribution, with variance
    2 / (terms of an output). With padding p the blocks begin at -p mod s.

    Raises ShapeError for a shape that is not a weight's, that the groups do not divide, or that `draw` does not return;
    DtypeError if `draw` returns no real numbers; GeometryError for a kernel below the stride, which leaves phases
    without a tap.
    """
    small = small_shape(shape, stride, groups)
    _, _, kernel, strides = _read(shape, stride, groups)
    if draw is not None and not callable(draw):
        raise ArgumentError(
            f"draw is {shown(draw)}; a function of a shape is needed. Write draw=lambda shape: np.ones(shape)"
        )
    if draw is None:
        drawn = np.random.default_rng(seed).normal(0.0, he_deviation(small, groups), small)
    else:
        drawn = np.asarray(draw(small))
        if drawn.shape != small:
            raise ShapeError(
                f"draw returned {drawn.shape}; {small} is needed. Write draw=lambda shape: rng.normal(size=shape)"
            )
        if drawn.dtype.kind not in "iuf":
            raise DtypeError(
                f"draw returned {drawn.dtype}; real numbers are needed. Write draw=lambda shape: rng.normal(size=shape)"
            )
    return equal_phases(drawn, kernel, strides).astype(np.float32)


def small_shape(shape: Sequence[int], stride: Ints, groups: int = 1) -> tuple[int, ...]:
    """Return [C_in, C_out/groups, *(kernel div stride)], the shape of the random numbers of `icnr`. Raises its errors.

    >>> small_shape((8, 3, 4, 5), stride=2)
    (8, 3, 2, 2)
    """
    c_in, c_out, kernel, strides = _read(shape, stride, groups)
    for axis, (k, s) in enumerate(zip(kernel, strides, strict=True)):
        if k < s:
            raise GeometryError(
                f"the kernel is {k} on spatial axis {axis}, below the stride {s}, and some outputs have no tap. "
                f"Write a kernel of {s} or {2 * s}"
            )
    return c_in, c_out, *(k // s for k, s in zip(kernel, strides, strict=True))


def he_deviation(small: Sequence[int], groups: int = 1) -> float:
    """Return the standard deviation of He's distribution for the random numbers [C_in, C_out/groups, *kernel].

    >>> he_deviation((64, 32, 3, 3))
    0.05892556509887896
    """
    return math.sqrt(2 / (small[0] // groups * math.prod(small[2:])))


def equal_phases(small: Array, kernel: Sequence[int], stride: Sequence[int]) -> Array:
    """Return the ICNR weight [C_in, C_out/groups, *kernel], in which every phase has the taps of `small`, in order.

    >>> import numpy as np
    >>> equal_phases(np.float32([[[1, 2]]]), (5,), (2,))
    array([[[1., 1., 2., 2., 0.]]], dtype=float32)

    `small` is [C_in, C_out/groups, *(kernel div stride)]. Where the kernel is no multiple of the stride, some phases
    have one tap more than others. That tap is 0, because only taps that all phases have can be equal in all. The rule
    holds for every dilation without a factor in common with the stride: tap t is tap t div s of its phase there, too.
    """
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True), 2):
        small = np.repeat(small, s, axis)
        small = np.pad(small, [(0, k % s if place == axis else 0) for place in range(small.ndim)])
    return small


def _read(shape: Sequence[int], stride: Ints, groups: int) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    """Return C_in, C_out/groups, kernel and strides. Raises ShapeError."""
    entries = entries_of(shape)
    if entries is None or len(entries) < 3:
        raise ShapeError(
            f"shape is {shown(shape)}; a weight [C_in, C_out/groups, *kernel] is needed. Write (64, 64, 4, 4)"
        )
    sizes = ints_of(entries, "shape", len(entries), least=1)
    groups = int_of(groups, "groups", least=1)
    if sizes[0] % groups:
        raise ShapeError(
            f"shape {sizes} has {sizes[0]} input channels, which {groups} groups do not divide. "
            f"Use a number of groups that divides {sizes[0]}, for example groups=1"
        )
    return sizes[0], sizes[1], sizes[2:], ints_of(stride, "stride", len(sizes) - 2, least=1)
