"""ONNX Runtime 1.32: ONNX's ConvTranspose, but for what it does where the output is larger than the full result.

There the pads to share out would be negative; ONNX Runtime takes 0 for them. So with SAME_* the output has
min(s*n, F + output_padding) elements, and an output_shape beyond F is filled up at the end. The kernel must also lead
back from the output to the input, (L + pads - extent)//s + 1 == n, which puts output_padding below the stride.
"""

from __future__ import annotations

from typing import Any

from tconv.dialects.base import Fault
from tconv.dialects.onnx import Onnx
from tconv.errors import ShapeError
from tconv.geometry import Geometry


class OnnxRuntime(Onnx):
    """Attributes of the node, as ONNX Runtime's CPU kernels take them."""

    name = "onnxruntime"
    framework = "ONNX Runtime"
    faults = (
        Fault(
            "onnxruntime before 1.13",
            "SAME_UPPER and SAME_LOWER were swapped",
            "microsoft/onnxruntime#12537",
            lambda geometry, input, native: native.get("auto_pad", "NOTSET").startswith("SAME"),
        ),
        Fault(
            "onnxruntime before 1.14",
            "output_shape without auto_pad cropped the smaller half in front",
            "microsoft/onnxruntime#13311",
            lambda geometry, input, native: (
                native.get("output_shape") is not None and native.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
            ),
        ),
    )

    def _limit(self, plain: Geometry, axis: int) -> int:
        return plain.stride[axis]

    def _same_shape(self, plain: Geometry, small: tuple[int, ...], extra: tuple[int, ...]) -> tuple[int, ...]:
        full = plain.full_shape(small)
        return tuple(min(s * n, F + op) for s, n, F, op in zip(plain.stride, small, full, extra, strict=True))

    def _total(self, rest: int, op: int, stride: int, axis: int) -> int:
        if -rest >= stride:
            raise ShapeError(
                f"output_shape asks for {-rest} elements beyond the full result on spatial axis {axis}; ONNX Runtime "
                f"adds less than the stride there, {stride}. Write a smaller output_shape"
            )
        return max(rest + op, 0)

    def call(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        attributes = self._attributes(arguments, geometry).removeprefix(", ")
        model = (
            '<ir_version: 10, opset_import: ["": 22]> g (float[] x, float[] weight) => (float[] y) '
            f"{{ y = ConvTranspose <{attributes}> (x, weight) }}"
        )
        return (
            f"onnxruntime.InferenceSession(onnx.parser.parse_model({model!r}).SerializeToString())"
            '.run(None, {"x": x, "weight": weight})[0]'
        )
