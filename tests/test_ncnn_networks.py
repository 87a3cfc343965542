"""Every layer of ncnn that is read, and each of its keys, beside the ncnn wheel: small networks written by hand."""

from __future__ import annotations

import numpy as np
import pytest

import ncnn_networks
from tconv.errors import FileError, TconvError
from tconv.models import load
from tconv.models.readers.ncnn.graph import network_of
from tconv.models.readers.ncnn.param_file import read_lines
from tconv.models.readers.ncnn.stored_weights import Blob

pytest.importorskip("ncnn")

SHAPE = (3, 11, 9)
HEAD = "Convolution head 1 1 data p 0=6 1=3 4=1 5=1 6=162\n"
"""Convolution in front of most cases: 6 channels of the size of the input, named p."""
GATE = HEAD + "Split s 1 2 p p1 p2\nPooling mean 1 1 p2 g 0=1 4=1\n"
POSITIVE = HEAD + "Clip a 1 1 p b 0=0.25\n"
PAIR = HEAD + "Convolution side 1 1 data q 0=6 1=1 5=1 6=18\n"


def with_data(text):
    """Return a network in which several layers read the input."""
    count = sum(row.split()[4 : 4 + int(row.split()[2])].count("data") for row in text.strip().split("\n"))
    names = [f"data{number}" for number in range(count)]
    rows = [f"Split data_copies 1 {count} data {' '.join(names)}"]
    for row in text.strip().split("\n"):
        parts = row.split()
        for place in range(4, 4 + int(parts[2])):
            if parts[place] == "data":
                parts[place] = names.pop(0)
        rows.append(" ".join(parts))
    return "\n".join(rows)


def conv(keys, out=4, taps=9):
    return HEAD + f"Convolution c 1 1 p out 0={out} 5=1 6={out * 6 * taps} {keys}"


