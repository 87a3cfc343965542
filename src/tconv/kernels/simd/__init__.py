"""float32 on the vector units of the CPU, in machine code that Python writes.

Lanes run over positions, weights are broadcast, sums stay in registers. Three forms of the sum have a folder each:

- `direct`: every product of the definition, method "simd"
- `winograd_f22`: phases of two taps with fewer multiplications, method "winograd"
- `winograd_f43`: three rows of taps with fewer multiplications, for layers of networks

What they share: `phase_axes` (which inputs, through which taps, make the outputs of a phase), `row_offsets` and
`call_frame` (what the machine code is told), `microkernel` (the multiply-adds), `epilogue` (bias, activation, the
output), `compiled_call` and `specialized_call` (a problem made ready, and its function of arrays), `weight_cache`,
`vector_ir` (the language that the code is written in), `cpu_target`, `object_cache` and `thread_pool`; `availability`
says whether all of it can run on this machine.

LLVM (through llvmlite) is imported when the first call needs it.
"""
