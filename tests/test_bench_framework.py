"""`tconv bench --framework`: tables, refusals, references, and small real runs of each framework that is installed."""

import importlib.util
import json

import numpy as np
import pytest

from tconv.bench import framework_comparison, framework_table, frameworks, subpixel
from tconv.bench.framework_worker import CaseWorker
from tconv.bench.frameworks import interface, layer_numbers, layer_sides
from tconv.bench.frameworks.interface import ALONE, Case, Gap, Sides
from tconv.bench.frameworks.keras_networks import KERAS_NETWORKS
from tconv.bench.layers import Layer
from tconv.bench.peers.interface import UnableError
from tconv.cli import main
from test_bench_torch import MACHINE

SHAPES = (
    {"in": [5, 4], "k": 4, "s": 2, "p": 1},
    {"in": [5, 4], "k": 5, "s": 2, "p": 2, "op": 1, "g": 2},
    {"in": [6], "k": 3, "s": 4},
    {"in": [3, 4, 2], "k": 3, "s": 2, "p": 1, "op": 1},
)


def layer(**changes):
    return Layer.of({"name": "tiny", "n": 2, "c_in": 6, "c_out": 4, **changes})


def result(*cases, framework="jax", kind="layers", **more):
    base = {"date": "2026-12-01", "framework": framework, "kind": kind, "machine": MACHINE, "threads": 2}
    return {**base, "gate": "error is small", "complete": True, "cases": list(cases), **more}


def case(name, jax, tconv, **more):
    facts = {"name": name, "title": name, "dtype": "float32", "layout": "last", "difference": 2e-7}
    return {**facts, "versions": {"jax": "0.10"}, "samples": {"jax": jax, "tconv": tconv, **more}}


# -- tables --------------------------------------------------------------------------------------------------------


def test_layers_where_tconv_is_slower_come_first():
    made = result(
        case("fast", [10.0], [2.0], rewrite=[5.0], standard=[4.0]),
        case("slow", [9.0], [10.0], rewrite=[18.0]),
        case("slower", [8.0], [10.0]),
    )
    lines = framework_table.markdown(made).splitlines()
    assert lines[0] == "| layer | jax | tconv | gain | 95% | rewrite | standard | difference |"
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| slower", "| slow", "| fast"]
    assert lines[4] == "| fast | 10.0 | 2.00 | 5.00 | 5.00..5.00 | 2.00 | 2.50 | 2.0e-07 |"
    text = framework_table.text(made)
    assert "gain is jax / tconv, rewrite is jax / rewrite, standard is jax / standard; error is small." in text
    assert "geometric mean of the gains 1.53; smallest 0.80; at least 1 on 1 of 3" in text
    assert "tconv is slower: slower 0.80, slow 0.90" in text
    assert "jax / rewrite: geometric mean 1.00; at least 1 on 1 of 2; smallest 0.50 (slow)" in text
    assert "rewrite / tconv: geometric mean 2.12; at least 1 on 2 of 2; smallest 1.80 (slow)" in text
    assert "jax / standard: geometric mean 2.50; at least 1 on 1 of 1; smallest 2.50 (fast)" in text
    assert framework_table.wrong(made)
    assert not framework_table.wrong(result(case("fast", [10.0], [2.0])))


def test_absent_sides_are_listed_once_for_each_reason():
    absent = {"absent": {"rewrite": "no dilation"}}
    made = result({**case("a", [1.0], [1.0]), **absent}, {**case("b", [1.0], [1.0]), **absent})
    assert "not run: rewrite: no dilation (a; b)" in framework_table.notes(made)


def test_a_model_has_its_ceiling():
    samples = {"keras": [10.0] * 3, "tconv": [8.0] * 3, ALONE: [4.0] * 3}
    one = {**case("dcgan", [], []), "samples": samples, "backend": "jax", "share": None}
    for kind in ("models", "training"):
        lines = framework_table.markdown(result(one, framework="keras", kind=kind)).splitlines()
        assert lines[0] == "| model | share | keras | tconv | gain | 95% | at best | difference |"
        assert lines[2] == "| dcgan | 40% | 10.0 | 8.00 | 1.25 | 1.25..1.25 | 1.67 | 2.0e-07 |"


def test_the_page_has_the_table():
    page = framework_table.to_html(result(case("a<b", [2.0], [1.0])))
    assert page.startswith("<!doctype html>")
    assert "<td>a&lt;b</td><td>2.00</td>" in page
    assert "geometric mean" not in page  # of one layer


def test_a_stored_result_is_read(tmp_path):
    path = tmp_path / "made.json"
    path.write_text(json.dumps(result(case("a", [2.0], [1.0]))))
    assert framework_table.markdown(framework_table.read(path)).splitlines()[2].startswith("| a | 2.00 | 1.00 | 2.00 |")


# -- rounds --------------------------------------------------------------------------------------------------------


