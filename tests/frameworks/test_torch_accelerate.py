"""`accelerate` changes how a model runs and nothing else; `restore` undoes it; a fused model is the same in eval mode."""

from __future__ import annotations

import copy
import io
import math
import pickle
import threading
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import tconv
import tconv.torch as ours
from tconv.acceleration.layer_choice import Choice
from tconv.acceleration.paired_timing import Pairs


class Named(nn.ConvTranspose2d):
    """A user's subclass, with the forward of its base."""


class Own(nn.ConvTranspose2d):
    def forward(self, input, output_size=None):
        return 2 * super().forward(input, output_size)


class Net(nn.Module):
    """Layers of all kinds, in one forward."""

    def __init__(self):
        super().__init__()
        self.first = nn.ConvTranspose2d(4, 6, 4, 2, 1)
        self.norm = nn.BatchNorm2d(6)
        self.body = nn.Sequential(nn.ReLU(), Named(6, 5, 3, 2, bias=False))
        self.weighted = parametrizations.weight_norm(nn.ConvTranspose2d(5, 5, 2, 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.hooked = nn.utils.weight_norm(nn.ConvTranspose2d(5, 3, 3))
        self.tied = nn.ConvTranspose2d(3, 3, 3, padding=1)
        self.twin = nn.ConvTranspose2d(3, 3, 3, padding=1)
        self.twin.weight = self.tied.weight
        self.again = self.tied
        self.own = Own(3, 2, 3)

    def forward(self, x, scale=1.0):
        x = self.body(self.norm(self.first(x)))
        x = self.twin(self.again(self.tied(self.hooked(self.weighted(x)))))
        return self.own(x) * scale


REPLACED = ["first", "body.1", "weighted", "hooked", "tied", "twin"]


@pytest.fixture(autouse=True)
def all_stay(monkeypatch):
    """No layer is left to PyTorch because the machine was busy: half of a pass is in layers that take half the time."""

    def choice(prepare, run, sides, clocked, reasons, leave):
        part = 0.5 / len(clocked)
        pairs = Pairs([(1.0, 0.75)], {name: [(part, part / 2)] for name in clocked}, {name: [part] for name in clocked})
        return Choice(pairs, {}, pairs.gain)

    monkeypatch.setattr("tconv.torch.model_acceleration.choose", choice)


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = Net()
    made.norm.running_mean.normal_()
    return made


@pytest.fixture
def x():
    return torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(1))


def twin(net):
    """Another net with the same weights; the old weight norm cannot be copied."""
    made = Net()
    made.load_state_dict(net.state_dict())
    return made


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()))


@pytest.mark.parametrize("measured", [False, True])
def test_the_same_model_afterwards(net, x, measured):
    stock, names = twin(net), {id(module): name for name, module in net.named_modules()}
    keys, classes = list(net.state_dict()), {name: type(module) for name, module in net.named_modules()}
    parameters = {name: id(parameter) for name, parameter in net.named_parameters()}
    report = ours.accelerate(net, x if measured else None)
    left = {name for name, reason in report.left}
    assert [layer.name for layer in report.layers] == REPLACED
    assert left - set(REPLACED) == {"own"}
    assert dict(report.left)["own"] == "Own has a forward of its own"
    assert {id(module): name for name, module in net.named_modules()} == names
    assert list(net.state_dict()) == keys
    assert {name: id(parameter) for name, parameter in net.named_parameters()} == parameters
    assert all(isinstance(net.get_submodule(name), nn.ConvTranspose2d) for name in REPLACED)
    assert measured or all(isinstance(net.get_submodule(name), ours.modules.DropIn) for name in REPLACED)
    assert repr(net) == repr(stock)
    for mode in (True, False):
        close(net.train(mode)(x), stock.train(mode)(x))
    for model in (net, stock):
        model(x).square().sum().backward()
    for mine, theirs in zip(net.parameters(), stock.parameters(), strict=True):
        close(mine.grad, theirs.grad)
    assert str(net.load_state_dict(stock.state_dict())) == "<All keys matched successfully>"
    count = len(REPLACED) - len(left & set(REPLACED))
    assert ours.restore(net) == count
    assert {name: type(module).__mro__[1:] for name, module in net.named_modules()} == {
        name: kind.__mro__[1:] for name, kind in classes.items()
    }
    assert ours.restore(net) == 0
    assert torch.equal(net(x), stock(x))


