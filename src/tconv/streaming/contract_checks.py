"""Parts of the contract of a stream: each checks one of them, returns its finding, or raises `ContractError`."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import ContractError
from tconv.streaming.contract_subject import Subject

_MOST_ALONE = 200
"""Samples that are pushed one by one, at most."""
_ROUNDS = 4
_LONGEST_PERIOD = 8
"""Samples after which the lengths of outputs grow as before, at most: strides of a chain."""


def _beginning(s: Subject) -> tuple[Array, Array]:
    """Return an input that is short enough for a push per sample, and its result."""
    if s.samples(s.x) <= _MOST_ALONE:
        return s.x, s.expected
    x = s.part(s.x, 0, _MOST_ALONE)
    return x, s.whole(x)


def check_cuts(s: Subject) -> str:
    """Outputs in chunks are those of the whole."""
    total = s.samples(s.x)
    s.equal(s.whole(s.x), s.expected, "the same whole input twice")
    s.equal(s.run(s.x, [0, total]), s.expected, "all samples in one chunk")
    x, expected = _beginning(s)
    s.equal(s.run(x, range(s.samples(x) + 1)), expected, "one sample at a time")
    for _ in range(_ROUNDS):
        x = s.noise()
        cuts = s.cuts(total)
        s.equal(s.run(x, cuts), s.whole(x), f"chunks that end at {cuts[1:]}")
    kind = f"within {s.tolerance:g} of the whole" if s.tolerance else "the bits of the whole"
    return f"{kind}: all at once, one sample at a time, {_ROUNDS} random cuts with empty chunks"


def check_lengths(s: Subject) -> str:
    """Inputs that end earlier have the lengths and the numbers of their own whole."""
    total, tried, short = s.samples(s.x), [], 0
    for end in sorted({1, 2, 3, *(int(n) for n in s.rng.integers(1, total, _ROUNDS))}):
        x = s.part(s.x, 0, end)
        try:
            expected = s.whole(x)
        except Exception:  # too short for this layer, whatever error its library raises
            short += 1
            continue
        s.equal(s.run(x, s.cuts(end)), expected, f"an input of {end} samples")
        tried.append(end)
    refused = f"; {short} shorter ones have no whole" if short else ""
    return f"inputs of {', '.join(map(str, tried)) or 'no other'} samples, too{refused}"


def check_final(s: Subject) -> str:
    """Outputs that are given before the end stay as they are, whatever follows."""
    total = s.samples(s.x)
    for _ in range(_ROUNDS):
        end, x = int(s.rng.integers(1, total)), s.noise()
        s.reset()
        made = s.joined(s.pushed(x, s.cuts(end)))
        s.equal(made, s.whole(x), f"outputs after {end} samples", prefix=True)
        other = np.concatenate([s.part(x, 0, end), s.part(s.noise(), end, total)], s.axis)
        s.equal(made, s.whole(other), f"outputs after {end} samples, with others behind them", prefix=True)
    s.reset()
    if s.count(s.expected) and not s.count(s.joined(s.pushed(s.x, [0, total]))):
        return f"nothing comes before flush, of an input of {total} samples"
    return "outputs that are given do not depend on what follows"


def check_reach(s: Subject) -> str:
    """Outputs that one input changes lie within the context."""
    total, rate = s.samples(s.x), _rate(s)
    left = right = -1
    ahead = rate is not None
    for at in {total // 2, total // 3, *(int(n) for n in s.rng.integers(0, total, 2))}:
        changed = _changed_by(s, at)
        if not len(changed) or rate is None:
            continue
        first, last = int(changed[0]), int(changed[-1])
        ahead = ahead and (at != total // 2 or first > 0)
        # output o belongs to input o // rate: how far behind and ahead of it is `at`
        left, right = max(left, math.floor(last / rate) - at), max(right, at - math.floor(first / rate))
    s.steady = ahead  # half of the example is enough to look ahead
    if left < 0 and right < 0:
        return "not checked: no input changes an output"
    if s.context is not None and (left > s.context[0] or right > s.context[1]):
        raise ContractError(
            f"context is {tuple(s.context)}; an output changes with an input {max(0, left)} samples before its own, "
            f"and with one {max(0, right)} samples after it"
        )
    claimed = "" if s.context is None else f", as the context {tuple(s.context)} says"
    return f"an output reads up to {max(0, left)} inputs before its own, and {max(0, right)} after it{claimed}"


def _changed_by(s: Subject, at: int) -> Array:
    """Return the output samples that differ if one input sample is another."""
    wrong = np.zeros(s.expected.shape, bool)
    for sign in (1, -1):
        x = s.x.copy()
        part = s.part(x, at, at + 1)
        part[...] = part + sign * (1 + 3 * np.abs(s.noise(1))).astype(x.dtype)
        wrong |= s.different(s.whole(x), s.expected)
    return s.along(wrong)


def _rate(s: Subject) -> Fraction | None:
    """Return the outputs per input, by the lengths of shorter inputs; None if they have no result."""
    total = s.samples(s.x)
    lengths = []
    for end in range(max(1, total - 2 * _LONGEST_PERIOD), total):
        try:
            lengths.append(s.count(s.whole(s.part(s.x, 0, end))))
        except Exception:  # too short
            lengths.clear()
    lengths.append(s.count(s.expected))
    for period in range(1, min(_LONGEST_PERIOD, len(lengths) - 2) + 1):
        more = {b - a for a, b in zip(lengths, lengths[period:], strict=False)}
        if len(more) == 1 and min(more) > 0:
            return Fraction(more.pop(), period)
    return None


def check_latency(s: Subject) -> str:
    """Latency is the largest number of outputs that wait for inputs."""
    claimed = getattr(s.stream, "latency", None)
    x, _ = _beginning(s)
    counts, rate = s.counts(x), _rate(s)
    if rate is None or not s.steady:
        return "not checked: the example is shorter than the receptive field"
    late = range(len(counts) // 2, len(counts))
    waiting = {at: math.ceil(rate * (at + 1)) - counts[at] for at in late}
    worst = max(waiting, key=waiting.__getitem__)
    measured = max(0, waiting[worst])
    if claimed is None and not counts[-1]:
        return "nothing comes before flush; the stream states no latency"
    if claimed is None:
        return f"{measured} output samples wait for inputs; the stream states no latency"
    if claimed != measured:
        raise ContractError(
            f"latency is {claimed}; after {worst + 1} inputs {measured} samples wait: {counts[worst]} of "
            f"{float(rate * (worst + 1)):g} were given"
        )
    return f"{measured} output samples wait for inputs, as the stream says"


def check_nan(s: Subject) -> str:
    """NaN in one input sample reaches the outputs that it reaches in the whole, and no others."""
    if s.x.dtype.kind not in "fcV":
        return "not checked: integers have no NaN"
    total, x = s.samples(s.x), s.x.copy()
    at = total // 3
    s.part(x, at, at + 1)[...] = np.nan
    expected = s.whole(x)
    s.equal(s.run(x, _around(s, at)), expected, "NaN in an input")
    s.equal(s.run(s.x, s.cuts(total)), s.expected, "an input after one with NaN, and a reset")
    return "NaN stays where the whole has it"


def _around(s: Subject, at: int) -> list[int]:
    """Return cuts in front of and behind a sample, and random ones after it."""
    total = s.samples(s.x)
    return [0, at, at + 1, *(at + 1 + cut for cut in s.cuts(total - at - 1))]


def check_reset(s: Subject) -> str:
    """A reset forgets everything, at any time; after a flush only a reset begins anew."""
    total = s.samples(s.x)
    for _ in range(2):
        s.reset()
        s.pushed(s.noise(), s.cuts(int(s.rng.integers(1, total))))
        s.equal(s.run(s.x, s.cuts(total)), s.expected, "an input after a reset in the middle of another")
    try:
        made = s.push(s.x)
    except Exception:  # the refusal is the stream's own
        return "a reset forgets everything; after flush a chunk is refused"
    finished = s.joined([made, s.flushed()])
    s.equal(finished, s.expected, "a chunk after flush, which was not refused, is a new input")
    return "a reset forgets everything; after flush a new input begins"


def check_refusals(s: Subject) -> str:
    """Chunks of wrong shapes are refused, and change nothing."""
    total, half = s.samples(s.x), s.samples(s.x) // 2
    chunk = s.part(s.x, half, half + 2)
    wrong = [np.concatenate([chunk, chunk], axis) for axis in range(chunk.ndim) if axis != s.axis] + [chunk[None, None]]
    s.reset()
    parts = s.pushed(s.x, [0, half])
    for each in wrong:
        try:
            s.push(each)
        except Exception:  # the refusal is the stream's own
            continue
        raise ContractError(f"a chunk of shape {each.shape} was not refused; the example has {s.x.shape}")
    parts += [s.push(s.part(s.x, half, total)), s.flushed()]
    s.equal(s.joined(parts), s.expected, "an input with refused chunks in the middle")
    return f"{len(wrong)} chunks of wrong shapes are refused, and change nothing"


def check_state(s: Subject) -> str:
    """A saved state goes on where it was saved, and does not change with the stream."""
    if not (hasattr(s.stream, "state") and hasattr(s.stream, "restore")):
        return "not checked: the stream has no state() and restore(state)"
    total = s.samples(s.x)
    for _ in range(_ROUNDS):
        at = int(s.rng.integers(1, total))
        s.reset()
        before = s.pushed(s.x, s.cuts(at))
        state = s.called("state()", s.stream.state)
        s.pushed(s.noise(), s.cuts(total // 2))
        if s.rng.random() < 0.5:
            s.flushed()
        s.called("restore(state)", s.stream.restore, state)
        rest = s.pushed(s.part(s.x, at, total), s.cuts(total - at))
        made = s.joined([*before, *rest, s.flushed()])
        s.equal(made, s.expected, f"an input whose state was saved after {at} samples and restored")
    return f"saved and restored in {_ROUNDS} places"


def check_sessions(s: Subject) -> str:
    """Sessions of one stream go on independently."""
    if not (hasattr(s.stream, "open") and hasattr(s.stream, "close")):
        return "not checked: the stream has no open() and close(session)"
    total, inputs = s.samples(s.x), [s.noise() for _ in range(3)]
    s.reset()
    numbers = [s.called("open()", s.stream.open) for _ in inputs]
    made: list[list[Any]] = [[] for _ in inputs]
    places = [0] * len(inputs)
    try:
        while min(places) < total:
            some = [turn for turn in range(len(inputs)) if s.rng.random() < 0.7]
            given = {}
            for turn in some:
                end = min(total, places[turn] + int(s.rng.integers(0, 6)))
                given[numbers[turn]] = s.given_alone(s.part(inputs[turn], places[turn], end))
                places[turn] = end
            what = f"push of chunks of the sessions {', '.join(map(str, given)) or 'none'}"
            for number, part in s.called(what, s.stream.push, given).items():
                made[numbers.index(number)].append(part)
        for turn, number in enumerate(numbers):
            made[turn].append(s.called(f"flush({number})", s.stream.flush, number))
    finally:
        for number in numbers:
            s.stream.close(number)
    for turn, parts in enumerate(made):
        expected = s.alone(s.whole(inputs[turn]))
        joined = s.joined([s.taken_alone(part) for part in parts], expected)
        s.equal(joined, expected, f"session {numbers[turn]} among {len(numbers)}")
    return f"{len(numbers)} that pause and go on by turns"


CHECKS: dict[str, Callable[[Subject], str]] = {
    "cuts": check_cuts,
    "lengths": check_lengths,
    "final": check_final,
    "reach": check_reach,
    "latency": check_latency,
    "NaN": check_nan,
    "reset": check_reset,
    "refusals": check_refusals,
    "state": check_state,
    "sessions": check_sessions,
}
"""Parts of the contract by name, in the order in which they are checked."""