def test_slow_sides_take_part_in_few_rounds():
    times = {"jax": 50.0, "tconv": 1.0, "hopeless": 2500.0}
    takers = {side: lambda side=side: times[side] for side in times}
    samples = framework_comparison.rounds_of(takers, 6, 100.0)
    assert {side: len(of) for side, of in samples.items()} == {"jax": 3, "tconv": 6, "hopeless": 1}


# -- the worker ------------------------------------------------------------------------------------------------------


class FakeFramework:
    """A framework "fake" whose sides return numbers; the right number is 1."""

    packages = ("numpy",)

    def __init__(self, sides, begin=lambda: None):
        self.sides, self.begin = sides, begin

    def start(self, threads, backend):
        pass

    def build(self, kind, case):
        def gap(side, outputs):
            return Gap(abs(outputs - 1.0), 0.1)

        return Sides(self.sides, gap, {"title": case.name}, {"lost": "no such side"}, self.begin)


def worker(sides, **more):
    made = CaseWorker("torch", 1)
    made.name, made.framework = "fake", FakeFramework(sides, **more)
    return made


BUILD = {"do": "build", "kind": "layers", "case": ["a", "float32", "last", ""]}


def fails():
    raise RuntimeError("of\n  two lines")


def test_a_side_that_is_wrong_or_fails_is_absent():
    begun = []
    made = worker(
        {"fake": lambda: 1.0, "tconv": lambda: 1.05, "rewrite": lambda: 2.0, "standard": fails},
        begin=lambda: begun.append(1),
    )
    answer = made.answer(BUILD)
    assert answer["state"] == "built"
    assert set(answer["sides"]) == {"fake", "tconv"}
    assert answer["facts"]["absent"] == {
        "lost": "no such side",
        "rewrite": "the outputs differ by 1; 0.1 is allowed",
        "standard": "RuntimeError: of two lines",
    }
    assert answer["facts"]["difference"] == pytest.approx(0.05)
    assert begun == [1]
    assert made.answer({"do": "sample", "side": "tconv"})["state"] == "sampled"
    assert made.answer({"do": "sample", "side": "rewrite"})["state"] == "error"


def test_a_case_needs_the_own_side_and_tconv():
    answer = worker({"fake": lambda: 1.0, "tconv": lambda: float("nan")}).answer(BUILD)
    assert answer["state"] == "wrong"
    assert answer["reason"] == "wrong: tconv: the outputs differ by nan; 0.1 is allowed"
    answer = worker({"fake": fails, "tconv": lambda: 1.0}).answer(BUILD)
    assert (answer["state"], answer["reason"]) == ("unable", "fake: RuntimeError: of two lines")
    assert interface.reason_of(UnableError("none")) == "none"


