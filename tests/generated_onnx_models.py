"""Generated ONNX models with one or two transposed convolutions: every attribute, and what stands around them.

Tests of `tconv rewrite` and benchmarks/rewriters.py use them. Numbers are whole, so that sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper


@dataclass(frozen=True)
class Case:
    """One model: a ConvTranspose, and operations behind it."""

    name: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    channels: tuple[int, int] = (3, 2)
    groups: int = 1
    bias: bool = True
    behind: str = ""
    opset: int = 17
    static: bool = False
    dtype: str = "float32"
    whole: bool = True
    """False for operations behind that divide, so that sums are not exact."""
    weight: str = "stored"

    @property
    def ndim(self) -> int:
        return len(self.kernel)

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """Spatial sizes to run."""
        if self.static:
            return [(5, 6, 4)[: self.ndim]]
        return [(5, 6, 4)[: self.ndim], (4, 7, 3)[: self.ndim], (9, 5, 6)[: self.ndim]]

    def feeds(self, sizes: tuple[int, ...], seed: int = 1) -> dict[str, Any]:
        batch = 1 if self.static else 2
        rng = np.random.default_rng(seed)
        return {"x": rng.integers(-4, 5, (batch, self.channels[0], *sizes)).astype(self.dtype)}

    def model(self, seed: int = 0) -> onnx.ModelProto:
        """Return the model."""
        rng = np.random.default_rng(seed)
        c_in, c_out = self.channels
        w = rng.integers(-4, 5, (c_in, c_out // self.groups, *self.kernel)).astype(self.dtype)
        constants = [] if self.weight == "norm" else [numpy_helper.from_array(w, "up.weight")]
        nodes: list[Any] = []
        if self.weight == "norm":
            nodes += self._weight_norm(w, constants)
        inputs = ["x", "up.weight"]
        if self.bias:
            constants.append(numpy_helper.from_array(rng.integers(-9, 10, c_out).astype(self.dtype), "up.bias"))
            inputs.append("up.bias")
        attributes = {"kernel_shape": list(self.kernel), "strides": list(self.stride), **self.attributes}
        if self.groups > 1:
            attributes["group"] = self.groups
        nodes.append(helper.make_node("ConvTranspose", inputs, ["up.out"], "up", **attributes))
        last = self._behind(nodes, constants, rng, c_out)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        letters = ["n", *"dhw"[3 - self.ndim :]]
        open_shape = [letters[0], c_in, *letters[1:]]
        fixed = [1, c_in, *self.sizes[0]]
        x = helper.make_tensor_value_info("x", kind, fixed if self.static else open_shape)
        y = helper.make_tensor_value_info(last, kind, ["n", c_out, *(f"{each}_out" for each in letters[1:])])
        graph = helper.make_graph(nodes, self.name, [x], [y], constants)
        imports = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="generated")

    def _weight_norm(self, w: Any, constants: list[Any]) -> list[Any]:
        axes = list(range(1, w.ndim))
        g = np.full((w.shape[0], *[1] * (w.ndim - 1)), 2, self.dtype)
        constants += [numpy_helper.from_array(w, "up.weight_v"), numpy_helper.from_array(g, "up.weight_g")]
        return [
            helper.make_node("ReduceL2", ["up.weight_v"], ["norm"], "norm", axes=axes),
            helper.make_node("Div", ["up.weight_v", "norm"], ["unit"], "unit"),
            helper.make_node("Mul", ["unit", "up.weight_g"], ["up.weight"], "scaled"),
        ]

    def _behind(self, nodes: list[Any], constants: list[Any], rng: Any, c_out: int) -> str:
        def constant(array: Any, name: str) -> str:
            constants.append(numpy_helper.from_array(np.asarray(array, self.dtype), name))
            return name

        spatial = (1,) * self.ndim
        if self.behind == "batchnorm":
            names = [constant(rng.random(c_out) + 0.5, name) for name in ("gamma", "beta", "mean", "var")]
            nodes.append(helper.make_node("BatchNormalization", ["up.out", *names], ["y"], "bn"))
        elif self.behind == "mul_channels":
            nodes.append(
                helper.make_node("Mul", ["up.out", constant(rng.integers(1, 5, (c_out, *spatial)), "m")], ["y"], "mul")
            )
        elif self.behind == "add_channels":
            nodes.append(
                helper.make_node(
                    "Add", ["up.out", constant(rng.integers(1, 5, (1, c_out, *spatial)), "m")], ["y"], "add"
                )
            )
        elif self.behind == "mul_width":
            g, sizes = self, self.sizes[0]
            width = (
                g.stride[-1] * (sizes[-1] - 1)
                + g.kernel[-1]
                - sum(self.attributes.get("pads", [0])[self.ndim - 1 :: self.ndim])
            )
            nodes.append(helper.make_node("Mul", ["up.out", constant(rng.integers(1, 5, (width,)), "m")], ["y"], "mul"))
        elif self.behind == "relu":
            nodes.append(helper.make_node("Relu", ["up.out"], ["y"], "relu"))
        elif self.behind == "branches":
            nodes.append(helper.make_node("Relu", ["up.out"], ["left"], "left"))
            nodes.append(helper.make_node("Neg", ["up.out"], ["right"], "right"))
            nodes.append(helper.make_node("Add", ["left", "right"], ["y"], "join"))
        else:
            return "up.out"
        return "y"


def _cases() -> Iterator[Case]:
    two, three = (1, 1), (1, 1, 1)
    pads = lambda *values: {"pads": list(values)}  # noqa: E731
    # 1-D
    yield Case("1d", (4,), (2,), pads(1, 1))
    yield Case("1d audio", (16,), (8,), pads(4, 4))
    yield Case("1d output_padding", (3,), (2,), {**pads(1, 1), "output_padding": [1]})
    yield Case("1d asymmetric", (5,), (3,), pads(0, 2))
    yield Case("1d dilation", (3,), (2,), {"dilations": [2]})
    yield Case("1d groups", (4,), (2,), pads(1, 1), channels=(4, 6), groups=2)
    yield Case("1d same_upper", (5,), (2,), {"auto_pad": "SAME_UPPER"})
    yield Case("1d output_shape", (4,), (2,), {"output_shape": [10]}, static=True)
    yield Case("1d s above k", (2,), (3,))
    # 2-D: kernels and strides
    yield Case("2d k2s2", (2, 2), (2, 2))
    yield Case("2d k3s2", (3, 3), (2, 2), pads(1, 1, 1, 1))
    yield Case("2d k4s2", (4, 4), (2, 2), pads(1, 1, 1, 1))
    yield Case("2d k5s1", (5, 5), two, pads(2, 2, 2, 2))
    yield Case("2d k6s4", (6, 6), (4, 4), pads(1, 1, 1, 1))
    yield Case("2d k9s3", (9, 9), (3, 3), pads(3, 3, 3, 3))
    yield Case("2d anisotropic", (3, 4), (1, 2), pads(1, 1, 1, 1))
    yield Case("2d one row", (1, 3), (1, 2), {**pads(0, 1, 0, 1), "output_padding": [0, 1]}, channels=(4, 4), groups=4)
    yield Case("2d no bias", (4, 4), (2, 2), pads(1, 1, 1, 1), bias=False)
    yield Case("2d s above k", (2, 2), (3, 3))
    yield Case("2d pointwise", (1, 1), (2, 2))
    # crops
    yield Case("2d output_padding", (3, 3), (2, 2), {**pads(1, 1, 1, 1), "output_padding": [1, 1]})
    yield Case("2d output_padding one axis", (3, 3), (2, 2), {**pads(1, 1, 1, 1), "output_padding": [0, 1]})
    yield Case("2d output_padding without pads", (2, 2), (2, 2), {"output_padding": [1, 1]})
    yield Case("2d asymmetric", (4, 4), (2, 2), pads(0, 1, 2, 1))
    yield Case("2d asymmetric front", (5, 3), (2, 2), pads(3, 1, 0, 0))
    yield Case("2d pads above kernel", (3, 3), (2, 2), pads(3, 3, 3, 3))
    yield Case("2d same_upper", (4, 4), (2, 2), {"auto_pad": "SAME_UPPER"})
    yield Case("2d same_upper odd", (3, 3), (2, 2), {"auto_pad": "SAME_UPPER"})
    yield Case("2d same_lower", (3, 3), (2, 2), {"auto_pad": "SAME_LOWER"})
    yield Case("2d same_lower k5s3", (5, 5), (3, 3), {"auto_pad": "SAME_LOWER"})
    yield Case("2d valid", (3, 3), (2, 2), {"auto_pad": "VALID"})
    yield Case("2d output_shape", (4, 4), (2, 2), {"output_shape": [10, 12]}, static=True)
    yield Case("2d output_shape odd", (4, 4), (2, 2), {"output_shape": [11, 13]}, static=True)
    yield Case(
        "2d output_shape same_upper", (4, 4), (2, 2), {"output_shape": [11, 13], "auto_pad": "SAME_UPPER"}, static=True
    )
    yield Case("2d output_shape open sizes", (4, 4), (2, 2), {"output_shape": [8, 9]})
    # dilation and groups
    yield Case("2d dilation", (3, 3), (2, 2), {**pads(2, 2, 2, 2), "dilations": [2, 2]})
    yield Case("2d dilation 3", (2, 3), two, {"dilations": [3, 2]})
    yield Case("2d dilation and stride 3", (3, 3), (3, 3), {"dilations": [2, 2]})
    yield Case("2d groups", (4, 4), (2, 2), pads(1, 1, 1, 1), channels=(6, 4), groups=2)
    yield Case("2d depthwise", (4, 4), (2, 2), pads(1, 1, 1, 1), channels=(5, 5), groups=5)
    yield Case("2d depthwise multiplier", (3, 3), (2, 2), channels=(3, 6), groups=3)
    yield Case(
        "2d groups dilation asymmetric",
        (3, 3),
        (2, 2),
        {**pads(1, 0, 2, 3), "dilations": [2, 2]},
        channels=(4, 6),
        groups=2,
    )
    # 3-D
    yield Case("3d k2s2", (2, 2, 2), (2, 2, 2))
    yield Case("3d k3s2", (3, 3, 3), (2, 2, 2), {**pads(1, 1, 1, 1, 1, 1), "output_padding": [1, 1, 1]})
    yield Case("3d anisotropic", (1, 4, 4), (1, 2, 2), pads(0, 1, 1, 0, 1, 1))
    yield Case("3d groups", (3, 3, 3), (2, 2, 2), channels=(4, 4), groups=2)
    yield Case("3d dilation", (2, 2, 2), three, {"dilations": [2, 1, 2]})
    # around the layer, types and opsets
    yield Case("2d batchnorm", (4, 4), (2, 2), pads(1, 1, 1, 1), behind="batchnorm", whole=False)
    yield Case(
        "2d batchnorm groups",
        (4, 4),
        (2, 2),
        pads(1, 1, 1, 1),
        channels=(4, 6),
        groups=2,
        behind="batchnorm",
        whole=False,
    )
    yield Case("1d batchnorm no bias", (4,), (2,), pads(1, 1), bias=False, behind="batchnorm", whole=False)
    yield Case("2d mul channels groups", (3, 3), (2, 2), channels=(4, 6), groups=2, behind="mul_channels")
    yield Case("2d add channels", (3, 3), (2, 2), bias=False, behind="add_channels")
    yield Case("2d mul width", (4, 4), (2, 2), pads(1, 1, 1, 1), behind="mul_width", static=True, channels=(3, 12))
    yield Case("2d relu", (4, 4), (2, 2), pads(1, 1, 1, 1), behind="relu")
    yield Case("2d two readers", (3, 3), (2, 2), behind="branches")
    yield Case("2d weight norm", (4, 4), (2, 2), pads(1, 1, 1, 1), weight="norm", whole=False)
    yield Case("1d weight norm", (8,), (4,), pads(2, 2), weight="norm", whole=False)
    yield Case("2d opset 11", (4, 4), (2, 2), pads(1, 1, 1, 1), opset=11)
    yield Case("2d opset 13", (3, 3), (2, 2), pads(1, 1, 1, 1), opset=13)
    yield Case("2d opset 21", (3, 3), (2, 2), {**pads(1, 1, 1, 1), "output_padding": [1, 1]}, opset=21)


CASES = {case.name: case for case in _cases()}
"""Cases by name."""
