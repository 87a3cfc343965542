#!/usr/bin/env bash
# onnxslim 0.1.98
#
# A Mul behind a ConvTranspose is folded into the weight's output channels whenever its constant has as many numbers as
# there are channels, along whichever axis they stand: a factor per row or per column becomes one per channel. The
# simplified model runs without an error and gives other numbers.
#
# Why a good guess is wrong: with factors along the channels the fold is right, and with another number of rows there
# is none. So a model is broken only for pictures whose height or width happens to be the number of channels.
#
# Instead: compare the outputs of both models, or write onnxslim.slim(model, skip_fusion_patterns=...) without this fusion.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet onnxslim==0.1.98 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import onnx
import onnxruntime
import onnxslim
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
x = rng.standard_normal((1, 4, 6, 6), dtype=np.float32)


def difference(factors, channels):
    """Return the largest difference that onnxslim makes, for factors behind a layer of 12 x 12 outputs."""
    weight = rng.standard_normal((4, channels, 4, 4), dtype=np.float32)
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["a", "m"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 12, 12])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(factors, "m")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    slim = onnxslim.slim(onnx.ModelProto.FromString(model.SerializeToString()))
    run = lambda m: onnxruntime.InferenceSession(m.SerializeToString()).run(None, {"x": x})[0]
    return float(np.abs(run(model) - run(slim)).max())


factors = rng.standard_normal(12).astype(np.float32)
for name, shape, channels in (
    ("12 channels, per channel", (1, 12, 1, 1), 12),
    ("12 channels, per row", (1, 1, 12, 1), 12),
    ("12 channels, per column", (1, 1, 1, 12), 12),
    ("8 channels, per row", (1, 1, 12, 1), 8),
):
    found = difference(factors.reshape(shape), channels)
    print(f"{name}: largest difference {found:.2g}")
    assert (found > 0.1) == (channels == 12 and shape[1] == 1)
END
