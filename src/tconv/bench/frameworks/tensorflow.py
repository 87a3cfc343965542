"""TensorFlow inside `tf.function`: its own operator, tconv's, and the plain rewrite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from tconv import Geometry, dialect
from tconv.bench.frameworks import layer_sides
from tconv.bench.frameworks.interface import OWN, Case, Sides
from tconv.bench.frameworks.layer_sides import LayerFramework, Operator
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import UnableError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


def _start(threads: int, backend: str) -> None:
    tf: Any = import_module("tensorflow")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


class TensorFlow(LayerFramework):
    """The operators of TensorFlow. On a CPU it has channels last, and NCHW for a few of them."""

    stock: ClassVar[str] = "tensorflow"

    def operators(self, layer: Layer, weight: Array, layout: str) -> dict[str, Callable[[], Operator]]:
        return {
            self.stock: lambda: _own(layer, weight, layout),
            OWN: lambda: _tconv(layer, weight, layout),
            layer_sides.REWRITE: lambda: _rewrite(layer, weight, layout),
        }

    def array(self, numbers: Array) -> Any:
        return import_module("tensorflow").constant(numbers)

    def numpy(self, output: Any) -> Array:
        array: Array = output.numpy()
        return array

    def forward(self, call: Callable[..., Any], x: Any, w: Any, compiled: bool) -> Callable[[], Any]:
        tf: Any = import_module("tensorflow")
        run = tf.function(call) if compiled else call
        return lambda: run(x, w)

    def training(
        self, call: Callable[..., Any], x: Any, w: Any, cotangent: Any, forward: bool
    ) -> Callable[[Any], tuple[Any, Any]]:
        tf: Any = import_module("tensorflow")
        weight = tf.Variable(w)

        def step(x: Any, cotangent: Any, rate: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = tf.reduce_sum(call(x, weight) * cotangent)
            dx, dw = tape.gradient(value, [x, weight])
            weight.assign_sub(rate * dw)
            return (value, dx, dw) if forward else (dx, dw)

        run = tf.function(step)
        return lambda rate: run(x, cotangent, rate)[-2:]


def _format(layer: Layer, layout: str) -> dict[str, str]:
    axes = {1: "W", 2: "HW", 3: "DHW"}[layer.geometry.ndim]
    return {} if layout == "last" else {"data_format": f"NC{axes}"}


def _operator(call: Callable[[Any, Any], Any], layer: Layer, weight: Array) -> Operator:
    words, groups = dialect("tensorflow"), layer.geometry.groups
    return Operator(call, words.to_native(weight, groups), lambda w: words.to_canonical(w, groups))


def _arguments(layer: Layer, layout: str) -> dict[str, Any]:
    """Return the arguments of tf.nn.convNd_transpose, which takes the number of groups from output_shape."""
    arguments = dialect("tensorflow").arguments(layer.geometry, input=layer.input_shape) | _format(layer, layout)
    n, c, *sizes = layer.output_shape
    arguments["output_shape"] = [n, *sizes, c] if layout == "last" else [n, c, *sizes]
    arguments.pop("groups", None)
    return arguments


def _sliced(layer: Layer) -> bool:
    """Return True for a layer whose crop tf.nn cannot express: it computes all, and a slice of that is the output."""
    inside = min(min(pair) for pair in layer.geometry.crop) >= 0
    return inside and bool(dialect("tensorflow").reasons_against(layer.geometry, layer.input_shape))


def _own(layer: Layer, weight: Array, layout: str) -> Operator:
    tf: Any = import_module("tensorflow")
    operator, g = getattr(tf.nn, f"conv{layer.geometry.ndim}d_transpose"), layer.geometry
    if not _sliced(layer):
        arguments = _arguments(layer, layout)
        return _operator(lambda x, w: operator(x, w, **arguments), layer, weight)
    whole = replace(layer, geometry=Geometry(g.kernel, g.stride, 0, g.dilation, g.groups))
    arguments, crop = _arguments(whole, layout), _crop(layer, layout)
    return _operator(lambda x, w: operator(x, w, **arguments)[crop], layer, weight)


def _crop(layer: Layer, layout: str) -> tuple[slice, ...]:
    sizes = zip(layer.geometry.crop, layer.output_shape[2:], strict=True)
    inner, all_of = [slice(lo, lo + size) for (lo, _), size in sizes], slice(None)
    return (all_of, *inner, all_of) if layout == "last" else (all_of, all_of, *inner)


def _tconv(layer: Layer, weight: Array, layout: str) -> Operator:
    operator, g = import_module("tconv.tensorflow").conv_transpose, layer.geometry
    if not _sliced(layer):
        arguments = _arguments(layer, layout)
        return _operator(lambda x, w: operator(x, w, **arguments), layer, weight)
    arguments = {"output_shape": None, "strides": list(g.stride), "crop": g.crop, "dilations": list(g.dilation)}
    arguments |= {"groups": g.groups, **_format(layer, layout)}
    return _operator(lambda x, w: operator(x, w, **arguments), layer, weight)


def _rewrite(layer: Layer, weight: Array, layout: str) -> Operator:
    tf: Any = import_module("tensorflow")
    g, zeros, form = layer.geometry, layer_sides.padded_taps(layer), _format(layer, layout)
    if layout == "first" and g.ndim != 2:
        raise UnableError("TensorFlow's convolutions on the CPU have channels first in 2-D only")
    around = (
        [(0, 0), *((n, n) for n in zeros), (0, 0)] if layout == "last" else [(0, 0), (0, 0), *((n, n) for n in zeros)]
    )

    def conv(x: Any, w: Any) -> Any:
        padded = tf.pad(x, around) if any(zeros) else x
        return tf.nn.convolution(padded, w, padding="VALID", **form)

    def transposed(y: Any, order: tuple[int, ...]) -> Any:
        return tf.transpose(y, order)

    operator = layer_sides.rewrite(layer, weight, layout, conv, tf.reshape, transposed)
    same_stride = g.ndim == 2 and g.stride[0] == g.stride[1] > 1
    if not same_stride or g.groups > 1 or layout == "first":
        return operator
    crop = _crop(layer, layout)
    return operator._replace(call=lambda x, w: tf.nn.depth_to_space(conv(x, w), g.stride[0])[crop])


def _build(kind: str, case: Case) -> Sides:
    return TensorFlow().sides(kind, case)


FRAMEWORK = layer_sides.framework_of_layers("TensorFlow", ("tensorflow-cpu", "tensorflow"), _start, _build)
