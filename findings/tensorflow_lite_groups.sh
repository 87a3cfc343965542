#!/usr/bin/env bash
# tensorflow-cpu 2.21.0: tf.lite.TFLiteConverter and its interpreter; ai-edge-litert 2.3.0
#
# A transposed convolution with groups converts to TensorFlow Lite without a word. The interpreter of the same package
# then returns numbers that are all wrong, with the right shape, and each of its kernels returns others. LiteRT refuses
# the file, in its first call.
#
# Why a good guess is wrong: what the format cannot say is refused by the converter, and for a dilation or for padding in
# numbers it is ("neither a custom op nor a flex op"). Groups have no attribute: they are the ratio of the channels of
# output_shape and of the filters, so TRANSPOSE_CONV is written as if it could have them.
#
# Instead: compare numbers after a conversion; write groups as tf.split, one call for each, and tf.concat.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet tensorflow-cpu==2.21.0 ai-edge-litert==2.3.0 numpy==2.4.6
cat > "$work/groups.py" <<'END'
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python.interpreter import OpResolverType

rng = np.random.default_rng(0)
whole = lambda *shape: rng.integers(-4, 5, shape).astype("f")
x, w = whole(1, 5, 5, 4), whole(3, 3, 2, 4)  # 2 groups of 2 to 2 channels


def grouped(x):
    return tf.nn.conv2d_transpose(x, w, (1, 10, 10, 4), 2)


def split(x):
    parts = zip(tf.split(x, 2, -1), tf.split(w, 2, -1))
    return tf.concat([tf.nn.conv2d_transpose(a, b, (1, 10, 10, 2), 2) for a, b in parts], -1)


def dilated(x):
    return tf.nn.conv2d_transpose(x, w, (1, 5, 5, 2), 1, dilations=2)


def converted(function):
    traced = tf.function(function).get_concrete_function(tf.TensorSpec(x.shape))
    return tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()


def run(file, interpreter=tf.lite.Interpreter, **options):
    interpreter = interpreter(model_content=file, **options)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


y = grouped(x).numpy()
assert np.array_equal(split(x), y) and np.array_equal(run(converted(split)), y)
try:
    converted(dilated)
except Exception as error:
    print("a dilation: the converter raises", type(error).__name__)
else:
    raise SystemExit("a dilation was converted")
file = converted(grouped)
for name in ("AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF"):
    got = run(file, experimental_op_resolver_type=getattr(OpResolverType, name))
    print(f"groups, {name}: {np.mean(got != y):.0%} of the numbers are wrong; the first {got[0, 0, 0]}, not {y[0, 0, 0]}")
    assert got.shape == y.shape and np.mean(got != y) > 0.8
try:
    run(file, Interpreter)
except RuntimeError as error:
    print("groups, LiteRT:", str(error)[:110])
else:
    raise SystemExit("LiteRT ran it")
END
TF_CPP_MIN_LOG_LEVEL=3 "$work/venv/bin/python" "$work/groups.py" 2> "$work/log" || { tail -5 "$work/log"; exit 1; }
