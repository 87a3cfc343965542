"""Transposed convolutions, and networks of them, of arrays larger than memory: tile by tile, the bits of the whole.

`conv_transpose` and `apply` are lazy, for Dask; `run` writes into a file or a Zarr store under a memory bound, goes on
where it was stopped, and keeps a journal of what is done, with which `verify` reads all of it again.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tconv.scale.dask_arrays import apply as apply
    from tconv.scale.dask_arrays import conv_transpose as conv_transpose
    from tconv.scale.functional import plan as plan
    from tconv.scale.functional import run as run
    from tconv.scale.functional import verify as verify
    from tconv.scale.job import Job as Job
    from tconv.scale.job_plan import JobPlan as JobPlan
    from tconv.scale.job_report import JobReport as JobReport
    from tconv.scale.job_report import Progress as Progress
    from tconv.scale.layer_call import layer as layer
    from tconv.scale.verification import VerifyReport as VerifyReport

_LAZY = {
    "Job": "tconv.scale.job",
    "JobPlan": "tconv.scale.job_plan",
    "JobReport": "tconv.scale.job_report",
    "Progress": "tconv.scale.job_report",
    "VerifyReport": "tconv.scale.verification",
    "apply": "tconv.scale.dask_arrays",
    "conv_transpose": "tconv.scale.dask_arrays",
    "layer": "tconv.scale.layer_call",
    "plan": "tconv.scale.functional",
    "run": "tconv.scale.functional",
    "verify": "tconv.scale.functional",
}
"""Public names, whose modules are imported when they are first named."""

__all__ = [
    "Job",
    "JobPlan",
    "JobReport",
    "Progress",
    "VerifyReport",
    "apply",
    "conv_transpose",
    "layer",
    "plan",
    "run",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tconv.scale' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
