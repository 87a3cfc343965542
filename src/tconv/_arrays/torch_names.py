"""Names of PyTorch that it does not document, asked for here and nowhere else; each has something to run in its place.

A release that lacks one of them still computes the same numbers, more slowly or with fewer comforts: `MISSING` has the
names that this release lacks, with what follows from it, and `tconv.torch.plan` and `accelerate` print that.

Importing this module imports PyTorch.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import torch
from torch.autograd import forward_ad

MISSING: dict[str, str] = {}
"""Names of PyTorch that this release lacks, with the effect."""

_DISPATCHED = "calls go through PyTorch's dispatcher, which takes longer"
_UNFUSED = "fuse=True fuses nothing"
_CONTAINERS = "outputs are searched for tensors in lists, tuples and dicts only"
_NO_MODES = "dispatch modes do not see calls of tconv on tensors"


def _named(name: str, effect: str) -> Any:
    """Return an object of PyTorch by its name, or None; then the effect is noted."""
    module, _, attribute = name.rpartition(".")
    try:
        try:
            found: Any = import_module(module)
        except ImportError:  # a class, not a module
            owner, _, kind = module.rpartition(".")
            found = getattr(import_module(owner), kind)
        return getattr(found, attribute)
    except (ImportError, AttributeError):
        MISSING[name] = effect
        return None


def notes() -> tuple[str, ...]:
    """Return a sentence for each missing name."""
    return tuple(f"PyTorch {torch.__version__} has no {name}: {effect}" for name, effect in MISSING.items())


# -- what an eager call looks at ---------------------------------------------------------------------------------------


_dispatch_keys = _named("torch._C._dispatch_keys", "tensors are recognised by their documented properties")
_get_tracing_state = _named("torch._C._get_tracing_state", "torch.jit.is_tracing is asked")
_dispatch_stack = _named("torch._C._len_torch_dispatch_stack", _DISPATCHED)
_function_stack = _named("torch._C._len_torch_function_stack", _DISPATCHED)
_profiler_enabled = _named("torch.autograd._profiler_enabled", _DISPATCHED)
_current_level = _named("torch._C._functorch.maybe_current_level", _DISPATCHED)
_interpreters = _named("torch._C._functorch.get_interpreter_stack", "torch.vmap runs PyTorch's operator")
_transform_type = _named("torch._C._functorch.TransformType", "torch.vmap runs PyTorch's operator")
_forward_level = _named("torch.autograd.forward_ad._current_level", "torch.autograd.forward_ad.unpack_dual is asked")
_dispatch_mode = _named("torch.utils._python_dispatch._get_current_dispatch_mode", _NO_MODES)
_will_execute = _named("torch._C._will_engine_execute_node", "backward passes compute gradients that they do not need")

SEES_MODES = None not in (_dispatch_stack, _function_stack, _profiler_enabled, _current_level)
"""False if a call cannot tell whether a mode, a transform or the profiler has to see it: then it always does."""


def memory_kind(tensor: torch.Tensor) -> Any:
    """Return a key that is equal for all dense tensors on the CPU, and differs for fake, wrapped and negated ones."""
    if _dispatch_keys is not None:
        return _dispatch_keys(tensor).raw_repr()
    try:
        address = tensor.data_ptr() if tensor.layout is torch.strided else None
    except RuntimeError:  # a transform wraps it: it has no memory of its own
        address = None
    memory = address is not None and (address != 0 or tensor.numel() == 0)  # a tensor of PyTorch's zeros has none
    plain = memory and tensor.device.type == "cpu" and not tensor.is_quantized and not tensor.is_nested
    return plain and not tensor.is_neg() and not tensor.is_conj()


def is_tracing() -> bool:
    """Return True inside of torch.jit.trace."""
    return bool(torch.jit.is_tracing()) if _get_tracing_state is None else _get_tracing_state() is not None


def has_forward_level() -> bool:
    """Return True inside of `torch.autograd.forward_ad.dual_level`; False if only `is_dual` can tell."""
    return _forward_level is not None and forward_ad._current_level >= 0


def is_dual(tensor: Any) -> bool:
    """Return True for a tensor that carries a forward-mode derivative."""
    if FORWARD_LEVEL_KNOWN and forward_ad._current_level < 0:  # the usual case, read at every call
        return False
    return isinstance(tensor, torch.Tensor) and forward_ad.unpack_dual(tensor).tangent is not None


FORWARD_LEVEL_KNOWN = _forward_level is not None


def inside_transform() -> bool:
    """Return True inside of a transform of torch.func; False if PyTorch does not tell."""
    return _current_level is not None and _current_level() is not None


def only_vmap() -> bool:
    """Return True if all transforms around this call are torch.vmap."""
    if _interpreters is None or _transform_type is None:
        return False
    return all(level.key() == _transform_type.Vmap for level in _interpreters())


def must_be_seen() -> bool:
    """Return True if a mode or the profiler has to see this call."""
    return not SEES_MODES or bool(_dispatch_stack() or _function_stack() or _profiler_enabled())


def asked_gradients(ctx: Any, needed: tuple[bool, ...]) -> tuple[bool, ...]:
    """Return for which of a function's first inputs this backward pass needs gradients, as PyTorch's operators know it.

    `needed` is `ctx.needs_input_grad` of them: True also where `torch.autograd.grad` or `inputs` ask for others alone.
    """
    if _will_execute is None or sum(needed) < 2:
        return needed
    # of the inputs that are needed, in their order
    nodes = (node for node, _ in ctx.next_functions if node is not None)
    return tuple([one and _is_executed(next(nodes)) for one in needed])


def _is_executed(node: Any) -> bool:
    try:
        return bool(_will_execute(node))
    except RuntimeError:  # a tensor whose gradient `torch.autograd.grad` returns
        return True


def inside_dispatch_mode() -> bool:
    """Return True inside of a TorchDispatchMode; False if PyTorch does not tell."""
    return _dispatch_mode is not None and _dispatch_mode() is not None


def is_compiled(module: Any) -> bool:
    """Return True if torch.compile has taken a module, or its forward."""
    forward = getattr(module, "forward", None)
    compiled = hasattr(forward, "_torchdynamo_orig_callable") and not hasattr(forward, "_torchdynamo_disable")
    return compiled or getattr(module, "_compiled_call_impl", None) is not None


_DispatchMode = _named("torch.utils._python_dispatch.TorchDispatchMode", "streams do not see operations of torch.jit")


def watching(see: Callable[[Any, Any], None]) -> Any:
    """Return a context in which see(operator, its arguments) is called before each operator of PyTorch's dispatcher."""
    if _DispatchMode is None:
        return contextlib.nullcontext()

    class Watcher(_DispatchMode):  # type: ignore[misc, valid-type]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            see(func, (args, kwargs or {}))
            return func(*args, **(kwargs or {}))

    return Watcher()


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """Run what torch.compile has taken as it was before: compiled code does not show its operations."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and to import it takes seconds
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


_named("torch.nn.Module._compiled_call_impl", "a model after model.compile() is not recognised as compiled")


# -- tensors whose values come later -----------------------------------------------------------------------------------


_without_interpreters = _named("torch._functorch.pyfunctorch.temporarily_clear_interpreter_stack", _UNFUSED)
_without_modes = _named("torch.utils._python_dispatch._disable_current_modes", _UNFUSED)
_without_functions = _named("torch._C.DisableTorchFunction", _UNFUSED)
_throw_on_memory = _named("torch._C._set_throw_on_mutable_data_ptr", _UNFUSED)
_wrapper = _named("torch.Tensor._make_wrapper_subclass", _UNFUSED)
_version = _named("torch.Tensor._version", _UNFUSED)

_FOR_FUSION = (_without_interpreters, _without_modes, _without_functions, _throw_on_memory, _wrapper, _version)


def reason_against_fusion() -> str:
    """Return the reason why no layer can be fused in this release, or an empty text."""
    names = [name for name, effect in MISSING.items() if effect == _UNFUSED]
    return f"PyTorch {torch.__version__} has no {', '.join(names)}" if None in _FOR_FUSION else ""


def version(tensor: torch.Tensor) -> int | None:
    """Return a number that grows with each write to a tensor; None if PyTorch counts none, as in inference mode."""
    return None if _version is None or tensor.is_inference() else tensor._version


def without_modes() -> Any:
    """Return a context without the modes of the code around it, if PyTorch can leave them."""
    return contextlib.nullcontext() if _without_modes is None else _without_modes()


@contextlib.contextmanager
def without_transforms() -> Iterator[None]:
    """Run without modes, transforms and subclasses' rules. Only where `reason_against_fusion` is empty."""
    with _without_interpreters(), _without_modes(), _without_functions():
        yield


