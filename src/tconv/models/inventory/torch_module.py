"""Reader of PyTorch's modules in memory: by one watched run if an example input is given, else by `torch.fx`.

Where `torch.fx` cannot follow the module's code, its submodules are read in their order, with neighbours inside of each
`Sequential` alone. The module keeps its mode, its hooks and its numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tconv.errors import ArgumentError, FileError
from tconv.models.inventory.model_layer import ModelInventory
from tconv.models.inventory.pytorch.layer_finder import inventory_of_program
from tconv.models.inventory.pytorch.module_calls import ModuleCalls
from tconv.models.inventory.pytorch.module_run import program_of_run
from tconv.models.inventory.pytorch.program import Program


def read(module: Any, example: Any = None) -> ModelInventory:
    """Return the inventory of an `nn.Module`; `example` is a tensor, or a tuple or dictionary of arguments.

    With an example the module runs once, in evaluation mode: calls, shapes and neighbours are those of that run. Raises
    ArgumentError for another object, and FileError for a module that does not run on the example.

    >>> layers = read(torch.nn.Sequential(torch.nn.ConvTranspose2d(8, 4, 2, stride=2))).layers    # doctest: +SKIP
    >>> layers[0].name, layers[0].arguments["stride"]                                             # doctest: +SKIP
    ('0', [2, 2])
    """
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(module, torch.nn.Module):
        raise ArgumentError(
            f"the model is of type {type(module).__name__}; a path or a torch.nn.Module is needed. Write the name of a "
            "file"
        )
    with _evaluated(torch, module):
        program = _traced(torch, module) if example is None else program_of_run(torch, module, example)
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    return inventory_of_program(program, name, "PyTorch module", f"PyTorch {torch.__version__}", "")


@contextmanager
def _evaluated(torch: Any, module: Any) -> Iterator[None]:
    """Switch all submodules to evaluation, without gradients, and back."""
    modes = [(each, each.training) for each in module.modules()]
    try:
        try:
            module.eval()
        except NotImplementedError:  # what ExportedProgram.module() returns
            raise ArgumentError(
                f"the {type(module).__name__} is the module of an exported program, whose mode is fixed; a "
                "torch.nn.Module or the program is needed. Write tconv.check(program) for program.module()"
            ) from None
        with torch.no_grad():
            yield
    finally:
        for each, training in modes:
            if each.training != training:
                each.training = training


def _traced(torch: Any, module: Any) -> Program:
    """Return the calls that `torch.fx` finds, or those of the submodules in their order."""
    calls = ModuleCalls(torch, module)
    try:
        return calls.traced()
    except FileError:
        raise
    except Exception as error:  # the module's own code, which branches on numbers or sizes
        text = " ".join(str(error).split())[:120]
        found = ModuleCalls(torch, module).walked()
        if found.calls:
            found.limitations.append(
                f"The order of the calls depends on numbers ({type(error).__name__}: {text}); submodules are listed as "
                "they are registered. Give an example input to see the calls."
            )
        return found
