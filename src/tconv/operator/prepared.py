"""`prepare`: a layer whose weight is checked, copied and packed once, for many calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import shown
from tconv._arrays import Array
from tconv._memory import empty
from tconv.dialects.framework_layers import PREPARED_ACTIVATIONS, call_of, refuse_activation
from tconv.errors import ArrayError, DtypeError
from tconv.geometry import Geometry
from tconv.kernels.activation import Activation, activation_of, frozen
from tconv.kernels.problem import Problem
from tconv.operator import functional
from tconv.operator.call_reading import CanonicalCall, read_call, read_layer
from tconv.operator.method_choice import Plan, check_method, choose_method, explain_call

_MOST = 64


def _unchanging(value: Any) -> Any:
    """Return an argument that its owner cannot change: lists as tuples, NumPy arrays as copies."""
    if type(value) in (list, tuple):
        return tuple(map(_unchanging, value))
    return value.copy() if isinstance(value, np.ndarray) else value


class PreparedLayer:
    """Transposed convolution with its weight, bias and activation: `layer(x)`. `tconv.prepare` returns it."""

    def __init__(
        self,
        weight: Any,
        bias: Any,
        dialect: str,
        geometry: Geometry | None,
        method: str,
        activation: Any,
        native: dict[str, Any],
    ) -> None:
        self.library, (weight, bias) = _arrays.take_all(weight=weight, bias=bias)
        self._weight: Array = weight.copy()
        self._weight.flags.writeable = False
        self._bias: Array | None = None if bias is None else np.array(bias)
        self._finite: bool | None = None  # not known yet
        self._arguments = dialect, geometry, {name: _unchanging(value) for name, value in native.items()}
        self._method, self._activation = str(method), frozen(activation)
        self._packed_weights: dict[Any, Any] = {}
        self._calls: dict[Any, Any] = {}
        problem = read_layer(self.library, self._weight, self._bias, *self._arguments)
        check_method(self._method, problem)
        if problem is not None:
            self._finite = problem.finite_weight
            self._activation_for(problem)

    def __repr__(self) -> str:
        dialect, geometry, native = self._arguments
        parts = [f"weight {self._weight.shape} {self._weight.dtype}"]
        parts += [] if self._bias is None else [f"bias {self._bias.shape}"]
        parts += [f"dialect={dialect!r}"] if geometry is None else [f"geometry={geometry!r}"]
        parts += [f"{name}={shown(value)}" for name, value in native.items()]
        parts += [f"method={self._method!r}"] if self._method != "auto" else []
        parts += [] if self._activation is None else [f"activation={shown(self._activation)}"]
        return f"tconv.prepare({', '.join(parts)})"

    @property
    def call(self) -> tuple[Array, Array | None, str, Geometry | None, dict[str, Any], Any]:
        """Weight, bias, dialect, geometry, native arguments and activation, as `prepare` takes them."""
        dialect, geometry, native = self._arguments
        return self._weight, self._bias, dialect, geometry, native, self._activation

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies and other processes, without caches: they contain addresses of this process."""
        return {**vars(self), "_packed_weights": {}, "_calls": {}}

    def __call__(self, x: Any, out: Any = None) -> Any:
        """Return `tconv.conv_transpose` of x with this weight and these arguments, then the activation."""
        library, array = ("numpy", x) if type(x) is np.ndarray else _arrays.take(x, "x")
        if library != self.library:
            raise ArrayError(
                f"x is an array of {library}; this layer was prepared with {self.library}. Write x as an array of "
                f"{self.library}"
            )
        target = None if out is None else _arrays.target(out, "out", library)
        key: Any = None
        if array.flags.aligned and (out is None or (target is not None and target.flags.aligned)):
            key = array.shape, array.strides, array.dtype
            if target is not None:
                key += target.shape, target.strides, target.dtype
            cached = self._calls.get(key)
            if cached is not None:
                run, shape, dtype = cached
                if target is None:
                    target = empty(shape, dtype)
                    run(array, self._weight, self._bias, target)
                    return target if library == "numpy" else _arrays.give(target, library)
                if target.flags.writeable and not np.may_share_memory(target, array):
                    run(array, self._weight, self._bias, target)
                    return out
        return self._run_first(array, out, key)

    def specialized(self, x: Array, out: Array) -> Callable[[Array, Array], Any]:
        """Return the layer as a function of NumPy arrays x and out, after a checked run with these two.

        The function checks nothing: its arrays must have the same shapes, strides and dtypes, and must not overlap.
        """
        self(x, out=out)
        cached = self._calls.get((x.shape, x.strides, x.dtype, out.shape, out.strides, out.dtype))
        if cached is None:  # a method that has no specialized calls
            return lambda x, out: self(x, out=out)
        run, weight, bias = cached[0], self._weight, self._bias
        return lambda x, out: run(x, weight, bias, out)

    def _run_first(self, x: Array, out: Any, key: Any) -> Any:
        """Check a call, run it, and cache it under the key."""
        call = self._checked(x)._replace(library=self.library)
        p = call.problem
        shape = call.result.native_shape((p.batch, p.out_channels, *p.output_shape))
        activation = self._activation_for(p)
        target = empty(shape, p.result) if out is None else functional.check_out(out, call)
        method = choose_method(p, self._method)
        caches = {"activation": activation, "packed_weights": self._packed_weights}
        specialized = functional.specialize(method, call, target, **caches)
        if specialized is not None:
            specialized(call.native_x, call.native_weight, call.bias, target)
            if key is not None:
                self._add(key, (specialized, shape, p.result))
        else:
            functional.run(method, call, target)
            if activation is not None:
                activation.apply(call.result.canonical(target))
        return out if out is not None else _arrays.give(target, self.library)

    def _activation_for(self, p: Problem) -> Activation | None:
        activation = activation_of(self._activation, p.out_channels)
        if activation is not None and p.result.kind in "iuc":
            raise DtypeError(
                f"the weight is {p.dtype}; activations are for real floats. Write tconv.prepare(...) without "
                "activation=, and apply the activation to the output"
            )
        return activation

    def _add(self, key: Any, entry: Any) -> None:
        # no lock: if threads collide, an entry is lost, and the next such call is checked again
        if len(self._calls) >= _MOST:
            self._calls.clear()
        self._calls[key] = entry

    def plan(self, x: Any) -> Plan:
        """Return the method that `layer(x)` runs, the reasons, and its cost."""
        _, array = _arrays.take(x, "x")
        return explain_call(self._checked(array), self._method)

    def _checked(self, x: Array) -> CanonicalCall:
        dialect, geometry, native = self._arguments
        call = read_call(x, self._weight, self._bias, dialect, geometry, native, finite=self._finite)
        self._finite = call.problem.finite_weight
        return call


