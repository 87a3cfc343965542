"""A network built from PyTorch's own layers, to compare its time with tconv's.

The command reports both times for the sample photograph, where PyTorch is installed.
"""

from __future__ import annotations

import importlib.util
import time
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.kernels.num_threads import get_num_threads
from tconv.models.image_model import Model, edge_extended
from tconv.upsampling.network_in_torch import in_torch

_RUNS = 5


class Times(NamedTuple):
    """Seconds of one run of a network, the best of interleaved runs, and the version of PyTorch."""

    here: float
    torch: float
    version: str


def times(model: Model, pixels: Array) -> Times | None:
    """Return both times for 8-bit pixels [C, H, W]; None if PyTorch is not installed or does not load."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        import torch
    except (ImportError, OSError):
        return None
    border = model.border
    padded = model.network_input(pixels.astype(np.float32) / 255)
    for axis in (1, 2):
        padded = edge_extended(padded, slice(-border, padded.shape[axis] + border), axis)
    x = np.ascontiguousarray(padded[None])
    before = torch.get_num_threads()
    torch.set_num_threads(get_num_threads())
    try:
        torch_run, tensor = in_torch(model.network), torch.from_numpy(x)
        spent: dict[str, list[float]] = {"here": [], "torch": []}
        with torch.inference_mode():
            for turn in range(_RUNS + 1):
                for name, call in (("here", lambda: model.network(x)), ("torch", lambda: torch_run(tensor))):
                    start = time.perf_counter()
                    call()
                    if turn:  # the first run compiles and allocates
                        spent[name].append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(before)
    # the best, and not the median: on a busy machine threads that wait for each other lose far more than one thread
    here, there = (min(each) for each in spent.values())
    return Times(here, there, str(torch.__version__))
