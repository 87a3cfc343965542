"""Keras 3: keras.ops.conv_transpose, and the layers Conv1DTranspose, Conv2DTranspose, Conv3DTranspose built on it.

Rules, with e = d*(k - 1) + 1 and output_padding op: "valid" crops (0, -op), and op of None is max(e, s) - e. "same"
crops P in all, max(P, 0)//2 of it in front: P = e - s where op is None, so that L = s*n, else P = e - e%2 - op, so that
L = s*(n - 1) + e%2 + op. Source: keras/src/backend/common/backend_utils.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, entries_of, ints_of, shown
from tconv.dialects.base import Dialect, Fault, compact, uncropped, written
from tconv.dialects.lax_padding import ENDS_PROCESS
from tconv.dialects.layouts import DataLayout
from tconv.errors import ArgumentError
from tconv.geometry import Geometry

Extra = int | Sequence[int | None] | None


class Keras(Dialect):
    """Arguments of keras.ops.conv_transpose, read as the JAX backend reads them.

    That is the widest reading: the TensorFlow backend refuses an output_padding below 0 or of the stride and more, and
    "same" with an output_padding of 0 for an even kernel. The layers refuse the former, too, and strides together with
    dilation_rate. data_format=None is "channels_last", Keras's default unless it is configured otherwise.
    """

    name = "keras"
    framework = "Keras"
    ranks = (1, 3)
    data_patterns = ("N*C", "NC*")
    weight_pattern = "*OI"
    layout_arguments = ("data_format",)
    faults = (
        Fault(
            "keras 3.10.0, torch backend",
            '"same" with an odd crop takes the larger half of it in front, one element off, or is refused',
            "keras-team/keras#22876; observed with keras 3.10.0, and no more with 3.15.1",
            lambda geometry, input, native: (
                native.get("padding", "valid").lower() == "same"
                and any(sum(pair) > 0 and sum(pair) % 2 for pair in geometry.crop)
            ),
        ),
        ENDS_PROCESS,
    )

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
    ) -> Geometry:
        plain = uncropped(kernel, strides, dilation_rate, words="strides dilation_rate groups")
        rule = padding.lower() if isinstance(padding, str) else ""
        if rule not in ("valid", "same"):
            raise ArgumentError(
                f'padding is {shown(padding)}; Keras knows "valid" and "same". Write one of them, or dialect="torch" '
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
        return Geometry(kernel, strides, crop, dilation_rate)

    @staticmethod
    def _channels_last(data_format: str | None) -> bool:
        named = "channels_last" if data_format is None else str(data_format).lower()
        if named not in ("channels_last", "channels_first"):
            raise ArgumentError(
                f'data_format is {shown(data_format)}; Keras knows "channels_last" and "channels_first". Write one of '
                "them"
            )
        return named == "channels_last"

    def data_layout(self, ndim: int, x_ndim: int, data_format: str | None = None, **native: Any) -> DataLayout:
        return DataLayout.of("N*C" if self._channels_last(data_format) else "NC*", ndim)

    def data_words(self, data: DataLayout) -> dict[str, Any] | None:
        if data == self.data_layout(len(data.axes) - 2, len(data.axes), "channels_first"):
            return {"data_format": "channels_first"}
        return super().data_words(data)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        reasons = [f"{geometry.groups} groups, which it does not have"] if geometry.groups > 1 else []
        if geometry.ndim > 3:
            return [*reasons, f"{geometry.ndim} spatial axes; it has 1 to 3"]
        if self._padding(geometry) is None:
            reasons.append(
                f'the crop {geometry.crop}, which is neither "valid" nor "same" with an output_padding below the stride'
            )
        return reasons

    @staticmethod
    def _padding(geometry: Geometry) -> tuple[str, tuple[int, ...] | None] | None:
        """The padding and output_padding that every backend and layer takes to this crop, the plainest first."""
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

    def say(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        found = self._padding(geometry)
        assert found is not None  # reasons_against looked
        return {
            "strides": compact(geometry.stride),
            "padding": found[0],
            "output_padding": None if found[1] is None else compact(found[1]),
            "dilation_rate": compact(geometry.dilation),
        }

    def call(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        defaults = {"strides": 1, "padding": "valid", "output_padding": None, "dilation_rate": 1}
        return f"keras.ops.conv_transpose(x, weight{written(arguments, defaults)})"

    def padded(self, pairs: list[tuple[int, int]]) -> str:
        return f"keras.ops.pad(y, {pairs!r})"
