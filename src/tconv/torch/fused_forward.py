"""The forward pass of a model with fused layers: the threads in which it runs, and the lazy tensors that it created.

Layers fold only while the whole model runs. What the model returns contains ordinary tensors only.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from typing import Any

import torch

from tconv._arrays.torch_names import tree_map_only
from tconv.errors import StaleError
from tconv.torch.lazy_tensor import LazyTensor, TensorSource

_ATTRIBUTE = "_tconv_fused_forward"


class FusedForward:
    """Hooks on a model that follow its forward pass, in each thread on its own."""

    def __init__(self, model: torch.nn.Module | None = None) -> None:
        self._of_thread = threading.local()
        if model is not None:
            handles: list[Any] = []
            model.__dict__[_ATTRIBUTE] = self, handles  # before the hooks: after an interrupt they can be removed
            handles.append(model.register_forward_pre_hook(self.enter))
            handles.append(model.register_forward_hook(self.leave, always_call=True))

    def __reduce__(self) -> Any:
        return FusedForward, ()

    @staticmethod
    def of(model: torch.nn.Module) -> FusedForward:
        """Return the model's object of this class, created by the first call."""
        existing = model.__dict__.get(_ATTRIBUTE)
        return FusedForward(model) if existing is None else existing[0]

    @property
    def running(self) -> bool:
        """True while the model runs in this thread."""
        return getattr(self._of_thread, "depth", 0) > 0

    def lazy(self, source: TensorSource) -> LazyTensor:
        """Return a tensor whose values are computed when they are read, or at the end of the forward at the latest."""
        self._of_thread.sources.append(weakref.ref(source))
        tensor: LazyTensor = LazyTensor(source)
        return tensor

    def enter(self, model: Any, args: Any) -> None:
        """Note the begin of the model's forward."""
        if not torch.compiler.is_compiling():
            if not self.running:
                self._of_thread.depth, self._of_thread.sources = 0, []
            self._of_thread.depth += 1

    def leave(self, model: Any, args: Any, output: Any) -> Any:
        """Note the end of the forward, also after an error in it, and compute the lazy tensors that still live."""
        if torch.compiler.is_compiling() or not self.running:
            return None
        self._of_thread.depth -= 1
        if self._of_thread.depth > 0:
            return None
        sources, self._of_thread.sources = self._of_thread.sources, []
        living = [source for source in (reference() for reference in sources) if source is not None]
        if output is None or not living:
            return None
        for source in living:
            # code that stored the tensor, but does not read it, must not get this error
            with contextlib.suppress(StaleError):
                source.values()
        return tree_map_only(LazyTensor, lambda tensor: tensor.source.values(), output)


def forget_unused(model: torch.nn.Module) -> None:
    """Remove the hooks from a model, and from modules in it, that have no fused layers any more."""
    used = {module.__dict__["_chain"].forward for module in model.modules() if "_chain" in module.__dict__}
    for module in model.modules():
        forward, handles = module.__dict__.get(_ATTRIBUTE, (None, ()))
        if forward is not None and forward not in used:
            for handle in handles:
                handle.remove()
            del module.__dict__[_ATTRIBUTE]
