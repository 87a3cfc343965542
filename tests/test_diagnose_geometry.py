"""diagnose: geometric faults, of axes, padding, strides, filled rows and borders, in all their variants.

Each fault is made here with NumPy and `conv_transpose`, and the line that is written is run.
"""

from __future__ import annotations

from itertools import combinations, permutations, product

import numpy as np
import pytest

import tconv
from random_calls.faults import random_fault
from tconv import Geometry
from tconv.errors import ShapeError


def arrays(rng, n, kernel, *, channels=(3, 4), bias=False, groups=1):
    shapes = (2, channels[0], *n), (channels[0], channels[1] // groups, *kernel), (channels[1],)
    x, w, b = (rng.standard_normal(shape).astype("f") for shape in shapes)
    return x, w, b if bias else None


def diagnosed(got, given, arguments, *, right=None):
    """Return the diagnosis, after running its line with exactly the names that were given."""
    x, w, b = given
    expected = tconv.conv_transpose(*given, **arguments) if right is None else right
    more = {} if b is None else {"bias": b}
    found = tconv.diagnose(got, expected, x=x, weight=w, **more, **arguments)
    if found.fix.startswith("y ="):
        scope = {"np": np, "tconv": tconv, "x": x, "weight": w, "y": got, **more}
        exec(found.fix, scope)
        np.testing.assert_allclose(scope["y"], expected, rtol=1e-4, atol=1e-4, err_msg=found.fix)
    return found


def named(found):
    return {*found.findings[0].causes, *found.findings[0].also} if found.findings else set()


# -- axes -------------------------------------------------------------------------------------------------------------


def changes(ndim):
    """Return every other order of the axes, with every choice of reversed ones."""
    orders = permutations(range(ndim))
    every = product(orders, product((False, True), repeat=ndim))
    return [(order, flips) for order, flips in every if order != tuple(range(ndim)) or any(flips)]


def changed(a, order, flips):
    return np.flip(a.transpose(0, 1, *(axis + 2 for axis in order)), [axis + 2 for axis, f in enumerate(flips) if f])


AXES = [(ndim, *each) for ndim in (2, 3) for each in changes(ndim)]


@pytest.mark.parametrize("array", ["x", "kernel", "y"])
@pytest.mark.parametrize("cubic", [True, False], ids=["cubic", "not cubic"])
def test_axes_in_another_order(array, cubic):
    """All orders, with all reversals, of x, the kernel and y: also where the shapes differ then."""
    rng = np.random.default_rng(0)
    for number, (ndim, order, flips) in enumerate(AXES):
        n, kernel = ((6,) * ndim, (3,) * ndim) if cubic else ((5, 6, 7)[:ndim], (2, 3, 4)[:ndim])
        arguments = (
            {"stride": 2, "padding": 1} if number % 2 else {"stride": (1, 2, 3)[:ndim], "padding": (0, 1, 1)[:ndim]}
        )
        given = x, w, b = arrays(rng, n, kernel, bias=number % 3 > 0)
        if array == "y":
            got = changed(tconv.conv_transpose(x, w, b, **arguments), order, flips)
        else:
            wrong = (changed(x, order, flips), w) if array == "x" else (x, changed(w, order, flips))
            got = tconv.conv_transpose(*wrong, b, **arguments)
        found = diagnosed(got, given, arguments)
        assert found.verdict == "found", (order, flips, str(found))
        name = found.cause
        assert name.startswith(array), (order, flips, name)
        assert ("exchanged" in name) == (order != tuple(range(ndim))), (order, flips, name)
        assert ("flipped" in name) == any(flips), (order, flips, name)
        if array != "y":
            variable = {"x": "x", "kernel": "weight"}[array]
            scope = {"np": np, variable: wrong[0 if array == "x" else 1]}
            exec(found.fix, scope)
            np.testing.assert_array_equal(scope[variable], x if array == "x" else w, err_msg=found.fix)


@pytest.mark.parametrize("outputs", ["shifted", "channels in the middle", "flipped", "scaled and reversed"])
def test_what_the_outputs_alone_explain_is_also_found_with_the_call(outputs):
    rng = np.random.default_rng(1)
    given = arrays(rng, (5, 6), (3, 3), channels=(3, 4))
    arguments = {"stride": 2, "padding": 1, "output_padding": 1}
    y = tconv.conv_transpose(*given, **arguments)
    got = {
        "shifted": np.roll(y, 3, 3),  # the rows that come round are no part of the result
        "channels in the middle": y.transpose(0, 2, 1, 3),
        "flipped": y[:, :, ::-1, ::-1],
        "scaled and reversed": 3 * y.swapaxes(2, 3),
    }[outputs]
    alone = tconv.diagnose(got, y)
    assert alone.verdict == "found", str(alone)
    found = diagnosed(got, given, arguments)
    assert found.verdict == "found", str(found)


def test_the_reason_against_a_wrong_shape_stays():
    rng = np.random.default_rng(1)
    x, w, _ = arrays(rng, (5, 6), (3, 3))
    with pytest.raises(ShapeError, match="no order of axes makes batch 2 and channels 4 agree"):
        tconv.diagnose(
            rng.standard_normal((2, 5, 11, 13)), tconv.conv_transpose(x, w, stride=2), x=x, weight=w, stride=2
        )


# -- padding ----------------------------------------------------------------------------------------------------------


PADDED = [
    # n, kernel, stride, padding, output_padding, dilation
    ((7,), (4,), (2,), (1,), (0,), (1,)),
    ((6, 6), (4, 4), (2, 2), (1, 1), (0, 0), (1, 1)),
    ((6, 7), (5, 4), (3, 2), (1, 2), (2, 1), (1, 1)),
    ((7, 8), (3, 4), (2, 1), (1, 1), (1, 0), (2, 1)),
    ((5, 6, 4), (4, 3, 3), (2, 3, 2), (2, 1, 1), (0, 1, 0), (1, 1, 1)),
]


@pytest.mark.parametrize("end", ["end", "front", "both ends", "nothing"])
@pytest.mark.parametrize("amount", ["padding", "kernel - 1 - padding", "dilated kernel - 1 - padding"])
@pytest.mark.parametrize(("n", "kernel", "stride", "padding", "extra", "dilation"), PADDED, ids=str)
def test_an_input_padded_instead_of_an_output_cropped(n, kernel, stride, padding, extra, dilation, amount, end):
    """Samsung/TICO#420 and MPolaris/onnx2tflite#20, for either amount of padding and any place of the cut."""
    rng = np.random.default_rng(2)
    arguments = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation}
    given = x, w, b = arrays(rng, n, kernel, bias=len(n) != 2)
    sizes = zip(kernel, padding, dilation, strict=True)
    pads = [{"p": p, "k": k - 1 - p, "d": d * (k - 1) - p}[amount[0]] for k, p, d in sizes]
    y = tconv.conv_transpose(*given, **arguments)
    full = tconv.conv_transpose(
        np.pad(x, ((0, 0), (0, 0), *((p, p) for p in pads))), w, b, stride=stride, dilation=dilation
    )
    rest = [a - b for a, b in zip(full.shape[2:], y.shape[2:], strict=True)]
    starts = {"end": [0] * len(n), "front": rest, "both ends": [r // 2 for r in rest], "nothing": [0] * len(n)}[end]
    got = full
    if end != "nothing":
        assert min(rest) > 0
        got = full[(..., *(slice(a, a + L) for a, L in zip(starts, y.shape[2:], strict=True)))]
    if got.shape == y.shape and np.array_equal(got, y):  # cut at both ends, that is right
        assert end == "both ends"
        return
    found = diagnosed(got, given, arguments)
    wanted = {f"{amount} as input padding{'' if end == 'nothing' else f', cut at the {end}'}"}
    if end == "both ends":
        wanted = {"crop shared evenly", "output_padding at the front"}
    elif amount[0] == "d" and max(dilation) == 1:
        wanted = {name.replace("dilated ", "") for name in wanted}
    assert named(found) & wanted, str(found)
    assert len(found.findings[0].causes) == 1


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("name", "crop"),
    [
        ("padding ignored", lambda lo, hi, s, F, L: (0, hi - lo)),
        ("padding twice", lambda lo, hi, s, F, L: (2 * lo, lo + hi)),
        ("padding as input padding", lambda lo, hi, s, F, L: (-s * lo, hi - lo - s * lo)),
        ("padding as input padding, cut at the end", lambda lo, hi, s, F, L: (-s * lo, F + s * lo - L)),
        ("padding extends the output", lambda lo, hi, s, F, L: (-lo, hi - 2 * lo)),
        ("padding of the input as well", lambda lo, hi, s, F, L: (lo - s * lo, hi - s * lo)),
        ("whole crop at the end", lambda lo, hi, s, F, L: (0, lo + hi)),
        ("whole crop at the front", lambda lo, hi, s, F, L: (lo + hi, 0)),
        ("front not cropped", lambda lo, hi, s, F, L: (0, hi)),
        ("end not cropped", lambda lo, hi, s, F, L: (lo, 0)),
        ("off by one element", lambda lo, hi, s, F, L: (lo + 1, hi - 1)),
    ],
)  # fmt: skip
def test_a_crop_of_one_axis(name, crop, axis):
    rng = np.random.default_rng(3)
    given = x, w, b = arrays(rng, (7, 8), (5, 6), bias=axis > 0)
    arguments = {"stride": (2, 3), "padding": (3, 2)}
    g = tconv.dialect("torch").geometry(kernel=w.shape[2:], **arguments)
    every = list(zip(g.crop, g.stride, g.full_shape((7, 8)), g.output_shape((7, 8)), strict=True))
    wrong = [crop(*pair, s, F, L) if a == axis else pair for a, (pair, s, F, L) in enumerate(every)]
    found = diagnosed(tconv.conv_transpose(x, w, b, geometry=Geometry(g.kernel, g.stride, wrong)), given, arguments)
    assert f"{name} on axis {axis}" in named(found), str(found)


@pytest.mark.parametrize("kernel", [(4, 4), (5, 5), (4, 5)], ids=str)
@pytest.mark.parametrize("rounded", ["kernel // 2", "(kernel - 1) // 2"])
def test_the_padding_of_another_parity(kernel, rounded):
    """kernel // 2 is the padding of an odd kernel, (kernel - 1) // 2 is smaller for an even one."""
    rng = np.random.default_rng(4)
    given = x, w, _ = arrays(rng, (6, 7), kernel)
    half = [k // 2 if rounded[0] == "k" else (k - 1) // 2 for k in kernel]
    got = tconv.conv_transpose(x, w, stride=2, padding=half)
    found = diagnosed(got, given, {"stride": 2, "padding": 0})
    assert f"{rounded} as padding" in named(found), str(found)


@pytest.mark.parametrize("part", ["padding", "output_padding"])
def test_numbers_of_other_axes(part):
    rng = np.random.default_rng(5)
    given = arrays(rng, (4, 5, 4), (3, 4, 3))
    arguments = {"stride": 3, "padding": (0, 1, 2), "output_padding": (2, 0, 1)}
    for order in permutations(arguments[part]):
        if order != arguments[part]:
            got = tconv.conv_transpose(*given, **arguments | {part: order})
            assert f"{part} axes exchanged" in named(diagnosed(got, given, arguments)), order
    for number in arguments[part]:
        got = tconv.conv_transpose(*given, **arguments | {part: number})
        names = named(diagnosed(got, given, arguments))
        assert {f"one {part} for all axes", f"{part} ignored"} & names, (number, names)


def test_an_output_size_that_extends_the_front():
    rng = np.random.default_rng(6)
    x, w, _ = arrays(rng, (5, 6), (3, 4))
    arguments = {"stride": (3, 2), "padding": 1, "output_size": (15, 13)}
    g = tconv.dialect("paddle").geometry(kernel=(3, 4), input=(5, 6), **arguments)
    front = Geometry(g.kernel, g.stride, [(hi, lo) for lo, hi in g.crop])
    got, y = (tconv.conv_transpose(x, w, geometry=each) for each in (front, g))
    found = tconv.diagnose(got, y, x=x, weight=w, dialect="paddle", **arguments)
    assert "output_padding at the front" in named(found), str(found)


# -- stride and dilation ----------------------------------------------------------------------------------------------


def other_steps(values):
    """Yield (name, values): one number for all axes, the axes in another order, and 1 on some of them."""
    for number in values:
        yield "one {} for all axes", (number,) * len(values)
    for order in permutations(values):
        yield "{} axes exchanged", order
    for count in range(1, len(values)):
        for axes in combinations(range(len(values)), count):
            where = " and ".join(map(str, axes))
            yield "{} ignored on axis " + where, tuple(1 if a in axes else v for a, v in enumerate(values))


@pytest.mark.parametrize("how", ["as it is", "brought to size at the end", "brought to size at both ends"])
@pytest.mark.parametrize("part", ["stride", "dilation"])
@pytest.mark.parametrize("values", [(4, 1), (1, 3), (2, 3), (1, 2, 2), (3, 2, 1)], ids=str)
def test_other_strides_and_dilations(part, values, how):
    """PINTO0309/onnx2tf#470, and the output then cut, or filled up with zeros, to the size of the call or not."""
    rng = np.random.default_rng(7)
    n, kernel = ((6, 7, 5)[: len(values)], (3, 4, 3)[: len(values)])
    given = arrays(rng, n, kernel, bias=sum(values) % 2 > 0)
    arguments = {"stride": 2, "padding": 1, part: values}
    y, seen = tconv.conv_transpose(*given, **arguments), {values}
    for name, wrong in other_steps(values):
        if wrong in seen:
            continue
        seen.add(wrong)
        got = tconv.conv_transpose(*given, **arguments | {part: wrong})
        if how != "as it is":
            for axis, L in enumerate(y.shape[2:], 2):
                more = max(0, got.shape[axis] - L)
                start = more // 2 if "both" in how else 0
                got = np.take(got, range(start, start + min(L, got.shape[axis])), axis)
                missing = [(0, L - got.shape[axis]) if a == axis else (0, 0) for a in range(got.ndim)]
                got = np.pad(got, missing)
        found = diagnosed(got, given, arguments)
        assert found.verdict == "found", (wrong, str(found))
        number = next(iter(set(wrong))) if len(set(wrong)) == 1 else 0
        names = {name.format(part), *([f"{part} ignored"] if number == 1 else [])}
        assert names & {*found.findings[0].causes}, (wrong, str(found))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("dilation as stride", {"stride": (3, 1), "dilation": 1}),
        ("dilation as stride, too", {"stride": (3, 1)}),
        ("stride as dilation", {"stride": 1, "dilation": (2, 4)}),
        ("stride as dilation, too", {"dilation": (2, 4)}),
        ("stride and dilation exchanged", {"stride": (3, 1), "dilation": (2, 4)}),
        ("stride as the kernel", {"stride": (4, 3)}),
    ],
)
def test_one_number_taken_for_another(name, wrong):
    rng = np.random.default_rng(8)
    given = arrays(rng, (6, 7), (4, 3))
    arguments = {"stride": (2, 4), "dilation": (3, 1)}
    found = diagnosed(tconv.conv_transpose(*given, **arguments | wrong), given, arguments)
    assert found.cause == name, str(found)
    assert found.fix == "y = tconv.conv_transpose(x, weight, stride=(2, 4), dilation=(3, 1))"


