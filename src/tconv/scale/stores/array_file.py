"""NumPy's .npy files and memory maps: read and written region by region, with memory for a region at most.

Big-endian files are read into this machine's order of bytes; Fortran's order is an order of axes like any other.
"""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tconv._arrays import Array
from tconv.errors import DtypeError, FileError, OutputError
from tconv.scale.regions import Region, Sizes, elements
from tconv.scale.stores.axis_layout import AxisLayout, checked_sizes, copied, layout_for, shape_in_words
from tconv.scale.stores.formats import SourceOptions, StoreFormat, TargetOptions
from tconv.scale.stores.memory_array import ArraySource, ArrayTarget, check_numbers
from tconv.scale.stores.raw_file import RawArray, file_errors, sync_directory
from tconv.scale.stores.store import ImageSource, ImageTarget

_LONG_WRITE = 1 << 12
"""Bytes that are written at once, if the rows of an image are that long."""


class NpySource:
    """Array in C or Fortran order in a file: a .npy file, or what a memory map shows."""

    def __init__(self, raw: RawArray, layout: AxisLayout, fortran: bool, name: str) -> None:
        self.raw, self.layout, self.name = raw, layout, name
        self._stored = layout.reversed() if fortran else layout
        self.shape, self.dtype = layout.image_shape, raw.dtype.newbyteorder("=")
        self.block = (1,) * layout.ndim
        order = ", Fortran order" if fortran else ""
        self.description = f"{shape_in_words(layout.shape)} of {raw.dtype}{order} in {name}"

    def read(self, image: int, region: Region) -> Array:
        """Return values [C, *region]. Raises FileError for a file that is gone or too short."""
        values = self.raw.read(self._stored.selection(image, region))
        if values.dtype != self.dtype:  # the other order of bytes
            values = values.byteswap(inplace=True).view(self.dtype)
        return copied(self._stored, values)

    def read_bytes(self, region: Region) -> int:
        """Return twice the bytes of the values, as their axes may have to be moved, and those of a buffer."""
        return 2 * self.shape[1] * elements(region) * self.dtype.itemsize + (1 << 22)

    def identity(self) -> dict[str, Any]:
        """Return shape and dtype, and size and time of the file; the place in it, as maps may show several parts."""
        with file_errors(self.raw.path, "read"):
            status = self.raw.path.stat()
        is_reversed = self._stored is not self.layout
        place = [self.raw.offset, str(self.raw.dtype), is_reversed]
        modified = [str(self.raw.path), status.st_size, status.st_mtime_ns, *place]
        return {
            "shape": list(self.layout.shape),
            "dtype": str(self.dtype),
            **self.layout.roles,
            "modified": modified,
        }

    def close(self) -> None:
        """Close the file."""
        self.raw.close()


