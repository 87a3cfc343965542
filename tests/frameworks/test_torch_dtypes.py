"""tconv.torch in float64, bfloat16 and float16, under autocast, and in both memory formats."""

from __future__ import annotations

import copy
import itertools
import warnings

import pytest
import torch
from torch import nn
from torch.library import opcheck
from torch.nn import functional

import tconv
import tconv.torch as ours
from tconv.acceleration.layer_choice import Choice
from tconv.acceleration.paired_timing import Pairs
from tconv.kernels.simd.bfloat16_dot import reason_unavailable as reason_without_dot
from tconv.torch import kernel_call
from tconv.torch.element_types import NUMPY

OPERATOR = torch.ops.tconv.conv_transpose.default
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
NARROW = (torch.bfloat16, torch.float16)
LAST = {1: None, 2: torch.channels_last, 3: torch.channels_last_3d}
CLASSES = {ndim: (getattr(ours, f"ConvTranspose{ndim}d"), getattr(nn, f"ConvTranspose{ndim}d")) for ndim in (1, 2, 3)}
STEPS = {torch.float64: 2**-52, torch.float32: 2**-23, torch.float16: 2**-10, torch.bfloat16: 2**-7}


@pytest.fixture
def kernel(monkeypatch):
    """A list that grows with every run of tconv's kernel, by the dtype; layers in training run on it, too."""
    seen, run = [], kernel_call.Call.__call__

    def count(self, x, *tensors, **kwargs):
        out = run(self, x, *tensors, **kwargs)
        seen.append(x.dtype if out is not None else None)
        return out

    monkeypatch.setattr(kernel_call.Call, "__call__", count)
    monkeypatch.setattr("tconv.torch.functional.against_training", lambda *sizes: False)
    return seen


@pytest.fixture(autouse=True)
def no_compiled_code():
    """No code that an earlier test has compiled counts towards the limit of recompilations."""
    torch.compiler.reset()


@pytest.fixture
def all_stay(monkeypatch):
    """No layer is left to PyTorch because the machine was busy."""

    def choice(prepare, run, sides, clocked, reasons, leave):
        part = 0.5 / max(1, len(clocked))
        pairs = Pairs([(1.0, 0.75)], {name: [(part, part / 2)] for name in clocked}, {name: [part] for name in clocked})
        return Choice(pairs, {}, pairs.gain)

    monkeypatch.setattr("tconv.torch.model_acceleration.choose", choice)


def both_layers(ndim, dtype, *arguments, **kwargs):
    """A drop-in and PyTorch's layer with the same weights."""
    mine, stock = (kind(*arguments, **kwargs).to(dtype) for kind in CLASSES[ndim])
    mine.load_state_dict(stock.state_dict())
    return mine, stock


def wide(layer):
    return copy.deepcopy(layer).double()


def largest(tensor):
    return tensor.detach().double().abs().max().item()


def error(got, truth):
    return (got.detach().double() - truth.detach().double()).abs().max().item()


def assert_as_good(got, theirs, truth, dtype):
    """The error is that of PyTorch's operator, or a rounding of the largest value."""
    assert (got.dtype, got.shape) == (dtype, truth.shape)
    assert error(got, truth) <= 2 * error(theirs, truth) + 2 * STEPS[dtype] * largest(truth)


# -- layers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_layers_in_both_formats(ndim, dtype, kernel):
    torch.manual_seed(ndim)
    shapes = [(6, 5, 4, 2, 1), (4, 4, 2, 2, 0), (3, 2, 3, 1, 1)]  # C_in, C_out, kernel, stride, padding
    for sizes, groups, x_last, w_last in itertools.product(shapes, (1, 2), (False, True), (False, True)):
        c_in, c_out, *axes = sizes
        if (ndim == 1 and (x_last or w_last)) or c_in % groups or c_out % groups:
            continue
        mine, stock = both_layers(ndim, dtype, c_in, c_out, *axes, groups=groups)
        x = torch.randn(2, c_in, *[5, 7, 4][:ndim]).to(dtype)
        x = x.to(memory_format=LAST[ndim]) if x_last else x
        if w_last:
            mine, stock = (layer.to(memory_format=LAST[ndim]) for layer in (mine, stock))
        with torch.no_grad():
            got, theirs, truth = mine(x), stock(x), wide(stock)(x.double())
        assert_as_good(got, theirs, truth, dtype)
        if ndim < 3:
            assert got.stride() == theirs.stride()
        else:  # PyTorch sometimes returns a contiguous output
            assert got.is_contiguous(memory_format=LAST[3] if x_last or w_last else torch.contiguous_format)
    assert set(kernel) == {dtype}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", [False, True])
