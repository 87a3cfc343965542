"""`ChunkLayout`: chunks of a stream as arrays of a library in a dialect's layout, checked and converted.

Within a stream, values are [sessions, C * rest, T]: time last, and the sizes of all other spatial axes in the channels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tconv import _arrays
from tconv._arrays import Array
from tconv.dialects import DataLayout
from tconv.errors import ArrayError, DtypeError, ShapeError

_NAMES = {1: ("t",), 2: ("t", "w"), 3: ("t", "h", "w")}


class ChunkLayout(NamedTuple):
    """Axes of chunks and of outputs, with channels [C_in] and [C_out], library and dtype. Time is spatial axis 0.

    >>> layout = ChunkLayout(DataLayout.of("N*C", 1), DataLayout.of("N*C", 1), 3, 2, "numpy", np.dtype("f4"))
    >>> layout.text(), layout.take(np.ones((5, 7, 3), "f4"), 5).shape
    ('[N, t, 3] -> [N, t, 2]', (5, 3, 7))
    """

    data: DataLayout
    result: DataLayout
    in_channels: int
    out_channels: int
    library: str
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return sum(isinstance(axis, int) for axis in self.data.axes)

    @property
    def has_batch(self) -> bool:
        """True if chunks have an axis of sessions."""
        return "N" in self.data.axes

    @property
    def of_one(self) -> ChunkLayout:
        """Layout of one session's chunks, without a batch."""
        data, result = (
            DataLayout(tuple(axis for axis in each.axes if axis != "N")) for each in (self.data, self.result)
        )
        return self._replace(data=data, result=result)

    def text(self) -> str:
        """Return the layouts of chunks and outputs as text."""
        return f"{self._shape(self.data, 'N', self.in_channels)} -> {self._shape(self.result, 'N', self.out_channels)}"

    def _shape(self, layout: DataLayout, batch: Any, channels: int) -> str:
        names = _NAMES.get(self.ndim, tuple(f"t{axis}" for axis in range(self.ndim)))
        letters = {"N": str(batch), "C": str(channels)}
        axes = [names[axis] if isinstance(axis, int) else letters[axis] for axis in layout.axes]
        return f"[{', '.join(axes)}]"

    def take(self, chunk: Any, batch: int | None, name: str = "the chunk") -> Array:
        """Return a chunk of so many sessions as canonical [N, C, n, *rest]; None takes any number.

        Raises ArrayError, ShapeError or DtypeError, with what to write.
        """
        if chunk is None:
            raise ArrayError(f"{name} is None; an array is needed. Write stream.flush() for the end of the input")
        library, array = ("numpy", chunk) if type(chunk) is np.ndarray else _arrays.take(chunk, "chunk")
        if library != self.library:
            raise ArrayError(
                f"{name} is an array of {library}; the stream has a weight of {self.library}. Write it as an array of "
                f"{self.library}"
            )
        if array.ndim == len(self.data.axes):
            view = self.data.canonical(array)
            if view.shape[1] == self.in_channels and batch in (None, len(view)) and 0 not in view.shape[3:]:
                return self._of_dtype(view, name)
        needed = self._shape(self.data, "N" if batch is None else batch, self.in_channels)
        raise ShapeError(
            f"{name} has shape {array.shape}; {needed} is needed. Write {self._instead(array.shape, batch)}"
        )

    def _instead(self, shape: tuple[int, ...], batch: int | None) -> str:
        """Return what to write for a chunk of a wrong shape."""
        if self.has_batch and len(shape) == len(self.data.axes) - 1:
            return "chunk[None] for one session"
        if not self.has_batch and len(shape) == len(self.data.axes) + 1:
            return "chunk[0] for one session"
        if len(shape) == len(self.data.axes):
            count, channels, _ = self.data.sizes(shape)
            if channels != self.in_channels and self.in_channels in shape:
                return "chunk with its axes in this order"
            if channels == self.in_channels and batch == 0:
                return "stream.open() first: no session is open"
            if channels == self.in_channels and batch is not None and count > batch:
                return f"batch={count} where the stream is made, or stream.open() for more sessions"
            if channels == self.in_channels and batch not in (None, count):
                return "stream.push({session: chunk}) for some of the sessions"
        return "chunks of this shape, with any number of samples t, 0 too"

    def _of_dtype(self, array: Array, name: str) -> Array:
        if array.dtype == self.dtype and array.dtype.isnative:
            return array
        integers = self.dtype.kind in "iu" and array.dtype.kind in "iu" and array.dtype.name != "uint64"
        if integers or array.dtype.name == self.dtype.name:  # integers are summed in int64
            return array.astype(self.dtype)
        raise DtypeError(
            f"{name} is {array.dtype}; the stream has a weight of {self.dtype}. Write "
            f"{_arrays.converted(self.library, 'chunk', self.dtype.name)}"
        )

    def give(self, made: Array) -> Any:
        """Return canonical outputs [N, C', m, *rest'] as an array of the library, with memory of its own."""
        layout = self.result
        if layout.axes == ("N", "C", *range(self.ndim)):
            return _arrays.give(np.ascontiguousarray(made), self.library)
        native = np.empty(layout.native_shape(made.shape), made.dtype)
        layout.canonical(native)[...] = made
        return _arrays.give(native, self.library)
