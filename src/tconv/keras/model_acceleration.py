"""`accelerate` and `restore`: run the transposed convolutions of a Keras model on tconv, in place, and undo it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from tconv._arguments import shown
from tconv.acceleration.layer_choice import Choice, choose
from tconv.acceleration.paired_timing import Pairs, compare
from tconv.acceleration.report import LayerReport, Report
from tconv.errors import ArgumentError
from tconv.keras.layer_calls import (
    STOCK,
    KernelCall,
    install,
    is_installed,
    reason_against,
    sublayers,
    uninstall,
)
from tconv.keras.programs import Programs

_SECONDS = 0.5
"""Seconds of timing for each layer, and for the first look at the model."""


def accelerate(model: Any, x: Any = None) -> Report:
    """Run every transposed convolution of a Keras model on tconv, in place; it stays the same model.

    >>> import keras, tconv.keras
    >>> model = keras.Sequential([keras.Input((20, 20, 64)), keras.layers.Conv2DTranspose(32, 4, 2, "same")])
    >>> x = keras.ops.ones((1, 20, 20, 64))
    >>> before = model(x)
    >>> report = tconv.keras.accelerate(model, x)
    >>> print(report)                                        # doctest: +ELLIPSIS
    transposed convolutions take ...% of this model: at best ...x
    ...
    >>> bool(keras.ops.max(keras.ops.abs(model(x) - before)) < 1e-4)
    True
    >>> count = tconv.keras.restore(model)                   # of the layers that stayed on the kernel

    Layers at any depth are found: in nested models, of the functional, Sequential and subclassed kind, and in wrappers
    such as TimeDistributed. They keep their class, weights, names and configuration; only their call changes. Files
    that the model saves, its clones and its pickles are Keras' own and need no tconv, and `model.export` writes Keras'
    form. Functions that Keras has compiled for `fit`, `evaluate` and `predict` are compiled again. A layer with a call
    of its own is left alone and listed in the report.

    `x` is what `model.predict` takes, for one batch: an array, or a list or dict of them. With it, both forms are
    compiled as for `predict` and timed in turns, each layer in a program of its own and then the whole model. A layer
    that is not measurably faster is left to Keras, and so are all if the model with them is not. Without `x` nothing is
    timed, and every layer is replaced. If the model raises an error, or is interrupted, it stays as it was.

    Raises ArgumentError if the model is no layer or model of Keras, or x no example of at least one element.
    """
    _check_model(model, "accelerate")
    layers, left = _find_layers(model)
    before = {name for name, layer in layers.items() if is_installed(layer)}
    try:
        if x is None or not layers:
            for layer in layers.values():
                install(layer)
            entries = [_unmeasured(name, layer, "") for name, layer in layers.items()]
            report = _report(entries, left, None, None)
        else:
            report = _accelerate_measured(model, layers, left, _tensors(x))
    except BaseException:  # of the model itself, or an interrupt: it stays as it was
        for name, layer in layers.items():
            (install if name in before else uninstall)(layer)
        raise
    finally:
        _forget_programs(model)
    _export_stock(model)
    return report


def restore(model: Any) -> int:
    """Undo `accelerate`; return the number of layers that are Keras' again.

    >>> import keras, tconv.keras
    >>> model = keras.Sequential([keras.Input((8, 4)), keras.layers.Conv1DTranspose(2, 4, 2)])
    >>> report = tconv.keras.accelerate(model)
    >>> tconv.keras.restore(model), tconv.keras.restore(model)
    (1, 0)
    """
    _check_model(model, "restore")
    changed = [layer for _, layer in _walk(model) if is_installed(layer)]
    for layer in changed:
        uninstall(layer)
    vars(model).pop("export", None)
    _forget_programs(model)
    return len(changed)


def _check_model(model: Any, function: str) -> None:
    if not isinstance(model, keras.Layer):
        raise ArgumentError(
            f"model is a {type(model).__module__}.{type(model).__qualname__}; a model or layer of Keras 3 is needed. "
            f"Write tconv.keras.{function}(model)"
        )


def _walk(model: Any, prefix: str = "", known: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield each layer of a model once, with its path of names."""
    known = set() if known is None else known
    if id(model) in known:
        return
    known.add(id(model))
    yield prefix, model
    for layer in sublayers(model):
        yield from _walk(layer, f"{prefix}/{layer.name}" if prefix else layer.name, known)


