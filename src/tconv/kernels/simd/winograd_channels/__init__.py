"""Fewer multiplications with lanes over output channels: the filtered form `winograd_f22` for channels last.

The products, their order and so the bits are those of `winograd_f22`; `channel_lanes` says how a vector of channels is
computed. Planes are differences of vectors of channels, sums are stored as the output has them. The modules have the
names of those in `winograd_f22`.
"""
