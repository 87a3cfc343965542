"""ONNX: the ConvTranspose operator of the specification (opset 1, 11, 22: the same arithmetic).

With explicit pads the crop is (begin, end - output_padding). With auto_pad SAME_* or an output_shape the total is
F + output_padding - L; SAME_UPPER crops the smaller half in front, everything else the larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv.dialects.base import Dialect, written
from tconv.errors import ArgumentError, GeometryError
from tconv.geometry import Geometry, Ints, ints_of

_RULES = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


class Onnx(Dialect):
    """Attributes of the node, under their names in the specification."""

    name = "onnx"
    framework = "ONNX"

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        strides: Ints = 1,
        pads: Sequence[int] | None = None,
        auto_pad: str = "NOTSET",
        output_padding: Ints = 0,
        output_shape: Sequence[int] | None = None,
        dilations: Ints = 1,
        group: int = 1,
        kernel_shape: Ints | None = None,
    ) -> Geometry:
        plain = Geometry(kernel, strides, 0, dilations, group)
        ndim = plain.ndim
        if auto_pad not in _RULES:
            raise ArgumentError(f"auto_pad is {auto_pad!r}; ONNX knows {', '.join(_RULES)}. Write one of them")
        if kernel_shape is not None and ints_of(kernel_shape, "kernel_shape", ndim) != plain.kernel:
            raise GeometryError(
                f"kernel_shape is {kernel_shape}; the weight's is {plain.kernel}. Write that, or leave it out"
            )
        extra = ints_of(output_padding, "output_padding", ndim, least=0)
        if output_shape is None and auto_pad in ("NOTSET", "VALID"):
            both = (0,) * (2 * ndim) if pads is None or auto_pad == "VALID" else ints_of(pads, "pads", 2 * ndim)
            crop = [(both[axis], both[axis + ndim] - extra[axis]) for axis in range(ndim)]
            return Geometry(kernel, strides, crop, dilations, group)
        if output is not None:
            large = ints_of(output, "output", ndim, least=1)
            small = tuple(-(-L // s) for L, s in zip(large, plain.stride, strict=True))
        elif input is None:
            raise ArgumentError(
                "ONNX's SAME and output_shape rules choose the crop from sizes; input= is missing. Write input=(8, 8)"
            )
        else:
            small = ints_of(input, "input", ndim, least=1)
            if output_shape is None:
                large = tuple(s * n for s, n in zip(plain.stride, small, strict=True))
            else:
                sizes = tuple(output_shape)
                large = ints_of(sizes[2:] if len(sizes) == ndim + 2 else sizes, "output_shape", ndim, least=1)
        crop = []
        for F, L, op in zip(plain.full_shape(small), large, extra, strict=True):
            total = F + op - L
            lo = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            crop.append((lo, F - L - lo))
        return Geometry(kernel, strides, crop, dilations, group)

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        return [
            f"the crop {pair} on spatial axis {axis}: a negative side in front"
            for axis, pair in enumerate(geometry.crop)
            if pair[0] < 0
        ]

    def say(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        return {
            "strides": list(geometry.stride),
            "pads": [lo for lo, _ in geometry.crop] + [max(0, hi) for _, hi in geometry.crop],
            "output_padding": [max(0, -hi) for _, hi in geometry.crop],
            "dilations": list(geometry.dilation),
            "group": geometry.groups,
            "kernel_shape": list(geometry.kernel),
        }

    def call(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        zeros, ones = [0] * geometry.ndim, [1] * geometry.ndim
        defaults = {"output_padding": zeros, "dilations": ones, "group": 1, "pads": zeros * 2, "strides": ones}
        return f'onnx.helper.make_node("ConvTranspose", ["x", "weight"], ["y"]{written(arguments, defaults)})'
