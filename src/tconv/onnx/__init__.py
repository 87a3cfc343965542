"""ONNX files: checked, and rewritten for a runtime that lacks a transposed convolution or restricts it.

>>> import tconv
>>> plan = tconv.onnx.plan_rewrite("model.onnx", target="ethos-u")            # doctest: +SKIP
>>> print(plan)                                                               # doctest: +SKIP
>>> print(plan.write("model-ethos-u.onnx"))                                   # doctest: +SKIP

onnx and onnx-ir are the extra `tconv[onnx]`; they are imported by the first call.
"""

from __future__ import annotations

from tconv.checking import check
from tconv.onnx.model_rewrite import ModelPlan, RewriteReport, plan_rewrite, rewrite, step_names

__all__ = ["ModelPlan", "RewriteReport", "check", "plan_rewrite", "rewrite", "step_names"]
