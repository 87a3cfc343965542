"""PaddlePaddle: paddle.nn.functional.conv1d_transpose, conv2d_transpose and conv3d_transpose.

Padding (a, b) crops (a, b - output_padding), or (a, F - L - a) with an output_size. "VALID" is padding 0. "SAME" is the
padding of a convolution over an input of n, P = max((ceil(n/s) - 1)*s + k - n, 0) with its smaller half in front, and
sets the dilation to 1: the output has s*n elements only by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, entries_of, int_of, ints_of, pairs_of, shown
from tconv.dialects.base import Dialect, compact, keywords
from tconv.dialects.layouts import DataLayout
from tconv.errors import ArgumentError, GeometryError, ShapeError
from tconv.geometry import Geometry

_FORMATS = {1: ("NCL", "NLC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}


class Paddle(Dialect):
    """Arguments of the functions; padding has five forms.

    It is an int, a list of one per axis, a list of (before, after) of all axes in a row, a list of pairs for all axes
    of x, or a name.
    """

    name = "paddle"
    framework = "Paddle"
    batchnorm_eps = 1e-5
    ranks = (1, 3)
    data_patterns = ("NC*", "N*C")
    layout_arguments = ("data_format",)

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        stride: Ints = 1,
        padding: str | int | Sequence[Any] = 0,
        output_padding: Ints = 0,
        dilation: Ints = 1,
        groups: int = 1,
        output_size: Ints | None = None,
        data_format: str | None = None,
    ) -> Geometry:
        same = isinstance(padding, str) and padding.upper() == "SAME"
        plain = Geometry(kernel, stride, 0, dilation, groups)
        ndim = plain.ndim
        channels_last = self._channels_last(ndim, data_format)
        listed = entries_of(output_padding) is not None
        if output_size is not None and (listed or int_of(output_padding, "output_padding") != 0):
            raise ArgumentError(
                "output_size was given together with output_padding; Paddle takes only one of them. Use one of them"
            )
        extra = self._extra(output_padding, plain)
        if same:
            plain = Geometry(kernel, stride, 0, 1, groups)
        axes = list(zip(plain.kernel, plain.stride, plain.extent, strict=True))
        pairs = () if same else self._pairs(padding, ndim, channels_last)
        if output is not None:  # of the convolution: the large side is given, and fixes the small one
            large = ints_of(output, "output", ndim, least=1)
            if same:
                small = tuple(_same_input(L - op, k, s) for L, op, (k, s, _) in zip(large, extra, axes, strict=True))
            elif output_size is not None:
                small = Geometry(kernel, stride, pairs, dilation).conv_shape(large)
        elif input is not None:
            small = ints_of(input, "input", ndim, least=1)
            if output_size is not None:
                sizes = zip(plain.full_shape(small), pairs or ((0, 0),) * ndim, strict=True)
                usual = f"output_size={[max(F - a - b, 1) for F, (a, b) in sizes]}"
                large = ints_of(output_size, "output_size", ndim, example=usual)
        elif same or output_size is not None:
            raise ArgumentError(
                'the crop of padding="SAME" and of output_size depends on the input\'s size; input= is missing. Write '
                "input=(8, 8)"
            )
        if same:
            pairs = tuple(_same_pads(n, k, s) for n, (k, s, _) in zip(small, axes, strict=True))
        if output_size is None:
            crop = [(a, b - op) for (a, b), op in zip(pairs, extra, strict=True)]
            return Geometry(kernel, stride, crop, plain.dilation, groups)
        crop = []
        for axis, (n, L, (a, b), (_, s, e)) in enumerate(zip(small, large, pairs, axes, strict=True)):
            least = s * (n - 1) + e - a - b
            if not least <= L < least + s:
                raise ShapeError(
                    f"output_size is {L} on spatial axis {axis}; for an input of {n} Paddle can return {least} to "
                    f"{least + s - 1}. Use one of these sizes"
                )
            crop.append((a, b + least - L))
        return Geometry(kernel, stride, crop, plain.dilation, groups)

    @staticmethod
    def _extra(output_padding: Ints, plain: Geometry) -> tuple[int, ...]:
        extra = ints_of(output_padding, "output_padding", plain.ndim, least=0)
        for axis, (op, s, d) in enumerate(zip(extra, plain.stride, plain.dilation, strict=True)):
            if op >= max(s, d) or (plain.ndim == 1 and op > s):
                raise GeometryError(
                    f"output_padding is {op} on spatial axis {axis}; Paddle needs it smaller than the stride ({s}) or "
                    f"the dilation ({d}){', in 1-D no larger than the stride' if plain.ndim == 1 else ''}. "
                    'Write dialect="torch" with crop=((lo, hi), ...), which has no such limit'
                )
        return extra

    @staticmethod
    def _pairs(padding: str | int | Sequence[Any], ndim: int, channels_last: bool) -> tuple[tuple[int, int], ...]:
        """Return one (before, after) pair per spatial axis, for every form of padding but "SAME"."""
        if isinstance(padding, str):
            if padding.upper() != "VALID":
                raise ArgumentError(f'padding is {shown(padding)}; Paddle takes "SAME" or "VALID". Use one of them')
            return ((0, 0),) * ndim
        entries = entries_of(padding)
        if entries is None:
            entries = (int_of(padding, "padding"),) * ndim
        if len(entries) == ndim + 2 and entries_of(entries[0]) is not None:
            ends, sides = [(0, 0)], [(1, 1)] * ndim
            usual = f"padding={ends + sides + ends if channels_last else ends + ends + sides}"
            whole = pairs_of(entries, "padding", ndim + 2, axes="array", example=usual)
            pairs, outer = (whole[1:-1], whole[:: ndim + 1]) if channels_last else (whole[2:], whole[:2])
            if any(map(any, outer)):
                raise GeometryError(
                    f"padding is {shown(padding)}; the pairs of batch and channels must be (0, 0). Write (0, 0) there"
                )
        elif len(entries) == 2 * ndim:
            flat = ints_of(entries, "padding", 2 * ndim)
            pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
        else:
            pairs = tuple((size, size) for size in ints_of(entries, "padding", ndim))
        if any(side < 0 for pair in pairs for side in pair):
            raise GeometryError(
                f'padding is {pairs}; Paddle needs it to be at least 0. Write dialect="torch" with crop=, '
                "which has no limit"
            )
        return pairs

    def _channels_last(self, ndim: int, data_format: str | None) -> bool:
        first, last = _FORMATS.get(ndim, ("NCHW", "NHWC"))
        if data_format is not None and not (isinstance(data_format, str) and data_format in (first, last)):
            raise ArgumentError(
                f'data_format is {shown(data_format)}; with {ndim} spatial axes it must be "{first}" or "{last}". '
                "Use one of them"
            )
        return data_format == last

    def data_layout(self, ndim: int, x_ndim: int, data_format: str | None = None, **native: Any) -> DataLayout:
        return DataLayout.of("N*C" if self._channels_last(ndim, data_format) else "NC*", ndim)

    def data_layout_arguments(self, data: DataLayout) -> dict[str, Any] | None:
        ndim = sum(isinstance(axis, int) for axis in data.axes)
        if ndim in _FORMATS and data == DataLayout.of("N*C", ndim):
            return {"data_format": _FORMATS[ndim][1]}
        return super().data_layout_arguments(data)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        if geometry.ndim > 3:
            return [f"{geometry.ndim} spatial axes, only 1 to 3"]
        # an output_padding from the stride up to the dilation passes the checks of Paddle, but not its CPU kernels
        return [
            f"the crop ({lo}, {hi}) on spatial axis {axis}: padding is at least 0, and output_padding, which extends "
            f"the end, stays below the stride {s}"
            for axis, ((lo, hi), s) in enumerate(zip(geometry.crop, geometry.stride, strict=True))
            if lo < 0 or -hi >= s
        ]

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        pads = [(lo, max(0, hi)) for lo, hi in geometry.crop]
        even = all(lo == hi for lo, hi in pads)
        return {
            "stride": compact(geometry.stride),
            "padding": compact([lo for lo, _ in pads]) if even else [side for pair in pads for side in pair],
            "output_padding": compact([max(0, -hi) for _, hi in geometry.crop]),
            "dilation": compact(geometry.dilation),
            "groups": geometry.groups,
        }

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        defaults = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}
        return f"paddle.nn.functional.conv{geometry.ndim}d_transpose(x, weight{keywords(arguments, defaults)})"

    def pad_code(self, pairs: list[tuple[int, int]]) -> str:
        return f"paddle.nn.functional.pad(y, {[side for pair in pairs for side in pair]!r})"


def _same_pads(n: int, k: int, s: int) -> tuple[int, int]:
    """Return the padding (before, after) of "SAME" for an input of n."""
    total = max((-(-n // s) - 1) * s + k - n, 0)
    return total // 2, total - total // 2


def _same_input(L: int, k: int, s: int) -> int:
    """Return the largest input for which "SAME" gives at most L elements."""
    n = 1
    while s * n + k - sum(_same_pads(n + 1, k, s)) <= L:
        n += 1
    return n
