"""TensorFlow Lite (LiteRT): the operators TRANSPOSE_CONV and CONV_3D_TRANSPOSE, with the argument names of tf.nn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv._arguments import Ints, ints_of, shown
from tconv.dialects.base import Dialect, compact, keywords, uncropped
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.dialects.tensorflow_padding import (
    NAMED_PADDING,
    crop_between,
    crop_for_convolution,
    groups_in_output_shape,
    padding_name,
    spatial_output_shape,
)
from tconv.errors import ArgumentError, ShapeError
from tconv.geometry import Geometry


class TfLite(Dialect):
    """Arguments of tf.nn: output_shape (or its spatial sizes alone), strides, padding "SAME" or "VALID", dilations.

    Channels are last, there are no groups, and only CONV_3D_TRANSPOSE has dilations. The weight is
    [C_out, kh, kw, C_in] in 2-D and [kd, kh, kw, C_out, C_in] in 3-D.
    """

    name = "tflite"
    framework = "TensorFlow Lite"
    conv_weight_pattern = "O*I"
    shuffle_order = "DCR"
    ranks = (2, 3)
    data_patterns = ("N*C",)
    weight_pattern = "O*I"

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
        plain = uncropped(kernel, strides, dilations, names="strides dilations groups")
        if plain.ndim == 2 and max(plain.dilation) > 1:
            raise ArgumentError(
                f"dilations is {dilations!r}; TRANSPOSE_CONV has no dilations, only CONV_3D_TRANSPOSE does. Use a "
                "3-D call with a first axis of 1"
            )
        if not isinstance(padding, str) or padding not in NAMED_PADDING:
            raise ArgumentError(f'padding is {shown(padding)}; "SAME" or "VALID" is needed. Use one of them')
        pairs = (NAMED_PADDING[padding],) * plain.ndim
        if output is not None:
            return crop_for_convolution(plain, pairs, output)
        if input is None:
            raise ArgumentError(
                "the crop of the TensorFlow Lite dialect depends on the input's size; input= is missing. Write "
                "input=(8, 8), output_shape=(16, 16)"
            )
        small = ints_of(input, "input", plain.ndim, least=1)
        return crop_between(
            plain, pairs, padding, small, spatial_output_shape(output_shape, plain, small, "the operator", -1)
        )

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
        """Raise ShapeError for an output_shape with more channels than the filter, because there are no groups."""
        channels = weight.sizes(weight_shape)["O"]
        if groups_in_output_shape(native.get("output_shape"), len(x_shape) - 2, x_shape[0], channels, -1) > 1:
            raise ShapeError(
                f"output_shape {shown(native['output_shape'])} has more channels than the filter's {channels}, and "
                f"TensorFlow Lite has no groups. Write {channels} there"
            )
        return {}

    def reasons_against(self, geometry: Geometry, input: tuple[int, ...] | None) -> list[str]:
        reasons = []
        if geometry.ndim not in (2, 3):
            reasons.append(f"{geometry.ndim} spatial axes, only 2 or 3")
        if geometry.groups > 1:
            reasons.append(f"{geometry.groups} groups, which it does not have")
        if geometry.ndim == 2 and max(geometry.dilation) > 1:
            reasons.append("a dilation in 2-D")
        if input is None:
            raise ArgumentError(
                "TensorFlow Lite's arguments contain the output's size; input= is missing. "
                "Write arguments(geometry, input=(8, 8))"
            )
        if padding_name(geometry, input) is None:
            reasons.append(f"the crop {geometry.crop} at input {input}, which is neither SAME nor VALID")
        return reasons

    def native_arguments(self, geometry: Geometry, input: tuple[int, ...] | None) -> dict[str, Any]:
        assert input is not None  # reasons_against has raised otherwise
        return {
            "output_shape": geometry.output_shape(input),
            "strides": compact(geometry.stride),
            "padding": padding_name(geometry, input),
            "dilations": compact(geometry.dilation),
        }

    def call_code(self, arguments: dict[str, Any], geometry: Geometry) -> str:
        """Return code that converts and runs a model of tf.nn's call: the operator has no function of its own."""
        flat = geometry.ndim == 2
        weight = "tf.transpose(weight, (1, 2, 0, 3))" if flat else "weight"
        sizes = ", ".join(["x.shape[0]", *map(str, arguments["output_shape"]), f"weight.shape[{0 if flat else 3}]"])
        options = keywords({**arguments, "output_shape": None}, {"dilations": 1, "output_shape": None})
        function = f"tf.function(lambda x: tf.nn.conv{geometry.ndim}d_transpose(x, {weight}, [{sizes}]{options}))"
        traced = f"{function}.get_concrete_function(tf.TensorSpec(x.shape, x.dtype))"
        model = f"tf.lite.TFLiteConverter.from_concrete_functions([{traced}], tf.Module()).convert()"
        return f'ai_edge_litert.interpreter.Interpreter(model_content={model}).get_signature_runner()(x=x)["output_0"]'
