"""Keras 3: keras.ops.conv_transpose, and the layers Conv1DTranspose, Conv2DTranspose, Conv3DTranspose built on it.

Rules, with e = d*(k - 1) + 1 and output_padding op: "valid" crops (0, -op), and op of None is max(e, s) - e. "same"
crops P in all, max(P, 0)//2 of it in front: P = e - s where op is None, so that L = s*n, else P = e - e%2 - op, so that
L = s*(n - 1) + e%2 + op. Source: keras/src/backend/common/backend_utils.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, entries_of, ints_of, shown
from tconv.dialects.base import Dialect, compact, keywords, uncropped
from tconv.dialects.layouts import DataLayout
from tconv.errors import ArgumentError
from tconv.geometry import Geometry

Extra = int | Sequence[int | None] | None


class Keras(Dialect):
    """Arguments of keras.ops.conv_transpose, with the meaning that they have on the JAX backend.

    It accepts the most: the TensorFlow backend refuses an output_padding below 0 or not below the stride, and "same"
    with an output_padding of 0 for an even kernel. The layers refuse the former, too, and strides together with
    dilation_rate. data_format=None is "channels_last", Keras's default unless it is configured otherwise. Keras has no
    `groups`; the layers of `tconv.keras` do, with a kernel [*kernel, C_out/groups, C_in].
    """

    name = "keras"
    framework = "Keras"
    batchnorm_eps = 1e-3
    conv_weight_pattern = "*IO"
    shuffle_order = "DCR"
    ranks = (1, 3)
    data_patterns = ("N*C", "NC*")
    weight_pattern = "*OI"
    layout_arguments = ("data_format",)

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        strides: Ints = 1,
        padding: str = "valid",
        output_padding: Extra = None,
        data_format: str | None = None,
        dilation_rate: Ints = 1,
        groups: int = 1,
    ) -> Geometry:
        plain = uncropped(kernel, strides, dilation_rate, groups, names="strides dilation_rate groups")
        rule = padding.lower() if isinstance(padding, str) else ""
        if rule not in ("valid", "same"):
            raise ArgumentError(
                f'padding is {shown(padding)}; Keras takes "valid" or "same". Use one of them, or dialect="torch" '
                "with padding=1 or crop="
            )
        given = (None,) * plain.ndim if output_padding is None else entries_of(output_padding)
        known = output_padding if given is None else tuple(0 if op is None else op for op in given)
        numbers = ints_of(known, "output_padding", plain.ndim)
        extra = [None if given is not None and given[axis] is None else op for axis, op in enumerate(numbers)]
        crop = []
        for e, s, op in zip(plain.extent, plain.stride, extra, strict=True):
            if rule == "valid":
                crop.append((0, min(e - s, 0) if op is None else -op))
            else:
                total = e - s if op is None else e - e % 2 - op
                crop.append((max(total, 0) // 2, total - max(total, 0) // 2))
        self._channels_last(data_format)
        return Geometry(kernel, strides, crop, dilation_rate, groups)

    @staticmethod
    def _channels_last(data_format: str | None) -> bool:
        named = "channels_last" if data_format is None else str(data_format).lower()
        if named not in ("channels_last", "channels_first"):
            raise ArgumentError(
                f'data_format is {shown(data_format)}; Keras takes "channels_last" or "channels_first". Use one of them'
            )
        return named == "channels_last"

    def data_layout(self, ndim: int, x_ndim: int, data_format: str | None = None, **native: Any) -> DataLayout:
        return DataLayout.of("N*C" if self._channels_last(data_format) else "NC*", ndim)

    def data_layout_arguments(self, data: DataLayout) -> dict[str, Any] | None:
        if data == self.data_layout(len(data.axes) - 2, len(data.axes), "channels_first"):
            return {"data_format": "channels_first"}
        return super().data_layout_arguments(data)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        reasons = [f"{geometry.groups} groups, which it does not have"] if geometry.groups > 1 else []
        if geometry.ndim > 3:
            return [*reasons, f"{geometry.ndim} spatial axes, only 1 to 3"]
        if self._padding(geometry) is None:
            reasons.append(
                f'the crop {geometry.crop}, which is neither "valid" nor "same" with an output_padding below the stride'
            )
        return reasons

    @staticmethod
    def _padding(geometry: Geometry) -> tuple[str, tuple[int, ...] | None] | None:
        """Return padding and output_padding that all backends and layers take to this crop; None if there are none."""
        axes = list(zip(geometry.crop, geometry.extent, geometry.stride, strict=True))
        given = tuple(-hi for _, hi in geometry.crop)
        if all(pair == (0, min(e - s, 0)) for pair, e, s in axes):
            return "valid", None
        if all(sum(pair) == e - s and pair[0] == max(e - s, 0) // 2 for pair, e, s in axes):
            return "same", None
        if all(pair[0] == 0 and 0 <= -pair[1] < s for pair, e, s in axes):
            return "valid", given
        given = tuple(e - e % 2 - sum(pair) for pair, e, s in axes)
        halved = all(pair[0] == max(sum(pair), 0) // 2 for pair, _, _ in axes)
        if halved and all(max(0, 1 - e % 2) <= op < s for op, (_, e, s) in zip(given, axes, strict=True)):
            return "same", given
        return None

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        pair = self._padding(geometry)
        assert pair is not None  # reasons_against has raised otherwise
        padding, output_padding = pair
        return {
            "strides": compact(geometry.stride),
            "padding": padding,
            "output_padding": None if output_padding is None else compact(output_padding),
            "dilation_rate": compact(geometry.dilation),
        }

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        defaults = {"strides": 1, "padding": "valid", "output_padding": None, "dilation_rate": 1}
        return f"keras.ops.conv_transpose(x, weight{keywords(arguments, defaults)})"

    def pad_code(self, pairs: list[tuple[int, int]]) -> str:
        return f"keras.ops.pad(y, {pairs!r})"
