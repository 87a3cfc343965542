"""tconv.torch: the operator under PyTorch's own checks, and the layers compared with PyTorch's in every kind of use."""

from __future__ import annotations

import copy
import doctest
import importlib
import io
import itertools
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.library import opcheck
from torch.nn import functional

import tconv
import tconv.torch as ours

ALWAYS_EXPORTING = tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 12)
"""True if `torch.compiler.is_exporting()` is true in all compiled code, which then cannot keep the kernel."""
OPERATOR = torch.ops.tconv.conv_transpose.default
CLASSES = {name: (getattr(ours, name), getattr(torch.nn, name)) for name in ours.__all__ if name.startswith("Conv")}
LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def both_layers(ndim=2, *arguments, **kwargs):
    """A drop-in and PyTorch's layer with the same weights."""
    mine, stock = CLASSES[f"ConvTranspose{ndim}d"]
    made, other = mine(*arguments, **kwargs), stock(*arguments, **kwargs)
    made.load_state_dict(other.state_dict())
    return made, other


def calls_of_the_kernel(monkeypatch):
    """A list that grows with every run of tconv's kernel."""
    from tconv.torch import kernel_call

    seen, run = [], kernel_call.Call.__call__
    monkeypatch.setattr(kernel_call.Call, "__call__", lambda self, *tensors: seen.append(self) or run(self, *tensors))
    return seen


@pytest.fixture
def seen(monkeypatch):
    return calls_of_the_kernel(monkeypatch)


@pytest.fixture
def kernel(seen, monkeypatch):
    """The same list; small layers run on the kernel, too, while they are trained."""
    monkeypatch.setattr("tconv.torch.functional.against_training", lambda *sizes: False)
    return seen


