"""Registry of ncnn's layers that are read: a function for each, which appends nodes and returns the outputs.

A new layer is a function of a `NcnnLayer`, in the file of its family, and a line here.
"""

from __future__ import annotations

from collections.abc import Callable

from tconv.models.readers.ncnn.layer import LayerOutput, NcnnLayer
from tconv.models.readers.ncnn.layers import activations, arithmetic, channels, convolutions, means, sizes, vectors

LAYERS: dict[str, Callable[[NcnnLayer], list[LayerOutput]]] = {
    "Convolution": convolutions.convolution,
    "ConvolutionDepthWise": convolutions.convolution,
    "Deconvolution": convolutions.deconvolution,
    "DeconvolutionDepthWise": convolutions.deconvolution,
    "InnerProduct": convolutions.inner_product,
    **activations.LAYERS,
    "BinaryOp": arithmetic.binary,
    "Eltwise": arithmetic.elementwise,
    "Scale": arithmetic.scale,
    "Bias": arithmetic.bias,
    "BatchNorm": arithmetic.batch_norm,
    "MemoryData": arithmetic.memory_data,
    "Concat": channels.concat,
    "Slice": channels.slices,
    "ShuffleChannel": channels.shuffle,
    "Split": channels.split,
    "Noop": channels.split,
    "Dropout": arithmetic.dropout,
    "Crop": sizes.crop,
    "Padding": sizes.padding,
    "Interp": sizes.interp,
    "PixelShuffle": sizes.pixel_shuffle,
    "Reorg": sizes.reorg,
    "Pooling": means.pooling,
    "Reduction": means.reduction,
    "Flatten": vectors.flatten,
    "Reshape": vectors.reshape,
    "Squeeze": vectors.squeeze,
    "ExpandDims": vectors.expand,
}
"""Kinds of layers, and their readers."""
