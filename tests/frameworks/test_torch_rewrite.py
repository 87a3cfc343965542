"""`tconv.torch.rewrite`: copies that compute the same by other operations, on any size, before and after an export."""

from __future__ import annotations

import copy
import io
import pickle
import re
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim
from torch.nn.utils import parametrizations

import tconv.torch as ours
from tconv.errors import ArgumentError, MethodError, TargetError
from tconv.rewriting.steps import STEPS
from tconv.torch.expression_module import RewrittenConvTranspose

TARGETS = ("conv-only", "ethos-u", "rknn", "litert", "coreml", "xnnpack")
LAYERS = {
    "k4 s2": lambda: nn.ConvTranspose2d(3, 5, 4, 2, 1),
    "op": lambda: nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1),
    "only bias rows": lambda: nn.ConvTranspose2d(3, 4, 2, 2, output_padding=1),
    "k < s": lambda: nn.ConvTranspose2d(3, 4, 2, 3, bias=False),
    "k9 s8": lambda: nn.ConvTranspose2d(2, 2, 9, 8, 1),
    "unequal": lambda: nn.ConvTranspose2d(3, 4, (3, 5), (1, 4), (0, 1), (0, 2)),
    "groups": lambda: nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2),
    "depthwise": lambda: nn.ConvTranspose2d(6, 6, 4, 2, 1, groups=6, bias=False),
    "dilation": lambda: nn.ConvTranspose2d(3, 4, 3, 2, 1, dilation=2),
    "dilation groups": lambda: nn.ConvTranspose2d(4, 4, 3, 3, 1, groups=2, dilation=2),
    "1d": lambda: nn.ConvTranspose1d(4, 3, 16, 8, 4),
    "istft": lambda: nn.ConvTranspose1d(6, 1, 64, 16, 32, bias=False),
    "3d": lambda: nn.ConvTranspose3d(3, 4, 3, 2, 1, output_padding=1),
}


@pytest.fixture(autouse=True)
def quiet():
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def share(a, b):
    assert a.shape == b.shape
    return float((a - b).abs().max() / a.abs().max().clamp(min=1e-30)) if a.numel() else 0.0


def inputs_of(layer):
    ndim, c_in = len(layer.kernel_size), layer.in_channels
    for batch, size in ((1, 6), (3, 4), (2, 9)):
        yield torch.randn(batch, c_in, *(size + axis for axis in range(ndim)))
    yield torch.randn(c_in, *[5] * ndim)  # without a batch


@pytest.mark.parametrize("target", TARGETS)
def test_layers_of_all_kinds(target):
    changed = 0
    for name, make in LAYERS.items():
        layer = make()
        new, report = ours.rewrite(layer, target=target)
        changed += isinstance(new, RewrittenConvTranspose)
        assert isinstance(new, RewrittenConvTranspose) == bool(report.layers[0].plan.steps)
        for x in inputs_of(layer):
            assert share(layer(x), new(x)) <= 1e-6, (name, report)
        if report.layers[0].difference is not None:
            assert report.layers[0].difference <= 1e-6
    assert changed >= (1 if target == "xnnpack" else 2)


BY_NAME = {
    "phases": ("op", "k < s", "unequal", "dilation groups", "3d"),
    "conv+depth_to_space": ("op", "k < s", "groups", "1d"),
    "matmul": ("only bias rows", "k < s"),
    "overlap-add": ("istft",),
    "zero-insertion": ("unequal", "dilation groups", "3d"),
    "2d": ("1d", "3d"),
    "no-dilation": ("dilation groups",),
    "dilation-to-kernel": ("dilation",),
    "no-groups": ("depthwise",),
    "split-groups": ("groups",),
    "no-bias": ("op",),
    "no-pads": ("op",),
    "explicit-pads": ("unequal",),
    "no-output-padding": ("only bias rows",),
    "kernel-to-stride": ("k < s",),
    "split-stride": ("k9 s8",),
    "split-kernel": ("k4 s2",),
}


