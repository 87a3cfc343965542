"""Tests of repeated calls, changing weights and prepared layers: no cache is ever stale."""

import copy
import ctypes
import importlib.util
import itertools
import pickle
import re
import threading

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import tconv
from random_calls import problems
from random_calls.strategies import shaped
from tconv import Geometry, TconvError, _memory, kernels
from tconv.operator import call_cache, prepared

pytest.importorskip("llvmlite")

ARGUMENTS = {"stride": 2, "padding": 1}
METHODS = [name for name in kernels.names() if name != "winograd"]
"""Methods that run every layer here; tests of the other are in test_winograd_f22.py."""


def exact(x, w, bias=None, **arguments):
    """Return the result by another method, which has no cache."""
    return tconv.conv_transpose(x, w, bias, method="polyphase", **arguments)


def is_cached(x, w, bias=None, out=None, **arguments):
    """Return True if the call is in the cache of calls."""
    key = call_cache.key(
        x, w, bias, out, arguments.pop("dialect", "torch"), arguments.pop("geometry", None), "auto", arguments
    )
    return key in call_cache._calls


# -- weights ---------------------------------------------------------------------------------------------------------


def through_bytes(w):
    memory = (ctypes.c_char * w.nbytes).from_buffer(w)
    ctypes.memset(ctypes.addressof(memory) + w.nbytes - 4, 0, 4)


def through_a_view(w):
    w.reshape(-1)[::-1][0] = 9


def one_bit(w):
    w.view(np.uint32).flat[5] ^= 1 << 23


def swap(w):
    w.flat[0], w.flat[1] = 7, 3
    w.flat[[0, 1]] = w.flat[[1, 0]]


CHANGES = {
    "assignment": lambda w: w.__setitem__((0, 0, 0, 0), 8),
    "in place": lambda w: w.__imul__(2),
    "out": lambda w: np.add(w, 1, out=w),
    "a view": through_a_view,
    "bytes": through_bytes,
    "one bit": one_bit,
    "an exchange": swap,
    "copyto": lambda w: np.copyto(w, w[::-1].copy()),
    "sort": lambda w: w.reshape(-1).sort(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_weight_that_changes_in_place_is_seen(change, whole):
    x, w, bias = whole(2, 8, 9, 11), whole(8, 5, 4, 4), whole(5)
    for _ in range(2):
        np.testing.assert_array_equal(tconv.conv_transpose(x, w, bias, **ARGUMENTS), exact(x, w, bias, **ARGUMENTS))
    assert is_cached(x, w, bias, **ARGUMENTS)
    before = w.tobytes()
    CHANGES[change](w)
    assert w.tobytes() != before
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, bias, **ARGUMENTS), exact(x, w, bias, **ARGUMENTS))
    bias[2] += 1
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, bias, **ARGUMENTS), exact(x, w, bias, **ARGUMENTS))
    x[0, 0, 0, 0] += 1
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, bias, **ARGUMENTS), exact(x, w, bias, **ARGUMENTS))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_weight_that_becomes_infinite_and_comes_back(value, whole):
    """Then the method runs that multiplies no padded zeros, and later the fast one again."""
    x, w, arguments = whole(1, 3, 5, 6), whole(3, 2, 3, 3), {"stride": 2}  # some sums begin outside of x
    for turn in range(3):
        assert tconv.plan(x, w, **arguments).method == "simd"
        np.testing.assert_array_equal(tconv.conv_transpose(x, w, **arguments), exact(x, w, **arguments))
        assert is_cached(x, w, **arguments)
        before, w[0, turn % 2, 1, 2] = w[0, turn % 2, 1, 2], value
        with np.errstate(invalid="ignore"):
            expected = tconv.definition.gather(x, w, **arguments)
        for _ in range(2):
            np.testing.assert_array_equal(tconv.conv_transpose(x, w, **arguments), expected)
        assert tconv.plan(x, w, **arguments).method == "taps"
        assert np.isfinite(expected).any()
        w[0, turn % 2, 1, 2] = before


def test_other_arguments_for_the_same_bytes(whole):
    """One weight of equal sizes, read by every dialect: axes swapped, taps reversed, groups, other geometries."""
    x, w = whole(3, 3, 3, 3), whole(3, 3, 3, 3)
    calls = []
    for name in tconv.dialects.names():
        speaker = tconv.dialect(name)
        for stride, crop in itertools.product((1, 2, 3), (0, 1, ((0, 1), (1, 0)))):
            try:
                arguments = speaker.arguments(Geometry((3, 3), stride, crop), input=(3, 3))
                calls.append({"dialect": name, **arguments})
                tconv.plan(x, w, **calls[-1])
            except TconvError:
                calls = [
                    call for call in calls if call.get("dialect") != name or call != {"dialect": name, **arguments}
                ]
    calls += [{"stride": s, "padding": p, "dilation": d} for s, p, d in itertools.product((1, 2), (0, 1), (1, 2))]
    calls += [{"stride": s, "groups": g} for s, g in itertools.product((1, 2), (1, 3)) if g == 1]
    assert len(calls) > 40
    got = [[tconv.conv_transpose(x, w, method="simd", **arguments) for arguments in calls] for _ in range(2)]
    for arguments, *results in zip(calls, *got, strict=True):
        for y in results:
            np.testing.assert_array_equal(y, exact(x, w, **arguments), err_msg=repr(arguments))
    distinct = {y.tobytes() for y in got[0]}
    assert len(distinct) > 20


