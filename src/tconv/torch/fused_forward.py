"""A model with fused layers: in which threads it is running, and what its layers have made there."""

from __future__ import annotations

import contextlib
import threading
import weakref
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from tconv.errors import StaleError
from tconv.torch.lazy_tensor import Deferred, Source

_SCOPE = "_tconv_scope"


class Scope:
    """Only while the whole model runs do its layers fold; what it returns, or has kept, are numbers."""

    def __init__(self, model: torch.nn.Module | None = None) -> None:
        self._mine = threading.local()
        if model is not None:
            model.__dict__[_SCOPE] = (
                self,
                [
                    model.register_forward_pre_hook(self.enter),
                    model.register_forward_hook(self.leave, always_call=True),
                ],
            )

    def __reduce__(self) -> Any:
        return Scope, ()

    @staticmethod
    def of(model: torch.nn.Module) -> Scope:
        """The model's scope, made at the first call."""
        known = model.__dict__.get(_SCOPE)
        return Scope(model) if known is None else known[0]

    @property
    def running(self) -> bool:
        """Whether the model is running in this thread."""
        return getattr(self._mine, "depth", 0) > 0

    def deferred(self, source: Source) -> Deferred:
        """A tensor whose numbers are made when they are read, or when the model ends and somebody still has it."""
        self._mine.sources.append(weakref.ref(source))
        made: Deferred = Deferred(source)
        return made

    def enter(self, model: Any, given: Any) -> None:
        """Before the model's forward."""
        if not torch.compiler.is_compiling():
            if not self.running:
                self._mine.depth, self._mine.sources = 0, []
            self._mine.depth += 1

    def leave(self, model: Any, given: Any, made: Any) -> Any:
        """After it, or after an error in it."""
        if torch.compiler.is_compiling() or not self.running:
            return None
        self._mine.depth -= 1
        if self._mine.depth > 0:
            return None
        sources, self._mine.sources = self._mine.sources, []
        held = [source for source in (reference() for reference in sources) if source is not None]
        if made is None or not held:
            return None
        for source in held:
            # somebody who has kept it, but does not read it, shall not be told that it cannot be read
            with contextlib.suppress(StaleError):
                source.numbers()
        return tree_map_only(Deferred, lambda tensor: tensor.source.numbers(), made)


def forget(model: torch.nn.Module) -> None:
    """Take away the hooks of a model without fused layers."""
    _, handles = model.__dict__.pop(_SCOPE, (None, ()))
    for handle in handles:
        handle.remove()