# -- rows without a result, and borders -------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("content", ["zeros", "bias alone", "copies"])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)], ids=str)
def test_rows_of_output_padding_without_a_result(axes, content, bias):
    """tensorflow/tensorflow#35207 and llvm/torch-mlir#2026, on any of three axes at once."""
    rng = np.random.default_rng(9)
    given = arrays(rng, (4, 5, 4), (4, 3, 5), bias=bias)
    extra = tuple((2, 1, 1)[axis] if axis in axes else 0 for axis in range(3))
    arguments = {"stride": (3, 2, 2), "padding": 1, "output_padding": extra}
    got = tconv.conv_transpose(*given, **arguments)
    for axis in axes:
        rows = np.moveaxis(got, axis + 2, 0)
        filling = 0 if content == "zeros" or not bias else given[2].reshape(-1, 1, 1)
        rows[-extra[axis] :] = rows[-extra[axis] - 1] if content == "copies" else filling
    found = diagnosed(got, given, arguments)
    wanted = {"zeros": "rows of zeros", "bias alone": "rows of the bias alone", "copies": "replicate border of y"}[
        content
    ]
    assert found.cause == (wanted if bias or content != "bias alone" else "rows of zeros"), str(found)
    assert found.fix.startswith("y = tconv.conv_transpose(x, weight")
    if content != "copies":
        assert "those of output_padding" in str(found)


