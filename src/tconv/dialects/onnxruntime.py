"""ONNX Runtime 1.32: ONNX's ConvTranspose, except where the output is larger than the full result.

There the total of the pads would be negative, and ONNX Runtime takes 0 for it. So with SAME_* the output has
min(s*n, F + output_padding) elements, and an output_shape beyond F is extended at the end. The kernel must also give
the input's size for the output's, (L + pads - extent)//s + 1 == n, which limits output_padding to less than the stride.

Negative pads are refused where the kernel's size is known when the model is loaded ("Attribute pads must not contain
negative values"); 1.20, and 1.32 where that size is not known, compute them as the `onnx` dialect does.
"""

from __future__ import annotations

from typing import Any

from tconv.dialects.onnx import Onnx
from tconv.errors import GeometryError, ShapeError
from tconv.geometry import Geometry


class OnnxRuntime(Onnx):
    """Attributes of the node, as ONNX Runtime's CPU kernels take them."""

    name = "onnxruntime"
    framework = "ONNX Runtime"

    def _check_pads(self, plain: Geometry, pads: tuple[int, ...], extra: tuple[int, ...], unused: bool) -> None:
        if min(pads) >= 0:
            return
        ends = list(zip(pads[: plain.ndim], pads[plain.ndim :], extra, plain.stride, strict=True))
        instead = 'dialect="onnx", which extends the output by them as the specification\'s formula does'
        if unused:
            instead = "output_shape alone, beside which pads are ignored"
        elif all(begin >= 0 and op - min(end, 0) < s for begin, end, op, s in ends):
            written = [begin for begin, *_ in ends] + [max(0, end) for _, end, *_ in ends]
            grown = [op - min(end, 0) for _, end, op, _ in ends]
            instead = f"pads={written}, output_padding={grown}, which mean the same"
        raise GeometryError(
            f"pads is {pads}; ONNX Runtime refuses negative ones where the kernel's size is known. Write {instead}"
        )

    def _limit(self, plain: Geometry, axis: int) -> int:
        return plain.stride[axis]

    def _same_shape(self, plain: Geometry, small: tuple[int, ...], extra: tuple[int, ...]) -> tuple[int, ...]:
        full = plain.full_shape(small)
        return tuple(min(s * n, F + op) for s, n, F, op in zip(plain.stride, small, full, extra, strict=True))

    def _total(self, rest: int, op: int, stride: int, axis: int) -> int:
        if -rest >= stride:
            raise ShapeError(
                f"output_shape is {-rest} elements larger than the full result on spatial axis {axis}; ONNX Runtime "
                f"adds fewer than the stride there, {stride}. Use a smaller output_shape"
            )
        return max(rest + op, 0)

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        attributes = self._attributes(arguments, geometry).removeprefix(", ")
        model = (
            '<ir_version: 10, opset_import: ["": 22]> g (float[] x, float[] weight) => (float[] y) '
            f"{{ y = ConvTranspose <{attributes}> (x, weight) }}"
        )
        return (
            f"onnxruntime.InferenceSession(onnx.parser.parse_model({model!r}).SerializeToString())"
            '.run(None, {"x": x, "weight": weight})[0]'
        )
