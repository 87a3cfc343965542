"""Bilinear is PyTorch's `interpolate(align_corners=False)`, and torch tensors come back as torch tensors."""

import pytest
import torch
from torch.nn.functional import interpolate

from tconv.weights.interpolation import downsample, upsample


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (2, 3), (13, 17)], ids=str)
def test_bilinear_is_torchs(scale, shape):
    torch.manual_seed(0)
    x = torch.rand(2, 3, *shape, dtype=torch.float64)
    expected = interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    actual = upsample(x, scale, "bilinear")
    assert isinstance(actual, torch.Tensor)
    # PyTorch's weight is what is left of a coordinate up to the image's size: it carries that many roundings of 1
    torch.testing.assert_close(actual, expected, rtol=0, atol=(max(shape) + 4) * torch.finfo(torch.float64).eps)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_bilinear_is_torchs_bit_for_bit_where_the_weights_are_exact(scale):
    """Weights that are multiples of 1/64 and whole numbers: nothing is rounded but the division at the border."""
    x = torch.randint(0, 256, (1, 3, 9, 11)).float()
    expected = interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    actual = upsample(x, scale, "bilinear")
    assert torch.equal(actual[..., scale:-scale, scale:-scale], expected[..., scale:-scale, scale:-scale])
    torch.testing.assert_close(actual, expected, rtol=2e-7, atol=0)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("scale", [2, 3])
def test_downsampling_bilinear_is_torchs_antialiased(mode, scale):
    """PyTorch's antialiased bicubic also has a = -0.5, unlike its plain one."""
    x = torch.rand(1, 2, 9 * scale, 11 * scale, dtype=torch.float64)
    expected = interpolate(x, size=(9, 11), mode=mode, align_corners=False, antialias=True)
    torch.testing.assert_close(downsample(x, scale, mode), expected, rtol=0, atol=1e-14)
