"""Calls that go wrong as users' do, rebuilt from their descriptions with NumPy, and outputs in which nothing is wrong.

Each case is a function of a random generator and an empty folder that raises AssertionError if the answer is not what
somebody who knows the cause would accept. Answers of `diagnose` are judged by patterns that each have to occur in the
cause, its other names or its sentence: the part, the channels, the axes and the numbers, in any words. A fix that is
printed is run, and has to give the expected output. Wrong outputs and right ones are sums in float64 that are written
down here, without `tconv`. Cases of calls and frameworks are in `constructed_calls.py`, those of pictures in
`constructed_pictures.py`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import tconv
from random_calls.fix_code import recomputes


class Case(NamedTuple):
    """One case of a kind; `slow` ones start other processes that load a framework."""

    kind: str
    name: str
    run: Callable[[np.random.Generator, Path], None]
    slow: bool = False


CASES: list[Case] = []


def case(kind: str, *, slow: bool = False):
    """Return a decorator that adds a function of (rng, folder) to the cases."""

    def add(run):
        CASES.append(Case(kind, run.__name__, run, slow))
        return run

    return add


# -- the operator, from its definition --------------------------------------------------------------------------------


def pairs(crop, ndim):
    """Return the crop (lo, hi) of each axis, given as one number or as a list of numbers or pairs."""
    each = [crop] * ndim if np.ndim(crop) == 0 else crop
    return [(c, c) if np.ndim(c) == 0 else tuple(c) for c in each]


def scatter(x, w, bias=None, *, stride=1, crop=0, dilation=1, groups=1):
    """Return the transposed convolution of x [N, C_in, *n] with w [C_in, C_out/groups, *k] in float64, or int64."""
    ndim = x.ndim - 2
    s, d = (np.broadcast_to(v, ndim) for v in (stride, dilation))
    wide = np.int64 if x.dtype.kind in "iu" else np.float64
    inner = x.shape[1] // groups
    sizes = [a * (n - 1) + b * (k - 1) + 1 for a, n, b, k in zip(s, x.shape[2:], d, w.shape[2:], strict=True)]
    full = np.zeros((len(x), groups * w.shape[1], *sizes), wide)
    for taps in itertools.product(*map(range, w.shape[2:])):
        at = tuple(slice(b * t, b * t + a * (n - 1) + 1, a) for a, b, t, n in zip(s, d, taps, x.shape[2:], strict=True))
        for g in range(groups):
            rows = slice(g * inner, (g + 1) * inner)
            part = np.einsum("nc...,co->no...", x[:, rows].astype(wide), w[(rows, slice(None), *taps)].astype(wide))
            full[(slice(None), slice(g * w.shape[1], (g + 1) * w.shape[1]), *at)] += part
    crop = pairs(crop, ndim)
    extended = np.pad(full, [(0, 0), (0, 0), *((max(0, -lo), max(0, -hi)) for lo, hi in crop)])
    cut = tuple(slice(max(0, lo), extended.shape[2 + i] - max(0, hi)) for i, (lo, hi) in enumerate(crop))
    y = extended[(slice(None), slice(None), *cut)]
    return y if bias is None else y + per_channel(bias, ndim)


def per_channel(numbers, ndim):
    return np.asarray(numbers).reshape(-1, *[1] * ndim)


def torch(x, w, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    """Return the right output of PyTorch's call, float32."""
    pads, more = (np.broadcast_to(v, x.ndim - 2).tolist() for v in (padding, output_padding))
    crop = [(p, p - op) for p, op in zip(pads, more, strict=True)]
    y = scatter(x, w, bias, stride=stride, crop=crop, dilation=dilation, groups=groups)
    return y if y.dtype == np.int64 else y.astype(np.float32)


def normal(rng, *shapes):
    """Return arrays of normal numbers, float32."""
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


# -- judging ----------------------------------------------------------------------------------------------------------


def described(found):
    """Return all words of the first finding."""
    first = found.findings[0]
    return " | ".join([*first.causes, *first.also, first.text])


def repaired(fix, given, own, program, got, names):
    """Return y after the fix: one that computes y again starts from the given arrays, others from the program's own."""
    arrays = given if recomputes(fix) else own
    scope = {"np": np, "numpy": np, "tconv": tconv, "y": got}
    scope |= {name: array for name, array in zip(("x", "weight", "bias"), arrays, strict=True) if array is not None}
    scope |= names
    exec(fix, scope)
    if scope["y"] is not got:
        return np.asarray(scope["y"])
    return program(scope["x"], scope["weight"], scope.get("bias"))


def find(
    given,
    arguments,
    program,
    *says,
    own=None,
    never=(),
    fix=False,
    names=None,
    alone=False,
    expected=None,
    verdicts=("found", "likely"),
):
    """Diagnose the program's output against the right one; every pattern of `says` must occur, none of `never`.

    `given` are x, weight and bias of the right call and `arguments` PyTorch's; `program` computes the wrong output from
    its `own` arrays, which are the given ones but for a fault in them. With `fix` there must be a line; a line that is
    there must work. With `alone`, the two outputs are compared without the call, too. `names` are further arrays that
    a fix may read.
    """
    own = given if own is None else own
    expected = torch(*given, **arguments) if expected is None else expected
    got = np.asarray(program(*own))
    if got.dtype == np.float64:
        got = got.astype(np.float32)
    x, weight, bias = given
    calls = [{"x": x, "weight": weight, "bias": bias, **arguments}] + [{}] * alone
    for call in calls:
        found = tconv.diagnose(got, expected, **call)
        assert found.verdict in verdicts, str(found)
        text = described(found)
        for pattern in says:
            assert re.search(pattern, text, re.IGNORECASE), f"{pattern!r} is not in:\n{found}"
        for pattern in never:
            assert not re.search(pattern, text, re.IGNORECASE), f"{pattern!r} is in:\n{found}"
    found = tconv.diagnose(got, expected, **calls[0])
    assert found.fix or not fix, f"no fix:\n{found}"
    if found.fix:
        y = repaired(found.fix, given, own, program, got, names or {})
        assert y.shape == expected.shape, f"the fix gives {y.shape} for {expected.shape}:\n{found}"
        limit = max(1e-4, 2 * found.findings[0].residual) * expected.std()
        assert np.abs(y - expected).max() <= limit, f"off by {np.abs(y - expected).max()}:\n{found}"