def _find_layers(model: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the layers to replace by their names, and the names of others with the reason."""
    layers: dict[str, Any] = {}
    left = []
    for name, layer in _walk(model):
        if isinstance(layer, STOCK):
            if reason := reason_against(layer):
                left.append((name, reason))
            else:
                # names may repeat in subclassed models
                layers[f"{name} ({len(layers) + 1})" if name in layers else name] = layer
    return layers, left


def _tensors(x: Any) -> Any:
    """Return an example as tensors of the backend. Raises ArgumentError for what is none, as a shape."""
    if isinstance(x, (list, tuple)) and len(x) > 1 and all(isinstance(size, (int, type(None))) for size in x):
        shape = tuple(1 if size is None else size for size in x)
        raise ArgumentError(f"x is {shown(x)}, a shape; an array of it is needed. Write np.zeros({shape}, 'float32')")
    try:
        tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"x is {shown(x)}, which Keras does not take ({error}). Write what model.predict takes: an array, or a "
            "list or dict of arrays"
        ) from error
    for tensor in keras.tree.flatten(tensors):
        if 0 in (shape := tuple(tensor.shape)):
            raise ArgumentError(
                f"x has shape {shape}, without an element; there is nothing to time. Write a batch of one or more, "
                f"for example np.zeros({tuple(size or 1 for size in shape)}, 'float32'), or leave out x"
            )
    return tensors


def _forget_programs(model: Any) -> None:
    """Make Keras compile `fit`, `evaluate` and `predict` anew: compiled programs contain the calls of their time."""
    for _, layer in _walk(model):
        for name in ("train_function", "test_function", "predict_function"):
            if getattr(layer, name, None) is not None:
                setattr(layer, name, None)


def _export_stock(model: Any) -> None:
    """Let `model.export` write Keras' form, whose file needs no tconv."""
    if not hasattr(type(model), "export"):
        return

    def export(*args: Any, **kwargs: Any) -> Any:
        with _stock_form(model):
            return type(model).export(model, *args, **kwargs)

    vars(model)["export"] = export


@contextmanager
def _stock_form(model: Any) -> Iterator[None]:
    layers = [layer for _, layer in _walk(model) if is_installed(layer)]
    for layer in layers:
        uninstall(layer)
    try:
        yield
    finally:
        for layer in layers:
            install(layer)


# -- measuring ---------------------------------------------------------------------------------------------------------


class _Recorder(KernelCall):
    """Call of Keras' that notes the inputs of a layer."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self.inputs: list[tuple[tuple[Any, ...], str]] = []

    def __call__(self, inputs: Any) -> Any:
        self.inputs.append((tuple(inputs.shape), keras.backend.standardize_dtype(inputs.dtype)))
        return type(self._layer).call(self._layer, inputs)


def _observe(model: Any, layers: dict[str, Any], x: Any) -> dict[str, list[tuple[tuple[Any, ...], str]]]:
    """Return shape and dtype of the inputs of every call of the layers in one pass, by the layers' names."""
    recorders = {name: _Recorder(layer) for name, layer in layers.items()}
    for name, layer in layers.items():
        vars(layer)["call"] = recorders[name]
    try:
        model(x)
    finally:
        for layer in layers.values():
            uninstall(layer)
    return {name: recorder.inputs for name, recorder in recorders.items()}


def _accelerate_measured(model: Any, layers: dict[str, Any], left: list[tuple[str, str]], x: Any) -> Report:
    calls = _observe(model, layers, x)
    reached = {name: layer for name, layer in layers.items() if calls[name] and _are_known(calls[name])}
    choice = _choose(model, reached, calls, x) if reached else None
    entries = []
    for name, layer in layers.items():
        if choice is not None and name in reached:
            entries.append(_measured(name, layer, calls[name][0], choice))
        else:
            uninstall(layer)
            entries.append(_unmeasured(name, layer, "the example does not reach it"))
    gone = [] if choice is None else list(choice.left.items())
    return _report(entries, [*left, *gone], choice, None if choice is None else choice.pairs.seconds()[0])


def _are_known(inputs: list[tuple[tuple[Any, ...], str]]) -> bool:
    return all(isinstance(size, int) for shape, _ in inputs for size in shape)


def _choose(model: Any, layers: dict[str, Any], calls: dict[str, Any], x: Any) -> Choice:
    programs = Programs(model, layers.values(), x)
    whole = compare(programs.prepare, programs.run, programs, {}, seconds=_SECONDS, least=3, most=100)
    pairs = Pairs(whole.model, {}, {})
    for name, layer in layers.items():
        times = np.zeros((1, 2))
        for (shape, dtype), count in _counted(calls[name]).items():
            array = np.random.default_rng(0).standard_normal(shape, np.float32)
            alone = Programs(layer, [layer], keras.ops.cast(keras.ops.convert_to_tensor(array), dtype))
            found = compare(alone.prepare, alone.run, alone, {}, seconds=_SECONDS, least=6, most=200).model
            fewer = min(len(times) if len(times) > 1 else math.inf, len(found))
            times = times[: int(fewer)] + count * np.asarray(found[: int(fewer)])
        pairs.layers[name] = [(float(stock), float(ours)) for stock, ours in times]
        pairs.stock[name] = [float(stock) for stock, _ in times]

    def leave(name: str) -> None:
        uninstall(layers[name])

    clocked = {name: [layer] for name, layer in layers.items()}
    return choose(programs.prepare, programs.run, programs, clocked, {}, leave, pairs)


def _counted(inputs: list[Any]) -> dict[Any, int]:
    return {each: inputs.count(each) for each in inputs}


# -- the report --------------------------------------------------------------------------------------------------------


def _report(entries: list[LayerReport], left: list[tuple[str, str]], choice: Choice | None, seconds: Any) -> Report:
    gain = None if choice is None else choice.gain
    names = {"framework": "Keras", "call": "tconv.keras.accelerate"}
    return Report(tuple(entries), tuple(left), seconds, gain=gain, **names)  # type: ignore[arg-type]


def _unmeasured(name: str, layer: Any, reason: str) -> LayerReport:
    method = "keras" if reason else "tconv"
    return LayerReport(name, type(layer).__qualname__, None, None, method, (reason,) if reason else (), None)


def _measured(name: str, layer: Any, first: Any, choice: Choice) -> LayerReport:
    stock, ours = choice.pairs.seconds(name)
    shape, dtype = first
    method, gain = "tconv", stock / max(ours, 1e-12)
    if name in choice.left:
        method, gain = "keras", 1.0
    reasons = ("measured",) if name in choice.left else ()
    kind, layout = type(layer).__qualname__, layer.data_format.replace("_", " ")
    return LayerReport(name, kind, shape, stock, method, reasons, gain, dtype, layout)
