"""Keras models on each backend, as they are and after `tconv.keras.accelerate`: predictions and training steps.

A third side runs the transposed convolutions alone, for their share of the time: 1 / (1 - share) is what a layer
that takes no time would give.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv.bench.frameworks import jax, tensorflow, torch
from tconv.bench.frameworks.interface import ALONE, OWN, Case, Framework, Gap, Sides
from tconv.bench.frameworks.keras_networks import KERAS_NETWORKS
from tconv.bench.layers import known_name
from tconv.bench.peers.interface import UnableError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array

ALLOWED = {"models": 1e-5, "training": 1e-3}
"""Largest difference from the model as it is: of the largest output; of the largest change of a weight in one step."""
FRAMEWORK_NAME = "keras"
MEASURED = "measured"
"""Side that was accelerated with an input: layers, or all of them, that are not measurably faster are left to Keras."""
_BACKENDS = {"tensorflow": tensorflow.FRAMEWORK, "jax": jax.FRAMEWORK, "torch": torch.FRAMEWORK}
_RATES = (0.1, 1e-6)
"""Learning rates of the step that is checked, whose changes are to be seen in float32, and of those that are timed."""


def _start(threads: int, backend: str) -> None:
    os.environ["KERAS_BACKEND"] = backend
    _BACKENDS[backend].start(threads, "")
    import_module("keras")


def _random(shape: Sequence[int], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(tuple(shape), np.float32)


def _build(kind: str, case: Case) -> Sides:
    """Return the sides of a model: as it is, accelerated, and its transposed convolutions alone."""
    keras: Any = import_module("keras")
    accelerate: Any = import_module("tconv.keras").accelerate
    network, trained = KERAS_NETWORKS[case.name], kind == "training"
    keras.utils.set_random_seed(0)
    x = _random(network.shape, 0)
    models = {side: network.build() for side in (FRAMEWORK_NAME, OWN, *(() if trained else (MEASURED,)))}
    stock = models[FRAMEWORK_NAME]
    begun, target = stock.get_weights(), _random((network.shape[0], *stock.output_shape[1:]), 1)
    for side, model in models.items():
        model.set_weights(begun)
        if side != FRAMEWORK_NAME:
            accelerate(model, *([x] if side == MEASURED else []))
    calls = {side: _call(model, [x], [target], trained) for side, model in models.items()}
    calls[ALONE] = _alone(stock, network.shape[0], trained)
    right: list[Array] = []

    def gap(side: str, outputs: Any) -> Gap:
        found = models[side].get_weights() if trained else [np.asarray(outputs)]
        if not right:
            right.extend(found)
        scale = [a - b for a, b in zip(right, begun, strict=True)] if trained else right
        worst = max(float(np.abs(a - b).max()) for a, b in zip(found, right, strict=True))
        return Gap(worst / max(float(np.abs(a).max()) for a in scale), ALLOWED[kind])

    def begin() -> None:
        for model in models.values() if trained else ():
            model.optimizer.learning_rate = _RATES[1]

    facts = {"title": f"{network.title}, on {case.backend}", "packages": _BACKENDS[case.backend].packages}
    return Sides(calls, gap, facts, {}, begin)


def _call(model: Any, x: list[Array], targets: list[Array], trained: bool) -> Callable[[], Any]:
    """Return a prediction for a batch, or a training step, whose outputs are NumPy's or a float."""
    keras: Any = import_module("keras")
    inputs = [keras.ops.convert_to_tensor(array) for array in x]
    given: Any = inputs[0] if len(inputs) == 1 else inputs
    if not trained:
        return lambda: model.predict_on_batch(given)
    wanted = [keras.ops.convert_to_tensor(array) for array in targets]
    model.compile(optimizer=keras.optimizers.SGD(_RATES[0]), loss=["mse"] * len(wanted))
    return lambda: model.train_on_batch(given, wanted[0] if len(wanted) == 1 else wanted)


def _alone(model: Any, batch: int, trained: bool) -> Callable[[], Any]:
    """Return a call that runs the transposed convolutions of a model, each on inputs of its own, and nothing else.

    In a training step each follows a factor that is trained, so that the gradient of its input is computed, too.
    """
    keras: Any = import_module("keras")
    layers = [layer for layer in model.layers if type(layer).__name__.endswith("DTranspose")]
    if not layers:
        raise UnableError("the model has no transposed convolution")
    inputs, outputs = [], []
    for layer in layers:
        inputs.append(keras.Input(layer.input.shape[1:], batch_size=batch))
        one = type(layer).from_config(layer.get_config())
        y = one(_factor(keras)(inputs[-1]) if trained else inputs[-1])
        one.set_weights(layer.get_weights())
        outputs.append(keras.ops.mean(y, axis=tuple(range(1, len(y.shape)))))
    targets = [np.zeros(batch, np.float32) for _ in layers]
    x = [_random(each.shape, number) for number, each in enumerate(inputs)]
    return _call(keras.Model(inputs, outputs), x, targets, trained)


def _factor(keras: Any) -> Any:
    class Factor(keras.layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.factor = self.add_weight(shape=(), initializer="ones")

        def call(self, x: Any) -> Any:
            return x * self.factor

    return Factor()


def _names(kind: str) -> list[str]:
    return list(KERAS_NETWORKS)


def _select(kind: str, wanted: Sequence[str]) -> list[str]:
    return [known_name(name, _names(kind), "model") for name in wanted] or _names(kind)


FRAMEWORK = Framework(
    "Keras",
    ("keras",),
    ("models", "training"),
    _names,
    _select,
    _start,
    _build,
    layouts=("last",),
    backends=tuple(_BACKENDS),
    gate=(
        "difference is of the largest output, 1e-05 is allowed; in a training step of the largest change of a weight, "
        "0.001 is allowed"
    ),
)
