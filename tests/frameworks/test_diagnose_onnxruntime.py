"""diagnose with ONNX Runtime in a process of its own: its fixes run on ONNX Runtime and ONNX's evaluator."""

from __future__ import annotations

import numpy as np
import onnx.parser
import onnx.reference
import onnxruntime
import pytest
from fix_lines import check_fixes

import tconv


@pytest.mark.parametrize(("target", "groups"), [("onnxruntime", 1), ("onnxruntime", 2), ("onnx", 2)])
def test_the_fix_has_the_bias_and_the_groups(target, groups):
    """For groups the fix in the onnx dialect runs ONNX Runtime, too: ONNX's own evaluator gets them wrong."""
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype("f") for shape in ((2, 4, 6, 6), (4, 6 // groups, 3, 3), (6,)))
    arguments = {"stride": 2, "groups": groups}
    got, expected = (tconv.conv_transpose(x, w, b, padding=padding, **arguments) for padding in (0, 1))
    found = tconv.diagnose(got, expected, x=x, weight=w, bias=b, target=target, padding=1, **arguments)
    scope = {"onnx": onnx, "onnxruntime": onnxruntime, "x": x, "weight": w, "bias": b}
    exec(found.fix, scope)
    np.testing.assert_allclose(scope["y"], expected, atol=1e-5)


@pytest.mark.parametrize(("target", "groups"), [("onnxruntime", (1, 2)), ("onnx", (1,))])
def test_the_fixes(target, groups):
    tally = check_fixes(target, {"onnx": onnx, "onnxruntime": onnxruntime}, groups=groups)
    print(dict(tally))
    assert tally["recomputed"] > 15 * len(groups)
    assert tally["fixed"] > 60 * len(groups)
