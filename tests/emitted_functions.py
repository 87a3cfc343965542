"""Emission of the kernel's functions for a chip of any family, without running them.

It patches the package, so it is for a process of its own: `emitted(Target(...))` is called before anything of the
kernel is imported.
"""

from itertools import product

import llvmlite.binding as llvm

from tconv.kernels.simd import cpu_target

CHIPS = {
    "AVX-512": ("x86-64-v4", "", 16, 32, "x86_64-unknown-linux-gnu"),
    "AVX2": ("x86-64-v3", "", 8, 16, "x86_64-unknown-linux-gnu"),
    "SSE": ("x86-64-v2", "", 4, 16, "x86_64-unknown-linux-gnu"),
    "NEON": ("generic", "", 4, 32, "aarch64-unknown-linux-gnu"),
    "macOS on x86": ("x86-64-v3", "", 8, 16, "x86_64-apple-darwin"),
    "macOS on ARM": ("apple-m1", "", 4, 32, "arm64-apple-darwin"),
    "Windows": ("x86-64-v3", "", 8, 16, "x86_64-pc-windows-msvc-elf"),
    "Windows with AVX-512": ("x86-64-v4", "", 16, 32, "x86_64-pc-windows-msvc-elf"),
    "Windows in COFF": ("x86-64-v3", "", 8, 16, "x86_64-pc-windows-msvc"),
}
"""Fields of `Target`."""
GEOMETRIES = [
    # kernel, stride, arguments, channels in, channels out
    ((4, 4), 2, {"crop": ((1, 1), (1, 1))}, 64, 64),
    ((2, 2), 2, {}, 16, 16),
    ((3, 3), 2, {"crop": ((1, 0), (1, 0))}, 32, 3),
    ((9, 9), 3, {}, 56, 1),
    ((5, 5), 1, {"crop": ((2, 2), (2, 2))}, 16, 24),
    ((4, 4), 2, {"groups": 32}, 32, 32),
    ((16,), 8, {}, 64, 20),
    ((4, 3, 3), (1, 2, 2), {}, 24, 7),
]


def emitted(chip, emit="emit_object"):
    """Return every function that calls of these geometries, and the threads, need, by name: objects or assembly."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    cpu_target.target = lambda: chip
    machine = cpu_target.code_generator(chip)
    from tconv.kernels.simd import object_cache

    functions = {}

    def address(name, write):
        if name not in functions:
            functions[name] = None  # a function may need others while it is written
            functions[name] = getattr(machine, emit)(object_cache.optimized(write(), machine))
        return 1 << 20

    object_cache.OBJECT_CACHE.address = address
    _build_all()
    return functions


def _build_all():
    import numpy as np

    from tconv.geometry import Geometry
    from tconv.kernels.problem import Problem
    from tconv.kernels.simd import futex_threads, openmp_threads, python_threads, thread_pool, winograd_f22
    from tconv.kernels.simd.form_choice import WINOGRAD_F22, direct_form
    from tconv.kernels.simd.winograd_f43 import row_groups

    thread_pool.pool()
    for kind in (futex_threads.FutexThreads, python_threads.PythonThreads, openmp_threads.OpenMPCalls):
        kind(np.zeros(4096, np.int64))
    for activated in (False, True):
        row_groups.address(activated)
    for (kernel, stride, arguments, c_in, c_out), dtype in product(GEOMETRIES, (np.float32,)):
        g = Geometry(kernel, stride, **arguments)
        p = Problem(g, 2, c_in, c_out, (37,) * g.ndim, np.dtype(dtype))
        shapes = (p.batch, c_in, *p.input_shape), (p.batch, c_out, *p.output_shape)
        for layout, activated in product(("first", "last"), (False, True)):
            x, out = (_strides(shape, layout) for shape in shapes)
            direct_form(p, x, out).compile(p, x, out, 2, activated)
            if not winograd_f22.reasons_against(p):
                WINOGRAD_F22.compile(p, x, out, 2, activated)


def _strides(shape, layout):
    """Return the strides, in elements, of an array [N, C, *spatial] in a layout."""
    import numpy as np

    if layout == "first":
        return tuple(step // 4 for step in np.empty(shape, np.float32).strides)
    last = np.moveaxis(np.empty((shape[0], *shape[2:], shape[1]), np.float32), -1, 1)
    return tuple(step // 4 for step in last.strides)
