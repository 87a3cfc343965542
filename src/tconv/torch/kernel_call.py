"""Calls of PyTorch's operator on the kernel: read once for their shapes and strides, then run by addresses.

Calls are cached under the shapes and strides of their tensors and their arguments. Nothing in the cache depends on the
numbers in a weight: every call computes their fingerprint (64 bits of all bytes), so no optimiser, no `.data`, no NumPy
view and no parametrisation can leave a stale weight. That holds under autocast, too: the fingerprint is of the weight
as it is, and it is cast only when it is packed.
"""

from __future__ import annotations

import ctypes
import math
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import xxhash

from tconv import _memory, kernels
from tconv._arrays import Array
from tconv._arrays.torch_names import memory_kind, suggest_memory_format, without_modes
from tconv._fork import own_in_forks
from tconv.dialects import dialect
from tconv.errors import ShapeError, TconvError
from tconv.geometry import Geometry
from tconv.kernels.activation import Activation
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Problem
from tconv.kernels.simd.availability import reason_unavailable
from tconv.operator.method_choice import choose_method
from tconv.torch.element_types import NUMPY, SUMMED, call_dtype, numbers
from tconv.torch.openmp_threads import pytorch_threads

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Channels-last memory format of a tensor with this many axes."""
_FROM_POOL = 1 << 20
"""Bytes from which on an output comes from tconv's pool of huge pages."""
_TRAINED = 1 << 28
"""Bytes in the cache of packed weights that need gradients."""


class Arguments(NamedTuple):
    """Arguments of a call beside its tensors: one integer per spatial axis, and the groups.

    An output_padding below 0 cuts so much more from the end of the output. PyTorch's operator does not take it.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    @property
    def cut(self) -> tuple[int, ...]:
        """Elements per axis that PyTorch's output has more at its end."""
        return tuple(max(0, -op) for op in self.output_padding)

    @property
    def uncut(self) -> Arguments:
        """The nearest arguments that PyTorch's operator takes."""
        return self._replace(output_padding=tuple(max(0, op) for op in self.output_padding))


def format_of(x: torch.Tensor, weight: torch.Tensor) -> torch.memory_format:
    """Return the memory format of the output: channels last if x or the weight is, like PyTorch."""
    last = LAST.get(x.dim())
    if last is not None and (suggest_memory_format(x) is last or suggest_memory_format(weight) is last):
        return last
    return torch.contiguous_format


def problem_of(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], bias: bool, arguments: Arguments, dtype: torch.dtype
) -> Problem:
    """Return the problem of a call. Raises a TconvError for one that PyTorch refuses, or defines differently."""
    kernel = w_shape[2:]
    g = _geometry(kernel, arguments, tuple([n == 1 for n in x_shape[2:]]))
    if x_shape[1] != w_shape[0] or w_shape[0] % arguments.groups:
        raise ShapeError(f"x {x_shape} does not fit the weight {w_shape} with groups={arguments.groups}")
    problem = Problem(g, x_shape[0], x_shape[1], w_shape[1] * arguments.groups, x_shape[2:], NUMPY[dtype], bias)
    if min(problem.out_channels, *problem.output_shape) < 1:
        raise ShapeError("the output is empty")
    return problem


@lru_cache(maxsize=512)
def _geometry(kernel: tuple[int, ...], arguments: Arguments, single: tuple[bool, ...]) -> Geometry:
    """Return the geometry of the arguments; `single` marks the axes with one input."""
    g = dialect("torch").geometry(kernel=kernel, **arguments.uncut._asdict())
    crop = [(lo, hi + cut) for (lo, hi), cut in zip(g.crop, arguments.cut, strict=True)]
    # on an axis with one input every stride is the same: with one as long as the kernel no phase has a second tap
    free = [one and d == 1 for one, d in zip(single, g.dilation, strict=True)]
    stride = [k if one else s for one, k, s in zip(free, g.kernel, g.stride, strict=True)]
    return Geometry(g.kernel, stride, crop, g.dilation, g.groups)


