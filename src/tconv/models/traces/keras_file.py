"""Reader of Keras models: every call of a layer or operation is recorded.

The activation that a transposed convolution includes becomes a step of its own.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.traces.trace import Input, LayerCall, Recorder, RunError, Trace, plain, reason

_BACKENDS = ("tensorflow", "jax", "torch")


def open_network(path: Path, runtime: str) -> KerasFile:
    """Return the model in a .keras or .h5 file; `runtime` is the backend, "" the user's own. Raises FileError."""
    if not importlib.util.find_spec("keras"):
        raise FileError(f"{path.name} needs keras, which is not installed. Write: pip install keras, and a backend")
    installed = [name for name in _BACKENDS if importlib.util.find_spec(name)]
    if runtime and runtime not in installed:
        raise RunError(f"Keras' backend {runtime} is not installed")
    try:
        keras = _imported(runtime, installed)
    except ImportError as error:
        raise FileError(
            f"{path.name} needs keras with a backend, and none can be imported ({str(error)[:100]}). "
            "Write: pip install keras torch, and set KERAS_BACKEND=torch"
        ) from None
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        raise FileError(f"{path} is not a Keras model: {reason(error, 200)}. Write model.save('model.keras')") from None
    return KerasFile(keras, model)


def _imported(runtime: str, installed: list[str]) -> Any:
    """Return Keras with this backend; for "" with the user's, or the first one that is installed."""
    given = runtime or os.environ.get("KERAS_BACKEND", "")
    if not given and not (Path.home() / ".keras" / "keras.json").exists() and installed:
        given = installed[0]
    if given and (runtime or given in installed):
        os.environ["KERAS_BACKEND"] = given
    elif given and installed:
        os.environ["KERAS_BACKEND"] = installed[0]
    import keras

    return keras


class KerasFile:
    """A Keras model."""

    def __init__(self, keras: Any, model: Any) -> None:
        self._keras, self._model = keras, model
        layout = keras.config.image_data_format().removeprefix("channels_")
        for layer in model._flatten_layers():
            layout = str(getattr(layer, "data_format", None) or layout).removeprefix("channels_")
            if hasattr(layer, "data_format"):
                break
        given = self._structure()
        if given is None:
            built = model.get_build_config() if hasattr(model, "get_build_config") else None
            shape = (built or {}).get("input_shape")
            self.inputs = [Input("x", tuple(shape) if isinstance(shape, (tuple, list)) else None, "float32", layout)]
        else:
            self.inputs = [
                Input(each.name, tuple(each.shape), str(each.dtype), layout) for each in keras.tree.flatten(given)
            ]

    def _structure(self) -> Any:
        """Return the symbolic inputs as they are nested; None for a model without."""
        inputs = getattr(self._model, "_inputs_struct", None)
        return inputs if inputs is not None else getattr(self._model, "inputs", None)

    def run(self, feeds: list[Array]) -> list[Array]:
        """Return the outputs, those of lists and dictionaries one after another."""
        return self._outputs(self._call([self._keras.ops.convert_to_tensor(feed) for feed in feeds]))

    def _outputs(self, result: Any) -> list[Array]:
        arrays = [plain(self._keras.ops.convert_to_numpy(each)) for each in self._keras.tree.flatten(result)]
        return [array for array in arrays if array is not None]

    def _call(self, tensors: list[Any]) -> Any:
        given = self._structure()
        nested = tensors[0] if given is None or len(tensors) == 1 else self._keras.tree.pack_sequence_as(given, tensors)
        try:
            return self._model(nested, training=False)
        except Exception as error:  # each backend has its own types
            raise RunError(f"the backend {self._keras.backend.backend()} fails: {reason(error)}") from None

    def trace(self, feeds: list[Array]) -> Trace:
        """Return outputs, steps and tensors."""
        watcher = _Watcher(self._keras)
        tensors = [self._keras.ops.convert_to_tensor(feed) for feed in feeds]
        for tensor in tensors:
            watcher.number(tensor)
        with watcher.patched():
            result = self._call(tensors)
        return watcher.recorder.finish(self._outputs(result))


