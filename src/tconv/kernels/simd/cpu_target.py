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
    "x86-64-v4": ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
"""Features that a chip must have to run code for each of these targets."""
_ARM_UNITS = 4, 32, True, False
"""`Target`'s facts of the vector units, from `lanes` on, for every ARM chip of 64 bits."""


class Target(NamedTuple):
    """Chip, with LLVM's names for it and its features."""

    cpu: str
    features: str
    triple: str
    """architecture, system and object format"""
    lanes: int
    """float32 numbers in a vector register"""
    registers: int
    """vector registers"""
    converts_float16: bool
    """has instructions that convert float16"""
    masks_halves: bool
    """has masked loads and stores of 16-bit numbers"""

    @property
    def is_x86(self) -> bool:
        """True for the x86 family, False for ARM."""
        return self.triple.startswith("x86_64")

    @property
    def fuses(self) -> bool:
        """True if a multiply-add is one instruction; else a product needs a register of its own."""
        return self.lanes > 4 or not self.is_x86

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
        units = _ARM_UNITS if arm else _units(llvm.get_host_cpu_features())
        return Target(own, _host_features(), triple, *units)
    if arm:
        return Target(name, "", triple, *_ARM_UNITS)
    if name not in _LEVELS:
        raise ArgumentError(
            f"TCONV_CPU is {given!r}; host (here {own}) or one of {', '.join(_LEVELS)} is needed. Write TCONV_CPU=host"
        )
    missing = [feature for feature in _LEVELS[name] if not llvm.get_host_cpu_features().get(feature)]
    if missing:
        raise ArgumentError(f"TCONV_CPU is {given!r}; this machine has no {', '.join(missing)}. Write TCONV_CPU=host")
    return Target(name, "", triple, *_units(dict.fromkeys(_LEVELS[name], True)))


def _triple() -> str:
    triple: str = llvm.get_process_triple()
    return f"{triple}-elf" if sys.platform == "win32" else triple


def computes_float16() -> bool:
    """Return True if this machine's chip has arithmetic in float16, and not only conversions of it."""
    return any(llvm.get_host_cpu_features().get(unit) for unit in ("avx512fp16", "amx-fp16", "fullfp16"))


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
