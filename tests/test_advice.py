"""Advice that errors print is typed: the proposed arguments and expressions must remove the error that proposes them."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter

import ml_dtypes
import numpy as np
import pytest

import tconv
from test_messages import CASES, JUNK, small_call

_ENDS = re.compile(r", for example|, or |; |, which|, whose|, that|, the |: | for | with | to |, as |, and | or |$")


def typed(message, given):
    """Return the call's arguments as the last advice of a message proposes them; None for advice in words."""
    advice = re.split(r"\b(?:Write|Use)\b ", message)[-1]
    if alone := re.match(r"(\w+)= alone", advice):
        arrays = ("x", "weight", "bias", alone[1])
        return {name: value for name, value in given.items() if name in arrays}
    if lines := re.match(r"x = (.+?\)), (?:of a tensor .+?, )?the call without (\w+)=, and y = ", advice):
        changed = {name: value for name, value in given.items() if name != lines[2]}
        return changed | {"x": eval(lines[1], {"np": np, "x": given["x"]})}
    if without := re.match(r"(?:the call|[\w.]+\(\.\.\.\)) without (\w+)=", advice):
        return {name: value for name, value in given.items() if name != without[1]}
    for end in sorted({match.start() for match in _ENDS.finditer(advice)}, reverse=True):
        code = advice[:end]
        for form in dict.fromkeys((code.replace(" and ", ", "), code)):
            try:
                call = ast.parse(f"f({form})", mode="eval").body
            except SyntaxError:
                continue
            nodes = list(ast.walk(call))
            if any(isinstance(node, ast.Constant) and node.value is ... for node in nodes) or not isinstance(
                call, ast.Call
            ):
                continue
            if applied := _applied(call, given):
                return applied
    return None


def _applied(call, given):
    """Return the arguments with keywords set and with expressions of arrays evaluated; None for anything else."""
    scope, changed = {"np": np, "numpy": np, "tconv": tconv, "N": 1, "C_out": 3, "number": 1.0, **given}, dict(given)
    # a list is as good as an array, and its user knows that it has no methods
    scope |= {
        key: np.asarray(given[key]) for key in ("x", "weight", "w") if isinstance(given.get(key), (list, bool, float))
    }
    for keyword in call.keywords:
        changed[keyword.arg] = eval(ast.unparse(keyword.value), scope)
    for expression in call.args:
        used = [node.id for node in ast.walk(expression) if isinstance(node, ast.Name) and node.id in given]
        source = ast.unparse(expression)
        if isinstance(expression, ast.Name) or not used:
            return None
        changed[used[0]] = eval(source, scope)
    return changed if call.keywords or call.args else None


def same(a, b):
    """Return True if both are the same set of arguments."""
    return a.keys() == b.keys() and all(a[key] is b[key] or repr(a[key]) == repr(b[key]) for key in a)


def follow(function, given, tally):
    """Type the advice of a call's errors until it runs or words follow.

    Raises AssertionError if the same error returns, or an error that is not tconv's.
    """
    seen = []
    for _ in range(6):
        try:
            function(**given)
        except tconv.TconvError as error:
            message = str(error)
        else:
            tally["runs" if seen else "no error"] += 1
            return
        assert message not in seen, f"typed in vain: {message} {given if len(repr(given)) < 2000 else given.keys()}"
        seen.append(message)
        try:
            following = typed(message, given)
        except Exception as error:
            raise AssertionError(f"cannot be typed ({error!r}): {message}") from error
        if following is None:
            tally["words"] += 1
            tally[f"words: {message[-80:]}"] += 0
            return
        given = following
    raise AssertionError(f"no end: {seen}")


@pytest.mark.parametrize("case", CASES, ids=[case[3][:60] for case in CASES])
def test_the_advice_of_every_listed_message(case):
    _, arrays, arguments, _ = case
    if sum(getattr(array, "size", 0) for array in arrays) > 1e6:
        pytest.skip("the array is not in memory")
    given = dict(zip(("x", "weight", "bias"), arrays, strict=False)) | arguments
    follow(tconv.conv_transpose, given, Counter())


def is_expensive(value):
    """Return True for numbers with which a call that is valid would compute for long."""
    return "10000000" in repr(value)


@pytest.mark.parametrize("name", tconv.dialects.names())
def test_the_advice_for_invalid_arguments_of_every_dialect(name):
    dialect, tally = tconv.dialect(name), Counter()
    x, w, arguments = small_call(name)
    for argument in [*dialect.argument_names(), "padding_mode", "data_format", "kernel_size", "output_size", "bogus"]:
        for junk in JUNK:
            value = junk() if type(junk) is type(lambda: 0) else junk
            if type(value).__name__ in ("generator", "map") or is_expensive(value):
                continue
            given = {"x": x, "weight": w, "dialect": name, **arguments, argument: value}
            follow(tconv.plan, given, tally)
    assert tally["runs"] > 40, tally


