"""Without any one of PyTorch's undocumented names, tconv.torch computes the same and says what follows."""

from __future__ import annotations

import ast
import random
import subprocess
import sys
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from torch._prims_common import suggest_memory_format

from tconv._arrays import torch_names

SOURCE = Path(__file__).parents[2] / "src" / "tconv"
NAMES = [
    node.args[0].value
    for node in ast.walk(ast.parse((SOURCE / "_arrays" / "torch_names.py").read_text()))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_named"
]
CHILD = '''
import importlib, os, sys, traceback, warnings
import torch

warnings.simplefilter("ignore")
real = importlib.import_module
# what the calls below would import in each process, which takes half of their time
for name in ("_dynamo", "_functorch.apis", "_functorch.eager_transforms", "_decomp.decompositions_for_jvp", "profiler"):
    real(f"torch.{name}")


class Without:
    """A module or class of PyTorch that lacks an attribute of its own, or one of its members."""

    def __init__(self, wrapped, path):
        self._wrapped, self._path = wrapped, path

    def __getattr__(self, name):
        if [name] == self._path:
            raise AttributeError(name)
        value = getattr(self._wrapped, name)
        return Without(value, self._path[1:]) if self._path[0] == name else value


def lacking(module, missing):
    inside = missing.startswith(module + ".")
    return Without(real(module), missing[len(module) + 1 :].split(".")) if inside else real(module)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def check(missing):
    importlib.import_module = lambda name: lacking(name, missing)
    import tconv._arrays.torch_names as names
    importlib.import_module = real
    import tconv, tconv.torch as ours
    from tconv.torch import kernel_call
    from torch.nn import functional

    assert set(names.MISSING) == ({missing} if missing else set()), names.MISSING
    generator = torch.Generator().manual_seed(7)
    x, w, b = (torch.randn(*shape, generator=generator) for shape in ((3, 4, 5, 6), (4, 5, 3, 4), (5,)))
    mine = lambda x, w=w, b=b: ours.conv_transpose(x, w, b, 2, 1)
    stock = lambda x, w=w, b=b: functional.conv_transpose2d(x, w, b, 2, 1)
    with torch.no_grad():
        close(mine(x), stock(x))
        close(mine(x[0]), stock(x[0]))
        last = x.contiguous(memory_format=torch.channels_last)
        assert mine(last).stride() == stock(last).stride()
        close(mine(x.double(), w.double(), b.double()), stock(x.double(), w.double(), b.double()))
        close(mine(torch._neg_view(x)), stock(-x))
        zeros = torch._efficientzerotensor(x.shape)  # it has no memory
        close(mine(zeros), stock(torch.zeros_like(x)))
        close(mine(x, w, torch._efficientzerotensor(b.shape)), stock(x, w, torch.zeros_like(b)))
        for odd in (torch.nested.nested_tensor([x[0], x[1]]), torch._to_functional_tensor(x)):
            assert not kernel_call.is_plain(odd), odd
        with torch.autocast("cpu"):
            assert mine(x).dtype == stock(x).dtype
            torch.testing.assert_close(mine(x), stock(x), rtol=0.1, atol=0.1)
        inference = torch.inference_mode()(lambda: mine(x + 0))()
        close(inference + 0, stock(x))
        traced = torch.jit.trace(lambda x: mine(x), (x,), check_trace=False)
        assert "tconv::" not in str(traced.graph)
        close(traced(2 * x), stock(2 * x))
        close(torch.vmap(mine, in_dims=0)(x.unsqueeze(1)), stock(x).unsqueeze(1))
        close(torch.vmap(lambda w: mine(x, w))(w.expand(2, -1, -1, -1, -1)), torch.stack([stock(x)] * 2))
    close(torch.func.grad(lambda x: mine(x).square().sum())(x), torch.func.grad(lambda x: stock(x).square().sum())(x))
    close(torch.func.vmap(torch.func.grad(lambda x: mine(x).square().sum()))(x),
          torch.func.vmap(torch.func.grad(lambda x: stock(x).square().sum()))(x))
    for a, c in zip(torch.func.jvp(mine, (x,), (x + 1,)), torch.func.jvp(stock, (x,), (x + 1,))):
        close(a, c)
    from torch.autograd import forward_ad
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, x + 1)
        close(forward_ad.unpack_dual(mine(dual)).tangent, forward_ad.unpack_dual(stock(dual)).tangent)
    for asked in ((x,), (x, w, b)):
        leaves = [tensor.clone().requires_grad_() for tensor in asked]
        for a, c in zip(torch.autograd.grad(mine(*leaves).square().sum(), leaves),
                        torch.autograd.grad(stock(*leaves).square().sum(), leaves)):
            torch.testing.assert_close(a, c, rtol=0, atol=1e-5 * float(c.abs().max()))
    with torch.no_grad():
        close(tconv.conv_transpose(x, w, b, dialect="torch", stride=2, padding=1), stock(x))
    class Seen(torch.utils._python_dispatch.TorchDispatchMode):
        calls = []
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.calls.append(str(function))
            return function(*args, **(kwargs or {}))
    with Seen(), torch.no_grad():
        close(mine(x), stock(x))
    assert any("tconv" in name for name in Seen.calls), Seen.calls
    with torch.profiler.profile() as profile, torch.no_grad():
        mine(x)
    assert any("tconv" in event.key for event in profile.key_averages())
    model = torch.nn.Sequential(torch.nn.ConvTranspose2d(4, 5, 4, 2, 1), torch.nn.BatchNorm2d(5), torch.nn.ReLU()).eval()
    with torch.no_grad():
        expected = model(x)
    import tconv.acceleration.layer_choice as choice
    choice._reason_against_layer = lambda *given: ""
    choice._LAYER_MOST = choice._MODEL_MOST = 3
    report = ours.accelerate(model, x, fuse=True)
    with torch.no_grad():
        close(model(x), expected)
    ours.accelerate(torch.nn.Sequential(model), (x,))
    planned = ours.plan(ours.ConvTranspose2d(4, 5, 4, 2, 1).requires_grad_(False), x)
    for text in (str(report), str(planned)):
        assert (missing in text and names.MISSING[missing] in text) if missing else "note" not in text, text
    plain = planned.reasons == ()
    assert plain, planned
    if missing and names.MISSING[missing].startswith("fuse=True"):
        assert not report.fused and missing in dict(report.unfused)["0"]


for name in ["", *sys.argv[1:]]:
    process = os.fork()  # before anything has run: PyTorch's threads do not exist yet
    if process == 0:
        try:
            check(name)
            print("works without", name or "nothing", flush=True)
        except BaseException:
            print("fails without", name, traceback.format_exc(), flush=True)
        os._exit(0)
    os.waitpid(process, 0)
'''


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="each name has a forked process")
def test_each_name_can_be_missing():
    assert len(NAMES) > 20
    command = [sys.executable, "-c", CHILD, *NAMES]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=580, check=False)
    lines = [line for line in finished.stdout.splitlines() if line.startswith("works without ")]
    assert lines == [f"works without {name}" for name in ("nothing", *NAMES)], finished.stdout + finished.stderr[-3000:]


