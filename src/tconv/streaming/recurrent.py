"""Recurrent layers along time: LSTM, GRU and plain ones, whose state is the memory of a session.

The inputs of a block of samples are multiplied at once, then the state sample by sample. All products are direct sums,
so the bits depend on neither the chunks nor the number of sessions that run together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv._cached_property import cached_property
from tconv._memory import empty
from tconv.errors import ArgumentError, ShapeError
from tconv.kernels.problem import accumulator
from tconv.kernels.simd import elementwise
from tconv.models.steps.step import single
from tconv.streaming.matrix_products import MatrixProduct
from tconv.streaming.same_time import SameTime
from tconv.streaming.time_step import TimeSpan

_BLOCK = 64
"""Samples, of all sessions together, whose inputs are multiplied at once."""
_FINE = 8
"""Numbers of samples above it are rounded up to its multiples, so that few calls are compiled."""
_SPARE = 8
"""Most blocks of different sizes whose arrays are kept."""


class RecurrentWeights(NamedTuple):
    """Weights of one layer with H units in G gates, in PyTorch's layout and order of gates.

    `input` is [G*H, C], `hidden` [G*H, P], both biases [G*H], `projection` [P, H] (P = H without it). The gates are
    input, forget, cell, output (LSTM, as Keras has them), or reset, update, new (GRU; Keras has the first two swapped).
    """

    input: Array
    hidden: Array
    input_bias: Array | None = None
    hidden_bias: Array | None = None
    projection: Array | None = None


class Cell(NamedTuple):
    """Kind of recurrent layer.

    `order` are its gates as the products compute them: first the `sigmoids`, whose sums have the other sign so that
    exp needs no negation. `states` are the arrays of its state: 2 for an output h and a cell c. `advance` fills h.
    """

    gates: int
    order: tuple[int, ...]
    sigmoids: int
    states: int
    advance: Callable[..., None]
    hidden_bias_apart: bool = False
    """True if the last gate's hidden bias is added before a product with the reset gate."""


def _lstm(inputs: Array, sums: Array, h: Array, c: Array, spare: Array) -> None:
    if elementwise.lstm(inputs, sums, c, h):
        return
    sums += inputs
    units = h.shape[1]
    gates = _sigmoids(sums[:, : 3 * units])
    new = np.tanh(sums[:, 3 * units :], out=spare)
    new *= gates[:, :units]
    c *= gates[:, units : 2 * units]
    c += new
    np.tanh(c, out=spare)
    np.multiply(spare, gates[:, 2 * units :], out=h)


def _gru(inputs: Array, sums: Array, h: Array, c: Array, spare: Array) -> None:
    units = h.shape[1]
    gates, new = sums[:, : 2 * units], sums[:, 2 * units :]
    gates += inputs[:, : 2 * units]
    _sigmoids(gates)
    new *= gates[:, :units]
    new += inputs[:, 2 * units :]
    np.tanh(new, out=new)
    # new + update * (h - new)
    np.subtract(h, new, out=spare)
    spare *= gates[:, units:]
    np.add(new, spare, out=h)


def _tanh(inputs: Array, sums: Array, h: Array, c: Array, spare: Array) -> None:
    np.add(sums, inputs, out=spare)
    np.tanh(spare, out=h)


def _relu(inputs: Array, sums: Array, h: Array, c: Array, spare: Array) -> None:
    np.add(sums, inputs, out=spare)
    np.maximum(spare, 0, out=h)


def _sigmoids(negated: Array) -> Array:
    """Replace -x by 1 / (1 + exp(-x))."""
    np.exp(negated, out=negated)
    negated += 1
    return np.reciprocal(negated, out=negated)


CELLS = {
    "lstm": Cell(4, (0, 1, 3, 2), 3, 2, _lstm),
    "gru": Cell(3, (0, 1, 2), 2, 1, _gru, hidden_bias_apart=True),
    "tanh": Cell(1, (0,), 0, 1, _tanh),
    "relu": Cell(1, (0,), 0, 1, _relu),
}
"""Kinds of layers by name; "tanh" and "relu" are those of a plain recurrent layer."""


