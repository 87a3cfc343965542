"""LSTM and GRU layers, whose state goes from chunk to chunk."""

from __future__ import annotations

from typing import Any

from tconv.torch.stream_reading.graph_reader import GraphReader
from tconv.torch.stream_recording import Operation, StreamReadingError


def lstm(reader: GraphReader, operation: Operation) -> list[int | None]:
    """Read an LSTM."""
    return _layers(reader, operation, "lstm")


def gru(reader: GraphReader, operation: Operation) -> list[int | None]:
    """Read a GRU."""
    return _layers(reader, operation, "gru")


def _layers(reader: GraphReader, operation: Operation, kind: str) -> list[int | None]:
    names: Any = kind
    raise StreamReadingError(f"{names} is not read yet")