def test_accelerating_twice_changes_nothing_and_own_layers_stay():
    model = nn.Sequential(nn.ConvTranspose1d(2, 2, 2), ours.ConvTranspose1d(2, 2, 2))
    ours.accelerate(model)
    again = ours.accelerate(model)
    assert again.left == (("0", "it is tconv's already"), ("1", "it is tconv's already"))
    assert ours.restore(model) == 1
    assert [type(layer) for layer in model] == [nn.ConvTranspose1d, ours.ConvTranspose1d]
    single = nn.ConvTranspose3d(2, 2, 2)
    report = ours.accelerate(single)
    assert report.layers[0].name == ""
    assert "  the model  ConvTranspose3d" in str(report)
    assert type(single) is ours.ConvTranspose3d


class Copying(nn.ConvTranspose2d):
    """A user's subclass that copies itself, as the class of a parametrised layer does."""

    def __deepcopy__(self, memo):
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        return made


@pytest.mark.parametrize("parametrised", [False, True])
def test_a_subclass_that_copies_itself(parametrised):
    model, x = nn.Sequential(Copying(4, 3, 3, 2)), torch.randn(1, 4, 5, 5)
    if parametrised:
        parametrizations.weight_norm(model[0])
    kind, expected = type(model[0]), model(x)
    ours.accelerate(model)
    others = [copy.deepcopy(model)] if parametrised else [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for each in (model, *others):
        close(each(x), expected)
        assert isinstance(each[0], ours.modules.DropIn)
        assert ours.restore(each) == 1
        assert type(each[0]) is kind if not parametrised else type(each[0]).__mro__[1:] == kind.__mro__[1:]


def test_a_compiled_model_is_refused():
    def made():
        return nn.Sequential(nn.Sequential(nn.ConvTranspose2d(4, 3, 2)), nn.ReLU()).eval()

    class Decorated(nn.Sequential):
        forward = torch.compile(nn.Sequential.forward, backend="eager")

    within, itself = made(), made()
    within[0] = torch.compile(within[0], backend="eager")
    itself[0].compile(backend="eager")
    x = torch.randn(1, 4, 5, 5)
    for model, name in (
        (torch.compile(made(), backend="eager"), "the model"),
        (within, "0"),
        (itself, "0"),
        (Decorated(*made()), "the model"),
    ):
        for example in (x, None):
            with pytest.raises(tconv.TconvError, match=f"^{name} is compiled by torch.compile.* then torch.compile"):
                ours.accelerate(model, example)
        assert ours.restore(model) == 0

    class Undecorated(nn.Sequential):
        forward = torch.compiler.disable(nn.Sequential.forward)

    assert ours.accelerate(Undecorated(*made()), x).layers


def test_random_numbers_of_other_devices_are_left_alone(monkeypatch, x):
    seeded = []
    monkeypatch.setattr(torch, "manual_seed", lambda seed: seeded.append(seed))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: seeded.append(seed))
    ours.accelerate(nn.Sequential(nn.ConvTranspose2d(4, 2, 2)), x)
    assert not seeded


def test_copies_and_pickles(net, x):
    plain = nn.Sequential(net.first, net.norm, *net.body)
    for fuse in (False, True):
        ours.accelerate(plain.eval(), x, fuse=fuse)
        with torch.no_grad():
            expected = plain(x)
            for other in (copy.deepcopy(plain), pickle.loads(pickle.dumps(plain))):
                assert [type(a).__name__ for a in other] == [type(a).__name__ for a in plain]
                assert torch.equal(other(x), expected)
                other[0].weight.mul_(2)
                assert torch.equal(plain(x), expected)
                assert not torch.equal(other(x), expected)
                assert ours.restore(other) == 2
                assert type(other[-1]) is Named
        ours.restore(plain)
    ours.accelerate(net)
    with torch.no_grad():
        expected = net(x)
        close(copy.deepcopy(net)(x), expected)  # weight-normed, hooked and tied ones among them
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    assert str(Net().load_state_dict(torch.load(file))) == "<All keys matched successfully>"


