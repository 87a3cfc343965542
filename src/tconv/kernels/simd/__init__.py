"""The CPU kernel: machine code for its vector units, written by Python, for float32, float64, float16 and bfloat16.

The lanes of a vector are positions of the output and weights are broadcast, or they are output channels and inputs are
broadcast; sums stay in registers. float16 and bfloat16 are converted to float32 as x is packed, and rounded once as the
output is written. Each form of the sum has a package:

- `direct`: every product of the definition, method "simd"
- `channel_lanes`: the same sums for outputs with channels last, with lanes over output channels
- `depthwise`: the same sums, for layers with one input channel per group
- `winograd_f22`: phases of two taps with fewer multiplications, method "winograd"
- `winograd_channels`: the same for channels last, with lanes over output channels
- `winograd_f43`: three rows of taps with fewer multiplications, for layers of networks

`weight_gradient` has the gradient by the weight, for training. Between layers `planes` adds and copies pictures, and
`elementwise` has functions of single numbers and the cell of an LSTM. `call_sequence` runs many short calls after one
call from Python, for streams.

They share these modules. `phase_axes` lists the inputs and taps of each phase; `row_offsets` and `call_frame` are the
tables and the arguments of the machine code. `microkernel` has the multiply-adds, `epilogue` bias, activation and the
writing of the output. `compiled_call` and `specialized_call` turn a problem into a function of arrays, `form_choice`
chooses among the forms of a sum, and `weight_cache` stores packed weights. `vector_ir` is the language of the
code, for the chip in `cpu_target` and the dtypes in `elements`; `half_floats` converts, `thread_ir` has what threads
need. `object_cache` compiles the code and stores it, `thread_pool` runs it, and `native_call` is for compiled programs,
which call it without Python. `availability` tells if it can run on this machine. `bfloat16_dot` decides where bfloat16
is multiplied in pairs, with the instructions in `pair_ir`.

LLVM (through llvmlite) is imported at the first call that needs it.
"""
