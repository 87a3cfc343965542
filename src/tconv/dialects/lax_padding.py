"""The padding rule of jax.lax.conv_transpose, which jax, flax and haiku share.

Rules, with e = d*(k - 1) + 1: SAME crops max(e - s, 0)//2 in front and the rest of e - s behind, so that L = s*n;
VALID crops (0, min(e - s, 0)), so that L = s*(n - 1) + max(e, s). A pair (a, b) is how far the dilated input is padded,
and crops (e - 1 - a, e - 1 - b). Source: jax/_src/lax/convolution.py, `_conv_transpose_padding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

from tconv._arguments import entries_of, ints_of, pairs_of, shown
from tconv.dialects.base import Dialect, Fault
from tconv.errors import ArgumentError
from tconv.geometry import Geometry

Pairs = tuple[tuple[int, int], ...]


def lax_crop(padding: Any, plain: Geometry, *, consistent: bool = False) -> Pairs:
    """The crop that `padding` means; `consistent` is use_consistent_padding=True."""
    if isinstance(padding, str):
        return _named(padding, plain, consistent)
    entries = entries_of(padding)
    paired = [isinstance(entry, tuple) if consistent else entries_of(entry) is not None for entry in entries or ()]
    if entries is None or not all(paired):
        kind, text = "tuple" if consistent else "pair", f"padding={((1, 1),) * plain.ndim}"
        raise ArgumentError(
            f"padding is {shown(padding)}; one {kind} (lo, hi) per spatial axis is needed. Write {text}"
        )
    both = pairs_of(padding, "padding", plain.ndim)
    if consistent:
        return both
    return tuple((e - 1 - a, e - 1 - b) for e, (a, b) in zip(plain.extent, both, strict=True))


def _named(padding: str, plain: Geometry, consistent: bool) -> Pairs:
    if padding in ("SAME", "VALID"):
        spare = [(e, e - s) for e, s in zip(plain.extent, plain.stride, strict=True)]
        if padding == "VALID":
            return tuple((0, min(rest, 0)) for _, rest in spare)
        return tuple((max(rest, 0) // 2, rest - max(rest, 0) // 2) for _, rest in spare)
    rule = padding.upper()
    if consistent or rule not in ("SAME", "SAME_LOWER", "VALID") or max(plain.stride) > 1:
        raise ArgumentError(
            f'padding is {padding!r}; "SAME", "VALID" or a (lo, hi) pair per spatial axis is needed (other spellings, '
            'and "SAME_LOWER", mean a convolution\'s padding, with stride 1 only). Write padding="SAME"'
        )
    # Any other spelling is handed to conv_general_dilated, which pads as an ordinary convolution does.
    total = [0 if rule == "VALID" else e - 1 for e in plain.extent]
    before = [(pad + 1) // 2 if rule == "SAME_LOWER" else pad // 2 for pad in total]
    return tuple((e - 1 - a, e - 1 - (pad - a)) for e, pad, a in zip(plain.extent, total, before, strict=True))


def lax_padding(geometry: Geometry) -> str | Pairs:
    """The padding that means this crop, by name where it has one."""
    for name in ("SAME", "VALID"):
        if lax_crop(name, geometry) == geometry.crop:
            return name
    return _pads(geometry)


def _pads(geometry: Geometry) -> Pairs:
    """How far lax pads the dilated input for this crop."""
    return tuple((e - 1 - lo, e - 1 - hi) for e, (lo, hi) in zip(geometry.extent, geometry.crop, strict=True))


def _reads_outside(geometry: Geometry, input: tuple[int, ...] | None) -> bool:
    """XLA's CPU kernel may, where some a < 0 and 0 < b <= -a and nothing is dilated."""
    plain = geometry.ndim <= 2 and max(*geometry.stride, *geometry.dilation) == 1
    return plain and any(a < 0 < b <= -a for a, b in _pads(geometry))


def _ends_process(geometry: Geometry, input: tuple[int, ...] | None) -> bool:
    """XLA exchanges input and kernel where the kernel is larger, and forgets to on an unpadded axis of 2 taps."""
    if input is None or geometry.groups > 1:
        return False
    axes = list(zip(input, geometry.kernel, geometry.stride, geometry.dilation, _pads(geometry), strict=True))
    kept = [(k, s, d, pad) == (2, 2, 1, (0, 0)) for _, k, s, d, pad in axes]
    others = [(n, k) for (n, k, *_), stays in zip(axes, kept, strict=True) if not stays]
    larger = prod(k for _, k in others) > prod(n for n, _ in others)
    return larger and any(stays and n != 2 for stays, n in zip(kept, input, strict=True))


READS_OUTSIDE = Fault(
    "jaxlib 0.10.2, CPU",
    "with stride 1 in 1-D and 2-D, a crop of more than the kernel spans in front, and less behind, reads outside x",
    "openxla/xla#48713; observed with jaxlib 0.10.2",
    lambda geometry, input, native: _reads_outside(geometry, input),
)
ENDS_PROCESS = Fault(
    "jaxlib 0.10.2",
    "2 taps at stride 2 cropped by 1 on both sides, with a kernel larger than x on the other axes, ends the process",
    "observed with jaxlib 0.10.2: SwapConvOperands in XLA's AlgebraicSimplifier",
    lambda geometry, input, native: _ends_process(geometry, input),
)


class Lax(Dialect):
    """What these dialects have in common: every crop can be said, groups cannot."""

    faults = (READS_OUTSIDE, ENDS_PROCESS)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        reasons = [f"{geometry.groups} groups, which it does not have"] if geometry.groups > 1 else []
        if _reads_outside(geometry, input):
            reasons.append(f"the crop {geometry.crop}, for which XLA reads outside x (openxla/xla#48713)")
        if _ends_process(geometry, input):
            reasons.append(f"the crop {geometry.crop} at input {input}, for which XLA ends the process")
        return reasons

    def cropped(self, plain: Geometry, padding: Any, consistent: bool = False) -> Geometry:
        """`plain` with the crop that lax's padding means."""
        return replace(plain, crop=lax_crop(padding, plain, consistent=consistent))


def per_axis(value: Any, name: str, example: int, ndim: int) -> Sequence[int]:
    """A value that lax takes as a sequence only."""
    text = f"{name}={(example,) * ndim}"
    if entries_of(value) is None:
        raise ArgumentError(
            f"{name} is {shown(value)}; jax.lax needs a sequence with one integer per spatial axis. Write {text}"
        )
    return ints_of(value, name, ndim, least=1, example=text)
