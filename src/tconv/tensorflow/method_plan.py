"""`tconv.tensorflow.plan`: the method that a call will run, and the reasons."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from tconv.kernels.problem import Problem
from tconv.operator.method_choice import explain_method, machine_code_method
from tconv.tensorflow.dispatch import reason_for_nn, reasons_against_nn
from tconv.tensorflow.errors import tensorflow_errors
from tconv.tensorflow.functional import read_call, tensor_of
from tconv.tensorflow.op_kernel import canonical_strides
from tconv.tensorflow.operator import reason_against_kernel
from tconv.tensorflow.tracing_context import without_autograph


class CallPlan(NamedTuple):
    """Result of `plan`.

    >>> import tensorflow as tf, tconv.tensorflow
    >>> x, filters = tf.TensorSpec((1, 28, 28, 64)), tf.TensorSpec((2, 2, 32, 64))
    >>> tconv.tensorflow.plan(x, filters, [1, 56, 56, 32], strides=2).method
    'simd'

    `method` is tconv's "simd" or "winograd" (in machine code) or another of its methods (in Python, for problems that
    the machine code does not compute), "tensorflow" for the operator of tf.nn, or "standard" for tconv's rewrite in
    TensorFlow's standard operators. `reasons` has the reasons against all others.
    """

    method: str
    reasons: dict[str, tuple[str, ...]]
    problem: Problem
    """with 1 for an unknown batch, and examples for unknown sizes"""
    known: bool
    """False if sizes are unknown: the kernel then makes its plan when it meets them"""
    layout: str
    """Layouts of x, filters and y."""
    strides: tuple[tuple[int, ...], tuple[int, ...]]
    """Strides of canonical x and y, in elements."""

    def __str__(self) -> str:
        texts = {
            "tensorflow": "the operator of tf.nn",
            "standard": "tconv's rewrite in TensorFlow's standard operators",
        }
        if self.method in texts:
            lines = [f"method    {self.method}: {texts[self.method]}, in {self.problem.dtype}"]
        else:
            # the reasons of "auto" say more than that a method was requested
            chosen = explain_method(self.problem, "auto", self.strides)
            if chosen.method != self.method:
                chosen = explain_method(self.problem, self.method, self.strides)
            lines = str(chosen).splitlines()
        at = max(number for number, line in enumerate(lines) if line.startswith(("method ", "          not "))) + 1
        lines[at:at] = [f"          not {name}: {'; '.join(reasons)}" for name, reasons in self.reasons.items()]
        if not self.known:
            lines.append("sizes     some are unknown while tracing; the lines above are of an example")
        return "\n".join([*lines, f"layout    {self.layout}"])


def plan(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = None,
    dilations: Any = None,
    *,
    groups: int = 1,
    crop: Any = None,
    bias: Any = None,
) -> CallPlan:
    """Return the method that `conv_transpose` with these arguments runs here, and the reasons, without running it.

    >>> import tensorflow as tf, tconv.tensorflow
    >>> x, filters = tf.TensorSpec((1, 28, 28, 64)), tf.TensorSpec((2, 2, 32, 64))
    >>> print(tconv.tensorflow.plan(x, filters, [1, 56, 56, 32], strides=2))                 # doctest: +ELLIPSIS
    x [1, 64, 28, 28] -> y [1, 32, 56, 56], float32, channels last
    ...

    "Here": inside of a function that is being traced, the answer is of its graph; called within
    `tconv.tensorflow.standard_operators()`, of what is traced there. Tensors may be given as tf.TensorSpec. Raises the
    errors of `conv_transpose`.
    """
    named = {"input": input, "filters": filters, "bias": bias}
    tensors = [_tensor(each, name) for name, each in named.items()]
    x, weight = tensors[0], tensors[1]
    with tensorflow_errors():
        call = read_call(*tensors, output_shape, strides, padding, data_format, dilations, groups, crop)[1]
    problem, rule = call.problem, call.rule
    operator = call.operator or rule.operator(problem.geometry.kernel, problem.input_shape, problem.output_shape)
    shapes = [
        layout.native_shape((problem.batch, channels, *sizes))
        for layout, channels, sizes in (
            (rule.x_layout, problem.in_channels, problem.input_shape),
            (rule.y_layout, problem.out_channels, problem.output_shape),
        )
    ]
    x_strides, y_strides = (
        canonical_strides(layout, shape, 1)
        for layout, shape in zip((rule.x_layout, rule.y_layout), shapes, strict=True)
    )
    against_kernel = reason_against_kernel(x, weight)
    for_nn = "" if call.operator is None else reason_for_nn(operator, x.shape, weight.shape, x.dtype)
    reasons: dict[str, tuple[str, ...]] = {}
    own = "" if against_kernel else machine_code_method(problem)[0]
    if against_kernel:
        method = "standard"
        reasons["simd"] = (against_kernel,)
    elif for_nn:
        method = "tensorflow"
        reasons["simd"] = (for_nn,)
    else:
        method = own or explain_method(problem, "auto").method
    if method != "tensorflow":
        sizes_known = None not in operator.x_layout.sizes(tuple(x.shape.as_list()))[2]
        against = reasons_against_nn(operator, problem.input_shape) if sizes_known else ("sizes are unknown",)
        faster = "tconv's kernel is faster" if method != "standard" else "it is no part of the rewrite"
        reasons["tensorflow"] = against or (faster,)
    if method != "standard":
        reasons["standard"] = ("the graph stays in this process, on a CPU",)
    layout = " ".join(
        f"{name} {each.describe()}"
        for name, each in (("x", rule.x_layout), ("filters", rule.weight_layout), ("y", rule.y_layout))
    )
    return CallPlan(method, reasons, problem, call.known, layout, (x_strides, y_strides))


def _tensor(value: Any, name: str) -> Any:
    """Return an argument as something that has TensorFlow's shape and dtype."""
    none = value is None and name == "bias"
    known = none or isinstance(value, (tf.Tensor, tf.TensorSpec, tf.Variable))
    return value if known else tensor_of(value, name)


without_autograph(plan)
