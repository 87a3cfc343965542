"""Decoders of Flax Linen inside of jit, on lax and through `tconv.jax.intercept`, timed in turns.

    python benchmarks/flax_decoders.py [--seconds 10] [-o FILE.txt]

Each line is a model, forward or with the gradient of all parameters; both sides get the same arrays in turn, and their
results are compared first. The ratio of the medians is above 1 where tconv is faster.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

import tconv.jax


class Generator(nn.Module):
    """DCGAN's generator of 64x64 pictures."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.relu(nn.ConvTranspose(512, (4, 4), (1, 1), padding="VALID")(x))
        for width in (256, 128, 64):
            x = nn.relu(nn.ConvTranspose(width, (4, 4), (2, 2))(x))
        return jnp.tanh(nn.ConvTranspose(3, (4, 4), (2, 2))(x))


class UpBlocks(nn.Module):
    """Expanding half of a U-Net: kernels of the stride, each followed by an ordinary convolution."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for width in (128, 64, 32):
            x = nn.relu(nn.Conv(width, (3, 3))(nn.ConvTranspose(width, (2, 2), (2, 2))(x)))
        return nn.Conv(1, (1, 1))(x)


class Vocoder(nn.Module):
    """Decoder from 64 frames to 16384 samples, with the strides of HiFi-GAN."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for width, stride in ((128, 8), (64, 8), (32, 2), (16, 2)):
            x = nn.ConvTranspose(width, (2 * stride,), (stride,))(nn.leaky_relu(x))
        return jnp.tanh(nn.Conv(1, (7,))(x))


MODELS = {
    "DCGAN generator, batch 8": (Generator(), (8, 1, 1, 100)),
    "U-Net's expanding half, 16x16": (UpBlocks(), (1, 16, 16, 256)),
    "vocoder, 64 frames": (Vocoder(), (1, 64, 256)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    lines = [f"jax {jax.__version__}, {jax.devices()[0].platform}, {tconv.get_num_threads()} threads"]
    print(lines[0])
    for name, (model, shape) in MODELS.items():
        x = jax.random.normal(jax.random.key(0), shape)
        variables = model.init(jax.random.key(1), x)

        def on_tconv(variables: Any, x: Any, model: nn.Module = model) -> Any:
            with nn.intercept_methods(tconv.jax.intercept):
                return model.apply(variables, x)

        for kind, form in (("forward", jax.jit), ("training", gradient)):
            lines.append(
                f"{name}, {kind}: {compared(form(model.apply), form(on_tconv), (variables, x), options.seconds)}"
            )
            print(lines[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


def gradient(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the compiled gradient of a mean square with respect to all parameters."""
    return jax.jit(jax.grad(lambda variables, x: (call(variables, x) ** 2).mean()))


def compared(theirs: Callable[..., Any], ours: Callable[..., Any], arrays: Any, seconds: float) -> str:
    """Return both medians, their ratio and that of the least times, after a comparison of the results."""
    for a, b in zip(*(jax.tree.leaves(call(*arrays)) for call in (theirs, ours)), strict=True):
        assert jnp.allclose(a, b, atol=1e-4 * float(jnp.abs(a).max())), "the results differ"
    times: tuple[list[float], list[float]] = ([], [])
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(times[0]) < 5:
        for call, taken in zip((theirs, ours), times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(call(*arrays))
            taken.append(1e3 * (time.perf_counter() - start))
    lax, tconv_ms = map(statistics.median, times)
    least, rounds = min(times[0]) / min(times[1]), len(times[0])
    return (
        f"lax {lax:.2f} ms, tconv {tconv_ms:.2f} ms, {lax / tconv_ms:.2f}x (least times {least:.2f}x, {rounds} rounds)"
    )


if __name__ == "__main__":
    main()
