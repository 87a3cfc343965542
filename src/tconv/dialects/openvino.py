"""OpenVINO: ConvolutionBackpropData and GroupConvolutionBackpropData, with the arguments of openvino.opset15.

Explicit pads crop (begin, end - output_padding). With an output_shape, explicit crops `begin` in front, valid nothing,
and same_* splits max(F + output_padding - L, 0): same_upper crops the larger half in front, same_lower the smaller, the
reverse of ONNX; the rest is cropped, or added, at the end. Without an output_shape same_* and valid ignore the pads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, ints_of, shown
from tconv._arrays import Array
from tconv.dialects.base import Dialect, NativeCall, keywords, uncropped
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.errors import ArgumentError, GeometryError
from tconv.geometry import Geometry

_RULES = ("EXPLICIT", "SAME_UPPER", "SAME_LOWER", "VALID")


class _Backprop(Dialect):
    """Common base of both operations."""

    name = "openvino"
    framework = "OpenVINO"
    ranks = (1, 3)

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        strides: Ints | None = None,
        output_shape: Sequence[int] | None = None,
        pads_begin: Sequence[int] | None = None,
        pads_end: Sequence[int] | None = None,
        dilations: Ints | None = None,
        auto_pad: str | None = None,
        output_padding: Sequence[int] | None = None,
        groups: int = 1,
    ) -> Geometry:
        if strides is None:
            raise ArgumentError("strides is missing; OpenVINO has no default for it. Write strides=[2, 2]")
        plain = uncropped(
            kernel, strides, 1 if dilations is None else dilations, groups, names="strides dilations groups"
        )
        ndim = plain.ndim
        rule = "EXPLICIT" if auto_pad is None else str(auto_pad).upper()
        if rule not in _RULES:
            raise ArgumentError(
                f"auto_pad is {shown(auto_pad)}; OpenVINO has {', '.join(_RULES).lower()}. Use one of them"
            )
        begin, end, extra = (
            ints_of(0 if value is None else value, name, ndim)
            for value, name in ((pads_begin, "pads_begin"), (pads_end, "pads_end"), (output_padding, "output_padding"))
        )
        if rule != "EXPLICIT":
            begin = end = (0,) * ndim
        if min(begin) < 0:
            raise GeometryError(
                f"pads_begin is {begin}; OpenVINO needs at least 0. "
                'Write dialect="torch" with crop=((lo, hi), ...), which has no such limit'
            )
        if output_shape is None:
            crop = [(a, b - op) for a, b, op in zip(begin, end, extra, strict=True)]
            return Geometry(kernel, strides, crop, plain.dilation, groups)
        if output is not None:
            large = ints_of(output, "output", ndim, least=1)
            small = self._small(large, plain, rule, begin, end)
        elif input is None:
            raise ArgumentError(
                "the crop of output_shape depends on the input's size; input= is missing. Write input=(8, 8)"
            )
        else:
            small = ints_of(input, "input", ndim, least=1)
            usual = [s * n for s, n in zip(plain.stride, small, strict=True)]
            large = ints_of(output_shape, "output_shape", ndim, least=1, example=f"output_shape={usual}")
        crop = []
        for F, L, a, op in zip(plain.full_shape(small), large, begin, extra, strict=True):
            total = max(F + op - L, 0)
            lo = {"SAME_UPPER": total - total // 2, "SAME_LOWER": total // 2}.get(rule, a)
            crop.append((lo, F - L - lo))
        return Geometry(kernel, strides, crop, plain.dilation, groups)

    @staticmethod
    def _small(
        large: tuple[int, ...], plain: Geometry, rule: str, begin: tuple[int, ...], end: tuple[int, ...]
    ) -> tuple[int, ...]:
        """Return the size that OpenVINO's Convolution with the same pads gives for `large`."""
        if rule.startswith("SAME"):
            return tuple(-(-L // s) for L, s in zip(large, plain.stride, strict=True))
        crop = list(zip(begin, end, strict=True))
        return Geometry(plain.kernel, plain.stride, crop, plain.dilation).conv_shape(large)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        if geometry.ndim > 3:
            return [f"{geometry.ndim} spatial axes, only 1 to 3"]
        return [
            f"the crop {pair} on spatial axis {axis}: pads_begin is at least 0"
            for axis, pair in enumerate(geometry.crop)
            if pair[0] < 0
        ]

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        return {
            "strides": list(geometry.stride),
            "pads_begin": [lo for lo, _ in geometry.crop],
            "pads_end": [max(0, hi) for _, hi in geometry.crop],
            "dilations": list(geometry.dilation),
            "output_padding": [max(0, -hi) for _, hi in geometry.crop],
        }

    def argument_names(self) -> list[str]:
        return [name for name in super().argument_names() if name != "groups"]  # the group is an axis of the weight

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        zeros, ones = [0] * geometry.ndim, [1] * geometry.ndim
        defaults = {"pads_begin": zeros, "pads_end": zeros, "dilations": ones, "output_padding": zeros}
        operation = "group_convolution_backprop_data" if geometry.groups > 1 else "convolution_backprop_data"
        node = f"openvino.opset15.{operation}(x, weight{keywords(arguments, defaults)})"
        return f'openvino.compile_model(openvino.Model([{node}], []), "CPU")([])[0]'


class _Group(_Backprop):
    """GroupConvolutionBackpropData: the first axis of the weight counts the groups."""

    weight_pattern = "GIO*"
    weight_grouped = "G"

    def groups(
        self,
        x_shape: tuple[int, ...],
        weight_shape: tuple[int, ...],
        data: DataLayout,
        weight: WeightLayout,
        native: dict[str, Any],
    ) -> dict[str, Any]:
        return {"groups": weight.sizes(weight_shape)["G"]}


_GROUP = _Group()


class OpenVino(_Backprop):
    """ConvolutionBackpropData, or the operation with groups if the weight has an axis more than x (or groups > 1)."""

    def read(
        self, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], native: dict[str, Any], *, adjoint: bool = False
    ) -> NativeCall:
        if len(weight_shape) > len(x_shape):
            return _GROUP.read(x_shape, weight_shape, native, adjoint=adjoint)
        return super().read(x_shape, weight_shape, native, adjoint=adjoint)

    def read_without_x(self, weight_shape: tuple[int, ...], native: dict[str, Any]) -> NativeCall | None:
        self.check_names(native)
        return None  # the operation follows from the ranks of weight and x

    def weight_layout(self, ndim: int, groups: int = 1, **native: Any) -> WeightLayout:
        return _GROUP.weight_layout(ndim) if groups > 1 else super().weight_layout(ndim)

    def to_canonical(self, weight: Array, groups: int = 1, **native: Any) -> Array:
        if groups > 1:
            return _GROUP.to_canonical(weight, groups, **native)
        return super().to_canonical(weight, groups, **native)

    def to_native(self, weight: Array, groups: int = 1, **native: Any) -> Array:
        if groups > 1:
            return _GROUP.to_native(weight, groups, **native)
        return super().to_native(weight, groups, **native)
