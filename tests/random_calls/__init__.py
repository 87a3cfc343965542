"""Random transposed convolutions for tests and benchmarks, all built on one generator of random sizes (sizes.py).

- `strategies`: geometries and calls drawn by Hypothesis, as canonical arrays.
- `problems`: calls with their exact float32 results, for tests of the compiled kernels.
- `faults`: calls in which one thing went wrong, for tests of `tconv.diagnose`; `fix_code`: questions about its lines.
- tests/frameworks/test_*.py add the native arguments of each framework to random sizes.
"""

from random_calls.sizes import Sizes, has_output, integers, random_crop, random_geometry, random_sizes, whole_numbers

__all__ = ["Sizes", "has_output", "integers", "random_crop", "random_geometry", "random_sizes", "whole_numbers"]
