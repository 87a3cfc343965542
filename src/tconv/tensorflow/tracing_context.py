"""Kind of graph that a call is traced for, and all undocumented names of TensorFlow that are used, with fallbacks.

| name | used for | without it |
|---|---|---|
| `pywrap_tfe.TFE_Py_FastPathExecute`, `context` | the operator outside of graphs | standard operators |
| `op_def_library._apply_op_helper`, `execute.record_gradient` | the operator in a graph | standard operators |
| `control_flow_util.GraphOrParentsInXlaContext` | finding jit_compile=True | standard operators in every graph |
| `save_context.in_save_context` | finding tf.saved_model.save | standard operators in every graph |
| `FuncGraph.mark_as_unsaveable` | refusing to save a graph that needs tconv | standard operators in every graph |
| the attribute `autograph_info__` | AutoGraph leaves our functions as they are | it rewrites them, with warnings |
| `parallel_for.pfor.RegisterPFor` | tf.vectorized_map of the operator | a loop, which is TensorFlow's own fallback |
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from tconv.tensorflow.registration import OPERATOR

try:
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import context, execute
    from tensorflow.python.framework import op_def_library

    _execute_now: Any = pywrap_tfe.TFE_Py_FastPathExecute
    _must_record, _record = execute.must_record_gradient, execute.record_gradient
    _add_to_graph: Any = op_def_library._apply_op_helper
    _MISSING = ""
except (ImportError, AttributeError) as error:
    _MISSING = f"this release of TensorFlow has other internal names: {error}"

try:
    from tensorflow.python.ops import control_flow_util
    from tensorflow.python.saved_model import save_context

    _in_xla: Any = control_flow_util.GraphOrParentsInXlaContext
    _in_save: Any = save_context.in_save_context
except (ImportError, AttributeError):
    _in_xla = _in_save = None

_SAVED = "the graph is being saved, and loads without tconv"
_UNSAVEABLE = (
    "it has the operator of tconv's kernel, which runs in this process only. Trace it with TensorFlow's own operators: "
    "with tconv.tensorflow.standard_operators(): tf.function(...).get_concrete_function(...)"
)
"""Text that follows "Unable to save function ... for the following reason(s):" in TensorFlow's error."""

# -- the switch --------------------------------------------------------------------------------------------------------


class _Switch(threading.local):
    depth = 0


_switch = _Switch()


@contextmanager
def standard_operators() -> Iterator[None]:
    """Run and trace calls on TensorFlow's own operators only: in the `with` block, and in the present thread.

    >>> import tensorflow as tf, tconv.tensorflow
    >>> x, filters = tf.ones((1, 4, 4, 1)), tf.ones((3, 3, 1, 1))
    >>> upsample = tf.function(lambda x: tconv.tensorflow.conv_transpose(x, filters, [1, 8, 8, 1], 2))
    >>> with tconv.tensorflow.standard_operators():
    ...     traced = upsample.get_concrete_function(tf.TensorSpec((1, 4, 4, 1)))
    >>> "Tconv>ConvTranspose" in {node.op for node in traced.graph.as_graph_def().node}
    False

    A graph with tconv's operator runs in this process only. What TensorFlow traces while `tf.saved_model.save` or
    Keras' `model.export` run, or for `jit_compile=True`, has standard operators without this. Trace inside of the
    block what leaves the process otherwise: a concrete function that is saved or converted (TensorFlow refuses one
    with tconv's operator), or sent to other workers; and a function that was called before, and is now called from one
    with `jit_compile=True`. The same `tf.function` is not traced again for the same shapes: write a new one.
    """
    _switch.depth += 1
    try:
        yield
    finally:
        _switch.depth -= 1


