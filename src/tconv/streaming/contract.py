"""`verify_stream`: the contract of a stream, as a test that users run on their own.

It takes any object with `push(chunk)`, `flush()` and `reset()`, whose outputs together are those of a whole input.
`contract_checks` has the parts of the contract, one function each.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tconv.errors import ArgumentError
from tconv.streaming.contract_checks import CHECKS
from tconv.streaming.contract_subject import Subject


@dataclass(frozen=True)
class ContractReport:
    """Result of `verify_stream`: what was checked, and with which numbers; `print` shows it."""

    subject: str
    checks: dict[str, str]
    """findings by the name of the check; "not checked: ..." for one that the stream or the example does not allow"""

    def __str__(self) -> str:
        width = max(map(len, self.checks))
        return "\n".join([self.subject, *(f"  {name:{width}}  {text}" for name, text in self.checks.items())])


def verify_stream(
    stream: Any,
    example: Any,
    *,
    reference: Callable[[Any], Any] | None = None,
    time_axis: int | None = None,
    tolerance: float = 0.0,
    context: tuple[int, int] | None = None,
    seed: int = 0,
) -> ContractReport:
    """Test that a stream keeps its contract on an example, and return what was tested. It ends reset.

    >>> import numpy as np, tconv
    >>> w = np.random.default_rng(0).standard_normal((4, 3, 8), np.float32)
    >>> x = np.random.default_rng(1).standard_normal((1, 4, 40), np.float32)
    >>> print(tconv.verify_stream(tconv.stream(w, np.ones(3, np.float32), stride=4, padding=2), x))
    [1, 4, 40] -> [1, 3, 160], time on axis 2
      cuts      the bits of the whole: all at once, one sample at a time, 4 random cuts with empty chunks
      ...
      sessions  3 that pause and go on by turns

    `stream` is any object with `push(chunk)`, `flush()` and `reset()`, or a function that returns a new one; `example`
    is a whole input with some tens of samples on `time_axis` (that of the stream if it has one, else 2): more than the
    receptive field, or latency and context are not checked. `reference(x)` is the result of a whole input; without it,
    `stream(x)`. Equal means the same bits, NaN included, or with a `tolerance` that no difference exceeds it times the
    largest number of the reference.

    Checked are: outputs for all kinds of cuts; lengths, for shorter inputs too; outputs that are given before the
    end; `latency`, if the stream has it; `context`, the inputs (left, right) beyond its own that an output may read;
    inputs with NaN; `reset`; chunks that must be refused, which must change nothing; `state` and `restore`, and
    sessions, if the stream has them. Inputs are the example, and random numbers of its size made from `seed`.

    Raises ContractError at the first breach, with the cuts, the place and the numbers, for an error of the stream too;
    ArgumentError for an object that is no stream, or an example that it does not take.
    """
    is_maker = isinstance(stream, type) or (callable(stream) and not hasattr(stream, "push"))
    made = stream() if is_maker else stream
    missing = [name for name in ("push", "flush", "reset") if not callable(getattr(made, name, None))]
    if missing:
        raise ArgumentError(
            f"the stream is a {type(made).__name__} without {', '.join(missing)}; push(chunk), flush() and reset() are "
            "needed. Write tconv.stream(layer), for example"
        )
    whole = made if reference is None else reference
    if not callable(whole):
        raise ArgumentError(
            f"the stream, a {type(made).__name__}, is no function of a whole input. Write reference=, a function that "
            "returns the result of a whole input"
        )
    subject = Subject(made, example, whole, time_axis, tolerance, context, seed)
    checks = {}
    try:
        for name, check in CHECKS.items():
            checks[name] = check(subject)
    except BaseException:
        with suppress(Exception):  # the breach is what counts
            made.reset()
        raise
    subject.reset()
    return ContractReport(subject.describe(), checks)
