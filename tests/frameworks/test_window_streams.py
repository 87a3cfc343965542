"""Streams on exact windows of modules of PyTorch: their dependence is measured, and their chunks give the whole."""

import numpy as np
import pytest
import torch

from tconv.errors import StreamError
from tconv.streaming.window_stream import WindowStream

torch.set_num_threads(1)  # the modules are tiny


def seeded(module, seed=0):
    """Return a module in eval mode with random weights and biases that are not 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
            if name.endswith("bias"):
                parameter += 0.5
    return module.eval()


def run_of(module):
    def run(x):
        with torch.no_grad():
            return module(torch.from_numpy(x)).numpy()

    return run


class Residual(torch.nn.Module):
    """Dilated convolutions with a residual, gated."""

    def __init__(self, dilation):
        super().__init__()
        self.both = torch.nn.Conv1d(4, 8, 3, padding=dilation, dilation=dilation)

    def forward(self, x):
        a, b = self.both(x).chunk(2, 1)
        return x + torch.tanh(a) * torch.sigmoid(b)


class Blocks(torch.nn.Module):
    """Attention inside blocks of 6, which no reader of convolutions knows."""

    def __init__(self):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        n, c, t = x.shape
        blocks = x[:, :, : t // 6 * 6].reshape(n, c, -1, 6).permute(0, 2, 3, 1).reshape(-1, 6, c)
        made, _ = self.attention(blocks, blocks, blocks)
        return made.reshape(n, -1, 6, c).permute(0, 3, 1, 2).reshape(n, c, -1)


class Quantized(torch.nn.Module):
    """The nearest of a few codes, by argmax, and a convolution of them: NaN does not spread as numbers do."""

    def __init__(self):
        super().__init__()
        self.codes, self.conv = torch.nn.Embedding(32, 4), torch.nn.Conv1d(4, 4, 5)

    def forward(self, x):
        nearest = (x.transpose(1, 2) @ self.codes.weight.T).argmax(2)
        return self.conv(torch.nn.functional.pad(self.codes(nearest).transpose(1, 2), (4, 0)))


class InPlace(torch.nn.Module):
    """A module that changes its input."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv1d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x.relu_())


def upsampler():
    return torch.nn.Sequential(
        torch.nn.Conv1d(4, 4, 7, padding=3, padding_mode="reflect"),
        torch.nn.LeakyReLU(0.1),
        torch.nn.ConvTranspose1d(4, 4, 16, 8, 4),
        Residual(1),
        Residual(3),
        torch.nn.ELU(),
        torch.nn.ConvTranspose1d(4, 4, 5, 2, 2, output_padding=1),
    )


MODULES = {
    "upsampler": (upsampler, 16, 1),
    "downsampler": (
        lambda: torch.nn.Sequential(torch.nn.Conv1d(4, 4, 8, 4, 2), Residual(1), torch.nn.AvgPool1d(2)),
        1,
        8,
    ),
    "blocks": (Blocks, 6, 6),
    "quantized": (Quantized, 1, 1),
    "in place": (InPlace, 1, 1),
}


@pytest.mark.parametrize("name", MODULES)
def test_chunks_give_the_whole(name):
    build, outputs, period = MODULES[name]
    module = seeded(build())
    stream = WindowStream(run_of(module), 4, batch=2)
    assert (stream.dependence.outputs, stream.dependence.period) == (outputs, period)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 150), dtype=np.float32)
    whole = run_of(module)(x.copy())
    chunks, at = [], 0
    while at < 150:
        count = int(rng.integers(0, 30))
        chunks.append(stream.push(x[:, :, at : at + count]))
        at += count
    made = np.concatenate([*chunks, stream.flush()], 2)
    np.testing.assert_allclose(made, whole, rtol=0, atol=2e-5 * np.abs(whole).max())
    assert stream.difference < 2e-5


class Positions(torch.nn.Module):
    def forward(self, x):
        return x + torch.linspace(0, 1, x.shape[2])


class Last(torch.nn.Module):
    """A layer of torch.nn whose result is the first of a tuple, over time."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        x = x.transpose(1, 2)
        made = self.layer(x, x, x) if isinstance(self.layer, torch.nn.MultiheadAttention) else self.layer(x)
        return made[0].transpose(1, 2)


REFUSED = {
    "group norm": (lambda: torch.nn.GroupNorm(2, 4), "depends on all of time"),
    "attention": (lambda: Last(torch.nn.MultiheadAttention(4, 2, batch_first=True)), "depends on all of time"),
    "bidirectional": (lambda: Last(torch.nn.LSTM(4, 2, bidirectional=True, batch_first=True)), "all of time"),
    "LSTM": (lambda: Last(torch.nn.LSTM(4, 4, batch_first=True)), "needs state"),
    "GRU behind codes": (lambda: torch.nn.Sequential(Quantized(), Last(torch.nn.GRU(4, 4, batch_first=True))), "state"),
    "positions": (Positions, "knows its place in time, or the length of its input"),
    "global mean": (lambda: torch.nn.AdaptiveAvgPool1d(1), "the same length for all inputs"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_window_is_refused(name):
    build, reason = REFUSED[name]
    with pytest.raises(StreamError, match=reason):
        WindowStream(run_of(seeded(build())), 4, longest=256)


def test_modules_in_training_mode_are_refused():
    with pytest.raises(StreamError, match=r"draws random numbers.*module.eval\(\)"):
        WindowStream(run_of(torch.nn.Sequential(torch.nn.Conv1d(4, 4, 3), torch.nn.Dropout())), 4)
    with pytest.raises(StreamError, match=r"depends on all of time.*batch norm in training mode"):
        WindowStream(run_of(torch.nn.BatchNorm1d(4, track_running_stats=False)), 4, longest=256)