W = np.random.default_rng(0).integers(1, 5, (4, 3, 4, 4)).astype("f4")
NUMBERS = np.ones(3, "f4")
FUNCTIONS = {
    "Geometry": (tconv.Geometry, {"kernel": (3, 3), "stride": 2, "crop": 0, "dilation": 1, "groups": 1}),
    "output_shape": (tconv.Geometry((3, 3)).output_shape, {"input_shape": (4, 4)}),
    "conv_shape": (tconv.Geometry((3, 3)).conv_shape, {"output_shape": (4, 4)}),
    "checkerboard": (
        tconv.checkerboard,
        {
            "weight": W,
            "stride": 2,
            "mean": None,
            "geometry": None,
            "pixel_shuffle": None,
            "channel_order": None,
            "sample_rate": None,
        },
    ),
    "checkerboard of a pixel shuffle": (
        tconv.checkerboard,
        {"weight": np.ones((8, 3, 4, 4)), "pixel_shuffle": 2, "channel_order": "CRD", "dilation": 1},
    ),
    "checkerboard of one axis": (tconv.checkerboard, {"weight": W[..., 0], "stride": 2, "sample_rate": 8000}),
    "equalise": (tconv.artifacts.equalise, {"weight": W, "stride": 2, "geometry": None, "pixel_shuffle": None}),
    "icnr": (tconv.artifacts.icnr, {"weight": W, "stride": 2}),
    "fold_batchnorm": (
        tconv.fold_batchnorm,
        {
            "weight": W,
            "bias": NUMBERS,
            "gamma": NUMBERS,
            "beta": NUMBERS,
            "mean": NUMBERS,
            "variance": NUMBERS,
            "eps": 1e-5,
            "groups": 1,
        },
    ),
    "scale_channels": (tconv.scale_channels, {"weight": W, "scales": NUMBERS, "groups": 1}),
    "channel_scales": (tconv.channel_scales, {"weight": W, "bits": 8, "groups": 1}),
    "convert": (tconv.convert, {"weight": W, "source": "torch", "target": "keras", "groups": 1, "layers": None}),
    "matrix": (tconv.matrix, {"weight": W, "input_shape": (4, 5, 5), "stride": 2}),
    "linear_operator": (tconv.linear_operator, {"weight": W, "input_shape": (4, 5, 5), "stride": 2}),
    "initializers.bilinear": (tconv.initializers.bilinear, {"shape": (4, 4, 4, 4), "stride": 2, "groups": 1}),
    "initializers.icnr": (tconv.initializers.icnr, {"shape": (4, 4, 4, 4), "stride": 2, "groups": 1, "draw": None}),
    "solve": (tconv.solve, {"input": (4, 4), "output": (8, 8), "kernel": 4, "stride": 2, "dilation": 1}),
    "prepare": (
        tconv.prepare,
        {"weight": W, "bias": NUMBERS, "stride": 2, "method": "auto", "activation": None, "geometry": None},
    ),
    "conv": (tconv.conv, {"x": np.ones((1, 3, 8, 8), "f4"), "weight": W, "stride": 2}),
    "definition.scatter": (
        tconv.definition.scatter,
        {"x": np.ones((4, 4)), "w": np.ones((3, 3)), "stride": 2, "padding": 0},
    ),
}
VALUES = [
    "abc", b"ab", 1.5, -1, 0, 7, True, None, 1j, {1, 2}, {"a": 1}, ..., object(), int, slice(2), np.float32(2),
    np.array([1.5, 2]), np.ones((2, 2)), np.array(["a", "b"]), [], [[]], [None, 2], ["a", "b"], [1, 2, 3, 4, 5, 6, 7],
    np.ones((4, 3, 4, 4), int), np.ones((4, 3, 4, 4), bool), np.ones((4, 3, 4, 4), "f2"), np.ones((4, 3, 4, 4), "c8"),
    np.full((4, 3, 4, 4), np.nan, "f4"), np.ones((4, 3, 4, 4), ml_dtypes.bfloat16), np.ones((3, 4, 4), "f4"), [NUMBERS, NUMBERS],
    np.ones((1, 3), "f4"), np.ones((3, 1), int), -NUMBERS, np.ones(3, "u1"), np.ones(4), np.float64(np.inf),
]  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_advice_of_every_function(name):
    function, arguments = FUNCTIONS[name]
    function(**arguments)
    tally = Counter()
    takes_any = any(each.kind is each.VAR_KEYWORD for each in inspect.signature(function).parameters.values())
    for argument in [*arguments, *(["bogus"] if takes_any else [])]:
        for value in VALUES:
            if argument != "draw" or not callable(value):  # its own errors are those of the function that is given
                follow(function, {**arguments, argument: value}, tally)
    print(tally)
    assert tally["runs"] > 5, tally


