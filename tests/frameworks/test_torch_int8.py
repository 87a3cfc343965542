"""PyTorch's int8 layers in a process of its own: which engine reads the weight's channels in which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tconv
from tconv.diagnosis.call_model import CallModel, whole
from tconv.diagnosis.causes.fault_effects import EFFECTS
from tconv.dialects.faults import FAULTS

FAULT = FAULTS["torch_x86_int8_channels"]
WRONG = ("x86", "onednn")
CPU = Path("/proc/cpuinfo")
HAS_VNNI = CPU.exists() and "vnni" in CPU.read_text()
ENGINES = [
    pytest.param(engine, marks=pytest.mark.skipif(engine in WRONG and not HAS_VNNI, reason="needs a CPU with VNNI"))
    for engine in torch.backends.quantized.supported_engines
    if engine != "none"
]


def layer(engine, ndim, c_in, c_out, groups, rng):
    """Return x and weight as their int8 numbers mean them, and the output of PyTorch's layer, in steps of 0.3."""
    torch.backends.quantized.engine = engine
    x = torch.tensor(rng.standard_normal((2, c_in, *[5] * ndim)).astype("f"))
    w = torch.tensor(rng.standard_normal((c_in, c_out // groups, *[3] * ndim)).astype("f"))
    x = torch.quantize_per_tensor(x, 0.05, 64, torch.quint8)
    w = torch.quantize_per_tensor(w, 0.03, 0, torch.qint8)
    kind = getattr(torch.ao.nn.quantized, f"ConvTranspose{ndim}d")
    module = kind(c_in, c_out, 3, stride=2, groups=groups, bias=False)
    module.set_weight_bias(w, None)
    module.scale, module.zero_point = 0.3, 110
    return x.dequantize().numpy(), w.dequantize().numpy(), module(x).dequantize().numpy()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("c_in", "c_out", "groups"), [(3, 5, 1), (8, 5, 1), (4, 4, 1), (6, 4, 2), (4, 6, 2), (6, 6, 3)]
)
def test_the_order_of_the_channels(engine, c_in, c_out, groups):
    x, w, got = layer(engine, 2, c_in, c_out, groups, np.random.default_rng(c_in))
    right = tconv.conv_transpose(x, w, stride=2, groups=groups)
    clipped = np.clip(right, got.min(), got.max())
    if engine not in WRONG or c_in == c_out:
        assert np.abs(clipped - got).max() <= 0.151
        return
    assert np.abs(clipped - got).max() > 1
    model = CallModel(x, w, None, tconv.Geometry((3, 3), 2, groups=groups))
    changed = EFFECTS[FAULT.key](model, {"stride": 2, "groups": groups})
    y = changed.window(whole(changed.spatial))
    assert np.abs(np.clip(y, got.min(), got.max()) - got).max() <= 0.151
    found = tconv.diagnose(got, right, x=x, weight=w, stride=2, groups=groups, dialect="torch")
    assert found.cause == FAULT.name, str(found)
    assert found.fix.startswith("y = ")
