"""Networks of MONAI, transformers and the benchmark's own, small: the same outputs, gradients and checkpoints when accelerated."""

from __future__ import annotations

import warnings

import pytest
import torch

import tconv.torch as ours
from tconv.acceleration.paired_timing import Estimate, Pairs
from tconv.bench.networks import NETWORKS

SMALL = {
    "dcgan": (2, 100, 1, 1),
    "fsrcnn": (1, 1, 20, 24),
    "monai-unet": (1, 1, 16, 16, 16),
    "encodec": (1, 128, 4),
    "hifi-gan": (1, 2, 80),
}
TRAINED = ("dcgan", "monai-unet")
"""Networks whose training step takes little time."""


def build(name):
    if NETWORKS[name].package != "torch":
        pytest.importorskip(NETWORKS[name].package)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return NETWORKS[name].build().eval()


@pytest.mark.parametrize("name", SMALL)
def test_the_same_network(name, monkeypatch):
    torch.manual_seed(0)
    stock, x = build(name), torch.randn(SMALL[name])
    model = build(name)
    report = ours.accelerate(model)
    assert len(report.layers) >= 1
    assert report.left == ()
    assert str(model.load_state_dict(stock.state_dict())) == "<All keys matched successfully>"
    with torch.no_grad():
        expected = stock(x)
        assert (model(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
    for each in (stock, model) if name in TRAINED else ():
        each(x).square().sum().backward()
    # of the largest gradient: some are nothing but rounding, as that of a bias before an instance norm
    largest = max((p.grad.abs().max() for p in stock.parameters() if p.grad is not None), default=0.0)
    for (key, mine), theirs in zip(model.named_parameters(), stock.parameters(), strict=True):
        assert (mine.grad is None) == (theirs.grad is None)
        assert mine.grad is None or (mine.grad - theirs.grad).abs().max() <= 1e-4 * largest, key
    if name in TRAINED:
        monkeypatch.setattr(Pairs, "gain", Estimate(2.0, 2.0, 2.0))  # no layer is left because the machine is busy
        monkeypatch.setattr(Pairs, "saved", lambda self, name: Estimate(1.0, 1.0, 1.0))
        measured = ours.accelerate(build(name), x, fuse=True)
        assert measured.share > 0
        assert bool(measured.fused) == (name == "dcgan")
    assert ours.restore(model) == len(report.layers)
    with torch.no_grad():
        assert torch.equal(model(x), expected)
