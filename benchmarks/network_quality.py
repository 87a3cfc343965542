"""Networks of files on held-out photographs: work, quality beside bicubic interpolation, and time.

    python benchmarks/network_quality.py NETWORK [NETWORK ...]
    python benchmarks/network_quality.py --card [-o RESULT.json] NETWORK [NETWORK ...]

NETWORK is a file that `tconv.models.load` reads, or `photo` or `photo-large`, which come with tconv. The pictures are
those of scikit-image that no training of tconv's own networks has used
(`examples/super_resolution_parts/photographs.py`), shrunk by Pillow's bicubic filter. PSNR and SSIM are of the luma, as
`tconv upsample` prints them. `--card` takes scikit-learn's two, too, and measures as the model card does. Prints a
Markdown table of means; RESULT.json has each picture's scores.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from shared_parts.picture_files import path_of, read
from super_resolution_parts import photographs

import tconv
from tconv.upsampling import learned
from tconv.upsampling.metrics import psnr, ssim


def as_command(truth: np.ndarray, picture: np.ndarray, scale: int) -> tuple[float, float]:
    """Return PSNR and SSIM of whole pictures, as the command prints them."""
    pair = [np.moveaxis(pixels, 2, 0) for pixels in (truth, picture)]
    return psnr(*pair), ssim(*pair)


def measure(name: str, packages: list[str], metric: Any) -> dict[str, Any]:
    """Return the work and the seconds of a network, and {picture: {method: (PSNR, SSIM)}}."""
    model = learned.from_name(name, 2).model if name in learned.NAMES else tconv.models.load(name)
    scores: dict[str, dict[str, tuple[float, float]]] = {}
    seconds = 0.0
    for package in packages:
        for file in photographs.HELD_OUT[package]:
            picture = read(path_of(package, file))
            large, small = photographs.shrink(picture, model.scale) if model.scale > 1 else (picture, picture)
            start = time.perf_counter()
            result = tconv.upsample(small, model.scale, weights=model, check=False)
            seconds += time.perf_counter() - start
            results = {"network": result, "bicubic": tconv.upsample(small, model.scale, kernel="bicubic")}
            scores[Path(file).stem] = {how: metric(large, each, model.scale) for how, each in results.items()}
    problems = model.network.problems((256, 256))
    work = sum(problem.macs.exact for problem in problems) / 256**2
    facts = {"network": Path(name).stem, "scale": model.scale, "convolutions": len(problems)}
    return facts | {"multiply_adds_per_pixel": work, "seconds": seconds, "scores": scores}


def row(entry: dict[str, Any]) -> str:
    """Return a network's row of the table."""
    pictures = entry["scores"].values()
    means = [np.mean([scores[how] for scores in pictures], 0) for how in ("network", "bicubic")]
    title = [entry["network"], str(entry["scale"]), str(entry["convolutions"])]
    cells = [f"{entry['multiply_adds_per_pixel']:,.0f}", *(f"{a:.4g} / {b:.4g}" for a, b in means)]
    return f"| {' | '.join([*title, *cells, format(entry['seconds'], '.2f')])} |"


def main() -> int:
    """Print a row for each network, and write the scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    parser.add_argument("--card", action="store_true", help="all six pictures, measured as in the model card")
    parser.add_argument("-o", "--output", type=Path, help="file of the scores, which must be new")
    options = parser.parse_args()
    if options.output and options.output.exists():
        parser.error(f"{options.output} exists. Choose a new name")
    packages, metric = (
        (list(photographs.HELD_OUT), photographs.measure) if options.card else (["scikit-image"], as_command)
    )
    print("| network | scale | convolutions | multiply-adds per pixel | network, dB / SSIM | bicubic, dB / SSIM | s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    entries = []
    for name in options.networks:
        entries.append(measure(name, packages, metric))
        print(row(entries[-1]), flush=True)
    if options.output:
        versions = {name: version(name) for name in ("numpy", "pillow", "scikit-image", "tconv")}
        facts = {"date": datetime.now(UTC).isoformat(timespec="minutes"), "versions": versions}
        facts |= {"measured": "as in the model card" if options.card else "as the command prints", "networks": entries}
        options.output.write_text(json.dumps(facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
