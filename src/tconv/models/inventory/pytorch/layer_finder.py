"""Transposed convolutions of a program of PyTorch's calls, with their weights and neighbours.

The decompositions of `pixel_shuffle` behind a convolution (view, permute, view) are found, too.
"""

from __future__ import annotations

from typing import Any

from tconv.errors import FileError
from tconv.models.inventory.model_layer import (
    MOST_AFTER,
    MOST_BEFORE,
    ModelInventory,
    ModelLayer,
    Neighbour,
    Size,
    StoredArray,
)
from tconv.models.inventory.other_forms import of_zero_insertion
from tconv.models.inventory.pytorch.constant_folding import FoldedConstants
from tconv.models.inventory.pytorch.dataflow import Dataflow
from tconv.models.inventory.pytorch.inserted_zeros import zeros_before
from tconv.models.inventory.pytorch.program import AtenCall, Program, Value, place_of, values_in
from tconv.models.inventory.pytorch.shuffled_convolution import (
    is_ordinary,
    ordinary_convolution,
    shuffle_behind,
    shuffled_layer,
)
from tconv.models.inventory.pytorch.tensors import plain_type

_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_GENERAL = ("convolution", "_convolution", "convolution_overrideable")
_NAMES = ("stride", "padding", "output_padding", "groups", "dilation")
_DEFAULTS = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1}


def inventory_of_program(program: Program, source: str, kind: str, producer: str, version: str) -> ModelInventory:
    """Return the inventory of a program."""
    finder = _Finder(program)
    return ModelInventory(
        source,
        kind,
        tuple(finder.layers()),
        producer,
        version,
        tuple(program.inputs),
        tuple(program.outputs),
        program.operations(),
        tuple(dict.fromkeys(program.limitations)),
    )


def base(op: str) -> str:
    """Return the name of an operation without its namespace: "conv_transpose2d"."""
    return op.rpartition(".")[2]


def is_transposed(call: AtenCall) -> bool:
    """Return True for a call that is a transposed convolution."""
    return base(call.op) in _TRANSPOSED or (base(call.op) in _GENERAL and call.arguments.get("transposed") is True)


