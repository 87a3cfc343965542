"""diagnose with PyTorch in a process of its own: its tensors as arguments, and its fixes run on them."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fix_lines import check_fixes, recomputes

import tconv

sys.path.insert(0, str(Path(__file__).parents[1]))
from issue_reports import CASES, LISTED


def test_the_fixes():
    tally = check_fixes("torch", {"torch": torch}, wrap=lambda array: torch.tensor(np.array(array)))
    print(dict(tally))
    assert tally["recomputed"] > 30
    assert tally["fixed"] > 125


def test_the_fixes_of_real_threads_that_recompute_y():
    """They are written for PyTorch, for a call in any dialect, and give the expected output."""
    recomputed = 0
    for build in CASES + LISTED:
        case = build(np.random.default_rng(4))
        found = case.diagnose(target="torch")
        assert "\n" not in found.fix
        if not (found.fix and recomputes(found.fix)):
            continue
        x, weight, bias = case.arrays
        dialect = case.arguments.get("dialect", "torch")  # the fix starts from x and weight as they were given
        scope = {
            "torch": torch, "tconv": tconv, "x": torch.tensor(x.copy()), "weight": torch.tensor(weight),
            "bias": None if bias is None else torch.tensor(bias),
        }  # fmt: skip
        exec(found.fix, scope)
        y, layout = scope["y"].numpy(), tconv.dialect(dialect).data_layout(x.ndim - 2, x.ndim)
        np.testing.assert_allclose(y, layout.canonical(case.expected), atol=1e-4, err_msg=case.thread)
        recomputed += 1
    assert recomputed >= 20


def test_a_wrong_port_of_keras_same():
    """The port was written for PyTorch, and so is the fix."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 8, 8, 4)).astype("f"), rng.standard_normal((3, 3, 5, 4)).astype("f")
    expected = tconv.conv_transpose(x, w, dialect="keras", strides=2, padding="same")
    x, weight = torch.tensor(x).permute(0, 3, 1, 2), torch.tensor(tconv.convert(w, source="keras", target="torch"))
    arguments = {"stride": 2, "padding": 1, "output_padding": 1}
    got = torch.nn.functional.conv_transpose2d(x, weight, **arguments)
    found = tconv.diagnose(got, expected, x=x, weight=weight, **arguments)
    assert found.cause.startswith("SAME of")
    assert found.fix == "y = torch.nn.functional.conv_transpose2d(x, weight, stride=2)[:, :, 0:16, 0:16]"
    scope = {"torch": torch, "x": x, "weight": weight}
    exec(found.fix, scope)
    np.testing.assert_allclose(scope["y"].permute(0, 2, 3, 1), expected, atol=1e-4)
    assert "got is [N, C, h, w]" not in found.findings[0].text
    assert any("expected is [N, h, w, C], the other [N, C, h, w]" in note for note in found.notes)


def test_every_library_and_dtype():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 3, 7, 7)).astype("f"), rng.standard_normal((3, 3, 3, 3)).astype("f")
    y = tconv.conv_transpose(x, w, stride=2)
    wrong = torch.tensor(tconv.conv_transpose(x, w[:, :, ::-1, ::-1], stride=2))
    assert tconv.diagnose(wrong, y, x=x, weight=torch.tensor(w), stride=2).cause == "kernel flipped"
    assert tconv.diagnose(wrong.bfloat16(), torch.tensor(y).half(), x=x, weight=w, stride=2).cause == "kernel flipped"
    assert tconv.diagnose(torch.tensor(y).half(), y, x=x, weight=w, stride=2).verdict == "equal"


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_fold_batchnorm_is_the_layer_and_its_batchnorm(groups):
    torch.manual_seed(groups)
    layer = torch.nn.ConvTranspose2d(6, 3 * groups, 3, stride=2, groups=groups)
    norm = torch.nn.BatchNorm2d(3 * groups).eval()
    for tensor in (norm.running_mean, norm.weight.data, norm.bias.data):
        tensor.normal_()
    norm.running_var.uniform_(0.1, 2)
    with torch.no_grad():
        weight, bias = tconv.fold_batchnorm(
            layer.weight, layer.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var, eps=norm.eps, groups=groups
        )  # fmt: skip
        x = torch.randn(2, 6, 5, 5)
        expected = norm(layer(x))
        y = torch.nn.functional.conv_transpose2d(x, weight, bias, stride=2, groups=groups)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)


def test_tensors_that_require_gradients_are_read():
    """Outputs and parameters of a layer are only read, so no gradient can get lost."""
    layer = torch.nn.ConvTranspose2d(4, 3, 3, stride=2)
    x = torch.randn(1, 4, 6, 6)
    got = torch.nn.functional.conv_transpose2d(x, layer.weight.flip(2, 3), layer.bias, stride=2)
    found = tconv.diagnose(got, layer(x), x=x, weight=layer.weight, bias=layer.bias, stride=2)
    assert found.cause == "kernel flipped"
    assert 0 < tconv.checkerboard(layer.weight, stride=2).score < 1


@pytest.mark.parametrize("cause", ["scale per channel", "offset per channel", "scale and offset per channel"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_fix_of_scales_runs_on_tensors(cause, dtype):
    torch.manual_seed(0)
    x, weight = torch.randn(1, 4, 7, 7), torch.randn(4, 3, 3, 3)
    expected = torch.nn.functional.conv_transpose2d(x, weight, stride=2)
    scale, offset = (torch.rand(3, 1, 1) + 1 for _ in range(2))
    y = (expected * scale if "scale" in cause else expected) + (offset if "offset" in cause else 0)
    found = tconv.diagnose(y.to(dtype), expected, x=x, weight=weight, stride=2)
    assert found.cause == cause, str(found)
    scope = {"y": y.to(dtype)}
    exec(found.fix, scope)
    assert scope["y"].dtype == dtype
    torch.testing.assert_close(scope["y"].float(), expected, atol=1e-5 if dtype == torch.float32 else 2e-2, rtol=2e-3)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("c_in", "kernel", "stride"), [(16, 3, 2), (64, 4, 2), (128, 5, 3), (256, 4, 2)])
def test_a_layer_in_float16_on_the_cpu(c_in, kernel, stride, bias):
    """PyTorch adds its taps, and the bias, in float16, unless oneDNN knows the chip's instructions for float16."""
    torch.manual_seed(0)
    layer = torch.nn.ConvTranspose2d(c_in, 8, kernel, stride, bias=bias)
    x = torch.randn(1, c_in, 10, 10)
    expected, narrow = layer(x), copy.deepcopy(layer).half()
    got = narrow(x.half())
    exact = copy.deepcopy(narrow).double()(x.half().double())
    rounded_once = (got == exact.half()).double().mean() > 0.98  # else about half of them are
    found = tconv.diagnose(got, expected, x=x, weight=layer.weight, bias=layer.bias, stride=stride)
    assert found.cause == ("computed in float16" if rounded_once else "summed in float16"), str(found)
    scope = {"x": x.half(), "weight": narrow.weight, "bias": narrow.bias}
    exec(found.fix, scope)
    assert {scope[name].dtype for name in ("x", "weight", *["bias"] * bias)} == {torch.float32}
    y = torch.nn.functional.conv_transpose2d(scope["x"], scope["weight"], scope["bias"], stride=stride)
    torch.testing.assert_close(y.double(), exact, atol=1e-5, rtol=1e-5)