def blameless(got, expected, verdicts=("none", "untellable"), **call):
    """Diagnose outputs for which no cause may be named, with and without the call."""
    for each in (call, {}):
        found = tconv.diagnose(got, expected, **each)
        assert not found.findings, str(found)
        assert found.verdict in verdicts, str(found)


# -- the input padded instead of the output cropped, then cut to size -------------------------------------------------

PADDED = (r"input padding|padd(ing|ed)[^|]*\b(input|x)\b|\b(input|x)\b[^|]*padded|zeros around x",)


def padded_then_cut(padding, stride, at):
    """Return a program that pads x, crops nothing, and cuts the right size out at the front, the end or the middle."""

    def program(x, w, b):
        pads = np.broadcast_to(padding, x.ndim - 2).tolist()
        y = scatter(np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pads)]), w, b, stride=stride)
        size = torch(x, w, b, stride=stride, padding=padding).shape[2:]
        spare = [have - want for have, want in zip(y.shape[2:], size, strict=True)]
        start = [{"front": 0, "middle": more // 2, "end": more}[at] for more in spare]
        return y[(..., *(slice(a, a + want) for a, want in zip(start, size, strict=True)))]

    return program


@case("padded, then cut")
def padded_input_and_the_first_rows(rng, folder):
    given = (*normal(rng, (1, 3, 7, 6), (3, 4, 4, 4), 4),)
    find(given, {"stride": 2, "padding": 1}, padded_then_cut(1, 2, "front"), *PADDED, r"cut|size|crop|first", fix=True)


@case("padded, then cut")
def padded_input_and_the_last_samples(rng, folder):
    given = (*normal(rng, (1, 4, 23), (4, 3, 6), 3),)
    find(given, {"stride": 3, "padding": 1}, padded_then_cut(1, 3, "end"), *PADDED, fix=True)


@case("padded, then cut")
def padded_input_of_other_widths_on_each_axis(rng, folder):
    given = (*normal(rng, (1, 3, 6, 8), (3, 2, 3, 5)), None)
    arguments = {"stride": (2, 1), "padding": (1, 2)}
    find(given, arguments, padded_then_cut((1, 2), (2, 1), "front"), *PADDED, fix=True)


@case("padded, then cut")
def padded_volume(rng, folder):
    given = (*normal(rng, (1, 2, 4, 5, 3), (2, 3, 3, 4, 3), 3),)
    find(given, {"stride": 2, "padding": 1}, padded_then_cut(1, 2, "front"), *PADDED, fix=True)


# -- one number where there are two -----------------------------------------------------------------------------------

BOTH = r"axes|axis|every|both|all|one number|first|last"


@case("one number for two")
def stride_of_the_first_axis_for_both(rng, folder):
    given = (*normal(rng, (1, 3, 6, 9), (3, 2, 4, 3), 2),)
    find(
        given, {"stride": (4, 1)}, lambda x, w, b: scatter(x, w, b, stride=4), "stride", r"\b4\b.*\b4\b|" + BOTH,
        r"\b4\b", never=["dilation"], fix=True,
    )  # fmt: skip


@case("one number for two")
def stride_of_the_last_axis_for_both(rng, folder):
    given = (*normal(rng, (1, 3, 7, 5), (3, 2, 3, 4), 2),)
    arguments = {"stride": (2, 3), "padding": (1, 1)}
    find(given, arguments, lambda x, w, b: scatter(x, w, b, stride=3, crop=1), "stride", r"\b3\b", fix=True)


@case("one number for two")
def stride_of_a_volume(rng, folder):
    given = (*normal(rng, (1, 2, 5, 4, 4), (2, 3, 3, 4, 4), 3),)
    arguments = {"stride": (1, 2, 2), "padding": 1}
    find(given, arguments, lambda x, w, b: scatter(x, w, b, stride=2, crop=1), "stride", r"\b2\b", fix=True)


@case("one number for two")
def dilation_of_the_last_axis_for_both(rng, folder):
    given = (*normal(rng, (1, 3, 7, 8), (3, 4, 3, 3), 4),)
    arguments = {"stride": 2, "dilation": (1, 2)}
    find(
        given, arguments, lambda x, w, b: scatter(x, w, b, stride=2, dilation=2), "dilation", r"\b2\b",
        never=["stride is"], fix=True,
    )  # fmt: skip


@case("one number for two")
def dilation_of_the_first_axis_for_all_of_a_volume(rng, folder):
    given = (*normal(rng, (1, 2, 5, 5, 4), (2, 2, 2, 3, 3), 2),)
    arguments = {"dilation": (3, 1, 2)}
    find(given, arguments, lambda x, w, b: scatter(x, w, b, dilation=3), "dilation", r"\b3\b", fix=True)


@case("one number for two")
def stride_of_the_first_axis_cut_to_size(rng, folder):
    """The larger result is cut to the size that was expected, so that the shapes agree."""
    given = (*normal(rng, (1, 3, 6, 9), (3, 2, 3, 3), 2),)
    arguments = {"stride": (2, 1), "padding": (1, 1)}

    def program(x, w, b):
        return scatter(x, w, b, stride=2, crop=1)[..., : x.shape[3]]

    find(given, arguments, program, "stride", r"\b2\b")


@case("one number for two")
def padding_of_the_first_axis_for_both(rng, folder):
    given = (*normal(rng, (1, 3, 6, 7), (3, 2, 5, 5), 2),)
    arguments = {"stride": 2, "padding": (2, 1)}
    find(given, arguments, lambda x, w, b: scatter(x, w, b, stride=2, crop=2), "padding", r"\b2\b", fix=True)


@case("one number for two")
def grouped_stride_of_the_last_axis(rng, folder):
    given = (*normal(rng, (2, 4, 5, 6), (4, 3, 3, 3), 6),)
    arguments = {"stride": (1, 3), "groups": 2}
    find(given, arguments, lambda x, w, b: scatter(x, w, b, stride=3, groups=2), "stride", r"\b3\b", fix=True)


# -- output_padding's rows --------------------------------------------------------------------------------------------


def rows_without_sums(arguments, *, bias):
    """Return a program that appends output_padding's rows as zeros, or as the bias alone."""

    def program(x, w, b):
        given = {name: value for name, value in arguments.items() if name != "output_padding"}
        y = torch(x, w, None if bias else b, **given)
        more = np.broadcast_to(arguments["output_padding"], x.ndim - 2).tolist()
        y = np.pad(y, [(0, 0), (0, 0), *((0, n) for n in more)])
        return y + per_channel(b, x.ndim - 2) if bias else y

    return program


@case("output_padding's rows")
def zeros_on_two_axes(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 6, 5), (3, 4, 3, 3), 4),), {"stride": 2, "padding": 1, "output_padding": 1}
    find(given, arguments, rows_without_sums(arguments, bias=False), "output_padding", "zero", alone=False)


