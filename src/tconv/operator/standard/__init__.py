"""The operator, its adjoint and its weight gradient from a framework's standard operators, no zeros multiplied.

`forward` has the transposed convolution, `derivatives` the other two; both know only the `Operations` that a framework
offers. They run where the kernel cannot: on other devices, in files, and for gradients.
"""
