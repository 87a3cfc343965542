"""Search for explanations: causes that are tried, and causes whose numbers are fitted to the output.

A cause is *tried* if it predicts every number of the output: the call is changed and compared, first on a patch and
then on the whole. A cause is *fitted* if its numbers, or its places, are read off the output. The order is that of the
number of causes, and within it tried before filled up before fitted, because what is fitted says less:

1. `one_cause`: one tried cause or another crop; then listed faults; then a crop that has no name.
2. The rows of zeros or of the bias alone around a shorter result of the call (`_filled_up`).
3. One fitted cause, the families in the order of `fitted.FAMILIES`: orders, scales, borders, weights, rounding, biases,
   wrong parts. If it is a wrong part, another stride or dilation together with another crop comes before it.
4. `two_causes`: two tried causes, one of which may be the crop.
5. One or two tried causes of an output that is filled up.
6. One tried cause and a constant per channel: another bias.
7. One tried cause that matches the patch, and a fitted one for the rest.
8. `last_resort`: an output that is mostly wrong, or right only to a low precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.diagnosis.call_model import CallModel, axis_names, whole
from tconv.diagnosis.causes import crop_names
from tconv.diagnosis.causes.cause import Cause, CauseContext
from tconv.diagnosis.causes.crop_rule import Rule
from tconv.diagnosis.explanation import Explanation, has_unnamed_crop, is_wrong_part, rank
from tconv.diagnosis.fitted import FAMILIES, LAST, bias_values, output_scales, rounding
from tconv.diagnosis.fitted.observation import CallObservation, Observation
from tconv.diagnosis.fix_writer import FixWriter
from tconv.diagnosis.float_formats import narrow_format
from tconv.diagnosis.given_outputs import why_too_few_bits
from tconv.diagnosis.hypotheses import Candidate, Hypotheses
from tconv.diagnosis.output_matcher import ObservedOutput, OutputMatcher
from tconv.diagnosis.tolerance import spacing
from tconv.dialects import Dialect

_FITTED = 2**22  # most numbers that a fitted cause is read off
_CONFIRMED = 12  # most hypotheses of one number of causes that are compared on the whole output


class Search:
    """Search for the explanations of one output by one call."""

    def __init__(
        self,
        call: CallModel,
        output: ObservedOutput,
        writer: FixWriter,
        dialect: Dialect,
        native: dict[str, Any],
        variance: Array | None = None,
    ) -> None:
        self.call, self.output, self.writer, self.dialect, self.native = call, output, writer, dialect, native
        self.variance = variance
        self._partial: list[Explanation] = []
        """Explanations by one cause that match a patch, but not the whole output."""
        self.hint = ""
        """Size of a difference that nothing explains, as text."""
        self.matcher = OutputMatcher(call, output)
        narrow = narrow_format(output.y)
        self.hypotheses = Hypotheses(
            CauseContext(call, dialect, native, output.y.shape, writer, bool(output.step), narrow), self.matcher
        )

    @property
    def too_few_bits(self) -> str:
        """Reason why a match may be chance; "" if the output has enough bits to choose between all hypotheses."""
        tried = self.hypotheses.singles + self.hypotheses.pairs
        return why_too_few_bits(self.output.y, self.output.dtype, tried)

    def one_cause(self) -> list[Explanation]:
        """Return the explanations by one cause, or by a crop, the likeliest first; [] if there are none."""
        special = self.output.step or not self.output.finite.all()
        if special and self.matcher.largest_error(self.call) is not None:
            return self.fitted()  # only NaN and inf, or the rounding of y itself, are to be explained
        found = sorted(self._confirmed(self.hypotheses.candidates(1), 1), key=rank)
        faults = [each for cause in self.hypotheses.of_part("fault") if (each := self._confirm(cause)) is not None]
        named = [each for each in found if not has_unnamed_crop(each) and not any(r.rare for r in each.rules[:1])]
        tried = [*named, *faults, *(each for each in found if each not in named)]
        read_off = tried or self._filled_up(0) or self.fitted()
        if tried or not read_off or not is_wrong_part(read_off[0].causes[0]):
            return read_off
        # wrong numbers somewhere are no prediction; another stride or dilation predicts them all
        return sorted(self._confirmed(self.hypotheses.of_steps(), 2), key=rank) or read_off

    def two_causes(self) -> list[Explanation]:
        """Return the explanations by two causes, or more where rows are filled up; [] if there are none."""
        return (
            sorted(self._confirmed(self.hypotheses.candidates(2), 2), key=rank)
            or self._filled_up(1)
            or sorted(self._with_constants(), key=rank)
            or self._fitted_to_partial()
        )

    # -- fitted causes -----------------------------------------------------------------------------------------------

    def fitted(self) -> list[Explanation]:
        """Return the first fitted cause that explains the output, or all borders that do; [] if there is none."""
        spatial = self.call.spatial
        if spatial is None:
            return []
        if spatial != self.output.y.shape[2:]:
            return self._longer(spatial)
        observation = self._observation(spatial)
        for family in FAMILIES:
            found: list[Explanation] = []
            for cause in family(observation):
                self.hypotheses.count(1)
                explanation = self._confirm_fitted(cause, observation)
                if explanation is not None and explanation.names not in [each.names for each in found]:
                    found.append(explanation)
                    if cause.part != "border":
                        break
            if found:
                return found
        unit = max(spacing(self.output.dtype), 2.0**-23)
        size = rounding.size_of_difference(observation.predicted, observation.y, observation.finite, unit)
        if size:
            self.hint = f"{size}, but fits no rounding that was tried"
        return []

    def last_resort(self) -> list[Explanation]:
        """Return an output that is mostly wrong, or has a low precision, as a list; else []."""
        spatial = self.call.spatial
        if spatial is None or spatial != self.output.y.shape[2:]:
            return []
        observation = self._observation(spatial)
        for family in LAST:
            for cause in family(observation):
                if (explanation := self._confirm_fitted(cause, observation)) is not None:
                    return [explanation]
        return []

    def _observation(self, spatial: tuple[int, ...]) -> Observation:
        """Return the output beside the call's, all of it or the last rows in which they differ."""
        for observation in self._observations(spatial):
            distance = np.abs(observation.predicted - observation.y)
            if not ((distance <= observation.limits) & observation.finite).all():
                break
        return observation

    def _observations(self, spatial: tuple[int, ...]) -> Iterator[Observation]:
        """Yield the output beside the call's, in bands of rows from the last to the first if they are large."""
        rows = max(1, _FITTED // max(1, self.output.y.size // spatial[0]))
        self.matcher.partial = self.matcher.partial or rows < spatial[0]
        for stop in range(spatial[0], 0, -rows):
            window = (slice(max(0, stop - rows), stop), *whole(spatial[1:]))
            part: Any = (..., *window)
            yield Observation(
                self.call.window(window),
                self.output.y[part],
                self.output.finite[part],
                self.matcher.tolerance(self.call),
                self.writer,
                CallObservation(self.call, window, self.output.y, self.output.finite),
                self.variance,
                self.output.step,
            )

    def _longer(self, spatial: tuple[int, ...]) -> list[Explanation]:
        """Return the explanation of an output that is the call's with more rows behind it."""
        y, sizes = self.output.y, self.output.y.shape[2:]
        if any(L > M for L, M in zip(spatial, sizes, strict=True)):
            return []
        part: Any = (..., *whole(spatial))
        front = Search(self.call, ObservedOutput.of(y[part], self.output.dtype), self.writer, self.dialect, self.native)
        error = front.matcher.largest_error(self.call)
        if error is None or front.too_few_bits:
            return []
        more = " and ".join(
            f"{M - L} along spatial axis {a}" for a, (L, M) in enumerate(zip(spatial, sizes, strict=True)) if M > L
        )
        slices = ", ".join(f":{L}" for L in spatial)
        cause = Cause(
            "rows appended",
            "result",
            f"rows that are no part of the result follow it: {more}",
            undo=f"y = y[..., {slices}]",
        )
        return [Explanation((cause,), self.call, error)]

    def _confirm_fitted(self, cause: Cause, observation: Observation) -> Explanation | None:
        if cause.change is not None:
            changed = cause.change(self.call)
            error = (
                None
                if changed is None
                else self.matcher.largest_error(changed, factor=1.0 if self.output.step else 4.0)
            )
            return None if changed is None or error is None else Explanation((cause,), changed, error)
        assert cause.transform is not None
        distance = np.abs(cause.transform(observation.predicted) - observation.y)
        if cause.part != "rounding" and not (distance <= observation.limits)[observation.finite].all():
            return None
        return Explanation((cause,), self.call, float(distance[observation.finite].max(initial=0.0)))

    # -- an output that was filled up ------------------------------------------------------------------------------

    def _filled_up(self, causes: int) -> list[Explanation]:
        """Return explanations of an output with zeros or the bias alone around a shorter result of the call.

        The shorter result is that of the call itself, or of the call with one or two causes.
        """
        y, g, bias = self.output.y, self.call.geometry, self.call.bias
        fills = {"zeros": np.zeros(1)}
        if bias is not None and bias.any():
            fills["the bias alone"] = bias
        for content, values in fills.items():
            widths = _filled_widths(y, values, 4 * self.matcher.tolerance(self.call).relative)
            if widths is None:
                continue
            part: Any = (..., *(slice(a, L - b) for (a, b), L in zip(widths, y.shape[2:], strict=True)))
            inner = ObservedOutput.of(y[part], self.output.dtype)
            call = self.call
            if not causes:
                if call.spatial != y.shape[2:]:
                    continue
                crop = tuple((lo + a, hi + b) for (lo, hi), (a, b) in zip(g.crop, widths, strict=True))
                call = self.call.with_geometry(crop=crop)
            search = Search(call, inner, self.writer, self.dialect, self.native)
            extra = crop_names.padding_of(g, self.native)[1]
            due = tuple((0, op) for op in extra) == widths
            text = f"{_ends_text(widths)} contain {content}{', those of output_padding' if due else ''}"
            cause = Cause(f"rows of {content}", "border", text, source="llvm/torch-mlir#2026" if due else "")
            if not causes:
                error = search.matcher.largest_error(call)
                found = [] if error is None or search.too_few_bits else [Explanation((), self.call, error)]
            else:
                found = [] if search.too_few_bits else search.explained_by_few()
            if found:
                return [replace(each, causes=(*each.causes, cause)) for each in found]
        return []

    def explained_by_few(self) -> list[Explanation]:
        """Return the explanations by one cause that is tried, or by one and a crop, the likeliest first."""
        for count in (1, 2):
            if found := sorted(self._confirmed(self.hypotheses.candidates(count), count), key=rank):
                return found
        return []

    # -- hypotheses --------------------------------------------------------------------------------------------------

    def _confirm(self, cause: Cause) -> Explanation | None:
        """Return the explanation by one cause, without a search for its crop; None if it does not match."""
        self.hypotheses.count(1)
        assert cause.change is not None
        changed = cause.change(self.call)
        error = None if changed is None else self.matcher.largest_error(changed)
        return None if changed is None or error is None else Explanation((cause,), changed, error)

    def _confirmed(self, candidates: Iterator[Candidate], count: int) -> Iterator[Explanation]:
        """Yield the candidates, of `count` causes, that match the whole output."""
        left, tested, confirmed = _CONFIRMED, set(), set()
        for causes, call, shift in candidates:
            explanation = self._with_crop(causes, call, shift)
            geometry = explanation.call.geometry
            key, same = (*map(id, causes), geometry), (frozenset(explanation.names), geometry)
            if key in tested or same in confirmed or not explanation.causes:
                continue
            tested.add(key)
            error = self.matcher.largest_error(explanation.call, explanation.causes)
            left -= 1
            if error is not None:
                confirmed.add(same)
                yield replace(explanation, error=error)
            elif count == 1:
                self._partial.append(explanation)
            if left <= 0:
                return

    def _with_constants(self) -> Iterator[Explanation]:
        """Yield explanations by one cause and a constant per channel: another bias, or one that the call lacks."""
        confirmed = set()
        self.hypotheses.count(self.hypotheses.compared_up_to_constants, 2)
        for candidate in self.hypotheses.up_to_constants[:_CONFIRMED]:
            explanation = self._with_crop(*candidate)
            call = explanation.call
            offset = self.matcher.constants(call, explanation.causes)
            if offset is None or not explanation.causes or not np.isfinite(offset).all():
                continue
            tolerance = self.matcher.tolerance(call)
            cause = output_scales.affine(
                "offset per channel", np.ones_like(offset), offset, call.geometry.ndim, self.writer, tolerance.relative
            )
            limit = tolerance.planes.max(0).reshape(-1)
            cause = bias_values.with_reason(
                cause, offset, limit, call if self.call.bias is not None else None, self.writer
            )
            changed = replace(call, bias=offset if call.bias is None else call.bias + offset)
            explanation = replace(explanation, call=changed, causes=(cause, *explanation.causes))
            error = self.matcher.largest_error(
                explanation.call, explanation.causes, factor=1.0 if self.output.step else 2.0
            )
            same = (frozenset(explanation.names), explanation.call.geometry)
            if error is not None and same not in confirmed:
                confirmed.add(same)
                yield replace(explanation, error=error)

    def _fitted_to_partial(self) -> list[Explanation]:
        """Return explanations by one cause that is tried and one that is fitted to what the first leaves."""
        for first in self._partial:
            if any(cause.part == "result" for cause in first.causes):
                continue
            search = Search(first.call, self.output, self.writer, self.dialect, self.native, self.variance)
            found = [each for each in search.fitted() if all(cause.part != "rounding" for cause in each.causes)]
            if found:
                return [
                    replace(first, causes=(*first.causes, *each.causes), call=each.call, error=each.error)
                    for each in found
                ]
        return []

    def _with_crop(self, causes: tuple[Cause, ...], call: CallModel, shift: tuple[int, ...]) -> Explanation:
        """Return an explanation whose call starts `shift` elements later and is as long as the output; error is NaN."""
        g, n = call.geometry, call.x.shape[2:]
        sizes = self._sizes(causes)
        lo = [a + step for (a, _), step in zip(g.crop, shift, strict=True)]
        crop = tuple((a, F - a - L) for a, F, L in zip(lo, g.full_shape(n), sizes, strict=True))
        if crop == g.crop:
            return Explanation(causes, call, math.nan)
        rules = crop_names.named(crop, g, n, sizes, self.native)
        longer = tuple(b - L for b, L in zip(call.spatial or (), sizes, strict=False))
        given = self.call.spatial or sizes
        due = all(size == L or more == 0 for L, size, more in zip(sizes, given, longer, strict=False))
        if rules[0].rare and due and (place := crop_names.cut_to_size(shift, longer)):
            text = f"the output, {call.spatial}, is brought to the size of the call's, {given}, {place}"
            rules = [Rule("cut to size", text, crop), *(each for each in rules if not crop_names.is_unnamed(each))]
        explanation = Explanation(causes, call.with_geometry(crop=crop), math.nan, tuple(rules), g.crop)
        text, source = explanation.crop_text(rules[0]), rules[0].source
        cause = Cause(rules[0].name, "crop", text, lambda c: c.with_geometry(crop=crop), source=source)
        return replace(explanation, causes=(*causes, cause))

    def _sizes(self, causes: Sequence[Cause]) -> tuple[int, ...]:
        """Return the spatial sizes of the output with a cause in the result undone."""
        y = self.output.y
        for cause in causes:
            if cause.part == "result" and cause.inverse is not None:
                y = cause.inverse(y)
        sizes: tuple[int, ...] = y.shape[2:]
        return sizes


def _ends_text(widths: tuple[tuple[int, int], ...]) -> str:
    """Return the rows at the ends of each axis as text: "1 row at the end of h and 2 rows in front of w"."""
    names = axis_names(len(widths))[2:]
    return " and ".join(
        f"{count} row{'s' * (count > 1)} {place} of {name}"
        for name, pair in zip(names, widths, strict=True)
        for count, place in zip(pair, ("in front", "at the end"), strict=True)
        if count
    )


def _filled_widths(y: Array, values: Array, near: float) -> tuple[tuple[int, int], ...] | None:
    """Return the number of rows (front, end) per axis that contain only one value per channel.

    None if there are no such rows, or no others.
    """
    filled = values.reshape(-1, *[1] * (y.ndim - 3))
    widths = []
    for axis in range(2, y.ndim):
        ends: list[int] = []
        for way in (1, -1):
            rows = np.moveaxis(y, axis, 0)[::way]  # [rows, N, C, *others]
            other = (at for at, row in enumerate(rows) if not (np.abs(row - filled) <= near * np.abs(filled)).all())
            ends.append(next(other, len(rows)))
        if sum(ends) >= y.shape[axis]:
            return None
        widths.append((ends[0], ends[1]))
    return tuple(widths) if any(map(any, widths)) else None
