"""Networks that people enlarge pictures with, small and with random weights, in PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


def conv(into: int, out: int, k: int = 3, **words) -> nn.Conv2d:
    """Return a convolution that keeps the size."""
    return nn.Conv2d(into, out, k, padding=words.pop("padding", k // 2), **words)


class Only(nn.Module):
    """Module of one function, with the layers that it uses."""

    def __init__(self, function: Callable, **layers: nn.Module):
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def residual(channels: int, scale: float = 1.0) -> nn.Module:
    return Only(
        lambda s, x: x + s.body(x) * scale,
        body=nn.Sequential(conv(channels, channels), nn.ReLU(True), conv(channels, channels)),
    )


def edsr(shift: str = "conv") -> nn.Module:
    """EDSR: a mean shift by a 1x1 convolution or by constants, residual blocks scaled by 0.1, two pixel shuffles."""
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)
    body = nn.Sequential(residual(8, 0.1), residual(8, 0.1), conv(8, 8))
    tail = nn.Sequential(conv(8, 32), nn.PixelShuffle(2), conv(8, 32), nn.PixelShuffle(2), conv(8, 3))
    shifts = [nn.Conv2d(3, 3, 1) for _ in range(2)]
    for layer, sign in zip(shifts, (-1, 1), strict=True):
        layer.weight.data = torch.eye(3).view(3, 3, 1, 1)
        layer.bias.data = sign * 255 * mean.flatten()

    def forward(s, x):
        x = s.sub(x * 255) if shift == "conv" else (x - s.mean) * 255
        x = s.head(x)
        x = s.tail(x + s.body(x))
        return s.add(x) / 255 if shift == "conv" else x / 255 + s.mean

    net = Only(forward, head=conv(3, 8), body=body, tail=tail, sub=shifts[0], add=shifts[1])
    net.register_buffer("mean", mean)
    return net


def srresnet() -> nn.Module:
    block = lambda: Only(  # noqa: E731
        lambda s, x: x + s.body(x),
        body=nn.Sequential(conv(8, 8, bias=False), nn.BatchNorm2d(8), nn.PReLU(), conv(8, 8), nn.BatchNorm2d(8)),
    )
    return Only(
        lambda s, x: (torch.tanh(s.up((h := s.head(x)) + s.body(h))) + 1) / 2,
        head=nn.Sequential(conv(3, 8, 9), nn.PReLU()),
        body=nn.Sequential(block(), block(), conv(8, 8), nn.BatchNorm2d(8)),
        up=nn.Sequential(conv(8, 32), nn.PixelShuffle(2), nn.PReLU(), conv(8, 3, 9)),
    )


def dense() -> nn.Module:
    def forward(s, x):
        parts = [x]
        for layer in s.layers:
            parts.append(F.leaky_relu(layer(torch.cat(parts, 1)), 0.2))
        return parts[-1] * 0.2 + x

    return Only(forward, layers=nn.ModuleList([conv(8, 4), conv(12, 4), conv(16, 8)]))


def rrdb(unshuffle: int = 1) -> nn.Module:
    """ESRGAN: dense blocks, scaled by 0.2, nearest enlargements; the x2 model begins with a pixel unshuffle."""

    def forward(s, x):
        x = F.pixel_unshuffle(x, unshuffle) if unshuffle > 1 else x
        x = s.head(x)
        x = x + s.body(x)
        for layer in s.up:
            x = F.leaky_relu(layer(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        return s.last(x)

    return Only(
        forward,
        head=conv(3 * unshuffle**2, 8),
        body=nn.Sequential(dense(), dense(), conv(8, 8)),
        up=nn.ModuleList([conv(8, 8), conv(8, 8)]),
        last=conv(8, 3),
    )


def srvgg() -> nn.Module:
    body = nn.Sequential(conv(3, 8), nn.PReLU(8), conv(8, 8), nn.PReLU(8), conv(8, 48), nn.PixelShuffle(4))
    return Only(lambda s, x: s.body(x) + F.interpolate(x, scale_factor=4, mode="nearest"), body=body)


def range_255() -> nn.Module:
    body = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 12), nn.PixelShuffle(2))
    return Only(lambda s, x: torch.clamp(s.body(x * 255.0 - 127.5) / 255.0 + 0.5, 0, 1), body=body)


def reflect() -> nn.Module:
    return nn.Sequential(
        nn.ReflectionPad2d(2),
        nn.Conv2d(3, 8, 5),
        nn.ReLU(),
        nn.ReplicationPad2d(1),
        nn.Conv2d(8, 12, 3),
        nn.PixelShuffle(2),
    )


def sigmoid() -> nn.Module:
    return nn.Sequential(
        conv(3, 8), nn.SiLU(), conv(8, 8), nn.Hardswish(), conv(8, 12), nn.PixelShuffle(2), nn.Sigmoid()
    )


def vdsr() -> nn.Module:
    body = nn.Sequential(conv(3, 8), nn.ReLU(), conv(8, 8), nn.ReLU(), conv(8, 3))
    return Only(
        lambda s, x: (y := F.interpolate(x, scale_factor=3, mode="bicubic", align_corners=False)) + s.body(y), body=body
    )


def fsrcnn() -> nn.Module:
    return nn.Sequential(
        *(conv(1, 8, 5), nn.PReLU(8), nn.Conv2d(8, 4, 1), nn.PReLU(4), conv(4, 4), nn.PReLU(4)),
        *(nn.Conv2d(4, 8, 1), nn.PReLU(8), nn.ConvTranspose2d(8, 1, 9, 3, 4, output_padding=2)),
    )


def espcn() -> nn.Module:
    return nn.Sequential(conv(1, 8, 5), nn.Tanh(), conv(8, 4), nn.Tanh(), conv(4, 9), nn.PixelShuffle(3), nn.Sigmoid())


def imdn() -> nn.Module:
    """IMDN: channels are split off after each convolution, and a gate of the contrast: deviation plus mean."""

    def block(s, x):
        kept, rest = torch.split(F.leaky_relu(s.a(x), 0.05), (4, 12), dim=1)
        more, rest = torch.split(F.leaky_relu(s.b(rest), 0.05), (4, 12), dim=1)
        y = torch.cat([kept, more, s.c(rest)], dim=1)
        mean = y.mean((2, 3), keepdim=True)
        contrast = (y - mean).pow(2).mean((2, 3), keepdim=True).sqrt() + mean
        return s.d(y * s.gate(contrast)) + x

    gate = nn.Sequential(nn.Conv2d(12, 4, 1), nn.ReLU(), nn.Conv2d(4, 12, 1), nn.Sigmoid())
    distilled = Only(block, a=conv(16, 16), b=conv(12, 16), c=conv(12, 4), d=nn.Conv2d(12, 16, 1), gate=gate)
    return nn.Sequential(conv(3, 16), distilled, conv(16, 12), nn.PixelShuffle(2))


def rfdn() -> nn.Module:
    """RFDN's gate: a strided convolution, a max pool, and a bilinear enlargement to the size of its input."""

    def gate(s, x):
        small = F.max_pool2d(s.down(s.one(x)), 7, 3)
        large = F.interpolate(s.body(small), (x.size(2), x.size(3)), mode="bilinear", align_corners=False)
        return x * torch.sigmoid(s.last(large + s.skip(s.one(x))))

    parts = {"one": nn.Conv2d(8, 4, 1), "down": nn.Conv2d(4, 4, 3, 2), "body": conv(4, 4)}
    attention = Only(gate, **parts, skip=nn.Conv2d(4, 4, 1), last=nn.Conv2d(4, 8, 1))
    return nn.Sequential(conv(3, 8), attention, conv(8, 12), nn.PixelShuffle(2))


