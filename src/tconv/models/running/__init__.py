"""Runs of a network over a rectangle of its output, strip by strip: plans of memory, buffers, bands and passes.

`tconv.models.Network` is the face of it. `fusion` finds sums that a convolution adds by itself, `spans` the pixels that
each node needs, `placement` the storage of each output, `plan` the rows of each strip, `run` computes them, and
`passes` finds the means over whole pictures first.
"""