def test_parametrisations_come_and_go():
    model = nn.Sequential(nn.ConvTranspose2d(4, 3, 3, 2))
    x = torch.randn(1, 4, 5, 5)
    ours.accelerate(model)
    parametrizations.weight_norm(model[0])
    stock = copy.deepcopy(model)
    assert ours.restore(stock) == 1
    assert parametrize.is_parametrized(stock[0])
    assert not isinstance(stock[0], ours.modules.DropIn)
    close(model(x), stock(x))
    for each in (model, stock):
        parametrize.remove_parametrizations(each[0], "weight")
    assert type(model[0]) is ours.ConvTranspose2d
    assert type(stock[0]) is nn.ConvTranspose2d
    close(model(x), stock(x))
    parametrizations.weight_norm(stock[0])
    ours.accelerate(stock)
    assert isinstance(stock[0], ours.modules.DropIn)
    parametrize.remove_parametrizations(stock[0], "weight")
    assert type(stock[0]) is ours.ConvTranspose2d
    assert ours.restore(stock) == 1
    assert type(stock[0]) is nn.ConvTranspose2d


def test_the_report_lists_layers_that_are_left_alone():
    patched = nn.ConvTranspose2d(2, 2, 2)
    patched.forward = lambda x: x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(nn.ConvTranspose2d(2, 2, 2)))
    model = nn.ModuleDict(
        {
            "lazy": nn.LazyConvTranspose2d(2, 2),
            "complex": nn.ConvTranspose2d(2, 2, 2, dtype=torch.complex64),
            "patched": patched,
            "scripted": scripted,
            "own": Own(2, 2, 2),
        }
    )
    report = ours.accelerate(model)
    assert report.layers == ()
    assert dict(report.left) == {
        "lazy": "it is not initialised yet; run the model once before",
        "complex": "its weight is complex64; the kernel computes float32, float64, float16 and bfloat16",
        "patched": "ConvTranspose2d has a forward of its own",
        "scripted": "TorchScript has compiled it; accelerate a model before torch.jit.script",
        "own": "Own has a forward of its own",
    }
    assert str(report).startswith("there is no transposed convolution to replace\n  left alone: lazy: it is not")
    with pytest.raises(tconv.TconvError, match=r"model is a function; a torch\.nn\.Module is needed"):
        ours.accelerate(close)
    with pytest.raises(tconv.TconvError, match="example is a int"):
        ours.accelerate(nn.Identity(), 3)


def test_a_model_that_draws_random_numbers_is_compared_with_itself(x):
    class Noisy(nn.Sequential):
        def forward(self, given):
            return super().forward(given + torch.randn_like(given))

    report = ours.accelerate(Noisy(nn.ConvTranspose2d(4, 2, 2)), x)
    assert report.difference < 1e-5


def test_measuring_leaves_no_trace(net, x):
    net.drop = nn.Dropout()
    net.train()
    net.body.eval()
    before = copy.deepcopy(net.state_dict())
    modes = [module.training for module in net.modules()]
    torch.manual_seed(3)
    first = torch.rand(2)
    torch.manual_seed(3)
    report = ours.accelerate(net, {"x": x, "scale": 2.0})
    assert torch.equal(torch.rand(2), first)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(before.values(), net.state_dict().values(), strict=True))
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())
    assert report.difference is not None
    assert report.difference < 1e-4


def test_the_report_gives_the_possible_gain(net, x):
    report = ours.accelerate(net, (x,))
    assert report.share == pytest.approx(0.5)
    assert report.ceiling == pytest.approx(2)
    assert report.expected == pytest.approx(4 / 3)
    text = str(report)
    assert text.startswith(
        "transposed convolutions take 50% of this model: at best 2.00x; 1.33x is expected (95%: 1.33 to 1.33)\n"
    )
    assert "first     ConvTranspose2d [2, 4, 5, 6] float32: 83.3 ms, 8%; 2.00x" in text
    assert "body.1    Named [2, 6, 10, 12] float32: 83.3 ms, 8%; 2.00x" in text
    assert "left alone: own: Own has a forward of its own" in text
    tied = next(layer for layer in report.layers if layer.name == "tied")
    assert tied.seconds > 0
    assert str(ours.accelerate(nn.Sequential(nn.ConvTranspose1d(2, 2, 2)))).startswith(
        "1 transposed convolution on tconv's kernel; not measured. Write tconv.torch.accelerate(model, x)"
    )


