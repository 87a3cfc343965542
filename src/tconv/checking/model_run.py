"""One real run of a model, beside what was read without it: shapes, agreement with the definition, and times.

The model runs in a process of its own. Errors of its runtime are a part of the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.checking.agreement import agreement_of
from tconv.checking.layer_check import LayerCheck
from tconv.checking.layer_times import timed
from tconv.checking.module_run import with_layers_run
from tconv.checking.report import Check, ModelRun
from tconv.checking.sizes import Symbols
from tconv.checking.target_answers import CUSTOM_OPERATORS
from tconv.checking.traps import contradictions, frozen_sizes
from tconv.diagnosis.networks.effective_call import own_call
from tconv.diagnosis.networks.random_inputs import feeds_for
from tconv.errors import TconvError
from tconv.models.inventory.model_layer import ModelInput, ModelInventory
from tconv.models.traces import format_of
from tconv.models.traces.process import RemoteNetwork, Workers
from tconv.models.traces.trace import Input, RunError, Step, Trace

_TRIES = 6
_MOST_NUMBERS = 1 << 28  # in all inputs together
_SEED = 0
_PACKAGES = {
    "onnx_file": ("onnxruntime",),
    "torch_file": ("torch",),
    "keras_file": ("keras",),
    "tflite_file": ("ai-edge-litert", "tensorflow-cpu", "tensorflow"),
    "ncnn_file": ("ncnn",),
}
"""Packages that run a format, by the module of `models.traces`."""


def with_run(checked: Check, model: Any, size: int | Sequence[int] | None) -> Check:
    """Return a check with the results of one run of its model; without a run, with the reason."""
    if not isinstance(model, (str, Path)):
        return timed(with_layers_run(checked, model))
    path = Path(model)
    if custom := next((layer.layer.op for layer in checked.layers if layer.layer.op in CUSTOM_OPERATORS), ""):
        reason = f"{custom} is an operator of {CUSTOM_OPERATORS[custom]} alone: the other runtimes refuse the file"
        return timed(replace(checked, run=ModelRun("", error=reason)))
    if path.is_dir():
        reason = (
            "the folder of a SavedModel is not run; its layers are timed alone. Write a .keras or .tflite file of it"
        )
        return timed(replace(checked, run=ModelRun("", error=reason)))
    try:
        name = _runtime_name(format_of(path).module)
        with Workers() as workers:
            network = workers.open(path, format_of(path).runtimes[0])
            tried = _traced(network, checked.inventory, size)
    except TconvError as error:
        return timed(replace(checked, run=ModelRun("", error=str(error))))
    checked, shapes, trace = _with_failure(checked, tried, name), tried.shapes, tried.trace
    if trace is None:
        return timed(replace(checked, run=ModelRun("", error=tried.error)))
    layers = _matched(checked.layers, trace)
    done = tuple(_with_step(layer, step, trace, name) for layer, step in layers)
    return timed(replace(checked, layers=done, run=ModelRun(name, shapes)))


def _runtime_name(module: str) -> str:
    for package in _PACKAGES.get(module, ()):
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    return _PACKAGES.get(module, (module,))[0]


class _Tried(NamedTuple):
    """Runs of a model with random inputs, until one succeeds."""

    shapes: dict[str, tuple[int, ...]]
    """Shapes of the inputs of the run that succeeded."""
    trace: Trace | None
    error: str = ""
    """First error."""
    refused: str = ""
    """Shapes that had it."""


def _traced(network: RemoteNetwork, inventory: ModelInventory | None, size: int | Sequence[int] | None) -> _Tried:
    """Return the trace of a run with random inputs that the network takes, and the first failure before."""
    error = refused = ""
    try:
        for feeds in islice(_feeds(network.inputs, inventory, size), _TRIES):
            shapes = {each.name: tuple(feed.shape) for each, feed in zip(network.inputs, feeds, strict=True)}
            try:
                return _Tried(shapes, network.trace(feeds), error, refused)
            except RunError as failure:
                error, refused = error or str(failure), refused or _listed(shapes)
    except RunError:  # the next inputs would be too large
        if not error:
            raise
    if not error:
        raise RunError("no input of the network could be made up")
    return _Tried({}, None, error, refused)


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _with_failure(checked: Check, tried: _Tried, name: str) -> Check:
    """Return a check with the trap of a run that failed, if one did for sizes of the file's own names."""
    inputs = checked.inventory.inputs if checked.inventory is not None else ()
    told = bool(inputs) and all(each.shape is not None for each in inputs)
    if not tried.error or (tried.trace is not None and not told):
        return checked
    is_chosen = not told or any(not isinstance(entry, int) for each in inputs for entry in each.shape or ())
    trap = contradictions.of_failure(name, tried.refused, tried.error, is_chosen, _listed(tried.shapes))
    layers = tuple(
        replace(layer, traps=tuple(frozen_sizes.after_failure(each, tried.error) for each in layer.traps))
        for layer in checked.layers
    )
    return replace(checked, layers=layers, file_traps=(*checked.file_traps, trap))


