"""Writer of animated SVG: one file without scripts, whose cells are drawn once and whose changes are CSS animations.

A reader who asks for reduced motion, and a program without CSS animations, sees the last frame.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from html import escape

import numpy as np

from tconv.draw.animation.appearance import caption_colour, colours_of, font_of, hex_of, texts_of
from tconv.draw.animation.film import BEYOND, CUT, HOLE, PLAIN, TEXT, Box, Film, Grid
from tconv.draw.array_grid import ArrayGrid, brackets
from tconv.draw.palette import Theme

_CELL = 40  # units of the picture on a side of a cell
_LARGEST = 1200  # pixels across at which it is shown unasked


def svg_text(film: Film, theme: Theme, seconds: float) -> str:
    """Return the film as SVG, each frame `seconds` long and the last one longer, repeated without end."""
    clock = _Clock(film, seconds)
    body = [_rect(0, 0, film.width, film.height, f'fill="{theme.page}"')]
    for name, grid in film.grids.items():
        body += _grid(film, name, grid, theme, clock)
    for place, sign in zip(film.sign_places, film.signs, strict=True):
        body.append(_text(*place, sign, 0.7, f'class="s" fill="{theme.muted}"'))
    body += _boxes(film, theme, clock)
    body += _lines(film, theme, clock)
    width, height = film.width * _CELL, film.height * _CELL
    shown = min(1.0, _LARGEST / width)
    last = film.frames[-1].sentence
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="film" viewBox="0 0 {width:.5g} {height:.5g}" '
            f'width="{width * shown:.0f}" height="{height * shown:.0f}" role="img" aria-labelledby="t d">',
            f'<title id="t">{escape(film.title)}</title>',
            f'<desc id="d">{escape(" ".join((*film.notes, *last)))}</desc>',
            f"<style>{_STYLE.format(font=_units(font_of(film)), ink=theme.ink)}{clock.css()}</style>",
            f'<defs><pattern id="cut" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            f'<path d="M0 0V8" stroke="{theme.faint}" stroke-width="2.4"/></pattern></defs>',
            *body,
            "</svg>",
            "",
        ]
    )


_STYLE = (
    "text{{font-family:DejaVu Sans,Verdana,Arial,sans-serif;dominant-baseline:central}}"
    ".n,.s{{text-anchor:middle}}.n{{font-size:{font}px;fill:{ink}}}"
    ".film:hover *{{animation-play-state:paused!important}}"
    "@media(prefers-reduced-motion:reduce){{.film *{{animation:none!important}}}}"
)


class _Clock:
    """Times of the frames, and the rules of the elements that change: elements that change alike share one."""

    def __init__(self, film: Film, seconds: float) -> None:
        beats = np.cumsum([0, *(frame.beats for frame in film.frames)])
        self._starts = [f"{100 * beat / beats[-1]:.5g}%" for beat in beats[:-1]]
        self._seconds = float(beats[-1]) * seconds
        self._rules: dict[tuple[Hashable, ...], str] = {}

    def changing(self, declaration: str, values: Sequence[str]) -> str:
        """Return the attributes of an element whose property has these values, one a frame; the last one at rest.

        `declaration` is the name of a property which SVG has as an attribute, too.
        """
        rest = f'{declaration}="{values[-1]}"'
        if len(set(values)) == 1:
            return rest
        name = self._rules.setdefault((declaration, *values), f"a{len(self._rules)}")
        return f'class="{name}" {rest}'

    def css(self) -> str:
        """Return the style rules of all elements that change."""
        rules = []
        for (declaration, *values), name in self._rules.items():
            steps = "".join(
                f"{start}{{{declaration}:{value}}}"
                for at, (start, value) in enumerate(zip(self._starts, values, strict=True))
                if at == 0 or values[at - 1] != value
            )
            rules.append(
                f".{name}{{animation:{name} {self._seconds:g}s step-end infinite}}@keyframes {name}{{{steps}}}"
            )
        return "".join(rules)

    def visible(self, frames: set[int]) -> str:
        """Return the attributes of an element that is there in these frames only."""
        return self.changing("visibility", ["visible" if at in frames else "hidden" for at in range(len(self._starts))])


def _grid(film: Film, name: str, grid: Grid, theme: Theme, clock: _Clock) -> list[str]:
    place = ArrayGrid(*film.places[name], grid.shape)
    colours = [colours_of(film, frame, name, theme) for frame in film.frames]
    texts = [texts_of(frame, name) for frame in film.frames]
    cells, numbers = [], []
    for index in np.ndindex(*grid.shape):
        kind = int(grid.kinds[index])
        if kind == HOLE:
            continue
        left, top = place.cell(index)
        fill = clock.changing("fill", [hex_of(colour[index]) for colour in colours])
        dashes = ' stroke-dasharray="5 4"' if kind == BEYOND else ""
        cells.append(_rect(left, top, 1, 1, fill + dashes))
        if kind == CUT:
            cells.append(_rect(left, top, 1, 1, 'fill="url(#cut)"'))
        runs: dict[str, set[int]] = {}
        for at, text in enumerate(texts):
            if text[index] is not None:
                runs.setdefault(text[index], set()).add(at)
        colour = "" if kind == PLAIN else f' fill="{theme.muted}"'
        for text, frames in runs.items():
            gid = f'data-cell="{name}{brackets(index)}" '
            numbers.append(_text(left + 0.5, top + 0.5, text, None, gid + clock.visible(frames) + colour))
    part = next(place.part(grid.part))
    rows, columns = part.size
    bold = grid.role in ("input", "output")
    frame = f'fill="none" stroke="{caption_colour(grid.role, theme)}" stroke-width="{3 if bold else 1.5}"'
    return [
        f'<g stroke="{theme.line}">',
        *cells,
        "</g>",
        '<g class="n">',
        *numbers,
        "</g>",
        _rect(part.left, part.top, columns, rows, frame),
        _text(
            place.middle,
            place.top - 0.42,
            grid.caption,
            0.4,
            f'class="s" font-weight="bold" fill="{caption_colour(grid.role, theme)}"',
        ),
    ]


def _boxes(film: Film, theme: Theme, clock: _Clock) -> list[str]:
    shown: dict[Box, set[int]] = {}
    for at, frame in enumerate(film.frames):
        for box in frame.boxes:
            shown.setdefault(box, set()).add(at)
    outlines = []
    for box, frames in shown.items():
        grid = ArrayGrid(*film.places[box.grid], film.grids[box.grid].shape)
        part = next(grid.part(tuple(slice(a, a + n) for a, n in zip(box.start, box.shape, strict=True))))
        rows, columns = part.size
        outlines.append(_rect(part.left, part.top, columns, rows, clock.visible(frames)))
    return [f'<g fill="none" stroke="{theme.chosen}" stroke-width="4">', *outlines, "</g>"]


def _lines(film: Film, theme: Theme, clock: _Clock) -> list[str]:
    lines = [_text(*film.title_place, film.title, TEXT, f'font-weight="bold" fill="{theme.ink}"')]
    for at, frame in enumerate(film.frames):
        for number, text in enumerate(frame.sentence):
            fill = theme.ink if number == 0 else theme.muted
            style = f'data-line="{number}" fill="{fill}" {clock.visible({at})}'
            lines.append(_text(*film.line(number), text, TEXT, style))
    lines += [
        _text(*film.line(film.sentence_lines + number), note, TEXT, f'fill="{theme.muted}"')
        for number, note in enumerate(film.notes)
    ]
    return lines


def _units(cells: float) -> str:
    return f"{cells * _CELL:.4g}"


def _rect(left: float, top: float, width: float, height: float, style: str) -> str:
    x, y, w, h = map(_units, (left, top, width, height))
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" {style}/>'


def _text(x: float, y: float, text: str, size: float | None, style: str) -> str:
    font = "" if size is None else f'font-size="{_units(size)}" '
    return f'<text x="{_units(x)}" y="{_units(y)}" {font}{style}>{escape(text)}</text>'