def test_a_compiled_model(x):
    torch._dynamo.reset()
    model = nn.Sequential(nn.ConvTranspose2d(4, 6, 4, 2, 1), nn.ReLU()).eval()
    expected = model(x)
    ours.accelerate(model, x, fuse=True)
    close(torch.compile(model, fullgraph=True, backend="aot_eager")(x), expected)
    with torch.no_grad():
        close(torch.compile(model, fullgraph=True, backend="aot_eager")(x), expected)


@pytest.mark.parametrize("number", [math.inf, math.nan, -1.0])
@pytest.mark.parametrize("name", ["0.weight", "0.bias", "1.weight", "1.running_mean", "1.running_var"])
def test_numbers_that_cannot_be_folded_are_pytorchs(name, number):
    model, x = normed(), torch.randn(2, 4, 5, 6)
    stock = copy.deepcopy(model)
    with torch.no_grad():
        assert ours.accelerate(model, x, fuse=True).fused
        for each in (model, stock):
            each.state_dict()[name].view(-1)[0] = number
        torch.testing.assert_close(model(x), stock(x), rtol=1e-4, atol=1e-4, equal_nan=True)


def test_a_fused_model_under_fx():
    model, x = normed(), torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        expected = model(x)
        assert ours.accelerate(model, x, fuse=True).fused
        close(torch.fx.symbolic_trace(model)(x), expected)
        close(pickle.loads(pickle.dumps(model))(x), expected)
        ours.restore(model)
        assert "__module__" not in vars(model[1])


# -- fusing --------------------------------------------------------------------------------------------------------

LAYERS = {
    1: (nn.ConvTranspose1d, nn.BatchNorm1d),
    2: (nn.ConvTranspose2d, nn.BatchNorm2d),
    3: (nn.ConvTranspose3d, nn.BatchNorm3d),
}
ACTIVATIONS = [
    nn.ReLU,
    nn.ReLU6,
    lambda: nn.LeakyReLU(0.2),
    lambda: nn.PReLU(6),
    lambda: nn.Hardtanh(-0.5, 0.7),
    lambda: nn.ReLU(inplace=True),
]


def normed(ndim=2, groups=1, activation=nn.ReLU, bias=True, **kwargs):
    layer, norm = LAYERS[ndim]
    model = nn.Sequential(layer(4, 6, 3, 2, groups=groups, bias=bias), norm(6, **kwargs), activation())
    for parameter in model[1].parameters():
        nn.init.uniform_(parameter, -1.5, 1.5)
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.2, 3)
    if isinstance(model[2], nn.PReLU):
        nn.init.uniform_(model[2].weight)
    return model.eval()


@pytest.fixture
def alone(monkeypatch):
    """Counts what batch norms are run."""
    seen, run = [], torch.nn.functional.batch_norm
    monkeypatch.setattr(torch.nn.functional, "batch_norm", lambda *a, **k: seen.append(1) or run(*a, **k))
    return seen


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_a_batch_norm_is_folded_on_the_right_axis(ndim, groups, bias, alone):
    model, x = normed(ndim, groups, bias=bias), torch.randn(2, 4, *[5] * ndim)
    with torch.no_grad():
        expected = model(x)
        report = ours.accelerate(model, x, fuse=True)
        assert report.fused == (("0", f"BatchNorm{ndim}d, ReLU"),)
        assert 0 <= report.difference < 1e-5
        alone.clear()
        close(model(x), expected)
        assert not alone
        assert folds(model, x)
        ours.restore(model)
        close(ours.fold_batchnorm(model[0], model[1])(x).relu(), expected)


def folds(model, x):
    """Return True if the first layer of a model does the work of the modules behind it."""
    made = []
    handle = model[0].register_forward_hook(lambda module, given, output: made.append(type(output)))
    model(x)
    handle.remove()
    return made[0] is ours.lazy_tensor.LazyTensor