def _feeds(
    inputs: list[Input], inventory: ModelInventory | None, size: int | Sequence[int] | None
) -> Iterator[list[Array]]:
    """Yield random inputs to try: first with one number for each symbol of the file, then of all likely shapes."""
    named = {} if inventory is None else {each.name: each for each in inventory.inputs}
    known = [named.get(each.name) for each in inputs]
    if inventory is not None and all(each is not None and each.shape is not None for each in known):
        for trial in (size,) if size is not None else (None, 32, 256, 640):
            symbols = Symbols(inventory, trial)
            shapes = [_sizes(each, symbols) for each in known if each is not None]
            if sum(prod(shape) for shape in shapes) > _MOST_NUMBERS:
                raise RunError(
                    f"its inputs would have shapes {shapes}, too many numbers for a run. Write a smaller size"
                )
            fixed = [replace(one, shape=shape) for one, shape in zip(inputs, shapes, strict=True)]
            yield from (feeds.noise[0] for feeds in islice(feeds_for(fixed, fixed, None, _SEED), 1))
    given = None if size is None else [size] if isinstance(size, int) else list(size)
    yield from (feeds.noise[0] for feeds in feeds_for(inputs, inputs, given, _SEED))


def _sizes(given: ModelInput, symbols: Symbols) -> tuple[int, ...]:
    """Return the shape of an input in numbers. An open second axis of pictures is their channels."""
    shape = given.shape or ()
    ndim = max(1, len(shape) - 2)
    channels = 3 if len(shape) == 4 and all(not isinstance(size, int) for size in shape[1:]) else None
    chosen = symbols.given_sizes(shape)
    return tuple(
        channels if axis == 1 and channels else chosen.get(axis, symbols.value(size, ndim, axis or None))
        for axis, size in enumerate(shape)
    )


def _matched(layers: tuple[LayerCheck, ...], trace: Trace) -> list[tuple[LayerCheck, Step | None]]:
    """Return each layer with its step of the run: by name, or by order where there are as many."""
    steps = {step.name: step for step in trace.layers}
    if all(layer.name in steps for layer in layers):
        return [(layer, steps[layer.name]) for layer in layers]
    plain = [layer for layer in layers if layer.layer.form == "transposed convolution"]
    if len(plain) != len(trace.layers):
        return [(layer, steps.get(layer.name)) for layer in layers]
    ordered = dict(zip(map(id, plain), trace.layers, strict=True))
    return [(layer, ordered.get(id(layer))) for layer in layers]


def _input(step: Step, trace: Trace) -> Array | None:
    return trace.tensors.get(step.inputs[0]) if step.inputs else None


def _with_step(check: LayerCheck, step: Step | None, trace: Trace, name: str) -> LayerCheck:
    """Return a layer with the shapes and the agreement of its step."""
    if step is None or step.layer is None:
        return replace(check, notes=(*check.notes, "the run does not show this layer as a step of its own"))
    x, y = _input(step, trace), trace.tensors.get(step.outputs[0])
    call = None if x is None else own_call(step.layer, x)
    if x is None or y is None or call is None:
        return replace(check, notes=(*check.notes, "the run has no tensors of this layer"))
    try:
        agreement = agreement_of(call, np.asarray(y), name, check.layer.dtype)
    except TconvError as error:
        return replace(check, notes=(*check.notes, f"the run of this layer is not compared: {error}"))
    check = replace(check, agreement=agreement)
    traps = tuple(contradictions.of_run(check, call, agreement))
    shapes, own = check.shapes, (len(call.x), call.x.shape[1], *call.x.shape[2:])
    if shapes is not None and check.geometry is not None:
        macs = call.geometry.macs(own[2:], own[1], call.output_shape()[1], own[0])
        shapes = replace(shapes, sample_x=own, sample_y=call.output_shape(), chosen=(), source="a run")
        check = replace(check, shapes=shapes, macs=macs, nbytes=_bytes(check, shapes))
    return replace(check, traps=(*traps, *check.traps))


def _bytes(check: LayerCheck, shapes: Any) -> Any:
    if check.nbytes is None or check.shapes is None or shapes.sample_y is None or check.shapes.sample_y is None:
        return check.nbytes
    sizes = [int(np.prod(each, dtype=object)) for each in (check.shapes.sample_x, check.shapes.sample_y)]
    now = [int(np.prod(each, dtype=object)) for each in (shapes.sample_x, shapes.sample_y)]
    x, y = (b * n // max(1, s) for b, n, s in zip((check.nbytes.x, check.nbytes.y), now, sizes, strict=True))
    return replace(check.nbytes, x=x, y=y)