@case("output_padding's rows")
def zeros_on_two_axes_of_other_widths(rng, folder):
    given = (*normal(rng, (2, 3, 6, 5), (3, 2, 4, 5)), None)
    arguments = {"stride": (3, 4), "padding": 1, "output_padding": (1, 2)}
    find(given, arguments, rows_without_sums(arguments, bias=False), "output_padding", "zero")


@case("output_padding's rows")
def bias_alone_on_two_axes(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 6, 5), (3, 4, 3, 3), 4),), {"stride": 2, "padding": 1, "output_padding": 1}
    find(given, arguments, rows_without_sums(arguments, bias=True), "output_padding", "bias")


@case("output_padding's rows")
def bias_alone_in_the_last_samples(rng, folder):
    given, arguments = (*normal(rng, (2, 4, 15), (4, 3, 7), 3),), {"stride": 3, "padding": 2, "output_padding": 2}
    find(given, arguments, rows_without_sums(arguments, bias=True), "output_padding", "bias")


@case("output_padding's rows")
def bias_alone_on_one_axis_of_a_picture(rng, folder):
    given = (*normal(rng, (1, 3, 6, 5), (3, 4, 3, 3), 4),)
    arguments = {"stride": 2, "padding": 1, "output_padding": (0, 1)}
    find(given, arguments, rows_without_sums(arguments, bias=True), "output_padding", "bias")


@case("output_padding's rows")
def zeros_on_all_axes_of_a_volume(rng, folder):
    given = (*normal(rng, (1, 2, 4, 3, 5), (2, 3, 3, 3, 3), 3),)
    arguments = {"stride": 2, "padding": 1, "output_padding": 1}
    find(given, arguments, rows_without_sums(arguments, bias=False), "output_padding", "zero")


@case("output_padding's rows")
def bias_alone_on_two_axes_of_a_volume(rng, folder):
    given = (*normal(rng, (1, 4, 4, 3, 5), (4, 2, 3, 3, 3), 4),)
    arguments = {"stride": 2, "padding": 1, "output_padding": (1, 0, 1), "groups": 2}
    find(given, arguments, rows_without_sums(arguments, bias=True), "output_padding", "bias")


# -- axes in another order, in three dimensions, with the call --------------------------------------------------------


def permuted(order, part):
    """Return a case in which the spatial axes of x, the kernel or y of a volume are in another order."""
    axes = (0, 1, *(2 + axis for axis in order))
    arguments = {"stride": 2, "padding": 1} if part == "y" else {"stride": (1, 2, 3), "padding": (1, 0, 1)}

    def build(rng, folder):
        given = (*normal(rng, (1, 2, 4, 4, 4), (2, 3, 3, 3, 3), 3),)
        x, w, b = given
        own = {"x": (x.transpose(axes), w, b), "kernel": (x, w.transpose(axes), b), "y": given}[part]

        def program(x, w, b):
            y = torch(x, w, b, **arguments)
            return y.transpose(axes) if part == "y" else y

        part_of = {"x": r"\bx\b|input", "kernel": "kernel|weight", "y": r"\by\b|output"}[part]
        find(given, arguments, program, part_of, "ax[ei]s", own=own, fix=True)

    build.__name__ = f"{part}_with_spatial_axes_{''.join(map(str, order))}"
    return build


for _order in [order for order in itertools.permutations(range(3)) if order != (0, 1, 2)]:
    for _part in ("x", "kernel", "y"):
        case("axes of a volume")(permuted(_order, _part))


@case("axes of a volume")
def y_axes_of_unequal_sizes(rng, folder):
    """The shapes differ, and say how."""
    given = (*normal(rng, (1, 2, 3, 4, 5), (2, 3, 3, 3, 3), 3),)
    find(
        given, {"stride": 2}, lambda x, w, b: torch(x, w, b, stride=2).transpose(0, 1, 3, 4, 2), r"\by\b|output|got",
        "ax[ei]s|order", fix=True,
    )  # fmt: skip


@case("axes of a volume")
def the_call_is_the_wrong_one(rng, folder):
    """The call that is given has the exchanged axes; `expected` has the right ones."""
    x, w, b = normal(rng, (1, 2, 4, 4, 4), (2, 3, 3, 3, 3), 3)
    arguments = {"stride": (1, 2, 2), "padding": 1}
    for part, given in (
        (r"\bx\b|input", (x.transpose(0, 1, 3, 2, 4), w, b)),
        ("kernel|weight", (x, w.transpose(0, 1, 4, 2, 3), b)),
    ):
        find(
            given, arguments, lambda x, w, b: torch(x, w, b, **arguments), part, "ax[ei]s", fix=True,
            expected=torch(x, w, b, **arguments),
        )  # fmt: skip


# -- borders ----------------------------------------------------------------------------------------------------------


def bordered(mode, width, arguments, axes=None):
    """Return a program that extends x by `width` elements in this mode instead of by zeros."""

    def program(x, w, b):
        ndim = x.ndim - 2
        s, p = (
            np.broadcast_to(arguments.get(name, default), ndim) for name, default in (("stride", 1), ("padding", 0))
        )
        widths = [width if axes is None or axis in axes else 0 for axis in range(ndim)]
        longer = np.pad(x, [(0, 0), (0, 0), *((n, n) for n in widths)], mode=mode)
        crop = [(int(a + c * n), int(a + c * n)) for a, c, n in zip(p, s, widths, strict=True)]
        return scatter(longer, w, b, stride=s, crop=crop)

    return program


