"""tinygrad: Tensor.conv_transpose2d, which takes any number of spatial axes.

Padding (a, b) crops (a, b - output_padding). A flat padding list names the last axis first, as in torch's pad.
"""

from __future__ import annotations

from typing import Any

from tconv._arguments import Ints, entries_of, int_of, ints_of, shown
from tconv.dialects.base import Dialect, compact, keywords
from tconv.errors import GeometryError
from tconv.geometry import Geometry


class Tinygrad(Dialect):
    """Arguments of the method, which has no limits.

    padding is an int, one per axis, or (last before, last after, ..., first before, first after).
    """

    name = "tinygrad"
    framework = "tinygrad"
    batchnorm_eps = 1e-5

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
                f"padding is {shown(padding)}, which has {len(entries)} entries; one int, {ndim} entries or {2 * ndim} "
                f"are needed. Write padding={(1, 1) * ndim}: before and after of each axis, the last axis first"
            )
        extra = ints_of(output_padding, "output_padding", ndim)
        crop = [(a, b - op) for (a, b), op in zip(pads, extra, strict=True)]
        return Geometry(kernel, stride, crop, dilation, groups)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        # a negative padding works, but is undocumented
        return [
            f"the crop {pair} on spatial axis {axis}: padding is at least 0"
            for axis, pair in enumerate(geometry.crop)
            if pair[0] < 0
        ]

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        pads = [(lo, max(0, hi)) for lo, hi in geometry.crop]
        even = all(lo == hi for lo, hi in pads)
        return {
            "groups": geometry.groups,
            "stride": compact(geometry.stride),
            "dilation": compact(geometry.dilation),
            "padding": compact([lo for lo, _ in pads]) if even else tuple(side for pair in pads[::-1] for side in pair),
            "output_padding": compact([max(0, -hi) for _, hi in geometry.crop]),
        }

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        defaults = {"groups": 1, "stride": 1, "dilation": 1, "padding": 0, "output_padding": 0}
        return f"x.conv_transpose2d(weight{keywords(arguments, defaults)})"

    def pad_code(self, pairs: list[tuple[int, int]]) -> str:
        return f"y.pad({tuple(pairs)!r})"
