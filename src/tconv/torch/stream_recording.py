"""One run of a module, recorded: the operations on values that depend on its input, with the places they stand at.

A mode of `torch.overrides` sees the calls of PyTorch's functions and methods. Values that depend on the input are
numbered; everything else is a constant, so that weight norms and embeddings of constants are folded by the run itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from tconv._arrays.torch_names import tree_leaves, version, watching
from tconv.errors import StreamError

_METADATA = """
shape size dim ndim ndimension __len__ numel nelement dtype device layout stride storage_offset is_contiguous names
requires_grad grad grad_fn is_leaf is_cuda is_cpu is_mps is_xpu is_meta is_sparse is_quantized is_nested itemsize nbytes
is_floating_point is_complex is_signed is_conj is_neg is_inference is_mkldnn is_xla element_size get_device _version
data_ptr untyped_storage __hash__ __repr__ __format__ __str__ is_same_size is_tensor is_storage result_type can_cast
promote_types __dlpack_device__ _is_zerotensor is_vulkan output_nr _backward_hooks
"""
METADATA = frozenset(_METADATA.split())
"""Functions that tell something of a value which does not depend on its numbers."""

_NEW_CONSTANTS = """
zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones new_empty new_full
new_tensor new_empty_strided
"""
NEW_CONSTANTS = frozenset(_NEW_CONSTANTS.split())
"""Functions that make a tensor of the shape, dtype or device of a value, but not of its numbers."""

_NUMBERS_IN_SHAPES = "nonzero argwhere masked_select unique unique_consecutive bincount"
NUMBERS_IN_SHAPES = frozenset(_NUMBERS_IN_SHAPES.split())
"""Functions whose results have shapes that depend on the numbers of a value, which the module can read there."""

LIKE_ANOTHER = frozenset({"to", "type_as", "expand_as", "view_as", "reshape_as"})
"""Methods that take no more of their other arguments than shape, dtype or device."""

_IN_PLACE = "iadd isub imul idiv itruediv ifloordiv imod ipow iand ior ixor ilshift irshift"
IN_PLACE = frozenset(_IN_PLACE.split())
"""Operators that write into their first argument."""


def placed(place: str, reason: str) -> StreamError:
    """Return the error of an operation in a module of this name."""
    return StreamError(f"{place}: {reason}" if place else reason)


class TimeValue(NamedTuple):
    """Reference to a value that depends on the input."""

    number: int


class Stale(NamedTuple):
    """Reference to a view, or to the base of one, after an operation in place has changed the other."""

    number: int


class RecordedOperation(NamedTuple):
    """One call: arguments with a `TimeValue` in place of tensors that depend on the input, and numbers of results.

    `name` has no underscores around it: "add" for `+`, `add_` and `torch.add`.
    """

    name: str
    place: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[int, ...]


class RecordedRun(NamedTuple):
    """The operations of one run in their order, and the shapes and dtypes of values by number; 0 is the input."""

    operations: list[RecordedOperation]
    shapes: dict[int, tuple[int, ...]]
    dtypes: dict[int, torch.dtype]
    outputs: tuple[int, ...]
    """Numbers of the values among the module's outputs."""
    tensors: tuple[torch.Tensor, ...]
    """The tensors that they are."""
    given: torch.Tensor
    """The input."""


def record(module: torch.nn.Module, call: Callable[[torch.Tensor], Any], x: torch.Tensor) -> RecordedRun:
    """Run `call(x)`, which calls the module, and return the operations on values that depend on x.

    The module is in evaluation mode and without gradients; that is for the caller. Errors of the module pass through.
    """
    names = {id(each): name for name, each in module.named_modules()}
    recorder = Recorder()
    given = x.detach().clone()
    recorder.track(given)
    with _places(names, recorder.places):
        with watching(recorder.look_at), recorder:
            result = call(given)
        if recorder.hidden is not None:
            raise recorder.hidden
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        entries = [(recorder.reference(leaf), leaf) for leaf in outputs]
    stale = [reference for reference, _ in entries if isinstance(reference, Stale)]
    if stale:
        raise StreamError("the output is a view of a value that is changed in place afterwards")
    tracked = [(reference.number, leaf) for reference, leaf in entries if isinstance(reference, TimeValue)]
    return RecordedRun(
        recorder.operations,
        recorder.shapes,
        recorder.dtypes,
        tuple(number for number, _ in tracked),
        tuple(leaf for _, leaf in tracked),
        x,
    )


class _Entry(NamedTuple):
    number: int
    serial: int
    """Count of the operations before it."""


