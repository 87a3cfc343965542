"""`tconv.torch.stream`: modules that are read, with the bits of the whole for any cuts, and refused ones by name."""

import functools
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import tconv.torch
from tconv.errors import ArgumentError, ArrayError, DtypeError, ShapeError, StreamError


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def filled(module, seed=0):
    """Return a module with random numbers in every bias and statistic, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, each in [*module.named_parameters(), *module.named_buffers()]:
        last = name.rpartition(".")[2]
        if each.is_floating_point() and (each.ndim == 1 or "alpha" in last):
            low = 0.5 if last in ("running_var", "alpha", "scale", "weight") else -0.5
            each.data.copy_(torch.rand(each.shape, generator=generator) + low)
    return module.eval()


def numbers(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pushed(stream, x, cuts, time, made_time):
    """Return the outputs of chunks of these lengths, which repeat, and of the flush."""
    chunks, at, turn = [], 0, 0
    while at < x.shape[time]:
        count = min(cuts[turn % len(cuts)], x.shape[time] - at)
        chunks.append(stream.push(x.narrow(time, at, count)))
        at, turn = at + count, turn + 1
    return torch.cat([*chunks, stream.flush()], made_time)


def check(module, x, *more, time=-1, made_time=-1, cuts=((1,), (3, 0, 5), (7, 1, 11)), **arguments):
    """Check a stream: the bits of the whole for all cuts, and the module's own output within its rounding."""
    stream = tconv.torch.stream(module, (x, *more), strict=True, **arguments)
    assert stream.reason is None
    whole = stream(x)
    for lengths in cuts:
        stream.reset()
        torch.testing.assert_close(pushed(stream, x, lengths, time, made_time), whole, rtol=0, atol=0)
    with torch.no_grad():
        wanted = module.eval()(x, *more)
    wanted = wanted if isinstance(wanted, torch.Tensor) else wanted[0]
    torch.testing.assert_close(whole, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))
    assert stream.difference.from_module < 1e-5
    return stream


# -- layers --------------------------------------------------------------------------------------------------------


def conv(into, out, kernel, **arguments):
    return nn.Conv1d(into, out, kernel, **arguments)