def test_views_of_one_weight(whole):
    """Views with the same memory in other orders, and with the same numbers in other memory."""
    x, base = whole(2, 4, 5, 5), whole(4, 4, 4, 4)
    views = [base.transpose(order) for order in itertools.permutations(range(4))]
    views += [base[::-1], base[:, ::-1], base[..., ::-1], base[..., ::-1, ::-1], np.asfortranarray(base), base.copy()]
    views += [np.broadcast_to(base[:1], base.shape), np.repeat(base[:1], 4, axis=0)]
    for w in [*views, *views[::-1]]:
        np.testing.assert_array_equal(tconv.conv_transpose(x, w, **ARGUMENTS), exact(x, w, **ARGUMENTS))


@pytest.mark.parametrize("first", [1, 2])
def test_groups_of_one_weight(first, whole):
    w = whole(4, 2, 3, 3)
    for groups in (first, 3 - first, 4, 1):
        x = whole(2, 4, 5, 6)
        y = tconv.conv_transpose(x, w, groups=groups, **ARGUMENTS)
        np.testing.assert_array_equal(y, exact(x, w, groups=groups, **ARGUMENTS))


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_optimisers_of_torch(python):
    """All changes of a weight by torch, in tensors and in NumPy views of them."""
    python(
        """
import numpy as np, torch, tconv
rng = np.random.default_rng(0)
x = torch.from_numpy(rng.standard_normal((2, 8, 9, 11)).astype("f4"))
weight = torch.nn.Parameter(torch.from_numpy(rng.standard_normal((8, 5, 4, 4)).astype("f4")))
seen = []
def check(change):
    with torch.no_grad():
        expected = torch.nn.functional.conv_transpose2d(x, weight, stride=2, padding=1)
        view = weight.detach().numpy()
        for y in (tconv.conv_transpose(x, weight, stride=2, padding=1), tconv.conv_transpose(x.numpy(), view, stride=2, padding=1)):
            torch.testing.assert_close(torch.as_tensor(y), expected, rtol=1e-4, atol=1e-4, msg=change)
        assert not any(torch.allclose(expected, other) for other in seen), change
    seen.append(expected)
def stepped(optimiser_class, **arguments):
    weight.grad = torch.ones_like(weight)
    optimiser = optimiser_class([weight], lr=0.5, **arguments)
    for _ in range(2):
        optimiser.step()
        check((optimiser_class, arguments))
check("fresh")
weight.data.mul_(1.25); check("data.mul_")
weight.data[0] += 1; check("data")
with torch.no_grad():
    weight.add_(0.5)
check("add_")
weight.data = weight.data.flip(0); check("another tensor")
weight.detach().numpy()[1] -= 2; check("numpy")
torch.nn.init.uniform_(weight); check("init")
torch._foreach_mul_([weight.data], 1.5); check("foreach")
stepped(torch.optim.SGD, foreach=True)
stepped(torch.optim.SGD, fused=True)
stepped(torch.optim.Adam, foreach=True)
stepped(torch.optim.Adam, fused=True)
stepped(torch.optim.AdamW)
module = torch.nn.ConvTranspose2d(8, 5, 4, 2, 1, bias=False)
module.weight = weight
module.load_state_dict({"weight": torch.ones_like(weight)}); check("load_state_dict")

layer = tconv.prepare(weight.detach(), stride=2, padding=1, activation=("prelu", torch.tensor([0.5] * 5)))
y = layer(x)
assert isinstance(y, torch.Tensor)
torch.testing.assert_close(y, torch.nn.functional.prelu(seen[-1], torch.tensor([0.5])), rtol=1e-4, atol=1e-4)
with torch.no_grad():
    weight.zero_()
assert torch.equal(layer(x), y)
out = torch.full_like(y, float("nan"))
assert layer(x, out=out) is out and torch.equal(out, y)
last = torch.full_like(y, float("nan")).to(memory_format=torch.channels_last)
assert torch.equal(layer(x.to(memory_format=torch.channels_last), out=last), y)
try:
    layer(x.numpy())
except tconv.errors.ArrayError as error:
    assert str(error) == "x is an array of numpy; this layer was prepared with torch. Write x as an array of torch", error
else:
    raise AssertionError
try:
    tconv.prepare(weight, stride=2)
except tconv.errors.ArrayError as error:
    assert "weight is a torch tensor that requires gradients" in str(error)
else:
    raise AssertionError
"""
    )


# -- calls that are repeated -----------------------------------------------------------------------------------------


