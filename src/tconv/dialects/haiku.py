"""Haiku: hk.Conv1DTranspose, hk.Conv2DTranspose, hk.Conv3DTranspose and hk.ConvNDTranspose.

Without output_shape they are jax.lax.conv_transpose; with it, "SAME" and "VALID" mean what they mean in tf.nn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, entries_of, int_of, ints_of, shown
from tconv.dialects.base import compact, written
from tconv.dialects.lax_padding import Lax, lax_padding
from tconv.dialects.layouts import DataLayout
from tconv.dialects.named_output_shape import PAIRS, adjoint, between
from tconv.errors import ArgumentError
from tconv.geometry import Geometry


class Haiku(Lax):
    """Arguments of the layer. There is no dilation, and no group; taps are stored reversed, with C_out before C_in.

    output_shape holds spatial sizes. data_format is "channels_last", "channels_first", or any such as "NWC" and "NCHW".
    """

    name = "haiku"
    framework = "Haiku"
    data_patterns = ("N*C", "*C", "NC*", "C*")
    weight_pattern = "*OI"
    weight_flip = True
    layout_arguments = ("data_format",)

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        stride: Ints = 1,
        output_shape: Ints | None = None,
        padding: str | Sequence[tuple[int, int]] = "SAME",
        data_format: str = "channels_last",
    ) -> Geometry:
        ndim = Geometry(kernel).ndim
        plain = Geometry(kernel, self._replicated(stride, "stride", ndim))
        named = isinstance(padding, str) and padding in PAIRS
        if output_shape is None and (output is None or not named):
            return self.cropped(plain, padding)
        if not named:
            raise ArgumentError(
                f'padding is {shown(padding)} together with output_shape; "SAME" or "VALID" is needed then. Write one '
                "of them, or leave output_shape out"
            )
        pairs = (PAIRS[str(padding)],) * ndim
        if output is not None:  # where lax's rule would have made this size, it is lax's crop
            return adjoint(plain, pairs, output)
        if input is None:
            raise ArgumentError(
                "output_shape chooses the crop from sizes; input= is missing. Write input=(8, 8), output_shape=(16, 16)"
            )
        assert output_shape is not None
        small = ints_of(input, "input", ndim, least=1)
        usual = f"output_shape={tuple(s * n for s, n in zip(plain.stride, small, strict=True))}"
        return between(plain, pairs, padding, small, self._replicated(output_shape, "output_shape", ndim, usual))

    @staticmethod
    def _replicated(value: Ints, name: str, ndim: int, example: str | None = None) -> tuple[int, ...]:
        """One int, or a sequence of one, means all axes."""
        entries = entries_of(value) or ()
        if len(entries) == 1:
            return (int_of(entries[0], name, least=1, example=example),) * ndim
        return ints_of(value, name, ndim, least=1, example=example)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        dilated = ["a dilation, which it does not have"] if max(geometry.dilation) > 1 else []
        return super().reasons_against(geometry, input) + dilated

    def say(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        return {"stride": compact(geometry.stride), "padding": lax_padding(geometry)}

    def call(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        words = written(arguments, {"stride": 1, "padding": "SAME"})
        layer = (
            f"hk.ConvNDTranspose({geometry.ndim}, weight.shape[-2], {geometry.kernel}{words}, with_bias=False, "
            'name="up")'
        )
        return f'hk.transform(lambda x: {layer}(x)).apply({{"up": {{"w": weight}}}}, None, x)'

    @staticmethod
    def _channels_last(data_format: str) -> bool:
        named = str(data_format)
        if named == "channels_first" or re.fullmatch("NC[^C]*", named):
            return False
        if named == "channels_last" or re.fullmatch("N[^C]*C|(BT|TB)[^D]*D", named):
            return True
        raise ArgumentError(
            f'data_format is {shown(data_format)}; "channels_last" or "channels_first" is needed, or letters such as '
            '"NHWC". Write one of them'
        )

    def data_layout(self, ndim: int, x_ndim: int, data_format: str = "channels_last", **native: Any) -> DataLayout:
        return DataLayout.of(
            ("" if x_ndim == ndim + 1 else "N") + ("*C" if self._channels_last(data_format) else "C*"), ndim
        )

    def data_words(self, data: DataLayout) -> dict[str, Any] | None:
        ndim = sum(isinstance(axis, int) for axis in data.axes)
        if data == self.data_layout(ndim, len(data.axes), "channels_first"):
            return {"data_format": "channels_first"}
        return super().data_words(data)