LAYERS = {
    "convolutions": nn.Sequential(
        conv(3, 4, 3, padding="same"),
        conv(4, 6, 4, dilation=2, groups=2, padding="same"),
        conv(6, 4, 5, padding=2, padding_mode="reflect"),
        conv(4, 4, 3, padding=1, padding_mode="replicate"),
        conv(4, 3, 7, stride=3, padding=2, dilation=2),
    ),
    "transposed": nn.Sequential(
        nn.ConvTranspose1d(3, 4, 8, 4, 2),
        nn.ConvTranspose1d(4, 6, 3, 2, 1, output_padding=1, groups=2),
        nn.ConvTranspose1d(6, 2, 2, 3, dilation=2),
    ),
    "activations": nn.Sequential(
        conv(3, 4, 1), nn.LeakyReLU(0.1, inplace=True), nn.ELU(0.7), nn.PReLU(4), nn.GELU(), nn.GELU("tanh"),
        nn.SiLU(), nn.Mish(), conv(4, 6, 2), nn.Softplus(2), nn.Hardtanh(-0.5, 2), nn.CELU(0.4), nn.SELU(),
        nn.Softsign(), nn.LogSigmoid(), nn.Tanhshrink(), nn.ReLU6(), nn.Sigmoid(), nn.GLU(1), nn.Tanh(),
    ),
    "pooling": nn.Sequential(
        nn.AvgPool1d(3, 2, 1, count_include_pad=False), nn.MaxPool1d(2, 1), nn.AvgPool1d(2), conv(3, 2, 1)
    ),
    "interpolation": nn.Sequential(
        nn.Upsample(scale_factor=2), conv(3, 3, 2), nn.Upsample(scale_factor=3, mode="linear"), conv(3, 2, 1)
    ),
    "norms": nn.Sequential(conv(3, 4, 3), nn.BatchNorm1d(4), nn.Dropout(), nn.ConstantPad1d((2, 1), 0.5), conv(4, 2, 3)),
    "crops": nn.Sequential(nn.ConvTranspose1d(3, 4, 6, 2), nn.ConstantPad1d((-1, -3), 0), nn.ReplicationPad1d((2, 0))),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    check(filled(LAYERS[name]), numbers(1, 3, 40))


class Formula(nn.Module):
    """A function of the output of a convolution, in PyTorch's own words."""

    def __init__(self, function, into=3, out=4):
        super().__init__()
        self.function = function
        self.conv = conv(into, out, 3, padding=1)
        self.constant = nn.Parameter(torch.rand(1, out, 1) + 0.5)

    def forward(self, x):
        return self.function(self.conv(x), self.constant)


def interleaved(y, a):
    n, c, t = y.shape
    return y.view(n, 2, c // 2, t).permute(0, 1, 3, 2).reshape(n, 2, -1)


def cut_to_the_length(y, a):
    half = functional.conv1d(y, torch.ones(4, 4, 3), a.flatten(), stride=2, padding=1)
    back = functional.interpolate(half, scale_factor=2) * 0.5
    return y + back[..., : y.shape[-1]]


FORMULAS = {
    "snake": lambda y, a: y + (a + 1e-9).reciprocal() * torch.sin(a * y).pow(2),
    "snake with a quotient": lambda y, a: y + torch.sin(y * a) ** 2 / a,
    "arithmetic": lambda y, a: (2 - y) * a + y / a - 1 / (y * y + 2) + torch.sub(y, a, alpha=2),
    "limits": lambda y, a: torch.maximum(y, y.clamp(-0.5)) - torch.minimum(y, torch.tensor(0.25)),
    "in place": lambda y, a: y.clone().add_(1).mul_(y).relu_(),
    "functions": lambda y, a: torch.sqrt(y.abs() + 1) + torch.exp(-y) - torch.log(y.square() + 1) + torch.rsqrt(y * y + 1),
    "gates": lambda y, a: torch.tanh(y[:, :2]) * torch.sigmoid(y.chunk(2, 1)[1]) + y.split([3, 1], 1)[1] + y[:, 0:1],
    "put together": lambda y, a: torch.cat([y, torch.stack([y[:, 0], y.select(1, 2)], 1), a.expand(1, 4, 40)[:1].mean(2, keepdim=True).expand(y.shape[0], 4, y.shape[2])], 1),
    "layouts": lambda y, a: y.transpose(1, 2).unsqueeze(1).squeeze(1).movedim(-1, 1).flatten(0, 0).contiguous(),
    "over channels": lambda y, a: y - y.mean(1, keepdim=True) + y.pow(2).sum(1, keepdim=True) * a + y.softmax(1),
    "matrices": lambda y, a: torch.ones(3, 4) @ y + (y.mT @ (torch.ones(4, 3) * 0.5)).mT,
    "layer norm": lambda y, a: functional.layer_norm(y.mT, (4,), a.flatten(), a.flatten() - 1).mT,
    "interleaved": interleaved,
    "cut": cut_to_the_length,
    "repeated": lambda y, a: torch.repeat_interleave(y, 3, -1)[..., 2:-1],
    "put before": lambda y, a: functional.pad(torch.cat([torch.zeros(y.shape[0], 4, 3), y], 2), (0, 2), value=1.5),
    "to a multiple": lambda y, a: functional.pad(y, (1, -y.shape[2] % 5), "reflect"),
    "flipped": lambda y, a: y.flip(1) + y.repeat(1, 1, 1),
    "put before twice": lambda y, a: torch.cat([torch.full((y.shape[0], 4, n), n + 1.0) for n in (2, 1)] + [y], 2),
    "from sample 30 on": lambda y, a: y[..., 30:],
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name):
    check(filled(Formula(FORMULAS[name])), numbers(1, 3, 40), cuts=((1,), (4, 0, 9)))


# -- decoders ------------------------------------------------------------------------------------------------------


class Gated(nn.Module):
    """A block of a WaveNet."""

    def __init__(self, dilation):
        super().__init__()
        self.both = conv(6, 12, 3, padding=dilation, dilation=dilation)
        self.on, self.out = conv(6, 6, 1), conv(6, 5, 1)

    def forward(self, x):
        a, b = self.both(x).chunk(2, 1)
        z = torch.tanh(a) * torch.sigmoid(b)
        return (x + self.on(z)) * 0.7071, self.out(z)


class WaveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = conv(4, 6, 1), conv(5, 2, 1)
        self.blocks = nn.ModuleList(map(Gated, (1, 2, 4)))

    def forward(self, x):
        x, total = self.first(x), 0
        for block in self.blocks:
            x, skip = block(x)
            total = total + skip
        return self.last(functional.relu(total))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([conv(2, 4, 5, stride=2, padding=2), conv(4, 6, 5, stride=2, padding=2)])
        self.up = nn.ModuleList([nn.ConvTranspose1d(6, 4, 4, 2, 1), nn.ConvTranspose1d(8, 3, 4, 2, 1)])

    def forward(self, x):
        a = functional.elu(self.down[0](x))
        b = self.up[0](functional.elu(self.down[1](a)))[..., : a.shape[-1]]
        return self.up[1](torch.cat([a, b], 1))[..., : x.shape[-1]]


class Recurrent(nn.Module):
    """Layers that have time before channels."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.gru = nn.Linear(7, 8), nn.LayerNorm(8), nn.GRU(8, 6, batch_first=True)
        self.lstm, self.last = nn.LSTM(6, 5, 2), nn.ConvTranspose1d(5, 3, 5, 2)

    def forward(self, x):
        x, _ = self.gru(functional.silu(self.norm(self.first(x))))
        x = self.lstm(x.transpose(0, 1))[0].permute(1, 2, 0)
        return self.last(x).transpose(1, 2)


def test_a_wavenet():
    check(filled(WaveNet()), numbers(1, 4, 60))


def test_a_melgan():
    norm = nn.utils.parametrizations.weight_norm
    layers = [
        nn.ReflectionPad1d(3), norm(conv(5, 8, 7)), nn.LeakyReLU(0.2), norm(nn.ConvTranspose1d(8, 4, 8, 4, 2)),
        nn.LeakyReLU(0.2), nn.ReflectionPad1d(3), norm(conv(4, 1, 7)), nn.Tanh(),
    ]  # fmt: skip
    check(filled(nn.Sequential(*layers)), numbers(1, 5, 50))


@pytest.mark.parametrize("length", [64, 61])
def test_a_u_net_at_lengths_that_its_strides_do_not_divide(length):
    check(filled(UNet()), numbers(1, 2, length))


def test_layers_with_time_before_channels():
    stream = check(filled(Recurrent()), numbers(1, 40, 7), time=1, made_time=1)
    assert stream.layout == "[N, t, 7] -> [N, t, 3]"


@pytest.mark.parametrize(
    ("shape", "time", "layout"), [((30, 1, 4), 0, "[t, N, 4] -> [t, N, 3]"), ((30, 4), 0, "[t, 4] -> [t, 3]")]
)
def test_the_axis_of_time_is_found(shape, time, layout):
    stream = check(filled(nn.LSTM(4, 3)), numbers(*shape), time=time, made_time=time)
    assert stream.layout == layout


@functools.cache
def encodec(**arguments):
    from transformers import EncodecConfig, EncodecModel

    config = EncodecConfig(num_filters=2, hidden_size=6, codebook_size=8, upsampling_ratios=[4, 3, 2], **arguments)
    return filled(EncodecModel(config))


def test_encodec():
    decoder = check(encodec().decoder, numbers(1, 6, 30))
    assert decoder.layout == "[N, 6, t] -> [N, 1, t]"
    assert decoder.latency == 0
    check(encodec().encoder, numbers(1, 1, 305), cuts=((1,), (7, 0, 40)))


def test_encodec_that_looks_ahead():
    model = encodec(use_causal_conv=False, audio_channels=2)
    assert check(model.decoder, numbers(1, 6, 30)).latency > 0
    check(model.encoder, numbers(1, 2, 311), cuts=((3, 40),))


def test_encodec_with_norms_over_time_is_refused_by_name():
    model = encodec(use_causal_conv=False, norm_type="time_group_norm")
    with pytest.raises(StreamError, match=r"layers\.0\.norm: group_norm reads all of time"):
        tconv.torch.stream(model.decoder, numbers(1, 6, 20))


def test_speech_t5():
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    config = SpeechT5HifiGanConfig(
        model_in_dim=10, upsample_initial_channel=8, upsample_rates=[4, 2], upsample_kernel_sizes=[8, 5],
        resblock_kernel_sizes=[3, 7], resblock_dilation_sizes=[[1, 3], [1, 2]],
    )  # fmt: skip
    vocoder = filled(SpeechT5HifiGan(config))
    stream = check(vocoder, numbers(1, 40, 10), time=1, made_time=1)
    assert stream.layout == "[N, t, 10] -> [N, t]"
    rows = [row.layer for row in stream.report.look_ahead]  # a layer joined with the activation behind it, too
    assert rows[:3] == ["conv_pre", "upsampler.0", "resblocks.1.convs1.0"]
    assert len(set(rows)) == len(rows)
    check(vocoder, numbers(40, 10), time=0, made_time=0, cuts=((1, 6),))
    assert tconv.torch.stream(vocoder).layout == stream.layout


def test_vits_with_a_speaker():
    from transformers import VitsConfig
    from transformers.models.vits.modeling_vits import VitsHifiGan

    config = VitsConfig(
        flow_size=6, upsample_initial_channel=8, upsample_rates=[4, 2], upsample_kernel_sizes=[8, 4],
        resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3]], speaker_embedding_size=5, num_speakers=2,
    )  # fmt: skip
    decoder = filled(VitsHifiGan(config))
    one = check(decoder, numbers(1, 6, 40), cuts=((1, 6),))
    other = check(decoder, numbers(1, 6, 40), numbers(1, 5, 1), cuts=((1, 6),))
    assert not torch.equal(one(numbers(1, 6, 40)), other(numbers(1, 6, 40)))


def test_dac():
    from transformers import DacConfig, DacModel

    config = DacConfig(
        encoder_hidden_size=4, decoder_hidden_size=16, hidden_size=8, n_codebooks=1, codebook_size=8,
        downsampling_ratios=[2, 4], upsampling_ratios=[4, 2],
    )  # fmt: skip
    model = filled(DacModel(config))
    check(model.decoder, numbers(1, 8, 30), cuts=((1, 6),))
    check(model.encoder, numbers(1, 1, 203), cuts=((5, 40),))


# -- what is no stream, or not read --------------------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x)[0]


REFUSED = {
    "group norm": (nn.Sequential(conv(3, 4, 3), nn.GroupNorm(2, 4)), (1, 3, 40), "1: group_norm reads all of time"),
    "batch norm": (nn.Sequential(conv(3, 4, 3), nn.BatchNorm1d(4, track_running_stats=False)), (1, 3, 40), "1: batch_norm has no stored statistics"),
    "attention": (Attention(), (1, 40, 4), "inner: multi_head_attention_forward: attention reads all of time"),
    "both directions": (nn.LSTM(4, 3, batch_first=True, bidirectional=True), (1, 40, 4), "lstm runs in both directions"),
    "mean": (Formula(lambda y, a: y - y.mean(2, keepdim=True)), (1, 3, 40), "mean is taken over time"),
    "softmax": (Formula(lambda y, a: y.softmax(2)), (1, 3, 40), "softmax is taken over time"),
    "reversed": (Formula(lambda y, a: y.flip(2)), (1, 3, 40), "flip reverses time"),
    "positions": (Formula(lambda y, a: y + torch.arange(y.shape[2])), (1, 3, 40), "differs along time"),
    "random numbers": (Formula(lambda y, a: y + torch.randn(1, 4, 1)), (1, 3, 40), "differs between runs"),
    "circular": (conv(3, 3, 3, padding=1, padding_mode="circular"), (1, 3, 40), "mode 'circular'"),
    "sessions": (Formula(lambda y, a: y[:1]), (1, 3, 40), "another number of sessions"),
    "the last samples": (Formula(lambda y, a: y[..., -900:]), (1, 3, 40), "begins 900 samples before the end"),
    "the first samples": (Formula(lambda y, a: y[..., :900]), (1, 3, 40), "ends at sample 900"),
    "a rule of long inputs": (Formula(lambda y, a: y if y.shape[2] < 900 else -y), (1, 3, 40), "differs from it by|refuses"),
    "a shape that tells numbers": (Formula(lambda y, a: y * (1 + len(y[y > 90]))), (1, 3, 40), "shape that depends on the numbers"),
    "a constant of the largest": (Formula(lambda y, a: y * torch.full_like(y, y.abs().max().clamp(min=90))), (1, 3, 40), "max reads all of time"),
    "sessions counted": (Formula(lambda y, a: y * y.shape[0]), (1, 3, 40), "another number for several sessions"),
    "state": (Formula(lambda y, a: y + a.data.add_(1)), (1, 3, 40), "two runs on the same input"),
    "another session": (Formula(lambda y, a: y - y[:1]), (1, 3, 40), "a slice takes some of the sessions"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_stream_is_refused_by_name(name):
    module, shape, reason = REFUSED[name]
    with pytest.raises(StreamError, match=reason):
        tconv.torch.stream(filled(module), numbers(*shape), strict=True)


def causal_attention(y, a):
    y = y.mT
    return functional.scaled_dot_product_attention(y, y, y, is_causal=True).mT


def test_what_reads_all_of_time_has_one_reason():
    for function, reason in [
        (causal_attention, "attention reads all earlier samples: it needs its own state, which is not kept"),
        (lambda y, a: functional.group_norm(y, 2), "group_norm reads all of time"),
    ]:
        with pytest.raises(StreamError, match=f"{reason}$"):
            tconv.torch.stream(filled(Formula(function)), numbers(1, 3, 50))


def test_float64_is_told_what_to_write():
    x = numbers(1, 3, 50).double()
    hint = r"Write tconv\.torch\.stream\(module\.float\(\), example\.float\(\)\)"
    stream = tconv.torch.stream(filled(conv(3, 4, 3)).double(), x)
    assert re.search(hint, stream.reason)
    with pytest.raises(StreamError, match=f"{hint}.*needs state"):
        tconv.torch.stream(nn.LSTM(4, 3, batch_first=True).double(), numbers(1, 40, 4).double())


def write_into_a_view(y, a):
    view = y[:, :2]
    y.mul_(2)
    return view


def write_into_a_base(y, a):
    y[:, :2].mul_(2)
    return y * 1.0


def write_into_zeros(y, a):
    out = torch.zeros(y.shape)
    out.view(y.shape)[...] = y
    return out + 1


@torch.jit.script
def gate(y: torch.Tensor) -> torch.Tensor:
    return torch.tanh(y) * torch.sigmoid(y)


@torch.jit.script
def is_loud(y: torch.Tensor) -> bool:
    return bool(y.abs().max() > 20)


NOT_EXACT = {
    "complex numbers": (lambda y, a: torch.complex(y, y), "returns complex64"),
    "two bytes": (lambda y, a: y.bfloat16(), "returns bfloat16"),
    "whole numbers": (lambda y, a: y.to(torch.int16), "returns int16"),
    "loud inputs far away": (lambda y, a: torch.where(y.abs() > 9, y.roll(20, 2), y), "all inputs after it"),
    "the first samples": (lambda y, a: y[..., :900], "it gave"),
    "a rule of long inputs": (lambda y, a: y.cos() if y.shape[2] < 900 else y.sign(), "knows its place in time"),
}


@pytest.mark.parametrize("name", NOT_EXACT)
def test_what_windows_do_not_give_is_refused(name):
    function, reason = NOT_EXACT[name]
    with pytest.raises(StreamError, match=f"on windows of its input: .*{reason}"):
        tconv.torch.stream(filled(Formula(function)), numbers(1, 3, 50))


ON_WINDOWS = {
    "a view of what changes": (write_into_a_view, "view"),
    "a base that changes": (write_into_a_base, "changed in place"),
    "a constant that is written": (write_into_zeros, "changed in place"),
    "an operation that is not known": (lambda y, a: torch.einsum("bct,oc->bot", y, torch.ones(2, 4)), "einsum"),
    "another element type": (lambda y, a: y.double().float(), "computes in float64"),
    "code that cannot be seen": (lambda y, a: gate(y), "aten.tanh.default runs in code"),
    "largest of channels": (lambda y, a: y - y.amax(1, keepdim=True), "amax over channels"),
}


@pytest.mark.parametrize("name", ON_WINDOWS)
def test_what_is_not_read_runs_on_windows(name):
    function, reason = ON_WINDOWS[name]
    module, x = filled(Formula(function)), numbers(1, 3, 50)
    stream = tconv.torch.stream(module, x)
    assert reason in stream.reason
    assert stream.difference.from_module == stream.report.difference < 2e-5
    made = pushed(stream, x, (4, 0, 9), 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(made, module(x))
    with pytest.raises(StreamError, match=reason):
        tconv.torch.stream(module, x, strict=True)


@torch.inference_mode()
def read_in_inference_mode(y, a):
    return y if y.relu_().sum() > 0 else -y


READS_NUMBERS = {
    "loud inputs anywhere": lambda y, a: -y if is_loud(y) else y,
    "bool": lambda y, a: y if y.abs().mean() > 0.5 else -y,
    "in a form that is not read": lambda y, a: torch.atan(y) if y.isfinite().all() else -y,
    "item": lambda y, a: y * y.mean().item(),
    "int": lambda y, a: y[:, : int(y.isfinite().sum().clamp(1, 2))],
    "tolist": lambda y, a: y * y.tolist()[0][0][0],
    "a slice": lambda y, a: y + torch.ones(9)[y.abs().mean().long().clamp(0, 3) :][0],
    "a mask": lambda y, a: torch.atan(y) * len(y[y > 0]),
    "nonzero": lambda y, a: torch.atan(y) if len((y > 0).nonzero()) > 9 else y,
    "inference mode": read_in_inference_mode,
}  # fmt: skip


@pytest.mark.parametrize("name", READS_NUMBERS)
@pytest.mark.parametrize("strict", [False, True])
def test_a_module_that_reads_numbers_is_refused(name, strict):
    module = filled(Formula(READS_NUMBERS[name]))
    reason = "inference mode" if strict and name == "inference mode" else "numbers of a value"
    with pytest.raises(StreamError, match=reason):
        tconv.torch.stream(nn.Sequential(module), numbers(1, 3, 50), strict=strict)


@pytest.mark.parametrize(("least", "length"), [(4, 50), (20, 50), (9, 12)])
@pytest.mark.parametrize("strict", [False, True])
def test_a_module_that_branches_on_its_length_is_refused(least, length, strict):
    module = filled(Formula(lambda y, a: y * a if y.shape[2] > least else y))
    with pytest.raises(StreamError, match=r"for inputs of . frames? the module computes something else"):
        tconv.torch.stream(module, numbers(1, 3, length), strict=strict)


@pytest.mark.parametrize("least", [4, 20, 60])
def test_windows_of_a_module_that_branches_on_its_length_are_refused(least):
    module = filled(Formula(lambda y, a: torch.atan(y) * a if y.shape[2] > least else torch.atan(y)))
    with pytest.raises(StreamError, match="or the length of its input"):
        tconv.torch.stream(module, numbers(1, 3, 50))


def test_a_graph_that_is_not_the_module_is_refused(monkeypatch):
    from tconv.torch import stream_reading

    monkeypatch.setitem(stream_reading.OPERATIONS, "tanh", stream_reading.OPERATIONS["sin"])
    module = nn.Sequential(conv(3, 4, 3), nn.Tanh())
    with pytest.raises(StreamError, match="differs from it by"):
        tconv.torch.stream(module, numbers(1, 3, 40), strict=True)


def test_other_arguments_stay_as_they_are():
    module, other = filled(Formula(lambda y, a: y)), numbers(1, 4, 1)
    module.forward = lambda x, other: module.conv(x) + other.mul_(2)
    kept = other.clone()
    with pytest.raises(StreamError, match="two runs on the same input"):
        tconv.torch.stream(module, (numbers(1, 3, 40), other))
    assert torch.equal(other, kept)


def test_an_argument_along_time_is_no_constant():
    module = filled(Formula(lambda y, a: y))
    module.forward = lambda x, other: module.conv(x) + other
    with pytest.raises(StreamError, match="other arguments"):
        tconv.torch.stream(module, (numbers(1, 3, 40), numbers(1, 4, 40)))


def test_states_of_windows_belong_to_their_arguments():
    module, x = filled(Formula(lambda y, a: y)), numbers(1, 3, 40)
    module.forward = lambda x, other: torch.sign(module.conv(x) + other)
    one, other = (tconv.torch.stream(module, (x, numbers(1, 4, 1, seed=seed))) for seed in (1, 2))
    with pytest.raises(ArgumentError, match="state is that of another stream"):
        other.restore(one.state())


# -- sessions, states and bad input --------------------------------------------------------------------------------


def test_sessions_go_on_alone():
    module, x = encodec().decoder, numbers(3, 6, 30)
    stream = tconv.torch.stream(module, x, batch=2)
    whole = stream(x)
    third = stream.open()
    made = {session: [] for session in (0, 1, third)}
    at = dict.fromkeys(made, 0)
    rng = np.random.default_rng(0)
    while min(at.values()) < 30:
        some = [session for session in made if at[session] < 30 and rng.random() < 0.6]
        counts = {session: int(rng.integers(0, 5)) for session in some}
        chunks = {session: x[session, :, at[session] : at[session] + count] for session, count in counts.items()}
        for session, out in stream.push(chunks).items():
            made[session].append(out)
            at[session] += counts[session]
    for session, outputs in made.items():
        torch.testing.assert_close(torch.cat([*outputs, stream.flush(session)], 1), whole[session], rtol=0, atol=0)


def test_a_state_goes_on_elsewhere():
    x = numbers(1, 40, 7)
    module = filled(Recurrent())
    first, second = (tconv.torch.stream(module, x) for _ in range(2))
    ahead = first.push(x[:, :17])
    second.restore(first.state())
    torch.testing.assert_close(torch.cat([ahead, second.push(x[:, 17:]), second.flush()], 1), first(x), rtol=0, atol=0)


def test_the_module_and_its_example_stay_as_they_are():
    module = nn.Sequential(conv(3, 4, 3), nn.ReLU(inplace=True), nn.BatchNorm1d(4), nn.Dropout())
    x = numbers(1, 3, 40)
    before, kept = {name: value.clone() for name, value in module.state_dict().items()}, x.clone()
    state = torch.random.get_rng_state()
    tconv.torch.stream(module, x)
    assert torch.equal(state, torch.random.get_rng_state())
    assert module.training
    assert all(each.training for each in module)
    assert torch.equal(x, kept)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not module[0]._forward_hooks


def test_bad_chunks_are_refused_and_change_nothing():
    module, x = filled(LAYERS["transposed"]), numbers(1, 3, 20)
    stream = tconv.torch.stream(module, x)
    first = stream.push(x[:, :, :5])
    for chunk, error in [
        (x[:, :2], ShapeError),
        (x[0], ShapeError),
        (x.transpose(1, 2), ShapeError),
        (x.repeat(2, 1, 1), ShapeError),
        (x.double(), DtypeError),
        (x.numpy(), ArrayError),
        (x.to_sparse(), ArrayError),
        (x.clone().requires_grad_(), ArrayError),
    ]:
        with pytest.raises(error):
            stream.push(chunk)
    rest = [stream.push(x[:, :, 5:]), stream.flush()]
    torch.testing.assert_close(torch.cat([first, *rest], 2), stream(x), rtol=0, atol=0)
    with pytest.raises(ArgumentError, match="reset"):
        stream.push(x)


def test_bad_arguments_are_refused():
    module, x = conv(3, 4, 3), numbers(1, 3, 20)
    for given, error in [
        (lambda: tconv.torch.stream(lambda x: x, x), "torch.nn.Module is needed"),
        (lambda: tconv.torch.stream(module, [1, 2]), "has no tensor"),
        (lambda: tconv.torch.stream(module, 3), "a tuple of arguments or a dict"),
        (lambda: tconv.torch.stream(module, numbers(1, 5, 20)), "does not take the example of shape"),
        (lambda: tconv.torch.stream(module, x.half()), "streams compute in float32"),
        (lambda: tconv.torch.stream(nn.Embedding(4, 3), torch.zeros(1, 9, dtype=torch.long)), "such as codes"),
        (lambda: tconv.torch.stream(nn.ReLU()), "Write an example"),
        (lambda: tconv.torch.stream(torch.jit.script(module), x), "compiled already"),
        (lambda: tconv.torch.stream(module, x, time_axis=3), "axes 0 to 2"),
        (lambda: tconv.torch.stream(conv(3, 4, 3, device="meta"), x), "weights on meta"),
        (lambda: tconv.torch.stream(module, x.to("meta")), "example is on meta"),
    ]:
        with pytest.raises(ArgumentError, match=error):
            given()
