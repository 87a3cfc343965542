"""`prepare`: a weight made ready once, for calls that pay for nothing but the arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tconv import _arrays
from tconv._arguments import shown
from tconv._memory import empty
from tconv.errors import ArrayError, DtypeError
from tconv.geometry import Geometry
from tconv.kernels.activation import Activation, activation_of, frozen
from tconv.kernels.problem import Array, Problem
from tconv.operator import functional
from tconv.operator.call import CanonicalCall, read_call, read_layer
from tconv.operator.method_choice import Plan, check_method, choose_method, explain_method

_MOST = 64


class PreparedLayer:
    """A transposed convolution with its weight, bias and activation: `layer(x)`. Made by `tconv.prepare`."""

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
        self._words = dialect, geometry, native
        self._method, self._activation = str(method), frozen(activation)
        self._packed: dict[Any, Any] = {}
        self._known: dict[Any, Any] = {}
        problem = read_layer(self.library, self._weight, self._bias, *self._words)
        check_method(self._method, problem)
        if problem is not None:
            self._finite = problem.finite_weight
            self._activation_for(problem)

    def __repr__(self) -> str:
        dialect, geometry, native = self._words
        said = [f"weight {self._weight.shape} {self._weight.dtype}"]
        said += [] if self._bias is None else [f"bias {self._bias.shape}"]
        said += [f"dialect={dialect!r}"] if geometry is None else [f"geometry={geometry!r}"]
        said += [f"{name}={shown(value)}" for name, value in native.items()]
        said += [f"method={self._method!r}"] if self._method != "auto" else []
        said += [] if self._activation is None else [f"activation={shown(self._activation)}"]
        return f"tconv.prepare({', '.join(said)})"

    def __getstate__(self) -> dict[str, Any]:
        """For copies and other processes: what is known of calls holds addresses of this one."""
        return {**vars(self), "_packed": {}, "_known": {}}

    def __call__(self, x: Any, out: Any = None) -> Any:
        """What `tconv.conv_transpose` with this weight and these words returns, then the activation."""
        library, taken = ("numpy", x) if type(x) is np.ndarray else _arrays.take(x, "x")
        if library != self.library:
            raise ArrayError(
                f"x is an array of {library}; this layer was prepared with {self.library}. Write x as an array of "
                f"{self.library}"
            )
        target = None if out is None else _arrays.target(out, "out", library)
        key: Any = None
        if taken.flags.aligned and (out is None or (target is not None and target.flags.aligned)):
            key = taken.shape, taken.strides, taken.dtype
            if target is not None:
                key += target.shape, target.strides, target.dtype
            known = self._known.get(key)
            if known is not None:
                run, shape, dtype = known
                if target is None:
                    target = empty(shape, dtype)
                    run(taken, self._weight, self._bias, target)
                    return target if library == "numpy" else _arrays.give(target, library)
                if target.flags.writeable and not np.may_share_memory(target, taken):
                    run(taken, self._weight, self._bias, target)
                    return out
        return self._first(taken, out, key)

    def bound(self, x: Array, out: Array) -> Callable[[Array, Array], Any]:
        """The layer as a function of NumPy arrays x and out, checked with these two, for others with their layout.

        Nothing is checked any more: the others must have the same shapes, strides and dtypes, and not overlap.
        """
        self(x, out=out)
        known = self._known.get((x.shape, x.strides, x.dtype, out.shape, out.strides, out.dtype))
        if known is None:  # a method without such a form
            return lambda x, out: self(x, out=out)
        run, weight, bias = known[0], self._weight, self._bias
        return lambda x, out: run(x, weight, bias, out)

    def _first(self, x: Array, out: Any, key: Any) -> Any:
        call = self._checked(x)._replace(library=self.library)
        p = call.problem
        shape = call.result.native_shape((p.batch, p.out_channels, *p.output_shape))
        activation = self._activation_for(p)
        target = empty(shape, p.result) if out is None else functional.check_out(out, call)
        method = choose_method(p, self._method)
        bound = functional.bind(method, call, target, activation=activation, packings=self._packed)
        if bound is not None:
            bound(call.native_x, call.native_weight, call.bias, target)
            if key is not None:
                self._remember(key, (bound, shape, p.result))
        else:
            functional.run(method, call, target)
            if activation is not None:
                activation.apply(call.result.canonical(target))
        return out if out is not None else _arrays.give(target, self.library)

    def _activation_for(self, p: Problem) -> Activation | None:
        activation = activation_of(self._activation, p.out_channels)
        if activation is not None and p.result.kind in "iuc":
            raise DtypeError(
                f"the weight is {p.dtype}, and an activation is made for real floats. Write tconv.prepare(...) without "
                "activation=, and apply it to what the layer returns"
            )
        return activation

    def _remember(self, key: Any, entry: Any) -> None:
        # no lock: what threads may lose here is only known a little later
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = entry

    def plan(self, x: Any) -> Plan:
        """What `layer(x)` will run, and what it costs."""
        _, taken = _arrays.take(x, "x")
        return explain_method(self._checked(taken).problem, self._method)

    def _checked(self, x: Array) -> CanonicalCall:
        dialect, geometry, native = self._words
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
    """A weight made ready for many calls: checked and copied here, packed by the first call of each geometry.

    >>> import numpy as np, tconv
    >>> w = np.ones((8, 3, 4, 4), np.float32)
    >>> layer = tconv.prepare(w, stride=2, padding=1, activation="relu")
    >>> layer(np.ones((1, 8, 16, 16), np.float32)).shape
    (1, 3, 32, 32)

    The arguments are those of `tconv.conv_transpose` without x. The layer keeps a copy: later changes of the array are
    not seen, which is what saves looking at it in every call. The first call packs it and builds what machine code is
    missing; later ones pay for the arithmetic alone. `activation` is applied as the output is written: None, "relu",
    "relu6", ("leaky_relu", slope), ("prelu", slopes) with one slope or one per output channel, or ("clamp", low, high).
    `layer.plan(x)` says what will run.

    Raises what `conv_transpose` raises, in the same words: here what no x could change (words, dtypes, a weight's axes,
    the bias, the method, the activation), and with the first x what depends on it (its channels and sizes, an
    output_shape that does not fit them; OpenVINO's words and the activation beside them, because its weights do not say
    how many axes x has).
    """
    return PreparedLayer(weight, bias, dialect, geometry, method, activation, native)
