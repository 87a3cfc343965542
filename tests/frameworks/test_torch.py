"""PyTorch's own operator, in a process of its own: random native arguments, its OpInfo samples, tensors in and out."""

from __future__ import annotations

import inspect

import ml_dtypes
import numpy as np
import pytest
import torch
from harness import Conformance, check_code, check_layer
from torch.nn import functional

import tconv
from random_calls import integers, random_sizes, whole_numbers
from random_calls.shapes import check_shapes
from tconv.errors import ArrayError, DtypeError, OutputError


def native(x, w, bias, arguments):
    call = getattr(functional, f"conv_transpose{w.ndim - 2}d")
    return call(
        torch.from_numpy(x), torch.from_numpy(w), None if bias is None else torch.from_numpy(bias), **arguments
    ).numpy()


def random_call(rng, ndim):
    """Draw x, weight, bias and native arguments, some of them illegal, and some an int instead of a tuple."""
    sizes = random_sizes(rng, ndim, groups=(1, 1, 2, 3), batch=(1, 2, 3))
    padding, output_padding = integers(rng, ndim, (0, 3)), integers(rng, ndim, (0, 2))
    arguments = {"stride": sizes.s, "padding": padding, "output_padding": output_padding, "dilation": sizes.d}
    for name in list(arguments):
        chance = rng.random()
        if chance < 0.3:
            del arguments[name]
        elif chance < 0.5:
            arguments[name] = arguments[name][0]
    shape = (sizes.batch, sizes.c_in, *sizes.n)
    x = whole_numbers(rng, shape if rng.random() < 0.8 else shape[1:])
    w = whole_numbers(rng, (sizes.c_in, sizes.out_per_group, *sizes.k))
    bias = whole_numbers(rng, (sizes.c_out,)) if rng.random() < 0.5 else None
    return x, w, bias, {**arguments, "groups": sizes.groups}


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_random_native_arguments(ndim, seed):
    rng = np.random.default_rng([ndim, seed])
    conformance = Conformance("torch", native)
    for _ in range(300 if ndim < 3 else 100):
        conformance.check(*random_call(rng, ndim))
    assert conformance.tally["equal"] > 30
    assert conformance.tally["refused"] > 10


def test_an_empty_batch():
    x, w, bias = np.ones((0, 4, 5, 6), "f"), np.ones((4, 3, 2, 2), "f"), np.ones(3, "f")
    for arguments in ({}, {"stride": 2, "output_padding": 1}, {"padding": 1, "dilation": 2}):
        assert tconv.conv_transpose(x, w, bias, **arguments).shape == native(x, w, bias, arguments).shape


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_pytorchs_own_samples(ndim):
    from torch.testing._internal.common_methods_invocations import op_db

    (info,) = [op for op in op_db if op.name == f"nn.functional.conv_transpose{ndim}d"]
    count = 0
    for dtype in (torch.float32, torch.float64, torch.complex64):
        for sample in info.sample_inputs("cpu", dtype, requires_grad=False):
            weight, bias = sample.args if len(sample.args) == 2 else (*sample.args, None)
            arguments = sample.kwargs
            got = tconv.conv_transpose(sample.input, weight, bias, **arguments)
            wide = torch.complex128 if dtype.is_complex else torch.float64
            truth = info.op(*(t if t is None else t.to(wide) for t in (sample.input, weight, bias)), **arguments)
            theirs = (info.op(sample.input, weight, bias, **arguments) - truth).abs().max()
            assert got.dtype == dtype
            assert (got - truth).abs().max() <= 2 * theirs + 4 * torch.finfo(dtype).eps * truth.abs().max()
            count += 1
    assert count >= 30


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64", "complex128", "int64"])
def test_tensors_of_every_dtype(dtype):
    x = torch.randint(-4, 5, (2, 3, 5, 4)).to(getattr(torch, dtype))
    w = torch.randint(-4, 5, (3, 2, 3, 2)).to(getattr(torch, dtype))
    expected = functional.conv_transpose2d(x, w, stride=2)
    got = tconv.conv_transpose(x, w, stride=2)
    assert got.dtype == expected.dtype
    assert torch.equal(got, expected)