def outcome(*arrays, **arguments):
    """Return the error that a call raises, or the bytes that it returns."""
    try:
        y = tconv.conv_transpose(*arrays, **arguments)
    except Exception as error:
        return type(error), str(error)
    return type(y), y.dtype, y.shape, y.tobytes()


OTHER_ARGUMENTS = [
    {name: value}
    for name in ("stride", "padding", "dilation", "groups", "output_padding", "crop", "geometry", "method", "dialect", "strides")
    for value in (
        True, False, 1, 2, 0, -1, 1.0, 2.0, 0.0, "2", None, np.int64(2), np.float64(2), np.bool_(True), np.array(2),
        np.array([1, 2]), (2, 2), [2, 2], (2, True), (2, 2.0), (True, True), (1.0, 1.0), ((1, 1), (1, 1)), ((1, True), (1, 1)),
        [[1, 1], [1, 1]], ((1.0, 1), (1, 1)), (), (2,), (2, 2, 2), {2}, {"stride": 2}, "auto", "simd", "torch", "onnx", b"torch",
    )
]  # fmt: skip


def test_a_right_call_does_not_make_wrong_ones_right(whole):
    """Calls that are refused before it are refused after it, and the others return the same."""
    x, w = whole(1, 4, 5, 6), whole(4, 4, 3, 3)
    base = {"stride": 2, "padding": 1}
    changed = [{**base, **other} for other in OTHER_ARGUMENTS] + OTHER_ARGUMENTS
    call_cache._calls.clear()
    before = []
    for arguments in changed:
        before.append(outcome(x, w, **arguments))
        call_cache._calls.clear()
    assert sum(first[0] is np.ndarray for first in before) > 60
    assert sum(issubclass(first[0], TconvError) for first in before) > 300
    for right in [
        base, {"stride": 1, "padding": 1}, {"stride": 1}, {"stride": 2}, {"stride": (2, 2), "padding": (1, 1)}, {"groups": 1},
        {"groups": 2}, {"dilation": 1}, {"dilation": 2}, {"crop": 1}, {"crop": ((1, 1), (1, 1))}, {"output_padding": 0},
        {"geometry": Geometry((3, 3), 2, 1)}, {"method": "simd"}, {"dialect": "onnx", "strides": [2, 2]},
        {**base, "output_padding": 1}, {**base, "dilation": 1, "groups": 1, "output_padding": 0}, {},
    ]:  # fmt: skip
        for _ in range(2):
            tconv.conv_transpose(x, w, **right)
    for arguments, first in zip(changed, before, strict=True):
        assert outcome(x, w, **arguments) == first, arguments


def test_other_arrays_after_a_right_call(whole):
    x, w, bias = whole(1, 4, 5, 6), whole(4, 4, 3, 3), whole(4)
    others = [
        (x.astype("f8"), w, bias), (x, w.astype("f8"), bias), (x, w, bias.astype("f8")), (x.astype("f8"), w.astype("f8"), bias.astype("f8")),
        (x.astype(">f4"), w, bias), (x, w.astype(">f4"), bias), (x, w, bias.astype(">f4")), (x.tolist(), w.tolist(), bias.tolist()),
        (x[0], w, bias), (x[:, :2], w, bias), (x, w[:2], bias), (x, w[0], bias), (x, w, bias[:2]), (x, w, bias[:, None]), (x, w, bias[0]),
        (x, w, None), (np.ma.masked_array(x), w, bias), (x, np.ma.masked_array(w), bias), (x, w, np.ma.masked_array(bias)),
        (x.view(np.recarray), w, bias), (x.astype("i4"), w.astype("i4"), bias.astype("i4")), (x.view("i4"), w.view("i4"), bias.view("i4")),
        (x[:0], w, bias), (x, w, whole(8)[::2]), (x, w, whole(4)[::-1]), (x, w, np.broadcast_to(np.float32(3), (4,))),
        (x, None, bias), (None, w, bias), ("x", w, bias),
    ]  # fmt: skip
    call_cache._calls.clear()
    before = [outcome(*arrays, **ARGUMENTS) for arrays in others]
    for arrays in others:
        outcome(*arrays, **ARGUMENTS)
    for _ in range(2):
        tconv.conv_transpose(x, w, bias, **ARGUMENTS)
    for arrays, first in zip(others, before, strict=True):
        assert outcome(*arrays, **ARGUMENTS) == first


@pytest.mark.parametrize("step", [2, -1, -3, 0])
def test_a_bias_of_any_stride(step, whole):
    """Only its own elements are read."""
    x, w = whole(1, 4, 5, 6), whole(4, 21, 3, 3)
    many = whole(100)
    bias = np.lib.stride_tricks.as_strided(many[70:] if step < 0 else many, (21,), (4 * step,))
    for _ in range(2):
        np.testing.assert_array_equal(tconv.conv_transpose(x, w, bias, **ARGUMENTS), exact(x, w, bias, **ARGUMENTS))
        np.testing.assert_array_equal(tconv.prepare(w, bias, **ARGUMENTS)(x), exact(x, w, bias, **ARGUMENTS))
    many += 1
    np.testing.assert_array_equal(tconv.conv_transpose(x, w, bias, **ARGUMENTS), exact(x, w, bias, **ARGUMENTS))


