"""Measurement of a model's forward pass and its transposed convolutions, and of the gain of tconv's kernel for each."""

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
"""Measuring ends after this time, but not before three rounds."""
_TOLERANCE = 1e-4
"""Largest difference of outputs that fusion may cause, as a share of the largest value."""


class Example(NamedTuple):
    """Arguments that a model is called with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, example: Any) -> Example:
        """Read a tensor, a tuple of arguments or a dict of named ones. Raises ArgumentError for anything else."""
        if isinstance(example, torch.Tensor):
            return cls((example,), {})
        if isinstance(example, (tuple, list)):
            return cls(tuple(example), {})
        if hasattr(example, "keys"):
            return cls((), {str(name): example[name] for name in example})
        raise ArgumentError(
            f"example is a {type(example).__qualname__}; a tensor, a tuple of arguments or a dict of named ones is "
            "needed. Write tconv.torch.accelerate(model, torch.randn(1, 3, 64, 64)), for example"
        )

    def run(self, model: torch.nn.Module) -> Any:
        """Run one forward pass, with the same random numbers each time."""
        torch.default_generator.manual_seed(0)  # torch.manual_seed would change those of other devices, too
        return model(*self.args, **self.kwargs)


class LayerTime(NamedTuple):
    """A layer in the measured forward: the seconds of all its calls, and the arguments of the first."""

    seconds: float
    input: torch.Tensor
    kwargs: dict[str, Any]


class ForwardTime(NamedTuple):
    """A measured forward: seconds of the whole model, its layers by name, and its output."""

    seconds: float
    layers: dict[str, LayerTime]
    output: list[torch.Tensor]

    def difference(self, output: Any) -> float | None:
        """Return the largest absolute difference of any tensor in another output; inf if its shapes differ.

        None if it contains no tensor.
        """
        tensors = _tensors(output)
        if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in self.output]:
            return math.inf
        return max(map(_distance, self.output, tensors), default=None)

    def agrees(self, output: Any) -> bool:
        """Return True if all tensors of another output are equal but for rounding; False if it contains none."""
        tensors = _tensors(output)
        same_shapes = [tensor.shape for tensor in tensors] == [tensor.shape for tensor in self.output]
        return bool(tensors) and same_shapes and all(map(_agree, self.output, tensors))


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest absolute difference; inf if integers differ, or one is NaN or inf and the other is not."""
    if not (a.is_floating_point() or a.is_complex()):
        return 0.0 if torch.equal(a, b) else math.inf
    same = (a == b) | (a.isnan() & b.isnan())
    differences = torch.where(same, 0, (a - b).abs())
    return float(differences.nan_to_num(nan=math.inf, posinf=math.inf).max()) if a.numel() else 0.0


def _agree(a: torch.Tensor, b: torch.Tensor) -> bool:
    largest = float(a[a.isfinite()].abs().max()) if a.is_floating_point() and a.isfinite().any() else 0.0
    return _distance(a, b) <= _TOLERANCE * largest


def _tensors(output: Any) -> list[torch.Tensor]:
    return [leaf.detach().clone() for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]


@contextmanager
def eval_without_gradients(model: torch.nn.Module) -> Iterator[None]:
    """Run in eval mode without gradients; restore modes and random state afterwards."""
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval()
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def measure(model: torch.nn.Module, layers: dict[str, Any], example: Example) -> ForwardTime:
    """Measure the fastest of a few forward passes, with a clock around every layer.

    The fastest, not the median: other programs only add time, most of all to threads that wait for each other.
    """
    spent: dict[str, list[float]] = {name: [] for name in layers}
    inputs: dict[str, tuple[torch.Tensor, dict[str, Any]]] = {}
    started: dict[str, float] = {}

    def before(name: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            if name not in inputs and args:
                inputs[name] = (
                    args[0].detach().clone(),
                    {**dict(zip(("output_size",), args[1:], strict=False)), **kwargs},
                )
            started[name] = time.perf_counter()

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            spent[name][-1] += time.perf_counter() - started[name]

        return hook

    handles = []
    for name, layer in layers.items():
        # the first hook before the layer and the last one after it: other hooks count as a part of the layer
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
    measured = {name: LayerTime(min(spent[name][1:]), tensor, kwargs) for name, (tensor, kwargs) in inputs.items()}
    return ForwardTime(min(whole[1:]), measured, first)


def measure_gain(layer: Any, measured: LayerTime) -> float:
    """Return PyTorch's time divided by tconv's, of this layer on this input: the fastest of interleaved calls."""
    stock, ours = layer._stock.forward, type(layer).forward
    spent: dict[Any, list[float]] = {stock: [], ours: []}
    begun = time.perf_counter()
    with torch.no_grad():
        for turn in range(2 * _ROUNDS):
            for call, times in spent.items():
                start = time.perf_counter()
                call(layer, measured.input, **measured.kwargs)
                if turn:
                    times.append(time.perf_counter() - start)
            if turn >= 3 and time.perf_counter() - begun > 1.0:
                break
    return min(spent[stock]) / min(spent[ours])