def test_the_error_is_no_larger_than_pytorchs_own():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 64, 9, 9)), rng.standard_normal((64, 16, 4, 4))
    truth = tconv.definition.gather(x, w, stride=2, padding=1)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        a, b = torch.from_numpy(x).to(dtype), torch.from_numpy(w).to(dtype)
        exact = functional.conv_transpose2d(a.double(), b.double(), stride=2, padding=1)
        theirs = (functional.conv_transpose2d(a, b, stride=2, padding=1).double() - exact).abs().max()
        ours = (tconv.conv_transpose(a, b, stride=2, padding=1).double() - exact).abs().max()
        assert ours <= 2 * theirs
    np.testing.assert_allclose(tconv.conv_transpose(x, w, stride=2, padding=1), truth, rtol=1e-12, atol=1e-12)


def test_views_and_out():
    x = torch.randn(2, 6, 5, 3)
    w = torch.randn(3, 2, 4, 4)
    expected = tconv.conv_transpose(x.permute(0, 3, 1, 2).contiguous(), w)
    assert torch.equal(tconv.conv_transpose(x.permute(0, 3, 1, 2), w), expected)
    out = torch.full(expected.shape, torch.nan).to(memory_format=torch.channels_last)
    assert tconv.conv_transpose(x.permute(0, 3, 1, 2), w, out=out) is out
    assert torch.equal(out, expected)
    conjugated = torch.randn(1, 2, 3, dtype=torch.complex64).conj()
    kernel = torch.randn(2, 1, 2, dtype=torch.complex64)
    torch.testing.assert_close(
        tconv.conv_transpose(conjugated, kernel), functional.conv_transpose1d(conjugated, kernel)
    )
    with pytest.raises(OutputError, match="a writable array of x's library"):
        tconv.conv_transpose(x.permute(0, 3, 1, 2), w, out=expected.numpy())


def test_invalid_tensors_are_refused():
    w = torch.randn(2, 3, 3, 3)
    with pytest.raises(ArrayError, match="x is a meta tensor, which has no values"):
        tconv.conv_transpose(torch.empty(1, 2, 4, 4, device="meta"), w)
    with pytest.raises(ArrayError, match="dense one is needed"):
        tconv.conv_transpose(torch.randn(1, 2, 4, 4).to_sparse(), w)
    for x in (torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4, requires_grad=True)):
        with pytest.raises(ArrayError, match=r"mixes libraries: .* Write torch.as_tensor\(weight\)"):
            tconv.conv_transpose(x, w.numpy())
        with pytest.raises(DtypeError, match="x is float32 and weight is float64"):
            tconv.conv_transpose(x, w.double())
    for dtype, supported in ((torch.complex32, "complex64"), (torch.float8_e4m3fn, "float32")):
        with pytest.raises(
            DtypeError, match=rf"^x is .*, which NumPy does not have\. Write x\.to\(torch\.{supported}\)"
        ):
            tconv.conv_transpose(torch.empty(1, 2, 4, 4, dtype=dtype), w)
    with pytest.raises(ArrayError, match=r"weight is a torch tensor that requires gradients.*Write weight\.detach\(\)"):
        tconv.prepare(w.requires_grad_())


@pytest.mark.parametrize("trained", [False, True])
def test_the_advice_for_bfloat16_of_another_library_runs(trained):
    x, w = torch.randn(1, 2, 4, 4).bfloat16(), torch.randn(2, 3, 3, 3).bfloat16()
    names = {"np": np, "torch": torch, "ml_dtypes": ml_dtypes}
    expected, array = tconv.conv_transpose(x, w), w.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    with pytest.raises(ArrayError, match="mixes libraries") as refusal:
        tconv.conv_transpose(x.requires_grad_(trained), array)
    converted = eval(str(refusal.value).partition(" Write ")[2], {"weight": array, **names})
    assert torch.equal(tconv.conv_transpose(x.detach(), converted), expected)
    with pytest.raises(ArrayError, match="mixes libraries") as refusal:
        tconv.conv_transpose(array, w)
    converted = eval(str(refusal.value).partition(" Write ")[2], {"weight": w, **names})
    assert (converted == array).all()


def test_autograd_detects_the_write_to_out():
    x, w = torch.randn(1, 2, 4, 4), torch.randn(2, 3, 3, 3)
    parameter, saved = torch.randn(1, 3, 6, 6, requires_grad=True), torch.randn(1, 3, 6, 6)
    z = (saved * parameter).sum()
    tconv.conv_transpose(x, w, out=saved)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()
    view = torch.zeros(1, 3, 6, 6, dtype=torch.complex64).conj()
    with pytest.raises(OutputError, match="out is a conjugated or negated view"):
        tconv.conv_transpose(x.to(torch.complex64), w.to(torch.complex64), out=view)