def test_strides_and_alignment_of_x(whole):
    w = whole(4, 5, 3, 3)
    base = whole(4, 8, 12, 14)
    shifted = np.frombuffer(b"\0" * 3 + whole(1, 4, 6, 7).tobytes(), np.uint8)[3:].view(np.float32).reshape(1, 4, 6, 7)
    assert not shifted.flags.aligned
    variants = [
        base[:1, :4, :6, :7],
        base[:1, ::2, ::2, ::2],
        base[3:, 3::-1, 5::-1, 6::-1],
        base.T[:1, :4, :6, :7],
        shifted,
    ]
    variants.append(np.broadcast_to(base[:1, :1, :1, :1], (1, 4, 6, 7)))
    for _ in range(3):
        for x in variants:
            np.testing.assert_array_equal(tconv.conv_transpose(x, w, **ARGUMENTS), exact(x, w, **ARGUMENTS))
        base += 1


def test_out_is_checked_every_time(whole):
    """After calls with an out of the same shape and strides, one that overlaps or is locked is still refused."""
    memory = whole(4000)
    x, w, bias = (
        memory[at : at + np.prod(shape)].reshape(shape)
        for at, shape in ((0, (1, 4, 8, 8)), (256, (4, 4, 2, 2)), (320, (4,)))
    )
    shape = (1, 4, 16, 16)
    right = memory[1000:2024].reshape(shape)
    expected = exact(x, w, bias, stride=2)
    for _ in range(3):
        assert tconv.conv_transpose(x, w, bias, stride=2, out=right) is right
    np.testing.assert_array_equal(right, expected)
    assert is_cached(x, w, bias, right, stride=2)
    wrong = {"x": 0, "weight": 300, "bias": 322}
    for name, at in wrong.items():
        for other in (memory[at : at + 1024].reshape(shape), memory[max(0, at - 1) :][:1024].reshape(shape)):
            before = memory.copy()
            with pytest.raises(
                tconv.errors.OutputError,
                match="out shares memory with " + ("x|weight|bias" if name != "bias" else name),
            ):
                tconv.conv_transpose(x, w, bias, stride=2, out=other)
            np.testing.assert_array_equal(memory, before)
    locked = right.copy()
    locked.flags.writeable = False
    before = locked.copy()
    with pytest.raises(tconv.errors.OutputError, match="out is read-only"):
        tconv.conv_transpose(x, w, bias, stride=2, out=locked)
    np.testing.assert_array_equal(locked, before)
    small = whole(1, 4, 4, 4)
    y = np.full((1, 4, 4, 4), np.nan, np.float32)
    one = whole(4, 4, 1, 1)
    for _ in range(2):
        tconv.conv_transpose(small, one, out=y)
    with pytest.raises(tconv.errors.OutputError, match="out shares memory with x"):
        tconv.conv_transpose(small, one, out=small)
    for strides in ((0, 0, 0, 4), (256, 64, 0, 4), (256, 4, 16, 4)):
        overlapping = np.lib.stride_tricks.as_strided(whole(300), (1, 4, 4, 4), strides)
        for _ in range(2):
            with pytest.raises(tconv.errors.OutputError, match="share the same memory"):
                tconv.conv_transpose(small, one, out=overlapping)


def test_an_out_interleaved_with_x(whole):
    """No element is shared, which only the full check finds out."""
    w = whole(2, 2, 1, 1)
    for _ in range(3):
        memory = whole(2 * 128)
        x, out = memory[::2].reshape(1, 2, 8, 8), memory[1::2].reshape(1, 2, 8, 8)
        expected = exact(x.copy(), w)
        assert tconv.conv_transpose(x, w, out=out) is out
        np.testing.assert_array_equal(out, expected)


def test_the_caches_of_calls_are_bounded(whole):
    x, w = whole(1, 2, 900), whole(2, 2, 3)
    layer = tconv.prepare(w, stride=2)
    for length in range(1, 700):
        tconv.conv_transpose(x[..., :length], w, stride=2)
        layer(x[..., :length])
    assert len(call_cache._calls) <= call_cache._MOST
    assert len(layer._calls) <= prepared._MOST


def test_results_do_not_share_memory(whole):
    x, w = whole(1, 4, 200, 200), whole(4, 4, 2, 2)
    layer = tconv.prepare(w, stride=2)
    results = [run() for _ in range(3) for run in (lambda: tconv.conv_transpose(x, w, stride=2), lambda: layer(x))]
    assert results[0].nbytes > _memory._POOL_MINIMUM // 2
    for a, b in itertools.combinations(results, 2):
        assert not np.shares_memory(a, b)
    for y in results:
        assert y.flags.writeable
        y[...] = 0
    np.testing.assert_array_equal(layer(x), exact(x, w, stride=2))


# -- layers ----------------------------------------------------------------------------------------------------------