def pan() -> nn.Module:
    attention = Only(lambda s, x: x * torch.sigmoid(s.gate(x)), gate=nn.Conv2d(8, 8, 1))
    return Only(
        lambda s, x: (
            s.tail(F.interpolate(s.body(x), scale_factor=2, mode="nearest"))
            + F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        ),
        body=nn.Sequential(conv(3, 8), attention),
        tail=nn.Sequential(conv(8, 8), nn.LeakyReLU(0.2), conv(8, 3)),
    )


def swift() -> nn.Module:
    """SwiftSRGAN: depthwise convolutions with batch normalization."""
    separable = nn.Sequential(conv(8, 8, groups=8, bias=False), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.PReLU(8))
    return nn.Sequential(conv(3, 8), nn.PReLU(8), separable, conv(8, 12), nn.PixelShuffle(2), nn.Tanh())


def wdsr() -> nn.Module:
    norm = nn.utils.parametrizations.weight_norm
    block = nn.Sequential(norm(nn.Conv2d(8, 16, 1)), nn.ReLU(), norm(nn.Conv2d(16, 8, 1)), norm(conv(8, 8)))
    return Only(
        lambda s, x: F.pixel_shuffle(s.tail((h := s.head(x)) + s.block(h)) + s.skip(x), 2),
        head=norm(conv(3, 8)),
        block=block,
        tail=norm(conv(8, 12)),
        skip=norm(conv(3, 12, 5)),
    )


