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
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from tconv.bench import frameworks, timing
from tconv.bench.frameworks.interface import ALONE, OWN, Case, Gap
from tconv.bench.peers.interface import UnableError
from tconv.bench.worker import versions
from tconv.bench.worker_protocol import Message, private_stdout, serve


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
        gc.collect()
        sides = self.framework.build(kind, case)
        calls, absent = dict(sides.calls), dict(sides.absent)
        gaps = {side: sides.gap(side, call()) for side, call in calls.items() if side != ALONE}
        for side, gap in gaps.items():
            if gap.wrong and side not in (self.name, OWN):
                del calls[side]
                absent[side] = _fault(gap)
        packages = {*self.framework.packages, "tconv", *sides.facts.pop("packages", ())}
        facts = {**sides.facts, "versions": versions(sorted(packages)), "absent": absent}
        own = [gap for side, gap in gaps.items() if side in calls and side != self.name]
        facts["difference"] = max(gap.difference for gap in own)
        for side in (self.name, OWN):
            if gaps[side].wrong:
                return {"state": "wrong", "reason": f"wrong: {side}: {_fault(gaps[side])}", "facts": facts}
        sides.begin()
        self._calls = calls
        self._once = {side: timing.sample(call, 1.0)[0] for side, call in calls.items()}
        timing.settle()
        return {"state": "built", "sides": self._once, "facts": facts}

    def _sample(self, side: str) -> Message:
        seconds, _ = timing.sample(self._calls[side], self._once[side])
        timing.settle()
        return {"state": "sampled", "ms": seconds * 1e3}


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