def test_every_step_by_its_name():
    assert set(BY_NAME) == set(STEPS)
    for name, layers in BY_NAME.items():
        for key in layers:
            layer = LAYERS[key]().double()
            # its pads are unequal, which PyTorch's layers do not have
            steps = [name, "explicit-pads"] if name == "kernel-to-stride" else [name]
            new, report = ours.rewrite(layer, steps=steps)
            assert report.layers[0].plan.steps == tuple(steps)
            for x in inputs_of(layer):
                assert share(layer(x.double()), new(x.double())) <= 1e-12, (name, layer)
    with pytest.raises(MethodError, match="the steps leave: pads are"):
        ours.rewrite(LAYERS["op"](), steps="no-output-padding")


class Decoder(nn.Module):
    """Layers of all kinds in one forward, one of them twice, one in a list."""

    def __init__(self):
        super().__init__()
        self.first = nn.ConvTranspose2d(4, 6, 6, 3, 1)
        self.norm = nn.BatchNorm2d(6)
        self.body = nn.ModuleList([nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(6, 4, 3, 2, 1, 1, groups=2))])
        self.same = nn.ConvTranspose2d(4, 4, 3, 1, 1)
        self.again = self.same
        self.weighted = parametrizations.weight_norm(nn.ConvTranspose2d(4, 3, 4, 4))

    def forward(self, x):
        x = self.body[0](self.norm(self.first(x)))
        return self.weighted(self.again(self.same(x)))