CIRCULAR, MIRRORED, COPIED = "circular|wrap|period", "reflect|mirror", "replicat|edge|cop(y|ies)|repeat|nearest"


@case("borders")
def circular_border(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 8, 7), (3, 4, 4, 4), 4),), {"stride": 2, "padding": 1}
    find(given, arguments, bordered("wrap", 2, arguments), CIRCULAR, fix=False)


@case("borders")
def circular_longitudes(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 7, 12), (3, 2, 5, 5), 2),), {"stride": 1, "padding": 2}
    find(given, arguments, bordered("wrap", 2, arguments, axes=[1]), CIRCULAR)


@case("borders")
def reflected_border_of_a_signal(rng, folder):
    given, arguments = (*normal(rng, (2, 3, 25), (3, 2, 9), 2),), {"stride": 3, "padding": 2}
    find(given, arguments, bordered("reflect", 3, arguments), MIRRORED)


@case("borders")
def replicated_border(rng, folder):
    given, arguments = (*normal(rng, (1, 4, 8, 7), (4, 3, 5, 5)), None), {"stride": 2, "padding": 2}
    find(given, arguments, bordered("edge", 2, arguments), COPIED)


@case("borders")
def reflected_border_at_stride_one(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 9, 8), (3, 3, 3, 3), 3),), {"padding": 1}
    find(given, arguments, bordered("reflect", 1, arguments), MIRRORED)


@case("borders")
def replicated_border_of_a_volume(rng, folder):
    given, arguments = (*normal(rng, (1, 2, 5, 4, 5), (2, 2, 3, 3, 3), 2),), {"padding": 1}
    find(given, arguments, bordered("edge", 1, arguments), COPIED)


# -- channels, phases and blocks that are wrong -----------------------------------------------------------------------


def spoiled(spoil, arguments):
    """Return a program whose output is right but for what `spoil` changes in it."""

    def program(x, w, b):
        y = torch(x, w, b, **arguments).copy()
        replaced = spoil(y)
        return y if replaced is None else replaced

    return program


def zeros_at(*index):
    def spoil(y):
        y[index] = 0

    return spoil


WHOLE = slice(None)


@case("wrong parts")
def one_channel_of_zeros(rng, folder):
    given, arguments = (*normal(rng, (2, 3, 6, 7), (3, 5, 4, 4), 5),), {"stride": 2, "padding": 1}
    find(given, arguments, spoiled(zeros_at(WHOLE, 2), arguments), r"channel 2\b", "zero", alone=True)


@case("wrong parts")
def most_channels_of_zeros(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 6, 7), (3, 6, 4, 4), 6),), {"stride": 2, "padding": 1}
    find(
        given,
        arguments,
        spoiled(zeros_at(WHOLE, slice(1, None)), arguments),
        r"channels? 1 to 5|1, 2, 3, 4|but channel 0|only channel 0",
        "zero",
    )


@case("wrong parts")
def two_channels_of_other_numbers(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 9, 7), (3, 5, 3, 3), 5),), {"stride": 2}

    def spoil(y):
        y[:, [1, 3]] = rng_of(5).standard_normal(y[:, [1, 3]].shape) * y.std()

    find(given, arguments, spoiled(spoil, arguments), r"channels? 1(,| and) 3\b")


def rng_of(seed):
    return np.random.default_rng(seed)


@case("wrong parts")
def the_last_channels_of_a_vector(rng, folder):
    given, arguments = (*normal(rng, (1, 4, 6, 7), (4, 11, 2, 2), 11),), {"stride": 2}
    find(given, arguments, spoiled(zeros_at(WHOLE, slice(8, None)), arguments), r"channels? 8(,| to| and)", "zero")


@case("wrong parts")
def channels_of_the_next_block_twice(rng, folder):
    given, arguments = (*normal(rng, (1, 4, 6, 7), (4, 8, 3, 3), 8),), {"stride": 2}

    def spoil(y):
        y[:, 4:] = y[:, :4]

    find(given, arguments, spoiled(spoil, arguments), r"channels? 4 to 7|\[0, 1, 2, 3, 0, 1, 2, 3\]|4.*0.*5.*1")


@case("wrong parts")
def one_phase_of_zeros(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 8, 7), (3, 4, 4, 4), 4),), {"stride": 2, "padding": 1}
    find(
        given, arguments, spoiled(zeros_at(..., slice(1, None, 2), slice(0, None, 2)), arguments), "phase", "zero",
        r"row 1.*row 0|\(1, 0\)",
    )  # fmt: skip


@case("wrong parts")
def one_phase_of_a_signal(rng, folder):
    given, arguments = (*normal(rng, (2, 3, 20), (3, 4, 6), 4),), {"stride": 3}
    find(given, arguments, spoiled(zeros_at(..., slice(2, None, 3)), arguments), "phase", r"\b2\b", "zero", alone=False)


@case("wrong parts")
def one_phase_of_other_numbers(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 8, 8), (3, 4, 4, 4), 4),), {"stride": 2, "padding": 1}

    def spoil(y):
        y[..., 1::2, 1::2] = y[..., 1::2, 1::2][..., ::-1, :] * 1.5

    find(given, arguments, spoiled(spoil, arguments), "phase")


@case("wrong parts")
def one_phase_of_one_channel(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 8, 8), (3, 4, 4, 4), 4),), {"stride": 2, "padding": 1}
    find(
        given,
        arguments,
        spoiled(zeros_at(WHOLE, 3, slice(0, None, 2)), arguments),
        r"channel 3\b",
        "phase|every 2nd",
        "zero",
    )


@case("wrong parts")
def columns_of_phases_exchanged(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 6, 8), (3, 4, 4, 4), 4),), {"stride": 2, "padding": 1}

    def spoil(y):
        return y.reshape(*y.shape[:3], -1, 2)[..., ::-1].reshape(y.shape)

    find(given, arguments, spoiled(spoil, arguments), "phase|column", "exchange|swap|order|revers|permut")