def without_memory(kind: Any, like: torch.Tensor) -> Any:
    """Return a tensor of a subclass that has no memory, and raises if C++ asks for it."""
    tensor = _wrapper(kind, like.shape, strides=like.stride(), dtype=like.dtype, device=like.device)
    _throw_on_memory(tensor)
    return tensor


# -- small functions ---------------------------------------------------------------------------------------------------


_suggest_memory_format = _named("torch._prims_common.suggest_memory_format", "strides are compared")
_cast = _named("torch.amp.autocast_mode._cast", "autocast of the operator casts tensors one by one")
_leaves = _named("torch.utils._pytree.tree_leaves", _CONTAINERS)
_map_only = _named("torch.utils._pytree.tree_map_only", _CONTAINERS)
_flop_count = _named("torch.utils.flop_counter.conv_flop_count", "FLOP counters do not count tconv's operator")
_flop_formula = _named("torch.utils.flop_counter.register_flop_formula", "FLOP counters do not count tconv's operator")

_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def suggest_memory_format(tensor: torch.Tensor) -> torch.memory_format:
    """Return channels last for a tensor whose strides are in that order, and else the contiguous format."""
    if _suggest_memory_format is not None:  # it also knows symbolic strides
        return _suggest_memory_format(tensor)
    last = _LAST.get(tensor.dim())
    if last is None or tensor.layout is not torch.strided or tensor.stride(1) == 0 or 0 in tensor.shape:
        return torch.contiguous_format
    least = 0  # stride that the next axis needs
    for axis in (1, *range(tensor.dim() - 1, 1, -1), 0):  # from the densest axis on
        step = tensor.stride(axis)
        if step < least or (axis == 0 and least == tensor.stride(1)):
            return torch.contiguous_format
        least = step * tensor.shape[axis]
    return last


