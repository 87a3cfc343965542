"""What the segmentation examples found: differences with intervals, tables, pictures, and the page of the results.

A run is (recipe, result): the recipe has "net", "up" and "seed", the result has the figures on the held-out scenes.
"""

from __future__ import annotations

import math

import numpy as np
from shared_parts.intervals import interval

import tconv
from segmentation_parts import pictures
from segmentation_parts.task import CLASSES, UPS

FIGURES = ["mean IoU", "mean IoU at a quarter", "boundary F", "outline F"]
"""The figures of a result that are compared."""
QUICK_BOUND = 0.15
"""Least mean IoU of the best network of --quick; to call every pixel background has 0.13."""


def groups_of(runs):
    """Return {net: {up: [result of each seed]}}."""
    groups = {}
    for recipe, result in runs:
        groups.setdefault(recipe["net"], {}).setdefault(recipe["up"], []).append(result)
    return groups


def summary_of(runs):
    """Return {net: {up: {figure: ...}}}: the values of all seeds, their mean and interval, and the difference.

    The difference is to the first way up of the network, seed by seed, because these runs share first weights and
    scenes. Each half width is that of the 95 % interval of Student's t over the seeds.
    """
    summary = {}
    for net, ups in groups_of(runs).items():
        for up, results in ups.items():
            for figure in (name for name in FIGURES if name in results[0]):
                values, base = ([each[figure] for each in some] for some in (results, ups[next(iter(ups))]))
                mean, half = interval(values)
                difference, its_half = interval(np.subtract(values, base))
                found = {"values": values, "mean": mean, "half width": half}
                found |= {"difference": difference, "half width of the difference": its_half}
                summary.setdefault(net, {}).setdefault(up, {})[figure] = found
    return summary


def points(mean, half, sign=""):
    """Return a figure times 100 and the half width of its interval, as text."""
    return f"{100 * mean:{sign}.1f}" + ("" if math.isnan(half) else f" ± {100 * half:.1f}")


def name_of(net, up):
    """Return the words for a network and its way up."""
    return f"{net}, {UPS[net][up]}"


def score_rows(runs):
    """Return the rows of the table of figures, in points."""
    rows = []
    for net, ups in summary_of(runs).items():
        for up, figures in ups.items():
            cells = {name: points(found["mean"], found["half width"]) for name, found in figures.items()}
            size = groups_of(runs)[net][up][0]["parameters"]
            rows.append({"network, way up": name_of(net, up), **cells, "parameters": str(size)})
    return rows


def difference_rows(runs):
    """Return the rows of the table of differences to the transposed convolution, in points."""
    return [
        {"network, way up": name_of(net, up)}
        | {name: points(f["difference"], f["half width of the difference"], "+") for name, f in figures.items()}
        for net, ups in summary_of(runs).items()
        for up, figures in list(ups.items())[1:]
    ]


def class_rows(runs):
    """Return the rows of the table of each class's IoU, in points, the mean over the seeds."""
    rows = []
    for net, ups in groups_of(runs).items():
        for up, results in ups.items():
            each = 100 * np.mean([result["IoU"] for result in results], 0)
            rows.append(
                {"network, way up": name_of(net, up)} | {n: f"{v:.1f}" for n, v in zip(CLASSES, each, strict=True)}
            )
    return rows


def time_rows(times):
    """Return the rows of the table of times."""
    rows = []
    for net, kinds in times.items():
        for kind, found in kinds.items():
            ((ours, ratio),), stock = found["ratio"].items(), next(iter(found["seconds"]))
            size = f"{found['scenes']} scenes" if "scenes" in found else "x".join(map(str, found["shape"]))
            milliseconds = [f"{1000 * found['seconds'][name]:.1f}" for name in (stock, ours)]
            row = dict(zip((f"{stock} [ms]", "tconv [ms]"), milliseconds, strict=True))
            rows.append({"network": f"{net}, {kind}, {size}", **row, "times as fast": f"{ratio:.2f}"})
    return rows


def one_seed(runs):
    """Return True if a way up was trained once, so that nothing has an interval."""
    return any(len(results) < 2 for ups in groups_of(runs).values() for results in ups.values())


def sentences(runs):
    """Return what surely differs from the first way up of a network, and what does not, in a sentence each.

    A difference whose interval holds 0 can be none; one of a single seed has no interval.
    """
    if one_seed(runs):
        return ["One seed each: nothing tells these differences from chance."]
    differing, alike = [], []
    for net, ups in summary_of(runs).items():
        base = UPS[net][next(iter(ups))]
        for up, figures in list(ups.items())[1:]:
            words, same = [], []
            for name, found in figures.items():
                mean, half = found["difference"], found["half width of the difference"]
                side = "higher" if mean > 0 else "lower"
                if abs(mean) > half:
                    words.append(f"{name} {points(abs(mean), half)} points {side}")
                else:
                    same.append(name)
            if words:
                differing.append(f"{name_of(net, up)}, against {base}: {', '.join(words)}")
            if same:
                alike.append(f"{name_of(net, up)} ({', '.join(same) if words else 'all figures'})")
    first = f"What surely differs: {'; '.join(differing)}." if differing else "No way up surely differs from the first."
    return [first, *([f"Not to be told apart from the first way up: {'; '.join(alike)}."] if alike else [])]


