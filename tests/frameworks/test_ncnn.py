"""ncnn in a process of its own: random layers of one .param file each, weights stored or as an input."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import ncnn
import numpy as np
import pytest
from harness import Conformance, check_adjoint, check_code, meets_fault

import tconv
from random_calls import random_sizes, whole_numbers
from tconv.errors import ArgumentError, GeometryError, ShapeError

IDS = {
    **{"dilation_w": 2, "dilation_h": 12, "dilation_d": 22, "stride_w": 3, "stride_h": 13, "stride_d": 23},
    **{"pad_left": 4, "pad_right": 15, "pad_top": 14, "pad_bottom": 16, "pad_front": 24, "pad_behind": 17},
    **{"output_pad_right": 18, "output_pad_bottom": 19, "output_w": 20, "output_h": 21},
    **{"group": 7, "dynamic_weight": 28},
}
IDS_3D = IDS | {"output_pad_behind": 20, "output_w": 25, "output_h": 26, "output_d": 27}
NAMES = {
    "w": ["dilation_w", "stride_w", "pad_left", "pad_right", "output_pad_right", "output_w"],
    "h": ["dilation_h", "stride_h", "pad_top", "pad_bottom", "output_pad_bottom", "output_h"],
    "d": ["dilation_d", "stride_d", "pad_front", "pad_behind", "output_pad_behind", "output_d"],
}


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def native(x, w, bias, arguments, mat=lambda array: ncnn.Mat(array).clone()):
    ndim, group = x.ndim - 1, arguments.get("group", 1)
    dynamic = bool(arguments.get("dynamic_weight"))
    arrays = {"weight": w} | ({} if bias is None else {"bias": bias}) if dynamic else {}
    ids = {0: w.shape[1] * group if dynamic else w.shape[0], 5: int(bias is not None), 6: w.size}
    ids |= dict(zip((1, 11, 21), w.shape[:1:-1], strict=False))
    ids |= {(IDS_3D if ndim == 3 else IDS)[name]: value for name, value in arguments.items()}
    kind = ("DeconvolutionDepthWise" if group != 1 else "Deconvolution") + {1: "1D", 2: "", 3: "3D"}[ndim]
    inputs = ["x", *arrays]
    lines = ["7767517", f"{len(inputs) + 1} {len(inputs) + 1}", *(f"Input {name} 0 1 {name}" for name in inputs)]
    lines.append(
        " ".join([kind, "y", str(len(inputs)), "1", *inputs, "y", *(f"{i}={value}" for i, value in ids.items())])
    )
    net = ncnn.Net()
    net.opt.num_threads = 1
    if net.load_param_mem("\n".join(lines) + "\n"):
        raise ValueError("ncnn does not take the parameters")
    pathlib.Path("y.bin").write_bytes(
        b"" if dynamic else bytes(4) + w.tobytes() + (b"" if bias is None else bias.tobytes())
    )
    if not dynamic and net.load_model("y.bin"):
        raise ValueError("ncnn does not take the weights")
    extractor = net.create_extractor()
    for name, array in {"x": x, **arrays}.items():
        extractor.input(name, mat(array))
    error, mat = extractor.extract("y")
    if error:
        raise ValueError(f"ncnn answers {error}")
    y = np.array(mat)
    del mat  # before the net that owns its memory
    return y


def random_call(rng, ndim):
    """Draw x, weight, bias and parameters: all of them, or those of the w axis and a few more."""
    channels = {"in_per_group": (1, 2, 4, 5, 7, 8), "out_per_group": (1, 2, 3, 4)}
    if rng.random() < 0.1:
        channels = {"in_per_group": (1,), "out_per_group": (1,)}
    sizes = random_sizes(rng, ndim, s=(1, 4), groups=(1, 1, 2, 3), **channels)
    n, k, group, per_in, per_out = sizes.n, sizes.k, sizes.groups, sizes.in_per_group, sizes.out_per_group
    mode = rng.choice(["pads", "output", "both", "plain"], p=[0.45, 0.35, 0.1, 0.1])
    arguments = {"group": group} if group > 1 else {}
    for letter, d, s in zip("whd", sizes.d[::-1], sizes.s[::-1], strict=False):
        draws = [d, s, rng.integers(0, 4), rng.integers(0, 4), rng.integers(0, 5), 1]
        for name, value in zip(NAMES[letter], draws, strict=True):
            if rng.random() < (0.7 if letter == "w" else 0.5) and not name.startswith(
                "output_" if name[-2] == "_" else "!"
            ):
                arguments[name] = int(value)
    pads = [name for name in arguments if name.startswith("pad_")]
    if mode in ("output", "plain"):
        for name in pads:
            del arguments[name]
    if mode == "output":
        arguments["pad_left"] = int(rng.choice([-233, -234, -233, -234, 0]))
        if rng.random() < 0.1:
            arguments["pad_right"] = int(rng.choice([-233, -234, 0]))
    if mode in ("output", "both"):
        uncropped = {name: value for name, value in arguments.items() if name[:4] != "pad_"}
        full = tconv.dialect("ncnn").geometry(kernel=k, **uncropped).output_shape(n)
        outputs = [max(1, L - int(rng.integers(0, 5))) for L in full]
        for letter, L in zip("dhw"[-ndim:], outputs, strict=True):
            if letter == "w" or rng.random() < 0.7:
                arguments[f"output_{letter}"] = L
    illegal = rng.random()
    if illegal < 0.02:
        arguments["stride_w"] = 0
    elif illegal < 0.04:
        arguments["dilation_w"] = 0
    elif illegal < 0.06:
        arguments["pad_left"] = 40
    x = whole_numbers(rng, (group * per_in, *n))
    if ndim < 3 and rng.random() < 0.2:
        arguments["dynamic_weight"] = 1
        w = whole_numbers(rng, (group * per_in, per_out, *k))
    else:
        w = whole_numbers(rng, (group * per_out, per_in, *k))
    return x, w, whole_numbers(rng, (group * per_out,)) if rng.random() < 0.5 else None, arguments


def unsafe(x, w, arguments):
    """Return True if ncnn would return uninitialised memory, or end the process by an error with a dynamic weight."""
    try:
        tconv.conv_transpose(x, w, dialect="ncnn", **arguments)
    except tconv.TconvError as error:
        return "uninitialised memory" in str(error) or "dynamic_weight" in arguments
    return False


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_random_layers(ndim):
    rng = np.random.default_rng(ndim)
    conformance, left_out = Conformance("ncnn", native, versions="none"), 0  # calls that meet its faults are left out
    for _ in range({1: 1000, 2: 1000, 3: 700}[ndim]):
        call = random_call(rng, ndim)
        if unsafe(call[0], call[1], call[3]):
            left_out += 1
            continue
        conformance.check(*call)
    print(conformance.tally, left_out)
    assert conformance.tally["equal"] > 300
    assert conformance.tally["refused"] > 50


def test_planes_of_an_array_are_read_at_wrong_positions():
    """The fault that is listed: only planes of a size that is no multiple of 4, and only without a copy."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(100):
        n, per_group = rng.integers(2, 6, 2), rng.integers(1, 5, 2)
        x, w = whole_numbers(rng, (2 * per_group[0], *n)), whole_numbers(rng, (2 * per_group[1], per_group[0], 3, 3))
        arguments = {"group": 2, "stride_w": 2}
        equal = np.array_equal(
            native(x, w, None, arguments, ncnn.Mat), tconv.conv_transpose(x, w, dialect="ncnn", **arguments)
        )
        assert equal or meets_fault("ncnn_mat_planes", "ncnn", x, w, arguments)
        wrong += not equal
    assert wrong > 5


