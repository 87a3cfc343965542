#!/usr/bin/env bash
# coremltools 9.0, pass common::fuse_conv_batchnorm of the default pipeline (run on Linux)
#
# BatchNorm behind a transposed convolution with groups of several channels is folded into the weight in the wrong order:
# channels get each other's scale. One group and depthwise layers are right.
#
# Why a good guess is wrong: the conversion succeeds and the shapes are right, and the two usual cases, no groups and
# depthwise, are right.
#
# Instead: fold BatchNorm before the conversion, or remove the pass from the pipeline.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet coremltools==9.0 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'END'
import coremltools
import numpy as np
from coremltools.converters.mil import Builder
from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

assert "common::fuse_conv_batchnorm" in coremltools.PassPipeline.DEFAULT.passes
for c_in, c_out, groups in ((4, 6, 1), (4, 4, 4), (4, 6, 2), (8, 4, 2)):
    weight = np.ones((c_in, c_out // groups, 3, 3), "f")
    scale = np.arange(1, c_out + 1).astype("f")
    zeros, ones = np.zeros(c_out, "f"), np.ones(c_out, "f")

    @Builder.program(input_specs=[Builder.TensorSpec((1, c_in, 4, 4))], opset_version=coremltools.target.iOS15)
    def program(x):
        y = Builder.conv_transpose(x=x, weight=weight, strides=[2, 2], pad_type="valid", groups=groups)
        return Builder.batch_norm(x=y, mean=zeros, variance=ones, gamma=scale, beta=zeros, epsilon=np.float32(0))

    PASS_REGISTRY["common::fuse_conv_batchnorm"](program)
    PASS_REGISTRY["common::dead_code_elimination"](program)
    (node,) = (each for each in program.functions["main"].operations if each.op_type != "const")
    assert node.op_type == "conv_transpose" and node.groups.val == groups
    right = np.repeat(scale.reshape(groups, -1), c_in // groups, axis=0)  # of each [input channel, output in the group]
    found = node.weight.val[:, :, 0, 0]
    print(f"{c_in} to {c_out}, groups={groups}: scales {found.astype(int).tolist()}, right {right.astype(int).tolist()}")
    assert np.array_equal(found, right) == (groups in (1, c_in))
    assert sorted(set(found.ravel())) == sorted(set(right.ravel()))
END
