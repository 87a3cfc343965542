"""How one sample is taken: enough calls for the clock, and only when the process is at rest.

The modes are what callers do with the output: "out" writes one that was allocated before, "dropped" forgets the
previous output before the next is made, "kept" holds on to the last few, as a network's activations are held.
"""

from __future__ import annotations

import gc
import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any

MODES = {"cpu": ("out", "dropped", "kept"), "cuda": ("eager", "graph")}
SAMPLE_SECONDS = 0.010
"""A sample repeats a call until it takes this long."""

_KEPT_BYTES = 1 << 28
_WARM_BELOW = 0.1  # seconds: a shorter call is made once untimed, to bring its data and threads back
_REST_STEP, _REST_LIMIT, _REST_SHARE = 0.002, 0.2, 0.25


def settle(clock: Callable[[], float] = time.process_time) -> None:
    """Return when the threads of this process have stopped spinning: they would compute beside the next peer."""
    for _ in range(round(_REST_LIMIT / _REST_STEP)):
        before = clock()
        time.sleep(_REST_STEP)
        if clock() - before < _REST_SHARE * _REST_STEP:
            return


def kept_outputs(nbytes: int) -> int:
    """How many outputs of this size the mode "kept" holds: 2 to 4, within 256 MiB if 2 are."""
    return max(2, min(4, _KEPT_BYTES // max(1, nbytes)))


def sample(
    call: Callable[[], Any],
    once: float,
    hold: int = 0,
    wait: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, int]:
    """Seconds per call, and how many calls they are the mean of. `once` is about what a call takes.

    `hold` outputs are kept alive; with 0 each is dropped before the next call.
    """
    count = max(1, math.ceil(SAMPLE_SECONDS / max(once, 1e-7)))
    held: deque[Any] = deque(maxlen=hold)
    if once < _WARM_BELOW or hold:
        held.append(call())
        wait()
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = clock()
        if hold:
            for _ in range(count):
                held.append(call())
        else:
            for _ in range(count):
                call()
        wait()
        spent = clock() - start
    finally:
        if collecting:
            gc.enable()
    return spent / count, count
