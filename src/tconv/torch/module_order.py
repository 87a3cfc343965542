"""Which modules stand behind a layer: observed in a forward pass, not guessed from their order in the model."""

from __future__ import annotations

from typing import Any

import torch

from tconv.torch.fusion import ACTIVATIONS, NORMS, Chain, against_norm


class Observer:
    """Watches one forward pass: which module was given what a layer returned."""

    def __init__(self, model: torch.nn.Module, layers: list[Any]) -> None:
        self._layers = {id(layer) for layer in layers}
        self._made: dict[
            int, tuple[Any, Any]
        ] = {}  # id of a tensor: itself, so that no other takes its id, and its maker
        self._read: dict[int, list[tuple[Any, Any]]] = {}
        self._calls: dict[int, int] = {}
        found = [m for m in model.modules() if id(m) in self._layers or type(m) in (*NORMS, *ACTIVATIONS)]
        self._handles = [module.register_forward_hook(self._saw) for module in found]

    def _saw(self, module: Any, given: Any, made: Any) -> None:
        self._calls[id(module)] = self._calls.get(id(module), 0) + 1
        if id(module) not in self._layers and len(given) == 1 and id(given[0]) in self._made:
            maker = self._made[id(given[0])][1]
            self._read.setdefault(id(maker), []).append((maker, module))
        if isinstance(made, torch.Tensor):
            self._made[id(made)] = made, module

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._made.clear()

    def behind(self, module: Any) -> Any:
        """The module that read all outputs of this one, and nothing else; None if there is none."""
        read = self._read.get(id(module), [])
        readers = {id(reader): reader for _, reader in read}
        if len(readers) != 1:
            return None
        (reader,) = readers.values()
        same = len(read) == self._calls[id(module)] == self._calls[id(reader)]
        return reader if same else None

    def chain(self, layer: Any) -> tuple[Chain | None, str]:
        """After `close`: what can be fused behind a layer, or why nothing can."""
        norm, reason = self.behind(layer), ""
        if type(norm) in NORMS:
            reason = against_norm(layer, norm) or _hooked(norm)
            if reason:
                return None, f"the {type(norm).__qualname__} behind it {reason}"
            activation = self.behind(norm)
        else:
            norm, activation = None, norm
        if type(activation) not in ACTIVATIONS or _hooked(activation):
            activation = None
        if isinstance(activation, torch.nn.PReLU) and activation.num_parameters not in (1, layer.out_channels):
            activation = None
        if norm is None and activation is None:
            return None, "no batch norm or pointwise activation reads its output, and nothing else"
        return Chain(norm, activation), ""


def _hooked(module: Any) -> str:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return "has hooks" if any(getattr(module, name) for name in hooks) else ""
