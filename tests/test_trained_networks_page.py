"""The page of trained networks: its tables are those of the kept results, and so are the figures of its sentences."""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import trained_tables  # noqa: E402

PAGE = trained_tables.PAGE.read_text(encoding="utf-8")


def result(name):
    return json.loads((ROOT / "benchmarks/results" / f"2026-11-30-xeon-2-cores-{name}.json").read_text())


def psnr(name):
    """Return the mean PSNR of each network of a result file."""
    found = {
        each["network"]: [score["network"][0] for score in each["scores"].values()] for each in result(name)["networks"]
    }
    return {network: sum(values) / len(values) for network, values in found.items()}


def test_the_tables_are_those_of_the_kept_results():
    assert trained_tables.with_tables(PAGE) == PAGE, "run python docs/trained_tables.py"
    assert len(trained_tables.BLOCK.findall(PAGE)) == PAGE.count("<!-- table: ") >= 6


def test_the_sentences_have_the_figures_of_the_kept_results():
    text = " ".join(PAGE.split())
    runs, ratios = result("generation")["runs"], result("generation")["ratios"]
    last, together = (ratios[name] for name in ("last layer's weights", "all layers' weights"))
    assert f"its last layer has {last:.2f} of the energy" in text
    assert f"three layers together have {together:.2f}" in text
    means = {}
    for run in runs:
        means.setdefault(run["of"], []).append(run["after"]["distance"])
    means = {name: sum(values) / len(values) for name, values in means.items()}
    others = [value for name, value in means.items() if name != "resize"]
    assert f"Fréchet distance of {means['resize']:.0f} against {min(others):.0f} to {max(others):.0f}" in text

    differences = result("segmentation")["summary"]["FCN"]
    default, nearest = (differences[up]["mean IoU"]["difference"] for up in ("default", "nearest"))
    assert f"the bilinear start is {-100 * default:.1f} points above PyTorch's start" in text
    assert f"and {-100 * nearest:.1f} above nearest interpolation" in text
    quarter = differences["default"]["mean IoU at a quarter"]
    assert (
        f"{-100 * quarter['difference']:.1f} with an interval of {100 * quarter['half width of the difference']:.1f}"
        in text
    )

    before, after = psnr("photo-gap"), psnr("photo-quality")
    (closed,) = re.findall(r"it closes (\d+) %", text)
    gap = after["WAIFU2X_PHOTO_UP2X"] - before["photo"]
    assert int(closed) == round(100 * (after["photo-large"] - before["photo"]) / gap)