class NpyTarget:
    """Array in C order that is written in place: a new .npy file, or the file of a memory map."""

    in_memory = False

    def __init__(self, name: str, layout: AxisLayout, dtype: np.dtype[Any], raw: RawArray | None = None) -> None:
        self.name, self.layout, self.dtype, self.shape = name, layout, dtype, layout.image_shape
        self.in_place = raw is not None
        self.description = f"{shape_in_words(layout.shape)} of {dtype} in {name}"
        self._raw = raw
        # rows, so that each system call writes many bytes: the spatial axis whose elements are closest in the file
        fastest = max(range(layout.ndim), key=lambda axis: layout.spatial[axis])
        behind = [layout.shape[axis] for axis in range(layout.spatial[fastest] + 1, len(layout.shape))]
        element = int(np.prod(behind, dtype=np.int64)) * dtype.itemsize
        longest = layout.shape[layout.spatial[fastest]]
        unit = [1] * layout.ndim
        unit[fastest] = longest if longest * element <= 2 * _LONG_WRITE else -(-_LONG_WRITE // element)
        self.unit: Sizes = tuple(unit)

    @property
    def raw(self) -> RawArray:
        """File that is open. Raises FileError before `create` or `open`."""
        if self._raw is None:
            raise FileError(f"{self.name} is not open. Call open(place) first")
        return self._raw

    def create(self, place: Path) -> None:
        """Make a file of the full size. Raises FileError for a place that is taken or full."""
        if self.in_place:
            return
        with file_errors(place, "written"):
            try:
                with place.open("xb") as file:
                    _write_header(file, self.layout.shape, self.dtype)
                    file.flush()  # before it is synced
                    self._allocate(file.fileno(), file.tell())
            except FileExistsError:
                raise FileError(
                    f"{place} exists, and nothing is overwritten. Remove it, or choose another name"
                ) from None
            except OSError:
                place.unlink(missing_ok=True)
                raise
        sync_directory(place.parent)
        self.open(place)

    def _allocate(self, descriptor: int, header: int) -> None:
        size = header + int(np.prod(self.layout.shape, dtype=np.int64)) * self.dtype.itemsize
        os.ftruncate(descriptor, size)
        if size > header:
            try:
                os.posix_fallocate(descriptor, 0, size)  # a full disk is known now
            except AttributeError:  # macOS
                pass
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # file systems without it
                    raise
        os.fsync(descriptor)

    def open(self, place: Path) -> None:
        """Open the file. Raises FileError for another shape or dtype."""
        if self.in_place:
            return
        shape, fortran, dtype, offset = read_header(place)
        if (shape, fortran, dtype) != (self.layout.shape, False, self.dtype):
            raise FileError(
                f"{place} holds {shape} of {dtype}; {self.layout.shape} of {self.dtype} is needed. "
                "Remove it, or choose another name"
            )
        self._raw = RawArray(place, offset, shape, dtype, writable=os.access(place, os.W_OK))

    def empty(self) -> bool:
        """Return True: the elements of an array have no state of being written."""
        return True

    def write(self, image: int, region: Region, values: Array) -> None:
        """Write values [C, *region]."""
        checked_sizes(values, self.shape[1], region, self.name)
        self.raw.write(self.layout.selection(image, region), self.layout.from_image(values))

    def write_bytes(self, region: Region) -> int:
        """Return the bytes of the values, as their axes may have to be moved."""
        return self.shape[1] * elements(region) * self.dtype.itemsize

    def sync(self, image: int, region: Region) -> None:
        """Wait until all that was written is on the disk."""
        self.raw.sync()

    def sync_many(self, parts: list[tuple[int, Region]]) -> None:
        """Wait until all that was written is on the disk."""
        self.raw.sync()

    def stored(self, image: int, region: Region) -> Array:
        """Return values [C, *region] of the file."""
        values = copied(self.layout, self.raw.read(self.layout.selection(image, region)))
        return values.astype(self.dtype.newbyteorder("="), copy=False)

    def has(self, image: int, region: Region) -> bool:
        """Return whether the file has its full size."""
        try:
            return bool(self.raw.path.stat().st_size >= self.raw.offset + self.raw.nbytes)
        except OSError:
            return False

    def disk_bytes(self) -> int:
        """Return the bytes of header and elements; 0 for a file that is there."""
        size = int(np.prod(self.layout.shape, dtype=np.int64)) * self.dtype.itemsize
        return 0 if self.in_place else size + 4096

    def settings(self) -> dict[str, Any]:
        """Return format, shape, axes and dtype."""
        return {"format": "npy", "shape": list(self.layout.shape), "dtype": str(self.dtype), **self.layout.roles}

    def finish(self) -> None:
        """Wait until everything is on the disk."""
        with file_errors(self.raw.path, "written"):
            os.fsync(self.raw.descriptor())
        sync_directory(self.raw.path.parent)

    def close(self) -> None:
        """Close the file."""
        if self._raw is not None:
            self._raw.close()


def read_header(path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, True for Fortran's order, dtype, and the offset of the elements of a .npy file.

    Raises FileError for files that are missing or damaged, and DtypeError for elements that are no numbers.
    """
    with file_errors(path, "read"), path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(file)
        except OSError:
            raise
        except Exception as error:  # a damaged header meets NumPy's parser and Python's tokenizer
            raise FileError(f"{path} is no .npy file, or a damaged one: {error}. Use a file of np.save") from None
        offset = file.tell()
    if any(size < 0 for size in shape):
        raise FileError(f"{path} is damaged: its header states shape {shape}. Use a file of np.save")
    check_numbers(dtype, str(path))
    return tuple(shape), bool(fortran) and len(shape) > 1, dtype, offset


def _write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _open_path(path: Path, inner: str, options: SourceOptions) -> ImageSource:
    shape, fortran, dtype, offset = read_header(path)
    raw = RawArray(path, offset, shape[::-1] if fortran else shape, dtype, writable=False)
    raw.descriptor()  # a short file is known now
    raw.close()
    return NpySource(raw, layout_for(shape, options.ndim, options.axes, None), fortran, str(path))


def _target(path: Path, inner: str, options: TargetOptions) -> ImageTarget:
    check_numbers(options.dtype, str(path))
    return NpyTarget(str(path), options.layout, options.dtype)


FORMAT = StoreFormat(".npy", _open_path, _target)


def source_of_object(array: Any, options: SourceOptions) -> ImageSource:
    """Return the source of an array of NumPy; the file of a memory map is opened again and read by pread."""
    array = _checked_array(array, "source")
    layout = layout_for(array.shape, options.ndim, options.axes, None)
    owner = _memory_map(array)
    if owner is None or owner.mode == "c":  # a private map may hold values that its file has not
        return ArraySource(array, layout, "the array")
    raw = _raw_of(array, owner, writable=False)
    if raw is None:
        return ArraySource(array, layout, str(owner.filename), owner._mmap)
    return NpySource(raw, layout, not array.flags.c_contiguous, str(owner.filename))


def target_of_object(array: Any, options: TargetOptions) -> ImageTarget:
    """Return the target of a writable array of NumPy; the file of a memory map is written by pwrite."""
    array = _checked_array(array, "output")
    if array.shape != options.layout.shape or array.dtype != options.dtype:
        raise OutputError(
            f"output has shape {array.shape} and dtype {array.dtype}; the result has {options.layout.shape} and "
            f"{options.dtype}. Write output=np.empty({options.layout.shape}, np.{options.dtype})"
        )
    if not array.flags.writeable:
        raise OutputError('output cannot be written. Open a memory map with mode="r+", or write output.copy()')
    owner = _memory_map(array)
    raw = _raw_of(array, owner, writable=True) if owner is not None and owner.mode != "c" else None
    if raw is None or owner is None or not array.flags.c_contiguous:
        return ArrayTarget(array, options.layout, "the array")
    return NpyTarget(str(owner.filename), options.layout, options.dtype, raw)


def _checked_array(array: Any, name: str) -> Array:
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise DtypeError(f"{name} is a {type(array).__name__}; an array of numbers is needed. Write np.asarray({name})")
    check_numbers(array.dtype, name)
    return array


def _memory_map(array: Array) -> Any:
    """Return the memory map that an array is, or a view of; None for others."""
    owner: Any = array
    while isinstance(owner, np.ndarray) and not (isinstance(owner, np.memmap) and isinstance(owner.base, mmap.mmap)):
        owner = owner.base
    return owner if isinstance(owner, np.memmap) and owner.filename is not None else None


def _raw_of(array: Array, owner: Any, writable: bool) -> RawArray | None:
    """Return the place of an array in the file of its map, or None for one with gaps."""
    if not (array.flags.c_contiguous or array.flags.f_contiguous):
        return None
    start = np.frombuffer(owner._mmap, np.uint8).ctypes.data
    offset = owner.offset - owner.offset % mmap.ALLOCATIONGRANULARITY + array.ctypes.data - start
    shape = array.shape if array.flags.c_contiguous else array.shape[::-1]
    raw = RawArray(Path(owner.filename), offset, shape, array.dtype, writable)
    try:
        raw.descriptor()
    except FileError:  # it was moved or removed; the map still shows it
        return None
    flat = array.ravel("K")
    for at in {0, flat.size // 2, flat.size - 1} if flat.size else ():  # another file may have taken its name
        place = np.unravel_index(at, shape)
        value = raw.read(tuple(slice(int(index), int(index) + 1) for index in place))
        if value.tobytes() != flat[at : at + 1].tobytes():
            return None
    raw.close()
    return raw
