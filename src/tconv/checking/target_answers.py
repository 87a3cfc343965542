"""Answers of targets for a layer: the limits that it breaks, and the rewriting that ends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv.checking.layer_check import TargetAnswer
from tconv.checking.layer_reading import ReadLayer
from tconv.errors import TconvError
from tconv.rewriting.expression import Expression
from tconv.rewriting.expression import layer as layer_expression
from tconv.rewriting.operations import Constant
from tconv.rewriting.planner import plan_for
from tconv.targets import Target, target_names
from tconv.targets import target as target_named
from tconv.targets.layer_facts import LayerFacts


def targets_named(target: str | Sequence[str] | None) -> tuple[Target, ...]:
    """Return the targets of these names or .toml files. Raises TargetError for a name that does not exist."""
    if target is None:
        return ()
    names = [target] if isinstance(target, str) or not isinstance(target, Sequence) else list(target)
    return tuple(target_named(name) for name in dict.fromkeys(names))


def every_target() -> tuple[Target, ...]:
    """Return all targets of tconv."""
    return targets_named(target_names())


def answer_of(read: ReadLayer, facts: LayerFacts | None, target: Target) -> TargetAnswer:
    """Return the answer of one target for a layer: its limits, and the steps that end them."""
    if facts is None:
        return TargetAnswer(None, plan="the layer is not known well enough")
    limits, open_limits = (
        tuple({"key": limit.key, "text": limit.text, "source": limit.source} for limit in found)
        for found in (target.limits_against(facts), target.open_limits(facts))
    )
    if not limits:
        return TargetAnswer(True, open_limits=open_limits)
    expression = _expression(read, facts)
    if isinstance(expression, str):
        return TargetAnswer(False, limits, (), f"no plan: {expression}", open_limits)
    try:
        plan = plan_for(expression, target, facts=facts)
    except Exception as error:  # constants are read late, and damaged ones fail here in the words of their reader
        return TargetAnswer(False, limits, (), f"no plan: {error}", open_limits)
    return TargetAnswer(False, limits, tuple(plan.steps), str(plan), open_limits)


def _expression(read: ReadLayer, facts: LayerFacts) -> Expression | str:
    """Return a layer as an expression of one transposed convolution, or the reason why it cannot be one."""
    layer, g = read.layer, read.geometry
    if layer.weight is None or g is None or read.in_channels is None or read.out_channels is None:
        return "the weight is not in the file"
    dtype = np.dtype(layer.dtype if layer.dtype in ("float16", "float32", "float64") else "float32")
    shape = (read.in_channels, read.out_channels // g.groups, *g.kernel)
    words: dict[str, Any] = {"auto_pad": facts.auto_pad}
    if any(facts.output_padding):
        words["output_padding"] = facts.output_padding
    if facts.output_shape and layer.dialect == "onnx":
        words["output_shape"] = tuple(layer.arguments["output_shape"])[-g.ndim :]
    weight = Constant(shape, dtype, lambda: np.asarray(read.weight(), dtype))
    bias = None if layer.bias is None else Constant((read.out_channels,), dtype, lambda: _bias(read, dtype))
    sizes = (facts.batch, read.in_channels, *(facts.input or (None,) * g.ndim))
    try:
        return layer_expression(weight, bias, g, sizes, **words)
    except TconvError as error:
        return str(error)


def _bias(read: ReadLayer, dtype: Any) -> Any:
    assert read.layer.bias is not None
    return np.asarray(read.layer.bias.read(), dtype).reshape(-1)
