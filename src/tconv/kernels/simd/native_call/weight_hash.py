"""Fingerprint of a weight's bytes in machine code: 64 bits, at the speed of memory.

It follows XXH3 (Yann Collet), whose vectors have 64 bytes on every chip: each number of 64 bits is mixed with a random
one that depends on its place, its halves are multiplied, and the product and the number itself are added to two sums.
After each kilobyte the sums are scrambled, so that the order of kilobytes counts. Weights of more than a chunk are
hashed chunk by chunk, on several threads, and the fingerprint is the hash of the chunks' hashes.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tconv.kernels.simd.thread_ir import ThreadFunction
from tconv.kernels.simd.vector_ir import I32, I64, Operand, Value

CHUNK = 1 << 17
"""Least bytes of a chunk."""
MOST_CHUNKS = 1 << 13
_STRIPE, _BLOCK = 64, 1024
_VECTOR = ir.VectorType(I64, _STRIPE // 8)
_I128 = ir.IntType(128)
_PRIME32, _PRIME64, _AVALANCHE = 0x9E3779B1, 0x9E3779B185EBCA87, 0x165667919E3779F9
_SCRAMBLE, _LAST, _MERGE = 16, 25, 9
"""Places in the random numbers of the scrambling, of the last stripe, and of the end."""
SOURCE, BYTES, CHUNK_BYTES, RESULTS, SECRET = range(5)
"""Places of the frame of `weight_hash`."""


def signed(number: int) -> int:
    """Return the signed integer with the same 64 bits."""
    return number - (1 << 64) if number >> 63 else number


def chunk_bytes(size: int) -> int:
    """Return the bytes of a chunk of a weight with this many bytes."""
    share = -(-size // MOST_CHUNKS)
    return max(CHUNK, -(-share // _BLOCK) * _BLOCK)


class _Hash:
    """Sums of a hash, in a function."""

    def __init__(self, f: ThreadFunction, secret: Value) -> None:
        self._f, self._secret = f, secret
        self.sums = f.var(f.value(0, _VECTOR))
        self.sums.set(self._key(0))

    def _key(self, place: Operand) -> Value:
        return self._f.load(self._secret, place, _VECTOR)

    def stripe(self, address: Value, place: Operand) -> None:
        """Add the 64 bytes at an address, mixed with the random numbers from this place on."""
        f = self._f
        pointer = f.b.inttoptr(address.ir, ir.PointerType())
        numbers = Value(f, f.b.load(pointer, typ=_VECTOR, align=1))
        mixed = numbers ^ self._key(place)
        neighbours = ir.Constant(ir.VectorType(I32, 8), [1, 0, 3, 2, 5, 4, 7, 6])
        swapped = Value(f, f.b.shuffle_vector(numbers.ir, numbers.ir, neighbours))
        self.sums.set(self.sums.value + ((mixed & 0xFFFFFFFF) * (mixed >> 32) + swapped))

    def scramble(self) -> None:
        """Mix the bits of each sum."""
        sums = self.sums.value
        self.sums.set((sums ^ (sums >> 47) ^ self._key(_SCRAMBLE)) * _PRIME32)

    def end(self, size: Value) -> Value:
        """Return the hash of all that was added, and of its size."""
        f = self._f
        result = size * signed(_PRIME64)
        mixed = self.sums.value ^ self._key(_MERGE)
        for lane in range(0, 8, 2):
            both = [f.b.zext(f.b.extract_element(mixed.ir, I32(lane + each)), _I128) for each in (0, 1)]
            product = f.b.mul(*both)
            high = f.b.trunc(f.b.lshr(product, _I128(64)), I64)
            result = result + (Value(f, f.b.trunc(product, I64)) ^ Value(f, high))
        result = (result ^ (result >> 37)) * signed(_AVALANCHE)
        return result ^ (result >> 32)


def write_chunk() -> str:
    """Write the function of a chunk, `(frame, local, number of the chunk)`, which stores the hash of its bytes."""
    f = ThreadFunction("weight_hash_chunk", 3)
    frame, _, number = f.arguments
    source, size, chunk, results, secret = (f.load(frame, place, I64) for place in range(5))
    begin = number * chunk
    first, count = source + begin, f.least(chunk, size - begin)
    hashed = _Hash(f, secret)
    whole = count // _BLOCK * _BLOCK
    with f.loop(0, whole, _BLOCK) as block:
        for number_in_block in range(_BLOCK // _STRIPE):
            hashed.stripe(first + block + number_in_block * _STRIPE, number_in_block)
        hashed.scramble()
    stripes = (count - whole) // _STRIPE
    with f.loop(stripes) as stripe:
        hashed.stripe(first + whole + stripe * _STRIPE, stripe)

    def overlapping() -> None:
        hashed.stripe(first + count - _STRIPE, _LAST)

    def padded() -> None:
        place = f.integers(_STRIPE // 8)
        f.store(0, place, 0, _VECTOR)
        byte: Any = ir.IntType(8)
        with f.loop(count) as i:
            f.store(f.load(first, i, byte), place, i)
        hashed.stripe(place, _LAST)

    with f.when((count % _STRIPE).differs(0)):
        f.cases(count >= _STRIPE, overlapping, padded)
    f.store(hashed.end(count), results, number, I64)
    return f.finish()


def write_hash() -> str:
    """Write the function of a fingerprint, which is never 0.

    Its arguments are `(source, bytes, chunk, results, secret, tile function, launch, pool, helpers)`; `results` has
    room for a number of each chunk and one more.
    """
    f = ThreadFunction("weight_hash", 9, returns=True)
    source, size, chunk, results, secret, tile, launch, pool, helpers = f.arguments
    chunks = (size + chunk - 1) // chunk
    frame = f.integers(8)
    for place, value in enumerate((source, size, chunk, results, secret)):
        f.store(value, frame, place, I64)
    f.run_tiles_of(tile, frame, 0, chunks, launch, pool, f.select(chunks > 2, helpers, 0))
    total = f.var(f.load(results, 0, I64))
    with f.when(chunks > 1):
        last = results + chunks * 8
        for number, of_results in enumerate((results, chunks * 8, chunks * 8, last)):
            f.store(of_results, frame, number, I64)
        f.call(tile, frame, 0, 0)
        total.set(f.load(last, 0, I64))
    return f.finish(f.select(total.value.equals(0), 1, total.value))


def chunk_bytes_of(f: ThreadFunction, size: Value) -> Value:
    """Return `chunk_bytes` of a size that the function computes."""
    share = (size + (MOST_CHUNKS - 1)) // MOST_CHUNKS
    return f.most(CHUNK, (share + (_BLOCK - 1)) // _BLOCK * _BLOCK)
