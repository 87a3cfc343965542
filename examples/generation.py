"""Train generators of small pictures that differ in the start and the kernel of their transposed convolutions.

A DCGAN makes 32 x 32 pictures from 64 numbers. Whether its layers leave a checkerboard is measured, in the weights and
in the pictures, before and after training, and how near the pictures come to held-out ones. Fifteen runs take 21
minutes of processor time, about 11 minutes on two cores; no GPU is needed, and a Debian package of 31 MB is fetched:

    pip install ".[test]"
    python examples/generation.py                       # photographs of clothes; then open runs/generation/page.html
    python examples/generation.py --pictures digits     # handwritten digits
    python examples/generation.py --quick               # a tiny run on digits; exit code 1 if nothing was learned
    torchrun --nproc-per-node 2 examples/generation.py  # each run data-parallel

A run that was killed goes on at its last checkpoint, with the same numbers.
"""

from __future__ import annotations

import copy
import sys
from functools import partial
from pathlib import Path

import shared_parts.command_line  # noqa: F401  it has to be first
import numpy as np
import torch
from generation_parts.adversaries import (
    STARTS,
    Adversaries,
    Classifier,
    as_input,
    classifier_of,
    draw,
    generator_of,
    in_parts,
    numbers_of,
    rate,
    settled,
    upsamplings,
)
from generation_parts.labelled_pictures import SOURCES, load, spaced
from generation_parts.page import CURVES, EXPLANATION, closest, curves, ratios, sentence, spectra, table_of, tiles
from generation_parts.scores import fixed_spectrum, frechet, nearest, pattern_share, peaks, spectrum
from shared_parts import report, training
from torch import nn

import tconv.torch

PERIODS = (2, 8)
"""Periods in pixels of the last layer's checkerboard, and of those of all three layers with stride 2."""
QUICK = {"pictures": "digits", "starts": ["default-5", "icnr-5"], "runs": 1, "steps": 200, "every": 100, "batch": 16}
QUICK |= {
    "rate": 2e-3,
    "channels": 16,
    "samples": 1000,
    "jobs": 1,
    "rounds": 3,
    "output": Path("runs/generation-quick"),
}
QUICK_DISTANCE, QUICK_ACCURACY = 0.5, 0.85
"""Bounds of --quick: the Fréchet distance, as a part of the untrained generator's, and the classifier's accuracy."""


# -- scores ----------------------------------------------------------------------------------------------------------


class Reference:
    """Real pictures as generated ones are compared with: their features and spectra."""

    def __init__(self, classifier, pixels):
        self.classifier, self.pixels = classifier, pixels
        self.features = self.features_of(pixels)
        self.spectrum, self.fixed = spectrum(pixels), fixed_spectrum(pixels)

    def features_of(self, pixels):
        """Return the classifier's features of pictures, [N, 64]."""
        return in_parts(self.classifier.body, as_input(pixels)).numpy().astype(np.float64)

    def score(self, pixels):
        """Return `compare`, and how far the frequencies of the phases stand out of the pictures' spectrum."""
        power = spectrum(pixels)
        return {**self.compare(pixels), **{f"peaks {period}": peaks(power, period) for period in PERIODS}}

    def compare(self, pixels):
        """Return the Fréchet distance of pictures, and their checkerboards' energy less that of the real ones."""
        power, fixed = spectrum(pixels), fixed_spectrum(pixels)
        found = {"distance": frechet(self.features_of(pixels), self.features)}
        for period in PERIODS:
            for name, made, real in (("pattern", power, self.spectrum), ("fixed pattern", fixed, self.fixed)):
                share = pattern_share(made, power, period) - pattern_share(real, self.spectrum, period)
                found[f"{name} {period}"] = share
        return found


def untrained(recipe):
    """Return the generator that a run begins with."""
    z = numbers_of(np.random.default_rng([recipe["seed"], 0, 2]), 1000)
    return settled(Adversaries(recipe).generator, z)


def weight_energies(net):
    """Return the energy of the checkerboard of each layer with stride 2, and of the three together, as shares."""
    layers = upsamplings(net)
    if not layers:
        return [0.0] * 4  # repeated pixels are equal in all phases
    return [tconv.checkerboard(part).score ** 2 for part in (*layers, layers)]


