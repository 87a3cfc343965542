"""Observation of a forward pass: the modules that read the output of each layer.

The order is observed, because the order of modules in a model need not be that of its forward.
"""

from __future__ import annotations

from typing import Any

import torch

from tconv.torch.fusion import ACTIVATIONS, NORMS, Chain, reason_against_norm


class Observer:
    """Hooks that record, during one forward pass, which module received the output of a layer."""

    def __init__(self, model: torch.nn.Module, layers: list[Any]) -> None:
        self._layers = {id(layer) for layer in layers}
        # by the id of an output: the output itself, so that its id is not used again, and the module that returned it
        self._outputs: dict[int, tuple[Any, Any]] = {}
        self._reads: dict[int, list[tuple[Any, Any]]] = {}
        self._calls: dict[int, int] = {}
        modules = [m for m in model.modules() if id(m) in self._layers or type(m) in (*NORMS, *ACTIVATIONS)]
        self._handles = [module.register_forward_hook(self._record) for module in modules]

    def _record(self, module: Any, args: Any, output: Any) -> None:
        self._calls[id(module)] = self._calls.get(id(module), 0) + 1
        if id(module) not in self._layers and len(args) == 1 and id(args[0]) in self._outputs:
            producer = self._outputs[id(args[0])][1]
            self._reads.setdefault(id(producer), []).append((producer, module))
        if isinstance(output, torch.Tensor):
            self._outputs[id(output)] = output, module

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._outputs.clear()

    def reader_of(self, module: Any) -> Any:
        """Return the module that read all outputs of this one, and nothing else; None if there is none."""
        reads = self._reads.get(id(module), [])
        readers = {id(reader): reader for _, reader in reads}
        if len(readers) != 1:
            return None
        (reader,) = readers.values()
        always = len(reads) == self._calls[id(module)] == self._calls[id(reader)]
        return reader if always else None

    def chain(self, layer: Any) -> tuple[Chain | None, str]:
        """Return, after `close`, the modules that can be fused with a layer; or None and the reason."""
        norm, reason = self.reader_of(layer), ""
        if type(norm) in NORMS:
            reason = reason_against_norm(layer, norm) or _hooked(norm)
            if reason:
                return None, f"the {type(norm).__qualname__} behind it {reason}"
            activation = self.reader_of(norm)
        else:
            norm, activation = None, norm
        if type(activation) not in ACTIVATIONS or _hooked(activation):
            activation = None
        if isinstance(activation, torch.nn.PReLU) and activation.num_parameters not in (1, layer.out_channels):
            activation = None
        if norm is None and activation is None:
            return None, "no batch norm or pointwise activation is the only reader of its output"
        return Chain(norm, activation), ""


def _hooked(module: Any) -> str:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return "has hooks" if any(getattr(module, name) for name in hooks) else ""
