"""Small differences that rounding explains: of the result, of the sums, or of the numbers that are multiplied.

Only a rounded result predicts every number. The error of sums in few bits depends on their order, so a model of its
size is compared with other models; products of rounded numbers have to explain a share of the difference itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.causes import precision
from tconv.diagnosis.causes.cause import Cause
from tconv.diagnosis.fitted.observation import Observation
from tconv.diagnosis.float_formats import FORMATS, NARROW, narrow_format

_SIZES = (("float32", 2.0**-20), ("TF32 or float16", 2.0**-10), ("bfloat16", 2.0**-7))
_ROUNDED = 0.19  # of (y * spacing / 2)**2: mean square error of rounding numbers anywhere between powers of 2
_HALF = 0.51  # of the spacing: what rounding to the nearest number leaves
_SURE = 4.0  # least difference of two log-likelihoods
_PLACES = 65536  # places whose errors are looked at
_EXPLAINED = 0.5  # least share of the difference's power that products of rounded numbers explain
_NUMBERS = 48  # least number of rounded numbers: the effects of fewer may look alike by chance


def one_operand(observation: Observation) -> Iterator[Cause]:
    """Yield x or the weight rounded alone, if the difference is small."""
    if observation.whole is not None and observation.is_small and not observation.step:
        yield from precision.one_operand_rounded(observation.whole.call)


def rounded_result(observation: Observation) -> Iterator[Cause]:
    """Yield NaN or inf in an output that is right elsewhere, or a result that was rounded itself."""
    y, finite, known, limits = observation.y, observation.finite, observation.known, observation.limits
    distance = np.where(finite, np.abs(observation.predicted - y), 0)
    if (distance <= limits).all():
        if not finite.all():
            text = f"NaN or inf are in {int((~finite).sum())} of {finite.size} places; all else is right"
            yield Cause("NaN or inf", "result", text, transform=lambda p: p)
        return
    for form in FORMATS:
        if not form.holds(known):
            continue
        steps = 1.0 if form.rule == "zero" else _HALF
        if (distance <= steps * form.spacing * np.abs(known) + limits).all():
            cut = ", towards zero" if form.rule == "zero" else ""
            text = f"y is rounded to {form.bits} fraction bits ({form.name}){cut}"
            yield Cause(f"result rounded to {form.name}", "rounding", text, transform=form.round)
            return


def low_precision_layer(observation: Observation) -> Iterator[Cause]:
    """Yield a layer in float16 or bfloat16 with sums of more bits: all its numbers are rounded, each of them once."""
    whole, y, finite = observation.whole, observation.known, observation.finite
    if whole is None or not observation.is_small or observation.step:
        return
    narrow = narrow_format(y)
    if not narrow:
        return
    form, call = NARROW[narrow], whole.call
    rounded = precision.in_format(form, call)
    if np.array_equal(rounded.x, call.x) and np.array_equal(rounded.weight, call.weight):
        return  # then the result alone is rounded
    distance = np.abs(rounded.window(whole.window) - y)
    if (distance <= _HALF * form.spacing * np.abs(y) + observation.limits)[finite].all():
        cause = precision.layer_in(narrow, call, observation.writer)
        yield replace(cause, change=None, transform=_constant(observation.y))


def low_precision_sums(observation: Observation) -> Iterator[Cause]:
    """Yield sums in float16 or bfloat16: each addition rounds the partial sum.

    Of n products p in any order, the sum of the first j has the mean square (j/n)**2 y**2 + j/n (1 - j/n) Q, where Q is
    the sum of p**2. So n roundings leave n (y**2 / 3 + Q / 6) times the error of one. Sums in blocks have fewer than n
    roundings. The other models are one error everywhere, one in proportion to y, and one of every product.
    """
    whole, y, finite = observation.whole, observation.y, observation.finite
    if whole is None or not observation.is_small or np.iscomplexobj(y) or observation.step:
        return
    call = whole.call
    if call.activation is not None:
        return  # the model is that of sums, not of what is cut off
    for name, form in NARROW.items():
        if not form.holds(observation.known):
            continue
        distance = np.abs(observation.predicted - observation.known)
        if (distance <= _HALF * form.spacing * np.abs(observation.known) + observation.limits)[finite].all():
            continue  # the result alone is rounded
        narrow = precision.in_format(form, call)
        bias = narrow.bias
        squares = replace(narrow, x=narrow.x**2, weight=narrow.weight**2, bias=None if bias is None else bias**2)
        counts = replace(narrow, x=np.ones_like(narrow.x), weight=np.ones_like(narrow.weight), bias=None)
        at = np.flatnonzero(finite.ravel())
        at = at[np.linspace(0, len(at) - 1, min(len(at), _PLACES)).astype(int)]
        right, products, terms = (c.window(whole.window).ravel()[at] for c in (narrow, squares, counts))
        added = np.zeros(y.shape) if bias is None else np.broadcast_to(bias.reshape(-1, *[1] * (y.ndim - 2)), y.shape)
        error = (y.ravel()[at] - right) ** 2
        one = _ROUNDED * form.spacing**2 / 4
        once, most = one * right**2, terms.max(initial=1.0)
        if not (error > once).any():
            continue
        shares = np.geomspace(0.25 / most, 2, 40)
        models = [once + one * share * terms * (right**2 / 3 + products / 6) for share in shares]
        models.append(once + one * (right - added.ravel()[at]) ** 2)  # the bias alone is added in few bits
        likelihoods = [_likelihood(error, model) for model in models]
        best = int(np.argmax(likelihoods))
        levels = np.geomspace(1e-6, 1.0, 121) ** 2
        others = [
            _likelihood(error, once + level * shape) for level in levels for shape in ((right**2).mean(), right**2)
        ]
        # smaller errors of products are left out: a few roundings of this format would explain them, too
        others += [_likelihood(error, once + level * products) for level in levels if level > 4 * one]
        if likelihoods[best] < max(others) + _SURE or error.mean() > 2 * models[best].mean():
            continue
        count = f"about {max(1, round(shares[best] * most))} roundings" if best < len(shares) else "one more rounding"
        text = (
            f"the sums are computed in {name}: the error grows with the number and size of the products as with "
            f"{count} of the partial sums"
        )
        yield Cause(
            f"summed in {name}",
            "rounding",
            text,
            transform=_constant(y),
            certain=False,
            undo=observation.writer.as_float32(bias is not None),
        )
        return


def _likelihood(squares: Array, model: Array) -> float:
    """Return the log-likelihood of these squares of errors under a model of their mean squares."""
    model = model + 1e-40 + 1e-12 * model.mean()  # where there is no product there is no error
    return float(-0.5 * (np.log(model) + squares / model).sum())


def rounded_products(observation: Observation) -> Iterator[Cause]:
    """Yield products of rounded numbers that explain most of the difference, though not every number of it."""
    if observation.whole is None or not observation.is_small or observation.step:
        return  # a quantized y has operands in int8, too
    call, window = observation.whole.call, observation.whole.window
    expected, y, finite = observation.predicted, observation.y, observation.finite
    if min(call.x.size, call.weight.size) < _NUMBERS:
        return
    error = np.where(finite, y - expected, 0)
    power = (np.abs(error) ** 2).sum()
    best: tuple[float, Cause | None] = (_EXPLAINED, None)
    both = precision.both_operands_rounded(call, observation.writer, narrow_format(observation.known))
    for cause in (*both, *precision.one_operand_rounded(call)):
        assert cause.change is not None
        changed = cause.change(call)
        assert changed is not None
        rest = np.where(finite, changed.window(window) - expected, 0) - error
        explained = 1 - float((np.abs(rest) ** 2).sum() / power)
        if explained > best[0]:
            best = explained, cause
    explained, likeliest = best
    if likeliest is not None:
        text = f"{likeliest.text}, which explains {100 * explained:.0f} % of the difference"
        yield replace(likeliest, text=text, change=None, transform=_constant(y), certain=False)


def _constant(y: Array) -> Callable[[Array], Array]:
    return lambda _: y


def size_of_difference(expected: Array, y: Array, finite: Array, unit: float) -> str:
    """Return a text with the rounding that leaves differences of this size; "" if the difference is larger.

    `unit` is the spacing around 1 of the dtype that the outputs were computed in.
    """
    distance = np.abs(expected - y)[finite].max(initial=0.0)
    power = math.sqrt((np.abs(y[finite]) ** 2).mean()) if finite.any() else 0.0
    for name, step in _SIZES:
        if step >= unit and 0 < distance <= 8 * step * power:
            most = f"{distance / power:.1e} of y's root mean square at most"
            return f"the difference is of the size that {name} products leave ({most})"
    return ""