class _Finder:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._constants = FoldedConstants(program)
        self._flow = Dataflow(program, self._constants)

    def layers(self) -> list[ModelLayer]:
        found = []
        for number, call in enumerate(self._program.calls):
            shuffle = None if is_transposed(call) else shuffle_behind(call, self._flow)
            if is_transposed(call):
                found.append(self._layer(number, call))
            elif shuffle is not None:
                around = self._around(call, shuffle.last)
                found += shuffled_layer(number, call, shuffle, self._constants, self._program, around)
            else:
                found += self._zero_inserted(number, call)
        return found

    def _layer(self, number: int, call: AtenCall) -> ModelLayer:
        limits: list[str] = []
        weight = self._array(call.arguments.get("weight"), "weight", limits)
        bias = self._array(call.arguments.get("bias"), "bias", limits)
        ndim = self._ndim(call, weight)
        arguments, origin = self._arguments(call, ndim, limits)
        source, output = call.arguments.get("input"), call.outputs[0]
        name = source.name if isinstance(source, Value) else ""
        before, after = self._around(call, call)
        return ModelLayer(
            call.module or output,
            place_of(number, call, self._program),
            call.op,
            "torch",
            arguments,
            weight,
            bias,
            input_shape=self._shape(name),
            output_shape=self._shape(output),
            dtype=self._dtype(call, weight),
            before=before,
            after=after,
            crop_origin=origin,
            limitations=tuple(limits),
            location={"node": number, "output": output, "module": call.module, "graph": call.graph},
        )

    def _zero_inserted(self, number: int, call: AtenCall) -> list[ModelLayer]:
        """Return the layer of a convolution on an input with zeros inserted; none for any other call."""
        if not is_ordinary(call) or not isinstance(call.arguments.get("input"), Value):
            return []
        limits: list[str] = []
        try:
            weight = self._array(call.arguments.get("weight"), "weight", limits)
            ndim = 0 if weight is None else len(weight.shape) - 2
            zeros = None if ndim < 1 else zeros_before(call, ndim, self._flow, self._program)
            if weight is None or zeros is None:
                return []
            bias = self._array(call.arguments.get("bias"), "bias", limits)
            made = of_zero_insertion(ordinary_convolution(call, weight, bias), zeros.strides, zeros.pads)
        except FileError:
            return []
        source = zeros.first.arguments.get("self")
        before, after = self._around(zeros.first, call)
        return [
            ModelLayer(
                call.module or call.outputs[0],
                place_of(number, call, self._program),
                f"{call.op} on inserted zeros",
                "torch",
                made.arguments,
                made.weight,
                made.bias,
                form="zero insertion and convolution",
                input_shape=self._shape(source.name) if isinstance(source, Value) else None,
                output_shape=self._shape(call.outputs[0]),
                dtype=self._dtype(call, weight),
                before=before,
                after=after,
                crop_origin="padding of the convolution",
                limitations=(*limits, *made.limitations),
                location={"node": number, "output": call.outputs[0], "module": call.module, "graph": call.graph},
            )
        ]

    def _array(self, argument: Any, role: str, limits: list[str]) -> StoredArray | None:
        """Return a weight or bias; None, with a sentence in `limits`, for one that depends on the model's input."""
        if argument is None:
            return None
        try:
            found = self._constants.get(argument.name) if isinstance(argument, Value) else None
        except FileError as error:
            limits.append(f"Its {role} cannot be computed: {error}.")
            return None
        if found is None and isinstance(argument, Value) and argument.name in self._program.absent:
            limits.append(self._program.absent[argument.name])
        elif found is None:
            made = self._flow.made_by.get(argument.name) if isinstance(argument, Value) else None
            how = f"computed by {made.op} when the model runs" if made is not None else "an input of the model"
            limits.append(f"Its {role} is {how}.")
        return found

    def _ndim(self, call: AtenCall, weight: StoredArray | None) -> int | None:
        if weight is not None:
            return len(weight.shape) - 2
        if base(call.op) in _TRANSPOSED:
            return int(base(call.op)[-2])
        strides = call.arguments.get("stride")
        return len(strides) if isinstance(strides, list) else None

    def _arguments(self, call: AtenCall, ndim: int | None, limits: list[str]) -> tuple[dict[str, Any], str]:
        """Return PyTorch's arguments, and the source of the crop."""
        found: dict[str, Any] = {}
        for name in _NAMES:
            value = call.arguments.get(name, _DEFAULTS[name])
            if any(True for _ in values_in(value)) or value is None:
                text = _text(value)
                limits.append(
                    f"Its {name} is computed when the model runs{f' ({text})' if text else ''}; {_DEFAULTS[name]} is "
                    "shown."
                )
                value = _DEFAULTS[name]
            if isinstance(value, (list, tuple)):
                value = list(value) * (ndim if ndim and len(value) == 1 else 1)
            found[name] = value
        given = "output_padding" in call.arguments and any(True for _ in values_in(call.arguments["output_padding"]))
        extra = found["output_padding"]
        is_extended = any(extra) if isinstance(extra, list) else bool(extra)
        if given:
            return found, "padding and output_size"
        if call.frozen:
            limits.append(
                f"Its output_padding, {extra}, was computed from output_size when the model was traced; other input "
                "sizes get the same."
            )
            return found, "padding and a frozen output_padding"
        return found, "padding and output_padding" if is_extended else "padding"

    def _shape(self, name: str) -> tuple[Size, ...] | None:
        meta = self._program.metas.get(name)
        return None if meta is None else meta.shape

    def _dtype(self, call: AtenCall, weight: StoredArray | None) -> str:
        """Return the type of the output; "int8" between a dequantization of x and a quantization of y."""
        meta = self._program.metas.get(call.outputs[0])
        dtype = (meta.dtype if meta is not None else "") or (weight.dtype if weight is not None else "float32")
        if weight is None or weight.quantization is None:
            return plain_type(dtype)
        if call.op.startswith("quantized."):
            return weight.quantization.dtype
        source = call.arguments.get("input")
        made = self._flow.made_by.get(source.name) if isinstance(source, Value) else None
        readers = self._flow.readers(call.outputs[0])
        quantized = made is not None and base(made.op).startswith("dequantize")
        quantized = quantized and bool(readers) and all(base(each.op).startswith("quantize") for each in readers)
        return weight.quantization.dtype if quantized else plain_type(dtype)

    def _around(self, first: AtenCall, last: AtenCall) -> tuple[tuple[Neighbour, ...], tuple[Neighbour, ...]]:
        before = tuple(self._neighbour(call) for call in self._flow.before(first, MOST_BEFORE))
        after = tuple(self._neighbour(call) for call in self._flow.after(last, MOST_AFTER))
        return before, after

    def _neighbour(self, call: AtenCall) -> Neighbour:
        attributes: dict[str, Any] = {}
        constants: dict[str, StoredArray] = {}
        inputs: list[str] = []
        for role, argument in call.arguments.items():
            values = list(values_in(argument))
            if not any(value.name for value in values):
                attributes[role] = _text(argument) if values else argument
                continue
            for place, value in enumerate(values):
                try:
                    array = self._constants.get(value.name) if value.name in self._constants else None
                except FileError:
                    array = None
                if array is not None:
                    constants[role if len(values) == 1 else f"{role}[{place}]"] = array
                else:
                    inputs.append(value.name)
        return Neighbour(
            call.op, call.outputs[0] if call.outputs else "", attributes, constants, tuple(inputs), call.outputs
        )


def _text(argument: Any) -> str:
    """Return the expressions of an argument, "" if one is unknown."""
    parts = argument if isinstance(argument, (list, tuple)) else [argument]
    texts = [part.expression if isinstance(part, Value) else str(part) for part in parts]
    return ", ".join(texts)[:120] if all(texts) else ""