def prepare(
    weight: Any,
    bias: Any = None,
    *,
    dialect: str = "torch",
    geometry: Geometry | None = None,
    method: str = "auto",
    activation: Any = None,
    **native: Any,
) -> PreparedLayer:
    """Return a layer for many calls: the weight is checked and copied here, and packed by the first call.

    >>> import numpy as np, tconv
    >>> w = np.ones((8, 3, 4, 4), np.float32)
    >>> layer = tconv.prepare(w, stride=2, padding=1, activation="relu")
    >>> layer(np.ones((1, 8, 16, 16), np.float32)).shape
    (1, 3, 32, 32)

    The arguments are those of `tconv.conv_transpose` without x. `weight` may be a layer of PyTorch, Keras, Flax NNX,
    Equinox, Paddle, MLX or tinygrad, which has its own bias, dialect and arguments, and "relu" or "relu6" of Keras.

    The result has a copy of the weight: later changes of the array have no effect, so no call has to read it. The first
    call packs the weight and builds machine code that is missing; later calls only compute. `activation` is applied as
    the output is written: None, "relu", "relu6", ("leaky_relu", slope), ("prelu", slopes) with one slope or one per
    output channel, or ("clamp", low, high). `layer.plan(x)` returns the plan of a call.

    Raises the errors of `conv_transpose`, with the same messages: here those that do not depend on x (arguments,
    dtypes, axes of the weight, bias, method, activation), and with the first x the others (its channels and sizes, an
    output_shape that does not fit them). With OpenVINO's dialect, arguments and activation are checked with the first
    x, because its weights do not determine the number of axes of x.
    """
    weight, bias, dialect, native, activation = layer_call(weight, bias, dialect, geometry, native, activation)
    return PreparedLayer(weight, bias, dialect, geometry, method, activation, native)


def layer_call(
    weight: Any, bias: Any, dialect: str, geometry: Geometry | None, native: dict[str, Any], activation: Any
) -> tuple[Any, Any, str, dict[str, Any], Any]:
    """Return weight, bias, dialect, arguments and activation of a layer, which may be one of a framework.

    Raises ArgumentError for an activation that the layer has and that is not one of `prepare`.
    """
    weight, bias, dialect, native, layer = call_of(weight, bias, dialect, geometry, native)
    if layer is not None and layer.activation in PREPARED_ACTIVATIONS and activation in (None, layer.activation):
        activation = layer.activation
    else:
        instead = "" if activation is None else "the call without activation="
        refuse_activation(layer, f"the layer was prepared with activation={shown(activation)}", instead)
    return weight, bias, dialect, native, activation