def lapsrn() -> nn.Module:
    up = lambda into: nn.ConvTranspose2d(into, into, 4, 2, 1)  # noqa: E731

    def forward(s, x):
        h, y = s.head(x), x
        for step, wide, tail in zip(s.up, s.image, s.tail, strict=True):
            h = F.leaky_relu(step(h), 0.2)
            y = wide(y) + tail(h)
        return y

    return Only(
        forward,
        head=conv(1, 8),
        up=nn.ModuleList([up(8), up(8)]),
        image=nn.ModuleList([up(1), up(1)]),
        tail=nn.ModuleList([conv(8, 1), conv(8, 1)]),
    )


def srdensenet() -> nn.Module:
    def forward(s, x):
        h = F.relu(s.head(x))
        for layer in s.layers:
            h = torch.cat((h, F.relu(layer(h))), 1)
        return s.tail(F.relu(s.up(F.relu(s.bottle(h)))))

    up = nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1)
    layers = nn.ModuleList([conv(8, 4), conv(12, 4)])
    return Only(forward, head=conv(1, 8), layers=layers, bottle=nn.Conv2d(16, 8, 1), up=up, tail=conv(8, 1))


def nafnet() -> nn.Module:
    """NAFNet's block: LayerNorm over the channels, a gate of two halves, attention over channels by the mean."""

    def norm(x, weight, bias):
        mean = x.mean(1, keepdim=True)
        var = (x - mean).pow(2).mean(1, keepdim=True)
        return (x - mean) / (var + 1e-6).sqrt() * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)

    def block(s, x):
        a, b = s.wide(norm(x, s.weight, s.bias)).chunk(2, dim=1)
        y = a * b
        return x + s.last(y * s.gate(F.adaptive_avg_pool2d(y, 1))) * s.beta

    wide = nn.Sequential(nn.Conv2d(8, 16, 1), conv(16, 16, groups=16))
    net = Only(block, wide=wide, gate=nn.Conv2d(8, 8, 1), last=nn.Conv2d(8, 8, 1))
    net.weight, net.bias = nn.Parameter(torch.rand(8) + 0.5), nn.Parameter(torch.randn(8))
    net.beta = nn.Parameter(torch.randn(1, 8, 1, 1))
    return nn.Sequential(conv(3, 8), net, nn.GELU(), conv(8, 12), nn.PixelShuffle(2))


def unet() -> nn.Module:
    """U-Net that pads to a multiple of 4, and crops to twice the picture's size at the end."""

    def forward(s, x):
        h, w = x.shape[2:]
        x = F.pad(x, (0, (4 - w % 4) % 4, 0, (4 - h % 4) % 4), mode="reflect")
        a = F.relu(s.a(x))
        b = F.relu(s.b(F.avg_pool2d(a, 2)))
        c = F.relu(s.c(F.max_pool2d(b, 2)))
        b = torch.cat([s.up(c), b], 1)
        a = torch.cat([F.interpolate(s.d(b), scale_factor=2, mode="bilinear", align_corners=False), a], 1)
        return s.last(a)[:, :, : 2 * h, : 2 * w]

    last = nn.Sequential(conv(16, 12), nn.PixelShuffle(2))
    return Only(
        forward, a=conv(3, 8), b=conv(8, 8), c=conv(8, 8), up=nn.ConvTranspose2d(8, 8, 2, 2), d=conv(16, 8), last=last
    )


