"""Small PyTorch networks with transposed convolutions, and their exports: python torch_networks.py FOLDER [NAME...]."""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

warnings.simplefilter("ignore")


class Unet(nn.Module):
    """Two levels, skips by concatenation; `exact` gives output_size, so that odd sizes work."""

    def __init__(self, exact: bool = False, norm: bool = True, kernel: int = 2, padding: int = 0) -> None:
        super().__init__()
        self.exact = exact
        widths = (3, 6, 8, 10)
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(i, o, 3, 1 if n == 0 else 2, 1), nn.BatchNorm2d(o) if norm else nn.Identity(), nn.ReLU()
            )
            for n, (i, o) in enumerate(itertools.pairwise(widths))
        )
        self.up2 = nn.ConvTranspose2d(10, 8, kernel, 2, padding)
        self.join2 = nn.Conv2d(16, 8, 3, padding=1)
        self.up1 = nn.ConvTranspose2d(8, 6, kernel, 2, padding)
        self.join1 = nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.down[0](x)
        b = self.down[1](a)
        c = self.down[2](b)
        if self.exact:
            y = torch.relu(self.join2(torch.cat([self.up2(c, output_size=[b.shape[2], b.shape[3]]), b], 1)))
            return self.join1(torch.cat([self.up1(y, output_size=[a.shape[2], a.shape[3]]), a], 1))
        y = torch.relu(self.join2(torch.cat([self.up2(c), b], 1)))
        return self.join1(torch.cat([self.up1(y), a], 1))


