"""TensorFlow: tf.nn.conv1d_transpose, conv2d_transpose, conv3d_transpose.

The output's size is the caller's choice, among those that the convolution takes to the input's size; SAME and VALID
say which part of the full result it is. Rules: with F = s*(n - 1) + extent, SAME crops max(F - L, 0)//2 in front, VALID
nothing, a pair its first entry; whatever else must go, goes at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tconv.dialects.base import Dialect, compact, written
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.errors import ArgumentError, GeometryError, ShapeError
from tconv.geometry import Geometry, Ints, ints_of, pairs_of

Pair = tuple[int, int]
LETTERS = {1: "W", 2: "HW", 3: "DHW"}


def small_side(pair: Pair | None, L: int, extent: int, stride: int) -> int:
    """What the convolution makes of L elements: SAME is None, VALID is (0, 0), else explicit padding."""
    return -(-L // stride) if pair is None else (L + sum(pair) - extent) // stride + 1


def large_sides(pair: Pair | None, n: int, extent: int, stride: int) -> range:
    """The sizes of at least 1 that `small_side` takes to n."""
    last = stride * n if pair is None else stride * n + extent - 1 - sum(pair)
    return range(max(1, last - stride + 1), last + 1)


def crop_to(pair: Pair | None, L: int, n: int, extent: int, stride: int) -> Pair:
    """The crop that leaves L elements: SAME halves what is too much, all others begin where they are told to."""
    rest = stride * (n - 1) + extent - L
    lo = max(rest, 0) // 2 if pair is None else pair[0]
    return lo, rest - lo


def refuse_size(axis: int, L: int, n: int, fits: int, sizes: range, stride: int, rule: Any) -> ShapeError:
    """The error for an output size that the rule's convolution takes to `fits` and not to n, as it does `sizes`."""
    write = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else f"{sizes[0]}" if sizes else "there is none"
    return ShapeError(
        f"output_shape asks for {L} on spatial axis {axis}, which a {rule!r} convolution with stride {stride} takes to "
        f"{fits}; x has {n} there. Write a size that it takes to {n}: {write}"
    )


