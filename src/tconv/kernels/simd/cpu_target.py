"""Target of the machine code: the chip's name, its features, the width of its vector registers and their number.

It is the machine's own chip, or the one that `TCONV_CPU` names: "host", "native" or LLVM's name for the machine's own;
"x86-64-v3" or another x86 level; on ARM any name that LLVM knows. The triple decides the calling convention and the
format of the object files: ELF on Linux, Mach-O on macOS, and on Windows ELF as well, as Numba has it, because LLVM's
linker in memory is most used with it there.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any, NamedTuple

import llvmlite.binding as llvm

from tconv.errors import ArgumentError

_LEVELS = {
    "x86-64": (),
    "x86-64-v2": ("ssse3", "sse4.1", "sse4.2", "popcnt"),
    "x86-64-v3": ("avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe"),
    "haswell": ("avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe", "rdrnd", "fsgsbase", "invpcid"),
    "x86-64-v4": ("avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
"""Features that a chip must have to run code for each of these targets."""


class Target(NamedTuple):
    """Chip, with LLVM's names for it and its features."""

    cpu: str
    features: str
    lanes: int
    """float32 numbers in a vector register"""
    registers: int
    """vector registers"""
    triple: str
    """architecture, system and object format"""

    @property
    def is_x86(self) -> bool:
        """True for the x86 family, False for ARM."""
        return self.triple.startswith("x86_64")

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
    own, name, triple = llvm.get_host_cpu_name(), given.strip().lower(), _triple()
    arm = triple.startswith(("aarch64", "arm64"))
    if name in ("host", "native", own.lower()):
        return Target(own, _host_features(), *((4, 32) if arm else _widths(llvm.get_host_cpu_features())), triple)
    if arm:
        return Target(name, "", 4, 32, triple)
    if name not in _LEVELS:
        raise ArgumentError(
            f"TCONV_CPU is {given!r}; host (here {own}) or one of {', '.join(_LEVELS)} is needed. Write TCONV_CPU=host"
        )
    missing = [feature for feature in _LEVELS[name] if not llvm.get_host_cpu_features().get(feature)]
    if missing:
        raise ArgumentError(f"TCONV_CPU is {given!r}; this machine has no {', '.join(missing)}. Write TCONV_CPU=host")
    return Target(name, "", *_widths(dict.fromkeys(_LEVELS[name], True)), triple)


def _triple() -> str:
    triple: str = llvm.get_process_triple()
    return f"{triple}-elf" if sys.platform == "win32" else triple


def _widths(features: dict[str, bool]) -> tuple[int, int]:
    """Return the lanes of a vector register and the number of registers of an x86 chip."""
    if features.get("avx512f"):
        return 16, 32
    return (8, 16) if features.get("avx2") and features.get("fma") else (4, 16)


def _host_features() -> str:
    features: str = llvm.get_host_cpu_features().flatten()
    return features


@cache
def machine() -> Any:
    """Return LLVM's code generator for the target."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return code_generator(target())


def code_generator(chip: Target) -> Any:
    """Return LLVM's code generator for a chip of any family that LLVM was initialized for."""
    # on Windows the sections of an object may lie farther apart than the small model can reach
    reloc, model = ("static", "large") if "windows" in chip.triple else ("pic", "small")
    family = llvm.Target.from_triple(chip.triple)
    return family.create_target_machine(chip.cpu, chip.features, opt=3, reloc=reloc, codemodel=model, jit=True)


def is_x86() -> bool:
    """Return True if the machine's chip is of the x86 family."""
    return target().is_x86
