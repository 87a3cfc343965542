"""The kernel on PyTorch's own threads: the same numbers, and no change to PyTorch's state."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import tconv
import tconv.torch as ours


@pytest.fixture
def openmp():
    """Return two of PyTorch's threads."""
    from tconv.torch.openmp_threads import pytorch_threads

    before, own = torch.get_num_threads(), tconv.get_num_threads()
    torch.set_num_threads(2)
    tconv.set_num_threads(2)
    threads = pytorch_threads(2)
    if threads is None:
        assert sys.platform != "linux", "PyTorch's wheels for Linux have one"
        pytest.skip("PyTorch has no OpenMP here")
    yield threads
    torch.set_num_threads(before)
    tconv.set_num_threads(own)


def test_the_kernel_runs_on_torchs_threads(openmp, monkeypatch):
    """No thread of tconv's own is started; the same bits; busy or not."""
    from tconv.kernels.simd import thread_pool

    own, seen = thread_pool.Pool(), []
    monkeypatch.setattr(thread_pool, "_pool", own)
    run = thread_pool.Pool._run_openmp
    monkeypatch.setattr(
        thread_pool.Pool, "_run_openmp", lambda self, *arguments: seen.append(arguments[0]) or run(self, *arguments)
    )
    layer, x = ours.ConvTranspose2d(16, 24, 4, 2).requires_grad_(False), torch.randn(3, 16, 37, 41)
    first = layer(x)
    assert seen == [openmp]
    assert own._started == 0
    expected = tconv.conv_transpose(x.numpy(), layer.weight.numpy(), layer.bias.numpy(), stride=2, method="simd")
    with own._lock:  # the helpers are busy
        alone = layer(x)
    assert len(seen) == 1
    for _ in range(20):
        torch.relu(torch.randn(1 << 20))
        assert torch.equal(layer(x), first)
    assert torch.equal(alone, first)
    assert np.array_equal(first.numpy(), expected)


def test_torchs_threads_round_as_the_caller_does_and_then_as_before(openmp):
    layer, x = ours.ConvTranspose2d(16, 24, 4, 2, bias=False).requires_grad_(False), torch.full((3, 16, 37, 41), 1e-39)
    layer.weight.fill_(1.0)
    ones = torch.ones(1 << 20)
    assert layer(x).min() > 0
    try:
        if not torch.set_flush_denormal(True):
            pytest.skip("the chip keeps denormal numbers")
        torch.set_flush_denormal(False)
        flushed, denormal = [], []

        def call():
            torch.set_flush_denormal(True)
            flushed.append(layer(x))
            torch.set_flush_denormal(False)
            denormal.append((ones * 1e-39).min().item())

        for _ in range(5):
            call()
    finally:
        torch.set_flush_denormal(False)
    assert all(y.abs().max() == 0 for y in flushed)
    assert min(denormal) > 0


def test_a_forked_child_has_no_openmp_threads(openmp):
    layer, x = ours.ConvTranspose2d(16, 24, 4, 2).requires_grad_(False), torch.randn(3, 16, 37, 41)
    y = layer(x)
    expected = y.numpy()
    number = os.fork()
    if number == 0:
        # PyTorch's own operators would wait for its threads for ever
        os._exit(0 if np.array_equal(layer(x).numpy(), expected) else 1)
    deadline = time.monotonic() + 60
    while (done := os.waitpid(number, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if done == (0, 0):
        os.kill(number, 9)
    assert done != (0, 0)
    assert done[1] == 0
    assert torch.equal(layer(x), y)


def test_many_threads_at_once_share_the_openmp_threads(openmp):
    layer, x = ours.ConvTranspose2d(16, 24, 4, 2).requires_grad_(False), torch.randn(3, 16, 37, 41)
    y = layer(x)
    with ThreadPoolExecutor(6) as threads:
        assert all(threads.map(lambda _: torch.equal(layer(x), y), range(120)))