def test_a_layer_has_copies(whole):
    x, w, bias, slopes = whole(1, 8, 6, 7), whole(8, 5, 3, 3), whole(5), np.array([0.5, 2, -1, 0, 1])
    listed = slopes.tolist()
    for numbers in (slopes, listed):
        layer = tconv.prepare(w, bias, activation=("prelu", numbers), **ARGUMENTS)
        expected = layer(x)
        w += 1
        bias += 1
        numbers[0] = 100
        np.testing.assert_array_equal(layer(x), expected)
        np.testing.assert_array_equal(
            layer(x[:, :, :5]), expected[:, :, :10][:, :, : layer(x[:, :, :5]).shape[2]]
        )  # a first call
        assert not np.array_equal(tconv.prepare(w, bias, activation=("prelu", numbers), **ARGUMENTS)(x), expected)


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_a_layer_is_the_call(method, whole):
    """First call and later ones, out or none, one image or many, other strides, other numbers of threads."""
    w, bias = whole(8, 5, 4, 4), whole(5)
    layer = tconv.prepare(w, bias, method=method, **ARGUMENTS)
    before = tconv.get_num_threads()
    try:
        for turn, shape in enumerate(
            [(2, 8, 33, 35), (8, 33, 35), (2, 8, 33, 35), (1, 8, 5, 6), (2, 8, 33, 35), (0, 8, 3, 3)]
        ):
            if method == "simd" and 0 in shape:
                continue
            x = whole(*shape)
            tconv.set_num_threads(1 + turn % 3)
            expected = exact(x, w, bias, **ARGUMENTS)
            for source in (x, np.asfortranarray(x), x.astype(">f4"), x):
                np.testing.assert_array_equal(layer(source), expected)
                out = np.full(expected.shape, np.nan, np.float32)
                assert layer(source, out=out) is out
                np.testing.assert_array_equal(out, expected)
            assert layer.plan(x).problem == tconv.plan(x, w, bias, **ARGUMENTS).problem
            with pytest.raises(tconv.errors.DtypeError, match="x is float64 and weight is float32"):
                layer(x.astype("f8"))
            with pytest.raises(tconv.errors.ShapeError, match="x has 9"):
                layer(np.concatenate([x, x[..., :1, :, :]], axis=-3))
            if x.size:
                with pytest.raises(tconv.errors.OutputError, match="out is read-only"):
                    layer(x, out=np.broadcast_to(np.float32(1), expected.shape))
    finally:
        tconv.set_num_threads(before)


def test_a_cached_call_is_not_used_for_another(whole):
    """It is for the same shapes and strides, and for a writable out with memory of its own."""
    x, w = whole(1, 8, 6, 8), whole(8, 8, 2, 2)
    layer = tconv.prepare(w, stride=2)
    expected, out = layer(x), np.empty((1, 8, 12, 16), np.float32)
    for _ in range(2):
        assert layer(x, out=out) is out
    assert len(layer._packed_weights) == 1
    out.flags.writeable = False
    with pytest.raises(tconv.errors.OutputError, match="out is read-only"):
        layer(x, out=out)
    memory = np.zeros(out.size + x.size, np.float32)
    into, source = memory[: out.size].reshape(out.shape), memory[-x.size :].reshape(x.shape)
    source[...] = x
    np.testing.assert_array_equal(layer(source, out=into), expected)
    source = memory[: x.size].reshape(x.shape)
    source[...] = x
    with pytest.raises(tconv.errors.OutputError, match="out shares memory with x"):
        layer(source, out=into)
    np.testing.assert_array_equal(source, x)
    with pytest.raises(tconv.errors.OutputError, match=r"out has shape \(1, 8, 12, 15\)"):
        layer(x, out=np.empty((1, 8, 12, 15), np.float32))


def test_a_layer_with_an_infinite_weight():
    x, w = np.ones((1, 2, 4, 4), np.float32), np.ones((2, 2, 3, 3), np.float32)
    w[0, 0, 1, 1] = np.inf
    layer = tconv.prepare(w, activation="relu6", **ARGUMENTS)
    with np.errstate(invalid="ignore"):
        expected = np.clip(tconv.definition.gather(x, w, **ARGUMENTS), 0, 6)
    for _ in range(3):
        np.testing.assert_array_equal(layer(x), expected)


