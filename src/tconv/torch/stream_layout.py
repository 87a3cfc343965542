"""Layouts of a module's values: which axes are sessions, time and channels; to the layout of streams and back."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from tconv._arrays import Array
from tconv.errors import ArrayError, DtypeError, ShapeError


class Layout(NamedTuple):
    """Axes of a value: "B" for sessions, "T" for time, and "C" for each axis of channels, whose sizes `channels` are.

    >>> Layout(("B", "T", "C"), (80,))
    [N, t, 80]
    """

    axes: tuple[str, ...]
    channels: tuple[int, ...]

    @property
    def time(self) -> int:
        """Axis of time."""
        return self.axes.index("T")

    @property
    def sessions(self) -> int | None:
        """Axis of sessions; None if there is none."""
        return self.axes.index("B") if "B" in self.axes else None

    @property
    def total(self) -> int:
        """Number of channels: all of its axes, as one."""
        return math.prod(self.channels)

    def size(self, axis: int) -> int | None:
        """Return the channels of an axis; None for time and sessions."""
        return self.channels[self.axes[:axis].count("C")] if self.axes[axis] == "C" else None

    def canonical(self, array: Array) -> Array:
        """Return an array of this layout as [sessions, C, T]; without its axis of sessions, as one session."""
        order = [axis for axis, role in enumerate(self.axes) if role == "C"]
        if "B" in self.axes:
            order.insert(0, self.axes.index("B"))
        else:
            array = array[None]
            order = [0, *(axis + 1 for axis in order)]
        order.append(self.time + ("B" not in self.axes))
        moved = np.transpose(array, order)
        return moved.reshape(len(moved), self.total, moved.shape[-1])

    def native(self, array: Array) -> Array:
        """Return an array [sessions, C, T] in this layout. Without an axis of sessions it has to be one session."""
        split = array.reshape(len(array), *self.channels, array.shape[-1])
        roles = ["B", *["C"] * len(self.channels), "T"]
        if "B" not in self.axes:
            split, roles = split[0], roles[1:]
        channels = iter(axis for axis, role in enumerate(roles) if role == "C")
        return np.transpose(split, [next(channels) if role == "C" else roles.index(role) for role in self.axes])

    @property
    def of_one(self) -> Layout:
        """Layout without the axis of sessions."""
        return self._replace(axes=tuple(role for role in self.axes if role != "B"))

    def text(self, sessions: str = "N") -> str:
        """Return the axes as text: sizes of channels, t for time, and a word for sessions."""
        sizes = iter(self.channels)
        words = {"T": "t", "B": sessions}
        return f"[{', '.join(str(next(sizes)) if role == 'C' else words[role] for role in self.axes)}]"

    def __repr__(self) -> str:
        return self.text()


class ModuleLayout(NamedTuple):
    """Layouts of a module's input and output, as chunks of PyTorch's tensors: `ChunkLayout` of any axes.

    >>> ModuleLayout(Layout(("B", "T", "C"), (80,)), Layout(("B", "T"), ())).text()
    '[N, t, 80] -> [N, t]'
    """

    given: Layout
    made: Layout
    ndim: int = 1
    """Axes along which a graph has sizes: time."""
    dtype: np.dtype[Any] = np.dtype(np.float32)

    @property
    def has_batch(self) -> bool:
        """True if chunks have an axis of sessions."""
        return self.given.sessions is not None

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.made.total

    @property
    def of_one(self) -> ModuleLayout:
        """Layout of one session's chunks, without an axis for it."""
        return self._replace(given=self.given.of_one, made=self.made.of_one)

    def text(self) -> str:
        """Return the layouts of chunks and outputs as text."""
        return f"{self.given.text()} -> {self.made.text()}"

    def take(self, chunk: Any, batch: int | None, name: str = "the chunk") -> Array:
        """Return a chunk of so many sessions as [N, C, n]; None takes any number. Raises ArrayError, ShapeError."""
        if chunk is None:
            raise ArrayError(f"{name} is None; a tensor is needed. Write stream.flush() for the end of the input")
        if isinstance(chunk, list) and not chunk:
            raise ArrayError(f"{name} is []; a tensor {self.given.text()} is needed. Write one with 0 samples t")
        if not isinstance(chunk, torch.Tensor):
            raise ArrayError(f"{name} is a {type(chunk).__name__}; a tensor is needed. Write torch.as_tensor(chunk)")
        if chunk.requires_grad and torch.is_grad_enabled():
            raise ArrayError(f"{name} needs gradients, which streams have none of. Write chunk.detach()")
        kind, needed = str(chunk.dtype).removeprefix("torch."), self.dtype.name
        if chunk.device.type != "cpu" or kind != needed:
            raise DtypeError(
                f"{name} is {kind} on {chunk.device}; {needed} on the CPU is needed. Write "
                f"chunk.to('cpu', torch.{needed})"
            )
        if chunk.layout is not torch.strided:
            raise ArrayError(f"{name} is a {chunk.layout} tensor; a dense one is needed. Write chunk.to_dense()")
        shape = tuple(chunk.shape)
        sizes = [chunk.shape[axis] for axis, role in enumerate(self.given.axes) if role == "C" and axis < chunk.ndim]
        fits = len(shape) == len(self.given.axes) and tuple(sizes) == self.given.channels
        if not fits or (self.has_batch and batch not in (None, shape[self.given.sessions or 0])):
            count = "N" if batch is None else str(batch)
            raise ShapeError(
                f"{name} has shape {shape}; {self.given.text(count)} is needed, with any number of samples t. Write "
                f"{self._instead(shape, batch if fits else None)}"
            )
        return np.ascontiguousarray(self.given.canonical(chunk.detach().numpy()))

    def _instead(self, shape: tuple[int, ...], batch: int | None) -> str:
        """Return what to write for a chunk of a wrong shape; `batch` if its number of sessions is what is wrong."""
        count = len(self.given.axes)
        if batch == 0:
            return "stream.open() first: no session is open"
        if batch is not None and shape[self.given.sessions or 0] > batch:
            number = shape[self.given.sessions or 0]
            return f"batch={number} where the stream is made, or stream.open() for more sessions"
        if batch is not None:
            return "stream.push({session: chunk}) for some of the sessions"
        if len(shape) == count - 1 and self.has_batch:
            return f"chunk.unsqueeze({self.given.sessions}) for one session"
        if len(shape) == count + 1 and not self.has_batch:
            return "stream.push({session: chunk}), or a chunk of one session"
        if len(shape) == count and sorted(shape)[::-1] != list(shape) and set(self.given.channels) & set(shape):
            return "chunk with its axes in this order, or stream.push({session: chunk}) for some of the sessions"
        return "chunks of this shape, or stream.push({session: chunk}) for some of the sessions"

    def give(self, made: Array) -> Any:
        """Return outputs [N, C', m] as a tensor with memory of its own."""
        return torch.from_numpy(np.array(self.made.native(made), order="C"))