def test_a_part_of_a_fused_model_is_what_it_was():
    model, x = normed(), torch.randn(2, 4, 5, 6)
    stock = copy.deepcopy(model)
    with torch.no_grad():
        assert ours.accelerate(model, x, fuse=True).fused
        for cut in (slice(0, 1), slice(0, 2), slice(1, 3)):
            given = x if cut.start == 0 else stock[0](x)
            close(model[cut](given), stock[cut](given))
        close(model[1](model[0](x)), stock[1](stock[0](x)))
        close(nn.Sequential(*list(model.children())[:1])(x), stock[0](x))
        close(nn.Sequential(model, nn.Tanh())(x), stock(x).tanh())  # the whole of it is folded anywhere
        close(model.forward(x), stock(x))


ELSEWHERE = pytest.warns(UserWarning, match=r"^0: other code than the fused BatchNorm2d, ReLU reads its output")


@pytest.mark.parametrize("place", [1, 2])
def test_a_module_behind_a_fused_layer_may_be_replaced(place):
    model, x = normed(), torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        ours.accelerate(model, x, fuse=True)
        model[place] = nn.Sigmoid()
        expected = nn.Sequential(*model)(x)
        with ELSEWHERE:
            close(model(x), expected)
        close(model(x), expected)  # no second warning
        assert ours.restore(model) == 1
        assert not model._forward_hooks
        assert not model._forward_pre_hooks
        close(model(x), expected)


HOOKS = {
    "read": lambda seen: lambda m, given, made: seen.append(made * 1),
    "stored": lambda seen: lambda m, given, made: seen.append(made),
    "numpy": lambda seen: lambda m, given, made: seen.append(torch.from_numpy(made.numpy())),
    "array": lambda seen: lambda m, given, made: seen.append(torch.tensor(made.tolist())),
    "scripted": lambda seen: lambda m, given, made: seen.append(SCRIPTED(made)),
    "in C++": lambda seen: lambda m, given, made: seen.append(torch.tensor(made)),
    "changed": lambda seen: lambda m, given, made: seen.append(made.mul_(2).clone()),
    "another": lambda seen: lambda m, given, made: made + 1,
    "compiled": lambda seen: lambda m, given, made: seen.append(COMPILED(made)),
    "vmap": lambda seen: lambda m, given, made: seen.append(torch.vmap(lambda one: 1 * one)(made)),
    "grad": lambda seen: lambda m, given, made: seen.append(torch.func.grad(lambda a: (a * made).sum())(0 * made)),
    "no norm": lambda seen: lambda m, given, made: m.chain[1].train() and None,
    "other statistics": lambda seen: lambda m, given, made: seen.append(m.chain[1].running_mean.add_(1).clone()),
    "another eps": lambda seen: lambda m, given, made: setattr(m.chain[1], "eps", 0.5),
}
SCRIPTED = torch.jit.script(nn.Sequential(nn.Identity()))
COMPILED = torch.compile(lambda y: y * 1, backend="eager")


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", HOOKS)
def test_any_reader_inside_of_a_chain_gets_the_models_own_values(name, place, inference):
    if name == "compiled":
        torch._dynamo.reset()
    model, x = normed(), torch.randn(2, 4, 5, 6)
    found = []
    with torch.inference_mode(inference), torch.no_grad():
        stock = copy.deepcopy(model)
        assert ours.accelerate(model, x, fuse=True).fused
        model(x)
        for each in (stock, model):
            seen = []
            each[place].__dict__["chain"] = [*each]
            each[place].register_forward_hook(HOOKS[name](seen))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append([each(given).clone() for given in (x, x + 1)] + seen)
    for mine, theirs in zip(*reversed(found), strict=True):
        close(mine + 0, theirs)


class Branch(nn.Module):
    """Other code reads a tensor inside of a chain, in a branch that the example does not take."""

    def __init__(self, inplace, normed):
        super().__init__()
        self.up, self.act = nn.ConvTranspose2d(4, 6, 3, 2), nn.ReLU(inplace)
        self.norm = nn.BatchNorm2d(6) if normed else nn.Identity()
        if normed:
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.3, 2)
        self.branch = None

    def forward(self, x):
        y = self.up(x)
        if self.branch == "before":
            return self.act(self.norm(y + 1))
        if self.branch == "returned":
            return y, {"y": y}
        z = self.norm(y)
        if self.branch == "norm":
            return z
        if self.branch == "norm twice":
            return self.act(self.norm(y)) + 2 * self.act(z)
        made = self.act(z)
        if self.branch == "twice":
            return torch.cat([made.add_(1), self.act(z)])
        if self.branch == "after":
            return made + y
        if self.branch == "after the norm":
            return made * z
        if self.branch == "stored":
            self.y, self.z = y, z
        if self.branch == "input":
            x.mul_(2)
            return made + y
        return made


