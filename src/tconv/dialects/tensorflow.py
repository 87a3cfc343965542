"""TensorFlow: tf.nn.conv1d_transpose, conv2d_transpose, conv3d_transpose.

The output's size is the caller's choice; SAME and VALID say which part of the full result it is. Rules: with
F = s*(n - 1) + extent, SAME crops max(F - L, 0)//2 in front, VALID nothing; whatever else must go, goes at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tconv.dialects.base import Dialect, compact, written
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.errors import ArgumentError, GeometryError, ShapeError
from tconv.geometry import Geometry, Ints, ints_of, pairs_of

_LETTERS = {1: "W", 2: "HW", 3: "DHW"}


class TensorFlow(Dialect):
    """output_shape names the output; padding is "SAME", "VALID" or explicit [[before, after], ...] (2-D only)."""

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
        strides: Ints = 1,
        padding: str | Sequence[Any] = "SAME",
        data_format: str | None = None,
        dilations: Ints = 1,
        groups: int = 1,
    ) -> Geometry:
        plain = Geometry(kernel, groups=groups)
        ndim = plain.ndim
        channels_last = self._channels_last(ndim, data_format)
        stride = self._per_axis(strides, "strides", ndim, channels_last)
        dilation = self._per_axis(dilations, "dilations", ndim, channels_last)
        plain = Geometry(kernel, stride, 0, dilation, groups)
        rule: str | tuple[tuple[int, int], ...]
        rule = padding.upper() if isinstance(padding, str) else self._explicit(padding, ndim, channels_last)
        if isinstance(rule, str) and rule not in ("SAME", "VALID"):
            raise ArgumentError(
                f'padding is {padding!r}; TensorFlow knows "SAME", "VALID" and [[before, after], ...]. Write '
                "one of them"
            )
        if output is not None:  # of the convolution: the large side is given, and fixes the small one
            large = ints_of(output, "output", ndim, least=1)
            small = tuple(
                self._small(L, e, s, rule, axis)
                for axis, (L, e, s) in enumerate(zip(large, plain.extent, stride, strict=True))
            )
        else:
            if input is None:
                raise ArgumentError(
                    "the TensorFlow dialect chooses its crop from sizes; input= is missing. Write input=(8, 8), "
                    "output_shape=(16, 16)"
                )
            small = ints_of(input, "input", ndim, least=1)
            large = self._output_sizes(output_shape, small, plain, channels_last)
        crop = []
        for axis, (n, L, e, s) in enumerate(zip(small, large, plain.extent, stride, strict=True)):
            if (fits := self._small(L, e, s, rule, axis)) != n:
                raise ShapeError(
                    f"output_shape asks for {L} on spatial axis {axis}, which a {padding!r} convolution with "
                    f"stride {s} takes to "
                    f"{fits}; x has {n} there. Write a size that it takes to {n}: "
                    f"{self._sizes_for(n, e, s, rule, axis)}"
                )
            rest = s * (n - 1) + e - L
            lo = rule[axis][0] if not isinstance(rule, str) else max(rest, 0) // 2 if rule == "SAME" else 0
            crop.append((lo, rest - lo))
        return Geometry(kernel, stride, crop, dilation, groups)

    @staticmethod
    def _small(L: int, extent: int, stride: int, rule: str | tuple[tuple[int, int], ...], axis: int) -> int:
        """The size that TensorFlow's convolution makes of L, so the only input that a transposed one takes to L."""
        if rule == "SAME":
            return -(-L // stride)
        if rule == "VALID":
            return -(-(L - extent + 1) // stride)
        assert not isinstance(rule, str)
        return (L + sum(rule[axis]) - extent) // stride + 1

    def _sizes_for(self, n: int, extent: int, stride: int, rule: str | tuple[tuple[int, int], ...], axis: int) -> str:
        last = stride * n if rule == "SAME" else stride * n + extent - 1
        if not isinstance(rule, str):
            last -= sum(rule[axis])
        first = max(1, last - stride + 1)
        return f"{first}" if first >= last else f"{first} to {last}"

    def _output_sizes(
        self, output_shape: Sequence[int] | None, small: tuple[int, ...], plain: Geometry, channels_last: bool
    ) -> tuple[int, ...]:
        ndim = plain.ndim
        usual = [s * n for s, n in zip(plain.stride, small, strict=True)]
        example = ["N", *usual, "C_out"] if channels_last else ["N", "C_out", *usual]
        text = ", ".join(map(str, example))
        if output_shape is None:
            raise ArgumentError(
                f"output_shape is missing; tf.nn needs it, SAME with it too. Write output_shape=[{text}]"
            )
        entries = tuple(output_shape) if isinstance(output_shape, Iterable) else (output_shape,)
        if len(entries) == ndim + 2:
            entries = entries[1:-1] if channels_last else entries[2:]
        if len(entries) != ndim:
            raise ShapeError(
                f"output_shape is {output_shape!r}, {len(entries)} entries; {ndim + 2} are needed. Write "
                f"output_shape=[{text}]"
            )
        return ints_of(entries, "output_shape", ndim, least=1)

    def _channels_last(self, ndim: int, data_format: str | None) -> bool:
        letters = _LETTERS.get(ndim, "HW")
        last, first = f"N{letters}C", f"NC{letters}"
        if data_format is None or data_format == last:
            return True
        if data_format == first:
            return False
        raise ArgumentError(
            f'data_format is {data_format!r}; with {ndim} spatial axes it is "{last}" or "{first}". Write one of them'
        )

    @staticmethod
    def _per_axis(value: Ints, name: str, ndim: int, channels_last: bool) -> tuple[int, ...]:
        """Strides and dilations: one int, one per spatial axis, or one per array axis (1 for batch and channels)."""
        if isinstance(value, Sequence):
            if len(value) == 1:
                value = value[0]
            elif len(value) == ndim + 2:
                inner = value[1:-1] if channels_last else value[2:]
                outer = (value[0], value[-1]) if channels_last else tuple(value[:2])
                if tuple(outer) != (1, 1):
                    raise GeometryError(
                        f"{name} is {tuple(value)}; batch and channel entries must be 1. Write {name}={tuple(inner)}"
                    )
                value = inner
        return ints_of(value, name, ndim, least=1)

    @staticmethod
    def _explicit(padding: Sequence[Any], ndim: int, channels_last: bool) -> tuple[tuple[int, int], ...]:
        entries = list(padding)
        if ndim != 2:
            raise ArgumentError(
                f"padding is {padding!r}; TensorFlow takes explicit pairs in 2-D only, and there are {ndim} "
                "spatial axes. "
                'Write padding="SAME" or "VALID", or dialect="torch" with crop='
            )
        if len(entries) == ndim + 2:
            entries = entries[1:-1] if channels_last else entries[2:]
        pairs = pairs_of(entries, "padding", ndim)
        if any(side < 0 for pair in pairs for side in pair):
            raise GeometryError(
                f'padding is {pairs}; TensorFlow needs pairs of at least 0. Write dialect="torch" with crop=, '
                "which has no limit"
            )
        return pairs

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
        per_group = weight.sizes(weight_shape)["O"]
        output_shape = native.get("output_shape")
        if "groups" in native or output_shape is None or len(output_shape) != len(x_shape):
            return {}
        if data.sizes(x_shape)[1] != weight.sizes(weight_shape)["I"]:
            return {}  # channels do not match at all, which has an error of its own
        total = int(output_shape[data.axes.index("C")])
        if per_group and total % per_group == 0 and total >= per_group:
            return {"groups": total // per_group}
        raise ShapeError(
            f"output_shape {tuple(output_shape)} has {total} channels; a filter of shape {weight_shape} has "
            f"{per_group} output channels "
            f"({weight.describe()}). Write a multiple of {per_group} there"
        )

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        if geometry.ndim > 3:
            return [f"{geometry.ndim} spatial axes; it has 1 to 3"]
        if input is None:
            raise ArgumentError(
                "TensorFlow's arguments name the output's size; input= is missing. "
                "Write arguments(geometry, input=(8, 8))"
            )
        if self._padding(geometry, input) is not None:
            return []
        return [f"the crop {geometry.crop} at input {input}, which is neither SAME nor VALID nor a pair of at least 0"]

    def _padding(self, geometry: Geometry, input: tuple[int, ...]) -> str | list[list[int]] | None:
        """The padding argument whose rule gives this crop, the plainest first; None if there is none."""
        choices: list[str | list[list[int]]] = ["SAME", "VALID"]
        if geometry.ndim == 2:
            choices.append([[0, 0], *(list(pair) for pair in geometry.crop), [0, 0]])
        for padding in choices:
            try:
                if self.geometry(input=input, **self._words(geometry, input, padding)) == geometry:
                    return padding
            except (ShapeError, GeometryError):
                continue
        return None

    @staticmethod
    def _words(geometry: Geometry, input: tuple[int, ...], padding: Any) -> dict[str, Any]:
        return {
            "kernel": geometry.kernel,
            "groups": geometry.groups,
            "output_shape": geometry.output_shape(input),
            "strides": compact(geometry.stride),
            "padding": padding,
            "dilations": compact(geometry.dilation),
        }

    def say(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        assert input is not None  # reasons_against asked for it
        words = self._words(geometry, input, self._padding(geometry, input))
        return {name: value for name, value in words.items() if name not in ("kernel", "groups")}

    def call(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        nd, groups = geometry.ndim, geometry.groups
        channels = f"weight.shape[{nd}]" + (f" * {groups}" if groups > 1 else "")
        sizes = ", ".join(map(str, arguments["output_shape"]))
        rest = {name: value for name, value in arguments.items() if name != "output_shape"}
        return (
            f"tf.nn.conv{nd}d_transpose(x, weight, [x.shape[0], {sizes}, {channels}]{written(rest, {'dilations': 1})})"
        )