def test_copies_of_a_layer_and_layers_in_other_processes(whole, python, tmp_path):
    """The calls in a layer's cache have addresses of this process."""
    x, w = whole(1, 8, 16, 16), whole(8, 3, 3, 3)
    layer = tconv.prepare(w, stride=2, activation="relu")
    y = layer(x)
    for other in (copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert not other._calls
        np.testing.assert_array_equal(other(x), y)
    (tmp_path / "layer").write_bytes(pickle.dumps((layer, x, y)))
    python(
        "import pickle, sys, numpy as np\n"
        "layer, x, y = pickle.load(open(sys.argv[1], 'rb'))\n"
        "assert all(np.array_equal(layer(x), y) for _ in range(3))",
        tmp_path / "layer",
    )


def test_a_layer_in_many_threads(whole):
    w = whole(8, 5, 4, 4)
    layer = tconv.prepare(w, **ARGUMENTS)
    inputs = [whole(1, 8, 20, 20 + number) for number in range(8)]
    expected = [exact(x, w, **ARGUMENTS) for x in inputs]
    together, wrong = threading.Barrier(8), []

    def work(number):
        together.wait()
        for turn in range(60):
            at = (number + turn) % 8
            if not np.array_equal(layer(inputs[at]), expected[at]):
                wrong.append(at)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


# -- activations -----------------------------------------------------------------------------------------------------


def activated(y, activation):
    """Return the activation of y, by a second implementation: of 2-byte floats in float32, rounded once."""
    if y.dtype.itemsize == 2:
        return activated(y.astype(np.float32), activation).astype(y.dtype)
    name, *numbers = activation if isinstance(activation, tuple) else (activation,)
    kind = y.dtype.type
    with np.errstate(over="ignore", invalid="ignore"):
        if name in ("leaky_relu", "prelu"):
            slopes = np.broadcast_to(np.asarray(numbers[0]), (y.shape[1],)).astype(y.dtype)
            return np.where(y < 0, y * slopes.reshape(-1, *[1] * (y.ndim - 2)), y)
        low, high = {"relu": (0, np.inf), "relu6": (0, 6)}.get(name) or numbers
        y = np.where(y < kind(low), kind(low), y)
        return np.where(y > kind(high), kind(high), y)


def activations(channels):
    slopes = np.random.default_rng(channels).choice([0.5, 2, -1, 0, 0.1, 1], channels)
    return [
        "relu", ("relu",), "relu6", ("leaky_relu", 0.1), ("leaky_relu", 2), ("leaky_relu", np.float32(0.3)), ("leaky_relu", 0),
        ("prelu", slopes), ("prelu", slopes.tolist()), ("prelu", slopes.astype("f4")), ("prelu", [0.25]), ("prelu", np.array(0.5)),
        ("clamp", -3, 3), ("clamp", -1.5, np.inf), ("clamp", -np.inf, 0), ("clamp", 2, 2), ("clamp", np.float32(-1), np.int64(4)),
    ]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_activations_equal_computing_them_after(method):
    """The bits are equal, with NaN and infinities in x, too, with and without out, in the first call and later ones."""
    rng = np.random.default_rng(1)
    for turn, kind in itertools.product(range(2), problems.KINDS):
        p = problems.problem(rng, kind=kind)
        x = p.x + rng.standard_normal(p.x.shape).astype(np.float32)
        if turn:
            x.flat[rng.integers(0, x.size, 2)] = np.nan, np.inf
            x.flat[rng.integers(0, x.size)] = -np.inf
        y = problems.run(p._replace(x=x), method=method)
        for activation in activations(y.shape[1]):
            layer = tconv.prepare(p.w, p.bias, geometry=p.geometry, method=method, activation=activation)
            out = np.full(y.shape[::-1], np.nan, np.float32).T
            with np.errstate(all="raise"):
                for result in (layer(x), layer(x), layer(x, out=out)):
                    np.testing.assert_array_equal(result, activated(y, activation), err_msg=repr(activation))


def test_infinities_and_signs():
    """The limits of relu do not multiply: -inf becomes 0, and no zero has a sign."""
    x, w = np.float32([[[-np.inf, -1, -0.0, np.nan, np.inf, 3]]]), np.ones((1, 1, 1), np.float32)
    for method in METHODS:
        for activation, expected in (("relu", [0, 0, 0, np.nan, np.inf, 3]), ("relu6", [0, 0, 0, np.nan, 6, 3])):
            y = tconv.prepare(w, activation=activation, method=method)(x)
            np.testing.assert_array_equal(y.ravel(), expected)
            assert not np.signbit(y[0, 0, [0, 1]]).any()


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "bfloat16"])
@pytest.mark.parametrize("method", ["auto", "polyphase", "taps"])
def test_activations_of_every_float(dtype, method, whole):
    dtype = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    x, w = whole(2, 4, 5, 6).astype(dtype), whole(4, 3, 3, 3).astype(dtype)
    y = tconv.conv_transpose(x, w, method=method, **ARGUMENTS)
    for activation in activations(3):
        layer = tconv.prepare(w, method=method, activation=activation, **ARGUMENTS)
        np.testing.assert_array_equal(layer(x), activated(y, activation), err_msg=repr(activation))


