"""Tests of object files for other systems: their format, what they need from elsewhere, and the calling convention.

They are made here for every system, and run on none: only the tests on such a machine can do that.
"""

import json
import re

import pytest

pytest.importorskip("llvmlite")

import llvmlite.binding as llvm

import emitted_functions

FORMATS = {
    "NEON": ("ELF", "aarch64"),
    "macOS on x86": ("Mach-O", "x86_64"),
    "macOS on ARM": ("Mach-O", "aarch64"),
    "Windows": ("ELF", "x86_64"),
    "Windows in COFF": ("COFF", "x86_64"),
}
OF_LINUX = {
    "helper": {"syscall"},
    "launch": {"syscall", "sched_getcpu", "sched_getaffinity", "sched_setaffinity"},
}
"""Functions that only Linux runs, and what they need of its C library."""

EMIT = """
import json, sys
import emitted_functions, object_files
functions = emitted_functions.emitted(sys.argv[1])
needs = {name: [*object_files.format_of(code), sorted(object_files.undefined(code))] for name, code in functions.items()}
print(json.dumps(needs))
"""
ASSEMBLY = """
import json, sys
import emitted_functions
print(json.dumps(emitted_functions.emitted(sys.argv[1], sys.argv[2], assembly=True)))
"""


def skip_without(chip):
    llvm.initialize_all_targets()
    try:
        llvm.Target.from_triple(emitted_functions.CHIPS[chip][1])
    except RuntimeError as error:
        pytest.skip(f"LLVM has no such target: {error}")


@pytest.mark.slow
@pytest.mark.parametrize("chip", FORMATS)
def test_every_function_is_an_object_that_needs_nothing(chip, python):
    """No memset or memcpy, no function of the compiler's library, no stack probe: nothing that could be missing."""
    skip_without(chip)
    functions = json.loads(python(EMIT, chip))
    assert len(functions) > 40
    assert {"serial", "python_open", "python_helper", "python_finish", "openmp_launch"} <= {*functions}
    assert {"native_call", "native_run", "native_miss", "native_take", "weight_hash", "weight_sums_float32"} <= {
        *functions
    }
    for name, (*found, undefined) in functions.items():
        assert tuple(found) == FORMATS[chip], name
        names = {each.removeprefix("_") if "Mach-O" in found else each for each in undefined}
        if "COFF" in found:
            names -= {"_fltused"}  # a mark of Microsoft's compiler, which a linker of object files has
        assert names == OF_LINUX.get(name, set()), name


@pytest.mark.slow
def test_the_calling_convention_of_windows(python):
    """The callee saves xmm6 to xmm15, arguments are in rcx, rdx, r8, r9 and behind 32 bytes for them on the stack."""
    saved = re.compile(r"movaps\t%(xmm(?:[6-9]|1[0-5])), -?\d*\(%r[sb]p\)")
    for chip, expected in (("Windows in COFF", True), ("AVX2", False)):
        skip_without(chip)
        functions = json.loads(python(ASSEMBLY, chip, "accumulate_6x1_0_2$|serial$"))
        microkernel = functions["accumulate_6x1_0_2"]
        registers = set(re.findall(r"%[xy]mm(\d+)", microkernel))
        needed = {f"xmm{number}" for number in registers if int(number) >= 6}
        assert len(needed) >= 8
        assert set(saved.findall(microkernel)) == (needed if expected else set())
        # the function of a call on one thread: its first argument is the function that it calls
        serial = functions["serial"]
        first = re.search(r"movq\t%(\w+), %\w+", serial)
        assert first is not None
        shadow = re.search(r"subq\t\$(\d+), %rsp", serial)
        assert (int(shadow[1]) >= 32 if shadow else False) == expected
        arguments = {"rcx", "rdx", "r8", "r9"} if expected else {"rdi", "rsi", "rdx", "rcx", "r8"}
        moved = set(re.findall(r"movq\t%(\w+), %\w+", serial.split("callq")[0]))
        assert moved & arguments >= arguments - {"rdx", "rcx", "r8", "r9", "rsi"}
