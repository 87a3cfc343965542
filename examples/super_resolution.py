"""Train a small network that makes photographs larger with more detail than bicubic interpolation has.

The network maps the luma of a picture to the detail that bicubic interpolation lacks; its last layer is a transposed
convolution. Held-out photographs are looked at once, at the end: scores beside interpolation, tconv's own networks and
waifu2x's (where its package is), details of each picture, and the time per step against stock PyTorch. It needs no
GPU; with scikit-image's pictures alone, and compiled, it takes about 12 minutes:

    pip install ".[test]"
    python examples/super_resolution.py                     # then open runs/x2/page.html
    python examples/super_resolution.py --compile           # faster, where there is a C++ compiler
    python examples/super_resolution.py --quick             # under a minute; exit code 1 if nothing was learned
    torchrun --nproc-per-node 2 examples/super_resolution.py                            # data-parallel
    python examples/super_resolution.py --card              # measure tconv's own weights, rewrite their card, show them

Better networks need more photographs, from Debian packages, and more time:

    x="python examples/super_resolution.py --packages --compile"    # fetches 170 MB once; or --packages FOLDER
    $x --steps 16000 -o runs/x2
    $x --steps 4000 -o runs/x3 --scale 3 --start runs/x2/last.pt
    $x --steps 12000 -o runs/large --channels 16 --layers 13 --start runs/x2/last.pt

A run that was killed goes on at its last checkpoint with the numbers of one that was not.
"""

from __future__ import annotations

import copy
import functools
import math
import sys
from pathlib import Path

import shared_parts.command_line  # noqa: F401  it has to be first
import numpy as np
import torch
from matplotlib.figure import Figure
from shared_parts import training
from shared_parts.debian_packages import CACHE, fetch
from shared_parts.report import Result, checksum
from shared_parts.side_by_side import amount, parser, positive
from super_resolution_parts.networks import border_of, detail_of, grow, network, prepared, save, start_of
from super_resolution_parts.photographs import HELD_OUT, PACKAGES, Data, training_files
from super_resolution_parts.scores import digest, rivals, show, write_card
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import tconv.torch

WEIGHTS = Path(__file__).parents[1] / "src/tconv/models/data"
QUICK = {"output": Path("runs/super-resolution-quick"), "steps": 200, "layers": 4, "batch": 8, "patch": 32}
QUICK |= {"ema": 0.99, "every": 100}
QUICK_GAIN = 0.3
"""Least gain of --quick over bicubic interpolation, in dB, as the mean over scikit-image's held-out pictures."""
RECIPE = ("scale", "layers", "channels", "batch", "patch", "lr", "ema", "late", "artificial", "seed")
RECIPE += ("compile", "threads")
"""The options that determine the weights, beside the pictures, the start, the processes and the steps."""

# -- training --------------------------------------------------------------------------------------------------------


class Samples:
    """Patches of the training pictures; those of a step depend on the seed and the step alone.

    With `artificial`, the first of a batch is noise or dots, and this is its weight in the loss.
    """

    def __init__(self, pairs, scale, border, patch, batch, seed, artificial=0):
        # A picture's own edges are seen as they will be at inference: repeated outwards.
        self.pairs = [(np.pad(luma, border, mode="edge"), detail) for luma, detail in pairs if min(luma.shape) >= patch]
        if not self.pairs:
            raise SystemExit(f"no picture has {patch} x {patch} small pixels. Write a smaller --patch")
        area = np.array([detail.size for _, detail in self.pairs])
        self.odds, self.scale, self.border = area / area.sum(), scale, border
        self.patch, self.batch, self.seed, self.artificial = patch, batch, seed, artificial

    def __call__(self, step, rank=0, world=1):
        """Return this process's share of a batch.

        That is luma [n, 1, p + 2*border, ...], detail [n, 1, s*p, ...] and weight [n].
        """
        rng = np.random.default_rng([self.seed, step])
        drawn = [self._draw(rng) for _ in range(self.batch)]
        weight = torch.ones(self.batch)
        if self.artificial:
            drawn[0], weight[0] = self._artificial(rng), self.artificial
        sides = (np.stack(side)[:, None].astype(np.float32) for side in zip(*drawn[rank::world], strict=True))
        return *map(torch.from_numpy, sides), weight[rank::world]

    def _draw(self, rng):
        """Return the one of two random patches with more detail: smooth ones, of which there are many, teach little."""
        luma, detail = max((self._patch(rng) for _ in range(2)), key=lambda pair: float(np.abs(pair[1]).mean()))
        turns, mirrored = rng.integers(4), rng.integers(2)
        return tuple(np.rot90(side[:, ::-1] if mirrored else side, turns) for side in (luma, detail))

    def _artificial(self, rng):
        """Return white noise, or dots on one grey, without detail: where nothing is to be restored, all stays in place.

        Photographs have neither. A network that saw these alone may answer a dot beside it, and noise with more of it.
        """
        around = self.patch + 2 * self.border
        luma = rng.random((around, around))
        if rng.integers(2):
            low, high = np.sort(rng.random(2))
            luma = low + (high - low) * luma
        else:
            ground = rng.random() * rng.integers(2)  # half of them black
            luma = np.where(rng.random(luma.shape) < 1 / 60, luma, ground)
        return luma, np.zeros([self.scale * self.patch] * 2)

    def _patch(self, rng):
        s, p, around = self.scale, self.patch, self.patch + 2 * self.border
        luma, detail = self.pairs[rng.choice(len(self.pairs), p=self.odds)]
        y, x = (rng.integers(n - around + 1) for n in luma.shape)
        patch = detail[s * y : s * (y + p), s * x : s * (x + p)]
        return luma[y : y + around, x : x + around], patch.astype(np.float32)


