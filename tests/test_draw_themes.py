"""Light and dark: numbers can be read, cells can be told apart, nothing overlaps, and INPUT and OUTPUT are written."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

import tconv
from drawn_numbers import assert_nothing_overlaps, meshes
from tconv import draw
from tconv.draw import palette
from tconv.errors import ArgumentError

K3 = np.arange(1, 10).reshape(3, 3)
CUBE = np.arange(1, 9).reshape(2, 2, 2)
THEMES = ("light", "dark")

PICTURES = {
    "scatter": lambda **words: draw.scatter([[1, 2], [3, 4]], K3, stride=2, padding=1, **words),
    "scatter of 16": lambda **words: draw.scatter(np.arange(16).reshape(4, 4), [[1]], **words),
    "matrix": lambda **words: draw.matrix(K3, 2, stride=2, padding=1, **words),
    "matrix of 24 taps": lambda **words: draw.matrix(np.arange(24).reshape(8, 3), (1, 1), **words),
    "gather": lambda **words: draw.gather([[1, 2], [3, 4]], K3, stride=2, padding=1, **words),
    "gather of 25": lambda **words: draw.gather(np.ones((5, 5), int), np.ones((5, 5), int), **words),
    "gather in 1-D": lambda **words: draw.gather([1, 2, 3], [1, -2, 3, 4], output=[1, 2], stride=2, **words),
    "gather in 3-D": lambda **words: draw.gather(CUBE, CUBE, stride=(1, 2, 2), **words),
    "gather of nothing": lambda **words: draw.gather([1], [1], output=0, crop=((-1, 0),), **words),
    "gather of long numbers": lambda **words: draw.gather([1e-9 / 3, 2], [-1e9 / 3, 1 / 3], **words),
    "phases": lambda **words: draw.phases(K3, stride=2, padding=1, **words),
    "phases of 9": lambda **words: draw.phases(np.arange(16).reshape(4, 4), x=[[1]], stride=3, **words),
    "one phase": lambda **words: draw.phases([[5]], x=[[1]], **words),
    "phases in 1-D": lambda **words: draw.phases([1, 2], x=[1], stride=5, crop=((-1, 2),), **words),
    "phases in 3-D": lambda **words: draw.phases(CUBE, stride=(1, 2, 2), **words),
    "overlap": lambda **words: draw.overlap((3, 3), (4, 4), stride=2, padding=1, **words),
    "overlap in 1-D": lambda **words: draw.overlap(3, 12, stride=2, **words),
    "overlap in 3-D": lambda **words: draw.overlap(3, (1, 2, 2), stride=2, **words),
    "overlap of one": lambda **words: draw.overlap(1, 1, **words),
    "padding": lambda **words: draw.padding((3, 3), (2, 2), stride=2, **words),
    "padding in 1-D": lambda **words: draw.padding(
        4, 5, {"padding": 1}, {"dialect": "keras", "strides": 9}, stride=2, **words
    ),
    "padding in 3-D": lambda **words: draw.padding(2, (1, 2, 2), {"padding": (0, 1, 0)}, stride=2, **words),
    "channels": lambda **words: draw.channels(np.arange(72).reshape(4, 2, 3, 3), groups=2, **words),
    "channels in 1-D": lambda **words: draw.channels(np.arange(6).reshape(3, 1, 2), **words),
    "channels in 3-D": lambda **words: draw.channels(CUBE[None, None], **words),
    "one channel": lambda **words: draw.channels((1, 1), **words),
}


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_overlaps_and_everything_can_be_read(name):
    light, dark = (PICTURES[name](theme=theme) for theme in THEMES)
    assert_nothing_overlaps(light)
    words = " ".join(text.get_text() for text in light.texts)
    assert "INPUT" in words
    assert "OUTPUT" in words
    for ax, theme in ((light, "light"), (dark, "dark")):
        assert_readable(ax, palette.theme_of(theme), name.startswith("matrix"))
    assert [text.get_text() for text in dark.texts] == [text.get_text() for text in light.texts]


def assert_readable(ax, theme, is_matrix):
    """Assert the contrast of every text with its cell or the page; a place of a matrix without a tap is faint."""
    assert to_hex(ax.figure.get_facecolor()) == theme.page
    cells = []
    for mesh in meshes(ax):
        corners = mesh.get_coordinates()
        cells.append(
            (corners[:-1, :-1].reshape(-1, 2), corners[1:, 1:].reshape(-1, 2), mesh.get_array().reshape(-1, 3))
        )
    low, high, grounds = (np.concatenate(part) for part in zip(*cells, strict=True))
    for text in ax.texts:
        if is_matrix and text.get_color() == theme.faint:
            continue
        inside = ((low < text.get_position()) & (text.get_position() < high)).all(1) & (text.get_gid() is not None)
        ground = grounds[inside.argmax()] if inside.any() else palette.rgb(theme.page)
        ratio = palette.contrast(np.array(to_rgb(text.get_color())), ground)
        assert ratio >= palette.CONTRAST, (text.get_text(), ratio)


# -- the colours -------------------------------------------------------------------------------------------------

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# severity 1, on linear RGB
EYES = {
    "usual": np.eye(3),
    "without red cones": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "without green cones": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "without blue cones": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
XYZ = np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])


def lab(codes, eye):
    """Return CIELAB of colours as this eye sees them: [colours, 3]."""
    colours = palette.rgb(*codes)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ np.transpose(eye), 0, 1) @ XYZ / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("theme", THEMES)
def test_cells_can_be_told_apart(theme, eye):
    """Differences of 2.3 are just seen side by side; cells differ by 9 and more, the first four by 15, the page by 18."""
    colours = palette.theme_of(theme)
    places = lab([*colours.cells, colours.page], EYES[eye])
    apart = np.linalg.norm(places[:, None] - places, axis=-1)
    between = apart[:-1, :-1][np.triu_indices(len(colours.cells), 1)]
    first = apart[:4, :4][np.triu_indices(4, 1)]
    assert (between.min() > 9, first.min() > 15, apart[-1, :-1].min() > 18) == (True, True, True)


@pytest.mark.parametrize("theme", THEMES)
def test_tones_of_one_row_can_be_told_apart(theme):
    colours = palette.theme_of(theme)
    for shape, least in (((3, 3), 12), ((4, 4), 8), ((3, 5), 6)):
        codes = [to_hex(colour) for colour in colours.shades(shape).reshape(-1, 3)]
        places = lab(codes, EYES["usual"]).reshape(*shape, 3)
        assert np.linalg.norm(np.diff(places, axis=1), axis=-1).min() > least


@pytest.mark.parametrize("theme", THEMES)
def test_ink_can_be_read_on_every_cell(theme):
    colours = palette.theme_of(theme)
    ink = palette.rgb(colours.ink)
    assert palette.contrast(ink, palette.rgb(*colours.cells)).min() >= palette.CONTRAST
    for text in (colours.ink, colours.muted, colours.input, colours.output, colours.chosen):
        assert palette.contrast(palette.rgb(text), palette.rgb(colours.page)) >= palette.CONTRAST
    for shape in ((8,), (9,), (80,), (3, 5), (9, 9), (2, 3, 4)):
        shades = colours.shades(shape)
        assert shades.shape == (*shape, 3)
        assert palette.contrast(ink, shades).min() >= palette.CONTRAST
    counts = np.arange(65)
    for ramp in (colours.greys(counts), colours.blues(counts, 64)):
        assert palette.contrast(ink, ramp).min() >= palette.CONTRAST
        steps = np.diff(palette.contrast(palette.rgb(colours.page), ramp))
        assert (steps > 0).all(), "the stronger, the more are summed"


def test_contrast_is_that_of_the_standard():
    assert palette.contrast(np.zeros(3), np.ones(3)) == pytest.approx(21)
    assert palette.contrast(palette.rgb("#777777"), np.ones(3)) == pytest.approx(4.48, abs=0.01)


def test_both_themes_have_the_same_names():
    light, dark = (palette.theme_of(theme) for theme in THEMES)
    assert len(light.cells) == len(dark.cells) == 8
    assert len(light.lines) == len(dark.lines)
    assert light.page != dark.page


@pytest.mark.parametrize("wrong", ["black", None, 3, np.zeros(2)])
def test_another_theme_is_refused(wrong):
    with pytest.raises(ArgumentError, match=r'^theme is .*; there are "light" and "dark". Write theme="dark"$'):
        draw.overlap(3, 3, theme=wrong)


# -- figures -----------------------------------------------------------------------------------------------------


def test_a_board_has_the_themes_ground_on_a_figure_of_another_colour():
    figure = Figure(figsize=(6, 4))
    ax = draw.overlap((3, 3), (3, 3), stride=2, theme="dark", ax=figure.add_subplot())
    ground = ax.patches[0]
    assert to_hex(ground.get_facecolor()) == palette.theme_of("dark").page
    assert (ground.get_width(), ground.get_height()) == (ax.get_xlim()[1], ax.get_ylim()[0])
    light = draw.overlap((3, 3), (3, 3), stride=2, ax=Figure(figsize=(6, 4)).add_subplot())
    assert len(light.patches) == len(ax.patches) - 1


def test_a_theme_does_not_depend_on_the_users_style():
    import matplotlib

    with matplotlib.rc_context({"figure.facecolor": "black"}):
        assert to_hex(draw.overlap(3, 3).figure.get_facecolor()) == palette.theme_of("light").page


def test_the_dark_difference_and_response():
    dark = palette.theme_of("dark")
    w = np.random.default_rng(0).standard_normal((4, 2, 4, 4))
    report = tconv.checkerboard(w, stride=2)
    for ax in (
        draw.difference(np.eye(4)[None, None], np.zeros((1, 1, 4, 4)), theme="dark"),
        draw.difference(np.ones((1, 1, 4)), np.zeros((1, 1, 4)), theme="dark"),
        draw.response(report, theme="dark"),
    ):
        assert to_hex(ax.figure.get_facecolor()) == dark.page
        assert ax.title.get_color() == dark.ink
        assert {label.get_color() for label in ax.get_xticklabels()} == {dark.ink}
