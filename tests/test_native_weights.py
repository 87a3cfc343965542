"""Tests of the weights of compiled programs: their fingerprint in machine code, and their packing in machine code."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from dtypes import KERNEL_DTYPES, bits, dtype_of
from native_calls import LAYOUTS
from tconv.dialects.layouts import WeightLayout
from tconv.geometry import Geometry
from tconv.kernels.problem import Problem
from tconv.kernels.simd import form_choice
from tconv.kernels.simd.native_call import places, record, weight_hash
from tconv.kernels.simd.native_call.weight_gather import PARTS, SOURCE, TARGET, UNFIT
from tconv.kernels.simd.native_call.weight_table import scratch_bytes, table_of
from tconv.kernels.simd.tile_tickets import machine_function

# -- the fingerprint -------------------------------------------------------------------------------------------------


def fingerprint(numbers, helpers=0):
    """Return the fingerprint of an array's bytes."""
    table = record.table()
    pool = table.prepare_pool(helpers + 1, 4096)[0]
    results = np.zeros(weight_hash.MOST_CHUNKS + 2, np.int64)
    secret, chunk = table.base + 8 * places.SECRET, weight_hash.chunk_bytes(numbers.nbytes)
    function = machine_function("weight_hash", weight_hash.write_hash, 9, returns=True)
    addresses = (int(table.integers[place]) for place in (places.HASH_CHUNK, places.LAUNCH))
    return function(numbers.ctypes.data, numbers.nbytes, chunk, results.ctypes.data, secret, *addresses, pool, helpers)


def distinct(arrays):
    """Assert that arrays have different fingerprints, and return their number."""
    found = [fingerprint(array) for array in arrays]
    assert len(set(found)) == len(found)
    assert 0 not in found
    return len(found)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 63, 64, 65, 96, 127, 200, 1024, 1100])
def test_each_bit_of_each_byte_counts(size):
    whole = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8)

    def flipped():
        yield whole.copy()
        for place in range(size):
            for bit in range(8):
                whole[place] ^= 1 << bit
                yield whole
                whole[place] ^= 1 << bit

    assert distinct(flipped()) == 8 * size + 1


def test_each_bit_of_a_large_weight_counts():
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 256, (1 << 20) + 4 * 77).astype(np.uint8)

    def flipped():
        yield whole
        for place, bit in zip(rng.choice(whole.size, 600, replace=False), rng.integers(0, 8, 600), strict=True):
            whole[place] ^= 1 << bit
            yield whole
            whole[place] ^= 1 << bit

    distinct(flipped())


@pytest.mark.parametrize("content", ["random", "zero but one", "counting"])
@pytest.mark.parametrize("block", [2, 4, 8, 16, 64, 128, 1024, weight_hash.CHUNK])
def test_the_order_of_blocks_counts(block, content):
    rng, count = np.random.default_rng(block), 6 if block == weight_hash.CHUNK else 20
    whole = np.zeros((count, block), np.uint8)
    if content == "random":
        whole[...] = rng.integers(0, 256, whole.shape)
    elif content == "counting":
        whole[...] = np.arange(count)[:, None]
    else:
        whole[0, 0] = 1

    def swapped():
        seen = set()
        for a in range(count):
            for b in range(a, count):
                other = whole.copy()
                other[[a, b]] = other[[b, a]]
                if other.tobytes() not in seen:
                    seen.add(other.tobytes())
                    yield other

    distinct(swapped())