def sentence_of_steps(times):
    """Return how a training step's time changes with this package's layers; up to 5 % is called hardly."""
    steps = [kinds["training step"] for kinds in times.values()]
    ratios = [next(iter(step["ratio"].values())) for step in steps]
    stock, ours = steps[0]["seconds"]
    words = " to ".join(sorted({f"{ratio:.2f}" for ratio in (min(ratios), max(ratios))}))
    begin = (
        "The time of a training step hardly differs" if max(abs(r - 1) for r in ratios) <= 0.05 else "Training steps"
    )
    return f"{begin}: {words} times as fast with the layers of {ours} as with those of {stock}."


def meaning(runs):
    """Return what the figures of these runs are, and what their intervals say."""
    quarter = all("mean IoU at a quarter" in result for _, result in runs)
    return " ".join([MEANING, *([QUARTER] if quarter else []), DATA, *([] if one_seed(runs) else [INTERVALS])])


def some(split):
    """Return eight scenes of a split, and their labels."""
    return tuple(side[:: max(1, len(side) // 8)][:8] for side in split)


def write(result, runs, guesses, kernels, held_out, times, about):
    """Put tables, pictures and figures into the folder of the results, and return the best mean IoU.

    guesses: {(net, up): classes that the trained network of one seed predicts of `some` held-out scenes}.
    kernels: {up: (weight before training, after)} of the FCN, [classes, classes, 16, 16].
    held_out: Scenes and labels.
    times: What `times_of` measured, of each network.
    about: The description of the example; its second paragraph stands on the page.
    """
    images, labels = some(held_out)
    guesses = {name_of(*key): guess for key, guess in guesses.items()}
    kernels = {UPS["FCN"][up].split(", ")[1]: pair for up, pair in kernels.items()}
    boards = {
        start: [tconv.checkerboard(weight, stride=8, padding=4) for weight in pair] for start, pair in kernels.items()
    }
    curves = {
        net: {
            UPS[net][up]: [[(point["step"], point["mean IoU"]) for point in each["history"]] for each in results]
            for up, results in ups.items()
        }
        for net, ups in groups_of(runs).items()
    }
    patterns = [
        {"kernel of the FCN": start, "before training": f"{pair[0].score:.3f}", "after": f"{pair[1].score:.3f}"}
        for start, pair in boards.items()
    ]
    verdict, *alike = sentences(runs)
    result.text(about.split("\n\n")[1].split(" About")[0].replace("\n", " "))
    result.text(f"{verdict} {sentence_of_steps(times)}")
    once = one_seed(runs)
    spread = "one seed" if once else "mean over the seeds ± 95 % interval (Student's t)"
    result.table(f"Held-out scenes, in points: {spread}", score_rows(runs))
    if difference_rows(runs):
        spread = "one seed, in points" if once else "seed by seed, in points ± 95 % interval"
        result.table(f"Difference to the transposed convolution, {spread}", difference_rows(runs))
    result.text(*alike, meaning(runs))
    result.picture("predictions", pictures.predictions(images, labels, guesses), "Scenes, labels, and predictions.")
    result.picture("errors", pictures.errors(images, labels, guesses), "The same scenes: wrong pixels are red.")
    each = "" if once else ", a line for each seed"
    result.picture("learning", pictures.learning(curves), f"Mean IoU on the validation scenes over the steps{each}.")
    result.table("IoU of each class, in points", class_rows(runs))
    result.heading("What training did to the kernel")
    result.picture("kernel", pictures.kernels(kernels, boards), KERNELS)
    result.table("Checkerboard: share of a pattern in the answer to constant inputs", patterns)
    result.heading("Time")
    threads = next(iter(times.values()))["inference"]["threads"]
    result.table(f"A training step, and inference after accelerate, {threads} thread(s)", time_rows(times))
    scores = {start: [board.score for board in pair] for start, pair in boards.items()}
    known = [{"recipe": recipe, **found} for recipe, found in runs]
    result.figures(summary=summary_of(runs), runs=known, checkerboard=scores, times=times)
    return max(figures["mean IoU"]["mean"] for ups in summary_of(runs).values() for figures in ups.values())


def shortfalls(best):
    """Return what the best mean IoU of --quick falls short of, as sentences."""
    return [f"the best mean IoU is {best:.3f}; at least {QUICK_BOUND} is needed"] if best < QUICK_BOUND else []


MEANING = (
    "Mean IoU: intersection over union over all pixels, the mean over the classes, with the background. Boundary F: "
    "precision and recall of a class's boundary within 0.75 % of the diagonal (Csurka et al. 2013), the mean over the "
    "classes and the scenes. Outline F: the same of all that is not background, whatever its class."
)
QUARTER = (
    "Mean IoU at a quarter: that of the network as it was after a quarter of the steps, when the learning rate is "
    "still near its highest."
)
DATA = "All runs see the same few cut-outs and photographs."
INTERVALS = "An interval says what other seeds would do, not other pictures, and of many 95 % intervals some are wrong."
KERNELS = (
    "The FCN's kernel from a class to itself, the mean over the classes; its frequency response; and the gain of its "
    "8 x 8 phases for a constant input. Each before and after training."
)
