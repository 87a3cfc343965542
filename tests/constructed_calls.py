"""Calls, weights, networks and exports of the kinds that users have, with the answers that they need.

Integers of two types, numbers of a BatchNorm, negative pads, layers and models of the frameworks, rows of a network in
pieces, shapes of other libraries, and the advice of error messages, which is run as it is printed. Cases that load a
framework run in a process of their own.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import numpy as np

import tconv
from constructed_cases import case, described, find, normal, per_channel, scatter, torch
from constructed_pictures import command
from tconv import Geometry, TconvError
from tconv.models import Convolution, Network, Node, Sum


def process(code, folder, **variables):
    """Run Python text in this folder in a process of its own, which has to succeed; return what it printed."""
    paths = [str(Path(tconv.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    (folder / "script.py").write_text(textwrap.dedent(code))  # TorchScript reads the source of modules
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "script.py"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


# -- eps --------------------------------------------------------------------------------------------------------------


def normed(y, rng, eps, gamma=None):
    """Return y behind a BatchNorm of small variances in inference, with this eps."""
    C = y.shape[1]
    gamma = rng.uniform(0.5, 2, C) if gamma is None else gamma
    variance, mean, beta = 10 ** rng.uniform(-4, -1, C), rng.standard_normal(C), rng.standard_normal(C)
    scale = gamma / np.sqrt(variance + eps)
    return (per_channel(scale, 2) * (y - per_channel(mean, 2)) + per_channel(beta, 2)).astype(np.float32)


EPS = r"\beps\b|epsilon"


@case("eps")
def two_outputs_that_differ_by_eps(rng, folder):
    x, w, b = normal(rng, (2, 3, 7, 6), (3, 6, 3, 3), 6)
    y = torch(x, w, b, stride=2)
    got, expected = (normed(y, np.random.default_rng(7), eps) for eps in (1e-5, 1e-3))
    for call in ({"x": x, "weight": w, "bias": b, "stride": 2}, {}):
        found = tconv.diagnose(got, expected, **call)
        assert re.search(EPS, str(found)), str(found)


@case("eps")
def a_folded_weight_with_another_eps(rng, folder):
    x, w = normal(rng, (2, 3, 7, 6), (3, 6, 3, 3))
    variance, gamma = 10 ** rng.uniform(-4, -1, 6), rng.uniform(0.5, 2, 6)
    beta, mean = rng.standard_normal((2, 6))

    def folded(eps):
        scale = gamma / np.sqrt(variance + eps)
        return (w * scale.reshape(1, -1, 1, 1)).astype("f"), (beta - scale * mean).astype("f")

    right, wrong = folded(1e-3), folded(1e-5)
    got, expected = torch(x, *wrong, stride=2), torch(x, *right, stride=2)
    found = tconv.diagnose(got, expected, x=x, weight=right[0], bias=right[1], stride=2)
    assert found.findings, str(found)
    assert re.search(EPS, str(found)), str(found)


def scales_are_no_eps(rng, scales):
    x, w, b = normal(rng, (2, 3, 7, 6), (3, 6, 3, 3), 6)
    y = torch(x, w, b, stride=2)
    found = tconv.diagnose(y * per_channel(np.float32(scales), 2), y, x=x, weight=w, bias=b, stride=2)
    assert found.cause is not None
    assert "scale" in found.cause, str(found)
    assert not re.search(EPS, str(found)), str(found)


@case("eps")
def scales_that_no_eps_explains(rng, folder):
    """Some channels are larger and some smaller: two eps change all channels one way."""
    scales_are_no_eps(rng, [0.4, 2.5, 0.7, 1.6, 3.1, 0.9])


@case("eps")
def scales_beyond_any_eps(rng, folder):
    """All channels are larger by 30 times and more, which eps of 1e-3 against 1e-5 cannot do."""
    scales_are_no_eps(rng, [40, 35, 90, 61, 77, 38])


DEFAULT_EPS = {
    "torch": 1e-5, "keras": 1e-3, "tensorflow": 1e-3, "flax": 1e-5, "haiku": 1e-5, "equinox": 1e-5, "paddle": 1e-5,
    "mlx": 1e-5, "tinygrad": 1e-5, "onnx": 1e-5, "onnxruntime": 1e-5,
}  # fmt: skip
"""eps of each framework's BatchNorm where none is given, from its signature; ONNX's from its specification."""


def folded_with_the_default_of(dialect):
    def build(rng, folder):
        (w,) = normal(rng, (3, 4, 3, 3))
        native = tconv.convert(w, source="torch", target=dialect)
        gamma, beta, mean, bias = rng.standard_normal((4, 4))
        variance = np.array([0.005, 2e-4, 0.7, 3e-5])
        scale = gamma / np.sqrt(variance + DEFAULT_EPS[dialect])
        weight, shift = tconv.fold_batchnorm(native, bias, gamma, beta, mean, variance, dialect=dialect)
        right = tconv.convert((w * scale.reshape(1, -1, 1, 1)).astype(np.float32), source="torch", target=dialect)
        np.testing.assert_allclose(weight, right, rtol=1e-5)
        np.testing.assert_allclose(shift, beta + scale * (bias - mean), rtol=1e-4)

    build.__name__ = f"default_of_{dialect}"
    return build


for _dialect in DEFAULT_EPS:
    case("eps")(folded_with_the_default_of(_dialect))


# -- negative pads of an ONNX node ------------------------------------------------------------------------------------


@case("negative pads")
def read_for_what_they_are(rng, folder):
    g = tconv.dialect("onnx").geometry(kernel=(2, 2), input=(5, 5), strides=[4, 4], pads=[-1, -1, -1, -1])
    assert g.crop == ((-1, -1), (-1, -1))
    x, w = normal(rng, (1, 3, 5, 4), (3, 2, 2, 3))
    y = tconv.conv_transpose(x, w, dialect="onnx", strides=[4, 3], pads=[-1, 0, -2, 1])
    np.testing.assert_allclose(y, scatter(x, w, stride=(4, 3), crop=[(-1, -2), (0, 1)]), atol=1e-5)


@case("negative pads")
def the_crop_of_tensorflow_is_named(rng, folder):
    """A converter wrote the pads of SAME in halves; TensorFlow's rows are all behind."""
    x, w, b = normal(rng, (1, 3, 5, 6), (3, 4, 2, 2), 4)
    expected = scatter(x, w, b, stride=4, crop=[(0, -2), (0, -2)]).astype(np.float32)
    got = scatter(x, w, b, stride=4, crop=-1).astype(np.float32)
    arguments = {"dialect": "onnx", "strides": [4, 4], "pads": [-1, -1, -1, -1]}
    found = tconv.diagnose(got, expected, x=x, weight=w, bias=b, **arguments)
    assert found.verdict == "found", str(found)
    assert re.search(r"TensorFlow|Keras|\(0, -2\)|0, 0, -2, -2", described(found) + found.fix), str(found)
    if found.fix:
        names = {name: import_module(name) for name in ("onnx", "onnx.reference", "onnxruntime") if name in found.fix}
        scope = {"np": np, "tconv": tconv, "x": x, "weight": w, "bias": b, "y": got, **names}
        exec(found.fix, scope)
        np.testing.assert_allclose(scope["y"], expected, atol=1e-4)


