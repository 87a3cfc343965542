"""The networks that come with tconv: which there are, what they add to bicubic interpolation, and how well."""

from pathlib import Path

import numpy as np
import pytest

import tconv.models
from tconv.errors import ArgumentError
from tconv.models import photo
from tconv.upsampling import metrics, sample_photo
from tconv.weights.interpolation import upsample

PHOTOS = [(2, "small", "photo"), (3, "small", "photo"), (4, "small", "photo"), (2, "large", "photo-large")]
"""The networks that come with tconv: scale, size, and name."""


@pytest.mark.parametrize(("scale", "size", "name"), PHOTOS)
def test_the_networks_that_come_with_tconv(scale, size, name):
    model = photo(scale, size)
    assert (model.scale, model.adds, model.name) == (scale, "bicubic", f"{name} x{scale}")
    assert model.network.channels[0] == model.network.channels[-1] == 1
    x = np.random.default_rng(0).random((3, 9, 8)).astype("f4")
    detail = model(x) - upsample(x, scale)
    np.testing.assert_allclose(detail, np.broadcast_to(detail[:1], detail.shape), atol=1e-6)


def test_networks_that_do_not_come_with_tconv_are_refused():
    for arguments, message in {
        (5,): r"scale is 5; networks come with tconv for \(2, 3, 4\). Write photo\(2\)",
        (3, "large"): r'scale is 3; the large network comes with tconv for \(2,\). Write photo\(2, size="large"\)',
        (2, "huge"): r"size is 'huge'; small and large come with tconv. Write photo\(2, size=\"large\"\)",
    }.items():
        with pytest.raises(ArgumentError, match=message):
            photo(*arguments)


def test_the_large_network_has_at_most_twice_the_work_and_the_bytes_that_were_asked_for():
    files = Path(tconv.models.__file__).parent / "data"
    sizes = {path.name: path.stat().st_size for path in files.glob("*.safetensors")}
    work = [sum(each.macs.exact for each in photo(2, size).network.problems((256, 256))) for size in ("small", "large")]
    assert work[1] <= 2 * work[0]
    assert sum(sizes.values()) <= 300_000


def of_the_photograph(scale, size):
    """Return PSNR and SSIM of the photograph that comes with tconv, shrunk, enlarged by a network and by bicubic."""
    original = sample_photo.photograph(scale)
    shrunk = sample_photo.shrink(original, scale)
    made = np.rint(np.clip(255 * photo(scale, size)(shrunk / np.float32(255)), 0, 255)).astype("u1")
    results = made, sample_photo.enlarged(shrunk, scale, "bicubic")
    return [(metrics.psnr(original, each), metrics.ssim(original, each)) for each in results]


@pytest.mark.parametrize(("scale", "size", "name"), PHOTOS)
def test_the_network_enlarges_the_photograph_better_than_bicubic(scale, size, name):
    """With the next one, the only tests of the quality of the trained weights."""
    made, plain = of_the_photograph(scale, size)
    assert made > plain
    assert made[1] > plain[1]


def test_the_large_network_enlarges_it_better_than_the_small_one():
    assert of_the_photograph(2, "large")[0] > of_the_photograph(2, "small")[0]