def test_activations_in_every_dialect(whole):
    """Slopes belong to the channels, on any axis."""
    g, checked, activation = Geometry((2, 2), 2), [], ("prelu", np.array([0.5, 2, -1]))
    for name in tconv.dialects.names():
        speaker = tconv.dialect(name)
        data, result = speaker.data_layout(2, 4), speaker.result_layout(2, 4)
        x = whole(*data.native_shape((2, 4, 5, 6)))
        arguments = {"dialect": name, **speaker.arguments(g, input=(5, 6))}
        w = speaker.to_native(whole(4, 3, 2, 2), 1)
        expected = activated(result.canonical(tconv.conv_transpose(x, w, **arguments)), activation)
        layer = tconv.prepare(w, activation=activation, **arguments)
        for _ in range(2):
            np.testing.assert_array_equal(result.canonical(layer(x)), expected, err_msg=name)
        out = np.full(result.native_shape(expected.shape), np.nan, np.float32)
        np.testing.assert_array_equal(result.canonical(layer(x, out=out)), expected, err_msg=name)
        checked.append(name)
    assert {"torch", "tensorflow", "onnx", "keras", "jax"} <= set(checked)


def test_slopes_per_channel_of_groups(whole):
    x, w, slopes = whole(2, 6, 5, 6), whole(6, 4, 3, 3), np.arange(-4, 8) / 4
    y = exact(x, w, groups=3, **ARGUMENTS)
    np.testing.assert_array_equal(
        tconv.prepare(w, groups=3, activation=("prelu", slopes), **ARGUMENTS)(x), activated(y, ("prelu", slopes))
    )


WRONG = [
    "gelu", "RELU", "leaky_relu", "prelu", "clamp", "", 0, 1.0, True, [], (), ["relu"], np.ones(3), {"relu": 1}, max, b"relu",
    ("relu", 1), ("relu6", 6), ("gelu",), ("leaky_relu",), ("leaky_relu", "0.1"), ("leaky_relu", None), ("leaky_relu", True),
    ("leaky_relu", np.nan), ("leaky_relu", np.inf), ("leaky_relu", 1e300), ("leaky_relu", 1j), ("leaky_relu", 0.1, 0.2), ("prelu", [1, 2]), ("prelu", [1] * 4),
    ("prelu", [[1, 2, 3]]), ("prelu", [[1], [2, 3]]), ("prelu", []), ("prelu", [1, 2, np.nan]), ("prelu", {1, 2, 3}),
    ("clamp",), ("clamp", 1), ("clamp", 2, 1), ("clamp", 0, np.nan), ("clamp", np.nan, 0), ("clamp", "0", "1"), ("clamp", None, 1),
    ("clamp", 0, 1, 2), ("clamp", [0], [1]), ("clamp", 10**400, 10**401), (np.ones(3), 1), (("relu",),),
]  # fmt: skip


@pytest.mark.parametrize("activation", WRONG, ids=repr)
def test_wrong_activations_are_named(activation, whole):
    with pytest.raises(tconv.errors.ArgumentError, match=r"^activation is .*; .*\. Write activation=.*, for example$"):
        tconv.prepare(whole(2, 3, 2, 2), activation=activation)


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ("sigmoid", 'activation is \'sigmoid\'; None, "relu", "relu6", ("leaky_relu", slope), ("prelu", slopes) or'),
        ("leaky_relu", 'a name and its slope are needed. Write activation=("leaky_relu", 0.01), for example'),
        (("clamp", 5, 1), '; a name and two limits are needed, the lower first. Write activation=("clamp", 1, 5), for'),
        (("prelu", [1, 2]), "; one slope, or 3, one per output channel, is needed; there are 2. Write"),
        (("leaky_relu", np.inf), "; slopes must be finite in float32. Write"),
    ],
)
def test_the_message_for_a_wrong_activation_has_its_form(activation, message, whole):
    with pytest.raises(tconv.errors.ArgumentError, match=re.escape(message)):
        tconv.prepare(whole(2, 3, 2, 2), activation=activation)


def test_errors_that_depend_on_x_are_raised_with_the_first_x(whole):
    """Nothing is written then."""
    layer = tconv.prepare(whole(4, 4, 3, 2), dialect="openvino", strides=[2, 2], activation="gelu")
    out = np.full((1, 3, 4, 5), 7, np.float32)
    for more in ({}, {"out": out}):
        with pytest.raises(tconv.errors.ArgumentError, match="activation is 'gelu'; None"):
            layer(whole(1, 4, 5, 5), **more)
    assert (out == 7).all()


@pytest.mark.parametrize("dtype", ["i1", "i8", "u2", "c8", "c16"])
def test_activations_are_for_real_floats(dtype):
    message = f"the weight is {np.dtype(dtype)}; activations are for real floats. Write tconv.prepare(...) without"
    with pytest.raises(tconv.errors.DtypeError, match=re.escape(message)):
        tconv.prepare(np.ones((1, 1, 2), dtype), activation="relu")
    assert tconv.prepare(np.ones((1, 1, 2), dtype))(np.ones((1, 1, 3), dtype)).tolist() == [[[1, 2, 2, 1]]]


@pytest.mark.parametrize("dtype", ["O", "U1", "?", "u8"])
def test_dtypes_are_refused_at_once(dtype):
    with pytest.raises(tconv.errors.DtypeError, match="weight has dtype"):
        tconv.prepare(np.ones((1, 1, 2)).astype(dtype))


# -- errors before there is an x -------------------------------------------------------------------------------------