class _Watcher:
    """Recorder of the calls of layers that contain no other layers."""

    def __init__(self, keras: Any) -> None:
        self._keras, self.recorder = keras, Recorder()
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []  # so that no id is used again
        self._calls = 0
        self._inside = False

    def number(self, tensor: Any, keep: bool = False) -> int:
        """Return the number of a new tensor."""
        number = self.recorder.tensor(self._keras.ops.convert_to_numpy(tensor), keep)
        self._numbers[id(tensor)] = number
        self._alive.append(tensor)
        return number

    def patched(self) -> Any:
        """Return a context in which Keras' operations are recorded."""
        from unittest.mock import patch

        own = self._keras.Operation.__call__
        watcher = self

        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            return watcher._call(lambda *a, **k: own(operation, *a, **k), operation, args, kwargs)

        return patch.object(self._keras.Operation, "__call__", call)

    def _call(self, own: Callable[..., Any], operation: Any, args: Any, kwargs: Any) -> Any:
        self._calls += 1
        if self._inside:
            return own(*args, **kwargs)
        before, whole = self._calls, _is_layer(operation)
        self._inside = whole
        try:
            result = own(*args, **kwargs)
        finally:
            self._inside = False
        if whole or self._calls == before:
            self._record(operation, list(self._tensors([args, kwargs])), list(self._tensors(result)))
        return result

    def _tensors(self, nested: Any) -> Iterator[Any]:
        for each in self._keras.tree.flatten(nested):
            if self._keras.ops.is_tensor(each) and not isinstance(each, self._keras.Variable):
                yield each

    def _record(self, operation: Any, given: list[Any], results: list[Any]) -> None:
        if not given or all(id(each) in self._numbers for each in results):  # InputLayer, Dropout
            return
        kind = type(operation).__name__
        inputs = [self._numbers.get(id(each), -1) for each in given]
        inputs = [self.number(each) if known < 0 else known for known, each in zip(inputs, given, strict=True)]
        if not _is_layer(operation):
            self.recorder.step(operation.name, kind, inputs, [self.number(each) for each in results])
            return
        layer, raw, ending = _layer(self._keras, operation, given)
        with_activation = bool(ending)
        first = self.number(raw if with_activation else results[0], True)
        self.recorder.step(operation.name, kind, inputs[:1], [first], layer)
        if with_activation:
            self.recorder.step(operation.name, ending, [first], [self.number(results[0])])


def _is_layer(operation: Any) -> bool:
    name = type(operation).__name__
    return name in ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "ConvTranspose") or any(
        base.__name__ == "BaseConvTranspose" for base in type(operation).__mro__
    )


def _layer(keras: Any, operation: Any, given: list[Any]) -> tuple[LayerCall, Any, str]:
    """Return a layer's call, its output before its activation, and the name of the activation, "" for none."""

    def listed(value: Any) -> Any:
        return list(value) if isinstance(value, (tuple, list)) else value

    arguments = {name: listed(getattr(operation, name)) for name in ("strides", "padding", "output_padding")}
    arguments["dilation_rate"] = listed(operation.dilation_rate)
    arguments["data_format"] = operation.data_format or keras.config.image_data_format()
    if not hasattr(operation, "kernel"):  # keras.ops.conv_transpose
        return LayerCall("keras", arguments, keras.ops.convert_to_numpy(given[1]), None), None, ""
    bias = None if operation.bias is None else keras.ops.convert_to_numpy(operation.bias)
    layer = LayerCall("keras", arguments, keras.ops.convert_to_numpy(operation.kernel), bias)
    activation = operation.activation
    if activation is None or activation is keras.activations.linear:
        return layer, None, ""
    operation.activation = None
    try:
        raw = operation.call(given[0])
    finally:
        operation.activation = activation
    return layer, raw, str(getattr(activation, "__name__", None) or type(activation).__name__)
