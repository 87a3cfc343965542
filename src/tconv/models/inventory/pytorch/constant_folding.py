"""Values that a program computes from constants alone: weight norm, spectral norm, dequantization, casts, layouts.

Nothing is computed before it is asked for. No step may have many more elements than the constants that it begins with,
so that a hostile file cannot fill the memory.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.inventory.model_layer import Quantization, StoredArray
from tconv.models.inventory.pytorch.constant_operations import OPERATIONS, Budget
from tconv.models.inventory.pytorch.program import AtenCall, Program, values_in
from tconv.models.inventory.pytorch.tensors import cast
from tconv.models.readers.number_types import to_bfloat16

_MOST_STEPS = 10_000
_SPARE = 1 << 16  # elements that a step may have beside those of the constants
_DEQUANTIZATIONS = ("dequantize_per_channel", "dequantize_per_tensor", "dequantize_affine", "dequantize")
_SAME = ("detach", "alias", "clone", "contiguous", "lift_fresh_copy", "lift_fresh", "dropout", "feature_dropout")
_WITHOUT_EFFECT = ("memory_format", "device", "layout", "pin_memory", "copy", "non_blocking", "implicit")
_NORMS = ("_weight_norm", "_weight_norm_interface", "norm_except_dim", "linalg_vector_norm", "norm")


class FoldedConstants:
    """Constants of a program, and values that its calls compute from them."""

    def __init__(self, program: Program) -> None:
        self._stored = dict(program.constants)
        self._made: dict[str, tuple[AtenCall, int]] = {}
        self._metas = program.metas
        self._known: dict[str, StoredArray] = {}
        for call in program.calls:
            self.add(call)

    def add(self, call: AtenCall) -> None:
        """Take a call if it computes a constant."""
        op = call.op.rpartition(".")[2]
        inputs = list(values_in(list(call.arguments.values())))
        if op in OPERATIONS and inputs and all(value.name in self for value in inputs):
            for place, name in enumerate(call.outputs):
                self._made.setdefault(name, (call, place))

    def __contains__(self, name: str) -> bool:
        return name in self._stored or name in self._made

    def get(self, name: str) -> StoredArray | None:
        """Return a constant; None for any other value. Raises FileError for one that cannot be computed."""
        if name not in self._known:
            found = self._stored.get(name) or self._computed(name)
            if found is None:
                return None
            self._known[name] = found
        return self._known[name]

    def _computed(self, name: str) -> StoredArray | None:
        if name not in self._made:
            return None
        calls = self._needed(name)
        leaves = {value.name for call in calls for value in values_in(list(call.arguments.values()))}
        stored = [self._stored[leaf] for leaf in leaves if leaf in self._stored]
        call, _ = self._made[name]
        op = call.op.rpartition(".")[2]
        if op in ("to", "_to_copy") and len(calls) == 1 and isinstance(call.arguments.get("dtype"), str):
            return cast(stored[0], call.arguments["dtype"])
        if op in ("to", "_to_copy", *_SAME) and len(calls) == 1:
            return stored[0]
        most = 4 * sum(math.prod(each.shape) for each in stored) + _SPARE

        def read() -> Array:
            return self._evaluated(name, calls, Budget(most))

        meta = self._metas.get(name)
        shape = None if meta is None or meta.shape is None else meta.shape
        first = read() if shape is None or not all(isinstance(size, int) for size in shape) else None
        sizes: Any = shape if first is None else first.shape
        types = [each.dtype for each in stored if each.dtype.startswith(("float", "bfloat"))]
        dtype = (meta.dtype if meta is not None else "") or (types[0] if types else "float32")
        quantization = self._quantization(calls)
        nbytes = sum(each.nbytes for each in stored)
        return StoredArray(
            tuple(sizes), dtype, read, _origin(calls, quantization), nbytes, quantization, _type_in_file(stored, dtype)
        )

    def _needed(self, name: str) -> list[AtenCall]:
        """Return the calls that compute a value, in order. Raises FileError if they are too many."""
        found: dict[int, AtenCall] = {}
        order: list[AtenCall] = []
        waiting = [(name, False)]
        while waiting:
            value, done = waiting.pop()
            if value not in self._made:
                continue
            call, _ = self._made[value]
            if done:
                order.append(call)
                continue
            if id(call) in found:
                continue
            found[id(call)] = call
            if len(found) > _MOST_STEPS:
                raise FileError(f"a weight is computed in more than {_MOST_STEPS} steps. Write it as a constant")
            waiting.append((value, True))
            waiting += [(each.name, False) for each in values_in(list(call.arguments.values()))]
        return order

    def _evaluated(self, name: str, calls: list[AtenCall], budget: Budget) -> Array:
        values: dict[str, Array] = {}

        def number(argument: Any) -> Any:
            if isinstance(argument, (list, tuple)):
                return [number(part) for part in argument]
            if not hasattr(argument, "name"):
                return argument
            if argument.name not in values:
                values[argument.name] = self._stored[argument.name].read()
            return values[argument.name]

        for call in calls:
            op = call.op.rpartition(".")[2]
            arguments = {key: number(value) for key, value in call.arguments.items()}
            try:
                with np.errstate(all="ignore"):
                    found = OPERATIONS[op](budget, **_plain(arguments))
            except FileError:
                raise
            except Exception as error:  # arguments that do not fit: the file's own error
                raise FileError(
                    f"a weight is computed by {call.op}, which these arguments do not fit ({str(error)[:100]}). "
                    "Write it as a constant"
                ) from None
            results = found if isinstance(found, tuple) else (found,)
            for output, result in zip(call.outputs, results, strict=False):
                values[output] = self._rounded(output, result)
                budget.spend(values[output])
        if name not in values:
            raise FileError("a weight is a second result that is not computed here. Write it as a constant")
        stated = self._metas[name].shape if name in self._metas else None
        found = values[name]
        if stated is not None and all(isinstance(size, int) for size in stated) and found.shape != stated:
            raise FileError(f"a weight is stated to have the shape {stated}, and is computed with {found.shape}")
        return found

    def _rounded(self, name: str, values: Array) -> Array:
        """Return values in the type that the program says they have."""
        meta = self._metas.get(name)
        if meta is not None and meta.dtype == "bfloat16":
            return to_bfloat16(np.asarray(values, np.float32))
        if meta is not None and meta.dtype in ("float16", "float32", "float64"):
            return np.asarray(values, meta.dtype)
        return np.asarray(values)

    def _quantization(self, calls: list[AtenCall]) -> Quantization | None:
        """Return the integers behind a value, if dequantization is the last step but changes of layout and type."""
        for call in reversed(calls):
            op = call.op.rpartition(".")[2]
            if op in _SAME or op in ("to", "_to_copy"):
                continue
            if op not in _DEQUANTIZATIONS:
                return None
            source = next(iter(call.arguments.values()))
            stored = self._stored.get(getattr(source, "name", ""))
            return None if stored is None else self._of(call, stored)
        return None

    def _of(self, call: AtenCall, stored: StoredArray) -> Quantization | None:
        given = {key: self._number(value) for key, value in call.arguments.items()}
        scales, zeros = given.get("scales", given.get("scale")), given.get("zero_points", given.get("zero_point"))
        if scales is None or stored.quantization is not None:
            return stored.quantization
        axis = given.get("axis")
        if isinstance(blocks := given.get("block_size"), list):
            axes = [at for at, (b, size) in enumerate(zip(blocks, stored.shape, strict=False)) if b != size]
            if len(axes) > 1 or (axes and blocks[axes[0]] != 1):
                return None
            axis = axes[0] if axes else None
        flat = np.asarray(scales, np.float32).ravel()
        return Quantization(
            stored.dtype, axis, flat, np.zeros(flat.shape, np.int64) if zeros is None else np.asarray(zeros).ravel()
        )

    def _number(self, argument: Any) -> Any:
        found = self.get(argument.name) if hasattr(argument, "name") else None
        return argument if found is None else (found.read() if math.prod(found.shape) < 1 << 20 else None)


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that have a part in the numbers, with names that Python takes."""
    kept = {key: value for key, value in arguments.items() if value is not None and key not in _WITHOUT_EFFECT}
    return {("a" + key if key.isdigit() else key): value for key, value in kept.items()}


def _origin(calls: list[AtenCall], quantization: Quantization | None) -> str:
    ops = list(dict.fromkeys(call.op.rpartition(".")[2] for call in calls))
    if quantization is not None:
        name = next(op for op in ops if op in _DEQUANTIZATIONS)
        return name if quantization.axis is None else f"{name}, axis {quantization.axis}"
    kind = "weight norm" if any(op in _NORMS for op in ops) else "constants"
    kind = "spectral norm" if any(op in ("mv", "dot", "vdot") for op in ops) else kind
    return f"{kind} ({', '.join(ops[:8])})"


def _type_in_file(stored: list[StoredArray], dtype: str) -> str:
    floats = [each.dtype for each in stored if each.dtype.startswith(("float", "bfloat"))]
    return floats[0] if floats and floats[0] != dtype else ""
