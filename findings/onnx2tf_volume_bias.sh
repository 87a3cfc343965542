#!/usr/bin/env bash
# onnx2tf 1.29.24, tensorflow-cpu 2.19.0
#
# A ConvTranspose with three spatial axes and one group is written without its bias: each channel of the .tflite file's
# output is off by its bias. The conversion ends without an error or a warning.
#
# Why a good guess is wrong: with one or two spatial axes the bias is there, and with three axes and several groups too.
# TensorFlow's own layer for volumes has a bias.
#
# Instead: write the bias as an Add behind the node before the conversion, or convert with -cotof and read its table.
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
sizes = (5, 6, 4)
# onnx2tf looks here for the pictures that it compares 2-D models on, before it would fetch them
np.save("calibration_image_sample_data_20x128x128x3_float32.npy", rng.random((20, 128, 128, 3), dtype=np.float32))


def difference(ndim, groups):
    """Return ONNX Runtime's output minus LiteRT's, channels first, and the bias."""
    x = rng.standard_normal((1, 4, *sizes[:ndim]), dtype=np.float32)
    w = rng.standard_normal((4, 6 // groups, *[2] * ndim), dtype=np.float32)
    bias = np.float32([1, 2, 3, 4, 5, 6])
    node = helper.make_node(
        "ConvTranspose", ["x", "w", "b"], ["y"], "up", kernel_shape=[2] * ndim, strides=[2] * ndim, group=groups
    )
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, *(2 * n for n in sizes[:ndim])])],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(bias, "b")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "up.onnx")
    expected = onnxruntime.InferenceSession("up.onnx").run(None, {"x": x})[0]
    with contextlib.redirect_stdout(io.StringIO()):
        onnx2tf.convert("up.onnx", output_folder_path="tf", verbosity="error")
    runner = Interpreter("tf/up_float32.tflite")
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], np.ascontiguousarray(np.moveaxis(x, 1, -1)))
    runner.invoke()
    got = np.moveaxis(runner.get_tensor(runner.get_output_details()[0]["index"]), -1, 1)
    return expected - got, bias


for ndim, groups in ((1, 1), (2, 1), (3, 1), (3, 2)):
    apart, bias = difference(ndim, groups)
    per_channel = apart.mean(axis=(0, *range(2, ndim + 2)))
    print(f"{ndim}-D, {groups} group(s): the outputs differ per channel by", np.abs(per_channel).round(3))
    missing = bias if (ndim, groups) == (3, 1) else 0 * bias
    assert np.abs(apart - missing.reshape(1, 6, *[1] * ndim)).max() < 1e-4
END_OF_PYTHON
