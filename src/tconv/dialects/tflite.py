"""TensorFlow Lite (LiteRT): the operators TRANSPOSE_CONV and CONV_3D_TRANSPOSE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, ints_of, shown
from tconv.dialects.base import Dialect, Fault, compact, uncropped, written
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.dialects.named_output_shape import PAIRS, adjoint, between, check_ends, large_sides, rule_of, sizes_of
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry


def _refused(geometry: Geometry, input: tuple[int, ...], native: dict[str, Any]) -> bool:
    """Whether a "VALID" call in 2-D asks for a size that the operator's own kernel refuses."""
    if geometry.ndim != 2 or native.get("padding") != "VALID":
        return False
    asked = sizes_of(native.get("output_shape"), geometry, input, "TRANSPOSE_CONV", -1)
    axes = zip(asked, input, geometry.extent, geometry.stride, strict=True)
    return any(L not in large_sides((0, 0), n, e, s) for L, n, e, s in axes)


class TfLite(Dialect):
    """The words of tf.nn: output_shape (or its spatial sizes alone), strides, padding "SAME" or "VALID", dilations.

    Channels stand last, there are no groups, and only CONV_3D_TRANSPOSE has dilations. The weight is
    [C_out, kh, kw, C_in] in 2-D and [kd, kh, kw, C_out, C_in] in 3-D.
    """

    name = "tflite"
    framework = "TensorFlow Lite"
    ranks = (2, 3)
    data_patterns = ("N*C",)
    weight_pattern = "O*I"
    faults = (
        Fault(
            "ai-edge-litert 2.3.0, XNNPACK",
            'a "VALID" call in 2-D with an output_shape that the operator refuses gives another shape instead',
            "observed with ai-edge-litert 2.3.0",
            _refused,
        ),
    )

    def geometry(
        self,
        *,
        kernel: Ints,
        input: Ints | None = None,
        output: Ints | None = None,
        output_shape: Sequence[int] | None = None,
        strides: Ints = 1,
        padding: str = "SAME",
        dilations: Ints = 1,
    ) -> Geometry:
        plain = uncropped(kernel, strides, dilations, words="strides dilations groups")
        if plain.ndim == 2 and max(plain.dilation) > 1:
            raise ArgumentError(
                f"dilations is {dilations!r}; TRANSPOSE_CONV has none, CONV_3D_TRANSPOSE does. Write a 3-D call with "
                "a first axis of 1"
            )
        if not isinstance(padding, str) or padding not in PAIRS:
            raise ArgumentError(f'padding is {shown(padding)}; "SAME" or "VALID" is needed. Write one of them')
        pairs = (PAIRS[padding],) * plain.ndim
        if output is not None:
            return adjoint(plain, pairs, output)
        if input is None:
            raise ArgumentError(
                "the TensorFlow Lite dialect chooses its crop from sizes; input= is missing. Write input=(8, 8), "
                "output_shape=(16, 16)"
            )
        small = ints_of(input, "input", plain.ndim, least=1)
        return between(plain, pairs, padding, small, sizes_of(output_shape, plain, small, "the operator", -1))

    def weight_layout(self, ndim: int, **native: Any) -> WeightLayout:
        return WeightLayout.of("*OI" if ndim == 3 else "O*I", ndim)

    def groups(
        self,
        x_shape: tuple[int, ...],
        weight_shape: tuple[int, ...],
        data: DataLayout,
        weight: WeightLayout,
        native: dict[str, Any],
    ) -> dict[str, Any]:
        """Only a check: there are no groups."""
        channels = weight.sizes(weight_shape)["O"]
        if check_ends(native.get("output_shape"), len(x_shape) - 2, x_shape[0], channels, -1) > 1:
            raise ShapeError(
                f"output_shape {shown(native['output_shape'])} has more channels than the filter's {channels}, and "
                f"TensorFlow Lite has no groups. Write {channels} there"
            )
        return {}

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        reasons = []
        if geometry.ndim not in (2, 3):
            reasons.append(f"{geometry.ndim} spatial axes; it has 2 or 3")
        if geometry.groups > 1:
            reasons.append(f"{geometry.groups} groups, which it does not have")
        if geometry.ndim == 2 and max(geometry.dilation) > 1:
            reasons.append("a dilation in 2-D")
        if input is None:
            raise ArgumentError(
                "TensorFlow Lite's arguments name the output's size; input= is missing. "
                "Write arguments(geometry, input=(8, 8))"
            )
        if rule_of(geometry, input) is None:
            reasons.append(f"the crop {geometry.crop} at input {input}, which is neither SAME nor VALID")
        return reasons

    def say(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        assert input is not None  # reasons_against asked for it
        return {
            "output_shape": geometry.output_shape(input),
            "strides": compact(geometry.stride),
            "padding": rule_of(geometry, input),
            "dilations": compact(geometry.dilation),
        }

    def call(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        """The operator has no function of its own: a model of tf.nn's is converted, and run."""
        flat = geometry.ndim == 2
        weight = "tf.transpose(weight, (1, 2, 0, 3))" if flat else "weight"
        sizes = ", ".join(["x.shape[0]", *map(str, arguments["output_shape"]), f"weight.shape[{0 if flat else 3}]"])
        words = written({**arguments, "output_shape": None}, {"dilations": 1, "output_shape": None})
        function = f"tf.function(lambda x: tf.nn.conv{geometry.ndim}d_transpose(x, {weight}, [{sizes}]{words}))"
        traced = f"{function}.get_concrete_function(tf.TensorSpec(x.shape, x.dtype))"
        model = f"tf.lite.TFLiteConverter.from_concrete_functions([{traced}], tf.Module()).convert()"
        return f'ai_edge_litert.interpreter.Interpreter(model_content={model}).get_signature_runner()(x=x)["output_0"]'