def cast(value: Any, device: str, dtype: torch.dtype) -> Any:
    """Return arguments with floating-point tensors below float64 in this dtype, as autocast has them."""
    if _cast is not None:
        return _cast(value, device, dtype)

    def one(tensor: Any) -> Any:
        lower = tensor.is_floating_point() and tensor.device.type == device and tensor.dtype is not torch.float64
        return tensor.to(dtype) if lower else tensor

    return tree_map_only(torch.Tensor, one, value)


def tree_map_only(kind: Any, function: Any, value: Any) -> Any:
    """Return nested containers with a function applied to all objects of a kind in them."""
    if _map_only is not None:
        return _map_only(kind, function, value)
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, dict):
        items = {key: tree_map_only(kind, function, one) for key, one in value.items()}
        changed = {key: one for key, one in items.items() if one is not value[key]}
        if not changed:
            return value
        copied = copy.copy(value)  # of any subclass, with whatever else it has
        for key, one in changed.items():
            copied[key] = one
        return copied
    if isinstance(value, (list, tuple)):
        made = [tree_map_only(kind, function, one) for one in value]
        if all(one is other for one, other in zip(made, value, strict=True)):
            return value
        return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return value


def tree_leaves(value: Any) -> list[Any]:
    """Return all objects in nested containers."""
    if _leaves is not None:
        return list(_leaves(value))
    found: list[Any] = []
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        return [value]
    for one in value:
        found += tree_leaves(one)
    return found


def count_flops(operator: Any) -> None:
    """Let PyTorch's FLOP counter count an operator with the arguments of `tconv::conv_transpose`."""
    if _flop_count is None or _flop_formula is None:
        return

    def flops(x_shape: Any, w_shape: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
        return int(_flop_count(x_shape, w_shape, out_shape, transposed=True))

    _flop_formula(operator)(flops)