def test_numbers_that_differ_little_have_different_fingerprints():
    """Weights of training: the same numbers in another order, scaled, with another sign, and a step away."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal(3000).astype(np.float32)
    orders = [rng.permutation(w) for _ in range(300)]
    scaled = [w * np.float32(1 + number / 1000) for number in range(1, 300)]
    constants = [np.full(3000, number, np.float32) for number in range(300)]
    steps = [np.where(np.arange(3000) == place, np.nextafter(w, 9, dtype=w.dtype), w) for place in range(0, 3000, 7)]
    distinct([w, -w, w[::-1].copy(), *orders, *scaled, *constants, *steps])
    distinct([np.zeros(size, np.uint8) for size in range(1, 3000)])


def test_many_small_weights_have_different_fingerprints():
    rows = np.random.default_rng(0).integers(0, 1 << 62, (30_000, 4))
    counting = np.arange(120_000).reshape(-1, 4)
    distinct([*np.unique(np.concatenate([rows, counting]), axis=0)])


def test_threads_and_alignment_do_not_change_the_fingerprint():
    whole = np.random.default_rng(0).integers(0, 256, (3 << 20) + 64).astype(np.uint8)
    for size in (100, 5000, weight_hash.CHUNK, weight_hash.CHUNK + 1, 1 << 20, 3 << 20):
        expected = fingerprint(whole[:size].copy())
        for helpers in (0, 1, 3):
            assert fingerprint(whole[:size], helpers) == expected
        for shift in (1, 2, 4, 8, 32):
            moved = np.zeros(size + shift, np.uint8)[shift:]
            moved[...] = whole[:size]
            assert fingerprint(moved) == expected


def test_half_of_the_bits_change():
    """A flipped bit changes each bit of the fingerprint about every second time."""
    rng = np.random.default_rng(0)
    whole, changes = rng.integers(0, 256, 520).astype(np.uint8), np.zeros(64)
    before = fingerprint(whole)
    turns = [(place, bit) for place in range(0, 520, 3) for bit in range(8)]
    for place, bit in turns:
        whole[place] ^= 1 << bit
        changed = (before ^ fingerprint(whole)) & (2**64 - 1)
        changes += [changed >> number & 1 for number in range(64)]
        whole[place] ^= 1 << bit
    assert changes.min() / len(turns) > 0.42
    assert changes.max() / len(turns) < 0.58


# -- packing -----------------------------------------------------------------------------------------------------------

FORMS = {
    "direct": form_choice.DIRECT,
    "channel_lanes": form_choice.CHANNEL_LANES,
    "depthwise": form_choice.DEPTHWISE_POSITIONS,
    "depthwise_last": form_choice.DEPTHWISE_CHANNELS,
    "winograd_f22": form_choice.WINOGRAD_F22,
    "winograd_channels": form_choice.WINOGRAD_CHANNELS,
}


def layers(form, rng):
    """Draw geometry and channels of layers that a form computes."""
    for ndim in (1, 2, 3):
        stride = rng.integers(1, 4, ndim)
        groups, c_in, c_out = int(rng.choice([1, 1, 2, 3])), int(rng.integers(1, 20)), int(rng.integers(1, 40))
        kernel = rng.integers(1, 5, ndim)
        if form.startswith("winograd"):
            kernel, groups = np.minimum(stride + rng.integers(1, 3, ndim), 2 * stride), 1
            kernel[-1] = max(kernel[-1], stride[-1] + 1)
        elif form.startswith("depthwise"):
            c_in, c_out, groups = 1, int(rng.integers(1, 4)), int(rng.integers(2, 40))
        yield Geometry(tuple(kernel), tuple(stride), groups=groups), c_in * groups, c_out * groups


def packed_by_machine_code(form, p, layout, w):
    """Return the packed weight, and if its numbers fit."""
    table = table_of(form, p.layer, layout, w.shape)
    canonical = w if layout is None else layout.canonical(w, p.geometry.groups)
    expected = form.pack_weight(p, canonical)
    packed, scratch = np.zeros_like(expected), np.zeros(scratch_bytes(form, p.layer) + 64, np.uint8)
    frame = np.zeros(8, np.int64)
    frame[[PARTS, SOURCE, TARGET]] = table.address, w.ctypes.data, packed.ctypes.data
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(table.function)
    for part in range(table.count):
        function(frame.ctypes.data, scratch.ctypes.data, part)
    return packed, expected, not frame[UNFIT]


@pytest.mark.parametrize("dtype", KERNEL_DTYPES)
@pytest.mark.parametrize("name", FORMS)
def test_machine_code_packs_as_the_form_does(name, dtype):
    rng, form, dtype = np.random.default_rng(len(name)), FORMS[name], dtype_of(dtype)
    for turn in range(4):
        for g, c_in, c_out in layers(name, rng):
            p = Problem(g, 1, c_in, c_out, (9,) * g.ndim, dtype)
            pattern, grouped, flip = LAYOUTS[turn]
            layout = None if turn == 0 else WeightLayout.of(pattern, g.ndim, grouped, flip)
            canonical = rng.standard_normal((c_in, c_out // g.groups, *g.kernel)).astype(dtype)
            w = canonical if layout is None else np.ascontiguousarray(layout.native(canonical, g.groups))
            packed, expected, fits = packed_by_machine_code(form, p, layout, w)
            assert fits
            # the sums of places without a number may be -0
            np.testing.assert_array_equal(*(bits(array + array.dtype.type(0)) for array in (packed, expected)))
            number = int(rng.integers(w.size))
            for bad in (np.inf, -np.inf, np.nan):
                w.flat[number] = bad
                assert not packed_by_machine_code(form, p, layout, w)[2]


@pytest.mark.parametrize("name", ["winograd_f22", "winograd_channels"])
def test_numbers_that_could_overflow_in_sums_do_not_fit(name):
    g, form = Geometry((4, 4), 2), FORMS[name]
    for dtype, number, fits in (
        (np.float32, 1e11, True),
        (np.float32, -2e11, False),
        (np.float64, -1e140, True),
        (np.float64, 1.1e140, False),
        (np.float16, 65504, True),
    ):
        p, w = Problem(g, 1, 5, 9, (9, 9), np.dtype(dtype)), np.ones((5, 9, 4, 4), dtype)
        w[3, 2, 1, 0] = number
        assert packed_by_machine_code(form, p, None, w)[2] == fits
        assert form.accepts(p, w) == fits


def test_large_weights_are_packed_in_parts():
    g = Geometry((4, 4), 2)
    for name in ("direct", "channel_lanes", "winograd_f22", "winograd_channels"):
        p = Problem(g, 1, 130, 140, (9, 9), np.dtype(np.float32))
        w = np.random.default_rng(0).standard_normal((130, 140, 4, 4)).astype(np.float32)
        packed, expected, fits = packed_by_machine_code(FORMS[name], p, None, w)
        assert fits
        assert table_of(FORMS[name], p.layer, None, w.shape).count > 1
        np.testing.assert_array_equal(packed, expected)


def test_tables_are_shared_and_released():
    p = Problem(Geometry((3, 3), 2), 1, 6, 7, (9, 9), np.dtype(np.float32))
    assert table_of(form_choice.DIRECT, p.layer, None, (6, 7, 3, 3), build=False) is None
    table = table_of(form_choice.DIRECT, p.layer, None, (6, 7, 3, 3))
    assert table_of(form_choice.DIRECT, p.layer, None, (6, 7, 3, 3)) is table
    del table
    assert table_of(form_choice.DIRECT, p.layer, None, (6, 7, 3, 3), build=False) is None


def test_weights_of_many_numbers_have_no_table():
    p = Problem(Geometry((4, 4), 2), 1, 4096, 4096, (9, 9), np.dtype(np.float32))
    assert table_of(form_choice.DIRECT, p.layer, None, (4096, 4096, 4, 4)) is None
