"""The list of known faults: recorded once, with an effect or an outcome without numbers, and a test in the framework."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import tconv
from issue_reports import LISTED
from tconv.diagnosis.call_model import CallModel
from tconv.diagnosis.causes import fault_effects
from tconv.diagnosis.causes.fault_effects import EFFECTS
from tconv.dialects.faults import FAULTS
from tconv.operator.call_reading import read_call

WITH_NUMBERS = {key for key, fault in FAULTS.items() if fault.outcome == "another output"}
OLD = {"keras_torch_same", "onnxruntime_same_swapped", "onnxruntime_output_shape_halves", "mnn_crop_in_front"}
"""Faults of versions that the tests do not install."""


def test_every_fault_has_an_effect_or_an_outcome_without_numbers():
    assert set(EFFECTS) == WITH_NUMBERS
    others = {fault.outcome for key, fault in FAULTS.items() if key not in EFFECTS}
    assert others == {"unknown output", "another shape", "refusal", "end of the process"}


def test_no_text_or_version_is_repeated():
    source = inspect.getsource(fault_effects)
    assert not re.search(r"\d\.\d", source)
    for fault in FAULTS.values():
        assert fault.versions not in source
        assert fault.what not in source
        assert fault.source not in source
    assert len({fault.name for fault in FAULTS.values()}) == len(FAULTS)


def test_every_fault_belongs_to_dialects():
    for key, fault in FAULTS.items():
        assert key == fault.key
        assert fault.dialects
        for name in fault.dialects:
            assert fault in tconv.dialect(name).faults


def test_every_effect_is_diagnosed():
    """`test_diagnose.py` requires that the cause of each is found."""
    assert {build.key for build in LISTED} >= WITH_NUMBERS


@pytest.mark.parametrize("build", LISTED, ids=lambda build: build.__name__ + " " + build.key)
def test_every_rebuilt_fault_applies_and_has_its_output(build):
    case = build(np.random.default_rng(0))
    if build.key not in EFFECTS:
        return
    x, w, bias = case.arrays
    native = {name: value for name, value in case.arguments.items() if name != "dialect"}
    name = case.arguments["dialect"]
    call = read_call(x, w, bias, name, None, native)
    model = CallModel(call.x, call.weight, call.bias, call.problem.geometry)
    assert FAULTS[build.key].applies(model.geometry, model.x.shape[2:], native)
    changed = EFFECTS[build.key](model, native)
    y = changed.window(tuple(slice(0, size) for size in changed.spatial))
    got = case.got if name not in ("keras", "mlx") else np.moveaxis(case.got, -1, 1)
    np.testing.assert_allclose(y, got, atol=1e-5 if FAULTS[build.key].computation == "layer" else 0.05)


def test_a_fault_of_another_computation_is_no_hint_for_a_layer_of_floats():
    """It is named only where it can be: that of an int8 layer in a quantized output, that of a gradient in none."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 3, 7, 7)), rng.standard_normal((3, 5, 3, 3))
    for name, arguments in (("torch", {"stride": 2}), ("mlx", {"stride": 2, "output_padding": 1})):
        data, weight = x, w
        if name == "mlx":
            data, weight = np.moveaxis(x, 1, -1), tconv.convert(w, source="torch", target="mlx")
        right = tconv.conv_transpose(data, weight, dialect=name, **arguments)
        found = tconv.diagnose(rng.permuted(right), right, x=data, weight=weight, dialect=name, **arguments)
        assert "listed fault" not in str(found), str(found)
    others = {fault.computation for fault in FAULTS.values()} - {"layer"}
    assert others == {"int8 layer", "gradient of x", "fusion", "conversion"}


SPLITS = (
    "tinygrad_onnx_valid",
    "onnxruntime_same_swapped",
    "onnxruntime_output_shape_halves",
    "openvino_onnx_output_shape",
    "openvino_onnx_group_output_shape",
    "mnn_crop_in_front",
)


def test_a_fault_of_a_crop_applies_only_where_it_changes_the_crop():
    rng, count = np.random.default_rng(0), dict.fromkeys(SPLITS, 0)
    for _ in range(600):
        k, s, d, n = (int(v) for v in rng.integers(1, 5, 4))
        groups = int(rng.integers(1, 3))
        native = {"strides": [s], "dilations": [d], "group": groups, "output_padding": [int(rng.integers(0, s))]}
        native["auto_pad"] = str(rng.choice(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
        if rng.random() < 0.5:
            native["output_shape"] = [int(rng.integers(1, 15))]
        x, w = np.ones((1, groups, n)), np.ones((groups, 1, k))
        try:
            model = CallModel(x, w, None, tconv.dialect("onnx").read(x.shape, w.shape, native).geometry)
        except tconv.TconvError:
            continue
        for key in SPLITS if model.spatial else ():
            if FAULTS[key].applies(model.geometry, (n,), native):
                assert EFFECTS[key](model, native).geometry != model.geometry, (key, native)
                count[key] += 1
    assert min(count.values()) > 10, count


def test_every_fault_of_an_installed_version_is_tested_in_its_framework():
    files = (Path(__file__).parent / "frameworks").glob("*.py")
    source = "".join(file.read_text() for file in files)
    own = {key for key, fault in FAULTS.items() if fault.computation not in ("fusion", "conversion")}
    assert {key for key in own if f'"{key}"' not in source and f': {key}"' not in source} == OLD
