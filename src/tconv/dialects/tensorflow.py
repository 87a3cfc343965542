"""TensorFlow: tf.nn.conv1d_transpose, conv2d_transpose and conv3d_transpose, which are given the output's size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, entries_of, int_of, ints_of, pairs_of, shown
from tconv.dialects.base import Dialect, compact, keywords
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.dialects.tensorflow_padding import (
    NAMED_PADDING,
    Pair,
    crop_between,
    crop_for_convolution,
    groups_in_output_shape,
    legal_output_sizes,
    padding_name,
    spatial_output_shape,
)
from tconv.errors import ArgumentError, GeometryError
from tconv.geometry import Geometry

_LETTERS = {1: "W", 2: "HW", 3: "DHW"}


def _legal_with_onednn(pair: Pair | None, n: int, extent: int, stride: int) -> range:
    """Return the legal sizes. oneDNN rounds (L - extent)/stride to zero, so that for n = 1 a few more are legal."""
    sizes = legal_output_sizes(pair, n, extent, stride)
    return range(max(1, extent - stride + 1), sizes.stop) if pair is not None and n == 1 else sizes


class TensorFlow(Dialect):
    """Arguments of tf.nn; padding is "SAME", "VALID" or [[0, 0], [top, bottom], [left, right], [0, 0]].

    output_shape is the whole shape, or the spatial sizes alone (which tf.nn itself takes in 2-D only). The number of
    groups is C_out in output_shape over C_out of the filter; groups= gives it where output_shape has no C_out. Pairs
    exist in 2-D only; NCHW, dilation and groups run on the CPU with "SAME" and "VALID" where TensorFlow is built with
    oneDNN.
    """

    name = "tensorflow"
    framework = "TensorFlow"
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
        output_shape: Sequence[int] | None = None,
        strides: Ints | None = 1,
        padding: str | Sequence[Any] = "SAME",
        data_format: str | None = None,
        dilations: Ints | None = None,
        groups: int = 1,
    ) -> Geometry:
        plain = Geometry(kernel, groups=groups)
        ndim = plain.ndim
        channels_last = self._channels_last(ndim, data_format)
        stride = self._per_axis(strides, "strides", ndim, channels_last)
        dilation = self._per_axis(dilations, "dilations", ndim, channels_last)
        plain = Geometry(kernel, stride, 0, dilation, groups)
        pairs = self._pairs(padding, ndim, channels_last)
        if output is not None:
            return crop_for_convolution(plain, pairs, output)
        if input is None:
            raise ArgumentError(
                "the crop of the TensorFlow dialect depends on the input's size; input= is missing. "
                "Write input=(8, 8), output_shape=(16, 16)"
            )
        small = ints_of(input, "input", ndim, least=1)
        large = spatial_output_shape(output_shape, plain, small, "tf.nn", -1 if channels_last else 1)
        return crop_between(
            plain, pairs, padding, small, large, _legal_with_onednn if isinstance(padding, str) else legal_output_sizes
        )

    @staticmethod
    def _channels_last(ndim: int, data_format: str | None) -> bool:
        letters = _LETTERS.get(ndim, "HW")
        last, first = f"N{letters}C", f"NC{letters}"
        if data_format is None:
            return True
        if isinstance(data_format, str) and data_format in (first, last):
            return data_format == last
        meant = {"channels_last": last, "channels_first": first}.get(str(data_format).lower())
        raise ArgumentError(
            f'data_format is {shown(data_format)}; with {ndim} spatial axes it must be "{last}" or "{first}". '
            + ("Use one of them" if meant is None else f'Write data_format="{meant}"')
        )

    @staticmethod
    def _per_axis(value: Ints | None, name: str, ndim: int, channels_last: bool) -> tuple[int, ...]:
        """Return strides or dilations per spatial axis, from one int, one per spatial axis or one per array axis."""
        if value is None:
            return (1,) * ndim
        entries = entries_of(value) or ()
        if len(entries) == 1:
            return (int_of(entries[0], name, least=1),) * ndim
        if len(entries) == ndim + 2:
            usual = [1, *[2] * ndim, 1] if channels_last else [1, 1, *[2] * ndim]
            whole = ints_of(entries, name, ndim + 2, least=1, example=f"{name}={usual}")
            inner = whole[1:-1] if channels_last else whole[2:]
            outer = (whole[0], whole[-1]) if channels_last else whole[:2]
            if outer != (1, 1):
                raise GeometryError(f"{name} is {whole}; batch and channel entries must be 1. Write {name}={inner}")
            value = inner
        return ints_of(value, name, ndim, least=1)

    @staticmethod
    def _pairs(padding: str | Sequence[Any], ndim: int, channels_last: bool) -> tuple[Pair | None, ...]:
        """Return the padding per axis: None for SAME, (0, 0) for VALID."""
        if isinstance(padding, str) and padding in NAMED_PADDING:
            return (NAMED_PADDING[padding],) * ndim
        if isinstance(padding, str) or entries_of(padding) is None:
            raise ArgumentError(
                f'padding is {shown(padding)}; TensorFlow takes "SAME", "VALID" or [[before, after], ...], with a pair '
                "per array axis. Use one of them"
            )
        if ndim != 2:
            raise ArgumentError(
                f"padding is {shown(padding)}; TensorFlow takes explicit pairs in 2-D only, and there are {ndim} "
                'spatial axes. Write padding="SAME" or "VALID", or dialect="torch" with crop='
            )
        usual = [(0, 0), (1, 1), (1, 1), (0, 0)] if channels_last else [(0, 0), (0, 0), (1, 1), (1, 1)]
        pairs = pairs_of(padding, "padding", ndim + 2, axes="array", example=f"padding={usual}")
        inner, outer = (pairs[1:-1], (pairs[0], pairs[-1])) if channels_last else (pairs[2:], pairs[:2])
        if any(side < 0 for pair in pairs for side in pair) or any(map(any, outer)):
            raise GeometryError(
                f"padding is {pairs}; TensorFlow needs pairs of at least 0, and (0, 0) for batch and channels. Write "
                'dialect="torch" with crop=, which has no such limit'
            )
        return inner

    def data_layout(self, ndim: int, x_ndim: int, data_format: str | None = None, **native: Any) -> DataLayout:
        return DataLayout.of("N*C" if self._channels_last(ndim, data_format) else "NC*", ndim)

    def data_layout_arguments(self, data: DataLayout) -> dict[str, Any] | None:
        ndim = sum(isinstance(axis, int) for axis in data.axes)
        if data == DataLayout.of("NC*", ndim):
            return {"data_format": f"NC{_LETTERS[ndim]}"}
        return super().data_layout_arguments(data)

    def groups(
        self,
        x_shape: tuple[int, ...],
        weight_shape: tuple[int, ...],
        data: DataLayout,
        weight: WeightLayout,
        native: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the group count, C_out in output_shape over C_out of the filter: TensorFlow has no argument for it."""
        batch, channels, spatial = data.sizes(x_shape)
        sizes = weight.sizes(weight_shape)
        if "groups" in native or channels != sizes["I"]:  # channels that do not match have an error of their own
            return {}
        times = groups_in_output_shape(
            native.get("output_shape"), len(spatial), batch, sizes["O"], data.axes.index("C")
        )
        return {"groups": times}

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        if geometry.ndim > 3:
            return [f"{geometry.ndim} spatial axes, only 1 to 3"]
        reasons = []
        if input is None:
            raise ArgumentError(
                "TensorFlow's arguments contain the output's size; input= is missing. "
                "Write arguments(geometry, input=(8, 8))"
            )
        if geometry.groups > 1 and geometry.ndim == 3:
            reasons.append("groups on 3 spatial axes")
        if self._padding(geometry, input) is None:
            reasons.append(
                f"the crop {geometry.crop} at input {input}, which is neither SAME nor VALID, nor pairs of at least 0 "
                "in 2-D without dilation and groups"
            )
        return reasons

    @staticmethod
    def _padding(geometry: Geometry, input: tuple[int, ...]) -> str | list[list[int]] | None:
        """Return the plainest padding argument whose rule gives this crop; None if there is none."""
        # pairs have no CPU kernel with dilation or groups
        paired = geometry.ndim == 2 and max(geometry.dilation) == geometry.groups == 1
        if (name := padding_name(geometry, input)) or not paired or min(map(min, geometry.crop)) < 0:
            return name
        return [[0, 0], *(list(pair) for pair in geometry.crop), [0, 0]]

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        assert input is not None  # reasons_against has raised otherwise
        return {
            "output_shape": geometry.output_shape(input),
            "strides": compact(geometry.stride),
            "padding": self._padding(geometry, input),
            "dilations": compact(geometry.dilation),
            **({} if geometry.groups == 1 else {"groups": geometry.groups}),
        }

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        nd, groups = geometry.ndim, geometry.groups
        channels = f"weight.shape[{nd}]" + (f" * {groups}" if groups > 1 else "")
        sizes = ", ".join(map(str, arguments["output_shape"]))
        rest = {name: value for name, value in arguments.items() if name not in ("output_shape", "groups")}
        return (
            f"tf.nn.conv{nd}d_transpose(x, weight, [x.shape[0], {sizes}, {channels}]{keywords(rest, {'dilations': 1})})"
        )
