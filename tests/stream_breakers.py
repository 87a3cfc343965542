"""Streams that break their contract, each in one way that people met, and one that keeps it. For one layer of NumPy."""

from __future__ import annotations

import numpy as np

import tconv

STRIDE, TAPS = 4, 12


def layer(seed=0):
    """Return weight [C_in, C_out, k] and bias of a causal layer with 12 taps and stride 4."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((3, 2, TAPS), np.float32), rng.standard_normal(2, np.float32)


class WindowedStream:
    """Causal stream that computes each chunk again with the inputs before it that its outputs read."""

    context = TAPS // STRIDE - 1
    latency = 0

    def __init__(self):
        self.weight, self.bias = layer()
        self.reset()

    def __call__(self, x):
        """Return the result of a whole input: causal, so that n inputs have 4n outputs."""
        full = tconv.conv_transpose(x, self.weight, self.bias, method="simd", stride=STRIDE)
        return full[:, :, : STRIDE * x.shape[2]]

    def reset(self):
        self.window, self.ended = np.zeros((1, 3, 0), np.float32), False

    def push(self, chunk):
        if self.ended:
            raise ValueError("the stream has ended")
        if chunk.shape[:2] != (1, 3):
            raise ValueError("another shape is needed")
        x = np.concatenate([self.window, chunk], 2)
        made = self.made(x, chunk.shape[2])
        self.window = x[:, :, max(0, x.shape[2] - self.context) :].copy()
        return made

    def made(self, x, count):
        if not count:
            return np.zeros((1, 2, 0), np.float32)
        return self(x)[:, :, -STRIDE * count :]

    def flush(self):
        self.ended = True
        return np.zeros((1, 2, 0), np.float32)

    def state(self):
        return {"window": self.window.copy()}

    def restore(self, state):
        self.window, self.ended = state["window"].copy(), False


class ShortOverlap(WindowedStream):
    """One input of context too few: clicks at the joints."""

    context = TAPS // STRIDE - 2


class BiasTwice(WindowedStream):
    """Overlap and add: tails of outputs, which have the bias in them, are added to outputs that have it, too."""

    def reset(self):
        self.tail, self.ended = np.zeros((1, 2, TAPS - STRIDE), np.float32), False

    def push(self, chunk):
        if self.ended or chunk.shape[:2] != (1, 3):
            raise ValueError("refused")
        if not chunk.shape[2]:
            return np.zeros((1, 2, 0), np.float32)
        full = tconv.conv_transpose(chunk, self.weight, self.bias, stride=STRIDE)
        full[:, :, : TAPS - STRIDE] += self.tail
        count = STRIDE * chunk.shape[2]
        self.tail = full[:, :, count:].copy()
        return full[:, :, :count]


class TailOfSums(BiasTwice):
    """Overlap and add, with the bias once: right but for the order of the sums."""

    def push(self, chunk):
        before, self.bias = self.bias, None
        try:
            return super().push(chunk) + before[:, None]
        finally:
            self.bias = before


class DroppedTail(WindowedStream):
    """The outputs behind the last input's own are never given."""

    def __call__(self, x):
        return tconv.conv_transpose(x, self.weight, self.bias, method="simd", stride=STRIDE)

    def made(self, x, count):
        return self(x)[:, :, STRIDE * (x.shape[2] - count) : STRIDE * x.shape[2]]


class StaleReset(WindowedStream):
    """A reset that forgets to forget, except before the first input."""

    def reset(self):
        self.window, self.ended = getattr(self, "window", np.zeros((1, 3, 0), np.float32)), False


class WrongLatency(WindowedStream):
    """Outputs wait for nothing, and it says that they do."""

    latency = 4


class TooEarly(WindowedStream):
    """Outputs that look ahead are given before their inputs are there."""

    def __call__(self, x):
        full = tconv.conv_transpose(x, self.weight, self.bias, method="simd", stride=STRIDE)
        return full[:, :, STRIDE : STRIDE * (x.shape[2] + 1)]


class StateOfViews(WindowedStream):
    """A state that shares memory with the stream."""

    def reset(self):
        self.window, self.ended = np.zeros((1, 3, self.context), np.float32), False

    def push(self, chunk):
        if self.ended or chunk.shape[:2] != (1, 3):
            raise ValueError("refused")
        x = np.concatenate([self.window, chunk], 2)
        self.window[...] = x[:, :, x.shape[2] - self.context :]
        return self.made(x, chunk.shape[2])

    def state(self):
        return {"window": self.window}


class ForgottenState(WindowedStream):
    """A state without the window."""

    def state(self):
        return {"window": np.zeros((1, 3, 0), np.float32)}


class EagerState(WindowedStream):
    """A refused chunk is in the window already."""

    def push(self, chunk):
        if self.ended:
            raise ValueError("the stream has ended")
        x = np.concatenate([self.window, chunk[:1, :3]], 2) if chunk.ndim == 3 else self.window
        self.window = x[:, :, max(0, x.shape[2] - self.context) :].copy()
        if chunk.shape[:2] != (1, 3):
            raise ValueError("another shape is needed")
        return self.made(x, chunk.shape[2])


class LastingNan(WindowedStream):
    """Old inputs are multiplied with 0 in place of being dropped."""

    def reset(self):
        super().reset()
        self.poison = np.float32(0)

    def made(self, x, count):
        self.poison = np.float32(self.poison + 0 * x.sum())
        return super().made(x, count) + self.poison


class WithoutEmpty(WindowedStream):
    """An empty chunk makes all outputs again: [-0:] is everything."""

    def made(self, x, count):
        return self(x)[:, :, -STRIDE * count :] if x.shape[2] else x[:, :2]


class AlwaysOpen(WindowedStream):
    """Channels beyond the weight's are ignored."""

    def push(self, chunk):
        return super().push(chunk[:, :3])


BROKEN = {
    ShortOverlap: "one sample at a time: .* differ",
    BiasTwice: "one sample at a time: .* differ",
    TailOfSums: "differ from the whole",
    DroppedTail: "gave 160 samples; the whole has 168",
    StaleReset: "differ from the whole",
    WrongLatency: "latency is 4; after .* inputs 0 samples wait",
    TooEarly: "differ|gave",
    StateOfViews: "state was saved",
    ForgottenState: "state was saved after",
    EagerState: "refused chunks in the middle",
    LastingNan: "NaN in an input",
    WithoutEmpty: "samples",
    AlwaysOpen: "was not refused",
}
"""Broken streams, and what the message about each must match."""
