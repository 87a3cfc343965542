"""Checks of PyTorch modules in memory: each layer runs alone, and agrees with the definition."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import tconv
from tconv.models.traces import torch_file
from tconv.models.traces.trace import RunError


def test_layers_of_a_module_run_alone():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.ConvTranspose2d(8, 4, 4, 2, 1),
        torch.nn.ReLU(),
        torch.nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2),
    )
    check = tconv.check(model, run=True)
    assert [layer.layer.arguments["groups"] for layer in check.layers] == [1, 2]
    for layer in check.layers:
        assert layer.agreement is not None, layer.notes
        assert layer.agreement.agrees
        assert layer.agreement.runtime.startswith("torch")
        assert layer.timing is not None
        assert layer.timing.runtime > 0
        assert layer.timing.tconv > 0
        assert layer.timing.bound > 0
    assert "each layer ran alone" in str(check)
    json.dumps(check.facts(), allow_nan=False)


def test_a_module_that_computes_otherwise_is_a_trap():
    class Doubled(torch.nn.ConvTranspose2d):
        def forward(self, x, output_size=None):
            return 2 * super().forward(x)

    model = torch.nn.Sequential(Doubled(4, 4, 2, 2))
    keys = {trap.key for trap in tconv.check(model, run=True).traps}
    assert "run-differs" in keys


def test_a_module_that_is_the_layer_itself():
    (layer,) = tconv.check(torch.nn.ConvTranspose2d(3, 4, 3, 2), run=True).layers
    assert layer.agreement is not None, layer.notes
    assert layer.agreement.agrees


def test_rounding_is_that_of_the_layers_type():
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        torch.manual_seed(0)
        check = tconv.check(torch.nn.Sequential(torch.nn.ConvTranspose2d(16, 4, 3, 2, dtype=dtype)), run=True)
        assert check.layers[0].agreement is not None, check.layers[0].notes
        assert "run-differs" not in {trap.key for trap in check.traps}


def test_programs_in_memory_are_read_like_their_files():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ConvTranspose2d(8, 4, 3, stride=2)).eval()
    x = torch.randn(1, 3, 9, 9)
    program = torch.export.export(module, (x,))
    for model in (torch.jit.trace(module, x), torch.jit.script(module), program):
        (layer,) = tconv.check(model).layers  # the weight is read after the check is gone
        assert layer.geometry is not None
        assert layer.geometry.stride == (2, 2)
        assert np.array_equal(layer.canonical_weight(), module[1].weight.detach().numpy())
    with pytest.raises(tconv.TconvError, match=r"Write tconv.check\(program\)"):
        tconv.check(program.module())


def test_a_torchscript_that_fails_is_reported_with_its_reason(tmp_path):
    path = tmp_path / "model.pt"
    torch.jit.trace(Joined().eval(), torch.randn(1, 3, 9, 8)).save(path)
    with torch.enable_grad():  # open_network turns gradients off in its process, which is this one here
        network = torch_file.open_network(path, "torch")
    with pytest.raises(RunError, match="Sizes of tensors must match"):
        network.trace([np.zeros((1, 3, 8, 8), np.float32)])


class Joined(torch.nn.Module):
    """Takes an x of odd height alone."""

    def __init__(self):
        super().__init__()
        self.up = torch.nn.ConvTranspose2d(3, 3, 3, stride=2, padding=1, output_padding=(0, 1))

    def forward(self, x):
        return torch.cat([self.up(x[:, :, ::2, ::2]), x], 1)
