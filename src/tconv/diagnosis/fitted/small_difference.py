"""A small difference: the result rounded, sums in a format of few bits, products of rounded numbers; or none of them.

Only the first predicts every number. Sums in few bits depend on their order, so that a model of their error is compared
with what else leaves errors of that size; products of rounded numbers have to explain a part of the difference itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tconv.diagnosis.canonical_call import Array, Setting, Window
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.causes.precision import causes, one_of_them
from tconv.diagnosis.fix_writer import Hand
from tconv.diagnosis.tolerance import FORMATS, Format, Tolerance

SMALL = 0.1  # root mean square of a difference, in units of the output's, above which it is no rounding
_SUMMED = ((FORMATS[0], "float16"), (FORMATS[1], "bfloat16"))
_SIZES = (("float32", 2.0**-20), ("TF32 or float16", 2.0**-10), ("bfloat16", 2.0**-7))
_ROUNDED = 0.19  # of (y * u)**2: the mean square of what rounding takes from numbers anywhere between powers of 2
_SURE = 4.0  # of a logarithm of likelihoods
_PLACES = 65536  # that errors are looked at in
_EXPLAINED = 0.5  # of the difference's power, by products of rounded numbers
_NUMBERS = 48  # that were rounded, at least: what fewer of them make of y may look alike by chance


def is_small(expected: Array, y: Array, finite: Array) -> bool:
    """Whether the difference may be rounding at all."""
    power, rest = ((np.abs(array[finite]) ** 2).sum() for array in (y, expected - y))
    return bool(0 < rest <= SMALL**2 * power)


def rounded(expected: Array, y: Array, finite: Array, tolerance: Tolerance) -> Iterator[Cause]:
    """All is right but NaN or inf, or the result was rounded itself."""
    known = np.where(finite, y, 0)
    distance = np.where(finite, np.abs(expected - y), 0)
    if (distance <= tolerance.at(known)).all():
        if not finite.all():
            words = f"NaN or inf stand in {int((~finite).sum())} of {finite.size} places; all else is right"
            yield Cause("NaN or inf", "result", words, turn=lambda p: p)
        return
    for form in FORMATS:
        if not _holds(form, known):
            continue
        steps = 1.0 if form.rule == "zero" else 0.51
        if (distance <= steps * form.spacing * np.abs(known) + tolerance.at(known)).all():
            cut = ", towards zero" if form.rule == "zero" else ""
            words = f"y is rounded to {form.bits} fraction bits ({form.name}){cut}"
            yield Cause(f"result rounded to {form.name}", "rounding", words, turn=form.round)
            return


def _holds(form: Format, y: Array) -> bool:
    """Whether all of these are numbers of the format."""
    few = y.ravel()[:4096]
    return bool((form.round(few) == few).all() and (form.round(y) == y).all())


def summed(setting: Setting, window: Window, y: Array, finite: Array, hand: Hand) -> Iterator[Cause]:
    """The sums themselves are in float16 or bfloat16: each addition rounds what has been summed so far.

    Of n products p in any order the sum after j of them has the mean square (j/n)**2 y**2 + j/n (1 - j/n) Q, where
    Q is the sum of p**2; n roundings of them leave n (y**2 / 3 + Q / 6) times that of one. Fewer roundings than n are
    those of sums in blocks. What else may leave errors of that size is one error everywhere, one in proportion to y,
    or one of every product.
    """
    if np.iscomplexobj(y):
        return
    for form, name in _SUMMED:
        if not _holds(form, np.where(finite, y, 0)):
            continue
        bias = None if setting.bias is None else form.round(setting.bias)
        held = replace(setting, x=form.round(setting.x), weight=form.round(setting.weight), bias=bias)
        squares = replace(held, x=held.x**2, weight=held.weight**2, bias=None if bias is None else bias**2)
        counts = replace(held, x=np.ones_like(held.x), weight=np.ones_like(held.weight), bias=None)
        at = np.flatnonzero(finite.ravel())
        at = at[np.linspace(0, len(at) - 1, min(len(at), _PLACES)).astype(int)]
        right, products, terms = (s.window(window).ravel()[at] for s in (held, squares, counts))
        added = np.zeros(y.shape) if bias is None else np.broadcast_to(bias.reshape(-1, *[1] * (y.ndim - 2)), y.shape)
        error = (y.ravel()[at] - right) ** 2
        one = _ROUNDED * form.spacing**2 / 4
        once, most = one * right**2, terms.max(initial=1.0)
        if not (error > once).any():
            continue
        shares = np.geomspace(0.25 / most, 2, 40)
        models = [once + one * share * terms * (right**2 / 3 + products / 6) for share in shares]
        models.append(once + one * (right - added.ravel()[at]) ** 2)  # the bias alone is added in few bits
        fits = [_likelihood(error, model) for model in models]
        best = int(np.argmax(fits))
        levels = np.geomspace(1e-6, 1.0, 121) ** 2
        others = [
            _likelihood(error, once + level * shape) for level in levels for shape in ((right**2).mean(), right**2)
        ]
        # a product that is off by no more than a few roundings was rounded itself, or its sums in this format were
        others += [_likelihood(error, once + level * products) for level in levels if level > 4 * one]
        if fits[best] < max(others) + _SURE or error.mean() > 2 * models[best].mean():
            continue
        count = f"about {max(1, round(shares[best] * most))} roundings" if best < len(shares) else "one more rounding"
        words = (
            f"the sums are made in {name}: the error grows with the number and size of its products as {count} of "
            "what is summed so far would have it"
        )
        yield Cause(
            f"summed in {name}", "rounding", words, turn=_always(y), certain=False, undo=hand.widened(bias is not None)
        )
        return


def _likelihood(squares: Array, model: Array) -> float:
    """The logarithm of how likely these squares of errors are, where they have this mean square."""
    model = model + 1e-40 + 1e-12 * model.mean()  # where there is no product there is no error
    return float(-0.5 * (np.log(model) + squares / model).sum())


def correlated(
    setting: Setting, window: Window, expected: Array, y: Array, finite: Array, hand: Hand
) -> Iterator[Cause]:
    """Products of rounded numbers explain most of the difference, though not every number of it."""
    if min(setting.x.size, setting.weight.size) < _NUMBERS:
        return
    error = np.where(finite, y - expected, 0)
    power = (np.abs(error) ** 2).sum()
    best: tuple[float, Cause | None] = (_EXPLAINED, None)
    for cause in (*causes(setting, hand), *one_of_them(setting)):
        assert cause.change is not None
        changed = cause.change(setting)
        assert changed is not None
        rest = np.where(finite, changed.window(window) - expected, 0) - error
        explained = 1 - float((np.abs(rest) ** 2).sum() / power)
        if explained > best[0]:
            best = explained, cause
    explained, found = best
    if found is not None:
        words = f"{found.words}, which explains {100 * explained:.0f} % of the difference"
        yield replace(found, words=words, change=None, turn=_always(y), certain=False)


def _always(y: Array) -> Callable[[Array], Array]:
    return lambda _: y


def size(expected: Array, y: Array, finite: Array, unit: float) -> str:
    """Whose rounding a difference has the size of; "" if it is larger."""
    distance = np.abs(expected - y)[finite].max(initial=0.0)
    power = math.sqrt((np.abs(y[finite]) ** 2).mean()) if finite.any() else 0.0
    for name, step in _SIZES:
        if step >= unit and 0 < distance <= 8 * step * power:
            most = f"{distance / power:.1e} of y's root mean square at most"
            return f"the difference is of the size that {name} products leave ({most})"
    return ""
