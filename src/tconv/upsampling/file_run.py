"""Enlargement of one file into a new file.

The output appears whole or not at all, and replaces another file only if that is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from tconv._arrays import Array
from tconv.errors import ArgumentError, DtypeError, FileError
from tconv.io.output_files import NewFile, numbered
from tconv.upsampling.definition_check import CheckResult
from tconv.upsampling.image_checks import has_wide_integers
from tconv.upsampling.inputs import Batch, SampleInput, is_feature_file, open_input
from tconv.upsampling.option_names import Naming
from tconv.upsampling.resizing import Resizer
from tconv.upsampling.run import Run, Timed, refuse_large_file
from tconv.upsampling.upsampler import AnyUpsampler
from tconv.upsampling.upsampler_selection import Selection

FileIds = frozenset[tuple[int, int]]
"""Device and inode numbers of files, by which one file is known under all its names."""


def file_ids(paths: Iterable[Path]) -> FileIds:
    """Return the numbers of the files that exist."""
    ids = set()
    for path in paths:
        with suppress(OSError, ValueError):
            status = os.stat(path)
            ids.add((status.st_dev, status.st_ino))
    return frozenset(ids)


def refuse_url(text: str, name: str) -> None:
    """Raise ArgumentError for a URL, whose two slashes a Path would not keep."""
    if re.match(r"[a-z][a-z0-9+.-]+://", text, re.IGNORECASE):
        raise ArgumentError(f"{name} is {text}, and URLs are not read or written. Use a file on this machine")


def open_run(source: Path | None, selection: Selection, alpha: bool | None = None) -> Run:
    """Return the run of a file, or of the sample photograph for None; `alpha` as in `tconv.upsample`.

    Raises FileError, ArgumentError, ShapeError, DtypeError, TooLargeError, MissingExtraError.
    """
    if source is None:
        return _sample_run(selection)
    refuse_large_file(source, selection.naming)
    upsampler = selection.for_feature_maps(source) if is_feature_file(source) else selection.for_pictures()
    opened = open_input(source, upsampler.mixes, alpha)
    batches = list(opened.batches.values())
    return Run(opened, upsampler_for(source, selection, upsampler, batches, opened.notes, alpha), selection.naming)


def upsampler_for(
    source: object,
    selection: Selection,
    upsampler: AnyUpsampler,
    batches: list[Batch],
    notes: list[str],
    alpha: bool | None,
) -> AnyUpsampler:
    """Return the upsampler, or the interpolation of bands if nothing else was asked for; add what is noteworthy.

    `source` is named in messages. Raises DtypeError for pictures that a network does not take.
    """
    batch = batches[0]
    if batch.may_be_bands and alpha is None:
        notes.append(f"its file calls one sample alpha: {selection.naming.off('alpha')} if it is a band")
    if _is_learned(upsampler, batches) and selection.is_open and _has_bands(batch):
        upsampler = selection.for_feature_maps(source)
        notes.append(f"its bands are interpolated ({upsampler.name})")
    if _is_learned(upsampler, batches):
        _refuse_wide_integers(source, batch.values.dtype, selection.naming)
        if batch.values.dtype == np.float64:
            notes.append("the network computes in float32")
        if batch.values.dtype.kind == "i":  # heights, for example
            notes.append(f"{np.iinfo(batch.values.dtype).max} is taken for white")
    return upsampler


def _is_learned(upsampler: AnyUpsampler, batches: list[Batch]) -> bool:
    """Return True if a network runs on one of the arrays."""
    return any(upsampler.fitted(*batch.shape[2:]).learned for batch in batches)


def _has_bands(batch: Batch) -> bool:
    """Return True for channels that are neither grey nor red, green and blue, or not numbers of a picture."""
    return batch.bands or batch.values.dtype.kind == "c"


def _sample_run(selection: Selection) -> Run:
    """Return the run of the sample photograph, which is shrunk by the scale. Raises ArgumentError."""
    upsampler = selection.for_pictures()
    if isinstance(upsampler, Resizer):
        raise ArgumentError(
            f"{selection.option} was given without a picture; the photograph that comes with tconv is shrunk by a "
            f"whole number. Write {selection.naming.example('scale', 2)}, or a picture of your own"
        )
    return Run(SampleInput(int(upsampler.fitted(1, 1).scale)), upsampler, selection.naming)


def _refuse_wide_integers(path: object, dtype: np.dtype[Any], naming: Naming) -> None:
    """Raise DtypeError for a picture whose white a network does not know, and for complex numbers."""
    if dtype.kind == "c":
        raise DtypeError(
            f"{path} has samples of {dtype}, and networks compute with real numbers. Write "
            f"{naming.example('kernel', 'bicubic')}"
        )
    if has_wide_integers(dtype):
        raise DtypeError(
            f"{path} has samples of {dtype}, whose white is unknown to a network; 8 and 16 bits, and floats from 0 to "
            f"1, are usual. Write {naming.example('kernel', 'bicubic')}, or save the picture with 8 or 16 bits"
        )


def default_name(run: Run) -> tuple[str, str]:
    """Return stem and ending of the output that no name was given for."""
    channels = next(iter(run.shapes.values()))[1]
    return f"{run.source.stem}_{run.label}", run.source.default_ending(channels)


class FileRun:
    """A run whose result is written into a new file: opened on entering, in its place after leaving.

    The file is `output`; without it a default name in `folder`; without both a new numbered name in the current
    directory. On construction, raises FileError if `output` is a folder, a device or one of the `inputs`, or if its
    format cannot contain the result. On entering, raises FileError if the place cannot be written or the name is taken.
    """

    check: CheckResult | None
    size: int
    """Bytes of the file, once it is written."""

    def __init__(
        self,
        run: Run,
        naming: Naming,
        inputs: Iterable[Path] | FileIds = (),
        output: Path | None = None,
        folder: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        self.run = run
        stem, ending = default_name(run)
        if folder is not None:
            output = folder / (stem + ending)
        if output is not None:
            ids = inputs if isinstance(inputs, frozenset) else file_ids(inputs)
            _refuse_place(output, stem + ending, ids, naming)
            if not output.suffix:
                raise FileError(
                    f"{output} has no file ending; it selects the format. Write "
                    f"{naming.example('output', f'{output}{ending}')}, or {naming.example('output', f'{output}/')} for "
                    "a folder"
                )
        self.stem = stem if output is None else str(output.with_suffix(""))
        """Path of the output without its ending."""
        self.format = run.source.output_format(output or Path(stem + ending), run.shapes)
        names = numbered(stem, ending) if output is None else iter([output])
        self._new = NewFile(names, overwrite, f", or {naming.flag('overwrite')}")

    def __enter__(self) -> FileRun:
        self._new.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._new.__exit__(kind, error, at)

    @property
    def path(self) -> Path:
        """The output file."""
        return self._new.path

    def execute(
        self, advance: Callable[[float], None] = lambda share: None, timed: Timed = lambda stage: nullcontext()
    ) -> dict[str, Array]:
        """Run, check and write; return the results [N, C, H, W] by key. Raises what `Run.execute` raises."""
        results, self.check = self.run.execute(advance, timed)
        self.format.notes.extend(self.run.remarks)
        with timed("write"):
            file: BinaryIO = self._new.file
            self.format.write(file, results)
        self.size = self._new.size
        return results


def _refuse_place(output: Path, name: str, inputs: FileIds, naming: Naming) -> None:
    """Raise FileError if the output exists and is not a file, or is an input; `name` is its default name."""
    if not os.path.exists(output):
        return
    if not os.path.isfile(output):
        raise FileError(f"{output} is a device or a pipe; a file is needed. Write {naming.example('output', name)}")
    if file_ids([output]) & inputs:
        which = "the input itself" if len(inputs) == 1 else "an input"
        raise FileError(f"{output} is {which}, which is not overwritten. Choose another name")
