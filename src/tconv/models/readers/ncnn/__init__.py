"""Reader of networks in ncnn's files, .param (text) and .bin (weights), such as Real-ESRGAN's and waifu2x's.

`param_file` reads the lines of the text, `stored_weights` finds the weights of each, and `layers` turns lines into
nodes: one file for each family of layers, and a registry. `conventions` has what the programs around the networks do,
and no file says.
"""

from __future__ import annotations

from pathlib import Path

from tconv.errors import FileError, TconvError
from tconv.models.image_model import Model
from tconv.models.readers.ncnn import conventions
from tconv.models.readers.ncnn.graph import network_of
from tconv.models.readers.ncnn.param_file import read_lines, weights_beside
from tconv.models.readers.ncnn.stored_weights import Blob


def read(path: Path) -> Model:
    """Return the model in a .param file and the .bin file beside it. Raises FileError, ShapeError."""
    weights = weights_beside(path)
    try:
        lines = read_lines(path)
        network = network_of(lines, Blob(weights.read_bytes(), weights.name))
    except FileError as error:
        raise FileError(f"{path} is not a network that can be run: {error}") from None
    except TconvError as error:
        raise type(error)(f"{path}: {error}") from None
    except OSError as error:
        raise FileError(f"{error.filename} cannot be read: {error.strerror}") from None
    adds = "nearest" if conventions.is_detail(lines, network) else None
    beyond = "reflect" if conventions.is_real_cugan(lines) else "edge"
    return Model.of(network, path.name, adds, notes=conventions.notes(lines, adds), beyond=beyond)
