"""Gradients on the kernel, and tconv.torch.Conv1d to Conv3d: compared with PyTorch's in float64, and in every kind of use."""

from __future__ import annotations

import copy
import io
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

import tconv.torch as ours
from tconv.torch import convolution, custom_op, gradients, training_choice
from tconv.torch.training_choice import NOTHING, TrainingChoice

LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
EVERYTHING = TrainingChoice(True, True, True)
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-14, torch.float16: 2e-3, torch.bfloat16: 2e-2}
"""Largest error as a share of the largest value, per multiply-add of a long sum a little less than one."""

DTYPES = torch.float32, torch.float64, torch.float32, torch.float16, torch.bfloat16


@pytest.fixture(autouse=True)
def _measured_machine(monkeypatch):
    """The choice of a chip that was measured, on two threads, whatever this machine is."""
    monkeypatch.setattr(training_choice, "_is_measured", lambda: True)
    monkeypatch.setattr(training_choice, "get_num_threads", lambda: 64)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def seen(monkeypatch):
    """Names of what the kernel computed; every call that it can run stays on it, however small."""
    names = []

    def watched(module, name):
        inner = getattr(module, name)

        def outer(*arguments):
            found = inner(*arguments)
            if found is not None:
                names.append(name)
            return found

        monkeypatch.setattr(module, name, outer)

    watched(gradients, "_by_input")
    watched(gradients, "_by_weight")
    for module in (gradients, convolution):
        monkeypatch.setattr(module, "choose", lambda *call, transposed=True: EVERYTHING)
    monkeypatch.setattr("tconv.torch.functional.against_training", lambda *sizes: False)
    return names


def random_case(rng, ndim):
    """Shapes and arguments of a convolution of [N, B, *L] to [N, A, *n], asymmetric wherever that is possible."""
    groups = int(rng.integers(1, 4))
    kernel, dilation, stride = (rng.integers(1, most, ndim).tolist() for most in (5, 3, 4))
    if rng.random() < 0.7:
        stride = [1] * ndim
    padding = [int(rng.integers(0, d * (k - 1) + 1)) for k, d in zip(kernel, dilation, strict=True)]
    sizes = [int(rng.integers(1, 8)) for _ in range(ndim)]
    sizes[-1] = int(rng.integers(1, 40))
    lengths = [
        max(1, (n - 1) * s + d * (k - 1) + 1 - 2 * p + int(rng.integers(0, s)))
        for n, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True)
    ]
    lengths = [
        max(length, d * (k - 1) + 1 - 2 * p) for length, k, p, d in zip(lengths, kernel, padding, dilation, strict=True)
    ]
    a, b = (groups * int(rng.choice((1, 2, 5))) for _ in range(2))
    return (int(rng.integers(1, 4)), a, b, lengths), kernel, stride, padding, dilation, groups


def gradients_of(call, tensors, seed, dtype=None):
    given = [None if one is None else one.detach().to(dtype or one.dtype).requires_grad_() for one in tensors]
    y = call(*given)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    # rounded like the tensors, so that both have the same output's gradient
    found = torch.autograd.grad(y, [one for one in given if one is not None], weights.to(tensors[0].dtype).to(y.dtype))
    return y.detach(), found


