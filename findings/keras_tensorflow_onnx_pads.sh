#!/usr/bin/env bash
# keras 3.15.1 on tensorflow-cpu 2.21.0, with tf2onnx 1.17.0; read by onnxruntime 1.32.0
#
# Conv2DTranspose with padding="same" and a stride above the kernel exports to an ONNX node with negative pads, for
# example [-1, -1, -1, -1] for kernel 2 and stride 4. ONNX Runtime does not load the file. TensorFlow's own crop there is
# (0, -2), zeros at the end alone, so the pads would be wrong as well as negative.
#
# Why a good guess is wrong: model.export reports success, and the same model exported on the PyTorch backend has no pads
# but a Pad behind the node, and runs.
#
# Instead: export on the PyTorch backend, or write output_padding (here [2, 2]) in place of the pads.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet keras==3.15.1 tensorflow-cpu==2.21.0 onnx==1.23.2 onnxruntime==1.32.0 requests
"$work/venv/bin/pip" install --quiet --no-deps tf2onnx==1.17.0
cd "$work"
KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" - <<'END'
import keras
import numpy as np
import onnx
import onnxruntime

for kernel, stride, pads in ((2, 4, [-1, -1, -1, -1]), (2, 3, [0, 0, -1, -1])):
    layer = keras.layers.Conv2DTranspose(1, kernel, strides=stride, padding="same", use_bias=False)
    model = keras.Sequential([keras.Input((3, 3, 1), batch_size=1), layer])
    layer.set_weights([np.ones((kernel, kernel, 1, 1), "f")])
    y = np.asarray(model(np.ones((1, 3, 3, 1), "f")))[0, :, :, 0]
    model.export("m.onnx", format="onnx", verbose=False)
    (node,) = (each for each in onnx.load("m.onnx").graph.node if each.op_type == "ConvTranspose")
    (found,) = (list(each.ints) for each in node.attribute if each.name == "pads")
    print("kernel", kernel, "stride", stride, "pads", found, "first row of Keras", y[0])
    assert found == pads
    assert y[0, :kernel].all() and not y[0, kernel:stride].any()  # TensorFlow adds zeros at the end alone
    try:
        onnxruntime.InferenceSession("m.onnx")
    except Exception as error:
        print(str(error)[:160])
        assert "must not contain negative values" in str(error)
    else:
        raise AssertionError("ONNX Runtime loads it now")
END
