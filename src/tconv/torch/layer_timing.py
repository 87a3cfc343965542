"""What a model's transposed convolutions take, and what tconv's kernel would make of it: measured, not guessed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_leaves

from tconv.errors import ArgumentError

_ROUNDS = 5
_SECONDS = 4.0
"""Measuring ends after so long, once there are three rounds."""
_AGREES = 1e-4
"""Of the largest output: outputs of a model whose layers are fused rightly differ by less."""


class Example(NamedTuple):
    """What a model is called with."""

    arguments: tuple[Any, ...]
    words: dict[str, Any]

    @classmethod
    def of(cls, given: Any) -> Example:
        """A tensor, a tuple of arguments or a dict of named ones. Raises ArgumentError for anything else."""
        if isinstance(given, torch.Tensor):
            return cls((given,), {})
        if isinstance(given, (tuple, list)):
            return cls(tuple(given), {})
        if hasattr(given, "keys"):
            return cls((), {str(name): given[name] for name in given})
        raise ArgumentError(
            f"example is a {type(given).__qualname__}; a tensor, a tuple of arguments or a dict of named ones is "
            "needed. Write tconv.torch.accelerate(model, torch.randn(1, 3, 64, 64)), for example"
        )

    def run(self, model: torch.nn.Module) -> Any:
        """One forward pass, in which random numbers are the same each time."""
        torch.default_generator.manual_seed(0)  # torch.manual_seed would change those of other devices, too
        return model(*self.arguments, **self.words)


class Seen(NamedTuple):
    """A layer in the measured forward: the seconds of all its calls, and its first call's input."""

    seconds: float
    input: torch.Tensor
    words: dict[str, Any]


class Measured(NamedTuple):
    """A measured forward: seconds of the whole, its layers by name, and its output."""

    seconds: float
    layers: dict[str, Seen]
    output: list[torch.Tensor]

    def difference(self, output: Any) -> float | None:
        """The largest absolute difference of any tensor in another output; inf if it is made otherwise.

        None where there is no tensor to compare.
        """
        found = _tensors(output)
        if [tensor.shape for tensor in found] != [tensor.shape for tensor in self.output]:
            return math.inf
        return max(map(_distance, self.output, found), default=None)

    def agrees(self, output: Any) -> bool:
        """Whether every tensor of another output is the same but for rounding; False where there is none."""
        found = _tensors(output)
        alike = [tensor.shape for tensor in found] == [tensor.shape for tensor in self.output]
        return bool(found) and alike and all(map(_agree, self.output, found))


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest absolute difference; inf where integers differ, or one is NaN or inf and the other is not."""
    if not (a.is_floating_point() or a.is_complex()):
        return 0.0 if torch.equal(a, b) else math.inf
    same = (a == b) | (a.isnan() & b.isnan())
    apart = torch.where(same, 0, (a - b).abs())
    return float(apart.nan_to_num(nan=math.inf, posinf=math.inf).max()) if a.numel() else 0.0


def _agree(a: torch.Tensor, b: torch.Tensor) -> bool:
    largest = float(a[a.isfinite()].abs().max()) if a.is_floating_point() and a.isfinite().any() else 0.0
    return _distance(a, b) <= _AGREES * largest


def _tensors(output: Any) -> list[torch.Tensor]:
    return [leaf.detach().clone() for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]


@contextmanager
def quiet(model: torch.nn.Module) -> Iterator[None]:
    """Eval mode without gradients, after which modes and random state are as before."""
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval()
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def measure(model: torch.nn.Module, layers: dict[str, Any], example: Example) -> Measured:
    """The best of a few forward passes, with a clock around every layer.

    The best, and not the median: what else a busy machine does only adds, to threads that wait for each other most.
    """
    spent: dict[str, list[float]] = {name: [] for name in layers}
    inputs: dict[str, tuple[torch.Tensor, dict[str, Any]]] = {}
    started: dict[str, float] = {}

    def before(name: str) -> Callable[..., None]:
        def hook(module: Any, given: Any, words: Any) -> None:
            if name not in inputs and given:
                inputs[name] = (
                    given[0].detach().clone(),
                    {**dict(zip(("output_size",), given[1:], strict=False)), **words},
                )
            started[name] = time.perf_counter()

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(module: Any, given: Any, made: Any) -> None:
            spent[name][-1] += time.perf_counter() - started[name]

        return hook

    handles = []
    for name, layer in layers.items():
        # first of all before, and last of all behind: other hooks are a part of the layer
        handles.append(layer.register_forward_pre_hook(before(name), with_kwargs=True, prepend=True))
        handles.append(layer.register_forward_hook(after(name)))
    whole: list[float] = []
    begun = time.perf_counter()
    try:
        for turn in range(_ROUNDS + 1):
            for times in spent.values():
                times.append(0.0)
            start = time.perf_counter()
            output = example.run(model)
            whole.append(time.perf_counter() - start)
            if turn == 0:
                first = _tensors(output)
            del output
            if turn >= 3 and time.perf_counter() - begun > _SECONDS:
                break
    finally:
        for handle in handles:
            handle.remove()
    seen = {name: Seen(min(spent[name][1:]), tensor, words) for name, (tensor, words) in inputs.items()}
    return Measured(min(whole[1:]), seen, first)


def gain(layer: Any, seen: Seen) -> float:
    """PyTorch's time over tconv's, of this layer on this input: the best of interleaved calls."""
    stock, ours = layer._stock.forward, type(layer).forward
    spent: dict[Any, list[float]] = {stock: [], ours: []}
    begun = time.perf_counter()
    with torch.no_grad():
        for turn in range(2 * _ROUNDS):
            for call, times in spent.items():
                start = time.perf_counter()
                call(layer, seen.input, **seen.words)
                if turn:
                    times.append(time.perf_counter() - start)
            if turn >= 3 and time.perf_counter() - begun > 1.0:
                break
    return min(spent[stock]) / min(spent[ours])