def steps(tensor):
    """The strides of axes with more than one element; others have no meaning."""
    return [step for step, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def error(got, truth):
    return (got.double() - truth.double()).abs().max().item()


# -- PyTorch's own checks of an operator ---------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("groups", "last"), [(1, False), (2, False), (1, True)])
def test_opcheck(ndim, groups, last):
    if last and ndim == 1:
        pytest.skip("a signal has one layout")
    x, w = torch.randn(2, 4, *range(4, 4 + ndim)), torch.randn(4, 3, *range(2, 2 + ndim))
    if last:
        x = x.to(memory_format=LAST[ndim])
    bias = torch.randn(3 * groups)
    for tensor in (x, w, bias):
        tensor.requires_grad_()
    axes = [(2,) * ndim, (1,) * ndim, (1,) * ndim, (1,) * ndim]
    for given in ((x, w, bias), (x, w, None), (x.detach(), w, None), (x.detach(), w.detach(), bias.detach())):
        assert set(opcheck(OPERATOR, (*given, *axes, groups)).values()) == {"SUCCESS"}
    assert set(opcheck(OPERATOR, (x.detach().double(), w.detach().double(), None, *axes, groups)).values()) == {
        "SUCCESS"
    }


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_strides_are_known_beforehand_and_pytorchs(ndim):
    shapes = [(2, 3, 5, 4), (1, 4, 3, 4), (2, 1, 4, 1), (1, 4, 1, 4)]  # N, C, n, C_out
    for (n, c_in, size, c_out), x_last, w_last, dtype in itertools.product(
        shapes, (False, True), (False, True), (torch.float32, torch.float64)
    ):
        if (x_last or w_last) and ndim == 1:
            continue
        x = torch.randn(n, c_in, *[size] * ndim, dtype=dtype)
        w = torch.randn(c_in, c_out, *[3] * ndim, dtype=dtype)
        x = x.to(memory_format=LAST[ndim]) if x_last else x
        w = w.to(memory_format=LAST[ndim]) if w_last else w
        axes = ([2] * ndim, [1] * ndim, [0] * ndim, [1] * ndim, 1)
        with torch._subclasses.FakeTensorMode() as fake:
            predicted = OPERATOR(fake.from_tensor(x), fake.from_tensor(w), None, *axes)
        with torch.no_grad():
            made = OPERATOR(x, w, None, *axes)
            assert steps(made) == steps(predicted)
            directly = ours.conv_transpose(x, w, None, 2, 1)
            assert directly.stride() == made.stride() or ndim == 3
        if ndim < 3:
            assert made.stride() == getattr(functional, f"conv_transpose{ndim}d")(x, w, None, 2, 1).stride()


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_of_first_and_second_order(ndim, groups):
    x = torch.randn(2, 4, *[3] * ndim, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 2, *[2] * ndim, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2 * groups, dtype=torch.float64, requires_grad=True)
    through = (
        lambda *given: OPERATOR(*given, [2] * ndim, [1] * ndim, [1] * ndim, [1] * ndim, groups),
        lambda *given: ours.custom_op.Differentiable.apply(
            *given, (2,) * ndim, (1,) * ndim, (1,) * ndim, (1,) * ndim, groups
        ),
    )
    for call in through:
        assert torch.autograd.gradcheck(call, (x, w, bias), fast_mode=True)
        assert torch.autograd.gradgradcheck(call, (x, w, bias), fast_mode=True)
    assert torch.autograd.gradcheck(
        lambda *given: ours.conv_transpose(*given, stride=2, groups=groups),
        (x, w, bias),
        check_forward_ad=True,
        fast_mode=True,
    )


WEIGHT_LAYOUTS = [("IO*", "I", 0), ("*OI", "I", 0), ("*IO", "I", 0), ("*IO", "O", 0), ("OI*", "O", 1), ("*OI", "I", 1)]
LAYOUT_CASES = [
    # one input channel, channels last of x and weight
    (((1, 2), (2, 2), ((1, -1), (0, 0)), (1, 1), 1), "N*C", "*IO", (2, 1, 2), (2, 1)),
    (((3, 3), (2, 2), ((0, -2), (-1, 2)), (1, 2), 1), "N*C", "*OI", (1, 1, 2), (3, 1)),
    # crops that a padding of both ends and an output_padding do not express
    (((2,), (2,), ((2, 0),), (1,), 2), "NC*", "IO*", (2, 2, 2), (4,)),
    (((3, 2), (1, 1), ((2, 0), (-1, 0)), (2, 1), 1), "NC*", "IO*", (1, 2, 2), (3, 3)),
    (((1, 1), (1, 2), ((1, -2), (0, 0)), (1, 1), 1), "NC*", "IO*", (1, 2, 1), (1, 2)),
    # nothing but bias is left
    (((2,), (1,), ((5, -6),), (1,), 1), "N*C", "*OI", (1, 2, 3), (2,)),
    (((2,), (1,), ((-6, 5),), (1,), 1), "NC*", "*OI", (1, 2, 3), (2,)),
]


def _random_layout_case(seed):
    rng = np.random.default_rng(seed)
    ndim, groups = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    kernel, stride, dilation, sizes = (
        tuple(map(int, rng.integers(1, high, ndim))) for high in (4, 4, 3, 3 if ndim == 3 else 4)
    )
    crop = []
    for axis in zip(kernel, stride, dilation, sizes, strict=True):
        k, s, d, n = axis
        lo, hi = map(int, rng.choice([-3, -1, 0, 0, 1, 2, 4], 2))
        crop.append((lo, hi) if (n - 1) * s + d * (k - 1) + 1 > lo + hi else (0, 0))
    shape = int(rng.integers(1, 3)), groups * int(rng.integers(1, 3)), int(rng.integers(1, 3))
    return (kernel, stride, tuple(crop), dilation, groups), str(rng.choice(["NC*", "N*C"])), None, shape, sizes


@pytest.mark.parametrize("number", range(40 + len(LAYOUT_CASES)))
def test_any_layout_and_crop_with_gradients_of_second_order(number, monkeypatch):
    from tconv.dialects import DataLayout, WeightLayout
    from tconv.torch import operator

    rng = np.random.default_rng(number)
    given = LAYOUT_CASES[number] if number < len(LAYOUT_CASES) else _random_layout_case(number)
    arguments, data, pattern, (batch, c_in, c_out), sizes = given
    g = tconv.Geometry(*arguments)
    if rng.random() < 0.7:  # on the kernel
        monkeypatch.setattr("tconv.torch.functional.against_training", lambda *sizes: False)
    layout = (pattern, "I", False) if pattern else WEIGHT_LAYOUTS[rng.integers(len(WEIGHT_LAYOUTS))]
    d, w_layout = DataLayout.of(data, g.ndim), WeightLayout.of(layout[0], g.ndim, layout[1], bool(layout[2]))
    x, w, bias = (
        rng.standard_normal(shape) for shape in ((batch, c_in, *sizes), (c_in, c_out, *g.kernel), (g.groups * c_out,))
    )
    native = rng.standard_normal(d.native_shape(x.shape)), np.array(w_layout.native(w, g.groups), order="C"), bias
    tensors = [torch.tensor(array, requires_grad=True) for array in native]

    def call(*tensors):
        return operator.apply(*tensors, g, d, w_layout, d)

    truth = tconv.conv_transpose(d.canonical(native[0]), w, bias, geometry=g)
    np.testing.assert_allclose(d.canonical(call(*tensors).detach().numpy()), truth, rtol=1e-10, atol=1e-10)
    assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)


def test_float32_gradients_are_pytorchs_and_only_those_asked_for(kernel):
    x, w, bias = torch.randn(2, 6, 34, 31), torch.randn(6, 5, 4, 4), torch.randn(5)
    for asked in itertools.product((False, True), repeat=3):
        if not any(asked):
            continue
        found = []
        for call in (ours.conv_transpose, functional.conv_transpose2d):
            given = [tensor.clone().requires_grad_(wanted) for tensor, wanted in zip((x, w, bias), asked, strict=True)]
            y = call(*given, stride=2, padding=1)
            (y * torch.arange(y.numel()).reshape(y.shape).sin()).sum().backward()
            found.append([tensor.grad for tensor in given])
        for mine, theirs in zip(*found, strict=True):
            assert (mine is None) == (theirs is None)
            if mine is not None:
                torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    assert len(kernel) == 7


