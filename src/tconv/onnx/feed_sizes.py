"""Random inputs of a model in several sizes: one symbol of the file has one size in all of its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from tconv._arrays import Array
from tconv.diagnosis.networks.random_inputs import feeds_for
from tconv.models.traces.trace import Input

_BATCHES = (1, 2, 1, 3, 1)
_SIZES = (
    (32, 48, 40),
    (64, 32, 16),
    (33, 47, 21),
    (96, 64, 32),
    (40, 72, 24),
    (17, 30, 9),
    (128, 96, 64),
    (64, 64, 64),
    (7, 9, 5),
    (160, 128, 48),
    (224, 256, 80),
    (8, 12, 8),
    (256, 320, 96),
    (512, 512, 128),
)
"""Sizes for the first, second and third open axis, in the order in which they are tried."""


def open_axes(inputs: Sequence[Any]) -> bool:
    """Return True if the file leaves a size of an input open; `inputs` are values of onnx_ir."""
    return any(each.shape is None or any(not isinstance(size, int) for size in each.shape) for each in inputs)


def random_feeds(
    inputs: Sequence[Any], known: Sequence[Input], size: Sequence[int] | None, seed: int
) -> Iterator[tuple[str, list[Array]]]:
    """Yield inputs of a model with a text of their sizes: several if its file leaves sizes open, else one.

    `inputs` are the values of onnx_ir, which have symbols, and `known` the same as traces describe them. `size` are
    spatial sizes instead of several; sizes that have no symbol are those that `feeds_for` tries.
    """
    if size is not None or not open_axes(inputs):
        yield from ((_text(feeds), feeds) for feeds in _drawn(known, size, seed, most=1))
        return
    done: set[str] = set()
    for number, sizes in enumerate(_SIZES):
        filled = _filled(inputs, known, sizes, _BATCHES[number % len(_BATCHES)])
        for feeds in _drawn(filled, None, seed + number, most=1):
            text = _text(feeds)
            if text not in done:  # only the batch is open, for example
                done.add(text)
                yield text, feeds


def neighbouring_feeds(inputs: Sequence[Any], known: Sequence[Input], seed: int) -> Iterator[tuple[str, list[Array]]]:
    """Yield inputs whose open sizes have all remainders by 8, for models that take some sizes only."""
    if not open_axes(inputs):
        return
    for first, second in product(range(32, 40), repeat=2):
        filled = _filled(inputs, known, (first, second, 32), 1)
        yield from ((_text(feeds), feeds) for feeds in _drawn(filled, None, seed, most=1))


def _drawn(known: Sequence[Input], size: Sequence[int] | None, seed: int, most: int) -> Iterator[list[Array]]:
    found = feeds_for(list(known), list(known), None if size is None else list(size), seed)
    for _, feeds in zip(range(most), found, strict=False):
        yield feeds.noise[0]


def _filled(inputs: Sequence[Any], known: Sequence[Input], sizes: Sequence[int], batch: int) -> list[Input]:
    """Return the inputs with a size for every open axis; equal symbols have equal sizes."""
    chosen: dict[str, int] = {}
    filled = []
    for value, entry in zip(inputs, known, strict=True):
        if value.shape is None or entry.shape is None:
            filled.append(entry)
            continue
        shape: list[int] = []
        free = iter(sizes)
        for axis, each in enumerate(value.shape):
            if isinstance(each, int) and each > 0:
                shape.append(each)
                continue
            symbol = str(each.value) if not isinstance(each, int) and each.value else f"{value.name}:{axis}"
            if symbol not in chosen:
                if axis == 0 and len(value.shape) > 1:
                    chosen[symbol] = batch
                elif axis == 1 and len(value.shape) > 2 and entry.layout != "last":
                    # a symbol for the channels; or the time axis of [N, T, features]
                    chosen[symbol] = next(free, sizes[0]) if len(value.shape) == 3 else 3
                else:
                    chosen[symbol] = next(free, sizes[0])
            shape.append(chosen[symbol])
        filled.append(replace(entry, shape=tuple(shape)))
    return filled


def _text(feeds: Sequence[Array]) -> str:
    return " and ".join("x".join(map(str, feed.shape)) or "one number" for feed in feeds)
