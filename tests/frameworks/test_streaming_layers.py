"""`tconv.torch.StreamingConvTranspose1d` and `2d`: PyTorch's layers, in chunks, with the bits of the whole."""

import copy
import doctest
import io

import numpy as np
import pytest
import torch

import tconv
import tconv.torch
from tconv import TconvError
from tconv.errors import StaleError
from tconv.torch import StreamingConvTranspose1d, StreamingConvTranspose2d, streaming_layers

KINDS = [
    (StreamingConvTranspose1d, torch.nn.ConvTranspose1d, (6, 4, 8), {"stride": 4, "padding": 2}, ()),
    (
        StreamingConvTranspose1d,
        torch.nn.ConvTranspose1d,
        (6, 4, 5),
        {"stride": 3, "output_padding": 2, "groups": 2},
        (),
    ),
    (StreamingConvTranspose1d, torch.nn.ConvTranspose1d, (6, 4, 3), {"stride": 2, "dilation": 3, "padding": 1}, ()),
    (StreamingConvTranspose2d, torch.nn.ConvTranspose2d, (6, 4, (4, 3)), {"stride": (2, 1), "padding": 1}, (5,)),
]


def streamed(layer, x, size=3):
    return torch.cat([*(layer.push(chunk) for chunk in x.split(size, 2)), layer.flush()], 2)