@pytest.mark.parametrize("sides", ["all", "axis 0", "axis 1", "front", "end", "front of axis 1"])
@pytest.mark.parametrize("mode", ["wrap", "reflect", "edge", "symmetric"])
@pytest.mark.parametrize("given_side", ["right", "wrong"])
def test_a_border_that_alone_differs(mode, sides, given_side):
    rng = np.random.default_rng(10)
    for ndim in (1, 2, 3):
        if ndim == 1 and "1" in sides:
            continue
        given = x, w, b = arrays(rng, (6, 7, 5)[:ndim], (5, 6, 5)[:ndim], bias=ndim != 2)
        arguments = {"stride": 2, "padding": 1}
        g = tconv.dialect("torch").geometry(kernel=w.shape[2:], **arguments)
        widths = []
        for axis in range(ndim):
            on = sides[-1] not in "01" or sides[-1] == str(axis)
            widths.append((2 * (on and sides != "end"), 2 * (on and not sides.startswith("front"))))
        padded = np.pad(x, ((0, 0), (0, 0), *widths), mode=mode)
        crop = [(lo + 2 * a, hi + 2 * b) for (lo, hi), (a, b) in zip(g.crop, widths, strict=True)]
        other = tconv.conv_transpose(padded, w, b, geometry=Geometry(g.kernel, g.stride, crop))
        y = tconv.conv_transpose(*given, **arguments)
        got, right = (other, y) if given_side == "right" else (y, other)
        found = diagnosed(got, given, arguments, right=right)
        name = {"wrap": "circular", "edge": "replicate"}.get(mode, mode)
        assert (f"{name} border",) in [finding.causes for finding in found.findings], str(found)
        assert mode == "symmetric" or found.cause == f"{name} border", str(found)
        assert found.fix
        where = {"all": "on all sides", "front of axis 1": "in front of spatial axis 1"}.get(sides, "spatial axis")
        assert ndim == 1 or where in str(found), str(found)


