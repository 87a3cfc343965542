#!/usr/bin/env bash
# onnx2tf 1.29.24, tensorflow-cpu 2.19.0
#
# A Mul behind a ConvTranspose multiplies another axis in the .tflite file, if the width or the height is the number of
# channels: factors per column or per row become factors per channel, and, where the width is that number, factors per
# channel of shape (1, C, 1, 1) become factors per column. The conversion ends without an error, and the output has its
# right shape.
#
# Why a good guess is wrong: onnx2tf moves the channels last and the constants with them. With another number of
# channels the same constant is moved correctly; so are factors of shape (C, 1, 1), and the constants of an Add.
#
# Instead: compare the outputs of both models, or convert with -cotof and read its table.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --no-deps onnx2tf==1.29.24 tf-keras==2.19.0 sng4onnx==2.0.1 \
    onnx-graphsurgeon==0.5.8 onnxsim==0.4.36
"$work/venv/bin/pip" install --quiet tensorflow-cpu==2.19.0 ai-edge-litert==2.1.0 onnx==1.19.1 onnxruntime==1.23.0 \
    numpy==1.26.4 psutil==5.9.5 requests==2.32.5 rich 2>/dev/null
cd "$work"
PATH="$work/venv/bin:$PATH" python - 2>/dev/null <<'END_OF_PYTHON'
import contextlib
import io

import numpy as np
import onnx
import onnx2tf
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
# onnx2tf looks here for the pictures that it compares its operations on, before it would fetch them
np.save("calibration_image_sample_data_20x128x128x3_float32.npy", rng.random((20, 128, 128, 3), dtype=np.float32))


def difference(operator, shape, channels):
    """Return the largest difference between ONNX Runtime and LiteRT, for a constant behind 10 x 12 outputs."""
    x = rng.standard_normal((1, 3, 5, 6), dtype=np.float32)
    w = rng.standard_normal((3, channels, 4, 4), dtype=np.float32)
    constant = rng.standard_normal(shape, dtype=np.float32)
    sizes = {"kernel_shape": [4, 4], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["a"], "up", **sizes),
        helper.make_node(operator, ["a", "m"], ["y"], "behind"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, channels, 10, 12])],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(constant, "m")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "up.onnx")
    expected = onnxruntime.InferenceSession("up.onnx").run(None, {"x": x})[0]
    with contextlib.redirect_stdout(io.StringIO()):
        onnx2tf.convert("up.onnx", output_folder_path="tf", verbosity="error")
    runner = Interpreter("tf/up_float32.tflite")
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], np.ascontiguousarray(np.moveaxis(x, 1, -1)))
    runner.invoke()
    got = runner.get_tensor(runner.get_output_details()[0]["index"])
    # the channels may be last or not
    orders = [each for each in (got, np.moveaxis(got, -1, 1)) if each.shape == expected.shape]
    return min(float(np.abs(expected - each).max()) for each in orders)


for name, operator, shape, channels, right in (
    ("12 channels, Mul (12, 1, 1), per channel", "Mul", (12, 1, 1), 12, True),
    ("12 channels, Mul (1, 12, 1, 1), per channel", "Mul", (1, 12, 1, 1), 12, False),
    ("12 channels, Mul (1, 1, 1, 12), per column", "Mul", (1, 1, 1, 12), 12, False),
    ("10 channels, Mul (1, 1, 10, 1), per row", "Mul", (1, 1, 10, 1), 10, False),
    ("8 channels, Mul (1, 8, 1, 1), per channel", "Mul", (1, 8, 1, 1), 8, True),
    ("8 channels, Mul (1, 1, 1, 12), per column", "Mul", (1, 1, 1, 12), 8, True),
    ("12 channels, Add (1, 1, 1, 12), per column", "Add", (1, 1, 1, 12), 12, True),
):
    found = difference(operator, shape, channels)
    print(f"{name}: largest difference {found:.2g}")
    assert (found < 1e-4) == right
END_OF_PYTHON
