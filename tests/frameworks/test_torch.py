"""PyTorch's own operator, in a process of its own: random native arguments, its OpInfo samples, tensors in and out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness import Conformance, whole_numbers
from torch.nn import functional

import tconv
from tconv.errors import ArrayError, DtypeError, OutputError


def native(x, w, bias, words):
    call = getattr(functional, f"conv_transpose{w.ndim - 2}d")
    return call(
        torch.from_numpy(x), torch.from_numpy(w), None if bias is None else torch.from_numpy(bias), **words
    ).numpy()


def random_words(rng, ndim):
    """Native arguments, some of them illegal; an int now and then instead of a tuple."""
    draw = lambda lo, hi: tuple(int(v) for v in rng.integers(lo, hi, ndim))  # noqa: E731
    words = {"stride": draw(1, 4), "padding": draw(0, 4), "output_padding": draw(0, 3), "dilation": draw(1, 4)}
    for name in list(words):
        chance = rng.random()
        if chance < 0.3:
            del words[name]
        elif chance < 0.5:
            words[name] = words[name][0]
    return words


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_random_native_arguments(ndim, seed):
    rng = np.random.default_rng([ndim, seed])
    conformance = Conformance("torch", native)
    for _ in range(300 if ndim < 3 else 100):
        groups = int(rng.choice([1, 1, 2, 3]))
        c_in, c_out = groups * int(rng.choice([1, 2, 5, 7])), int(rng.integers(1, 4))
        shape = (int(rng.integers(1, 4)), c_in, *rng.integers(1, 6, ndim))
        x = whole_numbers(rng, shape if rng.random() < 0.8 else shape[1:])
        w = whole_numbers(rng, (c_in, c_out, *rng.integers(1, 5, ndim)))
        bias = whole_numbers(rng, (c_out * groups,)) if rng.random() < 0.5 else None
        conformance.check(x, w, bias, {**random_words(rng, ndim), "groups": groups})
    assert conformance.tally["equal"] > 30
    assert conformance.tally["refused"] > 10


def test_an_empty_batch():
    x, w, bias = np.ones((0, 4, 5, 6), "f"), np.ones((4, 3, 2, 2), "f"), np.ones(3, "f")
    for words in ({}, {"stride": 2, "output_padding": 1}, {"padding": 1, "dilation": 2}):
        assert tconv.conv_transpose(x, w, bias, **words).shape == native(x, w, bias, words).shape


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_pytorchs_own_samples(ndim):
    from torch.testing._internal.common_methods_invocations import op_db

    (info,) = [op for op in op_db if op.name == f"nn.functional.conv_transpose{ndim}d"]
    count = 0
    for dtype in (torch.float32, torch.float64, torch.complex64):
        for sample in info.sample_inputs("cpu", dtype, requires_grad=False):
            weight, bias = sample.args if len(sample.args) == 2 else (*sample.args, None)
            words = sample.kwargs
            got = tconv.conv_transpose(sample.input, weight, bias, **words)
            wide = torch.complex128 if dtype.is_complex else torch.float64
            truth = info.op(*(t if t is None else t.to(wide) for t in (sample.input, weight, bias)), **words)
            theirs = (info.op(sample.input, weight, bias, **words) - truth).abs().max()
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


def test_nothing_is_detached_silently():
    x, w = torch.randn(1, 2, 4, 4, requires_grad=True), torch.randn(2, 3, 3, 3)
    with pytest.raises(ArrayError, match=r"x is a torch tensor that requires gradients.*Write x\.detach\(\)"):
        tconv.conv_transpose(x, w)
    with torch.no_grad():
        assert tconv.conv_transpose(x, w).shape == (1, 3, 6, 6)
    with pytest.raises(ArrayError, match="without memory of its own"):
        torch.func.vmap(lambda image: tconv.conv_transpose(image, w))(torch.randn(5, 1, 2, 4, 4))
    with pytest.raises(ArrayError, match="x is a meta tensor, which has no values"):
        tconv.conv_transpose(torch.empty(1, 2, 4, 4, device="meta"), w)
    with pytest.raises(ArrayError, match="dense one is needed"):
        tconv.conv_transpose(torch.randn(1, 2, 4, 4).to_sparse(), w)
    with pytest.raises(
        ArrayError,
        match=r"mixes libraries: x from torch, weight from numpy; one is needed. Write torch.as_tensor\(weight\)",
    ):
        tconv.conv_transpose(torch.randn(1, 2, 4, 4), w.numpy())
    with pytest.raises(DtypeError, match="x is float32 and weight is float64"):
        tconv.conv_transpose(torch.randn(1, 2, 4, 4), w.double())


def test_writing_out_is_no_secret_to_autograd():
    x, w = torch.randn(1, 2, 4, 4), torch.randn(2, 3, 3, 3)
    parameter, saved = torch.randn(1, 3, 6, 6, requires_grad=True), torch.randn(1, 3, 6, 6)
    z = (saved * parameter).sum()
    tconv.conv_transpose(x, w, out=saved)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()
    view = torch.zeros(1, 3, 6, 6, dtype=torch.complex64).conj()
    with pytest.raises(OutputError, match="out is a conjugated or negated view"):
        tconv.conv_transpose(x.to(torch.complex64), w.to(torch.complex64), out=view)


def test_forward_differentiation_and_tracing_are_refused():
    x, w = torch.randn(1, 2, 4, 4), torch.randn(2, 3, 3, 3)
    with torch.autograd.forward_ad.dual_level(), pytest.raises(ArrayError, match="traced or differentiated forward"):
        tconv.conv_transpose(torch.autograd.forward_ad.make_dual(x, x), w)
    with pytest.raises(ArrayError, match="traced or differentiated forward"):
        torch.jit.trace(lambda a: tconv.conv_transpose(a, w), (x,), check_trace=False)
    with pytest.raises(ArrayError, match="holds more than numbers"):
        tconv.conv_transpose([x[0]], w)


def test_a_mistake_is_answered_in_pytorchs_words():
    x, w = torch.randn(1, 8, 8, 2), torch.randn(2, 3, 3, 3)
    with pytest.raises(tconv.TconvError, match=r"Write x\.permute\(0, 3, 1, 2\) if that is the channel axis"):
        tconv.conv_transpose(x, w)
    with pytest.raises(DtypeError, match=r"Write weight\.to\(x\.dtype\), or x\.to\(weight\.dtype\)"):
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
    rng = np.random.default_rng(5)
    for _ in range(200):
        ndim = int(rng.integers(1, 4))
        crop = [tuple(int(v) for v in rng.integers(-2, 4, 2)) for _ in range(ndim)]
        g = tconv.Geometry(
            rng.integers(1, 5, ndim), rng.integers(1, 4, ndim), crop, rng.integers(1, 3, ndim), int(rng.integers(1, 3))
        )
        n = tuple(int(v) for v in rng.integers(1, 5, ndim))
        try:
            g.output_shape(n)
        except tconv.TconvError:
            continue
        x = torch.from_numpy(whole_numbers(rng, (2, 2 * g.groups, *n)))
        w = torch.from_numpy(whole_numbers(rng, (2 * g.groups, 3, *g.kernel)))
        names = {"torch": torch, "x": x, "weight": w}
        exec(tconv.dialect("torch").code(g, n), names)
        assert torch.equal(names["y"], tconv.conv_transpose(x, w, geometry=g))


def test_a_quantized_tensor_is_told_to_be_dequantized():
    x = torch.quantize_per_tensor(torch.ones(1, 2, 4, 4), 0.5, 0, torch.qint8)
    with pytest.raises(tconv.errors.ArrayError, match=r"x is a quantized tensor; .* Write x\.dequantize\(\)"):
        tconv.conv_transpose(x, torch.ones(2, 1, 3, 3))
    assert tconv.conv_transpose(x.dequantize(), torch.ones(2, 1, 3, 3)).shape == (1, 1, 6, 6)
