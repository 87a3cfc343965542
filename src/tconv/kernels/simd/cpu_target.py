"""Target of the machine code: the chip's name, its features, the width of its vector registers and their number.

It is the machine's own chip, or the one that `TCONV_CPU` names: "host", "native" or LLVM's name for the machine's own;
"x86-64-v3" or another x86 level; on ARM any name that LLVM knows.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from typing import Any, NamedTuple

import llvmlite.binding as llvm

from tconv.errors import ArgumentError

_X86 = ("x86_64", "AMD64")
_ARM = ("aarch64", "arm64")
_LEVELS = {
    "x86-64": (),
    "x86-64-v2": ("ssse3", "sse4.1", "sse4.2", "popcnt"),
    "x86-64-v3": ("avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe"),
    "haswell": ("avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe", "rdrnd", "fsgsbase", "invpcid"),
    "x86-64-v4": ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
"""Features that a chip must have to run code for each of these targets."""
_ARM_UNITS = 4, 32, True, False


class Target(NamedTuple):
    """Chip, with LLVM's names for it and its features."""

    cpu: str
    features: str
    lanes: int
    """float32 numbers in a vector register"""
    registers: int
    """vector registers"""
    converts_float16: bool
    """has instructions that convert float16"""
    masks_halves: bool
    """has masked loads and stores of 16-bit numbers"""

    @property
    def description(self) -> str:
        """Text for `tconv env`."""
        return f"{self.cpu}, {self.lanes} lanes, {self.registers} vector registers"


@cache
def target() -> Target:
    """Return the machine's own chip, or the one that TCONV_CPU names.

    Raises ArgumentError for an unknown chip, or one whose code cannot run on this machine.
    """
    given = os.environ.get("TCONV_CPU") or "host"
    own, name, arm = llvm.get_host_cpu_name(), given.strip().lower(), platform.machine() in _ARM
    if name in ("host", "native", own.lower()):
        return Target(own, _host_features(), *(_ARM_UNITS if arm else _units(llvm.get_host_cpu_features())))
    if arm:
        return Target(name, "", *_ARM_UNITS)
    if name not in _LEVELS:
        raise ArgumentError(
            f"TCONV_CPU is {given!r}; host (here {own}) or one of {', '.join(_LEVELS)} is needed. Write TCONV_CPU=host"
        )
    missing = [feature for feature in _LEVELS[name] if not llvm.get_host_cpu_features().get(feature)]
    if missing:
        raise ArgumentError(f"TCONV_CPU is {given!r}; this machine has no {', '.join(missing)}. Write TCONV_CPU=host")
    return Target(name, "", *_units(dict.fromkeys(_LEVELS[name], True)))


def _units(features: dict[str, bool]) -> tuple[int, int, bool, bool]:
    """Return what `Target` says of the vector units, from `lanes` on, of an x86 chip with these features."""
    if features.get("avx512f"):
        return 16, 32, True, bool(features.get("avx512bw") and features.get("avx512vl"))
    has_avx2 = bool(features.get("avx2") and features.get("fma"))
    return (8 if has_avx2 else 4), 16, bool(features.get("f16c")), False


def _host_features() -> str:
    features: str = llvm.get_host_cpu_features().flatten()
    return features


@cache
def machine() -> Any:
    """Return LLVM's code generator for the target."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    chip = target()
    family = llvm.Target.from_default_triple()
    return family.create_target_machine(chip.cpu, chip.features, opt=3, reloc="pic", codemodel="small", jit=True)


def is_x86() -> bool:
    """Return True if the machine's chip is of the x86 family."""
    return platform.machine() in _X86