CASES = {
    # convolutions: padding, stride, dilation, rules, values, activations
    "conv 3x3": conv("1=3"),
    "conv pads": conv("1=3 11=2 4=1 14=2 15=3 16=0", taps=6),
    "conv stride": conv("1=3 3=2 4=1"),
    "conv strides": conv("1=3 11=4 3=3 13=2 4=1 14=2", taps=12),
    "conv dilation": conv("1=3 2=2 4=2"),
    "conv dilations": conv("1=3 2=2 12=1 4=2 14=1"),
    "conv stride and dilation": conv("1=3 2=2 3=2 4=2"),
    "conv same upper": conv("1=4 11=3 4=-233", taps=12),
    "conv same lower": conv("1=4 11=3 4=-234", taps=12),
    "conv same dilated": conv("1=4 2=3 4=-233", taps=16),
    "conv pad value": conv("1=3 4=1 18=0.75"),
    "conv pad value, sides": conv("1=3 4=2 15=0 14=1 16=0 18=-1.5"),
    "conv without bias": HEAD + "Convolution c 1 1 p out 0=4 1=3 6=216",
    "conv relu": conv("1=3 4=1 9=1"),
    "conv leaky": conv("1=3 4=1 9=2 -23310=1,0.1"),
    "conv clip": conv("1=3 4=1 9=3 -23310=2,-0.5,0.75"),
    "conv sigmoid": conv("1=3 4=1 9=4"),
    "conv mish": conv("1=3 4=1 9=5"),
    "conv hardswish": conv("1=3 4=1 9=6 -23310=2,0.166667,0.5"),
    "conv ignores groups": conv("1=3 4=1 7=3"),
    "depthwise": HEAD + "ConvolutionDepthWise d 1 1 p out 0=6 1=3 4=1 5=1 6=54 7=6 9=1",
    "groups": HEAD + "ConvolutionDepthWise d 1 1 p out 0=4 1=3 4=1 5=1 6=108 7=2",
    "depthwise stride": HEAD + "ConvolutionDepthWise d 1 1 p out 0=6 1=3 3=2 4=1 5=1 6=54 7=6",
    "depthwise same": HEAD + "ConvolutionDepthWise d 1 1 p out 0=6 1=4 4=-234 5=1 6=96 7=6",
    "deconv": "Deconvolution d 1 1 data out 0=4 1=4 3=2 4=1 5=1 6=192",
    "deconv leaky": "Deconvolution d 1 1 data out 0=4 1=4 3=2 4=1 5=1 6=192 9=2 -23310=1,0.1",
    "deconv strides": "Deconvolution d 1 1 data out 0=4 1=3 11=5 3=2 13=3 4=1 14=2 15=0 16=1 5=1 6=180",
    "deconv dilation": "Deconvolution d 1 1 data out 0=4 1=3 2=2 3=2 5=1 6=108",
    "deconv output pad": "Deconvolution d 1 1 data out 0=4 1=3 3=2 4=1 5=1 6=108 18=1 19=1",
    "deconv output pad, no pad": "Deconvolution d 1 1 data out 0=4 1=3 3=3 5=1 6=108 18=2 19=1 9=2 -23310=1,0.1",
    "deconv groups": HEAD + "DeconvolutionDepthWise d 1 1 p out 0=4 1=4 3=2 4=1 5=1 6=192 7=2",
    "deconv depthwise": HEAD + "DeconvolutionDepthWise d 1 1 p out 0=6 1=4 3=2 4=1 5=1 6=96 7=6",
    # activations
    "relu": HEAD + "ReLU r 1 1 p out",
    "relu slope": HEAD + "ReLU r 1 1 p out 0=0.2",
    "prelu": HEAD + "PReLU r 1 1 p out 0=6",
    "prelu shared": HEAD + "PReLU r 1 1 p out 0=1",
    "clip": HEAD + "Clip r 1 1 p out 0=-1 1=0.5",
    "clip below": HEAD + "Clip r 1 1 p out 0=-1",
    "sigmoid": HEAD + "Sigmoid r 1 1 p out",
    "tanh": HEAD + "TanH r 1 1 p out",
    "swish": HEAD + "Swish r 1 1 p out",
    "hardswish": HEAD + "HardSwish r 1 1 p out",
    "hardswish numbers": HEAD + "HardSwish r 1 1 p out 0=0.166667 1=0.5",
    "hardsigmoid": HEAD + "HardSigmoid r 1 1 p out",
    "hardsigmoid numbers": HEAD + "HardSigmoid r 1 1 p out 0=0.1 1=0.4",
    "mish": HEAD + "Mish r 1 1 p out",
    "gelu": HEAD + "GELU r 1 1 p out",
    "gelu fast": HEAD + "GELU r 1 1 p out 0=1",
    "elu": HEAD + "ELU r 1 1 p out 0=0.7",
    "elu default": HEAD + "ELU r 1 1 p out",
    "selu": HEAD + "SELU r 1 1 p out",
    "softplus": HEAD + "Softplus r 1 1 p out",
    "absval": HEAD + "AbsVal r 1 1 p out",
    "exp": HEAD + "Exp r 1 1 p out",
    "power 2": HEAD + "Power r 1 1 p out 0=2 1=0.5 2=0.25",
    "power 1": HEAD + "Power r 1 1 p out 1=0.5 2=0.25",
    **{f"unary {n}": POSITIVE + f"UnaryOp r 1 1 b out 0={n}" for n in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16)},
    # arithmetic
    **{f"binary {n}": PAIR + f"BinaryOp b 2 1 p q out 0={n}" for n in (0, 1, 2, 4, 5, 7)},
    **{
        f"binary {n}": PAIR + f"Clip v 1 1 p r 0=0.5\nClip w 1 1 q t 0=0.5\nBinaryOp b 2 1 r t out 0={n}"
        for n in (3, 8)
    },
    **{f"binary {n} number": HEAD + f"BinaryOp b 1 1 p out 0={n} 1=1 2=0.3" for n in (0, 1, 2, 3, 4, 5, 7)},
    "binary 8 number": HEAD + "Clip v 1 1 p r 0=0.5\nBinaryOp b 1 1 r out 0=8 1=1 2=0.3",
    **{f"power of {e}": POSITIVE + f"BinaryOp b 1 1 b out 0=6 1=1 2={e}" for e in (1, 2, 0.5, -0.5, -1)},
    **{f"binary {n} constant": HEAD + f"MemoryData m 0 1 m 0=6\nBinaryOp b 2 1 p m out 0={n}" for n in (0, 1, 2, 3, 7)},
    **{f"constant {n} binary": HEAD + f"MemoryData m 0 1 m 0=6\nBinaryOp b 2 1 m p out 0={n}" for n in (0, 1, 2, 7, 8)},
    "constant 3 binary": HEAD + "Clip v 1 1 p r 0=0.5\nMemoryData m 0 1 m 0=6\nBinaryOp b 2 1 m r out 0=3",
    "constant of one": HEAD + "MemoryData m 0 1 m 0=1\nBinaryOp b 2 1 p m out 0=2",
    "constant of one, max": HEAD + "MemoryData m 0 1 m 0=1\nBinaryOp b 2 1 p m out 0=4",
    "constant 1x1xC": HEAD + "MemoryData m 0 1 m 0=1 1=1 2=6\nBinaryOp b 2 1 p m out 0=2",
    "constant of the size": HEAD + "MemoryData m 0 1 m 0=9 1=11 2=6\nBinaryOp b 2 1 p m out 0=0",
    "constant of a plane": HEAD + "MemoryData m 0 1 m 0=9 1=11 2=1\nBinaryOp b 2 1 p m out 0=2",
    "constant with a tag": HEAD + "MemoryData m 0 1 m 0=6 21=0\nBinaryOp b 2 1 p m out 0=2",
    "one channel": HEAD + "Convolution o 1 1 data q 0=1 1=1 5=1 6=3\nBinaryOp b 2 1 p q out 0=2",
    "eltwise product": PAIR + "Eltwise e 2 1 p q out 0=0",
    "eltwise sum": PAIR + "Eltwise e 2 1 p q out 0=1",
    "eltwise coefficients": PAIR + "Eltwise e 2 1 p q out 0=1 -23301=2,0.2,1.5",
    "eltwise max": PAIR + "Eltwise e 2 1 p q out 0=2",
    "eltwise three": PAIR + "Convolution t 1 1 data r 0=6 1=1 6=18\nEltwise e 3 1 p q r out 0=1 -23301=3,0.2,1.5,-0.5",
    "scale": HEAD + "Scale s 1 1 p out 0=6 1=1",
    "scale without bias": HEAD + "Scale s 1 1 p out 0=6",
    "bias": HEAD + "Bias s 1 1 p out 0=6",
    "batchnorm": HEAD + "BatchNorm s 1 1 p out 0=6 1=0.001",
    "dropout": HEAD + "Dropout d 1 1 p out",
    "dropout factor": HEAD + "Dropout d 1 1 p out 0=0.5",
    "noop": HEAD + "Noop d 1 1 p out",
    # channels
    "concat": PAIR + "Concat k 2 1 p q out",
    "concat axis": PAIR + "Concat k 2 1 p q out 0=-3",
    "slice sizes": HEAD + "Slice s 1 3 p a b c -23300=3,1,2,3\nConcat k 3 1 c a b out",
    "slice rest": HEAD + "Slice s 1 3 p a b c -23300=3,2,-233,-233\nConcat k 3 1 c a b out",
    "slice cuts": HEAD + "Slice s 1 3 p a b c -23302=2,1,4\nConcat k 3 1 c a b out",
    "slice cuts, negative": HEAD + "Slice s 1 3 p a b c -23302=2,1,-2\nConcat k 3 1 c a b out",
    "slice axis": HEAD + "Slice s 1 2 p a b -23300=2,-233,-233 1=-3\nEltwise e 2 1 a b out 0=0",
    "shuffle channels": HEAD + "ShuffleChannel s 1 1 p out 0=2",
    "shuffle channels back": HEAD + "ShuffleChannel s 1 1 p out 0=2 1=1",
    # sizes
    "crop ends": HEAD + "Crop c 1 1 p out -23309=2,2,1 -23310=2,-1,-3 -23311=2,-2,-1",
    "crop axes": HEAD + "Crop c 1 1 p out -23309=3,1,2,1 -23310=3,5,-1,-3 -23311=3,0,1,2",
    "crop without axes": HEAD + "Crop c 1 1 p out -23309=3,1,2,1 -23310=3,-1,-233,-3",
    "crop far end": HEAD + "Crop c 1 1 p out -23309=1,2 -23310=1,2147483647 -23311=1,1",
    "crop end 0": HEAD + "Crop c 1 1 p out -23309=1,2 -23310=1,0 -23311=1,1",
    "crop channels, negative": HEAD + "Crop c 1 1 p out -23309=1,-4 -23310=1,-1 -23311=1,0",
    "crop margins": HEAD + "Crop c 1 1 p out 0=1 1=2 2=1 3=-233 4=-233 5=-233 6=3 7=1 8=1",
    "crop margins, channels": HEAD + "Crop c 1 1 p out 0=1 1=2 2=1 3=-233 4=-233 5=3",
    "crop margins, front": HEAD + "Crop c 1 1 p out 0=1 1=2 3=-233 4=-233 5=-233",
    "crop like": HEAD + "Convolution v 1 1 data q 0=5 1=5 6=375\nCrop c 2 1 p q out 0=2 1=1",
    "crop like, channels": HEAD + "Convolution v 1 1 data q 0=4 1=5 6=300\nCrop c 2 1 p q out 0=2 1=1 2=1",
    "padding": HEAD + "Padding c 1 1 p out 0=1 1=2 2=3 3=4",
    "padding value": HEAD + "Padding c 1 1 p out 0=1 1=2 2=3 3=4 5=0.5",
    "padding edge": HEAD + "Padding c 1 1 p out 0=1 1=2 2=3 3=4 4=1",
    "padding reflect": HEAD + "Padding c 1 1 p out 0=1 1=2 2=3 3=4 4=2",
    "padding per channel": HEAD + "Padding c 1 1 p out 0=1 1=2 2=3 3=4 6=6",
    **{
        f"interp {k} x{s}": HEAD + f"Interp i 1 1 p out 0={k} 1={s} 2={s}"
        for k in (1, 2, 3)
        for s in (2, 3, 0.5, 1.5, 0.75)
    },
    **{f"interp {k} aligned": HEAD + f"Interp i 1 1 p out 0={k} 1=2 2=3 6=1" for k in (1, 2, 3)},
    "interp two factors": HEAD + "Interp i 1 1 p out 0=2 1=2 2=1.5",
    **{
        f"interp {k} like": HEAD + f"Convolution v 1 1 data q 0=5 1=5 3=2 6=375\nInterp i 2 1 p q out 0={k} 5=1"
        for k in (1, 2, 3)
    },
    "pixel shuffle": HEAD + "Convolution v 1 1 p q 0=12 1=1 6=72\nPixelShuffle s 1 1 q out 0=2",
    "pixel shuffle mode 1": HEAD + "Convolution v 1 1 p q 0=12 1=1 6=72\nPixelShuffle s 1 1 q out 0=2 1=1",
    "pixel shuffle 3": HEAD + "Convolution v 1 1 p q 0=9 1=1 6=54\nPixelShuffle s 1 1 q out 0=3",
    "reorg": HEAD + "Crop c 1 1 p q -23309=2,1,1 -23310=2,-233,-233 -23311=2,1,2\nReorg s 1 1 q out 0=2",
    "reorg mode 1": HEAD + "Crop c 1 1 p q -23309=2,1,1 -23310=2,-233,-233 -23311=2,1,2\nReorg s 1 1 q out 0=2 1=1",
    # means and vectors
    "gate": GATE
    + "InnerProduct a 1 1 g h 0=3 1=1 2=18 9=1\nInnerProduct b 1 1 h i 0=6 1=1 2=18 9=4\nBinaryOp m 2 1 p1 i out 0=2",
    "gate by convolutions": GATE
    + "Convolution a 1 1 g h 0=3 1=1 5=1 6=18 9=1\nConvolution b 1 1 h i 0=6 1=1 5=1 6=18 9=4\nScale m 2 1 p1 i out 0=-233",
    "gate reshaped": GATE + "Reshape r 1 1 g h 0=1 1=1 2=-1\nSigmoid s 1 1 h i\nBinaryOp m 2 1 i p1 out 0=2",
    "gate expanded": GATE + "ExpandDims r 1 1 g h -23303=2,-1,-2\nSigmoid s 1 1 h i\nBinaryOp m 2 1 i p1 out 0=2",
    "gate squeezed": HEAD + "Split s 1 2 p p1 p2\nReduction r 1 1 p2 g 0=3 1=0 -23303=2,1,2 4=1 5=1\n"
    "Squeeze q 1 1 g h 0=1 1=1\nInnerProduct a 1 1 h i 0=6 1=1 2=36\nBinaryOp m 2 1 p1 i out 0=0",
    "gate by number": GATE + "Slice s 1 2 g h i -23300=2,1,5\nConcat k 2 1 i h j\nBinaryOp m 2 1 p1 j out 0=2",
    "reduction": HEAD
    + "Split s 1 2 p p1 p2\nReduction r 1 1 p2 g 0=3 1=0 -23303=2,-1,-2 4=1 5=1\nBinaryOp m 2 1 p1 g out 0=1",
    "reduction to a vector": HEAD
    + "Split s 1 2 p p1 p2\nReduction r 1 1 p2 g 0=3 1=0 2=0.5 -23303=2,-1,-2 5=1\nBinaryOp m 2 1 p1 g out 0=1",
    "adaptive pooling": HEAD + "Split s 1 2 p p1 p2\nPooling r 1 1 p2 g 0=1 7=1 8=1 18=1\nBinaryOp m 2 1 p1 g out 0=1",
    "average pooling": HEAD + "Pooling r 1 1 p out 0=1 1=2 2=2 5=1",
    "average pooling, padded": HEAD + "Pooling r 1 1 p out 0=1 1=3 2=2 3=1 5=1 6=1",
}


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """Return the files of all cases, and ncnn's outputs."""
    folder = tmp_path_factory.mktemp("ncnn")
    paths = [ncnn_networks.write(folder, name, split(text), SHAPE) for name, text in CASES.items()]
    return {path.stem: path for path in paths}, ncnn_networks.outputs(paths)