@pytest.mark.filterwarnings("ignore:.*other code than the fused")
@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize(
    "branch", ["before", "returned", "norm", "norm twice", "twice", "after", "after the norm", "stored", "input"]
)
def test_a_branch_that_the_example_does_not_take(branch, inplace, normed, inference):
    model, x = Branch(inplace, normed).eval(), torch.randn(2, 4, 5, 6)
    with torch.inference_mode(inference), torch.no_grad():
        stock = copy.deepcopy(model)
        assert ours.accelerate(model, x, fuse=True).fused
        for turn in range(3):
            model.branch = stock.branch = None if turn == 1 else branch
            given = [x.clone(), x.clone()]
            stale = pytest.raises(
                tconv.errors.StaleError, match="changed in place; its values cannot be computed any more"
            )
            # without versions, a change of what was made of x looks like a change of x
            lost = (branch, inference, inplace) == ("twice", True, False) or (
                branch == "input" and (normed or not inplace)
            )
            if turn == 0 and lost:
                with stale:
                    model(given[0])
                break
            made = model(given[0])
            theirs = stock(given[1])
            for a, b in zip(
                torch.utils._pytree.tree_leaves(made), torch.utils._pytree.tree_leaves(theirs), strict=True
            ):
                close(a, b)
                assert type(a) is torch.Tensor
                assert a.is_inference() == inference
            if model.branch == "stored":
                given[0].zero_()
                close(model.y + 0, stock.y)
                close(model.z + 0, stock.z)


def test_questions_about_shapes_inside_of_a_chain_keep_it_fused():
    class Shapes(nn.Sequential):
        def forward(self, x):
            y = self[0](x)
            assert (y.shape, y.dim(), y.size(1), y.dtype, len(y)) == ((2, 6, 11, 13), 4, 6, torch.float32, 2)
            assert not y.requires_grad
            return self[2](self[1](y))

    model, x = Shapes(*normed()).eval(), torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        assert ours.accelerate(model, x, fuse=True).fused
        assert folds(model, x)


def test_gradients_that_begin_behind_a_fused_layer():
    model, x = normed(), torch.randn(2, 4, 5, 6)
    stock = copy.deepcopy(model)
    ours.accelerate(model, x, fuse=True)
    for each in (model, stock):
        each[0].register_forward_pre_hook(lambda m, given: torch.set_grad_enabled(False) and None)
        each[0].register_forward_hook(lambda m, given, made: torch.set_grad_enabled(True) and None)
        each(x).sum().backward()
    close(model[1].weight.grad, stock[1].weight.grad)


def test_a_channels_last_weight_keeps_its_format_when_it_is_folded():
    model, x = normed().to(memory_format=torch.channels_last), torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        expected = model(x)
        assert ours.accelerate(model, x, fuse=True).fused
        assert model(x).stride() == expected.stride()


class Returned(nn.Module):
    """The input of its batch norm is read twice, and its output hides that or not."""

    def __init__(self, made):
        super().__init__()
        self.up, self.norm, self.made = nn.ConvTranspose2d(4, 6, 2, 2), nn.BatchNorm2d(6), made
        self.norm.running_mean.normal_()

    def forward(self, x):
        y = self.up(x)
        return self.made(self.norm(y) + y)


@pytest.mark.parametrize(
    "made", [lambda y: y, lambda y: y.argmax(1), lambda y: (y.mean() * 0 + 1e6, y), lambda y: [str(y)]]
)
def test_only_what_nothing_else_reads_is_fused(made, x):
    model = Returned(made).eval()
    report = ours.accelerate(model, x, fuse=True)
    assert not report.fused
    assert "other code reads its output, too" in str(report)


