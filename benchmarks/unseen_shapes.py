"""A shape not seen before, and the first call of a process: what they cost, beside another revision.

    python benchmarks/unseen_shapes.py [--base REF] [--rounds 60] [-o FILE.json]

Planning is the time of a call with a new shape less that of the same call again, on two threads, for each form of
call. Each side is a process of its own; they take turns, ten shapes at a time. The first call is a new process each
time, machine code and bytecode being on disk: from `import tconv` to the result, and the whole process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tconv.bench.revision import describe, unpack

FORMS = ("numpy", "prepared", "torch")
LAYERS = {"picture 64->32 k4 s2": ((64, 32, 4, 4), 2, 1), "signal 256->128 k16 s8": ((256, 128, 16), 8, 4)}
"""Shape of the weight, stride, padding."""
WARM = 60
"""Shapes at first that build or load machine code, and are not counted."""

SIDE = """
import sys, time
import numpy as np, tconv
assert tconv.__file__.startswith(sys.argv[2]), tconv.__file__
form, shape, stride, padding = eval(sys.argv[1])
arguments = {"stride": stride, "padding": padding}
w, new = np.random.default_rng(0).standard_normal(shape, dtype=np.float32), lambda shape: np.ones(shape, np.float32)
call = tconv.prepare(w, **arguments) if form == "prepared" else lambda x: tconv.conv_transpose(x, w, **arguments)
if form == "torch":
    import torch
    import tconv.torch as adapter
    torch.set_grad_enabled(False)
    weight, new = torch.from_numpy(w), torch.ones
    call = lambda x: adapter.conv_transpose(x, weight, **arguments)
for line in sys.stdin:
    took = []
    for length in map(int, line.split()):
        x = new((1, shape[0], length, *[20] * (len(shape) - 3)))
        for _ in range(6):
            start = time.perf_counter()
            call(x)
            took.append(time.perf_counter() - start)
    print(*(took[at] - sorted(took[at + 1 : at + 6])[2] for at in range(0, len(took), 6)), flush=True)
"""
FIRST = """
import time
import numpy as np
start = time.perf_counter()
import tconv
tconv.conv_transpose(np.ones((1, 64, 32, 32), np.float32), np.ones((64, 32, 4, 4), np.float32), stride=2, padding=1)
print(time.perf_counter() - start)
"""


def planning(sides: dict[str, dict[str, str]], form: str, layer: Any, rounds: int) -> dict[str, list[float]]:
    """Seconds by side, a number for each shape."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    running = {
        name: subprocess.Popen([sys.executable, "-c", SIDE, repr((form, *layer)), env["PYTHONPATH"]], env=env, **pipes)
        for name, env in sides.items()
    }
    spent: dict[str, list[float]] = {name: [] for name in sides}
    lengths = random.Random(0).sample(range(24, 400), WARM + rounds)
    for turn in range(0, len(lengths), 10):
        for name in sorted(running, reverse=bool(turn % 20)):
            requests, answers = running[name].stdin, running[name].stdout
            assert requests is not None
            assert answers is not None
            requests.write(" ".join(map(str, lengths[turn : turn + 10])) + "\n")
            spent[name] += map(float, answers.readline().split())
    for process in running.values():
        process.communicate()
    return {name: times[WARM:] for name, times in spent.items()}


def first_call(sides: dict[str, dict[str, str]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Seconds by what is measured and side, a number for each process; those of the first turn are dropped."""
    spent: dict[str, dict[str, list[float]]] = {
        what: {name: [] for name in sides} for what in ("import to result", "process")
    }
    for turn in range(rounds + 1):
        for name in sorted(sides, reverse=bool(turn % 2)):
            start = time.perf_counter()
            output = subprocess.run([sys.executable, "-c", FIRST], env=sides[name], stdout=subprocess.PIPE, check=True)
            whole = time.perf_counter() - start
            if turn:
                spent["import to result"][name].append(float(output.stdout))
                spent["process"][name].append(whole)
    return spent


def main() -> None:
    """Measure, print a table, and write a file if one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", metavar="REF", help="a git revision to compare with")
    parser.add_argument("--rounds", type=int, default=60, help="shapes, and half as many first calls")
    parser.add_argument("-o", "--output", type=Path, help="where to write all numbers, as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sources = {"now": Path(__file__).parents[1] / "src"}
        if options.base:
            sources["base"] = unpack(options.base, Path(folder)).source
        own = {**os.environ, "TCONV_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "PYTHONPYCACHEPREFIX": f"{folder}/pyc"}
        own.pop("PYTHONDONTWRITEBYTECODE", None)
        sides = {name: {**own, "PYTHONPATH": str(source)} for name, source in sources.items()}
        results = {
            f"{form}, {name}": planning(sides, form, layer, options.rounds)
            for form in FORMS
            for name, layer in LAYERS.items()
        }
        results |= {f"first call, {what}": times for what, times in first_call(sides, options.rounds // 2).items()}
    print(f"{'':36}" + "".join(f"{name + ' ms':>10}" for name in sides) + f"{'now/base':>10}" * bool(options.base))
    for what, times in results.items():
        medians = {name: statistics.median(each) for name, each in times.items()}
        ratio = f"{medians['now'] / medians['base']:10.2f}" if options.base else ""
        print(f"{what:36}" + "".join(f"{1e3 * each:10.2f}" for each in medians.values()) + ratio)
    if options.output:
        with options.output.open("x") as file:
            json.dump({"revision": describe(), "base": options.base, "seconds": results}, file, indent=1)


if __name__ == "__main__":
    main()
