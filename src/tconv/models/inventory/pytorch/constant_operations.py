"""PyTorch's operations on constants, in NumPy: those that compute weights, each with PyTorch's argument names."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError
from tconv.models.inventory.computed_arrays import BINARY, UNARY, cast_values
from tconv.models.inventory.pytorch.tensors import NUMBERS, plain_type
from tconv.models.readers.number_types import dequantized

_MOST_RESULTS = 100


class Budget:
    """Largest number of elements that a result may have, and that all results may have together."""

    def __init__(self, most: int) -> None:
        self._most, self._left = most, _MOST_RESULTS * most

    def spend(self, values: Array) -> None:
        """Count the elements of a result. Raises FileError if all of them are too many."""
        self._left -= values.size
        if self._left < 0:
            raise FileError("a constant is computed in too many steps from smaller ones. Write it stored")

    def check(self, shape: Any) -> None:
        """Raise FileError for a result of this shape that is too large."""
        if math.prod(shape) > self._most:
            raise FileError(f"a constant of shape {list(shape)[:8]} is computed from far smaller ones. Write it stored")


OPERATIONS: dict[str, Callable[..., Any]] = {}
"""Functions of a budget and the arguments by PyTorch's names, by the operation's name without its overload."""


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _operation(*names: str) -> Callable[[_Function], _Function]:
    def add(function: _Function) -> _Function:
        OPERATIONS.update(dict.fromkeys(names, function))
        return function

    return add


def _axes(dim: Any) -> Any:
    if dim is None or dim == []:
        return None
    return tuple(dim) if isinstance(dim, list) else dim


# -- elements ---------------------------------------------------------------------------------------------------------


def _binary(name: str, function: Any) -> None:
    @_operation(name, f"{name}_")
    def operation(budget: Budget, self: Any, other: Any, alpha: Any = 1) -> Array:
        budget.check(np.broadcast_shapes(np.shape(self), np.shape(other)))
        result: Array = function(self, other if alpha == 1 else np.multiply(other, alpha))
        kinds = [each.dtype for each in (self, other) if isinstance(each, np.ndarray)]
        floats = [kind for kind in kinds if kind.kind == "f"]
        return result.astype(np.result_type(*floats)) if floats else result


for _name, _function in BINARY.items():
    _binary(_name, _function)


def _unary(name: str, function: Any) -> None:
    @_operation(name, f"{name}_")
    def operation(budget: Budget, self: Array) -> Array:
        return np.asarray(function(self))


for _name, _function in UNARY.items():
    _unary(_name, _function)


@_operation("pow", "pow_")
def _pow(budget: Budget, self: Any, exponent: Any) -> Array:
    budget.check(np.broadcast_shapes(np.shape(self), np.shape(exponent)))
    return np.asarray(np.power(self, exponent), getattr(self, "dtype", None))


@_operation("clamp", "clamp_min", "clamp_max", "clip")
def _clamp(budget: Budget, self: Array, min: Any = None, max: Any = None) -> Array:
    low = self if min is None else np.maximum(self, min)
    return np.asarray(low if max is None else np.minimum(low, max), self.dtype)


# -- sums and norms ---------------------------------------------------------------------------------------------------


@_operation("sum")
def _sum(budget: Budget, self: Array, dim: Any = None, keepdim: bool = False) -> Array:
    return np.asarray(self.sum(_axes(dim), keepdims=keepdim))


@_operation("mean")
def _mean(budget: Budget, self: Array, dim: Any = None, keepdim: bool = False) -> Array:
    return np.asarray(self.mean(_axes(dim), keepdims=keepdim))


@_operation("linalg_vector_norm")
def _vector_norm(budget: Budget, self: Array, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Array:
    wide = np.abs(self.astype(np.float64))
    if math.isinf(ord):
        result = (wide.max if ord > 0 else wide.min)(_axes(dim), keepdims=keepdim)
    else:
        result = (wide**ord).sum(_axes(dim), keepdims=keepdim) ** (1 / ord)
    return np.asarray(result, self.dtype)


@_operation("norm")
def _norm(budget: Budget, self: Array, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Array:
    return _vector_norm(budget, self, 2 if p is None else p, dim, keepdim)


@_operation("norm_except_dim")
def _norm_except_dim(budget: Budget, v: Array, pow: Any = 2, dim: int = 0) -> Array:
    others = [axis for axis in range(v.ndim) if axis != dim % max(v.ndim, 1)] if dim != -1 else list(range(v.ndim))
    return _vector_norm(budget, v, pow, others, True)


@_operation("_weight_norm", "_weight_norm_interface")
def _weight_norm(budget: Budget, v: Array, g: Array, dim: int = 0) -> tuple[Array, Array]:
    budget.check(np.broadcast_shapes(v.shape, g.shape))
    norm = _norm_except_dim(budget, v.astype(np.float64), 2, dim)
    return np.asarray(v.astype(np.float64) * (g / norm), v.dtype), np.asarray(norm, v.dtype)


# -- matrices ---------------------------------------------------------------------------------------------------------


@_operation("mv", "dot", "vdot", "matmul", "mm", "linalg_vecdot")
def _matmul(budget: Budget, self: Array | None = None, **others: Any) -> Array:
    first = others.pop("x", None) if self is None else self
    (second,) = [each for each in others.values() if isinstance(each, np.ndarray)]
    assert first is not None
    if first.ndim > 2 or second.ndim > 2:
        raise FileError("a product of more than two axes is not computed. Write the weight as a constant")
    budget.check([*first.shape[:-1], *second.shape[1:]])
    return np.asarray(first.astype(np.float64) @ second.astype(np.float64), first.dtype)


@_operation("normalize")
def _normalize(
    budget: Budget, self: Array, p: float = 2, dim: int = 1, eps: float = 1e-12
) -> Array:  # torch.nn.functional.normalize in scripts
    return np.asarray(self / np.maximum(_vector_norm(budget, self, p, dim, True), eps), self.dtype)


# -- layouts ----------------------------------------------------------------------------------------------------------


@_operation("view", "reshape", "_unsafe_view", "_reshape_copy", "view_copy")
def _view(budget: Budget, self: Array, size: Any = None, shape: Any = None) -> Array:
    sizes = size if shape is None else shape
    return self.reshape([int(each) for each in sizes])


@_operation("permute", "permute_copy")
def _permute(budget: Budget, self: Array, dims: Any) -> Array:
    return self.transpose(dims)


@_operation("transpose", "transpose_copy", "swapaxes")
def _transpose(budget: Budget, self: Array, dim0: int, dim1: int) -> Array:
    return np.swapaxes(self, dim0, dim1)


@_operation("t", "numpy_T", "t_copy")
def _t(budget: Budget, self: Array) -> Array:
    return self.T


@_operation("unsqueeze", "unsqueeze_copy")
def _unsqueeze(budget: Budget, self: Array, dim: int) -> Array:
    return np.expand_dims(self, dim)


@_operation("squeeze", "squeeze_copy")
def _squeeze(budget: Budget, self: Array, dim: Any = None) -> Array:
    wanted = range(self.ndim) if dim is None else dim if isinstance(dim, list) else [dim]
    return self.squeeze(tuple(axis for axis in wanted if self.shape[axis] == 1))


@_operation("flatten")
def _flatten(budget: Budget, self: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    first, last = start_dim % self.ndim, end_dim % self.ndim
    return self.reshape(*self.shape[:first], -1, *self.shape[last + 1 :])


@_operation("expand", "expand_copy")
def _expand(budget: Budget, self: Array, size: Any) -> Array:
    lead = len(size) - self.ndim
    sizes = [self.shape[at - lead] if each == -1 and at >= lead else int(each) for at, each in enumerate(size)]
    budget.check(sizes)
    return np.broadcast_to(self, sizes)


@_operation("expand_as")
def _expand_as(budget: Budget, self: Array, other: Array) -> Array:
    return np.broadcast_to(self, other.shape)


@_operation("flip")
def _flip(budget: Budget, self: Array, dims: Any) -> Array:
    return np.flip(self, tuple(dims))


@_operation("slice", "slice_copy")
def _slice(budget: Budget, self: Array, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Array:
    index = [slice(None)] * self.ndim
    index[dim] = slice(start, end, step)
    return self[tuple(index)]


@_operation("select", "select_copy")
def _select(budget: Budget, self: Array, dim: int, index: int) -> Array:
    return np.asarray(np.take(self, index, dim))


@_operation("cat", "concat")
def _cat(budget: Budget, tensors: Any, dim: int = 0) -> Array:
    budget.check([sum(each.size for each in tensors)])
    return np.concatenate(tensors, dim)


@_operation("stack")
def _stack(budget: Budget, tensors: Any, dim: int = 0) -> Array:
    budget.check([sum(each.size for each in tensors)])
    return np.stack(tensors, dim)


@_operation("detach", "alias", "clone", "contiguous", "lift_fresh_copy", "lift_fresh", "dropout", "feature_dropout")
def _same(budget: Budget, self: Any = None, input: Any = None, **_: Any) -> Array:
    return np.asarray(input if self is None else self)


# -- types ------------------------------------------------------------------------------------------------------------


@_operation("to", "_to_copy")
def _to(budget: Budget, self: Array, dtype: Any = None) -> Array:
    if isinstance(dtype, np.ndarray):  # x.to(other)
        return self.astype(dtype.dtype)
    return cast_values(self, plain_type(dtype)) if isinstance(dtype, str) and dtype in NUMBERS else self  # x.to("cpu")


@_operation("type_as")
def _type_as(budget: Budget, self: Array, other: Array) -> Array:
    return self.astype(other.dtype)


def _named_cast(name: str, dtype: str) -> None:
    @_operation(name)
    def operation(budget: Budget, self: Array) -> Array:
        return cast_values(self, dtype)


for _name, _dtype in (("float", "float32"), ("half", "float16"), ("double", "float64"), ("bfloat16", "bfloat16")):
    _named_cast(_name, _dtype)


@_operation("dequantize_per_channel", "dequantize_per_tensor", "dequantize_affine")
def _dequantize(budget: Budget, **given: Any) -> Array:
    stored = given.get("input", given.get("self"))
    assert isinstance(stored, np.ndarray)
    if "FLOAT" in str(given.get("zero_point_domain")).upper():
        raise FileError("a weight has zero points that are no integers. Write the weight as a constant")
    scales = np.asarray(given.get("scales", given.get("scale")), np.float32)
    zeros = given.get("zero_points", given.get("zero_point"))
    zeros = np.zeros(scales.shape) if zeros is None else np.asarray(zeros)
    blocks = given.get("block_size")
    if isinstance(blocks, list):
        counts = [size // block for size, block in zip(stored.shape, blocks, strict=True)]
        shape = [part for count, block in zip(counts, blocks, strict=True) for part in (count, block)]
        column = [part for count in counts for part in (count, 1)]
        apart = (stored.reshape(shape).astype(np.float32) - zeros.reshape(column)) * scales.reshape(column)
        return np.asarray(apart.reshape(stored.shape), np.float32)
    return dequantized(stored, scales, zeros, given.get("axis"))


@_operation("dequantize")
def _dequantized(budget: Budget, self: Array) -> Array:
    return self