@case("negative pads")
def pads_of_a_signal(rng, folder):
    x, w = normal(rng, (1, 3, 9), (3, 4, 2))
    expected = scatter(x, w, stride=5, crop=[(0, -3)]).astype(np.float32)
    got = scatter(x, w, stride=5, crop=[(-1, -2)]).astype(np.float32)
    found = tconv.diagnose(got, expected, x=x, weight=w, dialect="onnx", strides=[5], pads=[-1, -2])
    assert found.verdict == "found", str(found)
    assert re.search(r"TensorFlow|Keras|\(0, -3\)|0, -3", described(found) + found.fix), str(found)


# -- listed faults ----------------------------------------------------------------------------------------------------


def listed(*patterns):
    from tconv.dialects.faults import FAULTS

    texts = [" ".join([f.name, *f.dialects, getattr(f, "effect", "") or ""]) for f in FAULTS.values()]
    assert any(all(re.search(p, text, re.IGNORECASE) for p in patterns) for text in texts), texts


@case("listed faults")
def the_int8_engine_of_torch(rng, folder):
    listed("torch", "int8|quantiz", "x86")


@case("listed faults")
def the_gradient_of_mlx(rng, folder):
    listed("mlx", "gradient", "output_padding")


@case("listed faults")
def the_weight_that_the_int8_engine_reads(rng, folder):
    """int8 arrays as numbers, the weight's channels reshaped, C_in != C_out."""
    x, w = rng.integers(-127, 128, (1, 6, 7, 5)), rng.integers(-127, 128, (6, 4, 3, 3))
    given = (x.astype(np.float32), w.astype(np.float32), None)
    stored = np.ascontiguousarray(given[1].transpose(1, 0, 2, 3))
    own, arguments = (given[0], stored.reshape(6, 4, 3, 3), None), {"stride": 2}
    find(
        given, arguments, lambda x, w, b: torch(x, w, b, **arguments), "weight", "reshap|layout|memory", own=own,
        names={"stored": stored},
    )  # fmt: skip


# -- integers ---------------------------------------------------------------------------------------------------------


def integers(rng, dtype, *shape):
    bounds = np.iinfo(dtype)
    return rng.integers(max(bounds.min, -(2**40)), min(bounds.max, 2**40), shape, dtype=np.int64).astype(dtype)


def mixed_integers(first, second, *, groups=1):
    """Return a case in which x and weight are integers of two types: the sums are exact, in int64."""

    def build(rng, folder):
        x, w = integers(rng, first, 1, 4, 6, 5), integers(rng, second, 4, 3, 3, 2)
        y = tconv.conv_transpose(x, w, stride=2, groups=groups)
        assert y.dtype == np.int64
        np.testing.assert_array_equal(y, scatter(x, w, stride=2, groups=groups))

    build.__name__ = f"{np.dtype(first).name}_x_and_{np.dtype(second).name}_weight" + "_in_groups" * (groups > 1)
    return build