def _strides_of(shape: tuple[int, ...], format: torch.memory_format) -> tuple[int, ...]:
    """Return the strides of a new tensor."""
    order = range(len(shape)) if format is torch.contiguous_format else (0, *range(2, len(shape)), 1)
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def strides_of(x: torch.Tensor, weight: torch.Tensor, p: Problem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the strides of x and of the output of a call, in elements."""
    shape = p.batch, p.out_channels, *p.output_shape
    return tuple(x.stride()), _strides_of(shape, format_of(x, weight))


def reasons_against(p: Problem) -> list[str]:
    """Return the reasons to leave a call on the CPU to PyTorch: the kernel cannot run it, or is slower."""
    g, reasons = p.geometry, list(kernels.kernel("simd").reasons_against(p))
    if p.dtype == np.float16 and _float16_is_slow():
        return reasons
    # benchmarks/random_layers.py: for other layers the kernel is faster, three times in the mean
    if p.batch == math.prod(p.input_shape) == g.groups == 1 and not (g.ndim == 2 and min(g.kernel) > 3):
        reasons.append("x is one position, and PyTorch's product of a vector and the weight reads the weight only once")
    spread = max(g.dilation) > 1 and max(g.stride) > 1
    if spread and p.out_channels <= 3 * g.groups and (p.batch > 1 or g.ndim == 3):
        reasons.append("dilation leaves phases without taps, and so few output channels fill no registers")
    return reasons


def against_bias(shape: tuple[int, ...], p: Problem) -> str:
    """Return the reason to leave a bias of this shape to PyTorch, or an empty text."""
    return "" if shape == (p.out_channels,) else f"the bias is {shape}, and there are {p.out_channels} output channels"


@cache
def _float16_is_slow() -> bool:
    """Return True if the chip has no arithmetic in float16: there PyTorch's operator is slower in it for all sizes."""
    if reason_unavailable() is not None:
        return False
    from tconv.kernels.simd import cpu_target

    return not cpu_target.computes_float16()


def against_training(x_shape: Any, w_shape: Any, dtype: torch.dtype | None) -> bool:
    """Return True if a call with a weight in training is left to PyTorch: the weight is packed again in every step.

    Packing takes as long as some thousand positions of x, and longer with many taps. Together with PyTorch's gradients
    a step must not become slower by it (`tconv bench --training`).
    """
    few = x_shape[0] * math.prod(x_shape[2:]) < 2048 * max(1, math.prod(w_shape[2:]) / 256)
    return bool(few) and not (dtype is torch.float16 and _float16_is_slow())


def method_of(p: Problem, trained: bool = False) -> str:
    """Return the method of a call on the kernel.

    A weight in training is packed for one step alone. It stays with the direct sum, whose packed weight is smaller.
    """
    return "winograd" if not trained and choose_method(p, "auto") == "winograd" else "simd"


class _FormState:
    """Form of the kernel for a call: its compiled call, and the weight that it packed last."""

    def __init__(self, form: Any, p: Problem, order: tuple[int, ...] | None, dtype: torch.dtype, rounded: bool) -> None:
        self.form, self.problem, self.rounded = form, p, rounded
        # the packed weight depends on these, and on the weight's numbers
        self.sizes = _interned((form.name, order, p.layer, dtype, rounded))
        self.compiled: Any = None
        self.packed: tuple[Array | None, int] = (None, 0)


class Call:
    """Call with tensors of these shapes and strides on the CPU; `reasons` if it is left to PyTorch.

    x is of the call's dtype. Weight and bias may have another: they are rounded to the call's first, as autocast does,
    or, without `rounded`, used as they are where the sums allow it.
    """

    def __init__(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        arguments: Arguments,
        activation: Activation | None = None,
        rounded: bool = True,
    ) -> None:
        try:
            p = problem_of(tuple(x.shape), tuple(weight.shape), bias is not None, arguments, x.dtype)
        except TconvError as error:
            self.reasons = [str(error)]
            return
        self.reasons = reasons_against(p)
        if bias is not None and (reason := against_bias(tuple(bias.shape), p)):
            self.reasons.append(reason)
        if self.reasons:
            return
        # this imports LLVM, which is installed: the kernel has no reason against the problem
        from tconv.kernels.simd import bfloat16_dot, form_choice, weight_cache

        self._cache, self._training_cache = weight_cache.WEIGHT_CACHE, _training_cache()
        self._shape, self._format = (p.batch, p.out_channels, *p.output_shape), format_of(x, weight)
        self._large = p.output_bytes >= _FROM_POOL
        self._strides = strides_of(x, weight, p)
        self._dtype, self._rounded = x.dtype, rounded
        # dtype of a bias that can be added as it is
        self._bias_dtype = SUMMED[x.dtype] if not rounded or SUMMED[x.dtype] is x.dtype else None
        self._bytes = ctypes.c_char * weight.nbytes
        order = memory_order(weight)
        self._dense = order is not None
        direct = form_choice.direct_form(p, *self._strides)
        # dot products multiply numbers of two bytes
        self._direct = self._best = _FormState(direct, p, order, weight.dtype, rounded or bfloat16_dot.runs(p))
        if method_of(p) == "winograd":
            self._best = _FormState(form_choice.winograd_form(p, *self._strides), p, order, weight.dtype, rounded)
        self._slopes = () if activation is None else activation.arrays(p.out_channels, p.accumulate)
        self._activation = [array.ctypes.data for array in self._slopes]

    def __call__(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        trained: bool = False,
        known_fingerprint: int | None = None,
    ) -> torch.Tensor | None:
        """Return the output; None if the call is left to PyTorch because the weight is not finite.

        `known_fingerprint` is that of a weight that no other code can write: it is not computed again.
        """
        if not self._dense:
            weight = weight.contiguous()
        # in a variable: its memory is in use until the call ends
        flat = bias
        if bias is not None and (bias.dtype is not self._bias_dtype or not bias.is_contiguous()):
            flat = numbers(bias, self._dtype, self._rounded).contiguous()
        pytorch_count = torch.get_num_threads()
        threads = min(pytorch_count, get_num_threads())
        openmp = pytorch_threads(pytorch_count) if threads > 1 else None
        cache = self._training_cache if trained else self._cache
        out = None
        for form in (self._direct,) if trained or self._best is self._direct else (self._best, self._direct):
            packed, address = self._packed_weight(form, weight, cache, known_fingerprint)
            if address:
                call = form.compiled
                if call is None or call.requested_threads != threads:
                    activated = bool(self._activation)
                    form.compiled = call = _compiled(form.form, form.problem, *self._strides, threads, activated)
                out = self._empty() if out is None else out
                biases = 0 if flat is None else flat.data_ptr()
                if call.run(x.data_ptr(), address, biases, out.data_ptr(), *self._activation, openmp=openmp):
                    return out
            del packed  # in use until here
        return None

    def _empty(self) -> torch.Tensor:
        if not self._large:
            return torch.empty(self._shape, dtype=self._dtype, device="cpu", memory_format=self._format)
        block = torch.from_numpy(_memory.empty((self._direct.problem.output_bytes,), np.dtype(np.uint8)))
        # not a view, which could not be written in place where gradients are needed
        owner = torch.empty(0, dtype=self._dtype, device="cpu")
        return owner.set_(block.untyped_storage(), 0, self._shape, self._strides[1])

    def _packed_weight(
        self, form: _FormState, weight: torch.Tensor, cache: Any, known_fingerprint: int | None
    ) -> tuple[Array | None, int]:
        """Return the packed weight and its address; 0 if the weight is not finite, or too large for this form."""
        if known_fingerprint is None:
            known_fingerprint = xxhash.xxh3_64_intdigest(self._bytes.from_address(weight.data_ptr()))
        key = known_fingerprint, form.sizes
        packed = cache.get(key)
        if packed is None:
            # of a private copy: another thread may write the weight between the fingerprint and the packing
            own = weight.detach().clone()
            packed = form.form.pack(form.problem, numbers(own, self._dtype, form.rounded).numpy())
            cache.put((xxhash.xxh3_64_intdigest(self._bytes.from_address(own.data_ptr())), form.sizes), packed)
        last = form.packed
        if packed is not last[0]:
            form.packed = last = packed, packed.ctypes.data if packed.size else 0
        return last


def fingerprint(tensor: torch.Tensor) -> int:
    """Return a 64-bit hash of all bytes of a tensor of plain memory, in the order of memory."""
    dense = tensor.contiguous() if memory_order(tensor) is None else tensor
    return xxhash.xxh3_64_intdigest((ctypes.c_char * dense.nbytes).from_address(dense.data_ptr()))


def memory_order(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """Return the axes longer than 1 in the order of memory, the slowest first; None if there are gaps or overlaps.

    >>> memory_order(torch.empty(8, 3, 4, 4).permute(2, 3, 1, 0))
    (3, 2, 0, 1)
    """
    axes = sorted((axis for axis, size in enumerate(tensor.shape) if size > 1), key=tensor.stride, reverse=True)
    step = 1
    for axis in reversed(axes):
        if tensor.stride(axis) != step:
            return None
        step *= tensor.shape[axis]
    return tuple(axes)


@cache
def _training_cache() -> Any:
    """Return the cache of packed weights in training. It is small, because most of them are never used again."""
    from tconv.kernels.simd.weight_cache import WeightCache

    cache = WeightCache(_TRAINED)
    _memory.TRIMMED.append(cache.trim)
    own_in_forks(cache.lock)
    return cache


@lru_cache(maxsize=1024)
def _interned(sizes: Any) -> object:
    """Return one object for equal sizes, which is faster to look up than the sizes."""
    return object()


def _compiled(form: Any, p: Problem, x_strides: Any, out_strides: Any, threads: int, activated: bool) -> Any:
    from tconv.kernels.simd import specialized_call

    return specialized_call.compiled(form, p, x_strides, out_strides, threads, activated)


# -- from tensors to calls ---------------------------------------------------------------------------------------------


_MOST = 512
_calls: dict[Any, Call] = {}


with without_modes():  # those of the code that imports this module
    _PLAIN = {memory_kind(torch.empty(0, device="cpu"))}
    with torch.inference_mode():
        _PLAIN.add(memory_kind(torch.empty(0, device="cpu")))
"""Kinds of dense tensors on the CPU: not fake, wrapped, negated, sparse or of a subclass."""


_SIZES = {dtype: known.itemsize for dtype, known in NUMPY.items()}


def is_plain(tensor: torch.Tensor) -> bool:
    """Return True if the kernel can use this tensor's memory without a copy."""
    size = _SIZES.get(tensor.dtype)
    return size is not None and memory_kind(tensor) in _PLAIN and tensor.data_ptr() % size == 0


def cached_call(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    arguments: Arguments,
    activation: Activation | None = None,
    activation_key: Any = None,
    rounded: bool = True,
) -> Call:
    """Return the call for tensors like these and these arguments, from the cache or read now."""
    of_bias = None if bias is None else bias.shape
    sizes = x.shape, x.stride(), weight.shape, weight.stride(), of_bias
    key = sizes, x.dtype, weight.dtype, arguments, activation_key, rounded
    call = _calls.get(key)
    if call is None:
        call = Call(x, weight, bias, arguments, activation, rounded)
        # no lock: if threads collide, an entry is lost, and the next such call is read again
        if len(_calls) >= _MOST:
            _calls.clear()
        _calls[key] = call
    return call


def run(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, arguments: Arguments, trained: bool = False
) -> torch.Tensor | None:
    """Run the kernel on batched tensors, without a gradient. Returns None if PyTorch's operator has to run."""
    if is_plain(x) and is_plain(weight) and (bias is None or is_plain(bias)):
        dtype = call_dtype(x, weight, bias)
        if dtype in NUMPY:
            x = x.to(dtype)
            call = cached_call(x, weight, bias, arguments)
            if not call.reasons:
                return call(x, weight, bias, trained)
    return None