def train(packages, classifier, share, recipe, folder, show):
    """Train one generator and return its figures, before and after; `training.spread` runs this in a process.

    packages: Folder of unpacked Debian packages.
    classifier: Checkpoint of the classifier, in the folder.
    share: This process's place among those of torchrun.
    """
    data, judge = load(recipe["pictures"], packages), classifier_of(folder / classifier)
    validation = Reference(judge, data.validation.pixels)
    pair, pixels = Adversaries(recipe), data.training.pixels
    z = numbers_of(np.random.default_rng([recipe["seed"], 0, 1]), recipe["samples"])

    def step(i):
        rng = np.random.default_rng([recipe["seed"], i])
        real = as_input(pixels[rng.integers(len(pixels), size=recipe["batch"])][share.rank :: share.world])
        for optimiser in pair.optimisers:
            training.set_rate(optimiser, rate(i, recipe["steps"], recipe["rate"]))
        return pair.step(real, numbers_of(rng, recipe["batch"])[share.rank :: share.world])

    def measure(_):
        return {**validation.compare(draw(pair.mean.module, z)), "weights": weight_energies(pair.mean.module)}

    held_out = Reference(judge, data.held_out.pixels)
    before = {**held_out.score(draw(untrained(recipe), z)), "weights": weight_energies(pair.generator)}
    path = folder / f"{recipe['name']}.pt"
    fitted = training.fit(
        pair.parts(), step, recipe["steps"], path, recipe, every=recipe["every"], measure=measure, show=show
    )
    made = draw(pair.mean.module, z)
    after = {**held_out.score(made), "weights": weight_energies(pair.mean.module)}
    after["nearest"] = float(np.median(nearest(made[:500], pixels)[1]))
    size = sum(each.numel() for each in pair.generator.parameters())
    about = {"history": fitted.history, "seconds": fitted.seconds, "parameters": size}
    return {"before": before, "after": after, **about}


