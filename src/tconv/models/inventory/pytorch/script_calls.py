"""Calls of PyTorch's operations in TorchScript's code, and the values that they return."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tconv.errors import FileError
from tconv.models.inventory.model_layer import ModelInput
from tconv.models.inventory.pytorch.program import AtenCall, Meta, Program, Value, values_in
from tconv.models.inventory.pytorch.script_builtins import expression, known_result
from tconv.models.inventory.pytorch.script_values import Dotted, Number, Packed, Raised, ScriptObject, is_known
from tconv.models.inventory.pytorch.signatures import named
from tconv.models.inventory.pytorch.tensors import SCALAR_TYPES, Tensor

_SIZES = ("size", "dim", "numel", "len", "shape", "is_floating_point", "device", "dtype", "layout", "ndimension")
_PACKED = ("weight", "bias", "stride", "padding", "output_padding", "dilation", "groups")
_MOST_OUTPUTS = 1000
_MOST_VALUES = 5_000_000


class ScriptCalls:
    """Writer of the program: one call after another, each with a new name for its result."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.module = ""
        """Name of the module whose code is read."""
        self._place = ""
        self._left = _MOST_VALUES
        self._current: dict[str, str] = {}
        self._unused: dict[str, bool] = {}
        self._read: dict[ast.FunctionDef, set[str]] = {}

    def spend(self, count: int = 1) -> None:
        """Count values that are read or copied. Raises FileError for far more than a model has."""
        self._left -= count
        if self._left < 0:
            raise FileError(f"its code reads more than {_MOST_VALUES} values")

    def _spend_on(self, values: list[Any]) -> None:
        """Count values, those in lists too: lists of lists that share their parts grow without end."""
        waiting: list[Any] = [values]
        while waiting:
            self.spend()
            value = waiting.pop()
            if isinstance(value, (list, tuple)):
                waiting.extend(value)

    def inputs(self, names: list[str], values: list[Any]) -> list[ModelInput]:
        """Return records of inputs or outputs that are tensors; TorchScript has no sizes of them."""
        return [ModelInput(name, None) for name, value in zip(names, values, strict=True) if isinstance(value, Value)]

    def constant(self, name: str, tensor: Tensor) -> Value:
        """Return the value of a tensor of the file."""
        if name not in self._program.constants:
            array = tensor.array()
            self._program.constants[name] = array
            self._program.metas[name] = Meta(array.shape, array.dtype)
        return Value(name)

    @contextmanager
    def inside(self, place: str) -> Iterator[None]:
        """Name the place of the calls that follow."""
        before, self._place = self._place, self._place or place
        try:
            yield
        finally:
            self._place = before

    def tensors(self, value: Any) -> list[str]:
        """Return the names of the tensors in a value."""
        return list(dict.fromkeys(each.name for each in values_in(self._resolved(value))))

    def note_unused(self, definition: ast.FunctionDef, path: str, positional: list[Any]) -> None:
        """Note that a traced layer is given an output_size that its code does not read, so it is frozen."""
        if definition not in self._read:
            self._read[definition] = {node.id for node in ast.walk(definition) if isinstance(node, ast.Name)}
        read = self._read[definition]
        arguments = [argument.arg for argument in definition.args.args[2:]]
        self._unused[path] = any(
            name not in read and value is not None for name, value in zip(arguments, positional[2:], strict=False)
        )

    # -- operations ---------------------------------------------------------------------------------------------------

    def function(self, name: str, positional: list[Any], keywords: dict[str, Any]) -> Any:
        """Return the result of a function "torch.conv2d" or "ops.quantized.add"."""
        space, _, last = name.rpartition(".")
        if last == "RaiseException":
            raise Raised
        if last == "append":
            return known_result(last, positional)[1]
        values = [*positional, *keywords.values()]
        self._spend_on(values)
        if not any(True for _ in values_in(values)) and not any(
            isinstance(value, (Packed, ScriptObject)) for value in values
        ):
            try:
                found, result = known_result(last, positional)
            except (ArithmeticError, TypeError, ValueError, IndexError, AttributeError):
                found, result = True, Number()
            if found:
                return result
            if last not in ("zeros", "ones", "full", "rand", "randn", "empty", "arange", "tensor", "eye", "linspace"):
                return Number(expression(last, positional))
        if last in ("__is__", "__isnot__", "len", "list", "slice"):
            found, result = known_result(last, positional)
            if found:
                return result
        if last in _SIZES and space in ("torch", "ops.prim"):
            return self._size(last, positional)
        if last == "NumToTensor":
            return positional[0]
        label = {"torch": "aten"}.get(space, space.removeprefix("ops."))
        if label == "quantized" and "conv_transpose" in last and last.endswith("_prepack"):
            return Packed(dict(zip(_PACKED, positional, strict=False)))
        return self.call(f"{label}.{last}", positional, keywords)

    def call(self, op: str, positional: list[Any], keywords: dict[str, Any]) -> Value:
        """Add a call and return its result."""
        last = op.rpartition(".")[2]
        packed = next((each for each in positional if isinstance(each, Packed)), None)
        if packed is not None:
            scale = dict(zip(("output_scale", "output_zero_point"), positional[2:], strict=False))
            arguments = {"input": positional[0], **packed.arguments, **scale}
        elif op.startswith("aten."):
            arguments = named(last, positional, keywords)
        else:
            arguments = {**{str(at): each for at, each in enumerate(positional)}, **keywords}
        if last in ("to", "quantize_per_tensor", "quantize_per_channel"):
            arguments = self._typed(last, arguments, positional)
        plain = {name: self._plain(value) for name, value in arguments.items()}
        frozen = "output_padding" in plain and self._unused.get(self.module, False)
        output = f"{last.strip('_')}_{len(self._program.calls)}"
        module = self.module.partition(".parametrizations")[0]
        self._program.calls.append(AtenCall(op, plain, (output,), module, self._place, frozen))
        if last.endswith("_") and not last.endswith("__") and positional and isinstance(positional[0], Value):
            self._current[positional[0].name] = output
        return Value(output)

    def _typed(self, op: str, arguments: dict[str, Any], positional: list[Any]) -> dict[str, Any]:
        """Return arguments with the name of the type in place of its number."""
        numbers = [value for value in positional[1:] if type(value) is int and value in SCALAR_TYPES]
        if op != "to":
            return {**arguments, "dtype": SCALAR_TYPES.get(numbers[-1], "?") if numbers else "?"}
        return {"self": positional[0], "dtype": SCALAR_TYPES[numbers[0]] if numbers else None}

    def _plain(self, value: Any) -> Any:
        """Return an argument without objects of the script."""
        value = self._resolved(value)
        if isinstance(value, (list, tuple)):
            return [self._plain(part) for part in value]
        if isinstance(value, Number):
            return Value("", value.expression)
        if isinstance(value, Value) or is_known(value):
            return value
        return value.name if isinstance(value, Dotted) else None

    def _resolved(self, value: Any) -> Any:
        """Return a value whose tensors have the names of their last change in place."""
        self.spend()
        if isinstance(value, (list, tuple)):
            return [self._resolved(part) for part in value]
        seen = 0
        while isinstance(value, Value) and value.name in self._current and seen < _MOST_OUTPUTS:
            value, seen = Value(self._current[value.name]), seen + 1
            self.spend()
        return value

    def _size(self, name: str, positional: list[Any]) -> Number:
        source = positional[0]
        text = source.name if isinstance(source, Value) else ""
        if name == "size" and len(positional) == 2 and text:
            return Number(f"size({text}, {positional[1]})")
        return Number(f"{name}({text})" if text else "")

    # -- values that are not known ------------------------------------------------------------------------------------

    def unknown(self, values: list[Any]) -> Any:
        """Return the result of something that is not followed; it is a tensor if one is given."""
        sources = [Value(name) for name in self.tensors(values)]
        if not sources:
            return Number()
        return self.call("prim.unknown", sources, {})

    def parts(self, value: Any, count: int) -> list[Any]:
        """Return the parts of a value that is taken apart."""
        if not isinstance(value, Value):
            return [Number()] * count
        if self._program.calls and self._program.calls[-1].outputs == (value.name,) and count <= _MOST_OUTPUTS:
            last = self._program.calls[-1]
            names = tuple(f"{value.name}_{at}" if at else value.name for at in range(count))
            self._program.calls[-1] = AtenCall(last.op, last.arguments, names, last.module, last.graph)
            return [Value(name) for name in names]
        return [value] * min(count, _MOST_OUTPUTS) + [Number()] * max(count - _MOST_OUTPUTS, 0)

    def joined(self, one: Any, two: Any) -> Any:
        """Return what two branches leave in one name."""
        one, two = ({"value": each} for each in (one, two))
        return self.joined_names(one, two)["value"]

    def joined_names(self, one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
        """Return names after two branches: equal values stay, others are unknown."""
        found: dict[str, Any] = {}
        self.spend((len(one) + len(two)) // 4)  # a copy is less work than a value
        for name in {**one, **two}:
            if name not in one or name not in two:
                found[name] = one.get(name, two.get(name))
                continue
            found[name] = self._joined(one[name], two[name])
        return found

    def _joined(self, one: Any, two: Any) -> Any:
        one, two = self._resolved(one), self._resolved(two)
        if one is two or (type(one) is type(two) and is_known(one) and one == two):
            return one
        if isinstance(one, (Value, Dotted, Number)) and one == two:
            return one
        if isinstance(one, ScriptObject) and isinstance(two, ScriptObject) and one.record is two.record:
            return one
        if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
            return [self._joined(a, b) for a, b in zip(one, two, strict=True)]
        sources = self.tensors([one, two])
        return self.call("prim.either", [Value(name) for name in sources], {}) if sources else Number()
