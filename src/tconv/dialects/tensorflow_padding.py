"""TensorFlow's SAME and VALID: the rule of tf.nn, TensorFlow Lite and Haiku's output_shape, where the size is given.

An output size is legal if the convolution with the same arguments gives the size of x for it. With
F = s*(n - 1) + extent, SAME crops max(F - L, 0)//2 in front, VALID nothing, an explicit pair its first entry; the rest
is cropped behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tconv._arguments import entries_of, ints_of, shown
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry

Pair = tuple[int, int]
NAMED_PADDING: dict[str, Pair | None] = {"SAME": None, "VALID": (0, 0)}
"""Padding per axis that each name stands for; None for SAME, whose padding depends on the sizes."""


class _Natural:
    def __repr__(self) -> str:
        return "natural"


NATURAL: Any = _Natural()
"""output_shape of a call whose sizes are not known: n * stride with SAME, else the smallest size, which has no crop
beyond the pair. It is for streams, whose crop must be the same for every n."""


def legal_output_sizes(pair: Pair | None, n: int, extent: int, stride: int) -> range:
    """Return the sizes, at least 1, for which the convolution gives n."""
    last = stride * n if pair is None else stride * n + extent - 1 - sum(pair)
    return range(max(1, last - stride + 1), last + 1)


def _input_size(pair: Pair | None, L: int, extent: int, stride: int) -> int:
    """Return the size that the convolution gives for L."""
    return -(-L // stride) if pair is None else (L + sum(pair) - extent) // stride + 1


def _crop(pair: Pair | None, L: int, n: int, extent: int, stride: int) -> Pair:
    rest = stride * (n - 1) + extent - L
    lo = max(rest, 0) // 2 if pair is None else pair[0]
    return lo, rest - lo


def crop_for_convolution(plain: Geometry, pairs: Sequence[Pair | None], output: Any) -> Geometry:
    """Return `plain` with the crop that a convolution of an array with the spatial sizes `output` has."""
    large = ints_of(output, "output", plain.ndim, least=1)
    crop = []
    for L, pair, e, s in zip(large, pairs, plain.extent, plain.stride, strict=True):
        crop.append(_crop(pair, L, _input_size(pair, L, e, s), e, s))
    return replace(plain, crop=tuple(crop))


def crop_between(
    plain: Geometry,
    pairs: Sequence[Pair | None],
    padding: Any,
    small: Sequence[int],
    large: Sequence[int] | None,
    legal: Callable[[Pair | None, int, int, int], range] = legal_output_sizes,
) -> Geometry:
    """Return `plain` with the crop that makes an output of sizes `large`, or natural ones, from one of sizes `small`.

    `padding` is the argument as it was given, for the message. Raises ShapeError for sizes that are not legal.
    """
    if large is None:
        rows = zip(small, pairs, plain.extent, plain.stride, strict=True)
        large = [s * n if pair is None else s * (n - 1) + e - sum(pair) for n, pair, e, s in rows]
    crop = []
    for axis, (n, L, pair, e, s) in enumerate(zip(small, large, pairs, plain.extent, plain.stride, strict=True)):
        if L not in (sizes := legal(pair, n, e, s)):
            ends = sorted({sizes[0], sizes[-1]}) if sizes else ["there is none"]
            fit = " to ".join(map(str, ends))
            raise ShapeError(
                f"output_shape has {L} on spatial axis {axis}, which a {padding!r} convolution with stride {s} reduces "
                f"to {_input_size(pair, L, e, s)}; x has {n} there. Use a size that it reduces to {n}: {fit}"
            )
        crop.append(_crop(pair, L, n, e, s))
    return replace(plain, crop=tuple(crop))


def padding_name(geometry: Geometry, input: Sequence[int]) -> str | None:
    """Return the padding whose rule gives this crop, "SAME" or "VALID"; None if neither does."""
    large = geometry.output_shape(tuple(input))
    for name, pair in NAMED_PADDING.items():
        try:
            if crop_between(geometry, (pair,) * geometry.ndim, name, input, large) == geometry:
                return name
        except ShapeError:
            continue
    return None


def spatial_output_shape(
    output_shape: Any, plain: Geometry, small: Sequence[int], operator: str, channels: int
) -> tuple[int, ...] | None:
    """Return the spatial sizes of an output_shape: a whole shape with its channels at axis `channels`, or sizes alone.

    None stands for natural sizes.

    Raises ArgumentError if it is missing or not a sequence, ShapeError for another length, GeometryError for entries
    that are not integers.
    """
    if output_shape is NATURAL:
        return None
    usual = [str(s * n) for s, n in zip(plain.stride, small, strict=True)]
    text = ", ".join(["N", "C_out", *usual] if channels == 1 else ["N", *usual, "C_out"])
    if output_shape is None:
        raise ArgumentError(f"output_shape is missing; {operator} needs it, with SAME too. Write output_shape=[{text}]")
    entries = entries_of(output_shape)
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
            f"output_shape is {shown(output_shape)}, which has {len(entries)} entries; {plain.ndim + 2} are needed. "
            f"Write output_shape=[{text}]"
        )
    name = "the spatial part of output_shape"
    return ints_of(entries, name, plain.ndim, least=1, example=f"output_shape=[{text}]")


def groups_in_output_shape(output_shape: Any, ndim: int, batch: int, per_group: int, channels: int) -> int:
    """Return the number of groups: channels of an output_shape over the filter's own `per_group`; 1 without channels.

    Raises ShapeError for another batch than that of x, or -1, and for channels that are not a multiple; GeometryError
    for a batch or channels that are not integers.
    """
    entries = entries_of(output_shape) or ()
    if len(entries) != ndim + 2:
        return 1  # the sizes alone, or a mistake that `spatial_output_shape` has an error for
    usual = f"[{batch}, {per_group}, ...]" if channels == 1 else f"[{batch}, ..., {per_group}]"
    name = "(batch, channels) of output_shape"
    ends = ints_of((entries[0], entries[channels]), name, 2, example=f"output_shape={usual}")
    if ends[0] not in (batch, -1):
        raise ShapeError(f"output_shape begins with {ends[0]}; x has a batch of {batch}. Write {batch} there, or -1")
    if not per_group or ends[1] < per_group or ends[1] % per_group:
        raise ShapeError(
            f"output_shape {entries} has {ends[1]} channels; the filter has {per_group} output channels. "
            f"Use a multiple of {per_group} there"
        )
    return ends[1] // per_group
