"""Tiles of operations compared with the whole: every bit of every tile, NaN and signs of zeros too."""

from __future__ import annotations

import itertools

import numpy as np

from tconv.scale.regions import grid, region_sizes

SIDES = (1, 2, 3, 5, 7, 64)


def bits(array):
    """Return the bytes of an array as integers."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def tile(operator, x, outputs, context=None, *, larger=(0, 0)):
    """Return one tile [C', *outputs] from a copy of its window, or of one that is larger at both ends."""
    sizes = x.shape[1:]
    window = operator.window(outputs, sizes)
    assert all(0 <= span.start < span.stop <= size for span, size in zip(window, sizes, strict=True)), window
    lo, hi = larger
    window = tuple(
        slice(max(0, span.start - lo), min(size, span.stop + hi)) for span, size in zip(window, sizes, strict=True)
    )
    out = np.full((operator.channels[1], *region_sizes(outputs)), 7, operator.result)
    operator.compute(np.array(x[:, *window]), window, sizes, outputs, out, context)
    return out


def random_tiles(rng, sizes, count, side=None):
    """Return random tiles, of one length along every axis or of random ones."""
    tiles = []
    for _ in range(count):
        lengths = [int(side or rng.choice(SIDES)) for _ in sizes]
        starts = [int(rng.integers(0, size)) for size in sizes]
        tiles.append(tuple(slice(a, min(size, a + n)) for a, n, size in zip(starts, lengths, sizes, strict=True)))
    return tiles


def assert_tiles(rng, operator, x, whole, count=12, context=None):
    """Assert that tiles have the bits of the whole: the first ones of a grid of every side, and random ones."""
    sizes = whole.shape[1:]
    assert operator.output_sizes(x.shape[1:]) == sizes
    for side in SIDES:
        part = tuple(min(side, size) for size in sizes)
        chosen = [*itertools.islice(grid(sizes, part), 2), *random_tiles(rng, sizes, 2, side)]
        for outputs in chosen:
            got = tile(operator, x, outputs, context)
            np.testing.assert_array_equal(bits(got), bits(whole[:, *outputs]), err_msg=f"{outputs} of {sizes}")
    for outputs in random_tiles(rng, sizes, count):
        got = tile(operator, x, outputs, context, larger=rng.integers(0, 3, 2).tolist())
        np.testing.assert_array_equal(bits(got), bits(whole[:, *outputs]), err_msg=f"{outputs} of {sizes}")