CALLS = [
    ("torch", (2, 4, 5, 6), (4, 3, 3, 2), {"stride": 2, "padding": 1, "groups": 2}),
    ("torch", (4, 5), (4, 3, 3), {"stride": 2, "crop": ((-1, 2),)}),
    ("torch", (2, 4, 3, 4, 3), (4, 3, 2, 2, 3), {"stride": (1, 2, 3), "crop": ((0, 1), (2, -3), (1, 1))}),
    ("tensorflow", (2, 5, 6, 4), (3, 3, 2, 4), {"output_shape": [2, 10, 12, 2], "strides": 2, "padding": "SAME"}),
    ("jax", (2, 5, 6, 4), (3, 3, 4, 2), {"strides": (2, 2), "padding": "SAME"}),
    ("equinox", (4, 5, 6), (6, 2, 3, 3), {"stride": 2, "groups": 2}),
    ("haiku", (2, 5, 6, 4), (3, 3, 2, 4), {"stride": 2}),
    ("paddle", (2, 4, 5), (4, 2, 3), {"stride": 2, "padding": 1}),
]


@pytest.mark.parametrize(("dialect", "x_shape", "w_shape", "arguments"), CALLS)
def test_calls_in_any_dialect_are_differentiable(dialect, x_shape, w_shape, arguments):
    rng = np.random.default_rng(0)
    x, w = (torch.from_numpy(whole_numbers(rng, shape, "float64")) for shape in (x_shape, w_shape))
    expected = tconv.conv_transpose(x, w, dialect=dialect, **arguments)
    count = 3 * arguments.get("groups", 1) if dialect == "torch" else None
    bias = None if count is None else torch.arange(count, dtype=torch.float64)
    if bias is not None:
        expected = tconv.conv_transpose(x, w, bias, dialect=dialect, **arguments)
    given = [tensor.clone().requires_grad_() for tensor in (x, w, bias) if tensor is not None]
    run = lambda *t: tconv.conv_transpose(*t, dialect=dialect, **arguments)  # noqa: E731
    assert torch.equal(run(*given), expected)
    assert torch.autograd.gradcheck(run, given, fast_mode=True)
    back = tconv.conv(expected, w, dialect=dialect, **{k: v for k, v in arguments.items() if k != "output_shape"})
    through = [tensor.clone().requires_grad_() for tensor in (expected, w)]
    conv = lambda *t: tconv.conv(*t, dialect=dialect, **{k: v for k, v in arguments.items() if k != "output_shape"})  # noqa: E731
    assert torch.equal(conv(*through), back)
    assert torch.autograd.gradcheck(conv, through, fast_mode=True)
    # the adjoint is the gradient
    (grad,) = torch.autograd.grad(run(*given), given[0], expected)
    assert torch.equal(grad, back)


def test_transforms_and_tracers_see_the_call():
    x, w = torch.randn(1, 2, 4, 4), torch.randn(2, 3, 3, 3)
    plain = functional.conv_transpose2d(x, w)
    batch = torch.randn(5, 1, 2, 4, 4)
    mapped = torch.func.vmap(lambda image: tconv.conv_transpose(image, w))(batch)
    torch.testing.assert_close(mapped, functional.conv_transpose2d(batch[:, 0], w)[:, None], rtol=1e-5, atol=1e-5)
    with torch.autograd.forward_ad.dual_level():
        dual = tconv.conv_transpose(torch.autograd.forward_ad.make_dual(x, x), w)
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, plain, rtol=1e-5, atol=1e-5)
    traced = torch.jit.trace(lambda a: tconv.conv_transpose(a, w), (x,), check_trace=False)
    torch.testing.assert_close(traced(2 * x), 2 * plain, rtol=1e-5, atol=1e-5)
    x.requires_grad_()
    with torch.no_grad():
        assert not tconv.conv_transpose(x, w).requires_grad
    y = tconv.conv_transpose(x, w)
    (mine,), (theirs,) = (torch.autograd.grad(each.sum(), x) for each in (y, functional.conv_transpose2d(x, w)))
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    for name, value in (("out", torch.empty(1, 3, 6, 6)), ("method", "taps")):
        with pytest.raises(tconv.TconvError, match=rf"{name}= was given, and the call is differentiated or traced"):
            tconv.conv_transpose(x, w, **{name: value})
    with pytest.raises(ArrayError, match="4 spatial axes, and PyTorch differentiates 1 to 3"):
        tconv.conv_transpose(torch.randn(1, 2, 3, 3, 3, 3, requires_grad=True), torch.randn(2, 1, 2, 2, 2, 2))
    with pytest.raises(ArrayError, match="contains more than numbers"):
        tconv.conv_transpose([x[0]], w)
    with pytest.raises(tconv.TconvError, match=r"has 2 input channels as PyTorch reads it; x has 3"):
        tconv.conv_transpose(torch.randn(1, 3, 4, 4, requires_grad=True), w)


