"""Reader of TorchScript's archives, which runs none of their code: the syntax trees of the code are read.

The objects of `data.pkl` are records, and its tensors ranges of the file. What depends on the input (a condition, a
number of rounds, an output_padding from output_size) becomes a limitation of its layer.
"""

from __future__ import annotations

from pathlib import Path

from tconv.errors import FileError
from tconv.models.inventory.model_layer import ModelInventory
from tconv.models.inventory.pytorch.layer_finder import inventory_of_program
from tconv.models.inventory.pytorch.object_pickle import Record, read_pickle
from tconv.models.inventory.pytorch.script_code import ScriptCode
from tconv.models.inventory.pytorch.script_interpreter import Interpreter
from tconv.models.inventory.pytorch.script_values import Raised
from tconv.models.inventory.pytorch.zip_archive import Archive
from tconv.models.traces.torch_archive import reason_against


def read(path: Path, owner: object = None) -> ModelInventory:
    """Return the inventory of a TorchScript file. Raises FileError, also for what `torch.save` wrote.

    `owner` is kept as long as the numbers can be read.

    >>> torch.jit.script(model).save("model.pt")                      # doctest: +SKIP
    >>> [layer.name for layer in read(Path("model.pt")).layers]      # doctest: +SKIP
    ['decoder.up.0', 'decoder.up.1']
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start != b"PK\x03\x04":
        raise _refusal(path)
    archive = Archive(path, owner=owner)
    if "data.pkl" not in archive or not any(name.startswith("code/") for name in archive.names):
        raise _refusal(path)
    model = read_pickle(archive, "data.pkl", "data")
    constants = read_pickle(archive, "constants.pkl", "constants") if "constants.pkl" in archive else ()
    if not isinstance(model, Record) or not isinstance(constants, (list, tuple)):
        raise _refusal(path)
    interpreter = Interpreter(ScriptCode(archive), list(constants))
    program = interpreter.program
    try:
        interpreter.read(model)
    except Raised:
        program.limitations.append("Its forward method ends in an error for every input.")
    except RecursionError:
        raise FileError(f"{path}: its code is nested too deeply") from None
    except FileError as error:
        text = str(error)
        raise (error if str(path) in text else FileError(f"{path}: {text}")) from None
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, ArithmeticError) as error:
        raise FileError(
            f"{path}: its code is not what PyTorch writes: {type(error).__name__}: {str(error)[:100]}. Write the file "
            "again"
        ) from None
    version = archive.content("version", most=100).decode(errors="replace").strip() if "version" in archive else "?"
    return inventory_of_program(program, str(path), "TorchScript", "PyTorch", f"format {version[:20]}")


def _refusal(path: Path) -> FileError:
    exported = f"torch.export.save(torch.export.export(model, (x,)), {path.stem + '.pt2'!r})"
    saving = f"{exported}, torch.jit.script(model).save({path.stem + '_script.pt'!r}), or tconv.check(model)"
    return FileError(
        f"{path} is no TorchScript file: {reason_against(path)}. Pickled modules are not read, because that would run "
        f"their code. Write {saving}"
    )
