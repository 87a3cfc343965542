"""Taking one sample: the call is repeated long enough for the clock, and only while the process is otherwise at rest.

The modes are what callers do with the output: "out" writes one that was allocated before, "dropped" releases the
previous output before the next call, "kept" keeps the last few alive, as the activations of a network are.
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

_ALIVE_BYTES = 1 << 28
_WARM_BELOW = 0.1  # seconds: a shorter call is made once untimed, to bring its data and threads back
_REST_STEP, _REST_LIMIT, _REST_SHARE = 0.002, 0.2, 0.25


def settle(clock: Callable[[], float] = time.process_time) -> None:
    """Wait until the threads of this process have stopped spinning: they would compute beside the next peer."""
    for _ in range(round(_REST_LIMIT / _REST_STEP)):
        before = clock()
        time.sleep(_REST_STEP)
        if clock() - before < _REST_SHARE * _REST_STEP:
            return


def outputs_alive(nbytes: int) -> int:
    """Return the number of outputs of this size that the mode "kept" has alive: 2 to 4, below 256 MiB if possible."""
    return max(2, min(4, _ALIVE_BYTES // max(1, nbytes)))


def sample(
    call: Callable[[], Any],
    once: float,
    alive: int = 0,
    wait: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, int]:
    """Return the seconds per call, and the number of calls that this is the mean of.

    `once` is about the seconds of one call. The last `alive` outputs stay referenced; with 0, each is released before
    the next call.
    """
    count = max(1, math.ceil(SAMPLE_SECONDS / max(once, 1e-7)))
    outputs: deque[Any] = deque(maxlen=alive)
    if once < _WARM_BELOW or alive:
        outputs.append(call())
        wait()
    collecting = gc.isenabled()
    gc.disable()
    try:
        start = clock()
        if alive:
            for _ in range(count):
                outputs.append(call())
        else:
            for _ in range(count):
                call()
        wait()
        seconds = clock() - start
    finally:
        if collecting:
            gc.enable()
    return seconds / count, count
