"""Which chip the code is made for: its name, its features, how wide its registers are and how many it has.

`TCONV_CPU` names another one than the machine's own, which is "host", "native" or what LLVM calls it: "x86-64-v3",
"x86-64", or on ARM any name that LLVM knows.
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
    "x86-64-v4": ("avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
}
"""What a chip must have to run code that is made for one of these names."""


class Target(NamedTuple):
    """A chip, as LLVM names it."""

    cpu: str
    features: str
    lanes: int
    """float32 numbers in a vector register"""
    registers: int
    """vector registers"""

    @property
    def words(self) -> str:
        """For `tconv env`."""
        return f"{self.cpu}, {self.lanes} lanes, {self.registers} vector registers"


@cache
def target() -> Target:
    """The machine's own chip, or the one that TCONV_CPU names. ArgumentError for one whose code cannot run here."""
    given = os.environ.get("TCONV_CPU") or "host"
    own, asked, arm = llvm.get_host_cpu_name(), given.strip().lower(), platform.machine() in _ARM
    if asked in ("host", "native", own.lower()):
        return Target(own, _host_features(), *((4, 32) if arm else _widths(llvm.get_host_cpu_features())))
    if arm:
        return Target(asked, "", 4, 32)
    if asked not in _LEVELS:
        raise ArgumentError(
            f"TCONV_CPU is {given!r}; host (which is {own}) or one of {', '.join(_LEVELS)} is needed. Write host"
        )
    lacking = [name for name in _LEVELS[asked] if not llvm.get_host_cpu_features().get(name)]
    if lacking:
        raise ArgumentError(f"TCONV_CPU is {given!r}, and this machine has no {', '.join(lacking)}. Write host")
    return Target(asked, "", *_widths(dict.fromkeys(_LEVELS[asked], True)))


def _widths(features: dict[str, bool]) -> tuple[int, int]:
    if features.get("avx512f"):
        return 16, 32
    return (8, 16) if features.get("avx2") and features.get("fma") else (4, 16)


def _host_features() -> str:
    features: str = llvm.get_host_cpu_features().flatten()
    return features


@cache
def machine() -> Any:
    """LLVM's code generator for the target."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    chip = target()
    found = llvm.Target.from_default_triple()
    return found.create_target_machine(chip.cpu, chip.features, opt=3, reloc="pic", codemodel="small", jit=True)


def is_x86() -> bool:
    """Whether the machine is of the x86 family."""
    return platform.machine() in _X86
