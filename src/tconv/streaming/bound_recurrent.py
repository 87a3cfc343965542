"""LSTM layers of a stream as calls of compiled code: products, and the cell between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.models.layers import Convolution
from tconv.streaming.bound_convolution import add_convolution
from tconv.streaming.commands import Commands
from tconv.streaming.recurrent import Recurrent
from tconv.streaming.time_step import TimeSpan

_MOST_SAMPLES = 64
"""Samples beyond which the calls would be too many: blocks of them are computed in Python."""


def add_recurrent(
    commands: Commands,
    packed: dict[Any, Any],
    step: Recurrent,
    given: TimeSpan,
    out: TimeSpan,
    memory: Sequence[Array],
    threads: int,
) -> bool:
    """Add LSTM layers, with the products and cells of `Recurrent.compute`; False if they cannot be added."""
    products = packed.setdefault((id(step), "products"), _products(step))
    count, first = out.values.shape[-1], out.start - given.start
    made = out.rows
    if products is None or not commands.compiled or out.values.dtype != np.float32 or count > _MOST_SAMPLES:
        return False
    sessions = len(made)
    x = given.rows[:, first : first + count]
    for number, (from_input, from_state) in enumerate(products):
        h, c = memory[2 * number : 2 * number + 2]
        units = c.shape[1]
        inputs, sums = np.empty((sessions, count, 4 * units), np.float32), np.empty((sessions, 4 * units), np.float32)
        last = number == len(products) - 1
        outputs = made if last else np.empty((sessions, count, units), np.float32)
        _add_product(commands, packed, from_input, x, inputs, threads)
        for sample in range(count):
            _add_product(commands, packed, from_state, h[None], sums[None], threads)
            h = outputs[:, sample]
            commands.sequence.add_lstm(inputs[:, sample], sums, c, h)
        commands.sequence.add_pass("copy", (h,), (), memory[2 * number])
        x = outputs
    return True


def _products(step: Recurrent) -> list[tuple[Convolution, Convolution]] | None:
    """Return the products of every layer with the input and with the state; None for layers that are not such ones."""
    if step.cell != "lstm":
        return None
    found = []
    for layer in step.prepared:
        pair = layer.from_input, layer.from_state
        if layer.projected is not None or any(not p.is_direct or p.weight.dtype != np.float32 for p in pair):
            return None
        first, second = (Convolution(product.weight, product.geometry, product.bias) for product in pair)
        found.append((first, second))
    return found


def _add_product(
    commands: Commands, packed: dict[Any, Any], product: Convolution, x: Array, out: Array, threads: int
) -> None:
    """Add the product of rows x [B, n, C] as out [B, n, M]."""
    spans = TimeSpan.of_rows(x, 0), TimeSpan.of_rows(out, 0)
    added = add_convolution(commands, packed, product, spans[0], x.shape[1], spans[1], threads)
    assert added