for _first, _second in (("u1", "i1"), ("i1", "u1"), ("u1", "i2"), ("i2", "i1"), ("i4", "u1"), ("u2", "i4")):
    case("integers")(mixed_integers(_first, _second))
case("integers")(mixed_integers("u1", "i1", groups=2))


@case("integers")
def a_bias_of_int32_beside_bytes(rng, folder):
    """As TFLite has it: x and weight of one byte, the bias of four."""
    x, w, b = integers(rng, "u1", 1, 3, 6, 5), integers(rng, "i1", 3, 4, 3, 3), integers(rng, "i4", 4)
    y = tconv.conv_transpose(x, w, b, stride=2)
    np.testing.assert_array_equal(y, scatter(x, w, b.astype(np.int64), stride=2))


@case("integers")
def a_prepared_layer_of_int8(rng, folder):
    x, w = integers(rng, "u1", 1, 3, 6, 5), integers(rng, "i1", 3, 4, 3, 3)
    layer = tconv.prepare(w, stride=2)
    for _ in range(2):
        np.testing.assert_array_equal(layer(x), scatter(x, w, stride=2))
    np.testing.assert_array_equal(layer(x.astype(np.int8)), scatter(x.astype(np.int8), w, stride=2))


@case("integers")
def the_adjoint_of_two_types(rng, folder):
    """<conv(y), x> = <y, conv_transpose(x)>, exactly."""
    x, w = integers(rng, "u1", 1, 3, 6, 5), integers(rng, "i1", 3, 4, 3, 3)
    y = integers(rng, "i2", *tconv.conv_transpose(x.astype("i8"), w.astype("i8"), stride=2).shape)
    back = tconv.conv(y, w, stride=2)
    wide = scatter(x, w, stride=2)
    assert int((back.astype(np.int64) * x).sum()) == int((y.astype(np.int64) * wide).sum())


def follow(message, **arrays):
    """Return the arrays after the advice "Write ... and ..." of a message was typed as it is printed."""
    advice = message.rpartition("Write ")[2]
    for statement in re.findall(r"np\.asarray\(\w+, [\w.]+\)|\b\w+\.astype\([\w.]+\)", advice):
        (name,) = {each for each in re.findall(r"\w+", statement) if each in arrays}
        arrays[name] = eval(statement, {"np": np, **arrays})
    return arrays


def lossless_advice(x_dtype, w_dtype, b_dtype=None):
    """Return a case in which x and weight of two types give the right numbers, at once or after the advice."""

    def build(rng, folder):
        x, w = ((integers(rng, t, *s) if np.dtype(t).kind in "iu" else (3 * rng.standard_normal(s)).astype(t))
                for t, s in ((x_dtype, (1, 3, 6, 5)), (w_dtype, (3, 4, 3, 3))))  # fmt: skip
        arrays = {"x": x, "weight": w}
        if b_dtype:
            arrays["bias"] = (100 * rng.standard_normal(4)).astype(b_dtype)
        expected = scatter(x.astype(np.float64), w.astype(np.float64), arrays.get("bias"), stride=2)
        for call in (tconv.conv_transpose, lambda x, weight, bias=None, **k: tconv.prepare(weight, bias, **k)(x)):
            given = dict(arrays)
            for _ in range(3):
                try:
                    y = call(**given, stride=2)
                    break
                except TconvError as error:
                    given = follow(str(error), **given)
            else:
                raise AssertionError("three pieces of advice did not lead to a result")
            assert np.abs(y - expected).max() <= 1e-4 * np.abs(expected).max(), np.abs(y - expected).max()

    names = [np.dtype(t).name for t in (x_dtype, w_dtype, b_dtype) if t]
    build.__name__ = "_and_".join(names)
    return build


for _types in (
    ("u1", "f4"),
    ("f4", "i1"),
    ("i2", "f8"),
    ("f2", "f4"),
    ("u1", "u1", "f4"),
    ("i1", "i1", "f8"),
    ("f4", "f4", "i4"),
    ("i8", "f4"),
):
    case("integers")(lossless_advice(*_types))


@case("integers", slow=True)
def integers_of_torch(rng, folder):
    process(
        """
        import re, numpy as np, torch, tconv
        x = torch.randint(0, 256, (1, 3, 6, 5), dtype=torch.uint8)
        w = torch.randint(-128, 128, (3, 4, 3, 3), dtype=torch.int8)
        right = torch.nn.functional.conv_transpose2d(x.double(), w.double(), stride=2)
        y = tconv.conv_transpose(x, w, stride=2)
        assert y.dtype == torch.int64 and (y == right).all()
        f = torch.randn(3, 4, 3, 3)
        right = torch.nn.functional.conv_transpose2d(x.double(), f.double(), stride=2)
        try:
            y = tconv.conv_transpose(x, f, stride=2)
        except tconv.TconvError as error:
            for line in str(error).rpartition("Write ")[2].rstrip(".").split(" and "):
                name = "f" if "weight" in line else "x"
                globals()[name] = eval(line, {"torch": torch, "x": x, "weight": f})
            y = tconv.conv_transpose(x, f, stride=2)
        assert (y - right).abs().max() < 1e-4 * right.abs().max()
        """,
        folder,
    )