def test_whole_numbers_are_exact(dtype, last, kernel):
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(-3, 4, (2, 5, 9, 8), generator=rng).to(dtype)
    w = torch.randint(-2, 3, (5, 3, 4, 4), generator=rng).to(dtype)
    bias = torch.randint(-5, 6, (3,), generator=rng).to(dtype)
    x = x.to(memory_format=torch.channels_last) if last else x
    expected = functional.conv_transpose2d(x.double(), w.double(), bias.double(), 2, 1)
    assert largest(expected) < 256
    assert torch.equal(ours.conv_transpose(x, w, bias, 2, 1).double(), expected)
    assert torch.equal(tconv.conv_transpose(x, w, bias, stride=2, padding=1).double(), expected)
    assert kernel == [dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_way_to_call_gives_the_same_bits(dtype):
    x, w = torch.randn(2, 6, 9, 8).to(dtype), torch.randn(6, 5, 3, 3).to(dtype)
    bias = torch.randn(5).to(dtype)
    expected = tconv.conv_transpose(x, w, bias, stride=2, method="simd")
    assert expected.dtype is dtype
    for given, weight in itertools.product((x, x.to(memory_format=torch.channels_last)), (w, w[:, :, ::1].clone())):
        assert torch.equal(ours.conv_transpose(given, weight, bias, 2), expected)
        assert torch.equal(ours.conv_transpose(given, weight.to(memory_format=torch.channels_last), bias, 2), expected)
        assert torch.equal(OPERATOR(given, weight, bias, [2, 2], [0, 0], [0, 0], [1, 1], 1), expected)
    assert torch.equal(ours.conv_transpose(x[1:], w, bias, 2), expected[1:])
    assert torch.equal(ours.conv_transpose(x[1], w, bias, 2), expected[1])


@pytest.mark.parametrize("dtype", NARROW)
def test_large_sums_overflow_once(dtype):
    """PyTorch's float16 adds up in float16 in places, and overflows in the middle of a sum."""
    top = torch.finfo(dtype).max
    x = torch.full((1, 4, 6, 6), top).to(dtype)
    w = torch.tensor([1.0, 1.0, -1.0, -1.0]).reshape(4, 1, 1, 1).expand(4, 2, 2, 2).to(dtype).contiguous()
    if dtype is torch.float16:  # float32 has room for sums of it
        assert torch.equal(ours.conv_transpose(x, w, stride=2), torch.zeros(1, 2, 12, 12, dtype=dtype))
    assert ours.conv_transpose(x[:, :2], w[:2], stride=2).isposinf().all()
    x[0, 0, 2, 3] = torch.nan
    assert ours.conv_transpose(x[:, :2], w[:2], stride=2).isnan().sum() == 2 * 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_outputs_come_from_the_pool_and_are_their_owners(dtype):
    x, w = torch.randn(1, 8, 300, 300).to(dtype), torch.randn(8, 4, 2, 2).to(dtype)
    for given in (x, x.to(memory_format=torch.channels_last)):
        with torch.no_grad():
            y = ours.conv_transpose(given, w, stride=2)
        theirs = functional.conv_transpose2d(given, w, stride=2)
        assert (y.stride(), y._is_view()) == (theirs.stride(), False)
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
    assert x.grad.dtype is dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_weight_is_never_stale(dtype, kernel):
    mine, stock = both_layers(2, dtype, 4, 3, 3, 2)
    x = torch.randn(1, 4, 6, 6).to(dtype)
    with torch.no_grad():
        for edit in (lambda w: w.mul_(2), lambda w: w.data.neg_(), lambda w: w[0].zero_()):
            for layer in (mine, stock):
                edit(layer.weight)
            assert_as_good(mine(x), stock(x), wide(stock)(x.double()), dtype)
    assert set(kernel) == {dtype}


def test_mixed_dtypes_are_refused_as_pytorch_does():
    x, w, bias = torch.randn(1, 3, 4, 4), torch.randn(3, 2, 2, 2), torch.randn(2)
    for of_x, of_w, of_bias in itertools.product(DTYPES, DTYPES, DTYPES):
        given = x.to(of_x), w.to(of_w), bias.to(of_bias)
        answers = []
        for call in (functional.conv_transpose2d, ours.conv_transpose):
            try:
                answers.append(call(*given).dtype)
            except RuntimeError as refused:
                answers.append(str(refused))
        assert answers[0] == answers[1]


# -- gradients -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_gradcheck_runs_on_the_kernel(ndim, kernel):
    x = torch.randn(2, 4, *[3] * ndim, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 2, *[2] * ndim, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *given: ours.conv_transpose(*given, stride=2, groups=2), (x, w, bias), fast_mode=True
    )
    assert torch.autograd.gradgradcheck(
        lambda *given: ours.conv_transpose(*given, stride=2, groups=2), (x, w, bias), fast_mode=True
    )
    assert set(kernel) == {torch.float64}
    assert len(kernel) > 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last", [False, True])
def test_gradients_are_pytorchs(dtype, last, kernel):
    layers = both_layers(2, dtype, 6, 4, 4, 2, 1)
    x = torch.randn(2, 6, 7, 5).to(dtype)
    x = x.to(memory_format=torch.channels_last) if last else x
    found = []
    for layer in layers:
        given = x.clone().requires_grad_()
        layer(given).sum().backward()
        found.append([given.grad, layer.weight.grad, layer.bias.grad])
    for mine, theirs in zip(*found, strict=True):
        assert torch.equal(mine, theirs)  # the output's gradient is the same
    assert kernel == [dtype]


# -- autocast ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("last", [False, True])
def test_autocast_of_a_layer(dtype, last, kernel):
    mine, stock = both_layers(2, torch.float32, 6, 4, 4, 2, 1)
    x = torch.randn(2, 6, 7, 5)
    x = x.to(memory_format=torch.channels_last) if last else x
    exact = wide(stock).to(dtype).double()  # the rounded weights
    for given in (x, x.to(dtype), x.to(NARROW[dtype is NARROW[0]])):
        with torch.no_grad(), torch.autocast("cpu", dtype):
            got, theirs = mine(given), stock(given)
            assert torch.equal(OPERATOR(given, mine.weight, mine.bias, [2, 2], [1, 1], [0, 0], [1, 1], 1), got)
        with torch.no_grad():
            assert_as_good(got, theirs, exact(given.to(dtype).double()), dtype)
        assert got.stride() == theirs.stride()
    assert set(kernel) == {dtype}


@pytest.mark.parametrize("dtype", NARROW)
def test_autocast_trains_in_the_original_dtype(dtype, kernel):
    layers = both_layers(2, torch.float32, 6, 4, 4, 2, 1)
    x = torch.randn(2, 6, 7, 5)
    found = []
    for layer in layers:
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype):
            y = layer(given)
        assert y.dtype is dtype
        y.sum().backward()
        found.append([given.grad, layer.weight.grad, layer.bias.grad])
    for mine, theirs in zip(*found, strict=True):
        assert mine.dtype is theirs.dtype is torch.float32
        assert torch.equal(mine, theirs)
    assert kernel == [dtype]
    optimizer = torch.optim.SGD(layers[0].parameters(), 0.1)
    optimizer.step()
    with torch.autocast("cpu", dtype), torch.no_grad():
        after = layers[0](x)
    assert not torch.equal(after, y)  # the weight that the step has changed


