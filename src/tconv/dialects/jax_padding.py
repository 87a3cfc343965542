"""JAX's SAME, VALID and pairs: the padding rule of jax.lax.conv_transpose, which JAX, Flax and Haiku share.

Rules, with e = d*(k - 1) + 1: SAME crops max(e - s, 0)//2 in front and the rest of e - s behind, so that L = s*n;
VALID crops (0, min(e - s, 0)), so that L = s*(n - 1) + max(e, s). A pair (a, b) is the padding of the dilated input,
and crops (e - 1 - a, e - 1 - b). Source: jax/_src/lax/convolution.py, `_conv_transpose_padding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import entries_of, ints_of, pairs_of, shown
from tconv.errors import ArgumentError
from tconv.geometry import Geometry

Pairs = tuple[tuple[int, int], ...]


def crop_of_padding(padding: Any, plain: Geometry, *, consistent: bool = False) -> Pairs:
    """Return the crop that `padding` means; `consistent` is use_consistent_padding=True."""
    if isinstance(padding, str):
        return _crop_of_name(padding, plain, consistent)
    entries = entries_of(padding)
    paired = [isinstance(entry, tuple) if consistent else entries_of(entry) is not None for entry in entries or ()]
    if entries is None or not all(paired):
        kind, text = "tuple" if consistent else "pair", f"padding={((1, 1),) * plain.ndim}"
        raise ArgumentError(
            f"padding is {shown(padding)}; one {kind} (lo, hi) per spatial axis is needed. Write {text}"
        )
    pairs = pairs_of(padding, "padding", plain.ndim)
    if consistent:
        return pairs
    return tuple((e - 1 - a, e - 1 - b) for e, (a, b) in zip(plain.extent, pairs, strict=True))


def _crop_of_name(padding: str, plain: Geometry, consistent: bool) -> Pairs:
    if padding in ("SAME", "VALID"):
        spare = [e - s for e, s in zip(plain.extent, plain.stride, strict=True)]
        if padding == "VALID":
            return tuple((0, min(rest, 0)) for rest in spare)
        return tuple((max(rest, 0) // 2, rest - max(rest, 0) // 2) for rest in spare)
    rule = padding.upper()
    if consistent or rule not in ("SAME", "SAME_LOWER", "VALID") or max(plain.stride) > 1:
        raise ArgumentError(
            f'padding is {padding!r}; "SAME", "VALID" or a (lo, hi) pair per spatial axis is needed (other spellings, '
            'and "SAME_LOWER", mean the padding of a convolution, with stride 1 only). Write padding="SAME"'
        )
    # JAX passes any other spelling on to conv_general_dilated, which pads as an ordinary convolution does.
    total = [0 if rule == "VALID" else e - 1 for e in plain.extent]
    before = [(pad + 1) // 2 if rule == "SAME_LOWER" else pad // 2 for pad in total]
    return tuple((e - 1 - a, e - 1 - (pad - a)) for e, pad, a in zip(plain.extent, total, before, strict=True))


def padding_of_crop(geometry: Geometry) -> str | Pairs:
    """Return the padding that means this crop, by name where it has one."""
    for name in ("SAME", "VALID"):
        if crop_of_padding(name, geometry) == geometry.crop:
            return name
    return dilated_input_padding(geometry)


def dilated_input_padding(geometry: Geometry) -> Pairs:
    """Return the (before, after) by which lax pads the dilated input for this crop."""
    return tuple((e - 1 - lo, e - 1 - hi) for e, (lo, hi) in zip(geometry.extent, geometry.crop, strict=True))


def per_axis(value: Any, name: str, example: int, ndim: int) -> Sequence[int]:
    """Return the integers of an argument that lax takes as a sequence only. Raises ArgumentError for anything else."""
    text = f"{name}={(example,) * ndim}"
    if entries_of(value) is None:
        raise ArgumentError(
            f"{name} is {shown(value)}; jax.lax needs a sequence with one integer per spatial axis. Write {text}"
        )
    return ints_of(value, name, ndim, least=1, example=text)
