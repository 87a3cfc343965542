"""Haiku: hk.Conv1DTranspose, hk.Conv2DTranspose, hk.Conv3DTranspose and hk.ConvNDTranspose.

Without output_shape they are jax.lax.conv_transpose; with it, "SAME" and "VALID" have the meaning of tf.nn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, entries_of, int_of, ints_of, shown
from tconv.dialects.base import compact, keywords
from tconv.dialects.jax import Lax
from tconv.dialects.jax_padding import padding_of_crop
from tconv.dialects.layouts import DataLayout
from tconv.dialects.tensorflow_padding import NAMED_PADDING, crop_between, crop_for_convolution
from tconv.errors import ArgumentError
from tconv.geometry import Geometry


class Haiku(Lax):
    """Arguments of the layer. There are no dilation and no groups; taps are stored reversed, with C_out before C_in.

    output_shape is the spatial sizes. data_format is "channels_last", "channels_first", or letters such as "NWC" and
    "NCHW".
    """

    name = "haiku"
    framework = "Haiku"
    batchnorm_eps = 1e-5
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
        named = isinstance(padding, str) and padding in NAMED_PADDING
        if output_shape is None and (output is None or not named):
            return self.cropped(plain, padding)
        if not named:
            raise ArgumentError(
                f'padding is {shown(padding)} together with output_shape; "SAME" or "VALID" is needed then. Use one '
                "of them, or leave output_shape out"
            )
        pairs = (NAMED_PADDING[str(padding)],) * ndim
        if output is not None:  # where lax's rule gives this size, it also gives this crop
            return crop_for_convolution(plain, pairs, output)
        if input is None:
            raise ArgumentError(
                "the crop of output_shape depends on the input's size; input= is missing. Write input=(8, 8), "
                "output_shape=(16, 16)"
            )
        assert output_shape is not None
        small = ints_of(input, "input", ndim, least=1)
        usual = f"output_shape={tuple(s * n for s, n in zip(plain.stride, small, strict=True))}"
        return crop_between(plain, pairs, padding, small, self._replicated(output_shape, "output_shape", ndim, usual))

    @staticmethod
    def _replicated(value: Ints, name: str, ndim: int, example: str | None = None) -> tuple[int, ...]:
        """Return one int per axis of a value in which one int, or a sequence of one, means all axes."""
        entries = entries_of(value) or ()
        if len(entries) == 1:
            return (int_of(entries[0], name, least=1, example=example),) * ndim
        return ints_of(value, name, ndim, least=1, example=example)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        dilated = ["a dilation, which it does not have"] if max(geometry.dilation) > 1 else []
        return super().reasons_against(geometry, input) + dilated

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        return {"stride": compact(geometry.stride), "padding": padding_of_crop(geometry)}

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        options = keywords(arguments, {"stride": 1, "padding": "SAME"})
        layer = (
            f"hk.ConvNDTranspose({geometry.ndim}, weight.shape[-2], {geometry.kernel}{options}, with_bias=False, "
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
            '"NHWC". Use one of them'
        )

    def data_layout(self, ndim: int, x_ndim: int, data_format: str = "channels_last", **native: Any) -> DataLayout:
        return DataLayout.of(
            ("" if x_ndim == ndim + 1 else "N") + ("*C" if self._channels_last(data_format) else "C*"), ndim
        )

    def data_layout_arguments(self, data: DataLayout) -> dict[str, Any] | None:
        ndim = sum(isinstance(axis, int) for axis in data.axes)
        if data == self.data_layout(ndim, len(data.axes), "channels_first"):
            return {"data_format": "channels_first"}
        return super().data_layout_arguments(data)