KERNEL = np.ones((4, 3, 3, 2), np.float32)
TF = {"dialect": "tensorflow", "strides": 2, "output_shape": [2, 9, 12, 3]}


@pytest.mark.parametrize(
    ("weight", "arguments", "kind"),
    [
        (KERNEL, {"strid": 2}, "ArgumentError"),
        (KERNEL, {"stride": 0}, "GeometryError"),
        (KERNEL, {"method": "zz"}, "MethodError"),
        (KERNEL.astype("c8"), {"method": "simd"}, "MethodError"),
        (KERNEL * np.nan, {"method": "polyphase"}, "MethodError"),
        (KERNEL, {"bias": np.ones(4, "f4")}, "ShapeError"),
        (KERNEL, {"bias": np.ones(3)}, "DtypeError"),
        (KERNEL[0, 0], {}, "ShapeError"),
        (KERNEL[:, :0], {}, "ShapeError"),
        (KERNEL[:, :, :0], {}, "GeometryError"),
        (KERNEL, {"groups": 3}, "ShapeError"),
        (KERNEL, {"dialect": "pytorch"}, "DialectError"),
        (KERNEL, {"geometry": Geometry((3, 3))}, "ShapeError"),
        (KERNEL, {"geometry": Geometry((3, 2)), "stride": 2}, "ArgumentError"),
        (KERNEL, {**TF, "strides": 0}, "GeometryError"),
        (KERNEL, {**TF, "output_shape": [2, 9, 12, 4]}, "ShapeError"),
        (KERNEL, {**TF, "bias": np.ones(4, "f4")}, "ShapeError"),
        (KERNEL, {**TF, "data_format": "NHCW"}, "ArgumentError"),
    ],
)
def test_errors_that_do_not_depend_on_x_are_raised_at_once(weight, arguments, kind):
    """The message is that of the call, with the weight in place of x."""
    with pytest.raises(tconv.errors.TconvError) as early:
        tconv.prepare(weight, **arguments)
    assert type(early.value).__name__ == kind
    x = np.ones((2, 5, 6, 2) if arguments.get("dialect") == "tensorflow" else (2, 4, 5, 6), weight.dtype)
    with pytest.raises(type(early.value)) as late:
        tconv.conv_transpose(x, weight, **arguments)
    of_weight = re.sub(r"\bx\b", "weight", str(late.value))
    assert str(early.value) == re.sub(r"(np\.asarray\(weight, \S+\)) and \1", r"\1", of_weight)  # x and weight


@hypothesis.given(shape=shaped(), seed=st.integers(0, 2**32 - 1))
@hypothesis.settings(max_examples=40)
def test_prepare_refuses_no_right_call(shape, seed):
    g, sizes = shape
    rng = np.random.default_rng(seed)
    w = rng.integers(-3, 4, (2 * g.groups, 3, *g.kernel)).astype(np.float32)
    x = rng.integers(-3, 4, (2, len(w), *sizes)).astype(np.float32)
    bias = np.arange(3 * g.groups, dtype=np.float32)
    for name in tconv.dialects.names():
        speaker = tconv.dialect(name)
        try:
            arguments = speaker.arguments(g, input=sizes)
        except tconv.TconvError:
            continue
        data, result = speaker.data_layout(g.ndim, g.ndim + 2), speaker.result_layout(g.ndim, g.ndim + 2)
        images = x if "N" in data.axes else x[:1]
        native = np.empty(data.native_shape(images.shape), np.float32)
        data.canonical(native)[...] = images
        expected = tconv.conv_transpose(images, w, bias, geometry=g)
        layer = tconv.prepare(np.ascontiguousarray(speaker.to_native(w, g.groups)), bias, dialect=name, **arguments)
        np.testing.assert_array_equal(result.canonical(layer(native)), expected, err_msg=name)


def test_the_text_of_a_layer(whole):
    layer = tconv.prepare(whole(4, 3, 2, 2), whole(3), stride=2, activation=("leaky_relu", 0.1))
    text = "weight (4, 3, 2, 2) float32, bias (3,), dialect='torch', stride=2, activation=('leaky_relu', 0.1)"
    assert repr(layer) == f"tconv.prepare({text})"
    layer = tconv.prepare(whole(4, 3, 2), geometry=Geometry(2), method="taps")
    assert repr(layer).startswith("tconv.prepare(weight (4, 3, 2) float32, geometry=Geometry(kernel=(2,), ")
    assert repr(layer).endswith(", method='taps')")


def test_arguments_are_those_of_the_preparation():
    """A list that its owner changes afterwards changes nothing."""
    x, w, stride = np.ones((1, 2, 4, 4), "f4"), np.ones((2, 3, 3, 3), "f4"), [2, 2]
    layer = tconv.prepare(w, stride=stride)
    before = layer(x)
    stride[:] = [1, 1]
    np.testing.assert_array_equal(layer(x), before)
    assert layer(np.ones((1, 2, 5, 5), "f4")).shape == (1, 3, 11, 11)
    assert "stride=(2, 2)" in repr(layer)
