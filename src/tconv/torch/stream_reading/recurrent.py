"""LSTM, GRU and plain recurrent layers, whose state goes from chunk to chunk."""

from __future__ import annotations

from typing import Any

from tconv.errors import StreamError
from tconv.streaming.recurrent import Recurrent, RecurrentWeights
from tconv.torch.stream_reading.module_graph import ModuleGraphReader, OperationReader, arguments, leaves_of, weight_of
from tconv.torch.stream_recording import AllOfTimeError, RecordedOperation
from tconv.torch.stream_runs import Constant


def recurrent_cell(cell: str) -> OperationReader:
    """Return the reader of recurrent layers of a kind of `streaming.recurrent.CELLS`."""

    def read(reader: ModuleGraphReader, operation: RecordedOperation) -> list[int | None]:
        a = arguments(
            operation,
            *("input", "hx", "params", "has_biases", "num_layers", "dropout", "train", "bidirectional", "batch_first"),
        )
        if a.bidirectional:
            raise AllOfTimeError(f"{cell} runs in both directions: it reads all of time")
        if not isinstance(a.batch_first, bool):
            raise StreamError(f"{cell} runs on packed sequences")
        layout = reader.layout(a.input)
        time = (1 if a.batch_first else 0) if len(layout.axes) == 3 else 0
        if layout.axes[time] != "T" or layout.axes[-1] != "C" or layout.size(len(layout.axes) - 1) != layout.total:
            raise StreamError(f"{cell} runs along another axis than time: its input is {layout}")
        for state in leaves_of(a.hx):
            if not isinstance(state, Constant) or any(bool(each.any()) for each in state.tensors):
                raise StreamError(f"{cell} begins with a state that is not 0")
        weights = [weight_of(each) for each in a.params]
        step = Recurrent(cell, tuple(_layers(weights, a.num_layers, bool(a.has_biases))))
        return [reader.add(step, reader.place(a.input)), *[None] * (len(operation.results) - 1)]

    return read


def _layers(weights: list[Any], count: int, has_biases: bool) -> list[RecurrentWeights]:
    """Return the weights by layer: for each two matrices, two biases if it has them, and perhaps a projection."""
    each, rest = divmod(len(weights), count)
    if rest or each not in ((4, 5) if has_biases else (2, 3)):
        raise StreamError(f"{len(weights)} weights do not fit {count} recurrent layers")
    layers = []
    for start in range(0, len(weights), each):
        matrices, more = weights[start : start + 2], weights[start + 2 : start + each]
        biases = more[:2] if has_biases else [None, None]
        projection = more[-1] if len(more) in (1, 3) else None
        layers.append(RecurrentWeights(matrices[0], matrices[1], biases[0], biases[1], projection))
    return layers