class TensorFlow(Dialect):
    """output_shape names the output; padding is "SAME", "VALID" or [[0, 0], [top, bottom], [left, right], [0, 0]].

    output_shape is the whole shape, or the spatial sizes alone (which tf.nn itself takes in 2-D only). There are as
    many groups as C_out there is a multiple of the filter's; groups= says it where C_out is not there. Pairs exist in
    2-D only; NCHW, dilation and groups run on the CPU with "SAME" and "VALID" where TensorFlow is built with oneDNN.
    """

    name = "tensorflow"
    framework = "TensorFlow"
    operator = "tf.nn"
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
        axes = list(zip(pairs, plain.extent, stride, strict=True))
        if output is not None:  # of the convolution: the large side is given, and fixes the small one
            large = ints_of(output, "output", ndim, least=1)
            small = tuple(small_side(pair, L, e, s) for L, (pair, e, s) in zip(large, axes, strict=True))
        elif input is None:
            raise ArgumentError(
                f"the {self.framework} dialect chooses its crop from sizes; input= is missing. Write input=(8, 8), "
                "output_shape=(16, 16)"
            )
        else:
            small = ints_of(input, "input", ndim, least=1)
            large = self._output_sizes(output_shape, small, plain, channels_last)
            for axis, (n, L, (pair, e, s)) in enumerate(zip(small, large, axes, strict=True)):
                if L not in (sizes := self._sizes(padding, pair, n, e, s)):
                    raise refuse_size(axis, L, n, small_side(pair, L, e, s), sizes, s, padding)
        crop = [crop_to(pair, L, n, e, s) for n, L, (pair, e, s) in zip(small, large, axes, strict=True)]
        return Geometry(kernel, stride, crop, dilation, groups)

    @staticmethod
    def _sizes(padding: Any, pair: Pair | None, n: int, extent: int, stride: int) -> range:
        sizes = large_sides(pair, n, extent, stride)
        if isinstance(padding, str) and pair is not None and n == 1:
            # oneDNN divides L - extent by the stride towards zero, so a little less than the extent gives 1, too
            return range(max(1, extent - stride + 1), sizes.stop)
        return sizes

    def _output_sizes(
        self, output_shape: Sequence[int] | None, small: tuple[int, ...], plain: Geometry, channels_last: bool
    ) -> tuple[int, ...]:
        ndim = plain.ndim
        usual = [s * n for s, n in zip(plain.stride, small, strict=True)]
        example = ["N", *usual, "C_out"] if channels_last else ["N", "C_out", *usual]
        text = ", ".join(map(str, example))
        if output_shape is None:
            raise ArgumentError(
                f"output_shape is missing; {self.operator} needs it, SAME with it too. Write output_shape=[{text}]"
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

    @staticmethod
    def _channels_last(ndim: int, data_format: str | None) -> bool:
        letters = LETTERS.get(ndim, "HW")
        last, first = f"N{letters}C", f"NC{letters}"
        if data_format is None or data_format == last:
            return True
        if data_format == first:
            return False
        raise ArgumentError(
            f'data_format is {data_format!r}; with {ndim} spatial axes it is "{last}" or "{first}". Write one of them'
        )

    @staticmethod
    def _per_axis(value: Ints | None, name: str, ndim: int, channels_last: bool) -> tuple[int, ...]:
        """Strides and dilations: one int, one per spatial axis, or one per array axis (1 for batch and channels)."""
        if value is None:
            return (1,) * ndim
        if isinstance(value, Iterable):
            value = tuple(value)
            if len(value) == 1:
                value = value[0]
            elif len(value) == ndim + 2:
                inner = value[1:-1] if channels_last else value[2:]
                outer = (value[0], value[-1]) if channels_last else value[:2]
                if outer != (1, 1):
                    raise GeometryError(f"{name} is {value}; batch and channel entries must be 1. Write {name}={inner}")
                value = inner
        return ints_of(value, name, ndim, least=1)

    @staticmethod
    def _pairs(padding: str | Sequence[Any], ndim: int, channels_last: bool) -> tuple[Pair | None, ...]:
        """The padding per axis: None for SAME, (0, 0) for VALID."""
        if isinstance(padding, str):
            if padding not in ("SAME", "VALID"):
                raise ArgumentError(
                    f'padding is {padding!r}; TensorFlow knows "SAME", "VALID" and [[before, after], ...], a pair per '
                    "array axis. Write one of them"
                )
            return (None if padding == "SAME" else (0, 0),) * ndim
        if ndim != 2:
            raise ArgumentError(
                f"padding is {padding!r}; TensorFlow takes explicit pairs in 2-D only, and there are {ndim} "
                'spatial axes. Write padding="SAME" or "VALID", or dialect="torch" with crop='
            )
        pairs = pairs_of(padding, "padding", ndim + 2)
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
            return {"data_format": f"NC{LETTERS[ndim]}"}
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
        output_shape = native.get("output_shape")
        if "groups" in native or output_shape is None or len(output_shape) != len(x_shape):
            return {}
        batch, channels, _ = data.sizes(x_shape)
        if channels != weight.sizes(weight_shape)["I"]:
            return {}  # channels do not match at all, which has an error of its own
        if (asked := int(output_shape[0])) not in (batch, -1):
            raise ShapeError(f"output_shape begins with {asked}; x has a batch of {batch}. Write {batch} there, or -1")
        per_group = weight.sizes(weight_shape)["O"]
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
        reasons = []
        if input is None:
            raise ArgumentError(
                f"{self.framework}'s arguments name the output's size; input= is missing. "
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

    def _padding(self, geometry: Geometry, input: tuple[int, ...]) -> str | list[list[int]] | None:
        """The padding argument whose rule gives this crop, the plainest first; None if there is none."""
        choices: list[str | list[list[int]]] = ["SAME", "VALID"]
        if geometry.ndim == 2 and max(geometry.dilation) == geometry.groups == 1:  # else there is no CPU kernel
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
        unsaid = ("kernel", "groups") if geometry.groups == 1 else ("kernel",)
        return {name: value for name, value in words.items() if name not in unsaid}

    def call(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        nd, groups = geometry.ndim, geometry.groups
        channels = f"weight.shape[{nd}]" + (f" * {groups}" if groups > 1 else "")
        sizes = ", ".join(map(str, arguments["output_shape"]))
        rest = {name: value for name, value in arguments.items() if name not in ("output_shape", "groups")}
        return (
            f"tf.nn.conv{nd}d_transpose(x, weight, [x.shape[0], {sizes}, {channels}]{written(rest, {'dilations': 1})})"
        )