def validate(net, pairs, scale):
    """Return the mean gain in PSNR over bicubic interpolation, in dB, and the mean PSNR, of the validation pictures."""
    psnr = []
    for luma, detail in pairs:
        inner = np.s_[scale:-scale, scale:-scale]
        errors = detail[inner].astype(np.float32), (detail - detail_of(net, luma))[inner]
        psnr.append([-10 * math.log10(float(np.mean(error.astype(np.float64) ** 2))) for error in errors])
    before, after = np.mean(psnr, 0).tolist()
    return after - before, after


def loss_of(error, late, weight=1):
    """Return Charbonnier's smooth absolute error, which outliers do not dominate; late, what the PSNR is made of.

    That is the mean logarithm of each patch's squared error: a patch that is nearly right counts as much as another.
    `weight` is that of each patch [n].
    """
    if late:
        return 0.01 * (weight * torch.log(error.square().mean((1, 2, 3)) + 1e-5)).mean()
    return (weight * torch.sqrt(error.square() + 1e-6).mean((1, 2, 3))).mean()


def train(recipe, folder, show, *, data, options, share):
    """Train a network and return it with the history of its validation, and how its steps were ended."""
    torch.manual_seed(recipe["seed"])
    net = prepared(recipe, options.compile)
    if options.start:
        grow(net, start_of(options.start))
    mean = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(recipe["ema"]))
    optimiser = torch.optim.Adam(net.parameters(), recipe["lr"])
    sides = recipe["scale"], border_of(net), recipe["patch"], recipe["batch"]
    samples, steps = Samples(data.training, *sides, recipe["seed"], recipe["artificial"]), options.steps
    forward = training.wrap(net)
    if options.compile:
        forward = torch.compile(forward)
    latest = ""

    def step(i):
        luma, detail, weight = samples(i, *share)
        training.set_rate(optimiser, training.cosine(i, steps, recipe["lr"], longest_rise=200, least=0.01))
        loss = loss_of(forward(luma) - detail, i >= recipe["late"] * steps, weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        mean.update_parameters(net)
        return loss.item()

    def measure(done):
        nonlocal latest
        gain, psnr = validate(mean.module, data.validation, recipe["scale"])
        latest = f", validation {gain:+.3f} dB on bicubic"
        return {"validation_psnr": psnr, "validation_gain": gain}

    def tell(words, done, total):
        show(words + latest, done, total)

    parts, about = {"net": net, "mean": mean, "optimiser": optimiser}, {"every": options.every, "measure": measure}
    fitted = training.fit(parts, step, steps, folder / "last.pt", recipe, **about, show=tell)
    return {"net": mean.module, "history": fitted.history, "seconds": fitted.seconds, "ends": fitted.ends}


def times_per_step(recipe, compiled, rounds):
    """Return the time of a training step with stock PyTorch's layers and with this example's, in turns.

    PyTorch's own are timed with channels last, and compiled where the example's are, too.
    """
    net = network(recipe["scale"], recipe["layers"], recipe["channels"])
    small, large = recipe["patch"] + 2 * border_of(net), recipe["patch"] * recipe["scale"]
    luma, detail = (torch.rand(recipe["batch"], 1, side, side) for side in (small, large))

    def stepper(net, compiled):
        optimiser = torch.optim.Adam(net.parameters(), 1e-6)
        forward = torch.compile(net) if compiled else net

        def step():
            loss = loss_of(forward(luma) - detail, False)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

        return step

    stock = copy.deepcopy(net)
    tconv.torch.restore(stock)
    calls = {"stock PyTorch": stepper(stock, False)}
    for also in (False, True)[: 1 + compiled]:
        same = copy.deepcopy(stock).to(memory_format=torch.channels_last)
        calls[f"stock PyTorch, channels last{', compiled' * also}"] = stepper(same, also)
    calls["this example"] = stepper(prepared(recipe, compiled), compiled)
    return training.step_times(calls, rounds)


# -- the result ------------------------------------------------------------------------------------------------------


def write_result(result, recipe, run, weights, options):
    """Score the written weight file on the held-out pictures and write the folder's page; return its gain in dB."""
    scale = recipe["scale"]
    methods = {**rivals(scale), "this run": str(weights)}
    result.text(
        f"{options.steps} steps of {recipe['batch']} patches in {run['seconds'] / 60:.1f} minutes; {weights.name} has "
        f"{weights.stat().st_size} bytes. No training and no choice has used the photographs of the scores."
    )
    print("the scores of the held-out pictures ...", flush=True)
    mean = show(result, methods, scale, ["scikit-image"] if options.quick else HELD_OUT)["mean"]
    result.heading("Training")
    if run["history"]:
        result.picture("validation", curve(run["history"]), "Gain on bicubic interpolation, of the validation pictures")
    print("the time of a training step, in turns with stock PyTorch ...", flush=True)
    times = times_per_step(recipe, options.compile, 3 if options.quick else 9)
    result.table(
        f"Time per step, {times['threads']} thread{'s' * (times['threads'] != 1)}",
        [
            {"layers": name, "ms": f"{1e3 * seconds:.0f}", "stock / this": f"{times['ratio'].get(name, 1):.2f}"}
            for name, seconds in times["seconds"].items()
        ],
    )
    result.figures(history=run["history"], step_times=times, seconds=run["seconds"], ends=run["ends"])
    return mean["this run"][0] - mean["bicubic"][0]


def curve(history):
    """Return a figure of the validation pictures' gain on bicubic interpolation after so many steps."""
    figure = Figure((6, 3))
    axes = figure.subplots()
    axes.plot([each["step"] for each in history], [each["validation_gain"] for each in history], marker=".")
    axes.set_xlabel("step")
    axes.set_ylabel("dB")
    return figure


def options_of(arguments):
    """Return the options; those of --quick hold where nothing else is written."""
    options = parser(__doc__, "runs/x2", 5000)
    add = options.add_argument
    add("--folder", type=Path, dest="output", help="another name of -o")
    add("--scale", type=int, default=2, choices=[2, 3, 4], help="how many times larger (2)")
    words = "more photographs: of Debian packages that are fetched, or unpacked in FOLDER; else scikit-image's alone"
    add("--packages", type=Path, nargs="?", const=CACHE, metavar="FOLDER", help=words)
    add("--start", type=Path, help="last.pt or weight file of another run: this one starts as its network")
    add("--out", type=Path, help="weight file to write (photo_x<scale>.safetensors in the folder)")
    add("--layers", type=positive, default=12, help="3 x 3 convolutions between the first and the last layer (12)")
    add("--channels", type=positive, default=12, help="of each layer but the last (12)")
    add("--batch", type=positive, default=16, help="patches of a step, of all processes together (16)")
    add("--patch", type=positive, default=48, help="their side, in small pixels (48)")
    add("--lr", type=amount, default=2e-3, help="highest learning rate (0.002)")
    add("--ema", type=amount, default=0.999, help="decay of the moving average of the weights (0.999)")
    add("--late", type=amount, default=1.0, help="part of the steps after which the loss is the PSNR's (1: never)")
    words = "weight in the loss of a patch of each batch that is noise or dots, without detail (0: none)"
    add("--artificial", type=amount, default=0.0, help=words)
    add("--compile", action="store_true", help="let torch.compile fuse the layers: faster, after a minute")
    add("--card", action="store_true", help="only measure tconv's own weights again, rewrite their card, and show them")
    given = options.parse_args(arguments)
    options.set_defaults(output=Path("runs/card" if given.card else f"runs/x{given.scale}"))
    if given.quick:
        options.set_defaults(**QUICK)
    return options.parse_args(arguments)


def main(arguments=None):
    """Train, write the weights, measure them."""
    options = options_of(arguments)
    torch.set_num_threads(options.threads)
    if options.card:
        result = Result(options.output, "The networks of photographs of tconv", {"weights": write_card(WEIGHTS)})
        show(result, rivals(2), 2, HELD_OUT)
        return result.finish()
    share = training.start_processes(options.batch)
    try:
        start = digest(options.start) if options.start else None
    except OSError as error:
        raise SystemExit(f"{options.start} cannot be read: {error.strerror}. Write --start with another file") from None
    s, own = options.scale, {name: getattr(options, name) for name in RECIPE}
    with training.first_process_first():
        if options.packages == CACHE:
            fetch(PACKAGES)
        pictures = checksum(path.read_bytes() for *_, path in training_files(options.packages))
        recipe = {**own, "start": start, "processes": share.world, "data": pictures}
        result = Result(options.output, f"Photographs {s} times larger", recipe) if share.rank == 0 else None
        data = Data(options.output / f"pairs_x{s}.npz", s, options.packages)
    function = functools.partial(train, data=data, options=options, share=share)
    (run,) = training.spread(function, [{"name": f"x{s}", **recipe}], options.output, 1, options.threads)
    if not training.first_alone():
        return None
    out = options.out or options.output / f"photo_x{s}.safetensors"
    words = f"{options.steps} steps of {options.batch} patches, {run['seconds'] / 60:.0f} minutes"
    save(out, run["net"], s, {**recipe, "ends": run["ends"], "words": words})
    gain = write_result(result, recipe, run, out, options)
    print(f"wrote {out}: {words}; {gain:+.2f} dB from bicubic interpolation")
    short = f"the network is {gain:+.2f} dB from bicubic interpolation; at least {QUICK_GAIN:+.2f} dB is needed"
    return result.finish([short] if options.quick and gain < QUICK_GAIN else [])


if __name__ == "__main__":
    sys.exit(main())