def test_a_weight_that_is_trained_on_few_positions_is_left_to_pytorch(seen):
    x, w = torch.randn(1, 8, 9, 9), torch.randn(8, 4, 4, 4)
    for trained, grad, count in ((True, True, 0), (False, True, 1), (True, False, 2)):
        w.requires_grad_(trained)
        x.requires_grad_(True)
        with torch.set_grad_enabled(grad):
            y = ours.conv_transpose(x, w, stride=2)
            torch.testing.assert_close(y, functional.conv_transpose2d(x, w, stride=2), rtol=1e-5, atol=1e-5)
        assert len(seen) == count
    large = torch.randn(1, 8, 46, 45)
    ours.conv_transpose(large, w.requires_grad_(), stride=2)
    assert len(seen) == 3
    for step in range(5):  # packed weights of past steps do not pile up where those of models are
        with torch.no_grad():
            w += step
        ours.conv_transpose(large, w, stride=2)
    from tconv.kernels.simd.weight_cache import WEIGHT_CACHE

    assert tconv.trim_pool() >= 0
    before = WEIGHT_CACHE._bytes
    ours.conv_transpose(large, w, stride=2)
    assert WEIGHT_CACHE._bytes == before


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_vmap_over_anything(ndim):
    x, w, bias = torch.randn(5, 2, 4, *[4] * ndim), torch.randn(5, 4, 3, *[3] * ndim), torch.randn(5, 3)
    stock = getattr(functional, f"conv_transpose{ndim}d")
    for at in itertools.product((0, None), repeat=3):
        if at == (None, None, None):
            continue
        given = [tensor if place == 0 else tensor[0] for tensor, place in zip((x, w, bias), at, strict=True)]
        mine = torch.vmap(lambda *t: ours.conv_transpose(*t, stride=2, padding=1), at)(*given)
        direct = torch.vmap(lambda *t: OPERATOR(*t, [2] * ndim, [1] * ndim, [0] * ndim, [1] * ndim, 1), at)(*given)
        theirs = torch.vmap(lambda *t: stock(*t, stride=2, padding=1), at)(*given)
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(direct, theirs, rtol=1e-5, atol=1e-5)
    moved = torch.vmap(lambda a: ours.conv_transpose(a, w[0]), in_dims=1, out_dims=2)(x)
    torch.testing.assert_close(
        moved, torch.vmap(lambda a: stock(a, w[0]), in_dims=1, out_dims=2)(x), rtol=1e-5, atol=1e-5
    )


def test_function_transforms():
    w = torch.randn(3, 2, 3, 3)
    x, v = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    for transform in (
        lambda call: torch.func.grad(lambda a: call(a, w, stride=2).square().sum())(x),
        lambda call: torch.func.jacrev(lambda a: call(a, w).sum((0, 2, 3)))(x),
        lambda call: torch.func.vmap(torch.func.grad(lambda a: call(a[None], w).square().sum()))(x),
        lambda call: torch.func.jvp(lambda a: call(a, w), (x,), (v,))[1],
        lambda call: torch.func.hessian(lambda k: call(x, k).pow(3).sum())(w),
    ):
        torch.testing.assert_close(
            transform(ours.conv_transpose), transform(functional.conv_transpose2d), rtol=1e-4, atol=1e-3
        )


def test_autocast_is_pytorchs_rule():
    x, w = torch.randn(1, 3, 6, 6), torch.randn(3, 2, 3, 3)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            theirs = functional.conv_transpose2d(x, w)
            for mine in (ours.conv_transpose(x, w), OPERATOR(x, w, None, [1, 1], [0, 0], [0, 0], [1, 1], 1)):
                assert mine.dtype == theirs.dtype == dtype
                torch.testing.assert_close(mine, theirs, rtol=0.02, atol=0.02)  # PyTorch adds up in float16


def test_flops_are_counted_as_pytorchs(kernel):
    from torch.utils.flop_counter import FlopCounterMode

    counts = []
    for layer in both_layers(2, 6, 4, 3, 2, 1, groups=2):
        with FlopCounterMode(display=False) as counter:
            layer(torch.randn(2, 6, 5, 7)).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0
    assert len(kernel) == 1


def test_the_profiler_sees_the_operator():
    layer, _ = both_layers(2, 3, 2, 3)
    with torch.profiler.profile() as seen, torch.no_grad():
        layer(torch.randn(1, 3, 4, 4))
    assert any(event.key == "tconv::conv_transpose" for event in seen.key_averages())