# -- references ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_fit_finite_differences_of_the_definition(shape):
    """The form is bilinear, so that differences of any size are exact on whole numbers."""
    from tconv import conv_transpose

    one, rng = layer(**shape), np.random.default_rng(0)
    g = one.geometry
    x = rng.integers(-4, 4, (one.batch, one.in_channels, *one.input_shape)).astype(float)
    w = rng.integers(-4, 4, one.weight_shape).astype(float)
    dy = rng.integers(-4, 4, one.output_shape).astype(float)
    dx, dw = layer_numbers.gradients(g, x, w, dy)
    for array, gradient in ((x, dx), (w, dw)):
        for _ in range(12):
            at = tuple(rng.integers(size) for size in array.shape)
            step = np.zeros_like(array)
            step[at] = 1.0
            changed = conv_transpose(*((step, w) if array is x else (x, step)), geometry=g, method="polyphase")
            assert (changed * dy).sum() == gradient[at]


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_rewrite_is_exact(shape, layout):
    """Convolution in NumPy, then depth to space, then the crop."""
    from tconv import conv_transpose

    one, rng = layer(**shape), np.random.default_rng(1)
    g = one.geometry
    x = rng.integers(-4, 4, (one.batch, one.in_channels, *one.input_shape)).astype(float)
    w = rng.integers(-4, 4, one.weight_shape).astype(float)
    forward = subpixel.forward_weight(w, g, layout)
    assert (subpixel.original_weight(forward, g, layout) == w).all()
    assert not subpixel.reasons_against(one)
    counts = subpixel.tap_counts(g)
    padded = np.pad(x, [(0, 0), (0, 0), *((count - 1,) * 2 for count in counts)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, counts, tuple(range(2, x.ndim)))
    split = windows.reshape(len(x), g.groups, -1, *windows.shape[2:])
    taps = forward.reshape(g.groups, -1, *forward.shape[1:])
    axes = "abc"[: g.ndim]
    y = np.einsum(f"ngi...{axes},goi{axes}->ngo...", split, taps).reshape(len(x), -1, *windows.shape[2 : x.ndim])
    steps = subpixel.depth_to_space(one, layout)
    y = np.moveaxis(y, 1, -1) if layout == "last" else y
    y = y.reshape(steps.split).transpose(steps.order).reshape(steps.merged)[steps.crop]
    y = np.moveaxis(y, -1, 1) if layout == "last" else y
    assert (y == conv_transpose(x, w, geometry=g)).all()


def test_a_wrong_gradient_is_seen():
    given = layer_numbers.numbers(layer(**SHAPES[0]), "float32", trained=True)
    for place in (layer_numbers.INPUT, layer_numbers.WEIGHT):
        right = given.right[place]
        assert not right.gap(right.array.astype("float32"), "float32", place, once=False).wrong
        shifted = np.roll(right.array, 1, -1)
        assert right.gap(shifted, "float32", place, once=False).wrong
        assert right.gap(right.array[..., :-1], "float32", place, once=False).wrong
        assert right.gap(np.full_like(right.array, np.nan), "float32", place, once=False).wrong


def test_names_and_titles():
    assert "jax#31662" in layer_sides.names("training")
    assert "jax#31662" not in layer_sides.names("layers")
    assert len(layer_sides.select("layers", ["core"])) == 24
    assert layer_sides.names("overhead") == ["tiny layer", "tiny layer, eager"]
    assert layer_sides.title(Case("pose", "float64", "first")) == "pose, float64, channels first"
    assert all(network.title for network in KERAS_NETWORKS.values())
    for name in frameworks.names():
        known = frameworks.framework(name)
        assert set(known.kinds) <= set(interface.KINDS)
        assert all(known.names(kind) for kind in known.kinds)


# -- the command ---------------------------------------------------------------------------------------------------


def test_what_is_refused(capsys):
    for arguments, message in (
        (["--framework", "jaks"], "there is no framework 'jaks'; the frameworks are torch, jax, tensorflow, keras"),
        (["--framework", "jax", "--models"], "--models was given with --framework jax, which has layers, training"),
        (["--framework", "keras", "--overhead"], "Write --framework keras alone, or --framework torch --overhead"),
        (
            ["--framework", "jax", "--peers", "torch"],
            "which compares JAX with JAX on tconv's kernel. Write --framework",
        ),
        (["--framework", "jax", "--layers", "poze"], "there is no layer 'poze'"),
        (["--framework", "keras", "--layers", "dcgun"], "there is no model 'dcgun'; the models are dcgan, unet"),
        (["--framework", "jax", "--dtype", "half"], "--dtype is 'half', and 'half' is none of float32, bfloat16"),
        (["--framework", "keras", "--dtype", "bfloat16"], "'bfloat16' is none of float32"),
        (["--framework", "keras", "--layout", "first"], "'first' is none of last"),
        (["--framework", "keras", "--backend", "theano"], "'theano' is none of tensorflow, jax, torch"),
        (["--framework", "jax", "--backend", "jax"], "--backend is about Keras, and the framework is jax"),
        (["--backend", "jax"], "--backend jax is about --framework keras"),
        (["--framework", "jax", "--training", "--overhead"], "--training was given together with --overhead"),
        (["--framework", "jax", "--device", "cuda"], "--device was given together with --framework jax"),
    ):
        assert main(["bench", *arguments]) == 1
        assert message in capsys.readouterr().err, arguments


def installed(*names):
    return all(importlib.util.find_spec(name) for name in names)


RUNS = [
    pytest.param(
        arguments,
        sides,
        marks=[pytest.mark.slow, pytest.mark.skipif(not installed(*packages), reason=f"no {packages}")],
    )
    for arguments, sides, packages in (
        (["jax", "--overhead"], {"jax", "tconv", "rewrite", "standard"}, ("jax",)),
        (["jax", "--training", "--layers", "unet-16-16"], {"jax", "tconv", "rewrite", "standard"}, ("jax",)),
        (["tensorflow", "--overhead"], {"tensorflow", "tconv", "rewrite"}, ("tensorflow",)),
        (["tensorflow", "--training", "--layers", "unet-16-16"], {"tensorflow", "tconv", "rewrite"}, ("tensorflow",)),
        (["keras", "--layers", "vocoder", "--backend", "jax"], {"keras", "tconv", "measured", ALONE}, ("keras", "jax")),
    )
]


@pytest.mark.parametrize(("arguments", "sides"), RUNS)
def test_the_smallest_cases_run_and_are_stored(arguments, sides, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")  # it compiles in less time
    path, page = tmp_path / "made.json", tmp_path / "made.html"
    written = ["--rounds", "3", "--seconds", "1", "-o", str(path), "--html", str(page), "--json"]
    main(["bench", "--framework", *arguments, *written])  # the exit code tells of losses, which depend on the machine
    stored = json.loads(path.read_text())
    assert stored == json.loads(capsys.readouterr().out)
    assert stored["complete"]
    for entry in stored["cases"]:
        assert "reason" not in entry, entry["reason"]
        assert set(entry["samples"]) == sides, entry["absent"]
        assert all(1 <= len(samples) <= 3 for samples in entry["samples"].values())  # slow ones take part in one round
    assert "<table>" in page.read_text()
    assert f"{arguments[0]} / tconv" in framework_table.markdown(framework_table.read(path))