@pytest.mark.parametrize("dtype", NARROW)
def test_autocast_packs_a_weight_once(dtype, monkeypatch):
    mine, _ = both_layers(2, torch.float32, 6, 4, 4, 2, 1)
    x, packed = torch.randn(2, 6, 7, 5), []
    cast = kernel_call.numbers
    monkeypatch.setattr(
        kernel_call, "numbers", lambda tensor, *more: packed.append(tensor.dim()) or cast(tensor, *more)
    )
    for given in (x, x.to(dtype), 2 * x):
        with torch.autocast("cpu", dtype), torch.no_grad():
            mine(given)
    assert packed.count(4) == 1
    with torch.no_grad():
        mine.weight.mul_(2)
    for _ in range(2):
        with torch.autocast("cpu", dtype), torch.no_grad():
            mine(x)
    assert packed.count(4) == 2


def test_autocast_inside_autocast():
    mine, stock = both_layers(2, torch.float32, 6, 4, 4, 2, 1)
    x = torch.randn(2, 6, 7, 5)
    with torch.no_grad():
        plain = mine(x)
        with torch.autocast("cpu", torch.bfloat16):
            narrow = mine(x)
            with torch.autocast("cpu", enabled=False):
                assert torch.equal(mine(x), plain)
                with pytest.raises(RuntimeError):
                    mine(narrow.new_zeros(2, 6, 7, 5))  # bfloat16 meets a float32 weight, as PyTorch refuses it
            with torch.autocast("cpu", torch.float16):
                assert mine(x).dtype is torch.float16
            assert torch.equal(mine(x), narrow)
            assert mine.double()(x.double()).dtype is torch.float64  # autocast leaves float64 alone
            for layer in (mine, stock.double()):
                with pytest.raises(RuntimeError):
                    layer(x)


