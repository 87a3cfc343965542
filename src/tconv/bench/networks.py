"""Networks with transposed convolutions for `tconv bench --models`, from published configurations.

Their weights are random. PyTorch is imported when one is built. A new network is one function and one line in
`NETWORKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple


class Network(NamedTuple):
    """A network to be timed, and the shape of its input."""

    title: str
    package: str
    """Package that it needs in addition to PyTorch, or "torch"."""
    build: Callable[[], Any]
    shape: tuple[int, ...]
    """Shape of the one random input."""


def _dcgan() -> Any:
    """The generator of pytorch/examples dcgan/main.py: nz 100, ngf 64."""
    nn: Any = import_module("torch.nn")
    layers: list[Any] = []
    for c_in, c_out, stride, padding in ((100, 512, 1, 0), (512, 256, 2, 1), (256, 128, 2, 1), (128, 64, 2, 1)):
        layers += [
            nn.ConvTranspose2d(c_in, c_out, 4, stride, padding, bias=False),
            nn.BatchNorm2d(c_out),
            nn.ReLU(True),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh())


def _fsrcnn() -> Any:
    """FSRCNN(56, 12, 4), Dong et al. 2016, as in yjn870/FSRCNN-pytorch."""
    nn: Any = import_module("torch.nn")
    layers = [nn.Conv2d(1, 56, 5, padding=2), nn.PReLU(56), nn.Conv2d(56, 12, 1), nn.PReLU(12)]
    for _ in range(4):
        layers += [nn.Conv2d(12, 12, 3, padding=1), nn.PReLU(12)]
    layers += [nn.Conv2d(12, 56, 1), nn.PReLU(56), nn.ConvTranspose2d(56, 1, 9, 2, 4, output_padding=1)]
    return nn.Sequential(*layers)


def _unet() -> Any:
    """A U-Net of the paper's widths, 64 to 1024 (Ronneberger et al. 2015), with padded convolutions."""
    torch: Any = import_module("torch")
    nn, widths = torch.nn, (64, 128, 256, 512, 1024)

    def double(c_in: int, c_out: int) -> Any:
        first, second = nn.Conv2d(c_in, c_out, 3, padding=1), nn.Conv2d(c_out, c_out, 3, padding=1)
        return nn.Sequential(first, nn.ReLU(True), second, nn.ReLU(True))

    class UNet(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(double(c_in, c_out) for c_in, c_out in zip((1, *widths), widths, strict=False))
            self.up = nn.ModuleList(nn.ConvTranspose2d(wide, wide // 2, 2, 2) for wide in widths[:0:-1])
            self.back = nn.ModuleList(double(wide, wide // 2) for wide in widths[:0:-1])
            self.last = nn.Conv2d(64, 2, 1)

        def forward(self, x: Any) -> Any:
            skips = []
            for number, block in enumerate(self.down):
                x = block(nn.functional.max_pool2d(x, 2) if number else x)
                skips.append(x)
            skips.pop()
            for up, block in zip(self.up, self.back, strict=True):
                x = block(torch.cat([skips.pop(), up(x)], 1))
            return self.last(x)

    return UNet()


def _monai() -> Any:
    nets: Any = import_module("monai.networks.nets")
    return nets.UNet(3, 1, 2, (16, 32, 64, 128), (2, 2, 2))


def _encodec() -> Any:
    transformers: Any = import_module("transformers")
    return transformers.EncodecModel(transformers.EncodecConfig()).decoder


def _hifigan() -> Any:
    transformers: Any = import_module("transformers")
    return transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig())


NETWORKS = {
    "dcgan": Network("DCGAN generator, batch 64", "torch", _dcgan, (64, 100, 1, 1)),
    "fsrcnn": Network("FSRCNN x2, 270 x 480", "torch", _fsrcnn, (1, 1, 270, 480)),
    "monai-unet": Network("MONAI UNet (16, 32, 64, 128), 64^3", "monai", _monai, (1, 1, 64, 64, 64)),
    "encodec": Network("EncodecModel decoder, 2 s", "transformers", _encodec, (1, 128, 150)),
    "unet": Network("U-Net of the paper's widths, 512 x 512", "torch", _unet, (1, 1, 512, 512)),
    "hifi-gan": Network("SpeechT5HifiGan, 100 frames", "transformers", _hifigan, (1, 100, 80)),
}