def test_a_message_proposes_pytorchs_methods():
    x, w = torch.randn(1, 8, 8, 2), torch.randn(2, 3, 3, 3)
    with pytest.raises(tconv.TconvError, match=r"Write x\.permute\(0, 3, 1, 2\) if that is the channel axis"):
        tconv.conv_transpose(x, w)
    with pytest.raises(DtypeError, match=r"Write x\.to\(torch\.float64\)$"):
        tconv.conv_transpose(x.permute(0, 3, 1, 2), w.double())


def test_the_textbooks_channels_restore_the_shape():
    x = torch.randn(1, 10, 16, 16)
    w = torch.randn(20, 10, 5, 5)  # of conv 10 -> 20; its transpose takes 20 -> 10
    y = tconv.conv(x, w, stride=3, padding=2)
    torch.testing.assert_close(y, functional.conv2d(x, w, stride=3, padding=2), rtol=1e-5, atol=1e-4)
    assert tconv.conv_transpose(y, w, stride=3, padding=2).shape == x.shape


@pytest.mark.parametrize("form", ["scatter", "gather", "zero_insertion", "matrix"])
def test_the_definition_takes_bare_tensors(form):
    X = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    Y = getattr(tconv.definition, form)(X, X)
    assert isinstance(Y, torch.Tensor)
    assert torch.equal(Y, torch.tensor([[0.0, 0, 1], [0, 4, 6], [4, 12, 9]]))


def test_code_runs():
    tally = check_code("torch", {"torch": torch}, wrap=torch.from_numpy)
    print(dict(tally))
    assert tally["one call"] > 20
    assert tally["call and slice"] > 50
    assert not tally["cannot be expressed"]


def test_a_quantized_tensor_has_to_be_dequantized():
    x = torch.quantize_per_tensor(torch.ones(1, 2, 4, 4), 0.5, 0, torch.qint8)
    with pytest.raises(tconv.errors.ArrayError, match=r"x is a quantized tensor; .* Write x\.dequantize\(\)"):
        tconv.conv_transpose(x, torch.ones(2, 1, 3, 3))
    assert tconv.conv_transpose(x.dequantize(), torch.ones(2, 1, 3, 3)).shape == (1, 1, 6, 6)


def test_the_default_epsilon_of_batchnorm_is_the_frameworks():
    default = inspect.signature(torch.nn.BatchNorm2d).parameters["eps"].default
    assert tconv.dialect("torch").batchnorm_eps == default == 1e-5


DTYPES = "bool uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 bfloat16 float32 float64 complex64 complex128"


@pytest.mark.parametrize("of_x", DTYPES.split())
def test_the_advice_for_every_pair_of_dtypes_works(of_x):
    for of_weight in DTYPES.split():
        x = torch.tensor([[[1, 0, 1]]]).to(getattr(torch, of_x))
        weight = torch.tensor([[[1, 1]]]).to(getattr(torch, of_weight))
        given = {"x": x, "weight": weight}
        try:
            y = tconv.conv_transpose(x, weight)
        except DtypeError as error:
            conversions = str(error).partition(" Write ")[2].partition(", w")[0].split(" and ")
            for code in conversions:
                name = code.partition(".")[0]
                given[name] = eval(code, {"torch": torch, **given})
            y = tconv.conv_transpose(given["x"], given["weight"])
        assert y.real.tolist() == [[[1, 1, 1, 1]]]
        whole = all(name[0] in "bui" and name != "bfloat16" for name in (of_x, of_weight))
        assert (y.dtype is torch.int64) == whole, (of_x, of_weight)