def test_autocast_of_tensors_with_gradients_by_tconv(kernel):
    x, w = torch.randn(1, 4, 6, 6), torch.randn(4, 3, 4, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = tconv.conv_transpose(x, w, stride=2)
    assert y.dtype is torch.bfloat16
    y.sum().backward()
    assert w.grad.dtype is torch.float32
    assert kernel == [torch.bfloat16]


# -- PyTorch's transforms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("ndim", "last"), [(1, False), (2, True), (3, False)])
def test_opcheck(dtype, ndim, last):
    x, w = torch.randn(2, 4, *range(4, 4 + ndim)).to(dtype), torch.randn(4, 3, *range(2, 2 + ndim)).to(dtype)
    x = x.to(memory_format=LAST[ndim]) if last else x
    axes = [(2,) * ndim, (1,) * ndim, (1,) * ndim, (1,) * ndim]
    bias = torch.randn(6).to(dtype)
    assert set(opcheck(OPERATOR, (x, w, bias, *axes, 2)).values()) == {"SUCCESS"}
    assert set(opcheck(OPERATOR, (x.requires_grad_(), w.requires_grad_(), None, *axes, 2)).values()) == {"SUCCESS"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_vmap_and_func(dtype):
    x, w = torch.randn(3, 2, 4, 5, 6).to(dtype), torch.randn(4, 3, 3, 3).to(dtype)
    many = torch.randn(3, 4, 3, 3, 3).to(dtype)
    allowed = {"rtol": 8 * STEPS[dtype], "atol": 32 * STEPS[dtype]}
    for dims, given in (((0, None), (x, w)), ((None, 0), (x[0], many)), ((0, 0), (x, many))):
        expected = torch.vmap(lambda a, b: functional.conv_transpose2d(a, b, stride=2), dims)(*given)
        got = torch.vmap(lambda a, b: ours.conv_transpose(a, b, stride=2), dims)(*given)
        assert got.dtype is dtype
        torch.testing.assert_close(got, expected, **allowed)
    grads = [
        torch.func.grad(lambda a, call=call: call(a, w, stride=2).sum())(x[0])
        for call in (ours.conv_transpose, functional.conv_transpose2d)
    ]
    torch.testing.assert_close(*grads, **allowed)
    for autocast in NARROW:
        with torch.autocast("cpu", autocast):
            got = torch.vmap(lambda a: ours.conv_transpose(a, w, stride=2))(x)
            expected = torch.vmap(lambda a: functional.conv_transpose2d(a, w, stride=2))(x)
        assert got.dtype is expected.dtype
        torch.testing.assert_close(got.float(), expected.float(), rtol=0.05, atol=0.2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_compiled_and_exported(dtype):
    mine, _ = both_layers(2, dtype, 4, 3, 4, 2, 1)
    x = torch.randn(2, 4, 6, 5).to(dtype)
    with torch.no_grad():
        expected = mine(x)
        close = {"rtol": 4 * STEPS[dtype], "atol": 4 * STEPS[dtype] * largest(expected)}
        compiled = torch.compile(mine, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), expected, **close)
        exported = torch.export.export(mine, (x,))
        assert "tconv" not in str(exported.graph)
        torch.testing.assert_close(exported.module()(x), expected, **close)
    given = [x.clone().requires_grad_() for _ in range(2)]
    for call, one in zip((mine, compiled), given, strict=True):
        call(one).sum().backward()
    torch.testing.assert_close(given[0].grad, given[1].grad, **close)


@pytest.mark.parametrize("dtype", NARROW)
def test_compiled_under_autocast(dtype, kernel):
    mine, _ = both_layers(2, torch.float32, 4, 3, 4, 2, 1)
    x = torch.randn(2, 4, 6, 5)
    graphs = []

    def keep(graph, example):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(mine, backend=keep, fullgraph=True)
    with torch.no_grad(), torch.autocast("cpu", dtype):
        expected = mine(x)
        got = compiled(x)
    assert torch.equal(got, expected)
    assert "conv_transpose" in str(graphs[0].graph)
    with torch.autocast("cpu", dtype):
        y = torch.compile(mine, backend="aot_eager", fullgraph=True)(x)
    y.sum().backward()
    assert (y.dtype, mine.weight.grad.dtype) == (dtype, torch.float32)
    assert set(kernel) == {dtype}


# -- whole models --------------------------------------------------------------------------------------------------


ENDS = {
    "relu": lambda: nn.ReLU(),
    "leaky": lambda: nn.LeakyReLU(0.1),
    "prelu": lambda: nn.PReLU(6, 0.3),
    "clamp": lambda: nn.Hardtanh(-0.3, 0.7),
}


def chain(end, norm=True):
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.ConvTranspose2d(8, 6, 4, 2, 1), *[nn.BatchNorm2d(6)] * norm, ENDS[end](), nn.Conv2d(6, 2, 3)
    ).eval()
    if norm:
        nn.init.uniform_(made[1].weight, 0.5, 2)
        made[1].running_mean.normal_()
        made[1].running_var.uniform_(0.5, 2)
    return made


CHAINS = [
    ("float64", "leaky", True),
    ("bfloat16", "relu", True),
    ("bfloat16", "prelu", True),
    ("bfloat16", "clamp", False),
    ("float16", "prelu", True),
    ("float16", "leaky", False),
    ("autocast bfloat16", "relu", True),
    ("autocast bfloat16", "prelu", True),
    ("autocast bfloat16", "leaky", False),
    ("autocast float16", "clamp", True),
    ("autocast float16", "prelu", False),
    ("norm alone", "relu", True),
]
"""Dtype, activation, and True for a batch norm before it; "norm alone" is a float32 norm behind a bfloat16 layer."""


@pytest.mark.parametrize(("how", "end", "norm"), CHAINS)
def test_fused_chains(how, end, norm, all_stay, kernel):
    dtype = torch.bfloat16 if how == "norm alone" else getattr(torch, how.removeprefix("autocast "))
    x = torch.randn(2, 8, 7, 6)
    model = chain(end, norm)
    if "autocast" not in how:
        model, x = model.to(dtype), x.to(dtype)
        if how == "norm alone" and norm:
            model[1].float()  # as many do
    exact = copy.deepcopy(model)
    if "autocast" in how:
        exact[0].to(dtype)
        exact[-1].to(dtype)
    exact = exact.double()
    x = x.to(memory_format=torch.channels_last)
    truth = exact(x.to(dtype).double())
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled="autocast" in how):
        theirs = model(x)
        report = ours.accelerate(model, x, fuse=True)
        assert report.fused == (("0", ("BatchNorm2d, " if norm else "") + type(ENDS[end]()).__name__),)
        assert f" {str(dtype).removeprefix('torch.')}, channels last: " in str(report)
        kernel.clear()
        got = model(x)
        assert kernel == [dtype]
        assert_as_good(got, theirs, truth, dtype)
        assert got.stride() == theirs.stride()
        with torch.no_grad():
            model[0].weight.mul_(2)  # folded again
        again = model(x)
        ours.restore(model)
        torch.clear_autocast_cache()  # PyTorch's cast weight, from before the edit
        assert error(again, model(x)) <= 8 * STEPS[dtype] * largest(again)
    if "autocast" in how:  # the same model, without autocast
        with torch.no_grad():
            ours.accelerate(model, x, fuse=True)
            assert model(x).dtype is torch.float32