@case("wrong parts")
def a_tile_of_zeros(rng, folder):
    given, arguments = (*normal(rng, (1, 2, 20, 24), (2, 3, 4, 4), 3),), {"stride": 2, "padding": 1}
    find(
        given, arguments, spoiled(zeros_at(..., slice(16, 32), slice(32, 48)), arguments), "zero", r"16 to 31|16:32",
        r"32 to 47|32:48|32:$|32:\D", never=["phase"],
    )  # fmt: skip


@case("wrong parts")
def a_tile_of_other_numbers_in_one_channel(rng, folder):
    given, arguments = (*normal(rng, (1, 2, 20, 24), (2, 3, 4, 4), 3),), {"stride": 2, "padding": 1}

    def spoil(y):
        y[:, 1, 8:16, :8] = rng_of(3).standard_normal((len(y), 8, 8))

    find(given, arguments, spoiled(spoil, arguments), r"channel 1\b", r"8 to 15|8:16", r"0 to 7|0:8|:8\b")


@case("wrong parts")
def the_second_image_again_the_first(rng, folder):
    given, arguments = (*normal(rng, (3, 2, 6, 7), (2, 3, 4, 4), 3),), {"stride": 2, "padding": 1}

    def spoil(y):
        y[1] = y[0]

    find(given, arguments, spoiled(spoil, arguments), r"(image|batch|N|sample)s? 1\b|\[0, 0, 2\]")


@case("wrong parts")
def one_channel_of_bias_alone(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 6, 7), (3, 5, 4, 4), 5),), {"stride": 2, "padding": 1}

    def program(x, w, b):
        w = w.copy()
        w[:, 3] = 0
        return torch(x, w, b, **arguments)

    find(given, arguments, program, r"channel 3\b", "bias|constant|everywhere")


@case("wrong parts")
def one_input_channel_left_out(rng, folder):
    given, arguments = (*normal(rng, (1, 5, 6, 7), (5, 4, 4, 4), 4),), {"stride": 2, "padding": 1}

    def program(x, w, b):
        x = x.copy()
        x[:, 1] = 0
        return torch(x, w, b, **arguments)

    find(given, arguments, program, r"channel 1\b", r"\bx\b|input|weight")


@case("wrong parts")
def a_group_of_zeros(rng, folder):
    given, arguments = (*normal(rng, (1, 6, 6, 7), (6, 2, 3, 3)), None), {"stride": 2, "groups": 3}
    find(
        given,
        arguments,
        spoiled(zeros_at(WHOLE, slice(2, 4)), arguments),
        r"group 1\b|channels? 2(,| and| to) 3",
        "zero",
    )


# -- eight bits -------------------------------------------------------------------------------------------------------


def affine(a, low=-128, high=127):
    """Return int8 numbers, their scale and zero point: the range of `a`, which contains 0."""
    least, most = min(float(a.min()), 0.0), max(float(a.max()), 0.0)
    scale = (most - least) / (high - low)
    zero = int(np.rint(low - least / scale))
    return np.clip(np.rint(a / scale) + zero, low, high).astype(np.int64), scale, zero


def symmetric(a, axis=None):
    """Return whole numbers from -127 to 127 and their scale, for all or for each entry of an axis."""
    rest = None if axis is None else tuple(i for i in range(a.ndim) if i != axis)
    scale = np.abs(a).max(axis=rest, keepdims=axis is not None).astype(np.float64) / 127
    return np.rint(a / scale).astype(np.int64), scale


EIGHT = r"int8|8[ -]bit|quantiz"


def eight_bits(given, arguments, program, *says):
    find(given, arguments, program, EIGHT, *says, never=["bfloat16", "TF32", "float16"])


@case("int8")
def x_and_weight_with_one_scale_each(rng, folder):
    given, arguments = (*normal(rng, (1, 6, 9, 8), (6, 4, 4, 4), 4),), {"stride": 2, "padding": 1}

    def program(x, w, b):
        (qx, sx), (qw, sw) = symmetric(x), symmetric(w)
        return torch(qx, qw, **arguments) * (sx * sw) + per_channel(b, 2)

    eight_bits(given, arguments, program, r"\bx\b|input", "weight|kernel")


@case("int8")
def a_full_integer_layer(rng, folder):
    """x, weight, bias and y are whole numbers, as in a TFLite model made from representative data."""
    given, arguments = (*normal(rng, (1, 8, 9, 8), (8, 5, 3, 3), 5),), {"stride": 2, "padding": 1, "output_padding": 1}

    def program(x, w, b):
        (qx, sx, zx), (qw, sw) = affine(x), symmetric(w, axis=1)
        sums = torch(qx - zx, qw, **arguments) + np.rint(per_channel(b, 2) / (sx * sw.reshape(-1, 1, 1)))
        real = sums * (sx * sw.reshape(-1, 1, 1))
        qy, sy, zy = affine(real)
        return (qy - zy) * sy

    eight_bits(given, arguments, program)


@case("int8")
def a_full_integer_layer_of_calibrated_ranges(rng, folder):
    """The ranges of x and y come from other data, so that some numbers are clipped."""
    given, arguments = (*normal(rng, (2, 8, 9, 8), (8, 6, 2, 2), 6),), {"stride": 2}

    def program(x, w, b):
        _, sx, zx = affine(x[0] * 0.9)
        qx = np.clip(np.rint(x / sx) + zx, -128, 127).astype(np.int64)
        qw, sw = symmetric(w, axis=1)
        real = torch(qx - zx, qw, **arguments) * (sx * sw.reshape(-1, 1, 1)) + per_channel(b, 2)
        _, sy, zy = affine(real[0] * 0.95)
        return (np.clip(np.rint(real / sy) + zy, -128, 127) - zy) * sy

    eight_bits(given, arguments, program)


@case("int8")
def a_hybrid_kernel(rng, folder):
    """The weight is int8, and x is made int8 as it arrives, image by image; y is float."""
    given, arguments = (*normal(rng, (2, 6, 9, 8), (6, 4, 4, 4), 4),), {"stride": 2, "padding": 1}

    def program(x, w, b):
        qw, sw = symmetric(w, axis=1)
        qx, sx = symmetric(x, axis=0)
        return torch(qx, qw, **arguments) * (sx * sw.reshape(1, -1, 1, 1)) + per_channel(b, 2)

    eight_bits(given, arguments, program)


