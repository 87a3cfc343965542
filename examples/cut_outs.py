"""Count the cut-outs and the scenery that the segmentation examples make their scenes of, and draw a sheet of scenes.

Where they come from, and how a scene is made of them, is in segmentation_parts/cut_outs.py:

    python examples/cut_outs.py --sheet sheet.png       # fetches the packages once (320 MB), and shows some scenes

Without --sheet the numbers are printed alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from segmentation_parts.cut_outs import CACHE, CLASSES, COLOURS, load, scenes


def main(arguments=None):
    """Fetch what is missing, print how many cut-outs each split has, and draw a sheet of scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, help="folder of unpacked Debian packages; without it they are fetched")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"folder of what is shrunk, once ({CACHE})")
    parser.add_argument("--sheet", type=Path, help="picture to write: 8 scenes of each split and their labels")
    options = parser.parse_args(arguments)
    splits, rows = load(options.packages, options.cache), []
    for name, split in splits.items():
        counts = np.bincount(split.classes, minlength=len(CLASSES))[1:]
        words = ", ".join(f"{count} {kind}" for count, kind in zip(counts, list(CLASSES)[1:], strict=True))
        print(f"{name}: {words}; {len(split.scenery)} photographs of scenery")
        images, labels = scenes(split, 0, 8)
        rows += [np.hstack(images), np.hstack(COLOURS[labels])]
    if options.sheet:
        Image.fromarray(np.vstack(rows)).save(options.sheet)


if __name__ == "__main__":
    sys.exit(main())