@dataclass(frozen=True, eq=False)
class Recurrent(SameTime):
    """TimeStep of one recurrent layer or more, one behind the other, in one direction: `cell` is one of CELLS.

    >>> ones = np.ones((8, 2), np.float32)  # 2 units, 4 gates
    >>> Recurrent("lstm", (RecurrentWeights(ones, ones),)).output_channels([2])
    2

    A sample reads its own input and the memory, which is h, and for an LSTM c, of every layer. float16 and bfloat16 are
    computed in float32. inf and NaN in the input stay in the state, as in the definition, until the session is reset.
    Raises ArgumentError, ShapeError.
    """

    cell: str
    layers: tuple[RecurrentWeights, ...]
    _spare: dict[tuple[int, int], _RecurrentBlock] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise ArgumentError(f"cell is {self.cell!r}; one of {', '.join(CELLS)} is needed")
        if not self.layers:
            raise ArgumentError("the recurrent step has no layer; at least one is needed")
        gates, given = CELLS[self.cell].gates, None
        for number, layer in enumerate(self.layers):
            rows, columns = layer.hidden.shape
            units = rows // gates
            wanted = {
                "input": (gates * units, layer.input.shape[1] if given is None else given),
                "hidden": (gates * units, units if layer.projection is None else len(layer.projection)),
                "input_bias": (gates * units,),
                "hidden_bias": (gates * units,),
                "projection": (columns, units),
            }
            for name, shape in wanted.items():
                array = getattr(layer, name)
                if array is not None and array.shape != shape:
                    raise ShapeError(
                        f"{name} of layer {number} of the {self.cell} has shape {array.shape}; {shape} is needed"
                    )
            given = columns

    def output_channels(self, given: Sequence[int]) -> int:
        """Return the size of the last layer's output. Raises ShapeError for another number of channels."""
        channels, wanted = single(given), self.layers[0].input.shape[1]
        if channels != wanted:
            raise ShapeError(f"it has a weight for {wanted} input channels; it is given {channels}")
        return int(self.layers[-1].hidden.shape[1])

    @cached_property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(accumulator(self.layers[0].hidden.dtype))

    def new_memory(self) -> tuple[Array, ...]:
        """Return zeros: h [P], and for an LSTM c [H], of every layer."""
        cell, sizes = CELLS[self.cell], []
        for layer in self.layers:
            rows, columns = layer.hidden.shape
            sizes += [columns, rows // cell.gates][: cell.states]
        return tuple(np.zeros(size, self._dtype) for size in sizes)

    def compute(
        self, given: Sequence[TimeSpan], sizes: Sequence[int], out: TimeSpan, memory: Sequence[Array] = ()
    ) -> None:
        """Fill out [sessions, P, 1, T], and advance the memory by T samples."""
        x, y = given[0].values[:, :, 0], out.values[:, :, 0]
        sessions, samples, start = len(x), y.shape[2], out.start - given[0].start
        step = max(1, _BLOCK // max(1, sessions))
        with np.errstate(all="ignore"):  # inf and NaN are values here
            for low in range(0, samples, step) if sessions else ():
                high = min(low + step, samples)
                self._advance(x[:, :, start + low : start + high], y[:, :, low:high], memory)

    def _advance(self, x: Array, y: Array, memory: Sequence[Array]) -> None:
        """Fill y [sessions, P, n] for a block of inputs x [sessions, C, n]."""
        sessions, count = len(x), x.shape[2]
        key = sessions, count
        states = CELLS[self.cell].states
        block = self._spare.pop(key, None)  # another thread that has taken it leaves none
        if block is None:
            block = _RecurrentBlock(*key, self.prepared, self._dtype)
        block.views[0][...] = x.transpose(0, 2, 1)
        for number, layer in enumerate(self.prepared):
            layer.run(block, number, memory[states * number : states * (number + 1)])
        y[...] = block.views[-1].transpose(0, 2, 1)
        if len(self._spare) >= _SPARE:
            self._spare.clear()
        self._spare[key] = block

    @cached_property
    def prepared(self) -> list[_LayerProducts]:
        """Products of every layer."""
        return [_LayerProducts(CELLS[self.cell], layer, self._dtype) for layer in self.layers]


class _LayerProducts:
    """Products and steps of one layer."""

    def __init__(self, cell: Cell, weights: RecurrentWeights, dtype: np.dtype[Any]) -> None:
        self.cell = cell
        rows, self.outputs = weights.hidden.shape
        self.units = rows // cell.gates
        self.inputs = weights.input.shape[1]
        zeros = np.zeros(rows)
        biases = [zeros if b is None else b.astype(np.float64) for b in (weights.input_bias, weights.hidden_bias)]
        apart = np.zeros(rows)
        if cell.hidden_bias_apart:
            apart[-self.units :] = biases[1][-self.units :]
        into, hidden, bias, apart = (
            self._ordered(each).astype(dtype)
            for each in (weights.input, weights.hidden, biases[0] + (biases[1] - apart), apart)
        )
        self.from_input = MatrixProduct(into, bias)
        self.from_state = MatrixProduct(hidden, apart if cell.hidden_bias_apart else None)
        projection = weights.projection
        self.projected = None if projection is None else MatrixProduct(projection.astype(dtype))

    def _ordered(self, weight: Array) -> Array:
        """Return the gates in the order of the cell, those of the sigmoids with the other sign."""
        by_gate = weight.reshape(self.cell.gates, self.units, *weight.shape[1:])
        signed = [-by_gate[gate] if n < self.cell.sigmoids else by_gate[gate] for n, gate in enumerate(self.cell.order)]
        return np.concatenate(signed)

    def run(self, block: _RecurrentBlock, number: int, memory: Sequence[Array]) -> None:
        """Fill the rows of the layer's outputs, and advance its memory."""
        sessions = block.sessions
        sums, h, wide, spare = block.scratch[number]
        inputs, outputs, advance = block.gates[number], block.views[number + 1], self.cell.advance
        self.from_input(block.rows[number], inputs)
        by_session = inputs[: sessions * block.samples].reshape(sessions, block.samples, -1)
        state = memory[0]
        h[:sessions] = state
        units = h if wide is None else wide
        c = memory[-1]
        for sample in range(block.samples):
            self.from_state(h, sums)
            advance(by_session[:, sample], sums[:sessions], units[:sessions], c, spare[:sessions])
            if wide is not None:
                assert self.projected is not None
                self.projected(wide, h)
            outputs[:, sample] = h[:sessions]
        state[...] = h[:sessions]


class _RecurrentBlock:
    """Arrays for some sessions and samples: rows of the input and of every layer's output, gates, and scratch."""

    def __init__(self, sessions: int, samples: int, layers: Sequence[_LayerProducts], dtype: np.dtype[Any]) -> None:
        self.sessions, self.samples = sessions, samples
        count, some = _rounded(sessions * samples), _rounded(sessions)
        sizes = [layers[0].inputs, *(layer.outputs for layer in layers)]
        self.rows = [empty((count, size), dtype) for size in sizes]
        for rows in self.rows:
            rows[sessions * samples :] = 0
        self.views = [rows[: sessions * samples].reshape(sessions, samples, -1) for rows in self.rows]
        self.gates = [empty((count, layer.cell.gates * layer.units), dtype) for layer in layers]
        self.scratch = [
            (
                empty((some, layer.cell.gates * layer.units), dtype),
                np.zeros((some, layer.outputs), dtype),
                None if layer.projected is None else np.zeros((some, layer.units), dtype),
                empty((some, layer.units), dtype),
            )
            for layer in layers
        ]


def _rounded(count: int) -> int:
    """Return the number of rows of a product: a few more, so that few calls are compiled."""
    return max(MatrixProduct.LEAST, count) if count <= _FINE else -(-count // _FINE) * _FINE