@pytest.mark.parametrize("mode", ["wrap", "reflect", "edge", "symmetric"])
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
def test_a_crop_that_is_added_back(mode, bias):
    """The gradient of a convolution with padding_mode is such a transposed convolution."""
    rng = np.random.default_rng(11)
    for n, kernel, axes in (
        ((7,), (5,), (0,)),
        ((6, 7), (5, 4), (0, 1)),
        ((6, 7), (5, 4), (1,)),
        ((4, 5, 4), (3, 5, 3), (0, 1, 2)),
    ):
        given = x, w, b = arrays(rng, n, kernel, bias=bias)
        arguments = {"stride": 1, "padding": 2 if len(n) < 3 else 1}
        p = arguments["padding"]
        folded = tconv.conv_transpose(x, w, stride=1, padding=[0 if a in axes else p for a in range(len(n))])
        for axis in axes:
            a = np.moveaxis(folded, axis + 2, 0)
            out = a[p:-p].copy()
            for place, source in enumerate(np.pad(np.arange(len(out)), p, mode=mode)):
                if not p <= place < len(a) - p:
                    out[source] += a[place]
            folded = np.moveaxis(out, 0, axis + 2)
        if b is not None:
            folded = folded + b.reshape(-1, *[1] * len(n))
        found = diagnosed(folded, given, arguments)
        name = {"wrap": "circular", "edge": "replicate"}.get(mode, mode)
        names = [finding.causes for finding in found.findings]
        assert {(f"{name} border added back",), (f"{name} border",)} & {*names}, str(found)


