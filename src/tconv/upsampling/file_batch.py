"""Enlargement of many files, of which some may be broken, into one folder.

A file that fails does not stop the others; its reason is collected.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from tconv.errors import ArgumentError, FileError, TconvError
from tconv.io import array_files
from tconv.io.picture_reading import ENDINGS as PICTURE_ENDINGS
from tconv.io.picture_writing import WRITABLE
from tconv.upsampling.definition_check import Budget
from tconv.upsampling.file_run import FileRun, default_name, file_ids, open_run
from tconv.upsampling.inputs import is_feature_file
from tconv.upsampling.option_names import Naming
from tconv.upsampling.run import Timed
from tconv.upsampling.upsampler_selection import Selection


class Failure(NamedTuple):
    """A file that could not be enlarged, and the reason."""

    source: Path
    reason: str

    def __str__(self) -> str:
        return self.reason if str(self.source) in self.reason else f"{self.source}: {self.reason}"


class FileBatch:
    """Many files, enlarged one after another into one folder; a broken file does not stop the others.

    A folder among the sources means the pictures and feature maps in it, without those of folders below. Without an
    output folder the results go into the current directory, under new names. A file that is given twice is enlarged
    once. Two inputs of one default name, such as a.jpg and a.png, get names with their endings. Without `check` nothing
    is recomputed; `alpha` is as in `tconv.upsample`. Before any work, raises what the selection of upsamplers raises,
    and FileError for a folder that cannot be created.
    """

    def __init__(
        self,
        sources: Sequence[Path],
        selection: Selection,
        folder: Path | None = None,
        overwrite: bool = False,
        check: bool = True,
        alpha: bool | None = None,
    ) -> None:
        self._check, self._budget, self._alpha = check, Budget(), alpha
        self._selection, self._folder, self._overwrite = selection, folder, overwrite
        self.paths, self.failures = _expanded(sources)
        self._ids = file_ids(self.paths)
        pictures = [path for path in self.paths if not is_feature_file(path)]
        maps = [path for path in self.paths if is_feature_file(path)]
        # a wrong option is an error of the call, not of each file; a network's option only fails the feature maps
        if pictures:
            selection.for_pictures()
        if maps and not (pictures and selection.is_for_pictures):
            selection.for_feature_maps(maps[0])
        _refuse_folder(folder)
        self._stems = self._stems_of_clashes()

    def run(
        self,
        advance: Callable[[float], None] = lambda share: None,
        timed: Timed = lambda stage: nullcontext(),
        begin: Callable[[str, int], None] = lambda name, pixels: None,
    ) -> Iterator[tuple[Path, FileRun]]:
        """Yield each input and its run, after its file is written; inputs that fail are added to `failures`.

        `begin` is called with the name of each file and the pixels of its result, and `advance` with shares of the
        file, 1 in all for each.
        """
        with output_folder(self._folder):
            for path in self.paths:
                left = 1.0
                try:
                    with timed("load"):
                        opened = open_run(path, self._selection, self._alpha)
                    begin(path.name, opened.pixels)
                    opened.files, opened.budget, opened.checked = len(self.paths), self._budget, self._check
                    opened.source.stem = self._stems.get(path, opened.source.stem)
                    with FileRun(
                        opened,
                        self._selection.naming,
                        self._ids,
                        folder=self._folder,
                        overwrite=self._overwrite,
                    ) as file_run:

                        def part_done(share: float) -> None:
                            nonlocal left
                            left -= share
                            advance(share)

                        file_run.execute(part_done, timed)
                except TconvError as error:
                    self.failures.append(Failure(path, str(error)))
                except MemoryError as error:
                    self.failures.append(Failure(path, f"out of memory ({error})"))
                else:
                    yield path, file_run
                advance(left)

    def summary(self, written: int) -> str:
        """Return the numbers of failures and of files that were written, as text."""
        failed = len(self.failures)
        inputs = "input" if failed + written == 1 else "inputs"
        files = "file was" if written == 1 else "files were"
        return f"{failed} of {failed + written} {inputs} failed; {written} {files} written"

    def _stems_of_clashes(self) -> dict[Path, str]:
        """Return the stems, with their endings, of inputs that would be written under one default name.

        a.jpg and a.png become a_jpg_x2.png and a_png_x2.png. Inputs that clash even so are moved to the failures.
        Files are opened only where stems are equal.
        """
        owners: dict[str, Path] = {}
        others = {path.stem: path for path in self.paths}
        for path in [path for paths in self._clashes() for path in paths]:
            stem = f"{path.stem}_{path.suffix[1:]}" if path.suffix else path.stem
            other = owners.get(stem) or (others.get(stem) if path.suffix else None)
            if other is None:
                owners[stem] = path
                continue
            self.paths.remove(path)
            self.failures.append(
                Failure(
                    path,
                    f"{path} and {other} would be written under the same name. Enlarge {path} by itself, with its own "
                    f"{self._selection.naming.name('output')}",
                )
            )
        return {path: stem for stem, path in owners.items()}

    def _clashes(self) -> Iterator[list[Path]]:
        """Yield inputs of the same default name, where there are several."""
        by_stem: dict[str, list[Path]] = {}
        for path in self.paths:
            by_stem.setdefault(path.stem, []).append(path)
        for paths in by_stem.values():
            by_name: dict[str, list[Path]] = {}
            for path in paths if len(paths) > 1 else ():
                with suppress(TconvError):  # a file that cannot be opened fails for that reason later
                    run = open_run(path, self._selection, self._alpha)
                    by_name.setdefault("".join(default_name(run)), []).append(path)
            yield from (paths for paths in by_name.values() if len(paths) > 1)


def is_folder(output: Any, path: Path) -> bool:
    """Return True for an existing folder, and for a name that ends in a separator, which a Path does not keep."""
    return str(os.fspath(output)).endswith(("/", os.sep)) or os.path.isdir(path)


def batch_folder(output: Any, path: Path, sources: Sequence[Path], naming: Naming) -> Path:
    """Return the output folder of many files: `path`, which `output` was read as.

    Raises ArgumentError for the name of one file, such as one.png without a separator at its end.
    """
    endings = (*PICTURE_ENDINGS, *WRITABLE, *array_files.ENDINGS)
    if path.suffix.lower() in endings and not is_folder(output, path) and not os.path.lexists(path):
        if len(sources) > 1:
            reason = f"there are {len(sources)} inputs"
        else:
            reason = f"{sources[0]} is a folder" if os.path.isdir(sources[0]) else "the input is a list"
        folder = f"{path.with_suffix('')}/"
        raise ArgumentError(
            f"{naming.example('output', path)} names one file, but {reason}. Write {naming.example('output', folder)}"
        )
    return path


@contextmanager
def output_folder(folder: Path | None) -> Iterator[None]:
    """Create the folder if it does not exist; remove it again if it stays empty. Raises FileError."""
    if folder is None or os.path.isdir(folder):
        yield
        return
    _refuse_folder(folder)
    try:
        folder.mkdir()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise FileError(
            f"{folder} cannot be created: {why}. Choose a folder in a directory that you may write"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # there are files in it
            folder.rmdir()


def _refuse_folder(folder: Path | None) -> None:
    """Raise FileError for the name of a file, and for a folder whose parent does not exist."""
    if folder is None or os.path.isdir(folder):
        return
    if os.path.lexists(folder):
        raise FileError(f"{folder} is a file; a folder is needed. Choose a folder")
    if not os.path.exists(folder.parent):
        raise FileError(
            f"{folder} lies in {folder.parent}, which does not exist. Choose a folder in a directory that does"
        )


def expanded(sources: Sequence[Path]) -> list[Path]:
    """Return the files, with those in folders. Raises FileError for a folder without any."""
    return [path for source in sources for path in (_pictures_in(source) if os.path.isdir(source) else [source])]


def _expanded(sources: Sequence[Path]) -> tuple[list[Path], list[Failure]]:
    """Return the files, each once, with those in folders, and the folders without any."""
    paths: list[Path] = []
    failures: list[Failure] = []
    for source in sources:
        if not os.path.isdir(source):
            paths.append(source)
            continue
        try:
            paths += _pictures_in(source)
        except FileError as error:
            failures.append(Failure(source, str(error)))
    places = {(os.path.realpath(path.parent), path.name): path for path in reversed(paths)}
    return list(reversed(places.values())), failures


def _pictures_in(folder: Path) -> list[Path]:
    """Return the pictures and feature maps of a folder, sorted by name. Raises FileError if there is none."""
    endings = (*PICTURE_ENDINGS, *array_files.ENDINGS)
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise FileError(f"{folder} cannot be read: {error.strerror}. Choose a folder that you may read") from None
    files = [
        entry
        for entry in entries
        if entry.suffix.lower() in endings and not entry.name.startswith(".") and os.path.isfile(entry)
    ]
    if not files:
        raise FileError(
            f"{folder} has no picture or feature map in it; files that end in {', '.join(endings)} are read. "
            "Choose a folder of such files"
        )
    return files
