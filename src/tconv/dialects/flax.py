"""Flax: linen.ConvTranspose and nnx.ConvTranspose, which pass their arguments on to jax.lax.conv_transpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, shown
from tconv.dialects.base import compact, flag_of, keywords, uncropped
from tconv.dialects.jax import Lax
from tconv.dialects.jax_padding import padding_of_crop
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry


class Flax(Lax):
    """Arguments of the layer; an int for strides or kernel_dilation means all axes.

    An int or pair of padding pads the dilated input, as in jax without use_consistent_padding. Taps are stored
    reversed, unless transpose_kernel=True, which also stores output channels before input channels. (nnx takes pairs
    as tuples only.)
    """

    name = "flax"
    framework = "Flax"
    batchnorm_eps = 1e-5
    ranks = (1, 3)
    data_patterns = ("N*C", "*C")
    weight_pattern = "*IO"
    weight_flip = True
    layout_arguments = ("transpose_kernel",)

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        strides: Ints | None = None,
        padding: str | int | Sequence[int | tuple[int, int]] = "SAME",
        kernel_dilation: Ints | None = None,
        transpose_kernel: bool = False,
    ) -> Geometry:
        stride, dilation = (1 if value is None else value for value in (strides, kernel_dilation))
        plain = uncropped(kernel, stride, dilation, names="strides kernel_dilation groups")
        if isinstance(padding, str) and padding == "CIRCULAR":
            raise ArgumentError(
                'padding is "CIRCULAR", which wraps the full result around and adds it up; only a crop of it can be '
                'computed here. Write padding="VALID" and fold the result, or call the layer itself'
            )
        if isinstance(padding, str):
            return self.cropped(plain, padding)
        entries = padding if isinstance(padding, Sequence) else (padding,) * plain.ndim
        pairs = [(entry, entry) if isinstance(entry, int) else entry for entry in entries]
        if not all(isinstance(pair, (tuple, list)) for pair in pairs):
            raise ArgumentError(
                f"padding is {shown(padding)}; a name, one int, or per spatial axis an int or a pair (lo, hi) is "
                f"needed. Write padding={((1, 1),) * plain.ndim}"
            )
        return self.cropped(plain, pairs)

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        return {
            "strides": compact(geometry.stride),
            "padding": padding_of_crop(geometry),
            "kernel_dilation": compact(geometry.dilation),
        }

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        options = keywords(arguments, {"strides": 1, "padding": "SAME", "kernel_dilation": 1})
        layer = f"flax.linen.ConvTranspose(weight.shape[-1], {geometry.kernel}{options}, use_bias=False)"
        return f'{layer}.apply({{"params": {{"kernel": weight}}}}, x)'

    def data_layout(self, ndim: int, x_ndim: int, **native: Any) -> DataLayout:
        if x_ndim > ndim + 2:
            raise ShapeError(
                f"x has {x_ndim} axes, {x_ndim - ndim - 1} of them for the batch; only one is taken here (Flax "
                f"flattens them itself). Write x.reshape(-1, *x.shape[{-ndim - 1}:])"
            )
        return DataLayout.of("*C" if x_ndim == ndim + 1 else "N*C", ndim)

    def weight_layout(self, ndim: int, transpose_kernel: bool = False, **native: Any) -> WeightLayout:
        swapped = flag_of(transpose_kernel, "transpose_kernel")
        return WeightLayout.of("*OI" if swapped else "*IO", ndim, flip=not swapped)