@pytest.fixture
def fallbacks(monkeypatch):
    for name in ("_suggest_memory_format", "_leaves", "_map_only"):
        monkeypatch.setattr(torch_names, name, None)


@pytest.mark.skipif(tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13), reason="older rules differ")
@pytest.mark.parametrize("axes", [3, 4, 5])
def test_memory_formats_are_pytorchs_without_its_function(fallbacks, axes):
    draw, found = random.Random(axes), set()
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(axes, torch.contiguous_format)
    for _ in range(1500):
        shape = [draw.choice((0, 1, 1, 2, 3)) for _ in range(axes)]
        for tensor in (
            torch.empty(shape),
            torch.empty(shape).contiguous(memory_format=last),
            torch.empty(shape).permute(draw.sample(range(axes), axes)),
            torch.empty(400).as_strided(shape, [draw.choice((0, 1, 2, 3, 6, 9, 12)) for _ in shape]),
        ):
            format = torch_names.suggest_memory_format(tensor)
            assert format is suggest_memory_format(tensor), (tensor.shape, tensor.stride())
            found.add(format)
    assert found == {torch.contiguous_format, last}


def test_containers_are_searched_without_pytorchs_functions(fallbacks):
    class Output(OrderedDict):
        """Like the outputs of transformers, with an attribute of its own and a constructor without arguments."""

        def __init__(self):
            super().__init__()
            self.kind = "output"

    Pair = namedtuple("Pair", "left right")
    output = Output()
    output["states"] = [1, Pair(2, "text")]
    counts = defaultdict(list, {0: [3], 1: ["text"]})
    value = (output, counts, torch.Size((4, 5)), MappingProxyType({"a": 6}), None)
    double = torch_names.tree_map_only(int, lambda one: 2 * one, value)
    assert double[0] == {"states": [2, Pair(4, "text")]}
    assert (type(double[0]), double[0].kind, type(double[0]["states"][1])) == (Output, "output", Pair)
    assert output["states"] == [1, Pair(2, "text")]
    assert (double[1], double[1].default_factory) == ({0: [6], 1: ["text"]}, list)
    assert double[2] == torch.Size((8, 10))
    assert double[3:] == value[3:]
    assert torch_names.tree_leaves(value) == [1, 2, "text", 3, "text", 4, 5, value[3], None]
    assert torch_names.tree_map_only(float, abs, value) is value


def test_undocumented_names_are_asked_for_in_one_module():
    allowed = {"torch_names.py", "bench", "torch_comparison.py"}
    places = []
    for file in [*(SOURCE / "torch").rglob("*.py"), *(SOURCE / "_arrays").glob("*.py"), *SOURCE.glob("*.py")]:
        if file.name in allowed:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
                names = [*node.module.split("."), *(alias.name for alias in node.names)]
                places += [(file.name, name) for name in names if name.startswith("_")]
            elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                path = ast.unparse(node)
                places += [(file.name, path)] if path.startswith(("torch.", "forward_ad.")) else []
    assert set(places) == {("custom_op.py", "torch._check")}  # it is documented