@case("int8")
def x_alone_with_a_zero_point(rng, folder):
    given, arguments = (*normal(rng, (1, 6, 9, 8), (6, 4, 4, 4), 4),), {"stride": 2, "padding": 1}

    def program(x, w, b):
        qx, sx, zx = affine(x)
        return torch(((qx - zx) * sx).astype(np.float32), w, b, **arguments)

    eight_bits(given, arguments, program, r"\bx\b|input")


@case("int8")
def the_output_alone(rng, folder):
    given, arguments = (*normal(rng, (1, 6, 9, 8), (6, 4, 4, 4), 4),), {"stride": 2, "padding": 1}

    def program(x, w, b):
        qy, sy, zy = affine(torch(x, w, b, **arguments))
        return (qy - zy) * sy

    eight_bits(given, arguments, program, r"\by\b|output|result")


@case("int8")
def a_signal_with_one_scale_per_channel(rng, folder):
    given, arguments = (*normal(rng, (1, 12, 60), (12, 5, 8), 5),), {"stride": 4, "padding": 2}

    def program(x, w, b):
        (qx, sx, zx), (qw, sw) = affine(x), symmetric(w, axis=1)
        return torch(qx - zx, qw, **arguments) * (sx * sw.reshape(1, -1, 1)) + per_channel(b, 1)

    eight_bits(given, arguments, program, r"\bx\b|input", "weight|kernel")


# -- the bias ---------------------------------------------------------------------------------------------------------


def biased(change, arguments):
    return lambda x, w, b: torch(x, w, change(b), **arguments)


def two_dimensional(rng, c_out=5):
    return (*normal(rng, (1, 3, 6, 7), (3, c_out, 3, 3), c_out),), {"stride": 2, "padding": 1}


@case("bias")
def rotated_by_one_channel(rng, folder):
    given, arguments = two_dimensional(rng)
    own = (*given[:2], np.roll(given[2], 1))
    find(
        given,
        arguments,
        lambda x, w, b: torch(x, w, b, **arguments),
        "bias",
        "rotat|roll|shift|cyclic|order|later",
        own=own,
        fix=True,
    )


@case("bias")
def rotated_in_the_call_that_is_given(rng, folder):
    (x, w, b), arguments = two_dimensional(rng)
    find(
        (x, w, np.roll(b, 2)), arguments, lambda x, w, b: torch(x, w, b, **arguments), "bias",
        "rotat|roll|shift|cyclic|order|later", fix=True, expected=torch(x, w, b, **arguments),
    )  # fmt: skip


@case("bias")
def rotated_by_three_channels_backwards(rng, folder):
    given, arguments = two_dimensional(rng, 8)
    own = (*given[:2], np.roll(given[2], -3))
    find(
        given,
        arguments,
        lambda x, w, b: torch(x, w, b, **arguments),
        "bias",
        "rotat|roll|shift|cyclic|order",
        r"\b[35]\b",
        own=own,
        fix=True,
    )


@case("bias")
def in_any_other_order(rng, folder):
    given, arguments = two_dimensional(rng, 7)
    own = (*given[:2], given[2][[3, 0, 6, 1, 5, 2, 4]])
    find(given, arguments, lambda x, w, b: torch(x, w, b, **arguments), "bias", "order|permut", own=own, fix=True)


@case("bias")
def of_one_channel_wrong(rng, folder):
    given, arguments = two_dimensional(rng)
    own = (*given[:2], given[2] + np.float32([0, 0, 0.75, 0, 0]))
    find(
        given, arguments, lambda x, w, b: torch(x, w, b, **arguments), r"channel 2\b", "bias|offset", own=own,
        never=[r"\[0(\.0)?, 0(\.0)?,"],
    )  # fmt: skip


@case("bias")
def of_one_channel_missing(rng, folder):
    given, arguments = two_dimensional(rng, 6)
    own = (*given[:2], given[2] * np.float32([1, 1, 1, 1, 0, 1]))
    find(given, arguments, lambda x, w, b: torch(x, w, b, **arguments), r"channel 4\b", "bias|offset", own=own)


@case("bias")
def of_two_channels_exchanged(rng, folder):
    given, arguments = two_dimensional(rng, 6)
    own = (*given[:2], given[2][[0, 4, 2, 3, 1, 5]])
    find(
        given,
        arguments,
        lambda x, w, b: torch(x, w, b, **arguments),
        "bias",
        r"\b1\b.*\b4\b|order|exchang",
        own=own,
        fix=True,
    )


@case("bias")
def once_per_tap(rng, folder):
    """Every tap of every input adds the bias to the output that it reaches."""
    given, arguments = two_dimensional(rng)

    def program(x, w, b):
        taps = torch(np.ones_like(x[:, :1]), np.ones((1, 1, *w.shape[2:]), np.float32), **arguments)
        return torch(x, w, **arguments) + taps * per_channel(b, 2)

    find(given, arguments, program, "bias", "tap|overlap|product|times")


@case("bias")
def once_per_tap_of_a_signal(rng, folder):
    given, arguments = (*normal(rng, (2, 3, 17), (3, 4, 7), 4),), {"stride": 3, "padding": 1, "output_padding": 1}

    def program(x, w, b):
        taps = torch(np.ones_like(x[:, :1]), np.ones((1, 1, 7), np.float32), **arguments)
        return torch(x, w, **arguments) + taps * per_channel(b, 1)

    find(given, arguments, program, "bias", "tap|overlap|product|times")


@case("bias")
def once_per_input_channel(rng, folder):
    given, arguments = two_dimensional(rng)
    find(given, arguments, biased(lambda b: 3 * b, arguments), "bias", r"\b3\b|three|input channel|C_in", fix=True)


