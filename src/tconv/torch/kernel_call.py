"""One call of PyTorch's operator on the float32 kernel: read once for its shapes and strides, then four addresses.

A call is known by the shapes and strides of its tensors and by its words. What is kept under them never depends on the
numbers in a weight: those are looked at in every call (a 64-bit fingerprint of all bytes), so that no optimiser, no
`.data`, no NumPy view and no parametrisation can leave a stale weight behind.
"""

from __future__ import annotations

import ctypes
import math
import os
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
import xxhash
from torch._prims_common import suggest_memory_format
from torch.utils._python_dispatch import _disable_current_modes

from tconv import _memory, kernels
from tconv.dialects import dialect
from tconv.errors import ShapeError, TconvError
from tconv.geometry import Geometry
from tconv.kernels.activation import Activation
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.problem import Array, Problem
from tconv.operator.method_choice import choose_method
from tconv.torch.openmp_threads import team

LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The channels-last memory format of a tensor with so many axes."""
_FROM_POOL = 1 << 20
"""Bytes from which on an output comes from tconv's pool of huge pages."""
_TRAINED = 1 << 28
"""Bytes of packed weights that need gradients."""
_FLOAT32 = np.dtype(np.float32)


class Words(NamedTuple):
    """What a call says beside its tensors: one integer per spatial axis, and the groups."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


def format_of(x: torch.Tensor, weight: torch.Tensor) -> torch.memory_format:
    """How the output is stored: channels last if x or the weight is, as PyTorch does it."""
    last = LAST.get(x.dim())
    if last is not None and (suggest_memory_format(x) is last or suggest_memory_format(weight) is last):
        return last
    return torch.contiguous_format


def problem_of(x_shape: tuple[int, ...], w_shape: tuple[int, ...], bias: bool, words: Words) -> Problem:
    """The call as a kernel is asked. Raises a TconvError for one that PyTorch refuses, or answers in its own way."""
    kernel = w_shape[2:]
    g = _geometry(kernel, words, tuple([n == 1 for n in x_shape[2:]]))
    if x_shape[1] != w_shape[0] or w_shape[0] % words.groups:
        raise ShapeError(f"x {x_shape} does not fit the weight {w_shape} with groups={words.groups}")
    made = Problem(g, x_shape[0], x_shape[1], w_shape[1] * words.groups, x_shape[2:], _FLOAT32, bias)
    if min(made.out_channels, *made.output_shape) < 1:
        raise ShapeError("the output is empty")
    return made


@lru_cache(maxsize=512)
def _geometry(kernel: tuple[int, ...], words: Words, single: tuple[bool, ...]) -> Geometry:
    """Return the meaning of the words for an x with one input on these axes."""
    g = dialect("torch").geometry(kernel=kernel, **words._asdict())
    # the stride of an axis with one input says nothing: with one as long as the kernel no phase has a second tap
    alone = [one and d == 1 for one, d in zip(single, g.dilation, strict=True)]
    stride = [k if one else s for one, k, s in zip(alone, g.kernel, g.stride, strict=True)]
    return Geometry(g.kernel, stride, g.crop, g.dilation, g.groups)


def _strides_of(shape: tuple[int, ...], format: torch.memory_format) -> tuple[int, ...]:
    """The strides of a new tensor."""
    order = range(len(shape)) if format is torch.contiguous_format else (0, *range(2, len(shape)), 1)
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


def reasons_against(p: Problem) -> list[str]:
    """Why a float32 call on the CPU is left to PyTorch: what the kernel cannot do, and where it would be slower."""
    g, reasons = p.geometry, list(kernels.kernel("simd").reasons_against(p))
    # benchmarks/random_layers.py: elsewhere the kernel is quicker on the whole, three times in the mean
    if p.batch == math.prod(p.input_shape) == g.groups == 1 and not (g.ndim == 2 and min(g.kernel) > 3):
        reasons.append("x is one position, and PyTorch's product of a vector and the weight reads the weight only once")
    spread = max(g.dilation) > 1 and max(g.stride) > 1
    if spread and p.out_channels <= 3 * g.groups and (p.batch > 1 or g.ndim == 3):
        reasons.append("dilation leaves phases without taps, and so few output channels fill no registers")
    return reasons


def against_bias(shape: tuple[int, ...], p: Problem) -> str:
    """Why a bias of this shape is left to PyTorch, or nothing."""
    return "" if shape == (p.out_channels,) else f"the bias is {shape}, and there are {p.out_channels} output channels"


def against_training(x_shape: Any, w_shape: Any) -> bool:
    """Whether a weight that is being trained is left to PyTorch: it changes in every step, and is packed anew.

    Packing takes as long as some thousand positions of x, longer where there are many taps; with PyTorch's gradients
    beside it, a step is not to be slower for it (`tconv bench --training`).
    """
    return bool(x_shape[0] * math.prod(x_shape[2:]) < 2048 * max(1, math.prod(w_shape[2:]) / 256))


def method_of(p: Problem, trained: bool = False) -> str:
    """The method of a call that the kernel takes. A weight that is being trained is packed for one step alone.

    It stays with the direct sum, whose packed weight is smaller.
    """
    return "winograd" if not trained and choose_method(p, "auto") == "winograd" else "simd"


class Way:
    """One form of the kernel (`kernels.simd.bound.Form`) for a call: its job, and the weight that it packed last."""

    def __init__(self, form: Any, p: Problem, last: bool) -> None:
        self.form, self.problem = form, p
        # what the packed weight depends on, beside its numbers
        self.sizes = _same((form.name, last, p.geometry, p.in_channels, p.out_channels))
        self.job: Any = None
        self.packed: tuple[Array | None, int] = (None, 0)


class Call:
    """float32 tensors of these shapes and strides on the CPU: runs them, or says why PyTorch should."""

    def __init__(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        words: Words,
        activation: Activation | None = None,
    ) -> None:
        try:
            p = problem_of(tuple(x.shape), tuple(weight.shape), bias is not None, words)
        except TconvError as error:
            self.reasons = [str(error)]
            return
        self.reasons = reasons_against(p)
        if bias is not None and (wrong := against_bias(tuple(bias.shape), p)):
            self.reasons.append(wrong)
        if self.reasons:
            return
        # loads LLVM, which is there: the kernel has no reason against it
        from tconv.kernels.simd import specialized_call, weight_cache

        self._store, self._trained = weight_cache.WEIGHT_CACHE, _trained_weights()
        self._shape, self._format = (p.batch, p.out_channels, *p.output_shape), format_of(x, weight)
        self._large = p.output_bytes >= _FROM_POOL
        self._strides = tuple(x.stride()), _strides_of(self._shape, self._format)
        self._bytes = ctypes.c_char * (weight.numel() * 4)
        last = not weight.is_contiguous() and _is_last(weight)
        self._dense = last or weight.is_contiguous()
        self._direct = Way(specialized_call.DIRECT, p, last)
        self._best = Way(specialized_call.PAIRS, p, last) if method_of(p) == "winograd" else self._direct
        self._slopes = () if activation is None else activation.arrays(p.out_channels)
        self._ends = [array.ctypes.data for array in self._slopes]

    def __call__(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        trained: bool = False,
        known_by: int | None = None,
    ) -> torch.Tensor | None:
        """The output; None if these numbers are PyTorch's (a weight that is not finite).

        `known_by` is the fingerprint of a weight that nobody else can write: it is not taken again.
        """
        if not self._dense:
            weight = weight.contiguous()
        flat = bias if bias is None or bias.is_contiguous() else bias.contiguous()
        torchs = torch.get_num_threads()
        threads = min(torchs, get_num_threads())
        helpers = team(torchs) if threads > 1 else None
        out = None
        for way in (self._direct,) if trained or self._best is self._direct else (self._best, self._direct):
            packed, at = self._find(way, weight, self._trained if trained else self._store, known_by)
            if at:
                job = way.job
                if job is None or job.asked != threads:
                    way.job = job = _job(way.form, way.problem, *self._strides, threads, bool(self._ends))
                out = self._empty() if out is None else out
                at_bias = 0 if flat is None else flat.data_ptr()
                if job.run(x.data_ptr(), at, at_bias, out.data_ptr(), *self._ends, team=helpers):
                    return out
            del packed  # held until here
        return None

    def _empty(self) -> torch.Tensor:
        if not self._large:
            return torch.empty(self._shape, dtype=torch.float32, device="cpu", memory_format=self._format)
        if self._format is torch.contiguous_format:
            return torch.from_numpy(_memory.empty(self._shape, _FLOAT32))
        n, channels, *spatial = self._shape
        return torch.from_numpy(np.moveaxis(_memory.empty((n, *spatial, channels), _FLOAT32), -1, 1))

    def _find(self, way: Way, weight: torch.Tensor, store: Any, known_by: int | None) -> tuple[Array | None, int]:
        """The packed weight and its address; 0 if the weight is not finite, or too large for this way."""
        if known_by is None:
            known_by = xxhash.xxh3_64_intdigest(self._bytes.from_address(weight.data_ptr()))
        key = known_by, way.sizes
        found = store.get(key)
        if found is None:
            # of a private copy: another thread may write the weight between the fingerprint and the packing
            own = weight.detach().clone().numpy()
            native = own if own.flags.c_contiguous else np.moveaxis(own, 1, -1)
            found = way.form.pack(way.problem, own)
            store.put((xxhash.xxh3_64_intdigest(native.data), way.sizes), found)
        held = way.packed
        if found is not held[0]:
            way.packed = held = found, found.ctypes.data if found.size else 0
        return held


def fingerprint(tensor: torch.Tensor) -> int:
    """64 bits that stand for all bytes of a tensor of plain memory, as they lie there."""
    dense = tensor if tensor.is_contiguous() or _is_last(tensor) else tensor.contiguous()
    return xxhash.xxh3_64_intdigest((ctypes.c_char * (4 * dense.numel())).from_address(dense.data_ptr()))


def _is_last(tensor: torch.Tensor) -> bool:
    last = LAST.get(tensor.dim())
    return last is not None and tensor.is_contiguous(memory_format=last)


@cache
def _trained_weights() -> Any:
    """Where weights that change in every step are kept: few, because most will never be asked for again."""
    from tconv.kernels.simd.weight_cache import WeightCache

    made = WeightCache(_TRAINED)
    _memory.TRIMMED.append(made.trim)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(
            before=made.lock.acquire, after_in_parent=made.lock.release, after_in_child=made.lock.release
        )
    return made


@lru_cache(maxsize=1024)
def _same(sizes: Any) -> object:
    """One object for equal sizes, quicker to look up than they are."""
    return object()


def _job(form: Any, p: Problem, x_strides: Any, out_strides: Any, threads: int, activated: bool) -> Any:
    from tconv.kernels.simd import specialized_call

    return specialized_call.job(form, p, x_strides, out_strides, threads, activated)


# -- from tensors to calls ---------------------------------------------------------------------------------------------


_MOST = 512
_known: dict[Any, Call] = {}


def _keys(tensor: torch.Tensor) -> int:
    kept: int = torch._C._dispatch_keys(tensor).raw_repr()
    return kept


with _disable_current_modes():  # of whoever imports this
    _PLAIN = {_keys(torch.empty(0, device="cpu"))}
    with torch.inference_mode():
        _PLAIN.add(_keys(torch.empty(0, device="cpu")))
"""Dense tensors on the CPU that are nothing but memory: not fake, wrapped, negated, sparse or of a subclass."""


def is_plain(tensor: torch.Tensor) -> bool:
    """Whether the kernel can take this tensor's memory as it is."""
    return tensor.dtype is torch.float32 and _keys(tensor) in _PLAIN and tensor.data_ptr() % 4 == 0


def known(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    words: Words,
    activation: Activation | None = None,
    activation_key: Any = None,
) -> Call:
    """What was read of such tensors and words before, or is read now."""
    of_bias = None if bias is None else bias.shape
    key = x.shape, x.stride(), weight.shape, weight.stride(), of_bias, words, activation_key
    found = _known.get(key)
    if found is None:
        found = Call(x, weight, bias, words, activation)
        # no lock: what threads may lose here is only known a little later
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = found
    return found


def run(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, words: Words, trained: bool = False
) -> torch.Tensor | None:
    """What the kernel makes of batched tensors, without a gradient; None where PyTorch's operator is to run."""
    if is_plain(x) and is_plain(weight) and (bias is None or is_plain(bias)):
        call = known(x, weight, bias, words)
        if not call.reasons:
            return call(x, weight, bias, trained)
    return None
