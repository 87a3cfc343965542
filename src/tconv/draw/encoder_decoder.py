"""Sizes of an encoder-decoder, level by level, and what makes its skip connections fit.

On the way down a size is divided by the stride and the remainder is lost, so on the way up a transposed convolution
does not meet the size of its skip connection by itself. Each level is solved: by output_padding, by another crop, or,
where no setting reaches the size, by a crop of the skip connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tconv.dialects import dialect as find_dialect
from tconv.draw.array_grid import by
from tconv.draw.layer_list import LayerStep
from tconv.errors import DialectError, ShapeError
from tconv.geometry import Geometry
from tconv.size_solver import solve

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class SkipLevel:
    """One level on the way up: sizes, and the transposed convolution that meets its skip connection.

    `small` is the size that goes in, `plain` what the layer as given makes of it, `skip` the size of the skip
    connection (None: there is none), `output` the size that `geometry`, the corrected layer, makes. `kept` is the size
    that remains of the skip connection: where no setting reaches it, its border is cut off.
    """

    small: Sizes
    plain: Sizes
    skip: Sizes | None
    output: Sizes
    given: Geometry
    geometry: Geometry
    dialect: str
    name: str = "transposed"

    @property
    def fits(self) -> bool:
        """True if the layer as given meets the skip connection."""
        return self.skip in (None, self.plain)

    def meets(self, axis: int) -> bool:
        """Return True if the layer as given meets the skip connection on this axis."""
        return self.skip is None or self.skip[axis] == self.plain[axis]

    def _slice(self) -> str:
        """Return the slice that the layer as given needs after it; "" if its result does not hold the output."""
        axes = find_dialect(self.dialect).data_layout(len(self.small), len(self.small) + 2).axes
        parts = {}
        for axis, ((lo, hi), (before, behind)) in enumerate(zip(self.geometry.crop, self.given.crop, strict=True)):
            if lo < before or hi < behind:
                return ""
            start, whole = lo - before, (lo, hi) == (before, behind)
            parts[axis] = ":" if whole else f"{start or ''}:{start + self.output[axis]}"
        return f"y = y[{', '.join(parts[axis] if isinstance(axis, int) else ':' for axis in axes)}]"

    @property
    def is_solved(self) -> bool:
        """True if a setting of the layer meets the skip connection."""
        return self.skip in (None, self.output)

    @property
    def code(self) -> str:
        """Call of the corrected layer in the dialect; where its arguments cannot say the crop, with a slice."""
        return find_dialect(self.dialect).code(self.geometry, self.small)

    @property
    def remedy(self) -> str:
        """Setting that makes the level fit: "" if it fits, an argument, a slice of y, or a crop of the skip."""
        if self.fits or self.skip is None:
            return ""
        if not self.is_solved:
            return f"crop the skip to {by(self.output)}"
        rules = find_dialect(self.dialect)
        try:
            now = rules.arguments(self.geometry, self.small)
        except DialectError:
            return self._slice() or self.code.replace("\n", "; ")
        try:
            before = rules.arguments(self.given, self.small)
        except DialectError:
            before = {}
        changed = {name: value for name, value in now.items() if before.get(name, ...) != value}
        return ", ".join(f"{name}={value!r}" for name, value in (changed or now).items())


@dataclass(frozen=True)
class Architecture:
    """Sizes of an encoder-decoder. Printing shows a table.

    >>> import tconv
    >>> made = tconv.draw.architecture_sizes(input=45, depth=2)
    >>> made.sizes, made.bottom
    ((((45,), (45,), (45,)), ((22,), (22,), (22,))), ((11,), (11,), (11,)))
    >>> [(level.plain, level.skip, level.remedy) for level in made.levels]
    [((22,), (22,), ''), ((44,), (45,), 'output_padding=1')]

    `sizes` has one entry for each level of the encoder, from the input down: the size after each of its steps, of which
    the last is that of the skip connection. `bottom` are the sizes of the lowest level, `levels` the way up, lowest
    first, and `after` the sizes behind the convolutions of each of them.
    """

    input: Sizes
    sizes: tuple[tuple[Sizes, ...], ...]
    down: tuple[LayerStep, ...]
    bottom: tuple[Sizes, ...]
    levels: tuple[SkipLevel, ...]
    after: tuple[tuple[Sizes, ...], ...]
    better_input: Sizes | None

    @property
    def output(self) -> Sizes:
        """Size of the output."""
        return self.after[-1][-1] if self.after else self.bottom[-1]

    @property
    def fits(self) -> bool:
        """True if every level fits as given."""
        return all(level.fits for level in self.levels)

    @property
    def summary(self) -> str:
        """One or two sentences: how many levels fit, and the input size at which all do."""
        if all(level.skip is None for level in self.levels):
            return f"{by(self.input)} → {by(self.output)}: there is no skip connection."
        wrong = [level for level in self.levels if not level.fits]
        if not wrong:
            return f"{by(self.input)} → {by(self.output)}: every skip connection fits as it is."
        unsolved = sum(not level.is_solved for level in wrong)
        verb, solved = ("does not fit as it is", "it is") if len(wrong) == 1 else ("do not fit as they are", "all are")
        text = f"{by(self.input)} → {by(self.output)}: {len(wrong)} of {len(self.levels)} levels {verb}; "
        if unsolved:
            text += f"for {unsolved} no setting does, and the skip connection is cropped."
        else:
            text += f"{solved} solved."
        if self.better_input is not None:
            text += f" Padded to {by(self.better_input)}, the input needs no correction."
        return text

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("level", "down", "skip", "up", "as given", "what makes it fit")]
        count = max(len(self.sizes), len(self.levels))
        for number in range(count):
            above = count - 1 - number  # the lowest levels of both ways face each other
            down = path(self.sizes[-1 - above]) if above < len(self.sizes) else ""
            rows.append((str(number), down, *(_up_words(self.levels[above]) if above < len(self.levels) else [""] * 4)))
        rows.append((str(count), path(self.bottom), "", "", "", ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([self.summary, "", *lines])


def _up_words(level: SkipLevel) -> list[str]:
    """Return the columns of the table for a level on the way up: skip, sizes, size as given, and what makes it fit."""
    verdict = level.remedy or ("fits" if level.skip is not None else "no skip")
    if not level.is_solved and level.skip is not None:
        verdict += f": no setting reaches {by(level.skip)}"
    skip = "-" if level.skip is None else by(level.skip)
    return [skip, f"{by(level.small)} → {by(level.output)}", by(level.plain), verdict]


def path(sizes: Sequence[Sizes]) -> str:
    """Return sizes in their order, equal neighbours once: "572 × 572 → 568 × 568"."""
    return " → ".join(by(size) for at, size in enumerate(sizes) if not at or sizes[at - 1] != size)


def walk(steps: Sequence[LayerStep], input: Sizes, dialect: str, skips: bool = True) -> Architecture:
    """Return the sizes of these steps: each step down keeps the size before it, each step up meets the last one kept.

    Raises ShapeError where a size on the way down is too small for its layer.
    """
    size = input
    encoder: list[list[Sizes]] = [[input]]
    decoder: list[list[Sizes]] = []
    down: list[LayerStep] = []
    levels: list[SkipLevel] = []
    waiting: list[Sizes | None] = []  # skip connections, the last one first
    for step in steps:
        if step.is_transposed:
            level = _meet(step, size, waiting.pop() if waiting else None, dialect)
            levels.append(level)
            size = level.output
            decoder.append([size])
        elif step.goes_down:
            waiting.append(size if skips else None)
            down.append(step)
            size = _smaller(step, size, input)
            encoder.append([size])
        else:
            size = _smaller(step, size, input)
            (decoder or encoder)[-1].append(size)
    *upper, lowest = map(tuple, encoder)
    return Architecture(input, tuple(upper), tuple(down), lowest, tuple(levels), tuple(map(tuple, decoder)), None)


def solved(steps: Sequence[LayerStep], input: Sizes, dialect: str, skips: bool = True) -> Architecture:
    """Return the sizes of these steps, and a larger input at which every level fits as given, if one is found."""
    made = walk(steps, input, dialect, skips)
    if made.fits:
        return made
    larger = input
    for axis in range(len(input)):
        larger = _fitting(steps, larger, axis, dialect)
    fits = walk(steps, larger, dialect, skips).fits
    return replace(made, better_input=larger if fits else None)


def _fitting(steps: Sequence[LayerStep], input: Sizes, axis: int, dialect: str) -> Sizes:
    """Return the input made larger on one axis until each level fits, from the highest down.

    A level whose size changes by a multiple of its stride fits as before, so each is tried with the step that leaves
    those above it as they are.
    """
    step = 1
    for depth, stride in enumerate(step.geometry.stride[axis] for step in walk(steps, input, dialect).down):
        for extra in range(stride):
            sizes = tuple(n + step * extra * (at == axis) for at, n in enumerate(input))
            levels = walk(steps, sizes, dialect).levels[::-1]
            if depth >= len(levels) or levels[depth].meets(axis):
                input = sizes
                break
        step *= stride
    return input


def _smaller(step: LayerStep, size: Sizes, input: Sizes) -> Sizes:
    try:
        return step.geometry.conv_shape(size)
    except ShapeError:
        raise ShapeError(
            f"{step.name} gets {by(size)} of the input {by(input)}, and its kernel of {by(step.geometry.extent)} does "
            "not fit into it. Use a larger input, or fewer levels"
        ) from None


def _meet(step: LayerStep, small: Sizes, skip: Sizes | None, dialect: str) -> SkipLevel:
    """Return the level with the layer corrected to the size of the skip connection, if a setting does it."""
    given = step.at(small)
    plain = given.output_shape(small)
    level = SkipLevel(small, plain, skip, plain, given, given, dialect, step.name)
    if skip in (None, plain):
        return level
    assert skip is not None
    crop = [
        _crop_for(n, L, k, s, d, pair)
        for n, L, k, s, d, pair in zip(small, skip, given.kernel, given.stride, given.dilation, given.crop, strict=True)
    ]
    reached = [pair if pair is not None else old for pair, old in zip(crop, given.crop, strict=True)]
    geometry = Geometry(given.kernel, given.stride, reached, given.dilation, given.groups)
    return replace(level, geometry=geometry, output=geometry.output_shape(small))


def _crop_for(n: int, L: int, k: int, s: int, d: int, crop: tuple[int, int]) -> tuple[int, int] | None:
    """Return the crop of one axis that makes L of n elements; None if no setting reaches L.

    The first that does: the given crop with another output_padding, a symmetric crop (another padding), the given one
    with more cut off at the end, and any that the size solver finds. The front stays if it can: the way down has lost
    its remainder at the end.
    """
    lo, hi = crop
    behind = s * (n - 1) + d * (k - 1) + 1 - lo - L
    if behind == hi or 0 <= lo - behind < max(s, d):
        return lo, behind
    crops = [solution.geometry.crop[0] for solution in solve(input=n, output=L, kernel=k, stride=s, dilation=d)]
    if even := [pair for pair in crops if pair[0] == pair[1]]:
        return even[0]
    return (lo, behind) if behind > lo else next(iter(crops), None)