@case("bias")
def along_the_last_axis(rng, folder):
    """y [N, C, h, w] gets the bias by NumPy's rule, along w, where w has as many elements as there are channels."""
    given = (*normal(rng, (1, 3, 6, 6), (3, 12, 4, 4), 12),)
    arguments = {"stride": 2, "padding": 1}
    find(
        given,
        arguments,
        lambda x, w, b: torch(x, w, **arguments) + b,
        "bias",
        r"ax[ei]s|along|last|\bw\b|column",
        fix=True,
    )


@case("bias")
def of_the_first_group_in_all_groups(rng, folder):
    given, arguments = (*normal(rng, (1, 6, 5, 7), (6, 3, 3, 3), 9),), {"stride": 2, "groups": 3}
    find(given, arguments, lambda x, w, b: torch(x, w, np.tile(b[:3], 3), **arguments), "bias", "group")


# -- a fix for a call without a bias ----------------------------------------------------------------------------------


def without_bias(given, arguments, program, *says, own=None, names=None):
    """Find the cause, and run the fix where there is no bias, in every dialect that writes it for NumPy's arrays."""
    given = (*given, None)
    own = given if own is None else (*own, None)
    find(given, arguments, program, *says, own=own, fix=True, names=names)
    expected, got = torch(*given, **arguments), np.asarray(program(*own)).astype(np.float32)
    for target in ("torch", "keras", "onnx", "tensorflow", "jax", "ncnn", "mlx"):
        found = tconv.diagnose(got, expected, x=given[0], weight=given[1], target=target, **arguments)
        assert not re.search(r"\bbias\b(?!=)", found.fix), f"{target}: {found.fix}"


@case("fix without bias")
def flipped_kernel_without_bias(rng, folder):
    given = normal(rng, (1, 3, 7, 6), (3, 4, 3, 3))
    arguments = {"stride": 2}
    own = (given[0], given[1][:, :, ::-1, ::-1])
    without_bias(given, arguments, lambda x, w, b: torch(x, w, b, **arguments), "flip|revers", own=own)


@case("fix without bias")
def ignored_padding_without_bias(rng, folder):
    given = normal(rng, (1, 3, 17), (3, 4, 5))
    arguments = {"stride": 2, "padding": 2}
    without_bias(given, arguments, lambda x, w, b: scatter(x, w, b, stride=2), "padding")


@case("fix without bias")
def a_batchnorm_on_the_wrong_axis_without_bias(rng, folder):
    x, w = normal(rng, (1, 4, 9, 9), (4, 4, 3, 3))
    gamma = rng.uniform(0.5, 2, 4).astype(np.float32)
    right, wrong = w * gamma.reshape(1, -1, 1, 1), w * gamma.reshape(-1, 1, 1, 1)
    arguments, none = {"stride": 2}, np.zeros(4, np.float32)
    find(
        (x, right, None), arguments, lambda x, w, b: torch(x, w, b, **arguments), "BatchNorm|scale",
        "axis|input channel",
        own=(x, wrong, None),
        names={"weight": w, "eps": 1e-5, "gamma": gamma, "beta": none, "mean": none, "variance": none + 1 - 1e-5},
    )  # fmt: skip
    found = tconv.diagnose(
        torch(x, wrong, **arguments), torch(x, right, **arguments), x=x, weight=right, **arguments, target="torch"
    )
    assert not re.search(r"\bbias\b *[,)+*]", found.fix.replace("weight, bias =", "")), found.fix


@case("fix without bias")
def a_bias_that_the_call_lacks(rng, folder):
    x, w, b = normal(rng, (1, 3, 7, 6), (3, 4, 3, 3), 4)
    arguments = {"stride": 2}
    find(
        (x, w, None), arguments, lambda x, w, _: torch(x, w, b, **arguments), "bias|offset", fix=True,
    )  # fmt: skip


@case("fix without bias")
def exchanged_stride_and_dilation_without_bias(rng, folder):
    given = normal(rng, (1, 3, 7, 6), (3, 4, 3, 3))
    arguments = {"stride": (2, 3)}
    without_bias(given, arguments, lambda x, w, b: scatter(x, w, b, stride=(3, 2)), "stride", "axes|exchang")


# -- nothing to blame -------------------------------------------------------------------------------------------------


@case("nothing to blame")
def noise_of_the_same_size(rng, folder):
    given, arguments = two_dimensional(rng)
    y = torch(*given, **arguments)
    got = (rng.standard_normal(y.shape) * y.std() + y.mean()).astype(np.float32)
    blameless(got, y, x=given[0], weight=given[1], bias=given[2], **arguments)


@case("nothing to blame")
def another_checkpoint(rng, folder):
    given, arguments = (*normal(rng, (1, 4, 5, 5, 5), (4, 4, 3, 3, 3), 4),), {"stride": 2, "padding": 1}
    got = torch(given[0], *normal(rng, (4, 4, 3, 3, 3), 4), **arguments)
    blameless(got, torch(*given, **arguments), x=given[0], weight=given[1], bias=given[2], **arguments)


@case("nothing to blame")
def noise_on_every_number(rng, folder):
    given, arguments = two_dimensional(rng)
    y = torch(*given, **arguments)
    got = y + (0.01 * y.std() * rng.standard_normal(y.shape)).astype(np.float32)
    blameless(got, y, x=given[0], weight=given[1], bias=given[2], **arguments)


@case("nothing to blame")
def noise_as_large_as_eight_bits(rng, folder):
    given, arguments = (*normal(rng, (2, 8, 12, 12), (8, 8, 4, 4), 8),), {"stride": 2, "padding": 1}
    y = torch(*given, **arguments)
    step = (y.max() - y.min()) / 255
    got = y + rng.uniform(-step / 2, step / 2, y.shape).astype(np.float32)
    blameless(got, y, x=given[0], weight=given[1], bias=given[2], **arguments)


@case("nothing to blame")
def noise_on_the_weight(rng, folder):
    given, arguments = (*normal(rng, (2, 8, 12, 12), (8, 8, 4, 4), 8),), {"stride": 2, "padding": 1}
    x, w, b = given
    got = torch(x, w + 0.004 * rng.standard_normal(w.shape).astype(np.float32), b, **arguments)
    blameless(got, torch(x, w, b, **arguments), x=x, weight=w, bias=b, **arguments)