class Vocoder(nn.Module):
    """Upsampling by 4 and 2 with residual blocks, as in HiFi-GAN; weight norm old, new, or none."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.pre = norm(nn.Conv1d(8, 12, 7, padding=3))
        self.ups = nn.ModuleList([norm(nn.ConvTranspose1d(12, 8, 8, 4, 2)), norm(nn.ConvTranspose1d(8, 6, 4, 2, 1))])
        self.res = nn.ModuleList([norm(nn.Conv1d(8, 8, 3, padding=2, dilation=2)), norm(nn.Conv1d(6, 6, 3, padding=1))])
        self.post = norm(nn.Conv1d(6, 1, 7, padding=3))

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        y = self.pre(mel)
        for up, res in zip(self.ups, self.res, strict=True):
            y = up(functional.leaky_relu(y, 0.1))
            y = y + res(functional.leaky_relu(y, 0.1))
        return torch.tanh(self.post(functional.leaky_relu(y)))


class Autoencoder3d(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv3d(2, 6, 3, 2, 1)
        self.norm = nn.InstanceNorm3d(6, affine=True)
        self.up = nn.ConvTranspose3d(6, 2, 3, 2, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(functional.leaky_relu(self.norm(self.down(x)), 0.01))


class Cropped(nn.Module):
    """A layer whose output loses elements at one end only, as an asymmetric padding does."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 5, 5, 2)
        self.last = nn.Conv2d(5, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(functional.relu(self.up(x)[:, :, 1:-2, 2:-1]))


class Padded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose1d(3, 4, 2, 3, bias=False)
        self.gain = nn.Parameter(torch.rand(4, 1) + 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.pad(self.up(x), (0, 1)) * self.gain


class Shuffled(nn.Module):
    """A transposed convolution beside a convolution and a pixel shuffle."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.shuffle = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.PixelShuffle(2))
        self.up = nn.ConvTranspose2d(8, 4, 4, 2, 1)
        self.last = nn.ConvTranspose2d(4, 3, 4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.gelu(self.first(x))
        return torch.sigmoid(self.last(self.shuffle(y) + self.up(y)))


class Squeezing(nn.Module):
    """Two transposed convolutions in parallel, added, and one of stride 1."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.ConvTranspose2d(4, 6, 3, 2, 1, 1)
        self.right = nn.ConvTranspose2d(4, 6, (4, 2), (2, 2), (1, 0))
        self.last = nn.ConvTranspose2d(6, 3, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(functional.elu(self.left(x) + self.right(x)))


class Two(nn.Module):
    """Two inputs and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose1d(4, 3, 4, 2, 1)
        self.mix = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.up(x) * self.mix(style)[:, :, None]
        return y, y.mean(2)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(16, 6)
        self.up = nn.ConvTranspose1d(6, 4, 4, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.up(self.table(tokens).transpose(1, 2))


def chain(*factories: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*(factory() for factory in factories))


def decoder(*options: tuple[Any, ...], norm: bool = True, ndim: int = 2) -> Callable[[], nn.Module]:
    """Return transposed convolutions with a BatchNorm and a ReLU between them."""
    up = getattr(nn, f"ConvTranspose{ndim}d")
    batch_norm = getattr(nn, f"BatchNorm{ndim}d")

    def build() -> nn.Module:
        layers: list[nn.Module] = []
        for number, (inside, out, kernel, stride, padding, extra, groups, dilation) in enumerate(options):
            layers.append(up(inside, out, kernel, stride, padding, extra, groups, not norm, dilation))
            if number < len(options) - 1:
                layers += [batch_norm(out), nn.ReLU()] if norm else [nn.LeakyReLU(0.2)]
        return nn.Sequential(*layers)

    return build


old, new = nn.utils.weight_norm, nn.utils.parametrizations.weight_norm
NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "one": (decoder((3, 4, 3, 2, 1, 1, 1, 1), norm=False), [(1, 3, 8, 10)]),
    "dcgan": (decoder((8, 8, 4, 1, 0, 0, 1, 1), (8, 6, 4, 2, 1, 0, 1, 1), (6, 3, 4, 2, 1, 0, 1, 1)), [(1, 8, 3, 3)]),
    "even": (decoder((4, 6, 2, 2, 0, 0, 1, 1), (6, 3, 2, 2, 0, 0, 1, 1)), [(2, 4, 6, 8)]),
    "groups": (decoder((6, 4, 3, 2, 1, 1, 2, 1), (4, 6, 4, 2, 1, 0, 2, 1), norm=False), [(1, 6, 8, 8)]),
    "depthwise": (decoder((6, 6, 4, 2, 1, 0, 6, 1), (6, 3, 3, 1, 1, 0, 3, 1)), [(1, 6, 8, 10)]),
    "dilated": (decoder((4, 5, 3, 2, 2, 1, 1, 2), (5, 3, 3, 1, 2, 0, 1, 2), norm=False), [(1, 4, 8, 8)]),
    "mixed": (decoder((4, 5, (3, 5), (2, 3), (1, 0), (1, 2), 1, (1, 2)), norm=False), [(1, 4, 7, 5)]),
    "small_kernel": (decoder((4, 3, 2, 3, 0, 1, 1, 1), norm=False), [(1, 4, 6, 6)]),
    "audio": (decoder((5, 4, 8, 4, 2, 0, 1, 1), (4, 2, 3, 2, 1, 1, 1, 1), ndim=1), [(1, 5, 20)]),
    "audio_groups": (decoder((6, 6, 5, 3, 1, 1, 3, 1), norm=False, ndim=1), [(2, 6, 17)]),
    "volume": (decoder((4, 3, 3, 2, 1, 1, 1, 1), (3, 2, 2, 2, 0, 0, 1, 1), ndim=3), [(1, 4, 4, 5, 6)]),
    "volume_norm": (Autoencoder3d, [(1, 2, 8, 8, 8)]),
    "unet": (Unet, [(1, 3, 16, 24)]),
    "unet_size": (lambda: Unet(exact=True, kernel=3, padding=1), [(1, 3, 17, 22)]),
    "unet_even": (lambda: Unet(norm=False, kernel=4, padding=1), [(1, 3, 16, 16)]),
    "vocoder": (lambda: Vocoder(lambda layer: layer), [(1, 8, 20)]),
    "vocoder_old": (lambda: Vocoder(old), [(1, 8, 20)]),
    "vocoder_new": (lambda: Vocoder(new), [(1, 8, 20)]),
    "spectral": (
        chain(
            lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 6, 3, padding=1)),
            nn.ReLU,
            lambda: nn.utils.parametrizations.spectral_norm(nn.ConvTranspose2d(6, 3, 4, 2, 1), dim=1),
        ),
        [(1, 3, 8, 8)],
    ),
    "cropped": (Cropped, [(1, 4, 8, 9)]),
    "padded": (Padded, [(1, 3, 12)]),
    "shuffled": (Shuffled, [(1, 3, 8, 12)]),
    "parallel": (Squeezing, [(1, 4, 8, 8)]),
    "two": (Two, [(1, 4, 10), (1, 5)]),
    "tokens": (Tokens, [(1, 9)]),
    "fsrcnn": (
        chain(
            lambda: nn.Conv2d(1, 8, 5, padding=2), lambda: nn.PReLU(8), lambda: nn.Conv2d(8, 6, 3, padding=1),
            lambda: nn.PReLU(6), lambda: nn.ConvTranspose2d(6, 1, 9, 3, 4, 2),
        ),
        [(1, 1, 8, 9)],
    ),
    "affine_last": (
        chain(
            lambda: nn.ConvTranspose2d(3, 4, 4, 2, 1), lambda: nn.BatchNorm2d(4), nn.Hardswish,
            lambda: nn.Conv2d(4, 2, 1), lambda: nn.Upsample(scale_factor=2),
        ),
        [(1, 3, 6, 8)],
    ),
}  # fmt: skip


def build(name: str) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Return a network in evaluation mode with random weights and statistics, and example inputs."""
    torch.manual_seed(sum(map(ord, name)))
    factory, shapes = NETWORKS[name]
    network = factory()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    example = tuple(torch.randn(shape) for shape in shapes)
    if name == "tokens":
        example = (torch.randint(0, 8, shapes[0]),)
    return network.eval(), example


def script(network: nn.Module, example: tuple[torch.Tensor, ...], path: str) -> None:
    """Write a TorchScript file that runs: a parametrization can be compiled, but not called."""
    compiled = torch.jit.script(network)
    compiled(*example)
    compiled.save(path)


def export(name: str, folder: Path, kinds: tuple[str, ...] = ()) -> list[str]:
    """Write all exports of a network; return the reasons of those that its exporter refuses."""
    network, example = build(name)
    axes = {0: torch.export.Dim.DYNAMIC} | dict.fromkeys(range(2, example[0].ndim), torch.export.Dim.DYNAMIC)
    writers: dict[str, Callable[[str], Any]] = {
        "trace.pt": lambda path: torch.jit.trace(network, example).save(path),
        "script.pt": lambda path: script(network, example, path),
        "pt2": lambda path: torch.export.save(torch.export.export(network, example), path),
        "dynamo.onnx": lambda path: torch.onnx.export(network, example, path, dynamo=True, verbose=False),
        "raw.onnx": lambda path: torch.onnx.export(network, example, path, dynamo=True, optimize=False, verbose=False),
        "dynamic.onnx": lambda path: torch.onnx.export(
            network, example, path, dynamo=True, dynamic_shapes=(axes, *[None] * (len(example) - 1)), verbose=False
        ),
        "script.onnx": lambda path: torch.onnx.export(network, example, path, dynamo=False),
    }
    (folder / f"torch-{name}.shapes").write_text(
        ",".join(
            f"{list(each.shape)}{'i64' if each.dtype == torch.int64 else 'f32'}".replace(" ", "") for each in example
        )
    )
    refused = []
    for kind, write in writers.items():
        if kinds and kind not in kinds:
            continue
        try:
            with torch.no_grad():
                write(str(folder / f"torch-{name}.{kind}"))
        except Exception as error:
            Path(folder / f"torch-{name}.{kind}").unlink(missing_ok=True)
            refused.append(f"torch-{name}.{kind}: {type(error).__name__} {' '.join(str(error).split())[:120]}")
    return refused


if __name__ == "__main__":
    for wanted in sys.argv[2:] or NETWORKS:
        for line in export(wanted, Path(sys.argv[1])):
            print(line)