def test_only_what_can_be_compared_is_fused():
    class Worded(nn.Sequential):
        def forward(self, x):
            return [str(super().forward(x))]

    report = ours.accelerate(Worded(*normed()).eval(), torch.randn(1, 4, 5, 5), fuse=True)
    assert not report.fused
    assert "the model's output contains no tensor to compare" in str(report)


def test_differences_know_nan_and_integers():
    from tconv.torch.forward_pass import ForwardPass

    one, nan, inf = torch.ones(2), torch.tensor([1.0, math.nan]), torch.tensor([1.0, math.inf])
    for a, b, difference in [
        ([one, one], [one, nan], math.inf),
        ([nan, inf], [nan, inf], 0.0),
        ([inf], [one], math.inf),
        ([torch.arange(3)], [torch.arange(3) + 1], math.inf),
        ([one, one], [one, one + 0.5], 0.5),
        ([], [], None),
    ]:
        assert ForwardPass({}, {}, a).difference(b) == difference
        assert ForwardPass({}, {}, a).agrees(b) == (difference == 0)


def test_an_error_in_the_middle_leaves_nothing_behind():
    class Failing(nn.Sequential):
        fails = False

        def forward(self, x):
            y = self[0](x)
            if self.fails:
                raise KeyError("in the middle")
            return self[2](self[1](y))

    model, x = Failing(*normed()).eval(), torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        expected = model(x)
        assert ours.accelerate(model, x, fuse=True).fused
        model.fails = True
        with pytest.raises(KeyError, match="in the middle"):
            model(x)
        model.fails = False
        close(model(x), expected)
        close(copy.deepcopy(model)(x), expected)


def test_fused_models_in_threads_and_files():
    model, x = normed(), torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        expected = model(x)
        ours.accelerate(model, x, fuse=True)
        loaded = pickle.loads(pickle.dumps(model))
        assert folds(loaded, x)
        close(loaded(x), expected)
        faults = []

        def work():
            with torch.no_grad():  # it belongs to a thread
                for _ in range(50):
                    if not torch.allclose(model(x), expected, atol=1e-4):
                        faults.append("values")
                    if torch.allclose(model[0](x), expected, atol=1e-4):
                        faults.append("a part was folded")

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", [True, False])
def test_activations(activation, norm):
    model = normed(activation=activation)
    if not norm:
        del model[1]
    x = torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        expected = model(x)
        report = ours.accelerate(model, x, fuse=True)
        assert len(report.fused) == 1
        close(model(x), expected)
        assert folds(model, x)
        assert ours.restore(model) == 1
        assert torch.equal(model(x), expected)


def test_nothing_that_is_folded_is_ever_stale(alone):
    model, x = normed(), torch.randn(2, 4, 5, 6)
    ours.accelerate(model, x, fuse=True)
    other = copy.deepcopy(model)
    ours.restore(other)
    changes = [
        lambda m: m[0].weight.data.mul_(2),
        lambda m: m[0].bias.data.add_(1),
        lambda m: m[1].running_mean.add_(0.5),
        lambda m: m[1].running_var.mul_(1.5),
        lambda m: m[1].weight.data.numpy().__setitem__(2, 3.0),
        lambda m: m[1].bias.data.sub_(1),
        lambda m: setattr(m[1], "eps", 0.1),
        lambda m: m.load_state_dict({k: v + 0.25 if v.is_floating_point() else v for k, v in m.state_dict().items()}),
    ]
    with torch.no_grad():
        for change in changes:
            alone.clear()
            for each in (model, other):
                change(each)
            close(model(x), other(x))
            assert len(alone) == 1


def test_training_mode_and_gradients_run_unfused(alone):
    model, x = normed(), torch.randn(2, 4, 5, 6)
    ours.accelerate(model, x, fuse=True)
    other = copy.deepcopy(model)
    ours.restore(other)
    assert list(model.state_dict()) == list(other.state_dict())
    for each in (model, other):
        each.train()
    close(model(x), other(x))
    for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        close(a, b) if a.is_floating_point() else None
    for each in (model.eval(), other.eval()):
        each.zero_grad()
        each(x).square().sum().backward()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        close(a.grad, b.grad)
    model[1].train()  # one module alone
    other[1].train()
    with torch.no_grad():
        close(model(x), other(x))
    for dtype, share in ((torch.float64, 1e-12), (torch.bfloat16, 0.03)):
        with torch.no_grad():
            expected = other.eval().to(dtype)(x.to(dtype))
            assert (model.eval().to(dtype)(x.to(dtype)) - expected).abs().max() <= share * expected.abs().max()