@case("nothing to blame")
def heavy_tails(rng, folder):
    given, arguments = two_dimensional(rng)
    y = torch(*given, **arguments)
    got = (rng.standard_t(1.5, y.shape) * y.std()).astype(np.float32)
    blameless(got, y, x=given[0], weight=given[1], bias=given[2], **arguments)


@case("nothing to blame")
def whole_numbers(rng, folder):
    x, w = (rng.integers(-3, 4, shape).astype(np.float32) for shape in ((1, 2, 6, 6), (2, 3, 3, 3)))
    y = torch(x, w, stride=2)
    got = rng.integers(-9, 10, y.shape).astype(np.float32)
    blameless(got, y, x=x, weight=w, stride=2)


@case("nothing to blame")
def smooth_fields(rng, folder):
    """Two waves of other lengths: much alike near the origin, but neither is the other shifted or scaled."""
    a, b = np.meshgrid(np.arange(24), np.arange(31), indexing="ij")
    got, expected = (np.sin(p * a + 1) + np.cos(q * b + r * a) for p, q, r in ((0.31, 0.17, 0.05), (0.27, 0.22, 0.09)))
    blameless(got[None, None].astype("f"), expected[None, None].astype("f"))


@case("nothing to blame")
def other_noise_in_a_cube(rng, folder):
    got, expected = normal(rng, (1, 3, 6, 6, 6), (1, 3, 6, 6, 6))
    blameless(got, expected)


@case("nothing to blame")
def another_order_of_sums(rng, folder):
    """512 input channels, summed in float32 from the last to the first."""
    x, w = normal(rng, (1, 512, 6, 5), (512, 4, 3, 3))
    expected = torch(x, w, stride=2)
    got = np.zeros_like(expected)
    for c in reversed(range(512)):
        got += torch(x[:, c : c + 1], w[c : c + 1], stride=2)
    assert not np.array_equal(got, expected)
    blameless(got, expected, ("equal",), x=x, weight=w, stride=2)


@case("nothing to blame")
def one_rounding(rng, folder):
    given, arguments = two_dimensional(rng)
    y = torch(*given, **arguments)
    got = np.nextafter(y, np.where(rng.random(y.shape) < 0.5, np.inf, -np.inf).astype("f"))
    blameless(got, y, ("equal",), x=given[0], weight=given[1], bias=given[2], **arguments)


@case("nothing to blame")
def a_symmetric_kernel_flipped(rng, folder):
    x, w = normal(rng, (1, 3, 7, 6), (3, 2, 3, 3))
    w = w + w[:, :, ::-1, ::-1]
    blameless(torch(x, w[:, :, ::-1, ::-1], stride=2), torch(x, w, stride=2), ("equal",), x=x, weight=w, stride=2)


@case("nothing to blame")
def zero_rows_around_x_for_any_border(rng, folder):
    given, arguments = (*normal(rng, (1, 3, 9, 8), (3, 3, 3, 3), 3),), {"padding": 1}
    x = given[0]
    x[:, :, [0, -1]] = 0
    x[..., [0, -1]] = 0
    got = bordered("edge", 1, arguments)(*given).astype(np.float32)
    blameless(got, torch(*given, **arguments), ("equal",), x=x, weight=given[1], bias=given[2], **arguments)


@case("nothing to blame")
def padded_input_whose_middle_is_cut_out(rng, folder):
    """That is the crop itself."""
    x, w, b = normal(rng, (2, 3, 7, 6), (3, 4, 5, 5), 4)
    got = padded_then_cut(2, 2, "middle")(x, w, b).astype(np.float32)
    arguments = {"stride": 2, "padding": 2}
    blameless(got, torch(x, w, b, **arguments), ("equal",), x=x, weight=w, bias=b, **arguments)


@case("nothing to blame")
def one_number(rng, folder):
    x, w = normal(rng, (1, 1, 1), (1, 1, 1))
    y = torch(x, w)
    blameless(y + 1, y, x=x, weight=w)
    blameless(2 * y, y, x=x, weight=w)


@case("nothing to blame")
def three_numbers(rng, folder):
    x, w, b = normal(rng, (1, 1, 1), (1, 1, 3), 1)
    y = torch(x, w, b)
    got = normal(rng, y.shape)[0]
    blameless(got, y, x=x, weight=w, bias=b)


@case("nothing to blame")
def two_by_two_of_two_channels(rng, folder):
    x, w, b = normal(rng, (1, 2, 1, 1), (2, 2, 2, 2), 2)
    y = torch(x, w, b, stride=2)
    blameless(normal(rng, y.shape)[0], y, x=x, weight=w, bias=b, stride=2)


@case("nothing to blame")
def zeros_on_both_sides(rng, folder):
    x, w = np.zeros((1, 2, 5, 5), np.float32), normal(rng, (2, 3, 3, 3))[0]
    y = torch(x, w, stride=2)
    blameless(y, y.copy(), ("equal", "untellable"), x=x, weight=w, stride=2)


@case("nothing to blame")
def constant_against_another_constant(rng, folder):
    y = np.full((1, 3, 8, 8), 2.5, np.float32)
    found = tconv.diagnose(y, 0 * y - 1)
    assert found.verdict in ("none", "untellable") or re.search("scale|offset|constant", found.cause or ""), str(found)


@case("nothing to blame")
def some_numbers_dropped_at_random(rng, folder):
    """A tenth of the numbers is zero, at random: no phase, no rows, no channel."""
    given, arguments = (*normal(rng, (1, 4, 12, 12), (4, 4, 4, 4), 4),), {"stride": 2, "padding": 1}
    y = torch(*given, **arguments)
    got = y * (rng.random(y.shape) > 0.1)
    found = tconv.diagnose(got, y, x=given[0], weight=given[1], bias=given[2], **arguments)
    assert not re.search("phase|channel|row|column|block|bias|output_padding", found.cause or ""), str(found)


@case("nothing to blame")
def equal_without_the_call(rng, folder):
    given, arguments = two_dimensional(rng)
    y = torch(*given, **arguments)
    for copy in (y.copy(), y.astype(np.float64), np.nextafter(y, np.float32(np.inf))):
        found = tconv.diagnose(copy, y)
        assert found.verdict == "equal", str(found)