def test_a_fused_chain_rounds_once(all_stay, kernel):
    model, x = chain("relu"), torch.randn(2, 8, 32, 32)
    model[3] = nn.Identity()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        theirs = model(x)
        ours.accelerate(model, x, fuse=True)
        got = model(x)
    exact = copy.deepcopy(ours.restore(model) and model)
    exact[0].bfloat16()
    truth = exact.double()(x.bfloat16().double())
    errors = [(one.double() - truth).square().mean().sqrt().item() for one in (got, theirs)]
    if reason_without_dot() is None:  # the folded weight is rounded, too
        assert errors[0] < 1.1 * errors[1]
    else:
        assert errors[0] < 0.9 * errors[1]
        assert (got.double() - truth).abs().max() <= (2**-8 * truth.abs() + 1e-5).max()


def test_a_reader_outside_of_autocast_gets_the_layers_output(all_stay):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.act, self.outside = nn.ConvTranspose2d(8, 6, 4, 2, 1), nn.ReLU(), False

        def forward(self, x):
            with torch.autocast("cpu", torch.bfloat16):
                y = self.up(x)
                z = y if self.outside else self.act(y)
            return self.act(z) if self.outside else z

    model, x = Net().eval(), torch.randn(1, 8, 5, 5)
    with torch.no_grad():
        expected = model(x)
        report = ours.accelerate(model, x, fuse=True)
        assert "[1, 8, 5, 5] bfloat16: " in str(report)
        assert report.fused == (("up", "ReLU"),)
        assert error(model(x), expected) <= 2 * STEPS[torch.bfloat16] * largest(expected)
        model.outside = True
        with pytest.warns(UserWarning, match="^up: other code than the fused ReLU reads its output"):
            assert error(model(x), expected) <= 2 * STEPS[torch.bfloat16] * largest(expected)