class Recorder(TorchFunctionMode):
    """Mode that records the functions whose arguments depend on tracked tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[RecordedOperation] = []
        self.shapes: dict[int, tuple[int, ...]] = {}
        self.dtypes: dict[int, torch.dtype] = {}
        self.places: list[str] = []
        self._entries: Any = WeakIdKeyDictionary()
        self.inside = 0
        """Depth of functions that are running now, each seen by this mode."""
        self.hidden: StreamError | None = None
        """Error of the first operator that it does not see; raised later, as torch.jit would make another of it."""
        self._serial = 0
        self._written: dict[int, tuple[int, Any]] = {}
        """Storages that were written in place, by address: the count of operations before, and the storage, kept."""

    def track(self, tensor: torch.Tensor) -> int:
        """Return the number of a tensor that depends on the input from now on."""
        number = len(self.shapes)
        self._entries[tensor] = _Entry(number, self._serial)
        self.shapes[number] = tuple(tensor.shape)
        self.dtypes[number] = tensor.dtype
        return number

    def reference(self, leaf: Any) -> Any:
        """Return a `TimeValue`, or `Stale`, for a tensor that depends on the input; anything else as it is."""
        if not isinstance(leaf, torch.Tensor):
            return leaf
        entry = self._entries.get(leaf)
        written = self._written.get(_address(leaf)) if self._written else None
        if written is not None and (entry is None or entry.serial < written[0]):
            return Stale(-1 if entry is None else entry.number)
        return leaf if entry is None else TimeValue(entry.number)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function, and record it if an argument depends on the input."""
        self.inside += 1
        try:
            return self._called(func, args, kwargs or {})
        finally:
            self.inside -= 1

    def _called(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        name = name_of(func)
        if name in METADATA:
            return func(*args, **kwargs)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        references = [self.reference(leaf) for leaf in given]
        depend = [isinstance(each, (TimeValue, Stale)) for each in references]
        if not any(depend) or (name in NEW_CONSTANTS and not any(depend[1:])):  # a number to fill it with may follow
            return func(*args, **kwargs)
        if name in LIKE_ANOTHER and args and isinstance(args[0], torch.Tensor) and self.reference(args[0]) is args[0]:
            return func(*args, **kwargs)
        if _shape_tells_numbers(name, given, depend, len(args) + len(kwargs)):
            raise placed(self.place, f"{name} gives a shape that depends on the numbers of a value")
        if any(leaf.is_inference() for leaf in given):
            raise placed(self.place, f"{name} runs in inference mode, where PyTorch does not tell what it changes")
        before = [version(leaf) for leaf in given]
        changed_args, changed_kwargs = _replaced(args, self.reference), _replaced(kwargs, self.reference)
        result = func(*args, **kwargs)
        changed = [leaf for leaf, old in zip(given, before, strict=True) if version(leaf) != old]
        self._serial += 1
        for leaf in changed:
            self._written[_address(leaf)] = self._serial, leaf.untyped_storage()
        results = _distinct([leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)] + changed)
        if not changed and len(results) == 1 and any(results[0] is leaf for leaf in given):
            return result  # the tensor itself, as contiguous() may return it
        numbers = tuple(self.track(leaf) for leaf in results)
        self.operations.append(RecordedOperation(name, self.place, changed_args, changed_kwargs, numbers))
        return result

    def look_at(self, operator: Any, given: Any) -> None:
        """Note an operator that reads a tracked tensor outside of the functions that this mode sees."""
        if self.inside or self.hidden is not None:
            return
        if any(self.reference(leaf) is not leaf for leaf in tree_leaves(given)):
            reason = f"{operator} runs in code whose operations cannot be seen, such as that of torch.jit"
            self.hidden = placed(self.place, reason)

    @property
    def place(self) -> str:
        """Name of the module whose forward runs."""
        return self.places[-1] if self.places else ""


def _shape_tells_numbers(name: str, given: list[torch.Tensor], depend: list[bool], count: int) -> bool:
    """Return True if the shape of a function's result depends on the numbers of a value, which modules may read there.

    `depend` says which of the tensors given to it depend on the input; `count` is that of all arguments.
    """
    if name == "where":
        return count == 1  # the places where a condition holds
    if name == "repeat_interleave":
        return any(depend[1:])
    if name in ("getitem", "index"):
        masks = (leaf.dtype in (torch.bool, torch.uint8) for leaf in given[1:])
        return any(depends and is_mask for depends, is_mask in zip(depend[1:], masks, strict=True))
    return name in NUMBERS_IN_SHAPES


def _distinct(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for tensor in tensors:
        if not any(tensor is each for each in found):
            found.append(tensor)
    return found


def _address(tensor: torch.Tensor) -> int:
    try:
        return int(tensor.untyped_storage().data_ptr())
    except (RuntimeError, NotImplementedError):  # it has no memory of its own
        return 0


def _replaced(value: Any, of: Callable[[Any], Any]) -> Any:
    """Return a structure with other leaves."""
    if isinstance(value, dict):
        return {key: _replaced(each, of) for key, each in value.items()}
    if isinstance(value, (list, tuple)) and not isinstance(value, (TimeValue, Stale)):
        return tuple(_replaced(each, of) for each in value)
    if isinstance(value, slice):
        return slice(*(_replaced(each, of) for each in (value.start, value.stop, value.step)))
    return of(value)


def name_of(func: Any) -> str:
    """Return the name of a function of PyTorch without underscores around it: "add" for `Tensor.__iadd__`."""
    name = str(getattr(func, "__name__", func))
    if name == "__get__":
        name = str(getattr(getattr(func, "__self__", None), "__name__", name))
    elif name == "__set__":
        return "set " + str(getattr(getattr(func, "__self__", None), "__name__", name))
    if name in METADATA:
        return name
    if name.startswith("__") and name.endswith("__"):
        inner = name[2:-2]
        return inner[1:] if inner in IN_PLACE else inner
    return name.rstrip("_") or name


@contextmanager
def _places(names: dict[int, str], stack: list[str]) -> Iterator[None]:
    """Keep the names of the modules whose forward runs on a stack."""

    def enter(module: Any, args: Any) -> None:
        if id(module) in names:
            stack.append(names[id(module)])

    def leave(module: Any, args: Any, output: Any) -> None:
        if id(module) in names and stack:
            stack.pop()

    with ExitStack() as exits:
        exits.callback(modules.register_module_forward_pre_hook(enter).remove)
        exits.callback(modules.register_module_forward_hook(leave, always_call=True).remove)
        yield
