"""`tconv explore`: the explorer's page in the browser, or in a file, at the settings of the options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tconv.cli.array_files import bare_array
from tconv.cli.layer_options import LayerOptions, Sizes, channel_pair
from tconv.draw.explorer_page import explore, has_browser
from tconv.errors import FileError
from tconv.io.output_files import NewFile


def run(  # noqa: D417
    *,
    layer: LayerOptions | None = None,
    x: Path | None = None,
    weight: Path | None = None,
    channels: Sizes = None,
    file: Annotated[Path | None, Parameter(name=["-o", "--file"])] = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Open the explorer: tconv explore --kernel 3 --stride 2 --padding 1.

    One page without a network: paint, gather, zero insertion and the matrix move together, with your numbers. Its
    address holds all settings. Without a browser, or with -o, the page is a file that can be opened and sent anywhere.

    Parameters
    ----------
    x
        Numbers of the input (.npy), instead of 1, 2, 3, ...
    weight
        Numbers of the kernel (.npy), in the order in which the dialect stores the taps.
    channels
        Channels of input and output.
    file
        Write the page with these settings to this file (.html) instead of opening it.
    overwrite
        Replace a file that exists.
    """
    options = layer or LayerOptions()
    if options == LayerOptions() and x is None and weight is None and channels is None:
        options = LayerOptions(stride=[2])  # as the page without an address: kernels overlap and leave seams
    arrays = {name: bare_array(path) for name, path in (("x", x), ("w", weight)) if path is not None}
    shapes: dict[str, Any] = {
        name: arrays[array].shape for name, array in (("input", "x"), ("kernel", "w")) if array in arrays
    }
    chosen = options.layer(**shapes)
    sizes = {name: getattr(chosen, name) for name in ("input", "kernel") if name not in shapes}
    with options.in_words(len(chosen.kernel)):
        page = explore(**arrays, dialect=chosen.rules.name, channels=channel_pair(channels), **sizes, **chosen.native)
    if file is not None:
        if file.suffix.lower() not in (".html", ".htm"):
            raise FileError(f"{file} is no name of a page. Write -o {file.with_suffix('.html')}")
        with NewFile([file], overwrite, ", or --overwrite") as new:
            new.file.write(page.page.encode())
        print(
            f"wrote {new.path}\nIt needs no network. Open it in a browser; its address is the settings: {page.address}"
        )
        return
    if has_browser() and page.open():
        print(f"opened {page.link}")
        return
    print(
        f"there is no browser here. Open this address in one: {page.link}\n"
        "or write a page that can be copied: tconv explore ... -o page.html"
    )
