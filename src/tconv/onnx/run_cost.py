"""Time of a model before and after its rewrite on ONNX Runtime's CPU, in runs that take turns.

`python -m tconv.onnx.run_cost BEFORE AFTER FOLDER` measures in a process of its own; the inputs lie in FOLDER as
feed0.npy, feed1.npy ...
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.acceleration.paired_timing import clock, median_interval

_MOST_PAIRS, _LEAST_PAIRS, _SECONDS = 200, 7, 1.0


@dataclass(frozen=True)
class Cost:
    """Medians of both models, and their ratio with its 95% interval."""

    before: float
    after: float
    ratio: float
    low: float
    high: float
    sizes: str

    def __str__(self) -> str:
        words = "slower" if self.ratio > 1 else "faster"
        factor = self.ratio if self.ratio > 1 else 1 / self.ratio
        clear = self.low > 1 or self.high < 1
        verdict = f"{factor:.2f} times as {'slow' if words == 'slower' else 'fast'}" if clear else "no clear difference"
        return (
            f"ONNX Runtime's CPU: {1e3 * self.before:.2f} ms before, {1e3 * self.after:.2f} ms after, {verdict} "
            f"(ratio {self.ratio:.2f}, 95% {self.low:.2f} to {self.high:.2f}; {self.sizes})"
        )


def measure_cost(before: Path, after: Path, feeds: Sequence[Array], sizes: str) -> Cost | None:
    """Return the times of two files of one model; None without ONNX Runtime, or if it does not run one of them."""
    if find_spec("onnxruntime") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="tconv-cost-") as folder:
        for number, feed in enumerate(feeds):
            np.save(Path(folder) / f"feed{number}.npy", feed)
        command = [sys.executable, "-m", "tconv.onnx.run_cost", str(before), str(after), folder]
        try:
            known = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
            environment = {**os.environ, "PYTHONPATH": known}
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        except subprocess.TimeoutExpired:
            return None
    if done.returncode:
        return None
    return Cost(**json.loads(done.stdout.splitlines()[-1]), sizes=sizes)


def _sessions(paths: Sequence[str], folder: Path) -> list[tuple[Any, dict[str, Array]]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    found = []
    for path in paths:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]
        found.append((session, {name: np.load(folder / f"feed{at}.npy") for at, name in enumerate(names)}))
    return found


def main(before: str, after: str, folder: str) -> None:
    """Measure, and print one JSON object."""
    sides = _sessions([before, after], Path(folder))
    for session, feeds in sides:
        session.run(None, feeds)
    pairs: list[list[float]] = []
    begun = clock()
    while len(pairs) < _LEAST_PAIRS or (clock() - begun < _SECONDS and len(pairs) < _MOST_PAIRS):
        spent = [0.0, 0.0]
        for side in (0, 1) if len(pairs) % 2 == 0 else (1, 0):
            session, feeds = sides[side]
            start = clock()
            session.run(None, feeds)
            spent[side] = clock() - start
        pairs.append(spent)
        if clock() - begun > 10 * _SECONDS:
            break
    old, new = np.median(pairs, axis=0)
    ratio = median_interval([after / max(before, 1e-12) for before, after in pairs])
    facts = {"before": float(old), "after": float(new), "ratio": ratio.value, "low": ratio.low, "high": ratio.high}
    print(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
