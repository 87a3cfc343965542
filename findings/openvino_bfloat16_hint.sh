#!/usr/bin/env bash
# openvino 2026.4.1, CPU plugin, on a chip with AVX512-BF16 (the script says so and stops on another)
#
# With the inference precision bfloat16, the transposed convolutions of a model are still computed in float32.
#
# Why a good guess is wrong: the compiled model reports bfloat16, which is the default on such chips for float32 models,
# and the convolutions beside them do run in it. So a timing "in bfloat16" of a decoder measures float32 layers, and of
# two layers in a float32 model one has errors of a hundredth, the other of a millionth.
#
# Instead: read runtimePrecision of the nodes of get_runtime_model(); set INFERENCE_PRECISION_HINT to f32 where the
# numbers have to be those of float32.
set -euo pipefail
if ! grep -q -w avx512_bf16 /proc/cpuinfo; then
  echo "not checked: this chip has no AVX512-BF16, and the default precision is float32"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet openvino==2026.4.1 numpy==2.4.6
"$work/venv/bin/python" - <<'END'
import numpy as np
import openvino
from openvino import opset13

rng = np.random.default_rng(0)
x = rng.standard_normal((1, 64, 32, 32)).astype(np.float32)
w = (rng.standard_normal((64, 64, 4, 4)) / 32).astype(np.float32)

for transposed, name in ((False, "Convolution"), (True, "ConvolutionBackpropData")):
    parameter = opset13.parameter(x.shape, np.float32)
    operator = opset13.convolution_backprop_data if transposed else opset13.convolution
    settings = {"strides": [2, 2], "pads_begin": [1, 1], "pads_end": [1, 1], "dilations": [1, 1]}
    model = openvino.Model([operator(parameter, opset13.constant(w), **settings)], [parameter])
    outputs = {}
    for hint in ("f32", None, "bf16"):
        compiled = openvino.compile_model(model, "CPU", {} if hint is None else {"INFERENCE_PRECISION_HINT": hint})
        outputs[hint] = compiled(x)[0].astype(np.float64)
        reported = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        rms = np.sqrt((outputs["f32"] ** 2).mean())
        difference = np.abs(outputs[hint] - outputs["f32"]).max() / rms
        print(f"{name}, hint {hint}: reports {reported}, differs from f32 by {difference:.1e} of the rms")
        if hint != "f32":
            assert reported == "bf16"
            assert difference == 0 if transposed else 1e-3 < difference < 0.1
END
