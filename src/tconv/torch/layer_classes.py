"""Classes of accelerated layers: a layer is replaced by giving it a subclass of its class, and put back by its base."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.nn.utils import parametrize

from tconv.torch import fusion
from tconv.torch.modules import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, DropIn

_DROP_INS: dict[Any, Any] = {kind._stock: kind for kind in (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)}
STOCK = tuple(_DROP_INS)
"""PyTorch's layers."""
_FLAG = "_accelerated"


def accelerate_layer(module: Any) -> None:
    """Give a layer of PyTorch's the class that runs on the kernel."""
    module.__dict__[_FLAG] = True  # before the class: after an interrupt between the two it can be undone
    module.__class__ = _replaced_class(module, _drop_in_class)


def restore_layer(module: Any) -> None:
    """Undo `accelerate_layer`, and the fusion of the layer."""
    fusion.remove(module)
    if isinstance(module, DropIn):
        module.__class__ = _replaced_class(module, _stock_class)
    module.__dict__.pop(_FLAG, None)


def is_accelerated(module: Any) -> bool:
    """Return True for a layer that `accelerate_layer` has changed."""
    return bool(module.__dict__.get(_FLAG))


def _replaced_class(module: Any, replace: Callable[[Any], Any]) -> Any:
    """Return the new class of a module.

    A parametrised module keeps its own class, on a new base, which stays when the parametrisation is removed.
    """
    kind = type(module)
    if parametrize.is_parametrized(module):
        return _with_base(kind, replace(kind.__bases__[0]))
    return replace(kind)


def _drop_in_class(kind: Any) -> Any:
    """Return the drop-in subclass of a class, created by the first call."""
    if kind in _DROP_INS:
        return _DROP_INS[kind]
    members = {
        "_stock": kind,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__reduce_ex__": _reduce,
    }
    _DROP_INS[kind] = created = type(kind.__name__, (DropIn, kind), members)
    return created


def _stock_class(kind: Any) -> Any:
    """Return the class that a drop-in replaces."""
    return kind._stock


def _with_base(kind: Any, base: Any) -> Any:
    own = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__", "__doc__")}
    return type(kind.__name__, (base,), own)


def _reduce(self: Any, protocol: Any) -> Any:
    """Pickle a drop-in of a user's class by that class, because the drop-in cannot be imported."""
    return _rebuild, (self._stock,), self.__getstate__() if hasattr(self, "__getstate__") else vars(self)


def _rebuild(kind: Any) -> Any:
    drop_in = _drop_in_class(kind)
    return drop_in.__new__(drop_in)
