"""The cases of one framework in a process of their own: `tconv bench --framework`, or `--models` of PyTorch.

The process builds a case, compares the outputs of its sides with the right ones, and then takes samples as it is asked.
It may run with an older tconv (`--base`), so it uses public names of tconv only.

    -> {"do": "build", "kind": "layers", "case": [...]}   <- {"state": "built", "sides": {"jax": 0.02, "tconv": 0.01}}
    -> {"do": "sample", "side": "tconv"}                  <- {"state": "sampled", "ms": 10.5}

`sides` maps a side to the seconds that one call of it takes. Another state comes with a reason.
"""

from __future__ import annotations

import gc
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from tconv.bench import frameworks, timing
from tconv.bench.frameworks.interface import ALONE, OWN, Case, Gap, Sides, reason_of
from tconv.bench.peers.interface import UnableError
from tconv.bench.worker import versions
from tconv.bench.worker_protocol import Message, private_stdout, serve

_LONG = 1.0  # seconds of a call that is not made once more before the rounds


class CaseWorker:
    """One case between messages."""

    def __init__(self, framework: str, threads: int, backend: str = "") -> None:
        self.name, self.framework, self.threads, self.backend = (
            framework,
            frameworks.framework(framework),
            threads,
            backend,
        )
        self._started = False
        self._calls: dict[str, Callable[[], Any]] = {}
        self._once: dict[str, float] = {}  # seconds of one call

    def answer(self, message: Message) -> Message:
        """Return the answer to "build" or "sample"; an exception becomes a state with a reason."""
        try:
            if message["do"] == "sample":
                return self._sample(message["side"])
            return self._build(message["kind"], Case(*message["case"]))
        except UnableError as error:
            return {"state": "unable", "reason": str(error)}
        except ModuleNotFoundError as error:
            return {"state": "missing", "module": error.name, "package": error.name}
        except Exception as error:  # the other cases go on
            return {"state": "error", "reason": f"{type(error).__name__}: {error}"[:600]}

    def _start(self) -> None:
        self.framework.start(self.threads, self.backend)
        tconv: Any = import_module("tconv")
        tconv.set_num_threads(self.threads)
        self._started = True

    def _build(self, kind: str, case: Case) -> Message:
        if not self._started:
            self._start()
        self._calls.clear()
        self._once.clear()
        gc.collect()
        sides = self.framework.build(kind, case)
        absent = dict(sides.absent)
        gaps: dict[str, Gap] = {}
        once: dict[str, float] = {}
        for side in sides.calls:
            try:
                gaps[side], once[side] = _checked(sides, side)
            except Exception as error:  # the other sides go on
                absent[side] = reason_of(error)
            else:
                if gaps[side].wrong:
                    absent[side] = _fault(gaps[side])
        packages = {*self.framework.packages, "tconv", *sides.facts.pop("packages", ())}
        facts = {**sides.facts, "versions": versions(sorted(packages)), "absent": absent}
        for side in (self.name, OWN):
            if side in absent:
                fault = f"{side}: {absent.pop(side)}"
                wrong = side in gaps
                return {
                    "state": "wrong" if wrong else "unable",
                    "reason": f"wrong: {fault}" if wrong else fault,
                    "facts": facts,
                }
        facts["difference"] = max(gap.difference for side, gap in gaps.items() if side not in (self.name, *absent))
        sides.begin()
        self._calls = {side: call for side, call in sides.calls.items() if side not in absent}
        for side, call in self._calls.items():
            # the first call also compiles and allocates: a short one is timed again
            self._once[side] = once[side] if once[side] > _LONG else timing.sample(call, 1.0)[0]
        timing.settle()
        return {"state": "built", "sides": dict(self._once), "facts": facts}

    def _sample(self, side: str) -> Message:
        seconds, _ = timing.sample(self._calls[side], self._once[side])
        timing.settle()
        return {"state": "sampled", "ms": seconds * 1e3}


def _checked(sides: Sides, side: str) -> tuple[Gap, float]:
    """Return the gap of a side, and the seconds of its last call."""
    call = sides.calls[side]
    start = time.perf_counter()
    outputs = call()
    seconds = time.perf_counter() - start
    if sides.again and seconds < _LONG:
        start = time.perf_counter()
        outputs = call()
        seconds = time.perf_counter() - start
    return (Gap(0.0, 0.0) if side == ALONE else sides.gap(side, outputs)), seconds


def _fault(gap: Gap) -> str:
    return f"{gap.place} differ by {gap.difference:.2g}; {gap.allowed:.2g} is allowed"


def main(arguments: Sequence[str]) -> None:
    """Serve the cases of a framework: NAME THREADS [BACKEND]."""
    name, threads, *backend = arguments
    answers = private_stdout()
    warnings.simplefilter("ignore")
    serve(CaseWorker(name, int(threads), *backend), sys.stdin, answers.write)


if __name__ == "__main__":
    main(sys.argv[1:])
