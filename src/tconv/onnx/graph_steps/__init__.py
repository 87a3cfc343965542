"""Steps on the graph around a layer, by their names. One file and one line each."""

from __future__ import annotations

from tconv.onnx.graph_steps.dynamic_size import DynamicSize
from tconv.onnx.graph_steps.fold_batchnorm import FoldBatchnorm
from tconv.onnx.graph_steps.fold_constants import FoldConstants
from tconv.onnx.graph_steps.graph_step import GraphStep, PlacedLayer, StepError

__all__ = ["GRAPH_STEPS", "GraphStep", "PlacedLayer", "StepError"]

GRAPH_STEPS: dict[str, GraphStep] = {step.name: step for step in (FoldConstants(), FoldBatchnorm(), DynamicSize())}
"""Steps by name, in the order in which they are applied."""
