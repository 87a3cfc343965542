"""Networks of files on held-out photographs: work, quality beside bicubic interpolation, and time.

    python benchmarks/network_quality.py NETWORK [NETWORK ...]

NETWORK is a file that `tconv.models.load` reads. The pictures are those of scikit-image that no training of tconv's own
networks has used (`examples/photographs.py`), shrunk by Pillow's bicubic filter. PSNR and SSIM are of the luma, as
`tconv upsample` prints them. Prints a Markdown table of means.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

import photographs

import tconv
from tconv.upsampling.metrics import psnr, ssim


def main(files: list[str]) -> None:
    """Print a row for each network."""
    print("| network | scale | convolutions | multiply-adds per pixel | network, dB / SSIM | bicubic, dB / SSIM | s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for file in files:
        model = tconv.models.load(file)
        scores: dict[str, list[tuple[float, float]]] = {"network": [], "bicubic": []}
        seconds = 0.0
        for name in photographs.HELD_OUT["scikit-image"]:
            picture = photographs.read(photographs.path_of("scikit-image", name))
            large, small = photographs.shrink(picture, model.scale) if model.scale > 1 else (picture, picture)
            start = time.perf_counter()
            result = tconv.upsample(small, model.scale, weights=model, check=False)
            seconds += time.perf_counter() - start
            results = {"network": result, "bicubic": tconv.upsample(small, model.scale, kernel="bicubic")}
            for method, each in results.items():
                pair = [np.moveaxis(pixels, 2, 0) for pixels in (large, each)]
                scores[method].append((psnr(*pair), ssim(*pair)))
        problems = model.network.problems((256, 256))
        work = sum(problem.macs.exact for problem in problems) / 256**2
        means = [" / ".join(f"{mean:.4g}" for mean in np.mean(scores[method], 0)) for method in scores]
        title = [Path(file).stem, str(model.scale), str(len(problems)), f"{work:,.0f}"]
        print("|", " | ".join([*title, *means, f"{seconds:.2f}"]), "|")


if __name__ == "__main__":
    main(sys.argv[1:])
