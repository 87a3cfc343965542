"""Interleaving of vectors in registers: phases of the output, and transpositions of blocks of vectors."""

from __future__ import annotations

from tconv.kernels.simd.vector_ir import Function, Value


def interleave_lanes(f: Function, vectors: list[Value]) -> list[Value]:
    """Return vectors a, b, ... as a[0], b[0], ..., a[1], b[1], ...: for as many vectors as lanes, a transposition."""
    count = len(vectors)
    if count == 1:
        return vectors
    if count % 2 == 0:
        even, odd = interleave_lanes(f, vectors[::2]), interleave_lanes(f, vectors[1::2])
        half = f.lanes // 2
        halves = [
            [lane for i in range(start, start + half) for lane in (i, f.lanes + i)]  # a[i], b[i], a[i + 1], ...
            for start in (0, half)
        ]
        return [f.shuffle(a, b, lanes) for a, b in zip(even, odd, strict=True) for lanes in halves]
    results = []
    for number in range(count):
        places = [divmod(number * f.lanes + lane, count) for lane in range(f.lanes)]  # (lane of the source, source)
        result = vectors[0]
        for source, vector in enumerate(vectors):
            merged = [f.lanes + at if of == source else lane for lane, (at, of) in enumerate(places)]
            start = [at if of == 0 else 0 for at, of in places]
            result = f.shuffle(vector, vector, start) if source == 0 else f.shuffle(result, vector, merged)
        results.append(result)
    return results
