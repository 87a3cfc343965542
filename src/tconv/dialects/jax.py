"""JAX: jax.lax.conv_transpose, with both conventions of padding and any layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tconv._arguments import Ints, entries_of, shown
from tconv.dialects.base import Dialect, flag_of, keywords
from tconv.dialects.fault_conditions import xla_ends_process, xla_reads_outside
from tconv.dialects.jax_padding import crop_of_padding, padding_of_crop, per_axis
from tconv.dialects.layouts import Axis, DataLayout, WeightLayout, axes_of
from tconv.errors import ArgumentError
from tconv.geometry import Geometry

_LETTERS = ("NC", "OI", "NC")  # of x, the weight and y: the axes that are not spatial


class Lax(Dialect):
    """Common base of the dialects built on jax.lax: they can express every crop, and no groups."""

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        reasons = [f"{geometry.groups} groups, which it does not have"] if geometry.groups > 1 else []
        if xla_reads_outside(geometry):
            reasons.append(f"the crop {geometry.crop}, for which XLA reads outside x (openxla/xla#48713)")
        if input is not None and xla_ends_process(geometry, input):
            reasons.append(f"the crop {geometry.crop} at input {input}, for which XLA ends the process")
        return reasons

    def cropped(self, plain: Geometry, padding: Any, consistent: bool = False) -> Geometry:
        """Return `plain` with the crop that lax's padding means."""
        return replace(plain, crop=crop_of_padding(padding, plain, consistent=consistent))


class Jax(Lax):
    """Arguments of jax.lax.conv_transpose; strides and padding are sequences.

    A pair of padding pads the dilated input, or with use_consistent_padding crops y. dimension_numbers names the axes
    of x, the weight and y, and the weight's spec orders the spatial axes. Taps are stored reversed, unless
    transpose_kernel=True, which also makes I the axis of output channels in the weight's spec, and O that of input
    channels.
    """

    name = "jax"
    framework = "JAX"
    conv_weight_pattern = "*IO"
    shuffle_order = "DCR"
    data_patterns = ("N*C",)
    weight_pattern = "*IO"
    weight_flip = True
    layout_arguments = ("dimension_numbers", "transpose_kernel")

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        strides: Sequence[int] | None = None,
        padding: str | Sequence[tuple[int, int]] | None = None,
        rhs_dilation: Sequence[int] | None = None,
        dimension_numbers: Any = None,
        transpose_kernel: bool = False,
        use_consistent_padding: bool = False,
    ) -> Geometry:
        ndim = Geometry(kernel).ndim
        dilation: Ints = 1 if rhs_dilation is None else per_axis(rhs_dilation, "rhs_dilation", 1, ndim)
        stride = per_axis(strides, "strides", 2, ndim)
        plain = Geometry(kernel, stride, 0, dilation)
        return self.cropped(plain, padding, flag_of(use_consistent_padding, "use_consistent_padding"))

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        arguments: dict[str, Any] = {"strides": geometry.stride, "padding": padding_of_crop(geometry)}
        if max(geometry.dilation) > 1:
            arguments["rhs_dilation"] = geometry.dilation
        if geometry.ndim > 3:
            arguments["dimension_numbers"] = tuple(_spec(p, geometry.ndim) for p in ("N*C", "*IO", "N*C"))
        return arguments

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        return f"jax.lax.conv_transpose(x, weight{keywords(arguments, {})})"

    def data_layout(self, ndim: int, x_ndim: int, **native: Any) -> DataLayout:
        return DataLayout(_axes(ndim, native.get("dimension_numbers"))[0])

    def result_layout(self, ndim: int, x_ndim: int, **native: Any) -> DataLayout:
        return DataLayout(_axes(ndim, native.get("dimension_numbers"))[2])

    def weight_layout(self, ndim: int, transpose_kernel: bool = False, **native: Any) -> WeightLayout:
        axes = _axes(ndim, native.get("dimension_numbers"))[1]
        if flag_of(transpose_kernel, "transpose_kernel"):
            swapped: dict[Axis, Axis] = {"I": "O", "O": "I"}
            return WeightLayout(tuple(swapped.get(axis, axis) for axis in axes))
        return WeightLayout(axes, flip=True)

    def data_layout_arguments(self, data: DataLayout) -> dict[str, Any] | None:
        arguments = super().data_layout_arguments(data)
        if arguments is not None or "N" not in data.axes:
            return arguments
        ndim = len(data.axes) - 2
        spatial = _spec("*", ndim)
        x = "".join(axis if isinstance(axis, str) else spatial[axis] for axis in data.axes)
        return {"dimension_numbers": (x, _spec("*IO", ndim), x)}


def _spec(pattern: str, ndim: int) -> str:
    spatial = {1: "W", 2: "HW", 3: "DHW"}.get(ndim, "0123456789"[:ndim])
    return pattern.replace("*", spatial)


def _axes(ndim: int, dimension_numbers: Any) -> tuple[tuple[Axis, ...], ...]:
    """Return the axes of x, the weight and y. Raises ArgumentError for invalid dimension_numbers."""
    if dimension_numbers is None and ndim <= 3:
        return tuple(axes_of(pattern, ndim) for pattern in ("N*C", "*IO", "N*C"))
    specs = dimension_numbers if isinstance(dimension_numbers, (tuple, list)) else ()
    if hasattr(dimension_numbers, "lhs_spec"):  # jax.lax.ConvDimensionNumbers: the position of each axis
        positions = [entries_of(spec) or () for spec in specs]
        if len(specs) == 3 and all(
            len(p) == ndim + 2 and all(axis in p for axis in range(ndim + 2)) for p in positions
        ):
            named = [[*letters, *range(ndim)] for letters in _LETTERS]
            return tuple(
                tuple(names[spec.index(position)] for position in range(ndim + 2))
                for names, spec in zip(named, positions, strict=True)
            )
        specs = ()  # of another rank than the weight
    legal = len(specs) == 3 and all(
        isinstance(spec, str) and len(spec) == len(set(spec)) == ndim + 2 and set(letters) <= set(spec)
        for spec, letters in zip(specs, _LETTERS, strict=True)
    )
    if not legal or len({frozenset(spec) - set(letters) for spec, letters in zip(specs, _LETTERS, strict=True)}) > 1:
        raise ArgumentError(
            f"dimension_numbers is {shown(dimension_numbers)}; three strings of {ndim + 2} letters are needed: N, C "
            "and the spatial letters for x and y; O, I and the same spatial letters for the weight. "
            f"Write dimension_numbers={tuple(_spec(p, ndim) for p in ('N*C', '*IO', 'N*C'))}"
        )
    spatial = [letter for letter in specs[1] if letter not in "OI"]
    return tuple(
        tuple(letter if letter in letters else spatial.index(letter) for letter in spec)
        for spec, letters in zip(specs, _LETTERS, strict=True)
    )
