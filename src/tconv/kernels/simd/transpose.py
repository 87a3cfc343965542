"""Transposition of blocks of numbers that lie in memory: columns of as many rows as a vector has lanes.

Rows are read in pieces of 128 bits, and each goes to its part of a vector at once. What remains for the shuffles is the
transposition within 128 bits, half of their work where a vector has 512.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from tconv.kernels.simd.vector_ir import I32, Function, Value


def piece_length(f: Function) -> int:
    """Return the numbers of a piece, and the columns that `columns` returns."""
    return 16 // f.size


def columns(f: Function, piece: Callable[[int], Value]) -> list[Value]:
    """Return vectors whose lane l has the numbers of `piece(l)`: the first vector its first number, and so on."""
    length = piece_length(f)
    vectors = []
    for number in range(length):
        parts = [piece(row) for row in range(number, f.lanes, length)]
        while len(parts) > 1:
            parts = [_join(f, a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        (joined,) = parts
        vectors.append(joined if joined.ir.type == f.vector else f.widen(joined))
    return _interleave_pieces(f, vectors)


def load_piece(f: Function, base: Value, index: Value) -> Value:
    """Return the piece of sums that begins at base[index]."""
    return f.load(base, index, ir.VectorType(f.number, piece_length(f)))


def load_stored_piece(f: Function, base: Value, index: Value) -> Value:
    """Return the piece of x that begins at base[index]; `columns` converts it."""
    return f.load(base, index, ir.VectorType(f.stored, piece_length(f)))


def split(f: Function, vectors: list[Value]) -> list[Value]:
    """Return n vectors whose numbers lie in turn in the given ones: the inverse of `interleave_lanes`."""
    count, results = len(vectors), []
    for number in range(count):
        places = [divmod(lane * count + number, f.lanes) for lane in range(f.lanes)]  # (vector, its lane)
        result = f.shuffle(vectors[0], vectors[0], [at if of == 0 else 0 for of, at in places])
        for source in range(1, count):
            merged = [f.lanes + at if of == source else lane for lane, (of, at) in enumerate(places)]
            result = f.shuffle(result, vectors[source], merged)
        results.append(result)
    return results


def _join(f: Function, a: Value, b: Value) -> Value:
    """Return the numbers of two vectors as one of twice the length."""
    lanes = ir.Constant(ir.VectorType(I32, 2 * a.ir.type.count), list(range(2 * a.ir.type.count)))
    return Value(f, f.b.shuffle_vector(a.ir, b.ir, lanes))


def _interleave_pieces(f: Function, vectors: list[Value]) -> list[Value]:
    """Return vectors a, b, ... with the numbers of each 128 bits in the order a[0], b[0], ..., a[1], b[1], ..."""
    if len(vectors) == 1:
        return vectors
    length = piece_length(f)
    even, odd = _interleave_pieces(f, vectors[::2]), _interleave_pieces(f, vectors[1::2])
    halves = [
        [
            piece + i + of
            for piece in range(0, f.lanes, length)
            for i in range(start, start + length // 2)
            for of in (0, f.lanes)
        ]
        for start in (0, length // 2)
    ]
    return [f.shuffle(a, b, lanes) for a, b in zip(even, odd, strict=True) for lanes in halves]
