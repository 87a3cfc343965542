"""Operator of a call: geometry and layouts; and the rule from which it follows where sizes are not known yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from tconv.dialects import dialect
from tconv.dialects.layouts import DataLayout, WeightLayout
from tconv.dialects.tensorflow_padding import crop_between, legal_output_sizes
from tconv.geometry import Geometry


@dataclass(frozen=True)
class Operator:
    """Geometry of T with the layouts of x, the weight and y."""

    geometry: Geometry
    x_layout: DataLayout
    weight_layout: WeightLayout
    y_layout: DataLayout

    @property
    def uncropped(self) -> Operator:
        """The operator whose y is the full result."""
        return replace(self, geometry=replace(self.geometry, crop=((0, 0),) * self.geometry.ndim))

    @property
    def rule(self) -> OperatorRule:
        """The rule that is this operator for all sizes."""
        g = self.geometry
        return OperatorRule(
            g.stride, g.dilation, g.crop, g.groups, "CROP", self.x_layout, self.weight_layout, self.y_layout
        )


@dataclass(frozen=True)
class OperatorRule:
    """Operator without the kernel's size, and with a crop that may depend on the sizes of x and y.

    `padding` is "CROP" where `crop` is what is cut off the full result. With "SAME" and "VALID" it follows from the
    output's sizes as in tf.nn, and with "PAIRS" `crop` has the paddings of the convolution that makes x of y.
    """

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    crop: tuple[tuple[int, int], ...]
    groups: int
    padding: str
    x_layout: DataLayout
    weight_layout: WeightLayout
    y_layout: DataLayout

    def operator(self, kernel: tuple[int, ...], input: tuple[int, ...], sizes: tuple[int, ...] | None) -> Operator:
        """Return the operator for a kernel and spatial sizes of x and y. `sizes` is None where the crop is given.

        Raises ShapeError for sizes that the padding does not allow.
        """
        if sizes is None:
            geometry = Geometry(kernel, self.strides, self.crop, self.dilations, self.groups)
        elif self.padding == "PAIRS":
            plain = Geometry(kernel, self.strides, 0, self.dilations, self.groups)
            shown = [list(pair) for pair in self.crop]
            geometry = crop_between(plain, self.crop, shown, input, sizes, legal_output_sizes)
        else:
            geometry = dialect("tensorflow").geometry(
                kernel=kernel,
                input=input,
                output_shape=sizes,
                strides=self.strides,
                padding=self.padding,
                dilations=self.dilations,
                groups=self.groups,
            )
        return Operator(geometry, self.x_layout, self.weight_layout, self.y_layout)

    def operator_for_shapes(
        self, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], sizes: tuple[int, ...] | None
    ) -> Operator:
        """Return the operator for native shapes."""
        kernel = self.weight_layout.kernel(weight_shape)
        return self.operator(kernel, self.x_layout.sizes(x_shape)[2], sizes)

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the operator in a graph."""
        return _attributes(self)


@lru_cache(maxsize=1024)
def _attributes(rule: OperatorRule) -> dict[str, Any]:
    weight = rule.weight_layout
    data = ["".join(map(str, layout.axes)) for layout in (rule.x_layout, rule.y_layout)]
    axes = f"{''.join(map(str, weight.axes))}/{weight.grouped}{'-' if weight.flip else ''}"
    return {
        "strides": list(rule.strides),
        "dilations": list(rule.dilations),
        "crop": [side for pair in rule.crop for side in pair],
        "groups": rule.groups,
        "padding": rule.padding,
        "layouts": f"{data[0]} {axes} {data[1]}",
    }


def rule_of_attributes(
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    crop: tuple[int, ...],
    groups: int,
    padding: str,
    layouts: str,
) -> OperatorRule:
    """Return the rule that has these attributes: the inverse of `attributes`."""
    x, weight, y = layouts.split(" ")
    axes, _, rest = weight.partition("/")
    pairs = tuple(zip(crop[::2], crop[1::2], strict=True))
    return OperatorRule(
        strides,
        dilations,
        pairs,
        groups,
        padding,
        DataLayout(_axes(x)),
        WeightLayout(_axes(axes), rest[0], rest.endswith("-")),
        DataLayout(_axes(y)),
    )


def _axes(text: str) -> tuple[str | int, ...]:
    return tuple(int(one) if one.isdigit() else one for one in text)
