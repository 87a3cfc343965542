"""Runs of the layers of a PyTorch module, each alone: a module does not say what input it takes."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np

from tconv.checking.agreement import agreement_of
from tconv.checking.layer_check import LayerCheck, Timing
from tconv.checking.report import Check, ModelRun
from tconv.checking.timing import median_seconds
from tconv.checking.traps import contradictions
from tconv.diagnosis.networks.effective_call import EffectiveCall

_MOST_NUMBERS = 1 << 28
_UNRUN = 'an exported program in memory is not run. Write torch.export.save(program, "model.pt2") and check that file'


def with_layers_run(checked: Check, module: Any) -> Check:
    """Return a check whose layers were run alone, each on random input of its sample size, in PyTorch."""
    if not hasattr(module, "named_modules"):
        return replace(checked, run=ModelRun("", error=_UNRUN))
    torch: Any = import_module("torch")
    named = dict(module.named_modules())
    layers = tuple(_run(layer, _module_of(layer, named, torch), torch) for layer in checked.layers)
    note = "the model itself was not run: each layer ran alone, on random input"
    return replace(checked, layers=layers, run=ModelRun(f"torch {torch.__version__}"), notes=(*checked.notes, note))


def _module_of(check: LayerCheck, named: dict[str, Any], torch: Any) -> Any:
    """Return the module that is the layer; None for a call of a function in a larger module."""
    if check.layer.name in named:
        return named[check.layer.name]
    owner = named.get(str(check.layer.location.get("module")))
    return owner if isinstance(owner, torch.nn.modules.conv._ConvTransposeNd) else None


def _run(check: LayerCheck, module: Any, torch: Any) -> LayerCheck:
    shapes, g, weight = check.shapes, check.geometry, check.canonical_weight()
    if module is None or shapes is None or g is None or weight is None or int(np.prod(shapes.sample_x)) > _MOST_NUMBERS:
        return replace(check, notes=(*check.notes, "the layer was not run alone: it is no module, or too large"))
    x = np.random.default_rng(0).standard_normal(shapes.sample_x, dtype=np.float32)
    try:
        parameter = next(module.parameters())
        given = torch.from_numpy(x).to(parameter.device, parameter.dtype)
        with torch.no_grad():
            y = module(given)
            seconds = median_seconds(lambda: module(given))
    except Exception as error:  # a module can raise anything
        return replace(check, notes=(*check.notes, f"the layer does not run alone: {str(error)[:200]}"))
    bias = None if check.layer.bias is None else np.asarray(check.layer.bias.read()).reshape(-1)
    call = EffectiveCall(given.float().cpu().numpy(), np.asarray(weight, np.float32), bias, g)
    name = f"torch {torch.__version__}"
    agreement = agreement_of(call, y.float().cpu().numpy(), name, check.layer.dtype)
    traps = tuple(contradictions.of_run(check, call, agreement))
    timing = Timing(None, runtime=seconds, runtime_name=name)
    return replace(check, agreement=agreement, timing=timing, traps=(*traps, *check.traps))