@pytest.mark.parametrize(("kind", "stock", "sizes", "arguments", "rest"), KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_layer_of_pytorch_in_chunks(kind, stock, sizes, arguments, rest, dtype):
    torch.manual_seed(0)
    layer, plain = kind(*sizes, dtype=dtype, **arguments), stock(*sizes, dtype=dtype, **arguments)
    layer.load_state_dict(plain.state_dict())
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert plain.bias.abs().min() > 0
    x = torch.randn(2, 6, 20, *rest, dtype=dtype)
    with torch.no_grad():
        whole = layer(x)
        assert torch.equal(streamed(layer, x), whole)
        torch.testing.assert_close(
            whole,
            plain(x),
            rtol=1e-2 if dtype == torch.bfloat16 else 1e-4,
            atol=1e-4 if dtype != torch.bfloat16 else 0.05,
        )
        layer.reset()
        assert torch.equal(
            torch.cat([layer.push(x[0, :, :7]), layer.push(x[0, :, 7:])], 1),
            whole[0, :, : whole.shape[2] - layer.flush().shape[2]],
        )
        layer.reset()


def test_the_contract():
    torch.manual_seed(0)
    with torch.no_grad():
        tconv.verify_stream(StreamingConvTranspose1d(6, 4, 8, 4, 2), torch.randn(2, 6, 40))
        tconv.verify_stream(StreamingConvTranspose2d(4, 2, (5, 3), (2, 1), 1), torch.randn(1, 4, 30, 4))


def test_gradients_are_those_of_pytorch():
    torch.manual_seed(0)
    layer, x = StreamingConvTranspose1d(6, 4, 8, 4, 2), torch.randn(2, 6, 20, requires_grad=True)
    layer(x).square().sum().backward()
    expected = torch.nn.functional.conv_transpose1d(x, layer.weight, layer.bias, 4, 2)
    gradients = torch.autograd.grad(expected.square().sum(), [x, layer.weight])
    torch.testing.assert_close(x.grad, gradients[0], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(layer.weight.grad, gradients[1], rtol=1e-4, atol=1e-3)
    with pytest.raises(TconvError, match="requires gradients"):
        layer.push(x)
    with pytest.raises(TconvError, match="float64; the stream has a weight of float32"):
        layer.push(x.detach().double())
    assert layer.sessions == ()  # what was refused began no session
    assert layer.push(x.detach()).requires_grad is False


def steps(layer):
    """Yield changes of the numbers of a layer, which no version counter shows all."""
    yield lambda: layer.load_state_dict({name: 2 * each for name, each in layer.state_dict().items()})
    yield lambda: layer.bias.data.add_(1)
    yield lambda: layer.weight.detach().numpy().__setitem__((0, 0, 0), 7)
    yield lambda: setattr(layer, "weight", torch.nn.Parameter(layer.weight.detach() * 3))

    def optimise():
        layer(torch.randn(1, 6, 9)).square().sum().backward()
        torch.optim.SGD(layer.parameters(), 0.01).step()

    yield optimise


def test_a_changed_weight_is_refused_until_a_reset():
    torch.manual_seed(0)
    layer, x = StreamingConvTranspose1d(6, 4, 8, 4, 2), torch.randn(1, 6, 20)
    for change in steps(layer):
        layer.reset()
        layer.push(x[:, :, :5])
        before = {name: each.clone() for name, each in layer.state_dict().items()}
        first = layer.state()
        change()
        for call in (lambda: layer.push(x), layer.flush, layer.state, layer.open):
            with pytest.raises(StaleError, match=r"Write layer.reset\(\)"):
                call()
        with torch.no_grad():
            whole = layer(x)  # a whole input has the present weight
        torch.testing.assert_close(
            whole,
            torch.nn.functional.conv_transpose1d(x, layer.weight, layer.bias, 4, 2).detach(),
            rtol=1e-4,
            atol=1e-3,
        )
        layer.reset()
        assert torch.equal(streamed(layer, x), whole)
        layer.reset()
        with pytest.raises(TconvError, match="another stream"):
            layer.restore(first)
        after = layer.state_dict()
        layer.load_state_dict(before)  # with the old numbers it goes on
        layer.restore(first)
        rest = torch.cat([layer.push(x[:, :, 5:]), layer.flush()], 2)
        with torch.no_grad():
            assert torch.equal(rest, layer(x)[:, :, -rest.shape[2] :])
        layer.load_state_dict(after)


def test_a_call_that_is_refused_or_asks_leaves_a_new_layer_as_it_was():
    layer, x = StreamingConvTranspose1d(6, 4, 8, 4, 2), torch.randn(3, 6, 20)
    for call in (lambda: layer.push({0: x[0]}), lambda: layer.close(4), lambda: layer.reset(4), lambda: layer.flush(4)):
        with pytest.raises(TconvError, match="there is no session"):
            call()
    assert layer.push({}) == {}
    assert layer.push(x[:0]).shape == (0, 4, 0)
    assert layer.state()["0.received"] == layer.latency - 2 == 0
    assert layer.push(x).shape == (3, 4, 78)


def test_sessions_and_states():
    torch.manual_seed(0)
    layer, x = StreamingConvTranspose1d(6, 4, 8, 4, 2), torch.randn(3, 6, 20)
    with torch.no_grad():
        whole = layer(x)
    a, b = layer.open(), layer.open()
    parts = {a: [], b: []}
    for at in range(0, 20, 5):
        for number, made in layer.push({a: x[0, :, at : at + 5]}).items():
            parts[number].append(made)
    parts[b] += [layer.push({b: x[1]})[b], layer.flush(b)]
    other = StreamingConvTranspose1d(6, 4, 8, 4, 2)
    other.load_state_dict(layer.state_dict())
    other.restore({name: np.array(each) for name, each in layer.state().items()})
    assert other.sessions == (a, b)
    parts[a].append(other.flush(a))
    assert torch.equal(torch.cat(parts[a], 1), whole[0])
    assert torch.equal(torch.cat(parts[b], 1), whole[1])
    layer.close(a)
    layer.reset(b)
    assert torch.equal(torch.cat([layer.push({b: x[2]})[b], layer.flush(b)], 1), whole[2])
    assert layer.latency == 2
    assert layer.state_bytes == 6 * 4


def test_copies_and_pickles_have_no_sessions():
    torch.manual_seed(0)
    layer, x = StreamingConvTranspose1d(6, 4, 8, 4, 2), torch.randn(1, 6, 20)
    layer.push(x[:, :, :5])
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for other in (copy.deepcopy(layer), torch.load(file, weights_only=False)):
        assert other.sessions == ()
        assert type(other) is StreamingConvTranspose1d
        with torch.no_grad():
            assert torch.equal(streamed(other, x), layer(x))
    assert layer.sessions == (0,)


def test_graphs_have_the_operator():
    torch.manual_seed(0)
    layer, x = StreamingConvTranspose1d(6, 4, 8, 4, 2).eval(), torch.randn(1, 6, 20)
    with torch.no_grad():
        exported = torch.export.export(layer, (x,)).module()
        torch.testing.assert_close(exported(x), layer(x), rtol=1e-4, atol=1e-4)
        scripted = torch.jit.script(layer)
        torch.testing.assert_close(scripted(x), layer(x), rtol=1e-4, atol=1e-4)
        vmapped = torch.func.vmap(layer)(x[None])
        torch.testing.assert_close(vmapped[0], layer(x), rtol=1e-4, atol=1e-4)


def test_a_layer_of_pytorch_as_the_weight_of_a_stream():
    torch.manual_seed(0)
    plain, x = torch.nn.ConvTranspose1d(6, 4, 8, 4, 2), torch.randn(1, 6, 20)
    stream = tconv.stream(plain, activation="relu")
    parts = [stream.push(chunk) for chunk in x.split(4, 2)] + [stream.flush()]
    assert torch.equal(torch.cat(parts, 2), stream(x))
    torch.testing.assert_close(stream(x), plain(x).relu().detach(), rtol=1e-4, atol=1e-4)
    with pytest.raises(TconvError, match="is an array of numpy; the stream has a weight of torch"):
        stream.push(x.numpy())


def test_examples(monkeypatch):
    for kind in (StreamingConvTranspose1d, StreamingConvTranspose2d):
        result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        for test in doctest.DocTestFinder().find(kind, kind.__name__, streaming_layers):
            result.run(test)
        assert result.summarize().failed == 0
