"""Calls of compiled programs: JAX and TensorFlow run the kernel without Python and its lock.

A program calls one machine function with the address of a record. The record has a frame of the compiled call, and the
packed weights that were used last, which are found by a fingerprint of the weight's bytes. The modules: `places` (the
integers that machine code and Python share), `weight_hash` (the fingerprint), `weight_gather` and `weight_table` (the
packing), `scratch` (memory), `slots` (packed weights: found, packed, replaced), `machine_code` (the call),
`process_table` (what all records share) and `record` (a record, and what Python does for it on request).
"""

from tconv.kernels.simd.native_call.record import NativeCall, build, native_function

__all__ = ["NativeCall", "build", "native_function"]
