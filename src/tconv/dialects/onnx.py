"""ONNX: the ConvTranspose operator of the specification (opset 1, 11, 22: the same arithmetic).

With explicit pads the crop is (begin, end - output_padding). With auto_pad SAME_* or an output_shape the total is
F + output_padding - L; SAME_UPPER crops the smaller half in front, everything else the larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tconv._arguments import Ints, ints_of, shown
from tconv.dialects.base import Dialect, Fault, uncropped, written
from tconv.errors import ArgumentError, GeometryError
from tconv.geometry import Geometry

_RULES = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
_REFERENCE = "onnx 1.23.2, ReferenceEvaluator"


def _extra(geometry: Geometry, native: dict[str, Any]) -> tuple[int, ...]:
    return ints_of(native.get("output_padding", 0), "output_padding", geometry.ndim)


class Onnx(Dialect):
    """Attributes of the node, under their names in the specification."""

    name = "onnx"
    framework = "ONNX"
    faults: ClassVar[tuple[Fault, ...]] = (
        Fault(
            _REFERENCE,
            "groups work only with one input and one output channel each and without bias; a depthwise node with bias "
            "gets the first channel's bias everywhere",
            "observed with onnx 1.23.2",
            lambda geometry, input, native: geometry.groups > 1,
        ),
        Fault(
            _REFERENCE,
            "output_shape without SAME_UPPER or SAME_LOWER is taken with pads of 0, or the pads given",
            "observed with onnx 1.23.2",
            lambda geometry, input, native: (
                native.get("output_shape") is not None and native.get("auto_pad", "NOTSET") in ("NOTSET", "VALID")
            ),
        ),
        Fault(
            f"{_REFERENCE}; onnxruntime 1.32.0",
            "output_padding of at least the stride is refused, though it is below the dilation",
            "observed with onnx 1.23.2 and onnxruntime 1.32.0; onnxruntime 1.24 takes it",
            lambda geometry, input, native: any(
                op >= s for op, s in zip(_extra(geometry, native), geometry.stride, strict=True)
            ),
        ),
        Fault(
            "openvino 2026.4.1, ONNX importer",
            "output_shape with SAME_UPPER crops the larger half in front, and with groups nothing in front",
            "observed with openvino 2026.4.1",
            lambda geometry, input, native: (
                native.get("output_shape") is not None
                and (native.get("auto_pad") == "SAME_UPPER" or geometry.groups > 1)
            ),
        ),
        Fault(
            "onnxruntime 1.32.0; openvino 2026.4.1, ONNX importer",
            "pads that SAME_* or output_shape make negative are taken as 0",
            "observed with onnxruntime 1.32.0 (dialect onnxruntime has the rule) and openvino 2026.4.1",
            lambda geometry, input, native: (
                (
                    native.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
                    or native.get("output_shape") is not None
                )
                and any(sum(pair) + op < 0 for pair, op in zip(geometry.crop, _extra(geometry, native), strict=True))
            ),
        ),
        Fault(
            "tinygrad 0.14.0, ONNX importer",
            "auto_pad=VALID is taken as SAME_LOWER",
            "observed with tinygrad 0.14.0",
            lambda geometry, input, native: native.get("auto_pad") == "VALID" and native.get("output_shape") is None,
        ),
        Fault(
            "onnx 1.23.2, shape inference",
            "the inferred size under SAME_* is min(s*n, F) + output_padding; it is s*n",
            "onnx/onnx#4299; observed with onnx 1.23.2",
            lambda geometry, input, native: (
                native.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
                and native.get("output_shape") is None
                and any(
                    min(s * n, F) + op != s * n
                    for s, n, F, op in zip(
                        geometry.stride, input, geometry.full_shape(input), _extra(geometry, native), strict=True
                    )
                )
            ),
        ),
    )

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
        plain = uncropped(kernel, strides, dilations, group, words="strides dilations group")
        ndim = plain.ndim
        if not isinstance(auto_pad, str) or auto_pad not in _RULES:
            raise ArgumentError(f"auto_pad is {shown(auto_pad)}; ONNX knows {', '.join(_RULES)}. Write one of them")
        if pads is not None and auto_pad != "NOTSET":
            raise ArgumentError(
                f"pads was given together with auto_pad={auto_pad!r}; ONNX takes one of them. Write pads alone, or "
                "auto_pad alone"
            )
        if kernel_shape is not None and ints_of(kernel_shape, "kernel_shape", ndim) != plain.kernel:
            raise GeometryError(
                f"kernel_shape is {kernel_shape}; the weight's is {plain.kernel}. Write that, or leave it out"
            )
        extra = ints_of(output_padding, "output_padding", ndim, least=0)
        for axis, op in enumerate(extra):
            limit = self._limit(plain, axis)
            if op >= limit:
                raise GeometryError(
                    f"output_padding is {op} on spatial axis {axis}; {self.framework} needs it below {limit} there, "
                    f"with stride {plain.stride[axis]} and dilation {plain.dilation[axis]}. "
                    'Write dialect="torch" with crop=((lo, hi), ...), which has no limit'
                )
        if output_shape is None and auto_pad in ("NOTSET", "VALID"):
            needed = f"{2 * ndim} are needed, all beginnings and then all ends"
            both = ints_of(
                0 if pads is None else pads, "pads", 2 * ndim, least=0, needed=needed, example=f"pads={[1] * 2 * ndim}"
            )
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
            large = self._same_shape(plain, small, extra)
            if output_shape is not None:
                large = ints_of(output_shape, "output_shape", ndim, least=1, example=f"output_shape={list(large)}")
        crop = []
        for axis, (F, L, op) in enumerate(zip(plain.full_shape(small), large, extra, strict=True)):
            total = self._total(F - L, op, plain.stride[axis], axis)
            lo = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
            crop.append((lo, F - L - lo))
        return Geometry(kernel, strides, crop, dilations, group)

    # -- what ONNX Runtime does otherwise ------------------------------------------------------------------------

    def _limit(self, plain: Geometry, axis: int) -> int:
        """What output_padding must be smaller than: "the corresponding stride/dilation"."""
        return max(plain.stride[axis], plain.dilation[axis])

    def _same_shape(self, plain: Geometry, small: tuple[int, ...], extra: tuple[int, ...]) -> tuple[int, ...]:
        """The output's sizes under SAME_* without an output_shape."""
        return tuple(s * n for s, n in zip(plain.stride, small, strict=True))

    def _total(self, rest: int, op: int, stride: int, axis: int) -> int:
        """The pads to share out, where `rest` is F - L: negative where the output is larger than the full result."""
        return rest + op

    # -- the way back ----------------------------------------------------------------------------------------------

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        # output_padding from the stride up to the dilation is ONNX, but neither of its runtimes takes it
        return [
            f"the crop {(lo, hi)} on spatial axis {axis}: pads are at least 0, and output_padding, which extends the "
            f"end, stays below the stride {s}"
            for axis, ((lo, hi), s) in enumerate(zip(geometry.crop, geometry.stride, strict=True))
            if lo < 0 or -hi >= s
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
        node = f'onnx.helper.make_node("ConvTranspose", ["x", "weight"], ["y"]{self._attributes(arguments, geometry)})'
        return f'onnx.reference.ReferenceEvaluator({node}).run(None, {{"x": x, "weight": weight}})[0]'

    @staticmethod
    def _attributes(arguments: dict[str, Any], geometry: Geometry) -> str:
        zeros, ones = [0] * geometry.ndim, [1] * geometry.ndim
        defaults = {
            "output_padding": zeros,
            "dilations": ones,
            "group": 1,
            "pads": zeros * 2,
            "kernel_shape": list(geometry.kernel),
        }
        return written(arguments, defaults)
