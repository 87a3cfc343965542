"""The rule where the caller names the output's size: tf.nn, TensorFlow Lite, and Haiku's output_shape.

A size is legal that the convolution with the same words takes to the size of x. With F = s*(n - 1) + extent, SAME crops
max(F - L, 0)//2 in front, VALID nothing, an explicit pair its first entry; whatever else must go, goes at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tconv._arguments import entries_of, ints_of, shown
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry

Pair = tuple[int, int]
PAIRS: dict[str, Pair | None] = {"SAME": None, "VALID": (0, 0)}
"""Each name's padding per axis; SAME has none of its own."""


def large_sides(pair: Pair | None, n: int, extent: int, stride: int) -> range:
    """The sizes of at least 1 that the convolution takes to n."""
    last = stride * n if pair is None else stride * n + extent - 1 - sum(pair)
    return range(max(1, last - stride + 1), last + 1)


def _small_side(pair: Pair | None, L: int, extent: int, stride: int) -> int:
    return -(-L // stride) if pair is None else (L + sum(pair) - extent) // stride + 1


def _crop(pair: Pair | None, L: int, n: int, extent: int, stride: int) -> Pair:
    rest = stride * (n - 1) + extent - L
    lo = max(rest, 0) // 2 if pair is None else pair[0]
    return lo, rest - lo


def adjoint(plain: Geometry, pairs: Sequence[Pair | None], output: Any) -> Geometry:
    """`plain` with the crop that ends in `output`, the sizes of what its convolution is given."""
    large = ints_of(output, "output", plain.ndim, least=1)
    crop = []
    for L, pair, e, s in zip(large, pairs, plain.extent, plain.stride, strict=True):
        crop.append(_crop(pair, L, _small_side(pair, L, e, s), e, s))
    return replace(plain, crop=tuple(crop))


def between(
    plain: Geometry,
    pairs: Sequence[Pair | None],
    rule: Any,
    small: Sequence[int],
    large: Sequence[int],
    legal: Callable[[Pair | None, int, int, int], range] = large_sides,
) -> Geometry:
    """`plain` with the crop that takes the sizes `small` to `large`. `rule` is the padding as it was written."""
    crop = []
    for axis, (n, L, pair, e, s) in enumerate(zip(small, large, pairs, plain.extent, plain.stride, strict=True)):
        if L not in (sizes := legal(pair, n, e, s)):
            ends = sorted({sizes[0], sizes[-1]}) if sizes else ["there is none"]
            fit = " to ".join(map(str, ends))
            raise ShapeError(
                f"output_shape asks for {L} on spatial axis {axis}, which a {rule!r} convolution with stride {s} takes "
                f"to {_small_side(pair, L, e, s)}; x has {n} there. Write a size that it takes to {n}: {fit}"
            )
        crop.append(_crop(pair, L, n, e, s))
    return replace(plain, crop=tuple(crop))


def rule_of(geometry: Geometry, input: Sequence[int]) -> str | None:
    """The name whose rule gives this crop, "SAME" or "VALID"; None if neither does."""
    large = geometry.output_shape(tuple(input))
    for name, pair in PAIRS.items():
        try:
            if between(geometry, (pair,) * geometry.ndim, name, input, large) == geometry:
                return name
        except ShapeError:
            continue
    return None


def shape_of(output_shape: Any) -> tuple[Any, ...] | None:
    """The entries of an output_shape, None if it has none. (A tf.TensorShape is no sequence.)"""
    try:
        return entries_of(output_shape.as_list() if hasattr(output_shape, "as_list") else output_shape)
    except ValueError:  # tf.TensorShape(None), of no known rank
        return None


def sizes_of(output_shape: Any, plain: Geometry, small: Sequence[int], operator: str, channels: int) -> tuple[int, ...]:
    """The spatial sizes in an output_shape: the whole one, with its channels at axis `channels`, or they alone."""
    usual = [str(s * n) for s, n in zip(plain.stride, small, strict=True)]
    text = ", ".join(["N", "C_out", *usual] if channels == 1 else ["N", *usual, "C_out"])
    if output_shape is None:
        raise ArgumentError(
            f"output_shape is missing; {operator} needs it, SAME with it too. Write output_shape=[{text}]"
        )
    entries = shape_of(output_shape)
    if entries is None and plain.ndim > 1:
        raise ArgumentError(
            f"output_shape is {shown(output_shape)}; a sequence of {plain.ndim + 2} integers is needed. Write "
            f"output_shape=[{text}]"
        )
    entries = (output_shape,) if entries is None else entries
    if len(entries) == plain.ndim + 2:
        entries = entries[2:] if channels == 1 else entries[1:-1]
    if len(entries) != plain.ndim:
        raise ShapeError(
            f"output_shape is {shown(output_shape)}, {len(entries)} entries; {plain.ndim + 2} are needed. Write "
            f"output_shape=[{text}]"
        )
    name = "the spatial part of output_shape"
    return ints_of(entries, name, plain.ndim, least=1, example=f"output_shape=[{text}]")


def check_ends(output_shape: Any, ndim: int, batch: int, per_group: int, channels: int) -> int:
    """How often the filter's own `per_group` output channels go into those of an output_shape; 1 if it has none.

    Raises ShapeError for another batch than that of x, or -1, and for channels that are no multiple; GeometryError for
    ends that are no integers.
    """
    entries = shape_of(output_shape) or ()
    if len(entries) != ndim + 2:
        return 1  # the sizes alone, or a mistake that `sizes_of` has an error for
    usual = f"[{batch}, {per_group}, ...]" if channels == 1 else f"[{batch}, ..., {per_group}]"
    name = "(batch, channels) of output_shape"
    ends = ints_of((entries[0], entries[channels]), name, 2, example=f"output_shape={usual}")
    if ends[0] not in (batch, -1):
        raise ShapeError(f"output_shape begins with {ends[0]}; x has a batch of {batch}. Write {batch} there, or -1")
    if not per_group or ends[1] < per_group or ends[1] % per_group:
        raise ShapeError(
            f"output_shape {entries} has {ends[1]} channels; the filter has {per_group} output channels. "
            f"Write a multiple of {per_group} there"
        )
    return ends[1] // per_group