def split(text):
    """Return the network as ncnn needs it: a value that several layers read goes through a Split."""
    reads = sum(row.split()[4 : 4 + int(row.split()[2])].count("data") for row in text.strip().split("\n"))
    return with_data(text) if reads > 1 else text


def network(path):
    return network_of(read_lines(path), Blob(path.with_suffix(".bin").read_bytes()))


@pytest.mark.parametrize("name", CASES)
def test_layers(computed, name):
    paths, expected = computed
    x = np.load(paths[name].with_suffix(".npy"))
    assert expected[name] is not None, "ncnn does not run it"
    y = network(paths[name])(x[None])[0]
    assert y.shape == expected[name].shape
    # sums before a clip are larger than what is left of them
    atol = 2e-5 * max(1.0, float(np.abs(expected[name]).max()))
    np.testing.assert_allclose(y, expected[name], rtol=1e-5, atol=atol)


# -- storage -----------------------------------------------------------------------------------------------------

STORED = {
    "conv": HEAD + "Convolution c 1 1 p out 0=4 1=3 4=1 5=1 6=216 9=2 -23310=1,0.1",
    "odd": HEAD + "Convolution c 1 1 p out 0=5 1=1 5=1 6=30",
    "deconv": HEAD + "Deconvolution c 1 1 p out 0=3 1=3 3=2 5=1 6=162",
    "gate": CASES["gate"],
    "constant": CASES["constant with a tag"],
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stored")
    kinds = "float16", "table"
    paths = [
        ncnn_networks.write(folder, f"{n} {kind}", split(text), SHAPE, kind)
        for n, text in STORED.items()
        for kind in kinds
    ]
    return {path.stem: path for path in paths}, ncnn_networks.outputs(paths)


@pytest.mark.parametrize("kind", ["float16", "table"])
@pytest.mark.parametrize("name", STORED)
def test_storage(stored, name, kind):
    """Weights as halves, and as one byte that selects one of 256 numbers, are those that ncnn reads."""
    paths, expected = stored
    path = paths[f"{name} {kind}"]
    y = network(path)(np.load(path.with_suffix(".npy"))[None])[0]
    wanted = expected[path.stem]
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("text", "scales"),
    [
        (HEAD + "Convolution c 1 1 p out 0=4 1=3 4=1 5=1 6=216 8=2", 4),
        (HEAD + "Convolution c 1 1 p out 0=4 1=3 4=1 5=1 6=216 8=102", 4),
        (HEAD + "ConvolutionDepthWise c 1 1 p out 0=6 1=3 4=1 5=1 6=54 7=6 8=1", 6),
        (HEAD + "ConvolutionDepthWise c 1 1 p out 0=6 1=3 4=1 5=1 6=54 7=6 8=2", 1),
    ],
    ids=["conv", "conv with the output's scale", "depthwise", "depthwise, one scale"],
)
def test_int8_weights_are_divided_by_their_scales(tmp_path, text, scales):
    """The layer is that of a file whose weights are the quotients in float32."""
    path = ncnn_networks.write(tmp_path, "small", text, SHAPE, "int8")
    blob = Blob(path.with_suffix(".bin").read_bytes())
    _, head, layer = (blob.take(line) for line in read_lines(path))
    assert layer["weight"].dtype == "int8"
    factors = layer["weight scales"].read()
    assert len(factors) == scales
    quotients = layer["weight"].read().astype(np.float64).reshape(scales, -1) / factors[:, None]
    parts = [(4, head["weight"].read()), (0, head["bias"].read()), (4, quotients), (0, layer["bias"].read())]
    plain = ncnn_networks.write(tmp_path, "plain", text[: text.index(" 8=")], SHAPE)
    plain.with_suffix(".bin").write_bytes(b"".join(bytes(tag) + np.float32(part).tobytes() for tag, part in parts))
    x = np.load(path.with_suffix(".npy"))[None]
    np.testing.assert_array_equal(network(path)(x), network(plain)(x))


