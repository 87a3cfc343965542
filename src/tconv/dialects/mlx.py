"""MLX: mlx.core.conv_transpose1d, 2d and 3d, and mlx.core.conv_general with an input_dilation.

conv_transpose crops (padding, padding - output_padding). conv_general pads the dilated input by (a, b), which
crops (extent - 1 - a, extent - 1 - b) of the full result, and reads the taps in reverse unless flip=True.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from tconv._arguments import Ints, entries_of, ints_of, shown
from tconv.dialects.base import Dialect, compact, flag_of, keywords, uncropped
from tconv.dialects.layouts import WeightLayout
from tconv.errors import ArgumentError, GeometryError
from tconv.geometry import Geometry


class _Mlx(Dialect):
    """Common base of both dialects: layouts and limits."""

    framework = "MLX"
    batchnorm_eps = 1e-5
    ranks = (1, 3)
    data_patterns = ("N*C",)
    weight_pattern = "O*I"
    weight_grouped = "O"

    @staticmethod
    def _plain(
        kernel: Ints, stride: Ints, dilation: Ints, groups: int, names: str = "stride dilation groups"
    ) -> Geometry:
        plain = uncropped(kernel, stride, dilation, groups, names=names)
        if groups > 1 and plain.ndim == 3:
            raise GeometryError(
                f'groups is {groups} with 3 spatial axes; MLX has groups in 1-D and 2-D only. Write dialect="torch", '
                "with the weight converted"
            )
        return plain

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        if geometry.ndim > 3:
            return [f"{geometry.ndim} spatial axes, only 1 to 3"]
        reasons = ["groups with 3 spatial axes"] if geometry.ndim == 3 and geometry.groups > 1 else []
        return reasons + [
            f"the crop {pair} on spatial axis {axis}: {self._limit} {e - 1}"
            for axis, (pair, e) in enumerate(zip(geometry.crop, geometry.extent, strict=True))
            if not self._is_expressible(*pair, e)
        ]

    def pad_code(self, pairs: list[tuple[int, int]]) -> str:
        return f"mlx.core.pad(y, {pairs!r})"

    _limit: ClassVar[str]

    @abstractmethod
    def _is_expressible(self, lo: int, hi: int, extent: int) -> bool:
        """Return True if the arguments can express the crop of one axis and avoid the fault; `_limit` describes it."""


class Mlx(_Mlx):
    """Padding p crops both ends by p; output_padding, of any size, extends the end."""

    name = "mlx"
    _limit = (
        "padding is at least 0 and crops both sides by the same amount, output_padding extends the end, and a side is "
        "cropped by at most"
    )

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        stride: Ints = 1,
        padding: Ints = 0,
        dilation: Ints = 1,
        output_padding: Ints = 0,
        groups: int = 1,
    ) -> Geometry:
        plain = self._plain(kernel, stride, dilation, groups)
        pads, extra = (
            ints_of(value, name, plain.ndim)
            for value, name in ((padding, "padding"), (output_padding, "output_padding"))
        )
        return Geometry(kernel, stride, [(p, p - op) for p, op in zip(pads, extra, strict=True)], dilation, groups)

    def _is_expressible(self, lo: int, hi: int, extent: int) -> bool:
        return 0 <= lo < extent and hi <= lo

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        return {
            "stride": compact(geometry.stride),
            "padding": compact([lo for lo, _ in geometry.crop]),
            "dilation": compact(geometry.dilation),
            "output_padding": compact([lo - hi for lo, hi in geometry.crop]),
            "groups": geometry.groups,
        }

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0, "groups": 1}
        return f"mlx.core.conv_transpose{geometry.ndim}d(x, weight{keywords(arguments, defaults)})"


class MlxGeneral(_Mlx):
    """Arguments of conv_general as a transposed convolution: input_dilation is its stride, and `stride` is 1."""

    name = "mlx_general"
    weight_flip = True
    layout_arguments = ("flip",)
    _limit = "a side is cropped by at most"

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        stride: Ints = 1,
        padding: int | Sequence[Any] = 0,
        kernel_dilation: Ints = 1,
        input_dilation: Ints = 1,
        groups: int = 1,
        flip: bool = False,
    ) -> Geometry:
        names = "input_dilation kernel_dilation groups"
        plain = self._plain(kernel, input_dilation, kernel_dilation, groups, names)
        if set(ints_of(stride, "stride", plain.ndim)) != {1}:
            raise ArgumentError(
                f"stride is {stride}; conv_general is a transposed convolution only with stride=1. Write "
                "input_dilation="
            )
        entries = entries_of(padding)
        sides: Sequence[Any] = (padding, padding) if not entries or entries_of(entries[0]) is None else entries
        if len(sides) != 2:
            raise ArgumentError(
                f"padding is {shown(padding)}; an int, one int per axis, or two lists are needed. "
                "Write padding=([before, ...], [after, ...])"
            )
        before, after = (ints_of(side, "padding", plain.ndim) for side in sides)
        crop = [(e - 1 - a, e - 1 - b) for e, a, b in zip(plain.extent, before, after, strict=True)]
        return Geometry(kernel, plain.stride, crop, plain.dilation, groups)

    def weight_layout(self, ndim: int, flip: bool = False, **native: Any) -> WeightLayout:
        return WeightLayout.of(self.weight_pattern, ndim, self.weight_grouped, not flag_of(flip, "flip"))

    def _is_expressible(self, lo: int, hi: int, extent: int) -> bool:
        return max(lo, hi) < extent

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        before, after = (
            [e - 1 - pair[side] for e, pair in zip(geometry.extent, geometry.crop, strict=True)] for side in (0, 1)
        )
        return {
            "padding": compact(before) if before == after else (before, after),
            "kernel_dilation": compact(geometry.dilation),
            "input_dilation": compact(geometry.stride),
            "groups": geometry.groups,
        }

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        defaults = {"padding": 0, "kernel_dilation": 1, "input_dilation": 1, "groups": 1}
        return f"mlx.core.conv_general(x, weight{keywords(arguments, defaults)})"