def assert_near(found, truth, dtype):
    for mine, exact in zip(found, truth, strict=True):
        assert mine.dtype == dtype
        assert mine.shape == exact.shape
        assert (mine.double() - exact).abs().max() <= TOLERANCE[dtype] * exact.abs().max().clamp(min=1)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_convolutions_against_float64(ndim, seen):
    rng = np.random.default_rng(ndim)
    for seed, dtype in zip(range(16), itertools.cycle(DTYPES), strict=False):
        (batch, a, b, lengths), kernel, stride, padding, dilation, groups = random_case(rng, ndim)
        tensors = [torch.randn(batch, b, *lengths), torch.randn(a, b // groups, *kernel), torch.randn(a)]
        tensors = [one.to(dtype) for one in tensors]
        if seed % 3 == 1 and ndim > 1:
            tensors[0] = tensors[0].to(memory_format=LAST[ndim])
        if seed % 4 == 1:
            tensors[2] = None
        arguments = custom_op.Arguments(tuple(stride), tuple(padding), (0,) * ndim, tuple(dilation), groups)
        native = getattr(functional, f"conv{ndim}d")
        native = partial(native, stride=stride, padding=padding, dilation=dilation, groups=groups)
        y, found = gradients_of(partial(convolution.apply, arguments=arguments), tensors, seed)
        exact, truth = gradients_of(native, tensors, seed, torch.float64)
        assert_near([y, *found], [exact, *truth], dtype)
    assert seen.count("_by_input") >= 10
    assert seen.count("_by_weight") >= 4


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_transposed_convolutions_against_float64(ndim, seen):
    rng = np.random.default_rng(ndim)
    for seed, dtype in zip(range(16), itertools.cycle(DTYPES), strict=False):
        (batch, a, b, lengths), kernel, stride, padding, dilation, groups = random_case(rng, ndim)
        sizes = [
            (length + 2 * p - d * (k - 1) - 1) // s + 1
            for length, k, s, p, d in zip(lengths, kernel, stride, padding, dilation, strict=True)
        ]
        extra = [int(rng.integers(0, max(s, d))) for s, d in zip(stride, dilation, strict=True)]
        tensors = [torch.randn(batch, a, *sizes), torch.randn(a, b // groups, *kernel), torch.randn(b)]
        tensors = [one.to(dtype) for one in tensors]
        names = "stride", "padding", "output_padding", "groups", "dilation"
        arguments = dict(zip(names, (stride, padding, extra, groups, dilation), strict=True))
        native = getattr(functional, f"conv_transpose{ndim}d")
        if any(n + op < 1 for n, op in zip(lengths, extra, strict=True)):
            continue
        y, found = gradients_of(partial(ours.conv_transpose, **arguments), tensors, seed)
        exact, truth = gradients_of(partial(native, **arguments), tensors, seed, torch.float64)
        assert_near([y, *found], [exact, *truth], dtype)
    assert seen.count("_by_input") >= 4
    assert seen.count("_by_weight") >= 4


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_derivatives_of_first_and_second_order(ndim, seen):
    for groups, stride in ((1, 1), (2, 1), (2, 2)):
        x = torch.randn(2, 4, *[5] * ndim, dtype=torch.float64, requires_grad=True)
        w = torch.randn(6, 4 // groups, *[3] * ndim, dtype=torch.float64, requires_grad=True)
        bias = torch.randn(6, dtype=torch.float64, requires_grad=True)
        arguments = custom_op.Arguments((stride,) * ndim, (1,) * ndim, (0,) * ndim, (1,) * ndim, groups)
        call = lambda *given, one=arguments: convolution.apply(*given, one)  # noqa: E731
        assert torch.autograd.gradcheck(call, (x, w, bias), fast_mode=True)
        assert torch.autograd.gradgradcheck(call, (x, w, bias), fast_mode=True)
    x = torch.randn(2, 4, *[5] * ndim, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 3, *[3] * ndim, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours.conv_transpose, (x, w), fast_mode=True)
    assert torch.autograd.gradgradcheck(ours.conv_transpose, (x, w), fast_mode=True)
    assert {"_by_input", "_by_weight"} <= set(seen)


def test_only_the_gradients_asked_for(seen):
    tensors = torch.randn(2, 3, 9, 30), torch.randn(4, 3, 3, 3), torch.randn(4)
    arguments = custom_op.Arguments((1, 1), (1, 1), (0, 0), (1, 1), 1)
    for asked in range(1, 8):
        del seen[:]
        given = [one.clone().requires_grad_(bool(asked >> at & 1)) for at, one in enumerate(tensors)]
        convolution.apply(*given, arguments).square().sum().backward()
        assert [one.grad is not None for one in given] == [one.requires_grad for one in given]
        assert seen == ["_by_input"] * (asked & 1) + ["_by_weight"] * (asked >> 1 & 1)


@pytest.mark.parametrize("call", [ours.conv_transpose, convolution.apply])
def test_a_pass_that_asks_for_some_gradients_computes_no_others(call, seen):
    arguments = [custom_op.Arguments((1, 1), (1, 1), (0, 0), (1, 1), 1)] if call is convolution.apply else [1, 1]
    tensors = torch.randn(2, 3, 9, 30), torch.randn(3, 3, 3, 3), torch.randn(3)
    for needs in ((1, 1, 1), (0, 1, 1), (1, 1, 0), (1, 0, 1)):
        leaves = [one.clone().requires_grad_(bool(need)) for one, need in zip(tensors, needs, strict=True)]
        inner = [one * 1 for one in leaves]
        for given in (leaves, inner):
            for at, name in enumerate(("_by_input", "_by_weight", None)):
                if needs[at]:
                    for ask in (leaves[at], given[at]):
                        del seen[:]
                        found = torch.autograd.grad(call(*given, *arguments).square().sum(), ask, retain_graph=True)
                        assert found[0].shape == ask.shape
                        assert seen == [name] * (name is not None)
    del seen[:]
    call(*leaves, *arguments).square().sum().backward(inputs=[leaves[0]])
    assert seen == ["_by_input"]
    assert leaves[2].grad is None


def test_results_are_the_same_bits_on_any_number_of_threads(seen):
    x, w = torch.randn(3, 5, 70, 61), torch.randn(7, 5, 3, 5)
    arguments, found = custom_op.Arguments((1, 1), (1, 1), (0, 0), (1, 1), 1), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for _ in range(2):
                given = [one.clone().requires_grad_() for one in (x, w)]
                convolution.apply(*given, None, arguments).square().sum().backward()
                found.append([one.grad for one in given])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for pair in found[1:] for one, other in zip(found[0], pair, strict=True))


@pytest.mark.parametrize("number", [torch.inf, torch.nan])
@pytest.mark.parametrize("place", ["x", "weight", "grad"])
def test_inf_and_nan_go_where_pytorchs_go(place, number, seen):
    x, w, grad = torch.randn(1, 2, 4, 37), torch.randn(3, 2, 3, 3), torch.randn(1, 3, 2, 37)
    {"x": x, "weight": w, "grad": grad}[place].view(-1)[5] = number
    arguments, found = custom_op.Arguments((1, 1), (0, 1), (0, 0), (1, 1), 1), []
    for call in (
        partial(convolution.apply, bias=None, arguments=arguments),
        partial(functional.conv2d, padding=(0, 1)),
    ):
        given = [one.clone().requires_grad_() for one in (x, w)]
        y = call(*given)
        found.append([y, *torch.autograd.grad(y, given, grad)])
    for mine, theirs in zip(*found, strict=True):
        assert torch.equal(mine.isfinite(), theirs.isfinite())
    assert seen[-1] == "_by_weight"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("column", "inside"), [(0, slice(2, 5)), (1, slice(1, 5)), (20, slice(0, 5)), (36, slice(0, 3))]
)
@pytest.mark.parametrize("number", [torch.inf, torch.nan])
def test_inf_and_nan_at_a_border_do_not_reach_taps_in_the_padding(number, column, inside, dtype, seen):
    """As in oneDNN; PyTorch's other convolutions multiply them by the zeros of the padding."""
    x, w, grad = torch.rand(1, 2, 4, 37) + 1, torch.randn(3, 2, 3, 5), torch.randn(1, 3, 4, 37)
    grad[0, 1, 2, column] = number
    x, w, grad = (one.to(dtype) for one in (x, w, grad))
    arguments = custom_op.Arguments((1, 1), (1, 2), (0, 0), (1, 1), 1)
    w.requires_grad_()
    (found,) = torch.autograd.grad(convolution.apply(x, w, None, arguments), w, grad)
    expected = torch.ones(3, 2, 3, 5, dtype=torch.bool)
    expected[1, :, :, inside] = False
    assert torch.equal(found.isfinite(), expected)
    assert seen == ["_by_weight"]


def test_empty_tensors_are_left_to_pytorch(seen):
    arguments = custom_op.Arguments((1, 1), (0, 1), (0, 0), (1, 1), 1)
    x, w = torch.randn(0, 3, 9, 30, requires_grad=True), torch.randn(4, 3, 1, 3, requires_grad=True)
    convolution.apply(x, w, None, arguments).sum().backward()
    assert x.grad.shape == x.shape
    assert torch.equal(w.grad, torch.zeros_like(w))
    assert "_by_weight" not in seen
    for full in ((2, 4, 9, 30), (2, 3, 9, 30)):
        for axis in range(4):
            a, b = (2, 4, 9, 30), (2, 3, 9, 30)
            empty = (*full[:axis], 0, *full[axis + 1 :])
            a, b = (empty, b) if full == a else (a, empty)
            strides = [torch.empty(shape).stride() for shape in (a, b)]
            assert gradients._weight_call(a, b, *strides, torch.float32, (1, 3), arguments) is None


def test_a_row_beside_the_picture_is_not_read(seen):
    """Tensors that end at the end of their memory, with neighbours that would spoil a sum."""
    x = torch.full((1, 2, 6, 60), torch.nan)
    w = torch.randn(3, 2, 3, 3, requires_grad=True)
    inner = x[:, :, 1:-1, 7:50]
    inner.normal_()
    arguments = custom_op.Arguments((1, 1), (1, 1), (0, 0), (1, 1), 1)
    convolution.apply(inner, w, None, arguments).square().sum().backward()
    assert w.grad.isfinite().all()
    exact = w.detach().clone().requires_grad_()
    functional.conv2d(inner.contiguous(), exact, None, 1, 1).square().sum().backward()
    torch.testing.assert_close(w.grad, exact.grad, rtol=1e-4, atol=1e-4)
    assert seen == ["_by_weight"]


def test_gradients_with_other_strides_and_expanded_ones(seen):
    x, w = torch.randn(2, 3, 8, 40, requires_grad=True), torch.randn(4, 3, 3, 3, requires_grad=True)
    stock = [one.detach().clone().requires_grad_() for one in (x, w)]
    arguments = custom_op.Arguments((1, 1), (1, 1), (0, 0), (1, 1), 1)
    for change in (torch.Tensor.sum, lambda y: y.transpose(2, 3).square().sum(), lambda y: y[..., ::2].sum()):
        change(convolution.apply(x, w, None, arguments)).backward()
        change(functional.conv2d(*stock, None, 1, 1)).backward()
    for mine, theirs in zip((x, w), stock, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-3)


# -- layers --------------------------------------------------------------------------------------------------------


def both_layers(ndim, *arguments, **kwargs):
    mine, stock = getattr(ours, f"Conv{ndim}d"), getattr(torch.nn, f"Conv{ndim}d")
    made, other = mine(*arguments, **kwargs), stock(*arguments, **kwargs)
    made.load_state_dict(other.state_dict())
    return made, other


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_modes_and_words(ndim, mode, seen):
    for padding, kernel, dilation in ((1, 3, 1), ("same", 3, 2), ("same", 4, 1), ("valid", 3, 1)):
        mine, stock = both_layers(ndim, 3, 4, kernel, padding=padding, dilation=dilation, padding_mode=mode)
        found = []
        for layer in (mine, stock):
            x = torch.linspace(-1, 1, 3 * 9**ndim).reshape(1, 3, *[9] * ndim).requires_grad_()
            y = layer(x)
            y.square().sum().backward()
            found.append([y, x.grad, layer.weight.grad, layer.bias.grad])
        for one, other in zip(*found, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)
    assert "_by_weight" in seen


def test_a_layer_is_pytorchs_in_all_else(seen):
    mine, stock = both_layers(2, 12, 8, 3, padding=1, bias=False)
    assert isinstance(mine, torch.nn.Conv2d)
    assert repr(mine) == repr(stock)
    assert list(mine.state_dict()) == list(stock.state_dict())
    x = torch.randn(4, 12, 70, 64)
    assert training_choice.choose(x, mine.weight, _arguments(mine), transposed=False) == EVERYTHING
    expected = mine(x)
    memory = io.BytesIO()
    torch.save(mine, memory)
    memory.seek(0)
    for other in (copy.deepcopy(mine), torch.load(memory, weights_only=False)):
        assert type(other) is ours.Conv2d
        assert torch.equal(other(x), expected)
    scripted = torch.jit.script(mine)
    torch.testing.assert_close(scripted(x), expected, rtol=1e-4, atol=1e-4)
    traced = torch.jit.trace(mine, x)
    assert "convolution" in str(traced.graph)
    assert "conv2d" in str(torch.export.export(mine, (x,)).graph)


@pytest.mark.parametrize("change", ["unbatched", "meta", "float16", "complex", "wrong channels", "wrong axes"])
def test_other_inputs_are_pytorchs(change):
    mine, stock = both_layers(2, 12, 12, 3)
    x = torch.randn(1, 12, 90, 90)
    change_of = {
        "unbatched": lambda: x[0],
        "meta": lambda: x.to("meta"),
        "float16": lambda: x.half(),
        "complex": lambda: x.to(torch.complex64),
        "wrong channels": lambda: x[:, :5],
        "wrong axes": lambda: x[None],
    }
    given, answers = change_of[change](), []
    for layer in (mine, stock):
        layer = layer.to(given.device, given.dtype)
        try:
            answers.append(layer(given))
        except RuntimeError as error:
            answers.append(str(error))
    if isinstance(answers[0], str) or change == "meta":
        assert str(answers[0]) == str(answers[1])
    else:
        torch.testing.assert_close(*answers, rtol=1e-3, atol=1e-3)


def test_transforms_modes_and_autocast(seen):
    mine, stock = both_layers(2, 12, 12, 3)
    x = torch.randn(3, 4, 12, 40, 64)
    assert training_choice.choose(x[0], mine.weight, _arguments(mine), transposed=False) == EVERYTHING
    torch.testing.assert_close(torch.vmap(mine)(x), torch.vmap(stock)(x), rtol=1e-4, atol=1e-4)
    found = []
    for layer in (mine, stock):
        parameters = dict(layer.named_parameters())
        loss = lambda given, one=layer: torch.func.functional_call(one, given, (x[0],)).square().mean()  # noqa: E731
        found.append(torch.func.grad(loss)(parameters))
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x[0])
            assert y.dtype is torch.bfloat16
        y.float().square().mean().backward()
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(mine.weight.grad, stock.weight.grad, rtol=1e-2, atol=1e-3)
    from torch.utils.flop_counter import FlopCounterMode

    counts = []
    for layer in (mine, stock):
        with FlopCounterMode(display=False) as counter:
            layer(x[0].requires_grad_()).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0
    assert not seen


def test_batched_and_differentiable_gradients(seen):
    mine, stock = both_layers(2, 12, 12, 3)
    x = torch.randn(4, 12, 40, 64, requires_grad=True)
    assert training_choice.choose(x, mine.weight, _arguments(mine), transposed=False) == EVERYTHING
    found = []
    for layer in (mine, stock):
        y = layer(x)
        directions = torch.stack([torch.ones_like(y), y.detach()])
        batched = torch.autograd.grad(y, [x, layer.weight], directions, is_grads_batched=True, retain_graph=True)
        (slope,) = torch.autograd.grad(y.square().mean(), x, create_graph=True)
        found.append([*batched, torch.autograd.grad(slope.square().sum(), layer.weight)[0]])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    assert seen == ["_by_weight"]  # of the last pass alone, which is not differentiable


@pytest.mark.parametrize(
    "change",
    [{"stride": 2}, {"padding": 1}, {"padding": [1, 0]}, {"dilation": 2}, {"padding": "same", "dilation": (2, 1)}],
)
def test_arguments_that_are_assigned_later(change):
    mine, stock = both_layers(2, 12, 12, 3)
    x = torch.randn(2, 12, 80, 80)
    for layer in (mine, stock):
        for name, value in change.items():
            setattr(layer, name, value)
    torch.testing.assert_close(mine(x), stock(x), rtol=1e-4, atol=1e-4)


def test_a_training_in_which_every_weight_changes():
    """An optimiser writes the weights in place: no step may use an older one."""
    torch.manual_seed(0)
    nets = [
        torch.nn.Sequential(kind(3, 12, 3), torch.nn.ReLU(), kind(12, 3, 3), up(3, 1, 4, 2, 1)).double()
        for kind, up in ((ours.Conv2d, ours.ConvTranspose2d), (torch.nn.Conv2d, torch.nn.ConvTranspose2d))
    ]
    nets[0].load_state_dict(nets[1].state_dict())
    optimisers = [torch.optim.SGD(net.parameters(), 0.05, momentum=0.9) for net in nets]
    for step in range(4):
        x = torch.randn(8, 3, 68, 68, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        for net, optimiser in zip(nets, optimisers, strict=True):
            optimiser.zero_grad()
            net(x).square().mean().backward()
            optimiser.step()
    assert training_choice.choose(x, nets[0][0].weight, _arguments(nets[0][0]), transposed=False) == EVERYTHING
    for mine, theirs in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


# -- the choice ----------------------------------------------------------------------------------------------------


def _arguments(layer):
    none = (0,) * len(layer.stride)
    return custom_op.Arguments(layer.stride, layer.padding, none, layer.dilation, layer.groups)


def chosen(shape, channels, kernel=3, dtype=torch.float32, **settings):
    """Choice for a layer and a contiguous x of this shape [N, *spatial]."""
    layer = (torch.nn.Conv1d, torch.nn.Conv2d)[len(shape) - 2](*channels, kernel, dtype=dtype, **settings)
    x = torch.empty(shape[0], channels[0], *shape[1:], dtype=dtype)
    return training_choice.choose(x, layer.weight, _arguments(layer), transposed=False)


@pytest.mark.parametrize(
    ("channels", "settings", "size", "last", "expected"),
    [
        ((12, 12), {}, 64, False, EVERYTHING),
        ((32, 4), {}, 64, False, EVERYTHING),
        ((12, 12), {}, 64, True, NOTHING),
        ((64, 64), {}, 64, False, NOTHING),
        ((12, 12), {}, 12, False, NOTHING),
        ((3, 64), {"stride": 2}, 64, False, TrainingChoice(False, True, False)),
        ((3, 64), {"stride": 2}, 64, True, TrainingChoice(False, True, False)),
        ((64, 128), {"stride": 2}, 64, False, NOTHING),
    ],
)
def test_the_choice(channels, settings, size, last, expected):
    layer = torch.nn.Conv2d(*channels, 3, **settings)
    x = torch.randn(16, channels[0], size, size)
    x = x.to(memory_format=torch.channels_last) if last else x
    assert training_choice.choose(x, layer.weight, _arguments(layer), transposed=False) == expected
    wide = training_choice.choose(x.bfloat16(), layer.weight.bfloat16(), _arguments(layer), transposed=False)
    assert wide == NOTHING


@pytest.mark.parametrize(
    ("shape", "channels", "kernel", "expected"),
    [
        ((1, 48, 48), (8, 128), 3, NOTHING),  # too few positions for so large a weight
        ((2, 25, 25), (8, 128), 3, NOTHING),
        ((1, 48, 48), (8, 512), 3, NOTHING),
        ((4, 48, 48), (8, 128), 3, EVERYTHING),
        ((80, 2, 64), (12, 12), 3, NOTHING),  # tiles of 128 positions
        ((400, 24), (12, 12), 7, NOTHING),  # of 24
        ((24, 400), (12, 12), 9, EVERYTHING),
        ((1, 100_000), (12, 12), 5, NOTHING),  # a single tile for two threads
        ((4, 48, 48), (16, 16), 3, NOTHING),  # full blocks need more
        ((16, 64, 64), (16, 16), 3, EVERYTHING),
        ((16, 64, 64), (16, 16), 5, NOTHING),
    ],
)
def test_the_choice_counts_positions_and_tiles(shape, channels, kernel, expected):
    assert chosen(shape, channels, kernel) == expected


def test_the_choice_with_a_stride():
    assert chosen((16, 64, 64), (4, 64), stride=2) == TrainingChoice(False, True, False)
    assert chosen((16, 64, 64), (5, 64), stride=2) == NOTHING
    assert chosen((4, 48, 48), (3, 512), stride=2) == NOTHING


def test_the_choice_of_the_threads(monkeypatch):
    assert chosen((1, 100_000), (12, 12), 5) == NOTHING
    torch.set_num_threads(1)  # of a step that was already asked for
    assert chosen((1, 100_000), (12, 12), 5) == EVERYTHING
    for tiles, threads, enough in (
        (8, 8, True),
        (9, 8, False),
        (12, 8, True),
        (3, 4, False),
        (3, 2, True),
        (1, 1, True),
    ):
        torch.set_num_threads(threads)
        assert training_choice._keeps_busy(tiles) == enough
    monkeypatch.setattr(training_choice, "get_num_threads", lambda: 1)
    assert training_choice._keeps_busy(1)


def test_nothing_is_chosen_without_onednn_and_on_other_chips(monkeypatch):
    case = (16, 64, 64), (12, 12)
    strided = (16, 64, 64), (3, 64)
    assert chosen(*case) == chosen(*case, dtype=torch.float64) == EVERYTHING
    assert chosen(*strided, stride=2).by_input
    with torch.backends.mkldnn.flags(enabled=False):
        assert chosen(*case) == chosen(*case, dtype=torch.float64) == chosen(*strided, stride=2) == NOTHING
    monkeypatch.setattr(training_choice, "_is_measured", lambda: False)
    assert chosen(*case) == chosen(*case, dtype=torch.float64) == chosen(*strided, stride=2) == NOTHING


def test_chips_that_were_measured(monkeypatch):
    monkeypatch.undo()  # the machine's own
    pytest.importorskip("llvmlite")
    from tconv.kernels.simd import cpu_target

    chip = cpu_target.target()
    for lanes, is_available, expected in ((16, True, True), (8, True, False), (4, True, False), (16, False, False)):
        changed = chip._replace(lanes=lanes, triple="x86_64-unknown-linux-gnu")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cpu_target, "target", lambda changed=changed: changed)
            patch.setattr("torch.backends.mkldnn.is_available", lambda known=is_available: known)
            assert training_choice._is_measured.__wrapped__() == expected
    arm = chip._replace(lanes=16, triple="aarch64-unknown-linux-gnu")
    monkeypatch.setattr(cpu_target, "target", lambda: arm)
    assert not training_choice._is_measured.__wrapped__()