def valid_unet() -> nn.Module:
    """waifu2x's U-Net: convolutions without padding, skips that are cropped by numbers."""

    def forward(s, x):
        a = F.leaky_relu(s.a(x), 0.1)
        b = F.leaky_relu(s.down(a), 0.1)
        b = F.leaky_relu(s.up(F.leaky_relu(s.b(b), 0.1)), 0.1)
        return s.last(F.pad(a, (-2, -2, -2, -2)) + b)

    return Only(
        forward,
        a=nn.Conv2d(3, 8, 3),
        down=nn.Conv2d(8, 8, 2, 2),
        b=nn.Conv2d(8, 8, 3),
        up=nn.ConvTranspose2d(8, 8, 2, 2),
        last=nn.ConvTranspose2d(8, 3, 4, 2, 3),
    )


def normalized() -> nn.Module:
    """InstanceNorm, GroupNorm, and the LayerNorm of a picture with its channels last, as ConvNeXt has it."""

    def last(s, x):
        y = s.norm(x.permute(0, 2, 3, 1))
        return x + s.two(F.gelu(s.one(y))).permute(0, 3, 1, 2)

    block = Only(last, norm=nn.LayerNorm(8), one=nn.Linear(8, 16), two=nn.Linear(16, 8))
    return nn.Sequential(
        *(conv(3, 8), nn.InstanceNorm2d(8, affine=True), nn.Mish(), conv(8, 8), nn.GroupNorm(2, 8), nn.Softplus()),
        *(block, nn.ELU(), conv(8, 12), nn.PixelShuffle(2)),
    )


def shuffled() -> nn.Module:
    """Channel shuffle, repeated channels, a gate of a linear layer, and the last channels first."""

    def forward(s, x):
        n, _, h, w = x.shape
        y = s.a(x)
        y = y.view(n, 2, 4, h, w).transpose(1, 2).reshape(n, 8, h, w)
        gate = torch.sigmoid(s.fc(y.mean((2, 3)))).view(n, 8, 1, 1)
        y = s.b(torch.maximum(y * gate, -y) - 0.1)
        base = x.repeat_interleave(4, dim=1)
        return F.pixel_shuffle(y + base, 2)[:, [2, 1, 0]]

    return Only(forward, a=conv(3, 8), b=conv(8, 12), fc=nn.Linear(8, 8))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "edsr": (edsr, 3, 1),
    "edsr by constants": (lambda: edsr("numbers"), 3, 1),
    "srresnet": (srresnet, 3, 1),
    "rrdb": (rrdb, 3, 1),
    "rrdb with unshuffle": (lambda: rrdb(2), 3, 2),
    "srvgg": (srvgg, 3, 1),
    "0 to 255": (range_255, 3, 1),
    "reflect": (reflect, 3, 1),
    "sigmoid": (sigmoid, 3, 1),
    "vdsr": (vdsr, 3, 1),
    "fsrcnn": (fsrcnn, 1, 1),
    "espcn": (espcn, 1, 1),
    "imdn": (imdn, 3, 1),
    "rfdn": (rfdn, 3, 1),
    "pan": (pan, 3, 1),
    "swift": (swift, 3, 1),
    "wdsr": (wdsr, 3, 1),
    "lapsrn": (lapsrn, 1, 1),
    "srdensenet": (srdensenet, 1, 1),
    "nafnet": (nafnet, 3, 1),
    "unet": (unet, 3, 1),
    "valid unet": (valid_unet, 3, 2),
    "normalized": (normalized, 3, 1),
    "shuffled": (shuffled, 3, 1),
}
"""Networks by name: a function that builds one, the channels of its input, and the multiple that its sizes must be."""


def built(name: str) -> tuple[nn.Module, int, int]:
    """Return a network with weights and statistics that are not those of a new one, its channels and its multiple."""
    torch.manual_seed(sum(map(ord, name)))
    make, channels, multiple = NETWORKS[name]
    net = make().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.bias, 0, 0.2)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -0.5, 0.5)
    return net, channels, multiple