def reason_for_standard(*tensors: Any) -> str:
    """Return the reason why standard operators have to be emitted here; empty if tconv's operator can be."""
    if _switch.depth:
        return "standard_operators() was written around the call"
    if _MISSING:
        return _MISSING
    if tf.executing_eagerly():
        for tensor in tensors:
            device = getattr(tensor, "device", "")  # a TensorSpec has none
            if _device_type(device) not in ("CPU", ""):
                return f"a tensor is on {device}; the kernel runs on the CPU"
        return ""
    if _in_xla is None or _in_save is None:
        return "this release of TensorFlow does not tell if a graph is compiled or saved"
    if _in_save():
        return _SAVED
    graph = tf.compat.v1.get_default_graph()
    if not hasattr(graph, "mark_as_unsaveable"):
        return "the graph is not that of a tf.function, and might be saved"
    if _in_xla(graph):
        return "the graph is compiled (jit_compile=True)"
    device = getattr(tensors[0], "device", "")
    if _device_type(device) != "CPU" and (device or _other_devices()):
        return "the graph may run on another device than the CPU"
    return ""


def is_for_a_file() -> bool:
    """Return True if what is traced now may be saved: its gradients are TensorFlow's, which need no code of tconv."""
    return bool(_switch.depth) or (_in_save is not None and _in_save())


def is_compiled() -> bool:
    """Return True while a graph is traced that XLA compiles, which drops assertions."""
    return bool(_in_xla and not tf.executing_eagerly() and _in_xla(tf.compat.v1.get_default_graph()))


def _device_type(device: str) -> str:
    """Return "CPU" for "/job:localhost/replica:0/task:0/device:CPU:0", and "" where none is named."""
    _, found, after = (device or "").rpartition("device:")
    return after.split(":")[0].upper() if found else ""


def _other_devices() -> bool:
    """Return True if TensorFlow may place an operator elsewhere than on a CPU."""
    return any(device.device_type != "CPU" for device in tf.config.list_logical_devices())


def without_autograph(function: Callable[..., Any]) -> None:
    """Make tf.function call a function unchanged: AutoGraph would rewrite it and hide its errors."""
    vars(function)["autograph_info__"] = {}


without_autograph(standard_operators)


# -- the operator ----------------------------------------------------------------------------------------------------


def run_operator(
    x: Any,
    filters: Any,
    bias: list[Any],
    sizes: list[Any],
    attributes: dict[str, Any],
    shape: list[int | None],
    name: Any,
) -> Any:
    """Run the operator now, or add it to the graph that is being traced, with a y of this shape."""
    if tf.executing_eagerly():
        flat = [part for pair in attributes.items() for part in pair]
        try:
            return _execute_now(context.context(), OPERATOR, name, x, filters, bias, sizes, *flat)
        except tf.errors.OpError:
            raise
        except Exception as error:  # the status of a kernel, which has no class of tf.errors yet
            if type(error).__name__ != "_NotOkStatusException":
                raise
            from tensorflow.python.framework import ops

            ops.raise_from_not_ok_status(error, name)
    graph = tf.compat.v1.get_default_graph()
    while hasattr(graph, "mark_as_unsaveable"):  # branches and loops are graphs of their own
        graph.mark_as_unsaveable(_UNSAVEABLE)
        graph = getattr(graph, "outer_graph", None)
    _, _, op, (y,) = _add_to_graph(
        OPERATOR, name=name or "conv_transpose", x=x, filters=filters, bias=bias, output_sizes=sizes, **attributes
    )
    y.set_shape(shape)  # before it is recorded: forward mode differentiates with it
    if _must_record():
        attrs = [part for key in ("T", "B", "S", *attributes) for part in (key, op.get_attr(key))]
        _record(OPERATOR, op.inputs, tuple(attrs), [y])
    return y


def register_vectorized(rule: Callable[[Any], Any]) -> None:
    """Register the rule of `tf.vectorized_map` for the operator: a function that returns y of all iterations."""
    try:
        from tensorflow.python.ops.parallel_for.pfor import RegisterPFor, wrap
    except ImportError:
        return
    RegisterPFor(OPERATOR)(tf.autograph.experimental.do_not_convert(lambda inputs: wrap(rule(inputs), True)))