class Skip(nn.Module):
    """The layer's output is read twice."""

    def __init__(self, twice):
        super().__init__()
        self.up, self.norm, self.act, self.twice = nn.ConvTranspose2d(4, 6, 2, 2), nn.BatchNorm2d(6), nn.ReLU(), twice

    def forward(self, x):
        y = self.up(x)
        if self.twice == "norm":
            return self.act(self.norm(y)) + self.norm(2 * y)
        z = self.act(self.norm(y))
        return z + y if self.twice == "skip" else z + self.norm(y) if self.twice == "again" else z


def test_the_report_lists_what_cannot_be_fused_and_it_stays_right(x):
    cases = [
        (Skip("skip"), "other code reads its output, too"),
        (Skip("norm"), "no batch norm or pointwise activation is the only reader of its output"),
        (Skip("again"), "no batch norm or pointwise activation is the only reader of its output"),
        (
            nn.Sequential(nn.ConvTranspose2d(4, 6, 2, 2), nn.BatchNorm2d(6, track_running_stats=False)),
            "has no running statistics",
        ),
        (nn.Sequential(nn.ConvTranspose2d(4, 6, 2, 2), nn.InstanceNorm2d(6), nn.ReLU()), "no batch norm"),
        (nn.Sequential(nn.ConvTranspose2d(4, 6, 2, 2), nn.Tanh()), "no batch norm"),
    ]
    for model, reason in cases:
        model.eval()
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -1, 1)
        with torch.no_grad():
            expected = model(x)
            report = ours.accelerate(model, x, fuse=True)
            assert report.fused == ()
            assert reason in str(report)
            close(model(x), expected)
    fine = Skip("").eval()
    assert ours.accelerate(fine, x, fuse=True).fused == (("up", "BatchNorm2d, ReLU"),)
    hooked = normed()
    hooked[1].register_forward_hook(lambda module, given, made: made + 1)
    assert "the BatchNorm2d behind it has hooks" in str(ours.accelerate(hooked, x, fuse=True))
    for model, example in ((normed().train(), x), (normed(), None)):
        with pytest.raises(tconv.TconvError, match="fuse=True needs a model in eval mode and an example"):
            ours.accelerate(model, example, fuse=True)
    with pytest.raises(tconv.TconvError, match="the norm is in training mode"):
        ours.fold_batchnorm(nn.ConvTranspose2d(4, 6, 2), nn.BatchNorm2d(6))
    with pytest.raises(tconv.TconvError, match="has 5 features, and the layer 6 output channels"):
        ours.fold_batchnorm(nn.ConvTranspose2d(4, 6, 2), nn.BatchNorm2d(5).eval())


class Copied(nn.Module):
    """Its batch norm gets a copy of the layer's output if asked."""

    def __init__(self):
        super().__init__()
        self.up, self.norm, self.copied = nn.ConvTranspose2d(4, 6, 2, 2), nn.BatchNorm2d(6), False

    def forward(self, x):
        y = self.up(x)
        return self.norm(y.clone() if self.copied else y)


def test_a_copy_is_not_normalised_twice(x):
    model = Copied().eval()
    model.norm.running_mean.normal_()
    with torch.no_grad():
        expected = model(x)
        assert ours.accelerate(model, x, fuse=True).fused
        model.copied = True
        with pytest.warns(UserWarning, match=r"^up: other code than the fused BatchNorm2d reads its output"):
            close(model(x), expected)
        model.copied = False
        close(model(x), expected)
        model.up(x)  # alone; then a run that does not fuse
        with torch.enable_grad():
            close(model(x), expected)
        close(
            model.norm(x.repeat(1, 2, 1, 1)[:, :6]),
            nn.functional.batch_norm(x.repeat(1, 2, 1, 1)[:, :6], model.norm.running_mean, model.norm.running_var),
        )
        model.norm.double()  # not what the kernel can fold
        with pytest.raises(RuntimeError, match=r"Double|double|dtype|expected scalar type"):
            model(x)