@pytest.mark.parametrize("last", [False, True])
def test_a_checkpoint_in_float16(last, all_stay, kernel):
    model = chain("relu")
    checkpoint = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()
    }
    model.half().load_state_dict(checkpoint)
    x = torch.randn(2, 8, 9, 9).half()
    if last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected, truth = model(x), copy.deepcopy(model).double()(x.double())
        for fuse in (False, True):
            report = ours.accelerate(model, x, fuse=fuse)
            assert (report.layers[0].dtype, report.layers[0].layout) == ("float16", "channels last" if last else "")
            assert ("[2, 8, 9, 9] float16, channels last: " if last else "[2, 8, 9, 9] float16: ") in str(report)
            assert report.difference <= 4 * STEPS[torch.float16] * largest(expected)
            kernel.clear()
            assert_as_good(model(x), expected, truth, torch.float16)
            assert kernel == [torch.float16]
            ours.restore(model)


@pytest.mark.parametrize("dtype", NARROW)
def test_a_folded_layer_keeps_its_dtype(dtype):
    model = chain("relu").to(dtype)
    folded = ours.fold_batchnorm(model[0], model[1])
    assert folded.weight.dtype is folded.bias.dtype is dtype
    x = torch.randn(1, 8, 5, 5).to(dtype)
    with torch.no_grad():
        expected = model[1](model[0](x))
        assert error(folded(x), expected) <= 8 * STEPS[dtype] * largest(expected)


