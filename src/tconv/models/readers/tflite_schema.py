"""Numbers and names in the schema of TensorFlow Lite, as of version 2.21 of its library.

Source: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

from __future__ import annotations

from typing import Any

_NAMES = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM
MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS
SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN
EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2
GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG
SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT
UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU
SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE
MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5
SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO
RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE
RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX
UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD
STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS
STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE
STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH
STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE
STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE
STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE
STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
"""
OPERATORS = tuple(_NAMES.split())
"""Names of the built-in operators by number."""

TYPES = (
    "float32",
    "float16",
    "int32",
    "uint8",
    "int64",
    "string",
    "bool",
    "int16",
    "complex64",
    "int8",
    "float64",
    "complex128",
    "uint64",
    "resource",
    "variant",
    "uint32",
    "uint16",
    "int4",
    "bfloat16",
    "int2",
    "uint4",
    "float8_e4m3fn",
    "float8_e5m2",
)
"""Names of the types of tensors by number."""

PADDING = ("SAME", "VALID")
ACTIVATIONS = ("", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")

_CONV = "padding:p strideW:i strideH:i fusedActivationFunction:a dilationWFactor:i1 dilationHFactor:i1"
_ACTIVATED = "fusedActivationFunction:a"
_POOL = "padding:p strideW:i strideH:i filterWidth:i filterHeight:i fusedActivationFunction:a"
_STRIDED = "beginMask:i endMask:i ellipsisMask:i newAxisMask:i shrinkAxisMask:i"
_OPTIONS = {
    "CONV_2D": _CONV,
    "DEPTHWISE_CONV_2D": _CONV.replace("fused", "depthMultiplier:i fused"),
    "TRANSPOSE_CONV": "padding:p strideW:i strideH:i fusedActivationFunction:a",
    "CONV_3D": f"{_CONV.replace(':p ', ':p strideD:i ').replace('dilationW', 'dilationDFactor:i1 dilationW')}",
    "DEPTH_TO_SPACE": "blockSize:i",
    "SPACE_TO_DEPTH": "blockSize:i",
    "ADD": _ACTIVATED,
    "SUB": _ACTIVATED,
    "MUL": _ACTIVATED,
    "DIV": _ACTIVATED,
    "FULLY_CONNECTED": _ACTIVATED,
    "AVERAGE_POOL_2D": _POOL,
    "MAX_POOL_2D": _POOL,
    "CONCATENATION": "axis:i fusedActivationFunction:a",
    "LEAKY_RELU": "alpha:f",
    "GELU": "approximate:b",
    "SOFTMAX": "beta:f",
    "STRIDED_SLICE": _STRIDED,
    "RESIZE_BILINEAR": "-:i -:i alignCorners:b halfPixelCenters:b",
    "RESIZE_NEAREST_NEIGHBOR": "alignCorners:b halfPixelCenters:b",
    "PACK": "valuesCount:i axis:i",
    "UNPACK": "num:i axis:i",
    "GATHER": "axis:i batchDims:i",
    "MEAN": "keepDims:b",
    "SUM": "keepDims:b",
    "REDUCE_PROD": "keepDims:b",
    "REDUCE_MAX": "keepDims:b",
    "MIRROR_PAD": "mode:i",
    "SQUEEZE": "squeezeDims:v",
}
_OPTIONS["CONV_3D_TRANSPOSE"] = _OPTIONS["CONV_3D"]


def _fields() -> dict[str, list[tuple[str, str, Any]]]:
    """Return name, kind and default of each option of each operator."""
    parsed = {}
    for operator, text in _OPTIONS.items():
        fields = [field.split(":") for field in text.split()]
        parsed[operator] = [(name, kind[0], int(kind[1:] or 0)) for name, kind in fields]
    return parsed


OPTIONS = _fields()
"""Options of the operators whose numbers are read, in the order of the schema.

Kinds: i is an int, f a float, b a bool, v a list of ints, p a padding, a an activation.
"""

INPUTS = {
    "CONV_2D": ("", "weight", "bias"),
    "DEPTHWISE_CONV_2D": ("", "weight", "bias"),
    "CONV_3D": ("", "weight", "bias"),
    "FULLY_CONNECTED": ("", "weight", "bias"),
    "TRANSPOSE_CONV": ("output_shape", "weight", "", "bias"),
    "CONV_3D_TRANSPOSE": ("output_shape", "weight", "", "bias"),
    "Convolution2DTransposeBias": ("", "weight", "bias"),
    "PAD": ("", "paddings"),
    "PADV2": ("", "paddings", "constant_values"),
    "MIRROR_PAD": ("", "paddings"),
    "DILATE": ("", "dilations", "padding_value"),
    "RESHAPE": ("", "shape"),
    "TRANSPOSE": ("", "perm"),
    "STRIDED_SLICE": ("", "begin", "end", "strides"),
    "SLICE": ("", "begin", "size"),
    "RESIZE_BILINEAR": ("", "size"),
    "RESIZE_NEAREST_NEIGHBOR": ("", "size"),
    "MEAN": ("", "axis"),
    "PRELU": ("", "alpha"),
    "GATHER": ("", "indices"),
}
"""Roles of the inputs of an operator; "" for data."""
