"""Checks of models: every number of the report, its JSON, and a real run."""

from __future__ import annotations

import json

import numpy as np

from hand_made_models import layer
from tconv.checking.layer_check import LayerCheck
from tconv.checking.report import Check, plain
from tconv.checking.trap import Trap
from tconv.geometry import Geometry


def test_facts_are_json() -> None:
    trap = Trap("key", "up", "wrong", "what", "who", "observed", "instead", {"score": np.float32(0.5), "at": (1, 2)})
    check = Check("model.onnx", "ONNX", (LayerCheck(layer(), Geometry((4, 4), 2, 1), traps=(trap,)),))
    facts = json.loads(json.dumps(check.facts(), allow_nan=False))
    assert facts["layers"][0]["geometry"]["crop"] == [[1, 1], [1, 1]]
    assert facts["layers"][0]["overlap"] == [[2, 2], [2, 2]]
    assert facts["traps"][0]["numbers"] == {"score": 0.5, "at": [1, 2]}
    assert "up  (ConvTranspose, node 3 of 9)" in str(check)


def test_plain_has_no_nan() -> None:
    assert plain({"a": float("nan"), "b": np.array([1.0, np.inf])}) == {"a": None, "b": [1.0, None]}
