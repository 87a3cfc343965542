"""The FCN and the U-Net of segmentation.py, each with several ways back to the size of the picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import tconv.torch
from segmentation_parts.task import CLASSES


def block(c_in, c_out, stride=1, dilation=1):
    """Return a 3x3 convolution of the same size, or a half with stride 2, batch norm and ReLU."""
    conv = nn.Conv2d(c_in, c_out, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out), nn.ReLU())


class FCN(nn.Module):
    """Scores of classes at an eighth of the size, and one layer up: [N, 3, H, W] to [N, classes, H, W].

    Long, Shelhamer and Darrell (2015) start the layer up as bilinear interpolation, with a kernel of twice the stride.
    """

    def __init__(self, up, layer=tconv.torch.ConvTranspose2d, channels=(24, 48, 96)):
        super().__init__()
        a, b, c = channels
        body = [block(3, a, 2), block(a, b, 2), block(b, b), block(b, c, 2)]
        body += [block(c, c, dilation=2), block(c, c, dilation=2)]  # to see 87 pixels around each
        self.body = nn.Sequential(*body, nn.Conv2d(c, len(CLASSES), 1))
        if up in ("nearest", "bilinear"):
            self.up = nn.Upsample(scale_factor=8, mode=up)
        else:
            self.up = layer(len(CLASSES), len(CLASSES), 16, 8, 4, bias=False)
            if up == "transposed":
                tconv.torch.bilinear_(self.up.weight, self.up.stride)

    def forward(self, x):
        return self.up(self.body(x))


class UNet(nn.Module):
    """Five levels, joined by concatenation (Ronneberger, Fischer and Brox, 2015): [N, 3, H, W] to [N, classes, H, W].

    The transposed convolution is the paper's "up-convolution", kernel 2 and stride 2. H and W are multiples of 16.
    """

    def __init__(self, up, layer=tconv.torch.ConvTranspose2d, channels=(8, 16, 32, 64, 96)):
        super().__init__()
        pairs = list(pairwise(channels))
        downs = [nn.Sequential(block(a, b), block(b, b)) for a, b in pairs]
        self.downs = nn.ModuleList([block(3, channels[0]), *downs])
        self.joins = nn.ModuleList(block(2 * a, a) for a, _ in pairs)
        self.scores = nn.Conv2d(channels[0], len(CLASSES), 1)
        self.ups = nn.ModuleList(self._up(up, layer, b, a) for a, b in pairs)  # last: the rest starts the same

    @staticmethod
    def _up(up, layer, c_in, c_out):
        if up == "transposed":
            return layer(c_in, c_out, 2, 2)
        return nn.Sequential(nn.Upsample(scale_factor=2, mode=up), nn.Conv2d(c_in, c_out, 3, 1, 1))

    def forward(self, x):
        levels = []
        for down in self.downs:
            x = down(functional.max_pool2d(x, 2) if levels else x)
            levels.append(x)
        for up, join, level in zip(self.ups[::-1], self.joins[::-1], levels[-2::-1], strict=True):
            x = join(torch.cat([up(x), level], 1))
        return self.scores(x)


def network(recipe, layer=tconv.torch.ConvTranspose2d):
    """Return the network of a recipe with its first weights, channels last.

    layer: The class of its transposed convolutions; PyTorch's own makes the same network without this package.
    """
    torch.manual_seed(recipe["seed"])
    net = {"FCN": FCN, "U-Net": UNet}[recipe["net"]](recipe["up"], layer)
    return net.to(memory_format=torch.channels_last)


def tensor_of(images):
    """Return uint8 [N, H, W, 3] as float32 [N, 3, H, W], channels last, about -2 to 2."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().sub_(118).div_(64)


def predict(net, images, batch=25):
    """Return the classes uint8 [N, H, W] of images uint8 [N, H, W, 3], in eval mode."""
    was_training = net.training
    net.eval()
    with torch.inference_mode():
        parts = [net(tensor_of(images[i : i + batch])).argmax(1).byte().numpy() for i in range(0, len(images), batch)]
    net.train(was_training)
    return np.concatenate(parts)