LINES = re.compile(r"Write (x = .+?\)), (?:of a tensor (.+?), )?the call without \w+=, and (y = .+)$")


def line_by_line(x, w, **arguments):
    """Return the output of the lines that the error of a call proposes."""
    with pytest.raises(tconv.TconvError) as refusal:
        tconv.conv_transpose(x, w, **arguments)
    names = ("padding_mode", "data_format")
    rest = {name: value for name, value in arguments.items() if name not in names}
    lines = LINES.search(str(refusal.value))
    if lines is None:
        assert re.search(r"Write the call without \w+=($|, as this kernel does not reach beyond x)", str(refusal.value))
        return tconv.conv_transpose(x, w, **rest)
    scope = {"np": np, "x": x}
    exec(lines[1], scope)
    scope["y"] = tconv.conv_transpose(scope["x"], w, **rest)
    exec(lines[3], scope)
    return scope["y"]


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(
    ("mode", "numpy_mode"),
    [("circular", "wrap"), ("reflect", "reflect"), ("replicate", "edge"), ("zeros", "constant"), ("Zeros", "constant")],
)
def test_the_lines_for_a_padding_mode_give_its_numbers(mode, numpy_mode, ndim):
    """The reference is an x that is continued far beyond its ends, of whose output the part of x is cut out."""
    rng, far = np.random.default_rng(ndim), 12
    for _ in range(40):
        k, s, d, p = (tuple(map(int, rng.integers(lo, hi, ndim))) for lo, hi in ((1, 5), (1, 4), (1, 3), (0, 3)))
        extra = tuple(int(rng.integers(0, max(pair))) for pair in zip(s, d, strict=True))
        x = rng.integers(-9, 9, (1, 2, *rng.integers(3, 7, ndim))).astype("f8")
        w = rng.integers(-9, 9, (2, 3, *k)).astype("f8")
        arguments = {"stride": s, "padding": p, "output_padding": extra, "dilation": d}
        g = tconv.dialect("torch").geometry(kernel=k, **arguments)
        if min(g.full_shape(x.shape[2:])[axis] - sum(g.crop[axis]) for axis in range(ndim)) < 1:
            continue
        crop = [(lo + step * far, hi + step * far) for step, (lo, hi) in zip(s, g.crop, strict=True)]
        continued = np.pad(x, [(0, 0)] * 2 + [(far, far)] * ndim, numpy_mode)
        expected = tconv.conv_transpose(continued, w, geometry=tconv.Geometry(k, s, crop, d))
        assert np.array_equal(line_by_line(x, w, padding_mode=mode, **arguments), expected)


@pytest.mark.parametrize("name", tconv.dialects.names())
def test_the_lines_for_a_data_format_give_its_numbers(name):
    speaker, rng = tconv.dialect(name), np.random.default_rng(5)
    arguments = {"jax": {"strides": (2, 2), "padding": "VALID"}, "openvino": {"strides": [2, 2]}}.get(name, {})
    if (speaker.layout_arguments and "data_format" in speaker.layout_arguments) or name in ("jax", "tflite"):
        pytest.skip("the dialect has such an argument, or needs an output size in its own order")
    layout = speaker.data_layout(2, 3 if speaker.data_patterns == ("C*",) else 4)
    size = {"N": 1, "C": 2, "I": 2, "O": 3, 0: 4, 1: 5, "G": 1}
    x = rng.integers(-9, 9, [size[axis] for axis in layout.axes]).astype("f8")
    w = rng.integers(-9, 9, [size.get(axis, 3) for axis in speaker.weight_layout(2).axes]).astype("f8")
    expected = tconv.conv_transpose(x, w, dialect=name, **arguments)
    channels, spatial = layout.axes.index("C"), [axis for axis, kind in enumerate(layout.axes) if isinstance(kind, int)]
    batch = [axis for axis, kind in enumerate(layout.axes) if kind == "N"]
    last, first = [*batch, *spatial, channels], [*batch, channels, *spatial]
    for text, order in (("NHWC", last), ("channels_last", last), ("NCHW", first), ("channels_first", first)):
        text = text if batch or "chan" in text else text[1:]
        got = line_by_line(x.transpose(order), w, dialect=name, data_format=text, **arguments)
        assert np.array_equal(got, expected.transpose(order)), (name, text)