# -- rows of a network in pieces --------------------------------------------------------------------------------------


def enlarging(rng, c_in, c_out, kernel, stride, crop, groups=1, activation="relu"):
    w = (rng.standard_normal((c_in, c_out // groups, *kernel)) / np.sqrt(c_in)).astype(np.float32)
    bias = rng.standard_normal(c_out).astype(np.float32)
    return Convolution(w, Geometry(kernel, stride, crop, 1, groups), bias, activation)


def ordinary(rng, c_in, c_out, kernel=(3, 3), padding=1, activation="relu"):
    w = (rng.standard_normal((c_out, c_in, *kernel)) / np.sqrt(9 * c_in)).astype(np.float32)
    return Convolution.ordinary(w, rng.standard_normal(c_out).astype(np.float32), padding, activation=activation)


def in_pieces(net, x, cuts, threads=(1, 2)):
    """Check that rows of the output have the same bits as a whole, in pieces, and on any number of threads."""
    before, wholes = tconv.get_num_threads(), []
    height = net.output_shape(x.shape[1:])[0]
    try:
        for number in threads:
            tconv.set_num_threads(number)
            whole = net.rows(x, 0, x.shape[1], slice(0, height))
            wholes.append(whole)
            for edges in cuts:
                edges = [0, *edges, height]
                parts = []
                for start, stop in itertools.pairwise(edges):
                    window = net.window(slice(start, stop), x.shape[1])
                    parts.append(net.rows(x[:, window], window.start, x.shape[1], slice(start, stop)))
                y = np.concatenate(parts, 1)
                assert np.array_equal(y, whole), f"cut at {edges}: {(y != whole).sum()} of {y.size} differ"
    finally:
        tconv.set_num_threads(before)
    assert all(np.array_equal(each, wholes[0]) for each in wholes)


@case("rows in pieces")
def one_wide_layer(rng, folder):
    x = rng.standard_normal((64, 100, 64)).astype(np.float32)
    in_pieces(Network([Node(enlarging(rng, 64, 64, (4, 4), 2, 1), (0,))]), x, [[90, 96], [1, 2, 199], [33, 100, 167]])


@case("rows in pieces")
def three_taps_at_stride_two(rng, folder):
    x = rng.standard_normal((48, 41, 50)).astype(np.float32)
    in_pieces(Network([Node(enlarging(rng, 48, 80, (3, 3), 2, 1), (0,))]), x, [[7], [40, 41], [3, 50, 79]])


@case("rows in pieces")
def taps_that_differ_between_axes(rng, folder):
    x = rng.standard_normal((64, 30, 66)).astype(np.float32)
    layer = enlarging(rng, 64, 48, (5, 4), (3, 2), [(1, 2), (1, 1)], activation=None)
    in_pieces(Network([Node(layer, (0,))]), x, [[11], [30, 31, 60]])


@case("rows in pieces")
def a_wide_layer_of_groups(rng, folder):
    x = rng.standard_normal((128, 40, 48)).astype(np.float32)
    in_pieces(Network([Node(enlarging(rng, 128, 128, (4, 4), 2, 1, groups=2), (0,))]), x, [[9], [37, 38]])


@case("rows in pieces")
def a_decoder_of_two_layers(rng, folder):
    x = rng.standard_normal((64, 24, 40)).astype(np.float32)
    nodes = [Node(enlarging(rng, 64, 64, (4, 4), 2, 1), (0,)), Node(enlarging(rng, 64, 32, (4, 4), 2, 1), (1,))]
    in_pieces(Network(nodes), x, [[13], [47, 50], [1, 95]])


@case("rows in pieces")
def convolutions_around_a_wide_layer(rng, folder):
    x = rng.standard_normal((32, 30, 45)).astype(np.float32)
    nodes = [
        Node(ordinary(rng, 32, 64), (0,)),
        Node(enlarging(rng, 64, 64, (4, 4), 2, 1), (1,)),
        Node(ordinary(rng, 64, 64), (2,)),
        Node(Sum(), (2, 3)),
        Node(ordinary(rng, 64, 3, activation=None), (4,)),
    ]
    in_pieces(Network(nodes), x, [[17], [29, 31, 52]])


@case("rows in pieces")
def a_stride_of_one_row(rng, folder):
    """Only the columns are enlarged: s < k <= 2s along them alone."""
    x = rng.standard_normal((64, 33, 40)).astype(np.float32)
    layer = enlarging(rng, 64, 64, (3, 4), (1, 2), [(1, 1), (1, 1)])
    in_pieces(Network([Node(layer, (0,))]), x, [[5], [16, 17, 18]])


@case("rows in pieces")
def strips_of_any_size(rng, folder):
    """One row at a time, and all at once."""
    x = rng.standard_normal((64, 9, 70)).astype(np.float32)
    in_pieces(Network([Node(enlarging(rng, 64, 64, (4, 4), 2, 1), (0,))]), x, [list(range(1, 18))])


@case("rows in pieces")
def a_random_draw_of_wide_layers(rng, folder):
    for _ in range(12):
        s = int(rng.integers(1, 4))
        k = int(rng.integers(s + 1, 2 * s + 1)) if s > 1 else int(rng.integers(2, 5))
        c_in, c_out = (16 * int(v) for v in rng.integers(1, 7, 2))
        x = rng.standard_normal((c_in, int(rng.integers(6, 30)), int(rng.integers(20, 70)))).astype(np.float32)
        crop = [(int(a), int(b)) for a, b in rng.integers(0, k // 2 + 1, (2, 2))]
        net = Network([Node(enlarging(rng, c_in, c_out, (k, k), s, crop), (0,))])
        height = net.output_shape(x.shape[1:])[0]
        cuts = [sorted({int(v) for v in rng.integers(1, height, 3)}) for _ in range(2)]
        in_pieces(net, x, cuts, threads=(2,))


# -- shapes of other libraries ----------------------------------------------------------------------------------------


USES = """
import tconv
g = tconv.Geometry((4, 3), 2, 1)
for n in shapes:
    assert g.output_shape(n) == g.output_shape((5, 7)), g.output_shape(n)
    assert all(type(v) is int for v in g.output_shape(n))
    torch, keras = tconv.dialect("torch"), tconv.dialect("keras")
    assert torch.arguments(g, n) == torch.arguments(g, (5, 7))
    right = keras.geometry(kernel=(5, 7), input=(5, 7), strides=2, padding="same")
    assert keras.geometry(kernel=n, input=n, strides=2, padding="same") == right
    w = [[1.0, 2.0], [3.0, 4.0]]
    assert tconv.linear_operator(w, n, stride=2).shape == tconv.linear_operator(w, (5, 7), stride=2).shape
    assert tconv.Geometry(n).kernel == (5, 7)
    sizes = {"output": (10, 14), "kernel": 3, "stride": 2}
    assert tconv.solve(input=n, **sizes)[0] == tconv.solve(input=(5, 7), **sizes)[0]
"""
"""Uses of a shape (5, 7), in each of `shapes`."""


def shape_case(name, code):
    """Add a case that uses the shapes of a library, in a process of its own."""

    def build(rng, folder):
        process(f"{code}\n{USES}", folder)

    build.__name__ = name
    case("shapes", slow=True)(build)


shape_case(
    "of_tensorflow",
    "import tensorflow as tf\nx = tf.zeros((5, 7))\nshapes = x.shape, tf.zeros((2, 5, 7, 3)).shape[1:3], tf.shape(x)",
)
shape_case("of_torch", "import torch\nshapes = torch.zeros(5, 7).shape, torch.tensor([5, 7])")
shape_case("of_jax", "import jax.numpy as jnp\nshapes = jnp.array([5, 7]), jnp.zeros((5, 7)).shape")
shape_case("of_paddle", "import paddle\nshapes = paddle.zeros([5, 7]).shape, paddle.shape(paddle.zeros([5, 7]))")
shape_case("of_mlx", "import mlx.core as mx\nshapes = mx.zeros((5, 7)).shape, mx.array([5, 7])")
shape_case("of_openvino", "import openvino as ov\nshapes = ov.Shape([5, 7]), ov.PartialShape([5, 7])")
shape_case("of_numpy", "import numpy as np\nshapes = [np.int32(5), np.uint8(7)], np.array([5, 7]), range(5, 8, 2)")


@case("shapes", slow=True)
def of_unknown_size(rng, folder):
    text = process(
        """
        import tensorflow as tf, tconv
        for n in (tf.TensorShape([None, 7]), tf.TensorShape(None)):
            try:
                tconv.Geometry((4, 3), 2, 1).output_shape(n)
            except tconv.TconvError as error:
                print(error)
        x = tf.zeros((1, 5, 7, 3))
        w = tf.zeros((3, 3, 2, 3))
        shape = tf.TensorShape([1, 10, 14, 2])
        y = tconv.conv_transpose(x, w, dialect="tensorflow", output_shape=shape, strides=2, padding="SAME")
        assert y.shape == shape
        """,
        folder,
    )
    assert len(text.strip().splitlines()) == 2, text


# -- advice and layers ------------------------------------------------------------------------------------------------


def attempt(call):
    """Return the result of a call and "", or None and the message of its refusal."""
    try:
        return call(), ""
    except TconvError as error:
        return None, str(error)


@case("advice")
def an_input_shape_without_its_channels(rng, folder):
    """The advice about input_shape has the weight's own channels, and works."""
    (w,) = normal(rng, (2, 3, 3, 3))
    for given in (8, (8, 8), (1, 8, 8), (1, 2, 8, 8), (3, 8, 8)):
        found, message = attempt(lambda given=given: tconv.linear_operator(w, given))
        if found is not None:
            assert found.shape[1] in (2 * 8 * 8, 2 * np.prod(given)), f"{given}: {found.shape}"
            continue
        advice = re.search(r"input_shape=(\([\d, ]+\))", message)
        assert advice, f"{given}: {message}"
        shape = eval(advice[1])
        assert shape[0] == 2, f"{given}: {message}"
        assert tconv.linear_operator(w, shape).shape[1] == np.prod(shape)


@case("advice")
def kernel_and_bias_in_a_list(rng, folder):
    """layer.get_weights() of Keras."""
    kernel, bias = normal(rng, (3, 3, 4, 2), 4)
    found, message = attempt(lambda: tconv.convert([kernel, bias], source="keras", target="torch"))
    if found is None:
        assert "np.stack" not in message, message
        assert re.search(r"weight\[0\]|\[0\]|kernel", message), message
        return
    np.testing.assert_array_equal(found[0], tconv.convert(kernel, source="keras", target="torch"))
    np.testing.assert_array_equal(found[1], bias)


@case("advice")
def a_padding_mode(rng, folder):
    x, w = normal(rng, (1, 2, 5, 5), (2, 3, 3, 3))
    for mode in ("circular", "reflect", "replicate"):
        _, text = attempt(lambda mode=mode: tconv.conv_transpose(x, w, padding_mode=mode))
        assert not re.search(r"Write padding=\.?$", text), text
        assert re.search("zeros|np.pad|pad", text), text
    y, text = attempt(lambda: tconv.conv_transpose(x, w, padding_mode="zeros"))
    assert not re.search(r"Write padding=\.?$", text), text
    if y is not None:
        np.testing.assert_allclose(y, torch(x, w), atol=1e-4)


@case("advice")
def a_pickled_file(rng, folder):
    """A .pth that is no TorchScript is named for what it is, in few words of our own."""
    (folder / "a.pth").write_bytes(b"\x80\x02}q\x00(X\x01\x00\x00\x00wq\x01K\x01u.")
    (folder / "b.onnx").write_bytes(b"")
    _, text = command("diagnose", folder / "a.pth", folder / "b.onnx")
    text = text.replace(str(folder), "")
    assert "Traceback" not in text
    assert not re.search("weights_only|allowlist|torch.serialization|arbitrary code", text), text
    assert len(text) < 700, text


@case("advice")
def a_zip_that_is_cut_short(rng, folder):
    (folder / "a.pth").write_bytes(b"PK\x03\x04" + bytes(range(200)))
    (folder / "b.onnx").write_bytes(b"")
    _, text = command("diagnose", folder / "a.pth", folder / "b.onnx")
    assert "Traceback" not in text
    assert not re.search("weights_only|torch.serialization|miniz|PytorchStreamReader.*PytorchStreamReader", text), text
    assert len(text) < 700, text


@case("advice")
def a_number_for_a_tone(rng, folder):
    (w,) = normal(rng, (16, 8, 9))
    text = str(tconv.checkerboard(w, stride=4))
    assert re.search("tone|frequenc", text), text
    assert re.search(r"1/4|0\.25|/ ?4|period (of )?4|every 4", text), text


@case("advice")
def tones_of_a_stack(rng, folder):
    """Two layers of strides 4 and 2 have a period of 8 samples."""
    first, second = normal(rng, (16, 8, 8), (8, 1, 4))
    text = str(tconv.checkerboard([(first, {"stride": 4}), (second, {"stride": 2})]))
    assert re.search("tone|frequenc", text), text
    assert re.search(r"1/8|0\.125|/ ?8|period (of )?8|every 8", text), text


@case("layers of frameworks", slow=True)
def layers_of_torch(rng, folder):
    """checkerboard and convert take the layer itself, with its stride and groups."""
    process(
        """
        import numpy as np, torch, tconv
        torch.manual_seed(0)
        for layer, spec in (
            (torch.nn.ConvTranspose2d(4, 6, 4, 2, 1), {"stride": 2, "padding": 1}),
            (torch.nn.ConvTranspose1d(4, 6, 9, 4, 2, groups=2), {"stride": 4, "padding": 2, "groups": 2}),
            (torch.nn.ConvTranspose3d(2, 3, 3, (1, 2, 2)), {"stride": (1, 2, 2)}),
        ):
            found = tconv.checkerboard(layer)
            right = tconv.checkerboard(layer.weight.detach().numpy(), **spec)
            assert abs(found.score - right.score) < 1e-6, (found, right)
            groups = layer.groups
            converted = tconv.convert(layer, source="torch", target="mlx")
            kernel = converted[0] if isinstance(converted, (tuple, list)) else converted
            right = tconv.convert(layer.weight.detach().numpy(), source="torch", target="mlx", groups=groups)
            assert np.array_equal(np.asarray(kernel), right)
        """,
        folder,
    )


@case("layers of frameworks", slow=True)
def layers_of_keras(rng, folder):
    process(
        """
        import keras, numpy as np, tconv
        layer = keras.layers.Conv2DTranspose(5, 4, strides=2, padding="same")
        layer.build((None, 8, 8, 3))
        kernel = keras.ops.convert_to_numpy(layer.kernel)
        right = tconv.checkerboard(kernel, dialect="keras", strides=2, padding="same")
        for found in (tconv.checkerboard(layer), tconv.checkerboard(layer, dialect="keras")):
            assert abs(found.score - right.score) < 1e-6
        converted = tconv.convert(layer, source="keras", target="torch")
        converted = converted[0] if isinstance(converted, (tuple, list)) else converted
        assert np.array_equal(np.asarray(converted), tconv.convert(kernel, source="keras", target="torch"))
        """,
        folder,
        KERAS_BACKEND="torch",
    )


@case("layers of frameworks", slow=True)
def a_pixel_shuffle(rng, folder):
    """Its score is that of the phases that its weight makes: gains of the output channels that become one channel."""
    process(
        """
        import inspect, numpy as np, torch, tconv
        torch.manual_seed(0)
        r, conv = 2, torch.nn.Conv2d(4, 3 * 4, 3, padding=1)
        w = conv.weight.detach().double().numpy()
        gains = w.sum((2, 3)).reshape(3, r * r, 4)                     # [C, phase, C_in]
        spread = gains - gains.mean(1, keepdims=True)
        right = np.sqrt((spread**2).sum() / (gains**2).sum())
        names = [name for name in inspect.signature(tconv.checkerboard).parameters if "shuffle" in name]
        found = []
        if names:
            found.append(tconv.checkerboard(conv.weight.detach().numpy(), **{names[0]: r}))
        try:
            found.append(tconv.checkerboard(torch.nn.Sequential(conv, torch.nn.PixelShuffle(r))))
        except tconv.TconvError as error:
            assert names, error
        assert found
        for each in found:
            assert abs(each.score - right) < 1e-6, (each.score, right)
        """,
        folder,
    )


# -- models and their exports -----------------------------------------------------------------------------------------

TORCH = """
import numpy as np, torch
from torch import nn
torch.manual_seed(0)
def export(model, *inputs, name="net.onnx"):
    torch.onnx.export(model.eval(), inputs, name, dynamo=True, verbose=False)
"""


def diagnosed(folder, first, second="net.onnx", *options, **variables):
    """Return what `tconv diagnose` prints for two networks; each call starts the frameworks of both."""
    arguments = ["diagnose", first, second, *options]
    return process(f"import sys, tconv.cli; sys.exit(tconv.cli.main({arguments}))", folder, **variables)


def causes(folder, first):
    """Return the causes that `tconv diagnose` names as JSON."""
    facts = json.loads(diagnosed(folder, first, "net.onnx", "--json"))
    return [each["cause"] for each in (facts if isinstance(facts, list) else [facts]) if each.get("cause")]


def check_equal(folder, first, second="net.onnx", **variables):
    text = diagnosed(folder, first, second, **variables)
    assert not re.search("^(cause|likely|fix) ", text, re.MULTILINE), text
    assert re.search("equal|agree", text), text


@case("exports", slow=True)
def a_batchnorm_that_the_exporter_folded(rng, folder):
    process(
        TORCH
        + """
net = nn.Sequential(nn.ConvTranspose2d(3, 5, 4, 2, 1), nn.BatchNorm2d(5), nn.ReLU())
net[1].running_mean.normal_(); net[1].running_var.uniform_(0.5, 2); net[1].weight.data.uniform_(0.5, 2)
x = torch.randn(1, 3, 8, 8)
export(net, x)
torch.export.save(torch.export.export(net, (x,)), "net.pt2")
""",
        folder,
    )
    check_equal(folder, "net.pt2")


@case("exports", slow=True)
def a_decoder_with_output_size(rng, folder):
    process(
        TORCH
        + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 3, 3, stride=2, padding=1)
    def forward(self, x):
        return self.up(torch.relu(self.down(x)), output_size=[x.shape[2], x.shape[3]])
net, x = Net().eval(), torch.randn(1, 3, 8, 8)
export(net, x)
torch.jit.script(net).save("net.pt")
""",
        folder,
    )
    check_equal(folder, "net.pt")


@case("exports", slow=True)
def weight_norm_of_both_kinds(rng, folder):
    process(
        TORCH
        + """
import warnings
warnings.simplefilter("ignore")
old = nn.Sequential(nn.utils.weight_norm(nn.ConvTranspose1d(4, 3, 8, 4, 2)), nn.LeakyReLU(0.1)).eval()
new = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.ConvTranspose1d(4, 3, 8, 4, 2)), nn.LeakyReLU(0.1)).eval()
x = torch.randn(1, 4, 12)
torch.jit.trace(old, x).save("old.pt")
torch.jit.trace(new, x).save("new.pt")
torch.export.save(torch.export.export(new, (x,)), "new.pt2")
export(old, x, name="old.onnx")
export(new, x, name="new.onnx")
""",
        folder,
    )
    for first, second in (("old.pt", "old.onnx"), ("new.pt", "new.onnx"), ("new.pt2", "new.onnx")):
        check_equal(folder, first, second)


@case("exports", slow=True)
def a_keras_model(rng, folder):
    process(
        """
        import keras, numpy as np
        keras.utils.set_random_seed(0)
        net = keras.Sequential([
            keras.Input((8, 8, 3)),
            keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Conv2DTranspose(2, 3, padding="same", dilation_rate=2),
            keras.layers.Conv2DTranspose(3, 4, strides=3, padding="valid", output_padding=1, activation="sigmoid"),
        ])
        for w in net.weights:
            w.assign(np.random.default_rng(w.shape[0]).standard_normal(w.shape))
        net(np.zeros((1, 8, 8, 3), "f"))
        net.save("net.keras")
        net.export("net.onnx", format="onnx", verbose=False)
        """,
        folder,
        KERAS_BACKEND="torch",
    )
    check_equal(folder, "net.keras", KERAS_BACKEND="torch")


@case("exports", slow=True)
def one_weight_of_an_export_is_wrong(rng, folder):
    """A second layer whose kernel is flipped in the ONNX file is blamed, and the first is not."""
    process(
        TORCH
        + """
import onnx
from onnx import numpy_helper
net = nn.Sequential(nn.ConvTranspose2d(3, 4, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), nn.Tanh())
x = torch.randn(1, 3, 8, 8)
export(net, x)
torch.jit.script(net.eval()).save("net.pt")
model = onnx.load("net.onnx")
for each in model.graph.initializer:
    if list(each.dims) == [4, 3, 3, 3]:
        flipped = np.ascontiguousarray(numpy_helper.to_array(each)[:, :, ::-1, ::-1])
        each.CopyFrom(numpy_helper.from_array(flipped, each.name))
onnx.save(model, "net.onnx")
""",
        folder,
    )
    assert causes(folder, "net.pt") == ["kernel flipped"]


def onnx_deconvolution(w, b, **attributes):
    """Return a model of one ConvTranspose node."""
    from onnx import TensorProto, helper, numpy_helper

    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], name="up", **attributes)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "net",
        [value("x", TensorProto.FLOAT, [1, w.shape[0], *[8] * (w.ndim - 2)])],
        [value("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def ncnn_files(folder, w, b, *, flip=False):
    """Write an ncnn network of one Deconvolution, kernel 4, stride 2, pad 1; its weight is [C_out, C_in, kh, kw]."""
    native = w.swapaxes(0, 1)
    native = native[..., ::-1, ::-1] if flip else native
    text = f"7767517\n2 2\nInput in0 0 1 in0\nDeconvolution up 1 1 in0 out0 0={w.shape[1]} 1=4 3=2 4=1 5=1 6={w.size}\n"
    (folder / "net.param").write_text(text)
    (folder / "net.bin").write_bytes(bytes(4) + np.ascontiguousarray(native).tobytes() + b.tobytes())


@case("exports", slow=True)
def a_file_of_ncnn(rng, folder):
    import onnx

    w, b = normal(rng, (3, 5, 4, 4), 5)
    onnx.save(onnx_deconvolution(w, b, strides=[2, 2], pads=[1, 1, 1, 1]), folder / "net.onnx")
    ncnn_files(folder, w, b)
    check_equal(folder, "net.param")
    assert causes(folder, "net.param") == []
    ncnn_files(folder, w, b, flip=True)
    assert causes(folder, "net.param") == ["kernel flipped"]


@case("exports", slow=True)
def a_file_of_tflite(rng, folder):
    process(
        """
        import numpy as np, onnx, tensorflow as tf, tconv, sys
        rng = np.random.default_rng(0)
        w, b = rng.standard_normal((3, 3, 4, 2)).astype("f"), rng.standard_normal(4).astype("f")
        @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 2), tf.float32)])
        def net(x):
            return tf.nn.relu(tf.nn.conv2d_transpose(x, w, (1, 16, 16, 4), 2, "SAME") + b)
        module = tf.Module()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([net.get_concrete_function()], module)
        open("net.tflite", "wb").write(converter.convert())
        from onnx import TensorProto, helper, numpy_helper
        value = helper.make_tensor_value_info
        weight = np.ascontiguousarray(w.transpose(3, 2, 0, 1))
        nodes = [
            helper.make_node("Transpose", ["x"], ["xt"], perm=[0, 3, 1, 2]),
            helper.make_node("ConvTranspose", ["xt", "w", "b"], ["c"], strides=[2, 2], pads=[0, 0, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Transpose", ["r"], ["y"], perm=[0, 2, 3, 1]),
        ]
        graph = helper.make_graph(
            nodes, "net", [value("x", TensorProto.FLOAT, [1, 8, 8, 2])], [value("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(b, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, "net.onnx")
        """,
        folder,
    )
    check_equal(folder, "net.tflite")