@pytest.mark.parametrize(
    ("of_x", "of_weight"), [("uint8", "int8"), ("int8", "int8"), ("int16", "uint8"), ("int64", "int8")]
)
def test_integers_are_summed_in_int64_by_transforms_too(of_x, of_weight):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.integers(0, 100, (3, 1, 2, 4, 5)).astype(of_x))
    w = torch.from_numpy(rng.integers(0, 100, (2, 3, 2, 2)).astype(of_weight))
    bias = torch.from_numpy(rng.integers(0, 100, 3).astype(np.int32))
    y = torch.func.vmap(lambda x: tconv.conv_transpose(x, w, bias, stride=2))(x)
    expected = torch.stack([tconv.conv_transpose(each, w, bias, stride=2) for each in x])
    assert y.dtype is torch.int64
    assert torch.equal(y, expected)
    u = torch.func.vmap(lambda y: tconv.conv(y, w, stride=2))(y)
    assert torch.equal(u, torch.stack([tconv.conv(each, w, stride=2) for each in y]))


def test_its_shapes():
    check_shapes(torch.Size)
    check_shapes(torch.tensor)


@pytest.mark.parametrize(("ndim", "groups"), [(1, 1), (2, 1), (2, 2), (3, 1)])
def test_layers_are_taken(ndim, groups):
    kind = (torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d)[ndim - 1]
    layer = kind(4, 6, 3, stride=2, padding=1, output_padding=1, groups=groups, dilation=3)

    def run(x):
        with torch.no_grad():
            return layer(torch.from_numpy(x)).numpy()

    run.wrap = torch.from_numpy
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    check_layer(layer, run, "torch", weight, bias, (2, 4, *[5] * ndim), groups)


def test_models_with_pixel_shuffles_are_read():
    conv, other = torch.nn.Conv2d(3, 16, 3, padding=1, padding_mode="reflect"), torch.nn.Conv2d(4, 4, 3)
    up = torch.nn.ConvTranspose2d(4, 2, 4, 2, 1)
    weight = conv.weight.detach().numpy()
    expected = tconv.checkerboard(weight, pixel_shuffle=2)
    for model in (
        torch.nn.Sequential(conv, torch.nn.PixelShuffle(2)),
        torch.nn.Sequential(torch.nn.Sequential(conv, torch.nn.PixelShuffle(2)), torch.nn.PReLU()),
        [conv, torch.nn.PixelShuffle(2)],
    ):
        assert tconv.checkerboard(model).score == expected.score
        np.testing.assert_array_equal(tconv.artifacts.icnr(model), tconv.artifacts.icnr(weight, pixel_shuffle=2))
    assert tconv.checkerboard(conv, pixel_shuffle=2).score == expected.score
    x, shuffle = torch.ones(1, 3, 12, 12), torch.nn.PixelShuffle(2)
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(np.asarray(tconv.artifacts.icnr(conv, pixel_shuffle=2))))
        conv.bias.zero_()
        y = shuffle(conv(x + torch.randn(1, 3, 12, 12)))
        torch.testing.assert_close(y[..., ::2, ::2], y[..., 1::2, 1::2])
    model = torch.nn.Sequential(conv, shuffle, torch.nn.ReLU(), other, torch.nn.BatchNorm2d(4), up)
    stack = [(conv.weight, {"pixel_shuffle": 2}), (other.weight, {"pixel_shuffle": 1}), (up.weight, {"stride": 2})]
    assert tconv.checkerboard(model).score == tconv.checkerboard(stack).score
    for given, message in (
        (conv, "weight is a Conv2d, an ordinary convolution, which has no phases of its own. Write pixel_shuffle=2"),
        ([shuffle, conv], "a pixel shuffle has no convolution before it"),
        (torch.nn.Sequential(conv, torch.nn.Linear(3, 3)), r"weight\[1\] is of type Linear, which is no convolution"),
        (torch.nn.Sequential(up, shuffle), "a pixel shuffle is behind a ConvTranspose2d"),
        (torch.nn.LazyConvTranspose2d(3, 3), "weight is a lazy ConvTranspose2d without a weight yet"),
    ):
        with pytest.raises(tconv.TconvError, match=message):
            tconv.checkerboard(given)
    with pytest.raises(tconv.TconvError, match="Conv2d, an ordinary convolution; a transposed convolution is needed"):
        tconv.prepare(conv)