# -- what is refused ---------------------------------------------------------------------------------------------

REFUSED = {
    "Softmax s 1 1 p out": "s is a Softmax, which is not read; Convolution,",
    "LSTM s 1 1 p out 0=4 1=8": "s is a LSTM, which is not read",
    "Convolution c 1 1 p out 0=4 1=3 3=2 4=-233 5=1 6=216": "of stride (2, 2) with the padding -233, which differs for odd",
    "Convolution c 1 1 p out 0=4 1=3 4=-5 5=1 6=216": "with a padding of ((-5, -5), (-5, -5)); numbers from 0 up are needed",
    "Convolution c 1 1 p out 0=4 1=3 5=1 6=216 9=7": "with activation 7 and 0 numbers; 1 (relu, 0 numbers), 2 (leaky_relu",
    "Convolution c 1 1 p out 0=4 1=3 5=1 6=216 9=2": "with activation 2 and 0 numbers",
    "Convolution c 1 1 p out 0=4 1=3 5=1 6=216 9=2 -23310=1,nan": "finite ones are needed",
    "Convolution c 1 1 p out 0=4 1=3 5=1 6=215": "c has 215 weights, which do not fit 4 channels of 3 x 3 taps",
    "Convolution c 1 1 p out 0=4 1=3 5=1 6=252": "7 input channels; it is given 6",
    "Convolution c 1 1 p out 0=4 1=0 5=1 6=216": "c has 1=0; at least 1 is needed",
    "Convolution c 2 1 p p2 out 0=4 1=3 19=1": "c is a Convolution of 2 inputs; 1 is needed",
    "Deconvolution c 1 1 p out 0=4 1=3 3=2 6=216 4=-233 20=18 21=22": "with an output of a fixed size, 22 x 18; pads are",
    "BinaryOp b 1 1 p out 0=6 1=1 2=3": "with the exponent 3; 1, 2, 0.5, -0.5 or -1 is needed",
    "BinaryOp b 1 1 p out 0=3 1=1 2=0": "that divides by or into 0; other numbers are needed",
    "BinaryOp b 1 1 p out 0=12 1=1": "with the operation 12; 0 (add), 1 (sub)",
    "BinaryOp b 2 1 p p2 out 0=6": "that takes a power (pow) of two values",
    "BinaryOp b 1 1 p out": "of 1 inputs; 2 are needed, or 1 and a constant",
    "BinaryOp b 1 1 p out 1=1 2=inf": "b has 2=inf; a finite number is needed",
    "MemoryData m 0 1 m 0=5\nBinaryOp b 2 1 p m out": "a constant of 5 numbers, which ncnn lays along the width",
    "MemoryData m 0 1 m 0=6\nBinaryOp b 2 1 p m out 0=4": "with max of 6 different numbers; one number is needed",
    "MemoryData m 0 1 m 0=6\nConcat b 2 1 p m out": "that reads a constant; values that are computed from the picture",
    "Eltwise e 2 1 p p2 out 0=1 -23301=1,2": "with the coefficients [2.0] of 2 inputs; as many are needed",
    "Eltwise e 2 1 p p2 out 0=5": "with the operation 5; 0 (product), 1 (sum) and 2 (the largest) are read",
    "Concat k 2 1 p p2 out 0=1": "along axis 1; the channels, axis 0, are needed",
    "Slice k 1 2 p a b -23300=2,3,3 1=2": "along axis 2; the channels, axis 0, are needed",
    "Slice k 1 2 p a b -23300=3,3,2,1": "into 2 outputs with the sizes [3, 2, 1] or cuts []; one for each output is needed",
    "Slice k 1 2 p a b -23300=2,3,9": "it takes channels 3 to 12 of 6",
    "Crop c 1 1 p out -23309=1,2 -23310=1,5 -23311=1,1": "a fixed number of them; a start from 0 up and an end below 0",
    "Crop c 1 1 p out -23309=1,-5 -23310=1,-1 -23311=1,2": "to rows or columns from -5 to -1, a fixed number of them",
    "Crop c 1 1 p out -23309=1,5 -23310=1,2 -23311=1,0": "it takes channels 5 to 2 of 6",
    "Crop c 1 1 p out 0=1 1=1 3=4 4=4 5=-233": "to a fixed size, 4; margins are needed",
    "Crop c 1 1 p out 0=1": "to the size of a second input, which it does not have",
    "Padding c 1 1 p out 0=-1": "by (-1, 0, 0, 0) pixels and (0, 0) channels; pixels from 0 up are needed",
    "Padding c 1 1 p out 0=1 7=1": "by (1, 0, 0, 0) pixels and (1, 0) channels",
    "Padding c 1 1 p out 0=1 4=3": "of type 3; 0 (a number), 1 (the outermost pixels) and 2 (reflection) are read",
    "Interp i 1 1 p out 0=1 3=40 4=40": "to a fixed size of 40 x 40; factors (1 and 2) are needed",
    "Interp i 1 1 p out 0=4 1=2 2=2": "of type 4; 1 (nearest), 2 (bilinear) and 3 (bicubic) are read",
    "Interp i 1 1 p out 0=1 1=0 2=2": "by a factor of 0; one above 0 is needed",
    "PixelShuffle s 1 1 p out 0=2": "6 channels are not divided by blocks of 2 x 2",
    "PixelShuffle s 1 1 p out 0=2 1=2": "of mode 2; 0 or 1 is needed",
    "Pooling s 1 1 p out 0=0 1=2 2=2": "of the largest numbers (0=0); means (0=1) are read",
    "Pooling s 1 1 p out 0=1 1=2 2=2": "that adds rows and columns for a last block that is cut (5=0)",
    "Pooling s 1 1 p out 0=1 1=3 3=1 5=1": "whose means leave out the padding (6=0)",
    "Pooling s 1 1 p out 0=1 7=1 8=2 18=2": "to a fixed size of (2, 2); (1, 1), the mean of the whole picture, is read",
    "Pooling s 1 1 p out 0=1 4=1": "its output out is not a picture with height and width",
    "Reduction s 1 1 p out 0=3 1=0 -23303=1,1": "with the operation 3 over the axes [1]; means (3) over height and width",
    "Reduction s 1 1 p out 0=0": "with the operation 0 over the axes all",
    "InnerProduct s 1 1 p out 0=4 2=24": "of a picture; a vector, as a mean over the picture is, is needed",
    "Reshape s 1 1 p out 0=-1 1=6": "of a picture; one of a value of one pixel",
    "PReLU s 1 1 p out 0=5": "of 5 slopes on 6 channels; 1 or as many are needed",
    "Power s 1 1 p out 0=3": "with the exponent 3; 1 or 2 is needed",
    "UnaryOp s 1 1 p out 0=11": "with the function 11; 1 (negation), 0 (abs)",
    "ReLU s 1 2 p out other": "s has 2 outputs; a ReLU as this one has 1",
    "ReLU s 1 1 p a\nReLU t 1 1 p2 out": "it has the outputs a, out; one is needed, of the last layer",
    "ReLU s 1 1 missing out": "s reads 'missing', which is not an output of a layer before it",
    "Input i 0 1 other\nReLU s 1 1 p out": "it has several inputs, data and i; one is needed",
    "ReLU s 0 1 out": "s has no input; every layer but Input and MemoryData needs one",
    "Scale s 2 1 p p2 out 0=-233": "of 6 channels by 6 numbers; a vector of as many is needed",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refusals(tmp_path, text):
    """The message names the layer, the reason, and what would have to be there."""
    with_splits = HEAD if " p2" not in text else HEAD.replace(" p ", " h ") + "Split s0 1 2 h p p2\n"
    path = ncnn_networks.write(tmp_path, "refused", with_splits + text, SHAPE)
    with pytest.raises(FileError) as caught:
        network(path)
    assert REFUSED[text] in str(caught.value)


# -- damaged files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(8))
def test_altered_files_are_read_or_refused(tmp_path, part):
    """Other numbers, keys, names and ends of every layer never raise anything but an error of tconv's."""
    rng = np.random.default_rng(part)
    refused = runs = 0
    for name in list(CASES)[part::8]:
        path = ncnn_networks.write(tmp_path, "whole", split(CASES[name]), SHAPE)
        text, data = path.read_bytes(), path.with_suffix(".bin").read_bytes()
        head = text.index(b"data 0=")  # layers of interest are behind the input
        for number in range(6):
            changed = bytearray(text)
            place = int(rng.integers(head, len(text)))
            if number % 6 == 5:
                del changed[place:]
            else:
                changed[place] = int(rng.choice(list(b"0123456789=-,. \n")))
            path.write_bytes(changed)
            path.with_suffix(".bin").write_bytes(data[: len(data) - 4 * (number % 5 == 4)])
            try:
                altered = network_or_model(path)
                sizes = altered.sizes((8, 7))
            except TconvError:
                refused += 1
                continue
            if max(c * h * w for c, (h, w) in zip(altered.channels, sizes, strict=True)) < 1 << 18:
                with np.errstate(all="ignore"):
                    altered(np.ones((1, altered.channels[0], 8, 7), np.float32))
                runs += 1
    assert refused > 25
    assert runs > 2


def network_or_model(path):
    """Return the network, which `load` may refuse as an enlarger of pictures, but only by an error of tconv's."""
    try:
        return load(path).network
    except FileError:
        raise
    except TconvError:
        return network(path)


def test_a_note_says_that_layers_are_meant_for_int8(tmp_path):
    text = HEAD + "Deconvolution d 1 1 p q 0=3 1=4 3=2 4=1 5=1 6=288\nConvolution c 1 1 q out 0=3 1=3 4=1 6=81 8=2"
    model = load(ncnn_networks.write(tmp_path, "a", text, SHAPE, "int8"))
    assert model.notes[0].startswith("1 layer is meant for int8: float32 is computed here")


def test_an_array_of_another_length_is_refused(tmp_path):
    path = ncnn_networks.write(tmp_path, "a", HEAD + "Crop c 1 1 p out -23309=1,1 -23310=1,-1 -23311=1,1", SHAPE)
    path.write_text(path.read_text().replace("-23309=1,1", "-23309=2,1"))
    with pytest.raises(FileError, match=r"its line 'Crop c 1 1 p out -23309=2,1 .*' is not a layer"):
        read_lines(path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda data: data[:100], "net.bin has 100 bytes, and its layers need at least"),
        (lambda data: data[:-4], "bytes, and its layers need at least"),
        (lambda data: data + bytes(4), "bytes, and its layers take"),
        (lambda data: b"\x01\x02\x03\x3f" + data[4:], "net.bin has 0x3f030201 where the type of the weight of h is needed"),
        (lambda data: data[: 4 + 81 * 2] + b"\x01\0" + data[4 + 81 * 2 + 2 :], "net.bin has numbers behind the weight of h"),
    ],
)  # fmt: skip
def test_other_weights_are_refused(tmp_path, edit, message):
    """Bytes that are missing, left over, or none that ncnn's tools write name the .bin file."""
    text = "Convolution h 1 1 data out 0=3 1=3 4=1 5=1 6=81"
    path = ncnn_networks.write(tmp_path, "net", text, SHAPE, "float16")
    stored = path.with_suffix(".bin")
    stored.write_bytes(edit(stored.read_bytes()))
    with pytest.raises(FileError) as caught:
        load(path)
    assert message in str(caught.value)
    assert "ownload " in str(caught.value)
    with pytest.raises(FileError, match=r"net\.bin has the weights of net\.param, which has the layers\. Write "):
        load(stored)