def test_a_wrong_fusion_is_noticed_in_two_bytes(all_stay, monkeypatch):
    fold = ours.fusion._folded
    monkeypatch.setattr(ours.fusion, "_folded", lambda *given: [1.2 * one for one in fold(*given)])
    model, x = chain("relu").bfloat16(), torch.randn(2, 8, 7, 6).bfloat16()
    with torch.no_grad():
        report = ours.accelerate(model, x, fuse=True)
    assert report.unfused == (("0", "the model's output changed"),)


# -- plans ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_plan_names_the_dtype(dtype):
    name = str(dtype).removeprefix("torch.")
    layer = ours.ConvTranspose2d(8, 4, 3, 2).requires_grad_(False).to(dtype)
    x = torch.randn(1, 8, 5, 5).to(dtype)
    plan = ours.plan(layer, x)
    assert (plan.method, plan.dtype, plan.cast) == ("simd", name, "")
    assert str(plan).splitlines()[0] == "x [1, 8, 5, 5] -> y [1, 4, 11, 11], " + name + (
        ", summed in float32" if dtype in NARROW else ""
    )
    assert tconv.plan(x, layer.weight, stride=2).problem.dtype == NUMPY[dtype]
    spread = ours.plan(ours.ConvTranspose2d(8, 2, 3, 2, dilation=2).to(dtype), torch.cat([x, x]))
    if dtype is torch.float16 and kernel_call._float16_is_slow():
        assert (spread.method, spread.dtype) == ("simd", name)  # and PyTorch's is faster in no call
    else:
        assert (spread.method, spread.dtype) == ("pytorch", name)
        assert str(spread).startswith(f"method    pytorch: PyTorch's operator in {name}\n")
    with torch.autocast("cpu", torch.bfloat16):
        plan = ours.plan(layer, x)
        assert (plan.method, plan.dtype) == ("simd", "float64" if dtype is torch.float64 else "bfloat16")
        assert plan.cast == ("" if dtype in (torch.float64, torch.bfloat16) else name)


def test_without_ml_dtypes(monkeypatch):
    for known in (NUMPY, kernel_call._SIZES):
        monkeypatch.delitem(known, torch.bfloat16)
    mine, stock = both_layers(2, torch.bfloat16, 4, 3, 4, 2, 1)
    x = torch.randn(1, 4, 5, 5).bfloat16()
    with torch.no_grad():
        assert torch.equal(mine(x), stock(x))
        needed = "bfloat16, which NumPy has only with ml_dtypes; write pip install ml_dtypes"
        assert needed in str(ours.plan(mine, x))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(mine.float()(x.float()), stock.float()(x.float()))
            assert needed in str(ours.plan(mine, x.float()))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            report = ours.accelerate(nn.Sequential(stock.bfloat16()))
    assert needed in str(report)


def test_float16_in_training_stays_on_the_kernel_where_pytorchs_is_slow(monkeypatch):
    x, w = torch.randn(1, 8, 5, 5).half(), torch.randn(8, 4, 3, 3).half().requires_grad_()
    for slow in (True, False):
        monkeypatch.setattr(kernel_call, "_float16_is_slow", lambda slow=slow: slow)
        assert kernel_call.against_training(x.shape, w.shape, torch.float16) is not slow
        assert kernel_call.against_training(x.shape, w.shape, torch.bfloat16)
    assert isinstance(kernel_call._float16_is_slow(), bool)
