"""Emission of the kernel's functions for a chip of any family, without running them.

It patches the package, so it is for a process of its own: `code_generator` or `emitted` is called before anything of the
kernel is imported.
"""

import itertools
import re

import llvmlite.binding as llvm

from tconv.kernels.simd import cpu_target

CHIPS = {
    "AVX-512": ("x86-64-v4", "x86_64-unknown-linux-gnu"),
    "AVX2": ("x86-64-v3", "x86_64-unknown-linux-gnu"),
    "SSE": ("x86-64-v2", "x86_64-unknown-linux-gnu"),
    "NEON": ("generic", "aarch64-unknown-linux-gnu"),
    "macOS on x86": ("x86-64-v3", "x86_64-apple-darwin"),
    "macOS on ARM": ("apple-m1", "arm64-apple-darwin"),
    "Windows": ("x86-64-v4", "x86_64-pc-windows-msvc-elf"),
    "Windows in COFF": ("x86-64-v3", "x86_64-pc-windows-msvc"),
}
"""LLVM's name of the chip, and the triple."""
GEOMETRIES = [
    # kernel, stride, arguments, channels in, channels out
    ((4, 4), 2, {"crop": ((1, 1), (1, 1))}, 64, 64),
    ((3, 3), 2, {"crop": ((1, 0), (1, 0))}, 32, 3),
    ((4, 4), 2, {"groups": 32}, 32, 32),
    ((16,), 8, {}, 64, 20),
    ((4, 3, 3), (1, 2, 2), {}, 24, 7),
]


def chip(name):
    """Return the `Target` of a chip with this name in `CHIPS`."""
    cpu, triple = CHIPS[name]
    levels = cpu_target._LEVELS
    units = cpu_target._units(dict.fromkeys(levels[cpu], True)) if cpu in levels else cpu_target._ARM_UNITS
    return cpu_target.Target(cpu, "", triple, *units)


def code_generator(name):
    """Let the package make code for a chip, and return LLVM's code generator for it."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    other = chip(name)
    cpu_target.target = lambda: other
    return cpu_target.code_generator(other)


def emitted(name, wanted="", assembly=False):
    """Return the functions that calls of these geometries, and the threads, need: object files or assembly, by name.

    `wanted` is a pattern that their names begin with.
    """
    machine = code_generator(name)
    from tconv.kernels.simd import object_cache

    writers = {}
    object_cache.OBJECT_CACHE.address = lambda name, write: writers.setdefault(name, write) and 1 << 20
    _build_all()
    emit = machine.emit_assembly if assembly else machine.emit_object
    return {
        name: emit(object_cache.optimized(write(), machine))
        for name, write in writers.items()
        if re.match(wanted, name)
    }


def _build_all():
    import ml_dtypes  # noqa: F401  (NumPy knows bfloat16 from then on)
    import numpy as np

    from tconv.geometry import Geometry
    from tconv.kernels.problem import Problem
    from tconv.kernels.simd import (
        direct,
        futex_threads,
        native_call,
        openmp_threads,
        python_threads,
        thread_pool,
        winograd_f22,
    )
    from tconv.kernels.simd.form_choice import direct_form, winograd_form
    from tconv.kernels.simd.winograd_f43 import tile_function

    thread_pool.pool()
    for kind in (futex_threads.FutexThreads, python_threads.PythonThreads, openmp_threads.OpenMPCalls):
        kind(np.zeros(4096, np.int64))
    for options in itertools.product((1, 2), (False, True), range(3)):
        tile_function.address(*options)
    native_call.build(map(np.dtype, direct.DTYPES))
    for number, (kernel, stride, arguments, c_in, c_out) in enumerate(GEOMETRIES):
        g = Geometry(kernel, stride, **arguments)
        for dtype in direct.DTYPES if number == 0 else ("float32",):
            p = Problem(g, 2, c_in, c_out, (37,) * g.ndim, np.dtype(dtype))
            shapes = (p.batch, c_in, *p.input_shape), (p.batch, c_out, *p.output_shape)
            for layout, activated in (("first", False), ("last", True)):
                x, out = (_strides(shape, layout) for shape in shapes)
                direct_form(p, x, out).compile(p, x, out, 2, activated)
                if not winograd_f22.reasons_against(p):
                    winograd_form(p, x, out).compile(p, x, out, 2, activated)


def _strides(shape, layout):
    """Return the strides, in elements, of an array [N, C, *spatial] in a layout."""
    import numpy as np

    if layout == "first":
        return tuple(step // 4 for step in np.empty(shape, np.float32).strides)
    last = np.moveaxis(np.empty((shape[0], *shape[2:], shape[1]), np.float32), -1, 1)
    return tuple(step // 4 for step in last.strides)