# -- the line ---------------------------------------------------------------------------------------------------------


def test_the_line_for_a_call_that_describes_neither_output():
    """Its arrays are those that were given: what has to be changed in them first stands in the line."""
    rng, run = np.random.default_rng(12), 0
    for bias in (False, True):
        given = x, w, b = arrays(rng, (6, 7), (3, 3), channels=(4, 4), bias=bias)
        arguments = {"stride": 2, "padding": 1, "output_padding": (0, 1)}
        assumed = {
            "kernel flipped": (x, w[:, :, ::-1, ::-1], b),
            "x channels reversed": (x[:, ::-1], w, b),
            "x flipped on axis 0": (x[:, :, ::-1], w, b),
            "bias missing": (x, w, None),
            "offset per channel": (x, w, rng.standard_normal(4).astype("f")),
        }
        faults = {"padding": 0, "output_padding": 0, "stride": (1, 2)}
        for (name, right), part in product(assumed.items(), faults):
            if (b is None and name == "bias missing") or (b is not None and name == "offset per channel"):
                continue
            y = tconv.conv_transpose(*right, **arguments)
            got = tconv.conv_transpose(*right, **arguments | {part: faults[part]})
            found = diagnosed(got, given, arguments, right=y)
            assert found.verdict == "found", str(found)
            assert found.fix, str(found)
            run += found.fix.startswith("y =") or "; y =" in found.fix
            scope = {"np": np, "tconv": tconv, "x": x, "weight": w, **({} if b is None else {"bias": b})}
            exec(found.fix, scope)
            np.testing.assert_allclose(scope["y"], y, rtol=1e-4, atol=1e-4, err_msg=found.fix)
    assert run == 24


def test_no_line_reads_a_bias_that_was_not_given():
    """Random faults of calls without a bias: every name in the line was given, or is explained in the documents."""
    rng, run = np.random.default_rng(13), 0
    while run < 75:
        name, call, got = random_fault(rng)
        if "bias" in name:
            continue
        column = call.bias.reshape(-1, *[1] * (call.y.ndim - 2))
        plain = call._replace(bias=None)
        outputs = got - column if name[0] != "y" and "rows" not in name else got, plain.y
        for one, other in (outputs, outputs[::-1]):
            found = tconv.diagnose(one, other, x=call.x, weight=call.w, **call.arguments)
            run += bool(found.fix)
            names = {*compile(found.fix, "fix", "exec").co_names} if found.fix else set()
            assert "bias" not in names or found.fix.index("bias") < found.fix.index("="), found.fix
            assert "weight, bias, gamma" not in found.fix
