"""A model's forward pass: its arguments, the calls of its layers, and the comparison of its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn.parameter import is_lazy

from tconv._arrays.torch_names import tree_leaves, version
from tconv.errors import ArgumentError
from tconv.torch.element_types import title
from tconv.torch.method_plan import LayerPlan, plan

_TOLERANCES = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""Largest difference of outputs that fusion may cause, as a share of the largest value, by the dtype of a layer.

PyTorch rounds between a layer and the modules behind it, the kernel once, behind them. In two bytes the difference is a
few units in the last place, and grows in the layers that follow. Elsewhere in a model with layers in float64 there may
be float32.
"""


class Example:
    """Arguments that a model is called with, again and again: each pass finds the values that the first one found."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs
        self._buffers: list[tuple[dict[str, Any], str, torch.Tensor | None]] = []
        self._values: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._versions: list[int | None] = []

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

    @contextmanager
    def unchanged(self, model: torch.nn.Module) -> Iterator[None]:
        """Run passes that may write the example's tensors or the model's buffers: they are restored afterwards."""
        self._buffers = [
            (module._buffers, name, tensor)
            for module in model.modules()
            for name, tensor in module._buffers.items()
            if not is_lazy(tensor)  # it has no values yet
        ]
        given = [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, torch.Tensor)]
        buffers = [tensor for _, _, tensor in self._buffers if tensor is not None]
        tensors = {id(tensor): tensor for tensor in (*given, *buffers)}
        self._values = [(tensor, tensor.detach().clone()) for tensor in tensors.values()]
        self._versions = [version(tensor) for tensor in tensors.values()]
        try:
            yield
        finally:
            self.restore()

    def restore(self) -> None:
        """Give the example and the model's buffers their first values, where a pass has changed them."""
        for buffers, name, tensor in self._buffers:
            if buffers.get(name) is not tensor:
                buffers[name] = tensor
        written = False
        for (tensor, values), before in zip(self._values, self._versions, strict=True):
            if before is None or version(tensor) != before:
                with suppress(RuntimeError), torch.no_grad():  # one that cannot be written: no pass has changed it
                    tensor.copy_(values)
                written = True
        if written:
            self._versions = [version(tensor) for tensor, _ in self._values]

    def prepare(self) -> None:
        """Make the next pass find the same values and the same random numbers."""
        self.restore()
        torch.default_generator.manual_seed(0)  # torch.manual_seed would change those of other devices, too

    def call(self, model: torch.nn.Module) -> Any:
        """Run one forward pass that has been prepared."""
        return model(*self.args, **self.kwargs)

    def run(self, model: torch.nn.Module) -> Any:
        """Prepare and run one forward pass."""
        self.prepare()
        return self.call(model)


class ForwardPass(NamedTuple):
    """A pass of the model as it was: the first input of its layers by name, and the tensors of its output."""

    inputs: dict[str, torch.Tensor]
    plans: dict[str, LayerPlan]
    """Plans of the layers in their places: autocast may be on in a part of the model."""
    output: list[torch.Tensor]

    def difference(self, output: Any) -> float | None:
        """Return the largest absolute difference of any tensor in another output; inf if its shapes differ.

        None if it contains no tensor.
        """
        tensors = tensors_of(output)
        if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in self.output]:
            return math.inf
        return max(map(_distance, self.output, tensors), default=None)

    def agrees(self, output: Any) -> bool:
        """Return True if all tensors of another output are equal but for rounding; False if it contains none."""
        tensors = tensors_of(output)
        same_shapes = [tensor.shape for tensor in tensors] == [tensor.shape for tensor in self.output]
        share = max((_TOLERANCES.get(planned.dtype, 0.0) for planned in self.plans.values()), default=0.0)
        return bool(tensors) and same_shapes and all(map(partial(_agree, share=share), self.output, tensors))


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest absolute difference; inf if integers differ, or one is NaN or inf and the other is not."""
    if not (a.is_floating_point() or a.is_complex()):
        return 0.0 if torch.equal(a, b) else math.inf
    if a.dtype.itemsize == 2:  # a difference of large numbers would be inf
        a, b = a.float(), b.float()
    same = (a == b) | (a.isnan() & b.isnan())
    differences = torch.where(same, 0, (a - b).abs())
    return float(differences.nan_to_num(nan=math.inf, posinf=math.inf).max()) if a.numel() else 0.0


def _agree(a: torch.Tensor, b: torch.Tensor, share: float) -> bool:
    largest = float(a[a.isfinite()].abs().max()) if a.is_floating_point() and a.isfinite().any() else 0.0
    own = _TOLERANCES.get(title(a.dtype), _TOLERANCES["float32"])
    return _distance(a, b) <= max(own, share) * largest


def tensors_of(output: Any) -> list[torch.Tensor]:
    """Return copies of the tensors in a model's output."""
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


def observe(model: torch.nn.Module, layers: dict[str, Any], example: Example) -> ForwardPass:
    """Run one pass, and note the first input of each layer that it reaches, with its plan."""
    inputs: dict[str, torch.Tensor] = {}
    plans: dict[str, LayerPlan] = {}

    def before(name: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, kwargs: Any) -> None:
            given = args[0] if args else kwargs.get("input")
            if name not in inputs and isinstance(given, torch.Tensor):
                inputs[name] = given.detach()
                plans[name] = plan(module, inputs[name])

        return hook

    handles: list[Any] = []
    try:
        for name, layer in layers.items():
            handles.append(layer.register_forward_pre_hook(before(name), with_kwargs=True, prepend=True))
        return ForwardPass(inputs, plans, tensors_of(example.run(model)))
    finally:
        for handle in handles:
            handle.remove()
