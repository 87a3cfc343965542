"""`ModuleCall`: calls of a module in which one tensor is streamed, and its other arguments are constants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tconv.errors import ArgumentError
from tconv.torch.forward_pass import Example, eval_without_gradients

_LENGTH = 32
"""Samples of an example that is made."""


class ModuleCall:
    """Module with the arguments of an example, the first tensor of which is what a stream takes in chunks.

    >>> call = ModuleCall(torch.nn.Conv1d(3, 1, 5), torch.ones(1, 3, 20))
    >>> with call.evaluated(): call(call.example[:, :, :10]).shape
    torch.Size([1, 1, 6])
    """

    def __init__(self, module: torch.nn.Module, example: Any) -> None:
        self.module = module
        self._args: list[Any] = []
        self._kwargs: dict[str, Any] = {}
        if isinstance(example, torch.Tensor):
            self._args = [example]
        elif isinstance(example, (tuple, list)):
            self._args = list(example)
        elif hasattr(example, "keys"):
            self._kwargs = {str(name): example[name] for name in example}
        else:
            raise ArgumentError(
                f"example is a {type(example).__qualname__}; a tensor, a tuple of arguments or a dict of named ones is "
                "needed. Write tconv.torch.stream(module, torch.randn(1, 80, 50)), for example"
            )
        named: list[tuple[Any, Any]] = [*enumerate(self._args), *self._kwargs.items()]
        found = [(name, value) for name, value in named if isinstance(value, torch.Tensor)]
        if not found or found[0][1].ndim == 0 or found[0][1].numel() == 0:
            raise ArgumentError(
                "example has no tensor with samples; its first one is what the stream takes. Write "
                "tconv.torch.stream(module, torch.randn(1, 80, 50)), for example"
            )
        self._streamed, self.example = found[0]
        self.example = self.example.detach()

    def __call__(self, x: torch.Tensor) -> Any:
        """Return what the module returns with x in place of the streamed argument."""
        args, kwargs = list(self._args), dict(self._kwargs)
        if isinstance(self._streamed, int):
            args[self._streamed] = x
        else:
            kwargs[self._streamed] = x
        return self.module(*args, **kwargs)

    def constants(self) -> list[tuple[str, Any]]:
        """Return the other arguments, by place or name."""
        named = [*((f"argument {place}", each) for place, each in enumerate(self._args)), *self._kwargs.items()]
        streamed = f"argument {self._streamed}" if isinstance(self._streamed, int) else self._streamed
        return [(name, each) for name, each in named if name != streamed]

    def with_module(self, module: torch.nn.Module, dtype: torch.dtype) -> ModuleCall:
        """Return the call of another module, with floating-point arguments of another dtype."""

        def cast(value: Any) -> Any:
            return value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

        if self._args:
            return ModuleCall(module, tuple(map(cast, self._args)))
        return ModuleCall(module, {name: cast(value) for name, value in self._kwargs.items()})

    @contextmanager
    def evaluated(self) -> Iterator[None]:
        """Run calls in eval mode, without gradients; modes, buffers, arguments and random state stay as they are."""
        given = Example(tuple(self._args), self._kwargs)
        with torch.inference_mode(False), given.unchanged(self.module), eval_without_gradients(self.module):
            yield


def made_example(module: torch.nn.Module) -> torch.Tensor:
    """Return random numbers with the channels of the module's first layer that the module takes. Raises ArgumentError.

    >>> made_example(torch.nn.Conv1d(3, 1, 5)).shape
    torch.Size([1, 3, 32])
    """
    channels = next((count for layer in module.modules() if (count := _channels(layer)) is not None), None)
    if channels is not None:
        generator = torch.Generator().manual_seed(0)
        numbers = torch.randn(1, channels, _LENGTH, generator=generator, dtype=torch.float32, device="cpu")
        for x in (numbers, numbers.transpose(1, 2).contiguous()):
            call = ModuleCall(module, x)
            try:
                with call.evaluated():
                    call(x)
            except Exception:  # whatever the module raises for another layout
                continue
            return x
    raise ArgumentError(
        f"{type(module).__name__} takes no input that can be read off its first layer. Write an example: "
        "tconv.torch.stream(module, torch.randn(1, 80, 50)), or (x, other arguments)"
    )


def _channels(layer: torch.nn.Module) -> int | None:
    """Return the input channels of a layer that has some."""
    for name in ("in_channels", "in_features", "input_size"):
        count = getattr(layer, name, None)
        if isinstance(count, int) and not isinstance(count, bool) and count > 0:
            return count
    return None
