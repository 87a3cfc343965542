"""Cases of layers in a framework: forward passes, training steps and calls of a tiny layer, of the same numbers.

A framework says how its operators are written and compiled (`LayerFramework`); what is measured, and the check against
float64, are the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from tconv.bench import dtypes, subpixel
from tconv.bench import layers as registry
from tconv.bench.frameworks import layer_numbers
from tconv.bench.frameworks.interface import OWN, Case, Framework, Gap, Sides, reason_of
from tconv.bench.frameworks.layer_numbers import INPUT, OUTPUT, WEIGHT
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import UnableError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array

GATE = (
    "error is in units of the root mean square of the float64 reference (outputs, or both gradients); the largest that "
    "the rounding of each sum explains is allowed, as in tconv bench"
)
REWRITE = "rewrite"
_RATE = 1e-6
"""Learning rate of a training step: the weight changes, so that a packed one has to be packed again."""
_TINY = {"name": "tiny layer", "n": 1, "c_in": 8, "c_out": 8, "in": [4, 4], "k": 4, "s": 2, "p": 1}
_EAGER = "tiny layer, eager"
_ISSUES = (
    {
        "kind": "issues",
        "name": "jax#31662",
        "source": "jax-ml/jax#31662: gradients of input and weight",
        "n": 1,
        "c_in": 64,
        "c_out": 1,
        "in": [64, 64, 32],
        "k": 3,
        "s": 2,
        "p": 1,
        "op": 1,
    },
)
"""Layers whose gradients, without the output, are slow in a framework by a report of its users."""


class Operator(NamedTuple):
    """One side's transposed convolution of a layer, in native arrays."""

    call: Callable[[Any, Any], Any]
    """Returns y for x and the weight."""
    weight: Array
    """The weight as this operator takes it."""
    canonical: Callable[[Array], Array]
    """Converts such a weight, or its gradient, to [C_in, C_out/g, *k]."""


class LayerFramework(ABC):
    """A framework's side of the cases of layers."""

    stock: ClassVar[str]
    """Name of the side that runs the framework's own operator."""

    @abstractmethod
    def operators(self, layer: Layer, weight: Array, layout: str) -> dict[str, Callable[[], Operator]]:
        """Return each side's operator of a layer with a canonical weight, to be built by a call that may raise."""

    @abstractmethod
    def array(self, numbers: Array) -> Any:
        """Return the framework's array of these numbers."""

    @abstractmethod
    def numpy(self, output: Any) -> Array:
        """Return an array of the framework in NumPy."""

    @abstractmethod
    def forward(self, call: Callable[..., Any], x: Any, w: Any, compiled: bool) -> Callable[[], Any]:
        """Return a call that computes y, compiled or operator by operator, and returns when it is there."""

    @abstractmethod
    def training(
        self, call: Callable[..., Any], x: Any, w: Any, cotangent: Any, forward: bool
    ) -> Callable[[Any], tuple[Any, Any]]:
        """Return a compiled step that updates the weight and returns the gradients of x and the weight.

        The loss is the sum of y * cotangent; with `forward` its value is computed, too. The step's argument is the
        learning rate, an array.
        """

    def sides(self, kind: str, case: Case) -> Sides:
        """Return the sides of a case. Raises UnableError if the framework's own operator, or tconv's, is absent."""
        layer, trained = layer_of(kind, case.name), kind == "training"
        given = layer_numbers.numbers(layer, case.dtype, trained)
        native = dtypes.numpy_dtype(case.dtype)
        x, cotangent = (dtypes.in_layout(a.astype(native), case.layout) for a in (given.x, given.cotangent))
        operators: dict[str, Operator] = {}
        calls: dict[str, Callable[[], Any]] = {}
        absent: dict[str, str] = {}
        rate = [self.array(np.zeros((), native))]  # until all sides are checked
        for side, build in self.operators(layer, given.weight.astype(native), case.layout).items():
            try:
                operators[side] = one = build()
                given_x, w = (self.array(np.ascontiguousarray(array)) for array in (x, one.weight))
                if trained:
                    step = self.training(one.call, given_x, w, self.array(cotangent), layer.kind != "issues")
                    calls[side] = partial(_step, step, rate)
                else:
                    calls[side] = self.forward(one.call, given_x, w, case.name != _EAGER)
            except Exception as error:  # the other sides go on
                absent[side] = reason_of(error)

        def trains() -> None:
            rate[0] = self.array(np.full((), _RATE, native))

        def gap(side: str, outputs: Any) -> Gap:
            once = side == OWN
            if not trained:
                y = dtypes.channels_first(self._wide(outputs), case.layout)
                return given.right[OUTPUT].gap(y, case.dtype, OUTPUT, once)
            dx = dtypes.channels_first(self._wide(outputs[0]), case.layout)
            dw = operators[side].canonical(self._wide(outputs[1]))
            found = [
                given.right[place].gap(array, case.dtype, place, False) for place, array in ((INPUT, dx), (WEIGHT, dw))
            ]
            return max(found, key=lambda one: one.difference / one.allowed if not one.wrong else float("inf"))

        work = layer.flops * (3 if layer.kind != "issues" else 2) if trained else layer.flops
        return Sides(calls, gap, {"title": title(case), "flops": work}, absent, trains, again=True)

    def _wide(self, output: Any) -> Array:
        """Return an output in NumPy; float32 represents both 2-byte dtypes."""
        array = self.numpy(output)
        return array.astype(np.float32) if array.dtype.itemsize == 2 else array