def test_an_empty_output_of_a_dynamic_weight_ends_the_process():
    x, w, arguments = np.ones((1, 2, 2), "f"), np.ones((1, 1, 2, 2), "f"), {"dynamic_weight": 1, "pad_left": 2}
    assert meets_fault("ncnn_empty_output", "ncnn", x, w, arguments)
    code = f"""import sys; sys.path[:0] = {sys.path!r}
import numpy as np
from test_ncnn import native
native(np.ones({x.shape}, "f"), np.ones({w.shape}, "f"), None, {arguments})"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode < 0, done.stderr[-500:]  # a signal


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_adjoint(ndim):
    rng, checked = np.random.default_rng(ndim), 0
    for _ in range(150):
        x, w, _, arguments = random_call(rng, ndim)
        if "output_w" not in arguments:
            checked += check_adjoint("ncnn", x, w, arguments)
    assert checked > 40
    for pad in (-233, -234):
        for size in (7, 8):
            arguments = {"stride_w": 2, "pad_left": pad, "output_w": size}
            assert check_adjoint("ncnn", np.ones((1, 4)), whole_numbers(rng, (1, 1, 3)), arguments)


def test_code_runs():
    names = {"ncnn": ncnn, "np": np, "pathlib": pathlib}
    tally = check_code("ncnn", names, groups=[1, 2, 3], count=100)
    assert tally["call and slice"] == 100  # a layer takes several lines
    one = tconv.dialect("ncnn").code(tconv.Geometry((4, 4), 2, 1), (5, 6))
    assert "Deconvolution y 1 1 x y 0={weight.shape[0]} 6={weight.size} 11=4 1=4 3=2 4=1" in one
    assert tconv.dialect("ncnn").arguments(tconv.Geometry((4, 4), 2, 1)) == {"stride_w": 2, "pad_left": 1, "group": 1}


def test_weights():
    w = whole_numbers(np.random.default_rng(0), (6, 2, 3, 4))  # PyTorch's: 6 in, 2 out a group
    direct = w.reshape(3, 2, 2, 3, 4).transpose(0, 2, 1, 3, 4).reshape(6, 2, 3, 4)  # [C_out, C_in/g, *k]
    np.testing.assert_array_equal(tconv.convert(w, source="torch", target="ncnn", groups=3), direct)
    np.testing.assert_array_equal(tconv.convert(direct, source="ncnn", target="torch", groups=3), w)
    np.testing.assert_array_equal(tconv.convert(w, source="torch", target="ncnn", groups=3, dynamic_weight=1), w)


def test_what_is_refused():
    x, w = np.ones((2, 4, 4), "f"), np.ones((3, 2, 3, 3), "f")
    call = lambda **arguments: tconv.conv_transpose(x, w, dialect="ncnn", **arguments)  # noqa: E731
    with pytest.raises(ArgumentError, match=r"output_w was given with pads of .*Write pad_left=-233"):
        call(output_w=8, stride_w=2)
    with pytest.raises(ShapeError, match=r"is \(8, 8\), more than the 6 elements.*uninitialised memory"):
        call(output_w=8, pad_left=-234)
    with pytest.raises(GeometryError, match=r"pads are \[\(-233, -233\), \(1, 1\)\], some above and some below 0"):
        call(pad_left=1, pad_top=-233)
    with pytest.raises(GeometryError, match=r"output_pad is .*; it must be at least 0"):
        call(output_pad_right=-1)
    with pytest.raises(ArgumentError, match="stride_d was given, but the layer has 2 spatial axes"):
        call(stride_d=2)
    with pytest.raises(ShapeError, match=r"needs 3: \[C, h, w\]"):
        tconv.conv_transpose(x[None], w, dialect="ncnn")


def test_the_default_epsilon_of_batchnorm_is_the_frameworks():
    """It is 0: the converters add theirs to the variance (Tencent/ncnn#303)."""
    rng = np.random.default_rng(0)
    slope, mean, bias = rng.standard_normal((3, 3)).astype("f")
    variance = np.float32([1e-5, 1e-3, 0.5])
    net = ncnn.Net()
    net.load_param_mem("7767517\n2 2\nInput x 0 1 x\nBatchNorm y 1 1 x y 0=3\n")
    pathlib.Path("norm.bin").write_bytes(b"".join(part.tobytes() for part in (slope, mean, variance, bias)))
    net.load_model("norm.bin")
    extractor, x = net.create_extractor(), whole_numbers(rng, (3, 4, 5))
    extractor.input("x", ncnn.Mat(x).clone())
    got = np.array(extractor.extract("y")[1])
    eye = np.eye(3, dtype="f").reshape(3, 3, 1, 1)
    weight, bias = tconv.fold_batchnorm(eye, None, slope, bias, mean, variance, dialect="ncnn")
    np.testing.assert_allclose(got, tconv.conv_transpose(x, weight, bias, dialect="ncnn"), rtol=1e-5, atol=1e-3)
    assert tconv.dialect("ncnn").batchnorm_eps == 0