# -- PyTorch's own samples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_opinfo_samples(ndim):
    from torch.testing._internal.common_methods_invocations import op_db

    (info,) = [op for op in op_db if op.name == f"nn.functional.conv_transpose{ndim}d"]
    count = 0
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.complex64):
        for sample in info.sample_inputs("cpu", dtype, requires_grad=True):
            arguments, kwargs = (sample.input, *sample.args), sample.kwargs
            mine, theirs = ours.conv_transpose(*arguments, **kwargs), info.op(*arguments, **kwargs)
            assert (mine.shape, mine.dtype, mine.stride()) == (theirs.shape, theirs.dtype, theirs.stride())
            wide = torch.complex128 if dtype.is_complex else torch.float64
            with torch.no_grad():
                truth = info.op(*(t if t is None else t.to(wide) for t in arguments), **kwargs)
                allowed = 2 * (theirs - truth).abs().max() + 4 * torch.finfo(dtype).eps * truth.abs().max()
                assert (mine - truth).abs().max() <= allowed
            mine.abs().sum().backward()
            count += 1
    assert count >= 30
    for sample in info.error_inputs("cpu") if info.error_inputs_func else ():
        with pytest.raises(sample.error_type):
            ours.conv_transpose(sample.sample_input.input, *sample.sample_input.args, **sample.sample_input.kwargs)


@pytest.mark.parametrize("training", [False, True])
def test_moduleinfos(training):
    from torch.testing._internal.common_modules import module_db

    infos = {info.module_cls.__name__: info for info in module_db}
    count = 0
    for name, (mine, stock) in CLASSES.items():
        info = infos[name]
        for dtype in (torch.float32, torch.float64):
            given = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)
            for sample in given:
                made = [
                    kind(*sample.constructor_input.args, **sample.constructor_input.kwargs) for kind in (mine, stock)
                ]
                for layer in made:
                    layer.to(dtype).train(training)
                made[0].load_state_dict(made[1].state_dict())
                arguments, kwargs = sample.forward_input.args, sample.forward_input.kwargs
                got, expected = (layer(*arguments, **kwargs) for layer in made)
                torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
                for result in (got, expected):
                    result.sum().backward()
                for a, b in zip(*(layer.parameters() for layer in made), strict=True):
                    torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-5)
                count += 1
    assert count >= 12


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_layers_against_float64(ndim, kernel):
    rng = np.random.default_rng(ndim)
    for _ in range(60):
        groups = int(rng.choice([1, 1, 2, 3]))
        c_in, c_out = groups * int(rng.integers(1, 9)), groups * int(rng.integers(1, 9))
        axes = lambda low, high: tuple(int(v) for v in rng.integers(low, high, ndim))  # noqa: E731
        stride, dilation = axes(1, 4), axes(1, 3)
        extra = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True))
        kwargs = {
            "stride": stride,
            "padding": axes(0, 3),
            "output_padding": extra,
            "dilation": dilation,
            "groups": groups,
        }
        mine, stock = both_layers(ndim, c_in, c_out, axes(1, 5), bias=bool(rng.integers(2)), **kwargs)
        x = torch.randn(int(rng.integers(1, 4)), c_in, *axes(1, 9))
        if ndim > 1 and rng.random() < 0.4:
            x = x.to(memory_format=LAST[ndim])
        if ndim > 1 and rng.random() < 0.3:
            mine.to(memory_format=LAST[ndim])
        try:
            theirs = stock(x)
        except RuntimeError as refused:  # an empty output
            with pytest.raises(type(refused)):
                mine(x)
            continue
        got = mine(x)
        if theirs.numel() == 0:  # in float64 PyTorch refuses it
            continue
        truth = stock.double()(x.double())
        assert got.shape == theirs.shape
        assert error(got, truth) <= 2 * error(theirs, truth) + 1e-6 * truth.abs().max().item()
    assert len(kernel) > 30


def test_large_outputs_come_from_the_pool_and_are_their_owners():
    x, w = torch.randn(1, 8, 300, 300), torch.randn(8, 4, 2, 2)
    for last in (False, True):
        given = x.to(memory_format=torch.channels_last) if last else x
        with torch.no_grad():
            y = ours.conv_transpose(given, w, stride=2)
        theirs = functional.conv_transpose2d(given, w, stride=2)
        assert y.stride() == theirs.stride()
        assert not y._is_view()
        torch.testing.assert_close(y, theirs, rtol=1e-5, atol=1e-5)
        copied = y.clone()
        with torch.no_grad():
            for _ in range(4):
                ours.conv_transpose(given + 1, w, stride=2)
        assert torch.equal(y, copied)
        y += 1  # it can be written
    with torch.inference_mode():
        assert ours.conv_transpose(x, w, stride=2).is_inference()
    y = ours.conv_transpose(x.requires_grad_(), w, stride=2)
    y.relu_().sum().backward()


# -- layers in use -------------------------------------------------------------------------------------------------