def test_convert_says_that_a_module_is_no_convolution():
    for module in (torch.nn.Linear(3, 3), torch.nn.Sequential(torch.nn.ConvTranspose2d(3, 3, 3))):
        for source in ({}, {"source": "torch"}):
            with pytest.raises(ArrayError, match=f"weight is a {type(module).__name__}, which is no transposed conv"):
                tconv.convert(module, target="keras", **source)


def test_gradients_reach_the_parameters_of_a_layer():
    torch.manual_seed(1)
    layer = torch.nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)
    x, cotangent = torch.randn(2, 4, 5, 7), torch.randn(2, 6, 10, 14)
    layer(x).backward(cotangent)
    expected = [layer.weight.grad.clone(), layer.bias.grad.clone()]
    layer.zero_grad()
    tconv.conv_transpose(x, layer).backward(cotangent)
    for parameter, gradient in zip((layer.weight, layer.bias), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-4, rtol=1e-4)
    adjoint = functional.conv2d(functional.pad(cotangent, (1, 0, 1, 0)), layer.weight, stride=2, groups=2)
    torch.testing.assert_close(tconv.conv(cotangent, layer), adjoint, atol=1e-4, rtol=1e-4)


def test_modules_without_a_weight_of_plain_numbers():
    """No advice takes the weight out of a layer: without the arguments beside it, it gives other numbers."""
    x = torch.ones(1, 4, 5, 5)
    layer = torch.nn.ConvTranspose2d(4, 4, 3, stride=2)
    for call in (
        lambda given: tconv.conv_transpose(x, given),
        lambda given: tconv.plan(x, given),
        lambda given: tconv.checkerboard(given),
        lambda given: tconv.linear_operator(given, (4, 5, 5)),
        lambda given: tconv.diagnose(x, x, x=x, weight=given),
    ):
        for given in (torch.nn.Linear(4, 4), torch.nn.Embedding(4, 4), torch.nn.BatchNorm2d(4)):
            with pytest.raises(ArrayError, match="Write the array that is meant in its place, and for that of a layer"):
                call(given)
        with pytest.raises(ArrayError, match="weight is a quantized ConvTranspose2d; plain numbers are needed"):
            call(torch.ao.nn.quantized.ConvTranspose2d(4, 4, 3))
        with pytest.raises(ArrayError, match="weight is a lazy ConvTranspose2d without a weight yet"):
            call(torch.nn.LazyConvTranspose2d(4, 3))
    for call in (lambda: tconv.definition.scatter(x[0, 0], layer), lambda: tconv.conv_transpose(layer, layer)):
        with pytest.raises(ArrayError, match="Write the array that is meant in its place"):
            call()


def test_upsampling_in_a_stack_is_named_as_the_layer_that_it_is():
    torch.manual_seed(0)
    conv, other = torch.nn.Conv2d(4, 6, 3, padding=1), torch.nn.Conv2d(6, 6, 3, padding=1)
    up, transposed = torch.nn.Upsample(scale_factor=2), torch.nn.ConvTranspose2d(6, 2, 3, 2)
    twice = (torch.ones(4, 1, 2, 2), {"stride": 2, "groups": 4})
    thrice = (torch.ones(6, 1, 3, 2), {"stride": (3, 2), "groups": 6})
    for model, same in (
        (torch.nn.Sequential(up, conv), [twice, conv]),
        ([up, conv, torch.nn.Upsample(scale_factor=(3, 2)), other], [twice, conv, thrice, other]),
        (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Sequential(up, conv), transposed), [twice, conv, transposed]),
        (torch.nn.Sequential(conv, torch.nn.MaxPool2d(2), transposed), [conv, transposed]),
        (torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Conv2d(4, 8, 3), torch.nn.PixelShuffle(2)), None),
    ):
        with pytest.raises(tconv.TconvError, match="is no convolution and has a weight, or is not known") as refusal:
            tconv.checkerboard(model)
        stack = eval(str(refusal.value).partition("first layer first: ")[2], {"weight": model, "np": np})
        found = tconv.checkerboard(stack)
        assert found.score == tconv.checkerboard(list(model)[1:] if same is None else same).score
    for model in (torch.nn.Sequential(up), torch.nn.Sequential(torch.nn.MaxPool2d(2), conv)):
        with pytest.raises(
            tconv.TconvError, match=r"Nothing else in the stack has a stride or a pixel shuffle\. Use a"
        ):
            tconv.checkerboard(model)
