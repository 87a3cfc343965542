"""Layers of networks, beside convolutions: sums, products, activations, channels, sizes, padding, means.

`tconv.models.layers` has the convolutions, `tconv.models.Network` runs all of them. A step says how many channels and
pixels it makes, which pixels of its inputs it reads, and computes any part of its output.
"""
