"""`tconv draw`: a picture or an animation of one transposed convolution, or an encoder-decoder, in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tconv.cli.array_files import files_in_words
from tconv.cli.drawings import ANIMATED_ENDINGS, ArchitectureOptions, Contents, drawing_of
from tconv.cli.layer_options import LayerOptions, Sizes
from tconv.io.output_files import NewFile, numbered


def run(  # noqa: D417
    name: str,
    /,
    *,
    layer: LayerOptions | None = None,
    x: Path | None = None,
    weight: Path | None = None,
    at: Sizes = None,
    channels: Sizes = None,
    levels: ArchitectureOptions | None = None,
    theme: str = "light",
    animate: Annotated[bool, Parameter(negative="")] = False,
    seconds: float | None = None,
    width: int | None = None,
    file: Annotated[Path | None, Parameter(name=["-o", "--file"])] = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Draw a transposed convolution: tconv draw scatter --kernel 3 --stride 2 --padding 1 -o scatter.svg.

    Pictures: scatter (each input element paints its kernel), gather (what one output element sums), matrix, phases,
    overlap, padding (what each framework removes), channels; architecture (sizes down and up a U-Net, of
    --kernel 2 --stride 2 unless given). With --animate, or a name that ends in .gif or .mp4: scatter, gather and
    zero-insertion.

    Parameters
    ----------
    name
        Picture: scatter, gather, matrix, phases, overlap, padding, channels, architecture, zero-insertion.
    x
        Numbers of the input (.npy), instead of 1, 2, 3, ...
    weight
        Numbers of the kernel (.npy), or of a whole weight for channels, in the dialect's layout.
    at
        Of gather: the place in the output. Default: near the middle, where most is summed.
    channels
        Of channels: channels of input and output.
    theme
        light or dark.
    animate
        Write an animation: .svg, .gif, or .mp4 where ffmpeg is installed.
    seconds
        Of an animation: how long each step stays. Default 1.
    width
        Of .gif and .mp4: pixels across, 1920 for a projector. Default: 40 for each cell.
    file
        File to write; the ending decides the format: .svg, .png, .pdf, .gif, .mp4. Default: NAME.svg, or NAME-2.svg
        if it exists.
    overwrite
        Replace a file that exists.
    """
    animated = animate or (file is not None and file.suffix.lower() in ANIMATED_ENDINGS)
    contents = Contents(x, weight, at, channels, theme, seconds, width)
    with files_in_words(x=x, w=weight, weight=weight):
        drawing = drawing_of(name, layer or LayerOptions(), levels or ArchitectureOptions(), contents, animated)
        names = numbered(name, ".svg") if file is None else iter([file])
        ending = ".svg" if file is None else file.suffix.lower()
        drawing.refuse_ending(file or Path(f"{name}.svg"), ending)
        with NewFile(names, overwrite and file is not None, ", or --overwrite") as new:
            drawing.write(new, ending)
    print(f"wrote {new.path}")
    print(drawing.words)
