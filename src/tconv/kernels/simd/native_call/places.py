"""Places of the integers that machine code and Python share: of the process, of a record, of a plan and of a slot.

All are arrays of 64-bit integers. Places that several threads write have a cache line of their own, of 8 integers.
"""

from __future__ import annotations

from tconv.kernels.simd.call_frame import FRAME

LINE = 8
"""Integers in a cache line."""

# -- of the process: one array, which all records refer to -----------------------------------------------------------

ENDED = 0  # 1 once the interpreter is about to end: no callback is called any more
THREADS = 1  # number of threads that a call may use
POOL = 2  # address of the pool's integers; 0 if there is none, or it is that of a parent process
CALLBACK = 3  # address of the function of Python for everything that machine code cannot do
ALLOCATE, FREE, ADVISE, YIELD = 4, 5, 6, 7  # addresses of calloc, free, madvise (or 0) and sched_yield
LAUNCH, HASH, HASH_CHUNK, TAKE, MISS, RUN, CALL = 8, 9, 10, 11, 12, 13, 14  # addresses of machine functions
LIMIT = 15  # bytes of packed weights that may be kept
KEPT = 16  # bytes of packed weights that are kept
SECRET = 24  # random numbers of the fingerprint
SECRETS = 40
SCRATCHES = 64  # scratch memory of callers' threads, a cache line each
MOST_SCRATCHES = 256
SHARED_INTEGERS = SCRATCHES + MOST_SCRATCHES * LINE

# -- of the scratch memory of a caller's thread ----------------------------------------------------------------------

TAKEN, SCRATCH_RAW, SCRATCH_ADDRESS, SCRATCH_SIZE = 0, 1, 2, 3  # 1 while a thread has it; as allocated; aligned

# -- of a record: one call -------------------------------------------------------------------------------------------

SHARED = 0  # address of the array of the process
PLAN = 1  # address of the plan for the present number of threads
WEIGHT_BYTES, PACKED_BYTES = 2, 3
DIRECT = 4  # address of the record of the direct sum; 0 if there is none yet
IS_DIRECT = 5  # 1 if this is the direct sum
CONVERT, BIASES = 6, 7  # address of the function that widens the bias, or 0; number of output channels
PACK, PARTS, PART_COUNT = 8, 9, 10  # address of the function that packs a part of the weight, or 0; its table
CLOCK = 11  # counts the uses of packed weights
SLOT_COUNT = 12
TEXT = 13  # address of the text of the last error, which ends with a zero byte
FORGOTTEN = 16  # fingerprints of the weights that were replaced last
MOST_FORGOTTEN = 8
SLOTS = 24  # a cache line each

# -- of a slot: a packed weight --------------------------------------------------------------------------------------

READERS = 0  # calls that use the slot; below 0 while one writes it
FINGERPRINT, RAW, ADDRESS = 1, 2, 3  # 0 if the slot is empty; memory as allocated; aligned
USED, FOUND = 4, 5  # the clock at the last use; how often it was found
UNFIT = 6  # 1 for a weight whose numbers the form cannot compute with
TEMPORARY = 7  # 1 for a slot that is released with the call
WRITING = 1 << 40
"""Readers that a slot has less while it is written."""

# -- of a plan: a call with a number of threads ----------------------------------------------------------------------

REQUESTED = 0  # number of threads that it was made for
PLAN_POOL, HELPERS = 1, 2  # pool whose helpers have scratch memory for it; helpers that it uses
TILE_FUNCTION, TILES = 3, 4
SCRATCH, BIAS_PLACE, HASH_PLACE = 5, 6, 7  # bytes of scratch memory of the caller; where in it bias and hashes are
FRAME_PLACE = 8
FRAME_INTEGERS = -(-len(FRAME) // LINE) * LINE
PLAN_INTEGERS = FRAME_PLACE + FRAME_INTEGERS

# -- results and requests --------------------------------------------------------------------------------------------

DONE, FAILED, ENDED_EARLY, NO_MEMORY = 0, 1, 2, 3
NEEDS_OTHER = 100
"""Result of the form alone: the numbers of x or weight need another form."""
MAKE_PLAN, MAKE_DIRECT, PACK_WEIGHT, MAKE_ROOM, COMPUTE = range(5)
"""Requests to Python."""
