"""ONNX: the ConvTranspose operator of the specification (opsets 1, 11 and 22, which have the same arithmetic).

With explicit pads the crop is (begin, end - output_padding). With auto_pad SAME_* or an output_shape the total is
F + output_padding - L; SAME_UPPER crops the smaller half in front, every other rule the larger.

The specification keeps pads at least 0. Exporters write negative ones all the same, and its formula for the output's
size, its reference evaluator and older versions of ONNX Runtime extend the output by them. So they are read, and never
written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, ints_of, shown
from tconv.dialects.base import Dialect, keywords, uncropped
from tconv.errors import ArgumentError, GeometryError
from tconv.geometry import Geometry

_RULES = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


class Onnx(Dialect):
    """Attributes of the node, by their names in the specification."""

    name = "onnx"
    framework = "ONNX"
    batchnorm_eps = 1e-5

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
        plain = uncropped(kernel, strides, dilations, group, names="strides dilations group")
        ndim = plain.ndim
        if not isinstance(auto_pad, str) or auto_pad not in _RULES:
            raise ArgumentError(f"auto_pad is {shown(auto_pad)}; ONNX has {', '.join(_RULES)}. Use one of them")
        if pads is not None and auto_pad != "NOTSET":
            raise ArgumentError(
                f"pads was given together with auto_pad={auto_pad!r}; ONNX takes only one of them. Write pads alone, "
                "or auto_pad alone"
            )
        if kernel_shape is not None and ints_of(kernel_shape, "kernel_shape", ndim) != plain.kernel:
            raise GeometryError(
                f"kernel_shape is {kernel_shape}; the weight has {plain.kernel}. Write "
                f"kernel_shape={list(plain.kernel)}, or leave it out"
            )
        extra = ints_of(output_padding, "output_padding", ndim, least=0)
        for axis, op in enumerate(extra):
            limit = self._limit(plain, axis)
            if op >= limit:
                raise GeometryError(
                    f"output_padding is {op} on spatial axis {axis}; {self.framework} needs it below {limit} there, "
                    f"with stride {plain.stride[axis]} and dilation {plain.dilation[axis]}. "
                    'Write dialect="torch" with crop=((lo, hi), ...), which has no such limit'
                )
        needed = f"{2 * ndim} are needed, first all beginnings and then all ends"
        both = ints_of(0 if pads is None else pads, "pads", 2 * ndim, needed=needed, example=f"pads={[1] * 2 * ndim}")
        self._check_pads(plain, both, extra, output_shape is not None)
        if output_shape is None and auto_pad in ("NOTSET", "VALID"):
            crop = [(both[axis], both[axis + ndim] - extra[axis]) for axis in range(ndim)]
            return Geometry(kernel, strides, crop, dilations, group)
        if output is not None:
            large = ints_of(output, "output", ndim, least=1)
            small = tuple(-(-L // s) for L, s in zip(large, plain.stride, strict=True))
        elif input is None:
            raise ArgumentError(
                "the crop of auto_pad=SAME_* and of output_shape depends on the input's size; input= is missing. "
                "Write input=(8, 8)"
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

    # -- rules that ONNX Runtime overrides -----------------------------------------------------------------------

    def _check_pads(self, plain: Geometry, pads: tuple[int, ...], extra: tuple[int, ...], unused: bool) -> None:
        """Raise GeometryError for pads that the runtime refuses; they are `unused` beside an output_shape."""

    def _limit(self, plain: Geometry, axis: int) -> int:
        """Return the limit that output_padding must stay below: "the corresponding stride/dilation"."""
        return max(plain.stride[axis], plain.dilation[axis])

    def _same_shape(self, plain: Geometry, small: tuple[int, ...], extra: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's sizes for SAME_* without an output_shape."""
        return tuple(s * n for s, n in zip(plain.stride, small, strict=True))

    def _total(self, rest: int, op: int, stride: int, axis: int) -> int:
        """Return the total of the pads. `rest` is F - L, negative where the output is larger than the full result."""
        return rest + op

    # -- from a geometry to native arguments -----------------------------------------------------------------------

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        # ONNX allows an output_padding from the stride up to the dilation, but neither of its runtimes takes it
        return [
            f"the crop {(lo, hi)} on spatial axis {axis}: its specification keeps pads at least 0, and output_padding, "
            f"which extends the end, below the stride {s}"
            for axis, ((lo, hi), s) in enumerate(zip(geometry.crop, geometry.stride, strict=True))
            if lo < 0 or -hi >= s
        ]

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        return {
            "strides": list(geometry.stride),
            "pads": [lo for lo, _ in geometry.crop] + [max(0, hi) for _, hi in geometry.crop],
            "output_padding": [max(0, -hi) for _, hi in geometry.crop],
            "dilations": list(geometry.dilation),
            "group": geometry.groups,
            "kernel_shape": list(geometry.kernel),
        }

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
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
        return keywords(arguments, defaults)
