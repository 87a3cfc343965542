"""Accuracy of diagnose on random faults and on noise, and its times: python benchmarks/diagnose.py [SEED].

Ten thousand pairs of unrelated noise (about ten minutes), two thousand random single faults, outputs of 1000 x 1000.
The cases are those of tests/random_calls/faults.py, of which the tests run fewer.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

import tconv

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from random_calls.faults import SAME_THING, noise, random_fault

NOISE, FAULTS, REPEATS = 10_000, 2_000, 5


def measure_noise(rng: np.random.Generator) -> None:
    """Count the causes named for unrelated outputs, with the call and as outputs alone."""
    wrong: Counter[str] = Counter()
    for number in range(NOISE):
        call, got = noise(rng, number)
        found = tconv.diagnose(got, call.y, x=call.x, weight=call.w, bias=call.bias, **call.arguments)
        alone = tconv.diagnose(got, call.y)
        wrong.update(f"{name}: {each.cause}" for name, each in (("call", found), ("alone", alone)) if each.findings)
    print(f"noise: {sum(wrong.values())} of {2 * NOISE} diagnoses of {NOISE} pairs name a cause {dict(wrong)}")


def measure_faults(rng: np.random.Generator) -> None:
    """Count the random single faults whose first named cause is the right one."""
    missed: Counter[str] = Counter()
    times = []
    for _ in range(FAULTS):
        name, call, got = random_fault(rng)
        start = time.perf_counter()
        found = tconv.diagnose(got, call.y, x=call.x, weight=call.w, bias=call.bias, **call.arguments)
        times.append(time.perf_counter() - start)
        first = found.findings[0] if found.findings else None
        names = {*first.causes, *first.also} if first and len(first.causes) == 1 else set()
        missed[name] += not names & ({name} | SAME_THING.get(name, set()))
    count = sum(missed.values())
    print(f"single faults: {FAULTS - count} of {FAULTS} right, median {1e3 * statistics.median(times):.0f} ms")
    print(f"  missed: {dict(+missed)}")


def measure_times(rng: np.random.Generator) -> None:
    """Time outputs of 1000 x 1000 with one cause, two causes and none."""
    arguments = {"stride": 2, "padding": 1, "output_padding": 1}
    for channels in (1, 8, 32):
        shapes = ((1, 16, 500, 500), (16, channels, 3, 3), (channels,))
        x, w, b = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        y = tconv.conv_transpose(x, w, b, **arguments)
        cases = {
            "one cause": tconv.conv_transpose(x, w[:, :, ::-1, ::-1], b, **arguments),
            "two causes": tconv.conv_transpose(x, w, stride=2, crop=((0, 1), (0, 1))),
            "none": rng.standard_normal(y.shape).astype(np.float32),
        }
        for name, got in cases.items():
            times = []
            for _ in range(REPEATS):
                start = time.perf_counter()
                found = tconv.diagnose(got, y, x=x, weight=w, bias=b, **arguments)
                times.append(time.perf_counter() - start)
            print(f"{y.shape}, {name}: {found.cause}, median {statistics.median(times):.1f} s of {REPEATS}")


if __name__ == "__main__":
    generator = np.random.default_rng(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    measure_times(generator)
    measure_faults(generator)
    measure_noise(generator)