def _step(step: Callable[[Any], Any], rate: list[Any]) -> Any:
    return step(rate[0])


def title(case: Case) -> str:
    """Return the text of a case's row: its name, with a dtype and layout that are not the usual ones."""
    return ", ".join(
        [
            case.name,
            *([case.dtype] if case.dtype != "float32" else []),
            *(["channels first"] if case.layout == "first" else []),
        ]
    )


def layer_of(kind: str, name: str) -> Layer:
    """Return the layer of a case."""
    return next(layer for layer in _layers(kind) if layer.name == name)


def _layers(kind: str) -> list[Layer]:
    if kind == "overhead":
        return [Layer.of({**_TINY, "name": name}) for name in (str(_TINY["name"]), _EAGER)]
    issues = [Layer.of(dict(entry)) for entry in _ISSUES] if kind == "training" else []
    return [*registry.read(), *issues]


def names(kind: str) -> list[str]:
    """Return the names of the cases of a kind."""
    return [layer.name for layer in _layers(kind)]


def select(kind: str, wanted: Sequence[str]) -> list[str]:
    """Return the names of the layers with these names or kinds; all for no name."""
    return [layer.name for layer in registry.select(_layers(kind), wanted)]


# -- the plain rewrite -------------------------------------------------------------------------------------------


def framework_of_layers(
    title: str, packages: tuple[str, ...], start: Callable[[int, str], None], build: Callable[[str, Case], Sides]
) -> Framework:
    """Return the framework whose cases are the layers of the registry, in its own layout and channels first."""
    return Framework(
        title,
        packages,
        ("layers", "training", "overhead"),
        names,
        select,
        start,
        build,
        dtypes=dtypes.DTYPES["cpu"],
        layouts=("last", "first"),
        shared=True,
        gate=GATE,
    )


def rewrite(
    layer: Layer,
    weight: Array,
    layout: str,
    conv: Callable[[Any, Any], Any],
    reshaped: Callable[[Any, tuple[int, ...]], Any],
    transposed: Callable[[Any, tuple[int, ...]], Any],
) -> Operator:
    """Return "convolution, then depth to space" as an operator whose weight is [*ceil(k/s), C_in/g, C_out * prod(s)].

    `conv` has stride 1, and pads ceil(k/s) - 1 zeros on both sides. Raises UnableError for a layer that has no such
    form.
    """
    if reasons := subpixel.reasons_against(layer):
        raise UnableError("; ".join(reasons))
    steps, g = subpixel.depth_to_space(layer, layout), layer.geometry

    def call(x: Any, w: Any) -> Any:
        y = transposed(reshaped(conv(x, w), steps.split), steps.order)
        return reshaped(y, steps.merged)[steps.crop]

    def canonical(forward: Array) -> Array:
        return subpixel.original_weight(np.moveaxis(forward, (-1, -2), (0, 1)), g, layout)

    forward = np.moveaxis(subpixel.forward_weight(weight, g, layout), (0, 1), (-1, -2))
    return Operator(call, np.ascontiguousarray(forward), canonical)


def padded_taps(layer: Layer) -> tuple[int, ...]:
    """Return the zeros on each side of the rewrite's convolution, per axis."""
    return tuple(count - 1 for count in subpixel.tap_counts(layer.geometry))