def train_classifier(packages, recipe, folder, show):
    """Train the classifier on labelled training pictures, and return its accuracy on the held-out ones."""
    torch.manual_seed(recipe["seed"])
    data, net = load(recipe["pictures"], packages), Classifier()
    optimiser = torch.optim.Adam(net.parameters())

    def step(i):
        rng = np.random.default_rng([recipe["seed"], i])
        chosen = rng.integers(len(data.training.classes), size=64)
        training.set_rate(optimiser, rate(i, recipe["steps"], 3e-3))
        answer = net(as_input(data.training.pixels[chosen]))
        loss = nn.functional.cross_entropy(answer, torch.from_numpy(data.training.classes[chosen].astype(np.int64)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    parts = {"net": net, "optimiser": optimiser}
    training.fit(parts, step, recipe["steps"], folder / f"{recipe['name']}.pt", recipe, show=show)
    right = in_parts(net, as_input(data.held_out.pixels)).argmax(1).numpy() == data.held_out.classes
    return {"accuracy": float(right.mean())}


# -- time ------------------------------------------------------------------------------------------------------------


def times(recipe, threads, rounds):
    """Return the time per training step, and per batch of accelerated inference, against stock PyTorch."""
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    real, z = torch.rand(recipe["batch"], 1, 32, 32) * 2 - 1, numbers_of(rng, recipe["batch"])
    pairs = {"stock PyTorch": Adversaries(recipe, nn.ConvTranspose2d), "tconv": Adversaries(recipe)}
    steps = training.step_times({name: partial(pair.step, real, z) for name, pair in pairs.items()}, rounds)
    nets = {name: copy.deepcopy(pairs["stock PyTorch"].generator).eval() for name in pairs}
    with torch.inference_mode():
        tconv.torch.accelerate(nets["tconv"], z, fuse=True)
        inference = training.step_times({name: partial(net, z) for name, net in nets.items()}, rounds)
    return {"step": steps, "inference": inference}


# -- the page --------------------------------------------------------------------------------------------------------


def between(rng, count):
    """Return the numbers on the great circle from one picture to another: [count, 64, 1, 1]."""
    first, last = numbers_of(rng, 2).flatten(1)
    angle = torch.arccos(nn.functional.cosine_similarity(first, last, 0))
    part = torch.linspace(0, 1, count)[:, None]
    mixed = torch.sin((1 - part) * angle) * first + torch.sin(part * angle) * last
    return (mixed / torch.sin(angle))[:, :, None, None]


def show_pictures(result, data, recipes, folder):
    """Put pictures of the first run of each start on the page: samples, spectra, interpolations, nearest ones."""
    rng = np.random.default_rng(0)
    z = numbers_of(rng, 2000)
    paths = [numbers_of(rng, 0), *(between(rng, 16) for _ in range(4))]
    held_out = data.held_out.pixels
    result.picture("real", tiles(spaced(held_out, 64), 16), "Real pictures, held out")
    columns = {}
    for recipe in recipes:
        words, path = STARTS[recipe["of"]]["words"], folder / f"{recipe['name']}.pt"
        net = generator_of(path, recipe)
        made = draw(net, z)
        columns[words] = {"before": draw(untrained(recipe), z), "after": made}
        result.picture(f"samples-{recipe['of']}", tiles(made[:64], 16), f"Samples, not chosen: {words}")
        between_two = tiles(draw(net, torch.cat(paths)), 16)
        result.picture(f"between-{recipe['of']}", between_two, f"From one picture to another, four times: {words}")
        near = data.training.pixels[nearest(made[:16], data.training.pixels)[0]]
        caption = f"Samples, and below each the training picture nearest to it: {words}"
        result.picture(f"nearest-{recipe['of']}", tiles(np.concatenate([made[:16], near]), 16), caption)
    caption = (
        "Mean spectra as shares (decades, from 0.000001 to 0.1; cycles per pixel), and those of real pictures. "
        "A checkerboard is a point at a multiple of 1/2, 1/4 or 1/8"
    )
    columns["real pictures"] = {"to train on": spaced(data.training.pixels, 2000), "held out": spaced(held_out, 2000)}
    result.picture("spectra", spectra(columns), caption)


# -- the command line ------------------------------------------------------------------------------------------------


def options_of(arguments):
    parser = training.parser(__doc__, "runs/generation", 800)
    parser.set_defaults(every=200)
    add = parser.add_argument
    add("--pictures", choices=list(SOURCES), default="clothes", help="what is learned (clothes)")
    add("--packages", type=Path, help="folder of unpacked Debian packages; else they are fetched")
    add("--starts", nargs="+", choices=list(STARTS), default=list(STARTS), help="which generators (all)")
    add("--runs", type=training.positive, default=3, help="of each start, with one seed each (3)")
    add("--batch", type=training.positive, default=64, help="pictures of a step, of all processes together (64)")
    add("--channels", type=training.positive, default=32, help="of the generator's last hidden layer (32)")
    add("--rate", type=training.amount, default=1e-3, help="highest learning rate of both networks (0.001)")
    add("--samples", type=training.positive, default=5000, help="pictures that are drawn to be scored (5000)")
    add("--rounds", type=training.positive, default=15, help="of timing a step, of which the median counts (15)")
    options = parser.parse_args(arguments)
    if options.quick:
        parser.set_defaults(**QUICK)
        options = parser.parse_args(arguments)
    if options.samples < 2:
        raise SystemExit("--samples 1 is given; a Fréchet distance needs two or more. Write --samples 5000")
    return options


def recipes_of(options):
    """Return the recipe of every run: each start with each seed, the starts of one seed together."""
    names = ("pictures", "steps", "every", "batch", "channels", "rate", "samples")
    same = {name: getattr(options, name) for name in names} | {"ema": max(0.0, 1 - 10 / options.steps)}
    recipes = []
    for seed in range(options.seed, options.seed + options.runs):
        for of in options.starts:
            kernel, start = STARTS[of]["kernel"], STARTS[of]["start"]
            recipes.append({"name": f"{of}-{seed}", "of": of, "seed": seed, "kernel": kernel, "start": start, **same})
    return recipes


def main(arguments=None):
    """Train the classifier and all generators, measure them, and write the page."""
    options = options_of(arguments)
    share = training.start_processes(options.batch)
    recipes, folder = recipes_of(options), options.output
    with training.first_process_first():
        data = load(options.pictures, options.packages)
    pictures = report.checksum(array for part in data[:3] for array in part)
    same = {name: value for name, value in recipes[0].items() if name not in ("name", "of", "kernel", "start", "seed")}
    whole = {**same, "seed": options.seed, "runs": options.runs, "starts": options.starts, "processes": share.world}
    whole |= {"threads": options.threads, "data": pictures}
    result = report.Result(folder, "Generators and their checkerboards", whole) if share.rank == 0 else None
    judge = {"name": "classifier", "pictures": options.pictures, "seed": options.seed, "steps": min(800, options.steps)}
    (judged,) = training.spread(partial(train_classifier, options.packages), [judge], folder, 1, options.threads)
    task = partial(train, options.packages, "classifier.pt", share)
    done = training.spread(task, recipes, folder, options.jobs, options.threads)
    if not training.first_alone():
        return None
    print("the times of a training step and of inference, in turns with stock PyTorch ...", flush=True)
    took = {
        kernel: times({**recipes[0], "kernel": kernel, "start": "default"}, options.threads, options.rounds)
        for kernel in ([5] if options.quick else [5, 4])
    }
    result.figures(classifier=judged, runs=[{**r, **found} for r, found in zip(recipes, done, strict=True)], times=took)
    runs = {
        start: [found for r, found in zip(recipes, done, strict=True) if r["of"] == start] for start in options.starts
    }
    print("the scores of the held-out pictures ...", flush=True)
    ends = limits(data, Reference(classifier_of(folder / "classifier.pt"), data.held_out.pixels), options.samples)
    result.figures(limits=ends, ratios=ratios(runs))
    result.text(
        f"{SOURCES[options.pictures]}: {len(data.training.classes)} pictures to train on, "
        f"{len(data.validation.classes)} to choose with, {len(data.held_out.classes)} held out, which are compared "
        f"with. The classifier names {judged['accuracy']:.1%} of the held-out ones. Training pictures have a Fréchet "
        f"distance of {ends['training pictures']['distance']:.1f} from them, noise {ends['noise']['distance']:.0f}.",
        closest(runs),
    )
    result.table(
        "Fréchet distance, and energy of the checkerboard in percent, before → after training", table_of(runs, ends)
    )
    result.text(*EXPLANATION, *(sentence(*each) for each in ratios(runs).items()))
    result.picture("curves", curves(runs), CURVES)
    show_pictures(result, data, recipes[: len(options.starts)], folder)
    rows = [
        {
            "kernel": str(kernel),
            "what": what,
            **{name: f"{1000 * value:.1f} ms" for name, value in found["seconds"].items()},
        }
        | {"gain": f"{found['ratio']['tconv']:.2f}"}
        for kernel, each in took.items()
        for what, found in each.items()
    ]
    result.table("Time per training step, and per batch of accelerated inference", rows)
    print(report.markdown(table_of(runs, ends)), report.markdown(rows), sep="\n\n", end="\n\n")
    print(*(sentence(*each) for each in ratios(runs).items()), sep="\n")
    return result.finish(shortfalls(runs, judged) if options.quick else [])


def limits(data, reference, count):
    """Return the figures between which those of generated pictures are expected.

    Of training pictures, of noise, and of the held-out pictures themselves.
    """
    rng = np.random.default_rng(0)
    known = data.training.pixels[rng.permutation(len(data.training.pixels))[:count]]
    noise = rng.integers(0, 256, (count, *known.shape[1:]), np.uint8)
    found = {name: reference.score(pixels) for name, pixels in (("training pictures", known), ("noise", noise))}
    found["held-out pictures"] = reference.score(data.held_out.pixels)
    some = spaced(data.held_out.pixels, 500)
    found["held-out pictures"]["nearest"] = float(np.median(nearest(some, data.training.pixels)[1]))
    return found


def shortfalls(runs, judged):
    """Yield a sentence for each metric of --quick that does not pass its bound."""
    if judged["accuracy"] < QUICK_ACCURACY:
        yield f"the classifier's accuracy is {judged['accuracy']:.3f}; at least {QUICK_ACCURACY} is needed"
    for start, (run, *_) in runs.items():
        found, bound = run["after"]["distance"], QUICK_DISTANCE * run["before"]["distance"]
        if found > bound:
            yield f"{start}: the Fréchet distance is {found:.1f}; {bound:.1f} is the most allowed"


if __name__ == "__main__":
    sys.exit(main())
