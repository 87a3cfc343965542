"""`tconv explore`: the explorer's page in the browser, or in a file, at the settings of the options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tconv.cli.array_files import bare_array, files_in_words, read_array
from tconv.cli.explain_options import native_options
from tconv.cli.layer_options import LayerOptions, Sizes, channel_pair, notes_of
from tconv.dialects import dialect as find_dialect
from tconv.draw.explorer_page import explore, has_browser
from tconv.draw.whole_weight import read_whole_weight
from tconv.errors import ArgumentError, FileError
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
        Numbers of the kernel (.npy), in the order in which the dialect stores the taps, or a layer's whole weight in
        the dialect's layout.
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
    arrays: dict[str, Any] = {}
    shapes: dict[str, Any] = {}
    with files_in_words(x=x, w=weight):
        if x is not None:
            arrays["x"] = bare_array(x)
            shapes["input"] = arrays["x"].shape
        if weight is not None:
            array = read_array(weight)
            if array.ndim > 2 and channels is not None:
                raise ArgumentError(
                    "--channels was given beside --weight, which has its own. Write it without --channels"
                )
            arrays["w"] = array if array.ndim > 2 else bare_array(weight)
            shapes["kernel"] = _kernel_of(arrays["w"], options)
        chosen = options.layer(**shapes)
        sizes = {name: getattr(chosen, name) for name in ("input", "kernel") if name not in shapes}
        with options.in_words(len(chosen.kernel)):
            page = explore(
                **arrays, dialect=chosen.rules.name, channels=channel_pair(channels), **sizes, **chosen.native
            )
    notes = "".join(f"\n{note}" for note in notes_of(chosen, bool(arrays)))
    if file is not None:
        if file.suffix.lower() not in (".html", ".htm"):
            name = file.with_suffix(".html") if file.name else "page.html"
            raise FileError(f"{file} is no name of a page. Write -o {name}")
        with NewFile([file], overwrite, ", or --overwrite") as new:
            new.file.write(page.page.encode())
        print(
            f"wrote {new.path}\nIt needs no network. Open it in a browser; its address is the settings: {page.address}"
            f"{notes}"
        )
        return
    if has_browser() and page.open():
        print(f"opened {page.link}{notes}")
        return
    print(
        f"there is no browser here. Open this address in one: {page.link}\n"
        f"or write a page that can be copied: tconv explore ... -o page.html{notes}"
    )


def _kernel_of(array: Any, options: LayerOptions) -> tuple[int, ...]:
    """Return the sizes of the kernel in an array: its taps alone, or the weight of a whole layer in the dialect."""
    rules = find_dialect(options.dialect)
    native = {"groups": options.groups} | native_options(options.option)
    whole = read_whole_weight(array, rules, native)
    return tuple(array.shape) if whole is None else whole.kernel