def test_signature_initialisation_and_state_dict():
    import inspect

    for mine, stock in CLASSES.values():
        assert inspect.signature(mine) == inspect.signature(stock)
        assert issubclass(mine, stock)
        torch.manual_seed(0)
        made = mine(4, 6, 3, 2, groups=2)
        torch.manual_seed(0)
        other = stock(4, 6, 3, 2, groups=2)
        for source, target in ((made, other), (other, made)):
            assert list(source.state_dict()) == list(target.state_dict())
            assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))
            assert str(target.load_state_dict(source.state_dict())) == "<All keys matched successfully>"
        assert repr(made) == repr(other)
        if "Transpose" in mine.__name__:
            with pytest.raises(ValueError, match='Only "zeros" padding mode'):
                mine(2, 2, 3, padding_mode="reflect")


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_output_size_and_unbatched_input(ndim):
    mine, stock = both_layers(ndim, 3, 2, 3, stride=2, padding=1)
    x = torch.randn(2, 3, *[5] * ndim)
    for size in (9, 10):
        torch.testing.assert_close(
            mine(x, output_size=[size] * ndim), stock(x, output_size=[size] * ndim), rtol=1e-5, atol=1e-5
        )
    torch.testing.assert_close(mine(x[0]), stock(x[0]), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(mine(x[0]), mine(x[:1])[0])
    for wrong in (
        lambda layer: layer(x, output_size=[12] * ndim),
        lambda layer: layer(x[:, :2]),
        lambda layer: layer(x.double()),
    ):
        refused = []
        for layer in (mine, stock):
            with pytest.raises((ValueError, RuntimeError)) as caught:
                wrong(layer)
            refused.append(str(caught.value))
        assert refused[0] == refused[1]


def test_pickle_deepcopy_save_and_meta():
    mine, stock = both_layers(2, 4, 3, 3, 2)
    x = torch.randn(1, 4, 5, 5)
    file = io.BytesIO()
    torch.save(mine, file)
    file.seek(0)
    copies = [pickle.loads(pickle.dumps(mine)), copy.deepcopy(mine), torch.load(file, weights_only=False)]
    for other in copies:
        assert type(other) is ours.ConvTranspose2d
        assert torch.equal(other(x), mine(x))
    on_meta = ours.ConvTranspose2d(4, 3, 3, 2, device="meta")
    y = on_meta(torch.empty(1, 4, 5, 5, device="meta"))
    assert y.device.type == "meta"
    assert y.shape == mine(x).shape
    on_meta.to_empty(device="cpu").load_state_dict(stock.state_dict())
    assert torch.equal(on_meta(x), mine(x))


def test_other_dtypes_devices_and_subclasses_go_to_pytorch(kernel):
    class Named(torch.Tensor):
        pass

    mine, stock = both_layers(2, 4, 3, 3, 2)
    x = torch.randn(1, 4, 5, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of complex modules
        got, expected = (copy.deepcopy(layer).to(torch.complex64)(x.cfloat()) for layer in (mine, stock))
    assert torch.equal(got, expected)
    named = x.as_subclass(Named)
    assert type(mine(named)) is Named
    negated = torch.complex(torch.zeros(1, 4, 5, 5), x).conj().imag
    assert negated.is_neg()
    torch.testing.assert_close(mine(negated), stock(negated))
    with torch.no_grad():
        mine.weight[0, 0, 0, 0] = stock.weight[0, 0, 0, 0] = torch.inf
    torch.testing.assert_close(mine(x), stock(x), equal_nan=True)
    assert kernel == [kernel[0]]  # the infinite weight was seen there, and left to PyTorch
    assert mine(x[:0]).shape == stock(x[:0]).shape


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_compile_with_changing_shapes(ndim, kernel):
    torch._dynamo.reset()
    mine, stock = both_layers(ndim, 3, 2, 3, stride=2, padding=1)
    compiled = torch.compile(mine, fullgraph=True, dynamic=True, backend="aot_eager")
    for size, batch in ((5, 2), (6, 2), (7, 3)):
        x = torch.randn(batch, 3, *[size] * ndim)
        torch.testing.assert_close(compiled(x), stock(x), rtol=1e-5, atol=1e-5)
        wanted = [2 * size] * ndim
        torch.testing.assert_close(compiled(x, output_size=wanted), stock(x, output_size=wanted), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(compiled(x[0]), stock(x[0]), rtol=1e-5, atol=1e-5)
    compiled(x.requires_grad_()).sum().backward()
    torch.testing.assert_close(x.grad, torch.autograd.grad(stock(x).sum(), x)[0], rtol=1e-5, atol=1e-5)
    assert len(kernel) >= 10 or ALWAYS_EXPORTING


def test_compiled_by_inductor(kernel):
    torch._dynamo.reset()
    mine, stock = (torch.nn.Sequential(layer, torch.nn.ReLU()) for layer in both_layers(2, 8, 4, 4, 2, 1))
    x = torch.randn(1, 8, 6, 6).to(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            got = torch.compile(mine, fullgraph=True)(x)
    except torch._inductor.exc.InductorError as error:
        pytest.skip(f"no compiler here: {error}")
    torch.testing.assert_close(got, stock(x), rtol=1e-5, atol=1e-5)
    assert got.stride() == stock(x).stride()
    assert kernel or ALWAYS_EXPORTING


@pytest.mark.parametrize("strict", [False, True])
def test_export_contains_pytorchs_operator(strict):
    mine, stock = both_layers(2, 3, 2, 3, 2, 1)
    x = torch.randn(2, 3, 5, 6)
    # PyTorch 2.7 needs the upper ends, because it compares products of sizes with the largest integer
    shapes = ({0: torch.export.Dim("n", max=1000), 2: torch.export.Dim("h", max=1000)},)
    program = torch.export.export(mine, (x,), dynamic_shapes=shapes, strict=strict)
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert any("aten.conv_transpose2d" in name for name in called)
    assert not any("tconv" in name for name in called)
    larger = torch.randn(3, 3, 9, 6)
    torch.testing.assert_close(program.module()(larger), stock(larger), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dynamo", [False, True])
def test_onnx_contains_the_stock_operator(dynamo, tmp_path):
    onnx = pytest.importorskip("onnx")
    if dynamo:
        pytest.importorskip("onnxscript")
    mine, stock = both_layers(2, 3, 2, 3, 2, 1)
    x, path = torch.randn(1, 3, 5, 6), tmp_path / "layer.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(mine, (x,), path, dynamo=dynamo, **({"verbose": False} if dynamo else {}))
    model = onnx.load(path)
    assert [node.op_type for node in model.graph.node] == ["ConvTranspose"]
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(y, stock(x).detach(), rtol=1e-4, atol=1e-5)


def test_torchscript_and_fx():
    mine, stock = both_layers(2, 3, 2, 3, 2, 1)
    x = torch.randn(1, 3, 5, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(torch.nn.Sequential(mine))
        traced = torch.jit.trace(mine, (x,))
    for other in (scripted, traced, torch.fx.symbolic_trace(torch.nn.Sequential(mine))):
        graph = str(getattr(other, "inlined_graph", getattr(other, "graph", "")))
        assert "conv_transpose2d" in graph or "aten::_convolution" in graph
        assert "tconv::" not in graph
        torch.testing.assert_close(other(x), stock(x), rtol=1e-5, atol=1e-5)
    assert type(mine) is ours.ConvTranspose2d


# -- never a stale weight ------------------------------------------------------------------------------------------


def _adam(layer):
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    with torch.enable_grad():
        layer(torch.randn(1, 4, 5, 5)).square().sum().backward()
    optimiser.step()


def _load(layer):
    layer.load_state_dict({name: torch.full_like(value, 0.25) for name, value in layer.state_dict().items()})


def _no_grad(layer):
    with torch.no_grad():
        layer.weight.mul_(3)


def _inference(layer):
    with torch.inference_mode():
        layer.weight.data.add_(1)


def _swap(layer):
    layer.weight = torch.nn.Parameter(torch.randn_like(layer.weight))


CHANGES = {
    "data": lambda layer: layer.weight.data.mul_(2),
    "one element": lambda layer: layer.weight.data[-1, -1, -1].__setitem__(-1, 7.0),
    "numpy": lambda layer: layer.weight.detach().numpy().__setitem__(..., 0.5),
    "swapped data": lambda layer: setattr(layer.weight, "data", torch.randn_like(layer.weight)),
    "bias": lambda layer: layer.bias.data.add_(1),
    "fused optimiser": _adam,
    "load_state_dict": _load,
    "no_grad": _no_grad,
    "inference mode": _inference,
    "another parameter": _swap,
    "memory format": lambda layer: layer.to(memory_format=torch.channels_last),
}


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_weight_is_seen(change, grad, kernel):
    layer, _ = both_layers(2, 4, 3, 3, 2)
    x = torch.randn(1, 4, 5, 5)
    with torch.set_grad_enabled(grad):
        layer(x)
        CHANGES[change](layer)
        theirs = functional.conv_transpose2d(x, layer.weight, layer.bias, 2)
        torch.testing.assert_close(layer(x), theirs, rtol=1e-5, atol=1e-5)
    assert len(kernel) >= 2


@pytest.mark.parametrize("method", ["hook", "parametrisation", "spectral", "pruned"])
def test_reparametrised_weights(method, kernel):
    layer, _ = both_layers(2, 4, 3, 3, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if method == "hook":
            torch.nn.utils.weight_norm(layer)
        elif method == "parametrisation":
            torch.nn.utils.parametrizations.weight_norm(layer)
        elif method == "spectral":
            torch.nn.utils.parametrizations.spectral_norm(layer).eval()
        else:
            import torch.nn.utils.prune as prune

            prune.random_unstructured(layer, "weight", 0.5)
    x = torch.randn(1, 4, 5, 5)
    for _ in range(3):
        got = layer(x)
        torch.testing.assert_close(
            got, functional.conv_transpose2d(x, layer.weight, layer.bias, 2), rtol=1e-5, atol=1e-5
        )
        got.square().sum().backward()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter += 0.01 * parameter.grad
    assert len(kernel) >= 3


# -- threads, processes, determinism -------------------------------------------------------------------------------


def test_results_do_not_depend_on_threads_or_runs():
    layer, _ = both_layers(2, 32, 16, 4, 2, 1)
    x = torch.randn(2, 32, 40, 41)
    before, found = torch.get_num_threads(), []
    try:
        torch.use_deterministic_algorithms(True)
        for count in (1, 2, 3, 2):
            torch.set_num_threads(count)
            with torch.no_grad():
                found.append(layer(x))
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(found[0], other) for other in found)


def test_a_large_layer_saves_multiplications_unless_it_is_trained():
    """Two forms of the kernel, each with its own packed weight; what one does not take goes to the other."""
    layer, x = ours.ConvTranspose2d(128, 64, 4, 2, 1), torch.randint(-3, 4, (16, 128, 16, 16)).float()
    with torch.no_grad():
        layer.weight.copy_(torch.randint(-3, 4, layer.weight.shape))
        layer.bias.zero_()
    exact = torch.nn.functional.conv_transpose2d(x.double(), layer.weight.double(), None, 2, 1).float()
    assert ours.plan(layer, x).method == "simd"
    assert torch.equal(layer(x), exact)
    with torch.no_grad():
        assert ours.plan(layer, x).method == "winograd"
        assert torch.equal(layer(x), exact)
        for last in (x.to(memory_format=torch.channels_last), x.expand(16, -1, -1, -1)):
            assert torch.equal(layer(last), exact)
        spoiled = x.clone()
        spoiled[3, 5, 7, 9] = float("inf")
        trained = ours.ConvTranspose2d(128, 64, 4, 2, 1)
        trained.load_state_dict(layer.state_dict())
        with torch.enable_grad():
            direct = trained(spoiled).detach()
        assert torch.equal(layer(spoiled).nan_to_num(7.0), direct.nan_to_num(7.0))
        layer.weight[0, 0, 0, 0] = 1e20
        far = torch.nn.functional.conv_transpose2d(x.double(), layer.weight.double(), None, 2, 1)
        assert torch.allclose(layer(x).double(), far, rtol=1e-6, atol=1e-3)


def test_torchs_number_of_threads_is_honoured(monkeypatch):
    from tconv.torch import kernel_call

    requested, compiled = [], kernel_call._compiled
    monkeypatch.setattr(
        kernel_call, "_compiled", lambda *arguments: requested.append(arguments[-2]) or compiled(*arguments)
    )
    layer, x, before, own = (
        ours.ConvTranspose2d(8, 8, 4, 2),
        torch.randn(1, 8, 33, 35),
        torch.get_num_threads(),
        tconv.get_num_threads(),
    )
    try:
        for torchs, tconvs in ((1, 2), (2, 2), (2, 1)):
            torch.set_num_threads(torchs)
            tconv.set_num_threads(tconvs)
            with torch.no_grad():
                layer(x)
    finally:
        torch.set_num_threads(before)
        tconv.set_num_threads(own)
    assert requested == [1, 2, 1]


def test_two_requests_at_once():
    layers = [both_layers(2, 16, 8, 4, 2, 1)[0] for _ in range(2)]
    xs = [torch.randn(1, 16, size, size) for size in (24, 31)]
    with torch.no_grad():
        expected = [[layer(x) for x in xs] for layer in layers]
    wrong, start = [], threading.Barrier(4)

    def serve(layer, right):
        start.wait()
        with torch.no_grad():
            for _ in range(60):
                for x, y in zip(xs, right, strict=True):
                    if not torch.equal(layer(x), y):
                        wrong.append(1)

    threads = [threading.Thread(target=serve, args=(layers[n % 2], expected[n % 2])) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Upsampled(torch.utils.data.Dataset):
    """Its items are made by a layer, in the worker."""

    def __init__(self, layer, x):
        self.layer, self.x = layer, x

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        with torch.no_grad():
            return self.layer(self.x[index]), torch.get_num_threads()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_in_a_dataloaders_worker(start):
    layer, x = both_layers(2, 8, 4, 4, 2, 1)[0], torch.randn(4, 8, 30, 31)
    with torch.no_grad():
        expected = layer(x)  # threads run before the fork
    loader = torch.utils.data.DataLoader(Upsampled(layer, x), 2, num_workers=2, multiprocessing_context=start)
    got = list(loader)
    assert torch.equal(torch.cat([y for y, _ in got]), expected)
    assert all((threads == 1).all() for _, threads in got)


def test_imported_inside_of_a_mode():
    code = (
        "import torch\n"
        "with torch._subclasses.FakeTensorMode():\n    import tconv.torch\n"
        "from tconv.torch.kernel_call import is_plain\n"
        "assert is_plain(torch.empty(1))\n"
        "with torch.inference_mode():\n    assert is_plain(torch.empty(1))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- plans, documents ----------------------------------------------------------------------------------------------


def test_plans_have_reasons():
    layer = ours.ConvTranspose2d(8, 4, 3, 2)
    x = torch.randn(1, 8, 5, 5)
    assert "the weight needs gradients, and packing it in every step" in str(ours.plan(layer, x))
    layer.requires_grad_(False)
    assert str(ours.plan(layer, x)).startswith("x [1, 8, 5, 5] -> y [1, 4, 11, 11], float32")
    with torch.no_grad():
        assert ours.plan(torch.nn.ConvTranspose2d(8, 4, 3, 2), x[0]).method == "simd"
    cases = [
        (layer, x.double(), "x is float64, the weight is float32, the bias is float32"),
        (layer, x.cfloat(), "x is complex64; the kernel computes float32, float64, float16 and bfloat16"),
        (layer, torch.empty(1, 8, 5, 5, device="meta"), "x is on meta; the kernel runs on the CPU"),
        (layer, x.as_subclass(type("Named", (torch.Tensor,), {})), "x is a Named, a subclass with rules of its own"),
        (layer, x[:, :2], "x (1, 2, 5, 5) does not fit the weight"),
        (ours.ConvTranspose2d(8, 4, 2, 2), x[:, :, :1, :1], "x is one position"),
        (ours.ConvTranspose2d(8, 2, 3, 2, dilation=2), torch.randn(2, 8, 5, 5), "dilation leaves phases without taps"),
        (layer, x[:0], "there is nothing to add up"),
    ]
    for case_layer, given, reason in cases:
        plan = ours.plan(case_layer, given)
        assert plan.method == "pytorch"
        assert reason in str(plan)
    with torch.autocast("cpu"):
        plan = ours.plan(layer, x)
    assert (plan.dtype, plan.cast) == ("bfloat16", "float32")
    assert str(plan).endswith("autocast  float32 is cast to bfloat16")
    plans = []
    torch.vmap(lambda one: plans.append(ours.plan(layer, one)) or one)(torch.randn(2, 1, 8, 5, 5))

    torch.func.grad(lambda one: plans.append(ours.plan(layer, one)) or one.sum())(x)
    assert [plan.method for plan in plans] == ["simd", "pytorch"]
    assert "a transform of torch.func" in str(plans[1])
    other = ours.ConvTranspose2d(8, 4, 3, 2).requires_grad_(False)
    other.bias = torch.nn.Parameter(torch.zeros(3), requires_grad=False)
    assert "the bias is (3,), and there are 4 output channels" in str(ours.plan(other, x))
    layer.weight.data[0, 0, 0, 0] = torch.nan
    assert "the weight contains inf or NaN" in str(ours.plan(layer, x))
    with pytest.raises(tconv.TconvError, match="layer is a Linear; a transposed convolution is needed"):
        ours.plan(torch.nn.Linear(2, 2), x)
    with pytest.raises(tconv.TconvError, match=r"tconv's Conv2d, .* a rule of shapes.* \(docs/torch\.md, Training\)"):
        ours.plan(ours.Conv2d(8, 4, 3), x)


HOME = Path(ours.__file__).parent


@pytest.mark.parametrize("name", sorted(path.stem for path in HOME.glob("*.py")))
def test_examples(name):
    module = importlib.import_module("tconv.torch" + ("" if name == "__init__" else f".{name}"))
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(module, optionflags=flags).failed == 0


@pytest.mark.parametrize("size", [(3,), (1,), (32, 1), (0,), (), (33,)], ids=str)
def test_a_bias_of_another_size_is_refused_as_pytorch_does(size):
    x, w = torch.randn(1, 64, 20, 20), torch.randn(64, 32, 4, 4)
    right, wrong = torch.zeros(32), torch.zeros(size)
    layer = ours.ConvTranspose2d(64, 32, 4)
    with torch.no_grad():
        ours.conv_transpose(x, w, right)  # is known from now on
    layer.bias = torch.nn.Parameter(wrong)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            for call in (
                lambda: ours.conv_transpose(x, w, wrong),
                lambda: ours.conv_transpose(x.requires_grad_(torch.is_grad_enabled()), w, wrong),
                lambda: layer(x),
                lambda: torch.ops.tconv.conv_transpose(x, w, wrong, [1, 1], [0, 0], [0, 0], [1, 1], 1),
            ):
                with pytest.raises(RuntimeError, match="expected bias to be 1-dimensional"):
                    call()
    plain = [tensor.detach() for tensor in (x, w, wrong)]
    with torch._subclasses.FakeTensorMode() as mode:
        fakes = [mode.from_tensor(tensor) for tensor in plain]
        with pytest.raises(RuntimeError, match="not one number for each of 32"):
            torch.ops.tconv.conv_transpose(*fakes, [1, 1], [0, 0], [0, 0], [1, 1], 1)


def test_arguments_of_numpy_and_of_tensors_and_invalid_arguments():
    x, w = torch.randn(1, 4, 5, 5), torch.randn(4, 3, 4, 4)
    expected = functional.conv_transpose2d(x, w, stride=2, padding=1)
    for two in (np.int64(2), torch.tensor(2), [np.int32(2), 2], (2,)):
        close = torch.testing.assert_close
        close(ours.conv_transpose(x, w, stride=two, padding=np.int8(1)), expected, rtol=1e-4, atol=1e-5)
    for wrong in ({"stride": 2.0}, {"stride": "2"}, {"padding": None}, {"groups": 1.0}, {"dilation": [1.5, 1]}):
        with pytest.raises(TypeError, match="conv_transpose2d"):
            ours.conv_transpose(x, w, **wrong)
    for tensors in ((x, None), (None, w), (x.numpy(), w), (x, w.numpy())):
        with pytest.raises(TypeError, match="conv_transpose"):
            ours.conv_transpose(*tensors)
