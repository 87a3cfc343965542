"""Both forms of a model as programs of Keras' backend: compiled by TensorFlow and JAX, as `predict` runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras

from tconv.keras.layer_calls import install, uninstall


class Programs:
    """A model or a layer, and one argument, in two forms that take turns: Keras', and with layers on the kernel."""

    def __init__(self, model: Any, layers: Iterable[Any], x: Any) -> None:
        self._model, self._x = model, x
        self._layers = {id(layer): layer for layer in layers}
        self._ours = True
        self._programs: dict[bool, Callable[[Any], Any]] = {}

    def take(self, ours: bool) -> None:
        """Put the model into tconv's form, or Keras'."""
        self._ours = ours
        for layer in self._layers.values():
            (install if ours else uninstall)(layer)

    def remove(self, module: Any) -> None:
        """Leave a layer as it is: tconv's form is compiled again."""
        self._layers.pop(id(module), None)
        self._programs.pop(True, None)

    def prepare(self) -> None:
        """Compile the present form, if that has not been done."""
        if self._ours not in self._programs:
            self._programs[self._ours] = program(self._model)
            self.run()

    def run(self) -> Any:
        """Run the present form to its end, and return its output."""
        return self._programs[self._ours](self._x)


def program(model: Any) -> Callable[[Any], Any]:
    """Return a model or layer as a function of its first argument, in inference, that waits for its result."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow

        # the option that `predict` uses; on the CPU it is False unless the model was compiled with it
        call = tensorflow.function(lambda x: model(x), jit_compile=getattr(model, "jit_compile", False) is True)
        return lambda x: call(x)
    if backend == "jax":
        import jax

        stateless = jax.jit(lambda trained, others, x: model.stateless_call(trained, others, x)[0])
        trained = [variable.value for variable in model.trainable_variables]
        others = [variable.value for variable in model.non_trainable_variables]
        return lambda x: jax.block_until_ready(stateless(trained, others, x))
    if backend == "torch":
        import torch

        def run(x: Any) -> Any:
            with torch.no_grad():
                return model(x)

        return run
    return lambda x: model(x)
