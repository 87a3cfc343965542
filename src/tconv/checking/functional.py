"""`check`: every transposed convolution of a model file explained, and the places where it will go wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.checking import traps
from tconv.checking.facts import facts_from
from tconv.checking.framework_code import native_layers
from tconv.checking.layer_check import Bytes, LayerCheck, TargetAnswer
from tconv.checking.layer_reading import ReadLayer, read_layer
from tconv.checking.report import Check
from tconv.checking.size_sources import output_name, sources
from tconv.checking.sizes import Symbols, checked_size
from tconv.checking.target_answers import answer_of, targets_named
from tconv.checking.traps.trap_context import TrapContext
from tconv.checking.weight_numbers import checkerboard_verdict, weight_statistics
from tconv.models.inventory import inventory_of
from tconv.models.inventory.model_layer import ModelInventory

_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1, "int16": 2, "int32": 4}


def check(
    model: Any,
    *,
    target: str | Sequence[str] | None = None,
    run: bool = False,
    size: int | Sequence[int] | None = None,
) -> Check:
    """Return what a model does with transposed convolutions, and where each will go wrong. `print` it.

    >>> import tconv
    >>> print(tconv.check("decoder.onnx", target="ethos-u"))               # doctest: +SKIP
    >>> tconv.check("decoder.onnx").facts()["layers"][0]["macs"]           # doctest: +SKIP

    `model` is the path of a .onnx (with external data, too), .pt2, TorchScript, .keras, .tflite or ncnn .param file or
    of a SavedModel's folder, or in memory an `nn.Module`, a TorchScript module or an exported program. The file is read
    without running it, or any code in it.

    For each layer: its geometry and where the crop came from, its shapes, multiply-adds and bytes, the checkerboard
    score of its weight, the same layer in five frameworks, and its traps: each with the runtimes and versions that are
    hit, a source, and what to write instead. `target` is the name of a runtime or chip, or several, or a .toml file:
    the limits that each layer breaks there, in numbers. Sizes that the file leaves open are chosen, and the report says
    so; `size` chooses them: one number, or one for each open axis of the input.

    With `run`, the model runs once on its own runtime, if that is installed, with random input: every layer is compared
    with `conv_transpose`, and timed beside the least time that this machine needs for its arithmetic and bytes. The
    layers of an `nn.Module` run alone, for it does not say what input it takes. Errors of runtimes are reported,
    not raised.

    Raises FileError for a file that does not exist, is damaged or of no known format; MissingExtraError without the
    package that reads it; ArgumentError for a size or target that does not exist.
    """
    sizes, targets = checked_size(size), targets_named(target)
    inventory = inventory_of(model)
    checked = check_inventory(inventory, targets=targets, size=sizes)
    if not run:
        return checked
    from tconv.checking.model_run import with_run  # a check without a run needs no worker

    return with_run(checked, model, sizes)


def check_inventory(
    inventory: ModelInventory, *, targets: Sequence[Any] = (), size: int | Sequence[int] | None = None
) -> Check:
    """Return the check of a model whose layers are read already, for these targets."""
    symbols = Symbols(inventory, size)
    layers = tuple(_layer(each, inventory, targets) for each in _read(inventory, symbols))
    return Check(
        inventory.source,
        inventory.format,
        layers,
        inventory.producer,
        inventory.version,
        tuple(traps.of_file(inventory)),
        tuple(each.name for each in targets),
        notes=inventory.limitations + _unused(size, symbols, layers),
        inventory=inventory,
    )


def _read(inventory: ModelInventory, symbols: Symbols) -> Iterator[ReadLayer]:
    """Yield the layers as they are read; sizes that the file does not tell follow from the layers before."""
    outputs: dict[str, tuple[int, ...]] = {}
    for layer in inventory.layers:
        sizes = [outputs[name] for name in sources(layer) if name in outputs]
        if sizes:
            symbols.follow(layer, sizes[0])
        read = read_layer(layer, symbols)
        name = output_name(layer)
        if name and read.shapes is not None and read.shapes.sample_y is not None:
            outputs[name] = read.shapes.sample_y[2:]
        yield read


def _unused(size: int | Sequence[int] | None, symbols: Symbols, layers: Sequence[LayerCheck]) -> tuple[str, ...]:
    """Return the note about a size that no open size of the model took."""
    if symbols.is_size_used or not layers:
        return ()
    given = size if isinstance(size, int) else ", ".join(map(str, size or ()))
    return (f"the size {given} has no effect: no input or layer has as many open sizes",)


def _layer(read: ReadLayer, inventory: ModelInventory, targets: Sequence[Any]) -> LayerCheck:
    layer, g, notes = read.layer, read.geometry, [*read.layer.limitations, *read.notes]
    weight = _weight(read, notes)
    statistics = None if weight is None else weight_statistics(weight, g.groups if g is not None else 1)
    found = LayerCheck(
        layer, g, read.in_channels, read.out_channels, read.shapes, statistics=statistics, read_weight=read.weight
    )
    if g is not None and read.shapes is not None:
        found = replace(
            found,
            macs=_macs(read),
            nbytes=_bytes(read),
            checkerboard=checkerboard_verdict(weight, g, statistics),
            calls=native_layers(g, read.shapes.sample_x[2:]),
        )
        if read.shapes.sample_y is None and not read.refusal:
            notes.append(f"x of {read.shapes.sample_x[2:]} leaves nothing of the output")
    facts = facts_from(read)
    answers: dict[str, TargetAnswer] = {each.name: answer_of(read, facts, each) for each in targets}
    context = TrapContext(inventory, read, found, facts, weight)
    return replace(found, traps=tuple(traps.of_layer(context)), targets=answers, notes=tuple(notes))


def _weight(read: ReadLayer, notes: list[str]) -> Array | None:
    """Return the weight in canonical order; None, with a note, if its numbers cannot be read."""
    try:
        return read.weight()
    except Exception as error:  # a constant is read late, and a damaged file fails here in the words of its reader
        notes.append(f"its weight cannot be read: {str(error)[:200]}")
        return None


def _macs(read: ReadLayer) -> Any:
    shapes, g = read.shapes, read.geometry
    if g is None or shapes is None or shapes.sample_y is None:
        return None
    return g.macs(shapes.sample_x[2:], shapes.sample_x[1], shapes.sample_y[1], shapes.sample_x[0])


def _bytes(read: ReadLayer) -> Bytes | None:
    shapes, weight = read.shapes, read.layer.weight
    if shapes is None or shapes.sample_y is None or weight is None:
        return None
    each = _BYTES.get(read.layer.dtype, 4)
    x, y = (each * int(np.prod(sizes, dtype=object)) for sizes in (shapes.sample_x, shapes.sample_y))
    used = _BYTES.get(weight.dtype, 4) * int(np.prod(weight.shape, dtype=object))
    return Bytes(used, x, y, weight.nbytes)
