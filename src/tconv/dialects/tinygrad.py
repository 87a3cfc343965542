"""tinygrad: Tensor.conv_transpose2d, which takes any number of spatial axes.

Padding (a, b) crops (a, b - output_padding). A flat padding list names the last axis first, as in torch's pad.
"""

from __future__ import annotations

from typing import Any

from tconv._arguments import Ints, entries_of, int_of, ints_of, shown
from tconv.dialects.base import Dialect, Fault, compact, written
from tconv.errors import GeometryError
from tconv.geometry import Geometry


class Tinygrad(Dialect):
    """padding is an int, one per axis, or (last before, last after, ..., first before, first after); no limits."""

    name = "tinygrad"
    framework = "tinygrad"
    faults = (
        Fault(
            "tinygrad 0.14.0",
            "a crop of more than the full result on one side, with an extension on the other, is refused",
            "observed with tinygrad 0.14.0",
            lambda geometry, input, native: any(
                max(pair) > full for pair, full in zip(geometry.crop, geometry.full_shape(input), strict=True)
            ),
        ),
    )

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        groups: int = 1,
        stride: Ints = 1,
        dilation: Ints = 1,
        padding: Ints = 0,
        output_padding: Ints = 0,
    ) -> Geometry:
        ndim = Geometry(kernel).ndim
        entries = entries_of(padding)
        if entries is None:
            entries = (int_of(padding, "padding"),) * ndim
        if len(entries) == 2 * ndim:
            flat = ints_of(entries, "padding", 2 * ndim)
            pads = list(zip(flat[-2::-2], flat[::-2], strict=True))
        elif len(entries) == ndim:
            pads = [(size, size) for size in ints_of(entries, "padding", ndim)]
        else:
            raise GeometryError(
                f"padding is {shown(padding)}, {len(entries)} entries; one int, {ndim} or {2 * ndim} are needed. "
                f"Write padding={(1, 1) * ndim}: before and after, last axis first"
            )
        extra = ints_of(output_padding, "output_padding", ndim)
        crop = [(a, b - op) for (a, b), op in zip(pads, extra, strict=True)]
        return Geometry(kernel, stride, crop, dilation, groups)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        # a negative padding works, but is not documented
        return [
            f"the crop {pair} on spatial axis {axis}: padding is at least 0"
            for axis, pair in enumerate(geometry.crop)
            if pair[0] < 0
        ]

    def say(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        pads = [(lo, max(0, hi)) for lo, hi in geometry.crop]
        even = all(lo == hi for lo, hi in pads)
        return {
            "groups": geometry.groups,
            "stride": compact(geometry.stride),
            "dilation": compact(geometry.dilation),
            "padding": compact([lo for lo, _ in pads]) if even else tuple(side for pair in pads[::-1] for side in pair),
            "output_padding": compact([max(0, -hi) for _, hi in geometry.crop]),
        }

    def call(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        defaults = {"groups": 1, "stride": 1, "dilation": 1, "padding": 0, "output_padding": 0}
        return f"x.conv_transpose2d(weight{written(arguments, defaults)})"

    def padded(self, pairs: list[tuple[int, int]]) -> str:
        return f"y.pad({tuple(pairs)!r})"