def exported(model, x, kind, path):
    names = ("n", *("d", "h", "w")[-(x.dim() - 2) :])
    axes = [0, *range(2, x.dim())]
    if kind == "torchscript":
        torch.onnx.export(
            model, (x,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": dict(zip(axes, names, strict=True))}
        )
    else:
        shapes = (dict.fromkeys(axes, Dim.DYNAMIC),)
        torch.onnx.export(model, (x,), path, dynamo=True, dynamic_shapes=shapes, verbose=False, external_data=False)
    session = onnxruntime.InferenceSession(path)
    return lambda x: torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.parametrize("target", ["conv-only", "rknn"])
def test_exports_with_any_batch_and_size(target, tmp_path):
    model = Decoder().eval()
    rewritten, report = ours.rewrite(model, target=target)
    x = torch.randn(2, 4, 5, 7)
    program = torch.export.export(
        rewritten, (x,), dynamic_shapes=({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    ).module()
    exporters = ("torchscript", "dynamo") if target == "conv-only" else ("torchscript",)
    runs = [program, *(exported(rewritten, x, kind, tmp_path / f"{kind}.onnx") for kind in exporters)]
    for shape in ((2, 4, 5, 7), (1, 4, 3, 4), (3, 4, 8, 2)):
        x = torch.randn(shape)
        expected = model(x)
        assert share(expected, rewritten(x)) <= 1e-6
        for run in runs:
            assert share(expected, run(x)) <= 2e-6
    for kind in exporters:
        kinds = {node.op_type for node in onnx.load(tmp_path / f"{kind}.onnx").graph.node}
        assert ("ConvTranspose" in kinds) == (target != "conv-only"), report


@pytest.mark.parametrize("name", ["istft", "3d"])
def test_other_ranks_are_exported(name, tmp_path):
    layer = LAYERS[name]()
    steps = {"istft": ["overlap-add"], "3d": ["2d", "no-groups", "phases"]}[name]
    new, _ = ours.rewrite(layer, steps=steps)
    first, *others = [x for x in inputs_of(layer) if x.dim() == len(layer.kernel_size) + 2]
    first = torch.cat([first, first])
    run = exported(new, first, "dynamo", tmp_path / "layer.onnx")
    for x in others:
        assert share(layer(x), run(x)) <= 2e-6


# -- the copy and the model ------------------------------------------------------------------------------------------


def test_the_model_stays_as_it_is():
    model = Decoder()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    text, mode = repr(model), model.training
    rewritten, report = ours.rewrite(model, target="conv-only", example=torch.randn(1, 4, 5, 5))
    assert (repr(model), model.training) == (text, mode)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert rewritten.same is rewritten.again
    assert isinstance(rewritten.body[0][1], RewrittenConvTranspose)
    with torch.no_grad():
        model.first.weight.zero_()
    assert rewritten.first(torch.ones(1, 4, 3, 3)).abs().max() > 0.1, "the copy has numbers of its own"
    assert report.difference <= 1e-6
    text = str(report)
    assert text.startswith(
        "4 of 4 transposed convolutions rewritten for conv-only\nfirst:\n  limit: there is no transposed convolution\n"
    )
    assert re.search(r"largest difference \d\.\de-0[78] of the largest value, the example's input \(1, 4, 5, 5\)", text)
    assert "the model's output differs by" in text


def test_weights_are_buffers_of_the_layers_type_and_place():
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        layer = nn.ConvTranspose2d(3, 4, 4, 2, 1).to(dtype)
        new, report = ours.rewrite(layer, target="conv-only")
        assert {tensor.dtype for tensor in new.state_dict().values()} == {dtype}
        assert not list(new.parameters())
        x = torch.randn(1, 3, 5, 5).to(dtype)
        assert new(x).dtype == dtype
        assert (
            share(layer(x).double(), new(x).double())
            <= {torch.float64: 1e-12, torch.float16: 2e-3, torch.bfloat16: 2e-2}[dtype]
        ), report
    assert new.kernel_size == (4, 4)
    assert "conv, " in repr(new)


def test_gradients_of_the_input_flow():
    layer = nn.ConvTranspose2d(3, 4, 3, 2, 1, 1, groups=1)
    new, _ = ours.rewrite(layer, target="conv-only")
    x = torch.randn(1, 3, 4, 4, requires_grad=True)
    (wanted,) = torch.autograd.grad(layer(x).square().sum(), x)
    (got,) = torch.autograd.grad(new(x).square().sum(), x)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_copies_pickle_compile_and_trace():
    model = Decoder().eval()
    rewritten, _ = ours.rewrite(model, target="conv-only")
    x = torch.randn(2, 4, 4, 5)
    expected = rewritten(x)
    file = io.BytesIO()
    torch.save(rewritten, file)
    file.seek(0)
    for other in (
        torch.load(file, weights_only=False),
        copy.deepcopy(rewritten),
        pickle.loads(pickle.dumps(rewritten)),
    ):
        torch.testing.assert_close(other(x), expected)
    traced = torch.jit.trace(rewritten, (x,))
    torch.testing.assert_close(traced(torch.cat([x, x], 2)), rewritten(torch.cat([x, x], 2)))
    torch.testing.assert_close(torch.compile(rewritten, backend="eager")(x), expected)


@pytest.mark.parametrize("norm", ["parametrized", "hook", "spectral"])
def test_computed_weights_are_evaluated(norm):
    layer = nn.ConvTranspose1d(4, 3, 6, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = {
            "parametrized": parametrizations.weight_norm,
            "hook": nn.utils.weight_norm,
            "spectral": nn.utils.spectral_norm,
        }[norm](layer)
    layer.eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(1.5)  # the weight of a hook is stale until the next call
    new, _ = ours.rewrite(nn.Sequential(layer), target="conv-only")
    x = torch.randn(2, 4, 7)
    assert share(layer(x), new(x)) <= 1e-6


class Sized(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 3, 3, 2, 1)

    def forward(self, x):
        return self.up(self.down(x), output_size=x.shape[2:])


def test_sizes_that_a_call_asks_for():
    """A decoder that asks for its encoder's size does so for every size, even and odd, also in a program."""
    model = Sized()
    rewritten, report = ours.rewrite(model, target="conv-only", example=torch.randn(1, 3, 9, 8))
    for shape in ((1, 3, 9, 8), (2, 3, 8, 8), (1, 3, 7, 11)):
        x = torch.randn(shape)
        assert share(model(x), rewritten(x)) <= 1e-6
    assert report.difference <= 1e-6
    program = torch.export.export(
        rewritten, (torch.randn(2, 3, 9, 8),), dynamic_shapes=({2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    ).module()
    x = torch.randn(2, 3, 12, 8)
    assert share(model(x), program(x)) <= 1e-6
    with pytest.raises(
        ArgumentError, match=re.escape("output_size is [4, 4]; spatial axis 0 can have 5 to 6 elements")
    ):
        rewritten.up(torch.randn(1, 4, 3, 3), output_size=[4, 4])
    fixed, _ = ours.rewrite(model, target="conv-only")
    assert fixed(torch.randn(1, 3, 9, 9)).shape[2:] == (9, 9)
    with pytest.raises(
        ArgumentError,
        match=r"this layer was rewritten for its own size, \[7, 7\].*with an example that asks for a size",
    ):
        fixed(torch.randn(1, 3, 8, 8))


# -- what is refused ----------------------------------------------------------------------------------------------


class Own(nn.ConvTranspose2d):
    def forward(self, input, output_size=None):
        return 2 * super().forward(input, output_size)


class Larger(nn.ConvTranspose2d):
    def _output_padding(self, *args, **words):
        return [1, 1]


def test_a_layer_that_would_differ_is_refused():
    model = nn.Sequential(Larger(2, 2, 3, 3))
    with pytest.raises(MethodError, match="0: its output differs by inf of the largest value; 1e-05 is allowed"):
        ours.rewrite(model, target="conv-only")
    rewritten, report = ours.rewrite(model, target="conv-only", strict=False)
    assert isinstance(rewritten[0], Larger)
    assert report.layers == ()


def test_refusals_name_the_layer_and_the_reasons():
    model = nn.Sequential(nn.ConvTranspose2d(2, 2, 3, 3), Own(2, 2, 3), nn.ConvTranspose2d(2, 2, 2, 2))
    model[2].register_forward_hook(lambda module, args, output: output)
    with pytest.raises(MethodError) as raised:
        ours.rewrite(model, target="conv-only")
    text = str(raised.value)
    assert "1: Own has a forward of its own" in text
    assert "2: it has forward hooks, which a new layer would not run; remove them before" in text
    rewritten, report = ours.rewrite(model, target="conv-only", strict=False)
    assert [name for name, _ in report.refused] == ["1", "2"]
    assert "1: not rewritten\n  Own has a forward of its own" in str(report)
    x = torch.randn(1, 2, 3, 3)
    assert share(model(x), rewritten(x)) <= 1e-6
    with pytest.raises(MethodError, match="the model: it is not initialised yet; run the model once before"):
        ours.rewrite(nn.LazyConvTranspose2d(3, 2), target="conv-only")
    with pytest.raises(MethodError, match="1 of 1 transposed convolutions cannot be rewritten"):
        ours.rewrite(nn.Sequential(Own(2, 2, 3)), target="conv-only")
    with pytest.raises(MethodError, match="its weight is on the meta device, without numbers"):
        ours.rewrite(nn.ConvTranspose2d(2, 2, 2, device="meta"), target="conv-only")
    fused = nn.Sequential(nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.ReLU()).eval()
    ours.accelerate(fused, torch.randn(1, 8, 6, 6), fuse=True)
    if "_chain" in vars(fused[0]):  # where the kernel fuses
        with pytest.raises(MethodError, match="it is fused with the modules behind it"):
            ours.rewrite(fused, target="conv-only")
    ours.restore(fused)
    assert ours.rewrite(fused, target="conv-only").report.layers[0].plan.steps == ("phases",)
    with pytest.raises(MethodError, match="matmul: its kernel spans 3 elements"):
        ours.rewrite(nn.ConvTranspose2d(2, 2, 3, 2), steps="matmul")


def test_wrong_calls():
    layer = nn.ConvTranspose2d(2, 2, 3, 3)
    with pytest.raises(ArgumentError, match="neither target= nor steps= was given"):
        ours.rewrite(layer)
    with pytest.raises(ArgumentError, match=r"model is a int; a torch\.nn\.Module is needed"):
        ours.rewrite(3, target="conv-only")
    with pytest.raises(ArgumentError, match="the model has no transposed convolution"):
        ours.rewrite(nn.Linear(2, 2), target="conv-only")
    with pytest.raises(TargetError):
        ours.rewrite(layer, target="no such chip")
    with pytest.raises(MethodError, match="'phase' is no step"):
        ours.rewrite(layer, steps="phase")
    new, _ = ours.rewrite(layer, target="conv-only")
    with pytest.raises(ValueError, match="input has 2 axes"):
        new(torch.randn(3, 3))


def test_types_after_a_later_quantisation():
    layer = nn.ConvTranspose2d(4, 4, 4, 2, 1)
    _, report = ours.rewrite(layer, target="neutron", dtype="int8")
    assert not any("dtype" in limit for limit in report.layers[0].plan.lasting)
    np.testing.assert_equal(report.refused, ())
