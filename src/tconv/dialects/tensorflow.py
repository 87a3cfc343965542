"""TensorFlow: tf.nn.conv1d_transpose, conv2d_transpose, conv3d_transpose; the output's size is the caller's choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, entries_of, int_of, ints_of, pairs_of, shown
from tconv.dialects.base import Dialect, compact, written
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.dialects.named_output_shape import PAIRS, Pair, adjoint, between, check_ends, large_sides, rule_of, sizes_of
from tconv.errors import ArgumentError, GeometryError
from tconv.geometry import Geometry

_LETTERS = {1: "W", 2: "HW", 3: "DHW"}


def _with_onednn(pair: Pair | None, n: int, extent: int, stride: int) -> range:
    """The legal sizes: dividing L - extent by the stride, oneDNN rounds to zero, so that for n = 1 a few more are."""
    sizes = large_sides(pair, n, extent, stride)
    return range(max(1, extent - stride + 1), sizes.stop) if pair is not None and n == 1 else sizes


class TensorFlow(Dialect):
    """output_shape names the output; padding is "SAME", "VALID" or [[0, 0], [top, bottom], [left, right], [0, 0]].

    output_shape is the whole shape, or the spatial sizes alone (which tf.nn itself takes in 2-D only). There are as
    many groups as C_out there is a multiple of the filter's; groups= says it where C_out is not there. Pairs exist in
    2-D only; NCHW, dilation and groups run on the CPU with "SAME" and "VALID" where TensorFlow is built with oneDNN.
    """

    name = "tensorflow"
    framework = "TensorFlow"
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
            return adjoint(plain, pairs, output)
        if input is None:
            raise ArgumentError(
                "the TensorFlow dialect chooses its crop from sizes; input= is missing. Write input=(8, 8), "
                "output_shape=(16, 16)"
            )
        small = ints_of(input, "input", ndim, least=1)
        large = sizes_of(output_shape, plain, small, "tf.nn", -1 if channels_last else 1)
        return between(plain, pairs, padding, small, large, _with_onednn if isinstance(padding, str) else large_sides)

    @staticmethod
    def _channels_last(ndim: int, data_format: str | None) -> bool:
        letters = _LETTERS.get(ndim, "HW")
        last, first = f"N{letters}C", f"NC{letters}"
        if data_format is None:
            return True
        if isinstance(data_format, str) and data_format in (first, last):
            return data_format == last
        raise ArgumentError(
            f'data_format is {shown(data_format)}; with {ndim} spatial axes it is "{last}" or "{first}". Write one of '
            "them"
        )

    @staticmethod
    def _per_axis(value: Ints | None, name: str, ndim: int, channels_last: bool) -> tuple[int, ...]:
        """Strides and dilations: one int, one per spatial axis, or one per array axis (1 for batch and channels)."""
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
        """The padding per axis: None for SAME, (0, 0) for VALID."""
        if isinstance(padding, str) and padding in PAIRS:
            return (PAIRS[padding],) * ndim
        if isinstance(padding, str) or entries_of(padding) is None:
            raise ArgumentError(
                f'padding is {shown(padding)}; TensorFlow knows "SAME", "VALID" and [[before, after], ...], a pair per '
                "array axis. Write one of them"
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
                f"padding is {pairs}; TensorFlow needs pairs of at least 0, and 0 for batch and channels. Write "
                'dialect="torch" with crop=, which has no limit'
            )
        return inner

    def data_layout(self, ndim: int, x_ndim: int, data_format: str | None = None, **native: Any) -> DataLayout:
        return DataLayout.of("N*C" if self._channels_last(ndim, data_format) else "NC*", ndim)

    def data_words(self, data: DataLayout) -> dict[str, Any] | None:
        ndim = sum(isinstance(axis, int) for axis in data.axes)
        if data == DataLayout.of("NC*", ndim):
            return {"data_format": f"NC{_LETTERS[ndim]}"}
        return super().data_words(data)

    def groups(
        self,
        x_shape: tuple[int, ...],
        weight_shape: tuple[int, ...],
        data: DataLayout,
        weight: WeightLayout,
        native: dict[str, Any],
    ) -> dict[str, Any]:
        """TensorFlow has no groups argument: C_out in output_shape over the filter's own C_out is the group count."""
        batch, channels, spatial = data.sizes(x_shape)
        sizes = weight.sizes(weight_shape)
        if "groups" in native or channels != sizes["I"]:  # channels that do not match have an error of their own
            return {}
        times = check_ends(native.get("output_shape"), len(spatial), batch, sizes["O"], data.axes.index("C"))
        return {"groups": times}

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        if geometry.ndim > 3:
            return [f"{geometry.ndim} spatial axes; it has 1 to 3"]
        reasons = []
        if input is None:
            raise ArgumentError(
                "TensorFlow's arguments name the output's size; input= is missing. "
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
        """The padding argument whose rule gives this crop, the plainest first; None if there is none."""
        # pairs have no CPU kernel with dilation or groups
        paired = geometry.ndim == 2 and max(geometry.dilation) == geometry.groups == 1
        if (name := rule_of(geometry, input)) or not paired or min(map(min, geometry.crop)) < 0:
            return name
        return [[0, 0], *(list(pair) for pair in geometry.crop), [0, 0]]

    def say(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        assert input is not None  # reasons_against asked for it
        return {
            "output_shape": geometry.output_shape(input),
            "strides": compact(geometry.stride),
            "padding": self._padding(geometry, input),
            "dilations": compact(geometry.dilation),
            **({} if geometry.groups == 1 else {"groups": geometry.groups}),
        }

    def call(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        nd, groups = geometry.ndim, geometry.groups
        channels = f"weight.shape[{nd}]" + (f" * {groups}" if groups > 1 else "")
        sizes = ", ".join(map(str, arguments["output_shape"]))
        rest = {name: value for name, value in arguments.items() if name not in ("output_shape", "groups")}
        return (
            f"tf.nn.conv{nd}d_transpose(x, weight, [x.shape[0], {sizes}, {channels}]{written(rest, {'dilations': 1})})"
        )
