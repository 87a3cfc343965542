"""PyTorch's transposed convolutions on tconv's kernel: layers, a functional form, and `accelerate` for whole models.

>>> import torch, tconv.torch
>>> layer = tconv.torch.ConvTranspose2d(64, 32, 4, stride=2, padding=1)           # as torch.nn.ConvTranspose2d
>>> layer(torch.randn(1, 64, 28, 28)).shape
torch.Size([1, 32, 56, 56])
"""

from __future__ import annotations

from tconv.errors import MissingExtraError

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise MissingExtraError("tconv.torch", "torch", "torch") from None

from tconv.acceleration.report import LayerReport, Report
from tconv.torch.conv_modules import Conv1d, Conv2d, Conv3d
from tconv.torch.decoder_stream import ModuleStream, stream
from tconv.torch.functional import conv_transpose
from tconv.torch.fusion import fold_batchnorm
from tconv.torch.initializers import bilinear_, icnr_
from tconv.torch.method_plan import LayerPlan, plan
from tconv.torch.model_acceleration import accelerate, restore
from tconv.torch.modules import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from tconv.torch.rewriting import ModuleReport, RewrittenLayer, rewrite
from tconv.torch.streaming_istft import StreamingISTFT
from tconv.torch.streaming_layers import StreamingConvTranspose1d, StreamingConvTranspose2d

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "LayerPlan",
    "LayerReport",
    "ModuleReport",
    "ModuleStream",
    "Report",
    "RewrittenLayer",
    "StreamingConvTranspose1d",
    "StreamingConvTranspose2d",
    "StreamingISTFT",
    "accelerate",
    "bilinear_",
    "conv_transpose",
    "fold_batchnorm",
    "icnr_",
    "plan",
    "restore",
    "rewrite",
    "stream",
]
