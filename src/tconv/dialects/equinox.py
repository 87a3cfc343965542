"""Equinox: eqx.nn.ConvTranspose, and ConvTranspose1d, ConvTranspose2d, ConvTranspose3d.

Rules, with e = d*(k - 1) + 1 and output_padding op: a pair (a, b) crops (a, b - op), "VALID" (0, -op). "SAME" and
"SAME_LOWER" crop P = e - s + op in all, so that L = s*n - op (op makes it smaller), half of it in front; an odd
element is cropped behind with "SAME" and in front with "SAME_LOWER", and a negative P extends the end.
Source: equinox/nn/_conv.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tconv._arguments import Ints, entries_of, ints_of, pairs_of, shown
from tconv.dialects.base import compact, keywords
from tconv.dialects.jax import Lax
from tconv.errors import ArgumentError, GeometryError
from tconv.geometry import Geometry

_STRINGS = ("SAME", "SAME_LOWER", "VALID")


class Equinox(Lax):
    """Arguments of the layer, which takes one image without a batch axis.

    The weight is [C_out, C_in/groups, *k], with the taps reversed.

    As positional arguments, ConvTranspose1d, 2d and 3d take output_padding before padding, ConvTranspose after it.
    """

    name = "equinox"
    framework = "Equinox"
    batchnorm_eps = 1e-5
    data_patterns = ("C*",)
    weight_pattern = "OI*"
    weight_grouped = "O"
    weight_flip = True

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        stride: Ints = 1,
        padding: str | int | Sequence[int] | Sequence[tuple[int, int]] = 0,
        output_padding: Ints = 0,
        dilation: Ints = 1,
        groups: int = 1,
        padding_mode: str = "ZEROS",
    ) -> Geometry:
        plain = Geometry(kernel, stride, 0, dilation, groups)
        if str(padding_mode).upper() != "ZEROS":
            raise ArgumentError(
                f'padding_mode is {shown(padding_mode)}; "ZEROS" is needed. Write padding_mode="ZEROS"; for '
                "another, pad x and cut the result"
            )
        extra = ints_of(output_padding, "output_padding", plain.ndim)
        for axis, (op, s) in enumerate(zip(extra, plain.stride, strict=True)):
            if op >= s:
                raise GeometryError(
                    f"output_padding is {op} on spatial axis {axis}; Equinox needs it smaller than the stride ({s}). "
                    "Write padding=((lo, hi), ...) with a smaller or negative hi"
                )
        rule = padding.upper() if isinstance(padding, str) else "VALID"
        if rule not in _STRINGS:
            raise ArgumentError(f"padding is {padding!r}; Equinox has {', '.join(_STRINGS)}. Use one of them")
        if rule != "VALID":
            total = [e - s + op for e, s, op in zip(plain.extent, plain.stride, extra, strict=True)]
            front = [(max(P, 0) + (rule == "SAME_LOWER")) // 2 for P in total]
            return replace(plain, crop=tuple((lo, P - lo) for lo, P in zip(front, total, strict=True)))
        pairs = ((0, 0),) * plain.ndim if isinstance(padding, str) else self._pairs(padding, plain.ndim)
        return replace(plain, crop=tuple((a, b - op) for (a, b), op in zip(pairs, extra, strict=True)))

    @staticmethod
    def _pairs(padding: Any, ndim: int) -> tuple[tuple[int, int], ...]:
        entries = entries_of(padding) or ()
        paired = [entries_of(entry) is not None for entry in entries]
        if any(paired) and not all(paired):
            raise ArgumentError(
                f"padding is {shown(padding)}; one integer per spatial axis, or one pair (lo, hi) per axis, is needed. "
                f"Write padding={((1, 1),) * ndim}"
            )
        return pairs_of(padding, "padding", ndim)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        return super().reasons_against(replace(geometry, groups=1), input)  # it has groups

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        even = all(lo == hi for lo, hi in geometry.crop)
        return {
            "stride": compact(geometry.stride),
            "padding": compact([lo for lo, _ in geometry.crop]) if even else geometry.crop,
            "dilation": compact(geometry.dilation),
            "groups": geometry.groups,
        }

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        options = keywords(arguments, {"stride": 1, "padding": 0, "dilation": 1, "groups": 1})
        inputs = "weight.shape[1]" + (f" * {geometry.groups}" if geometry.groups > 1 else "")
        layer = (
            f"eqx.nn.ConvTranspose({geometry.ndim}, {inputs}, weight.shape[0], {geometry.kernel}{options}, "
            "use_bias=False, key=jax.random.key(0))"
        )
        return f"eqx.tree_at(lambda layer: layer.weight, {layer}, weight)(x)"
