"""Lanes over output channels: the direct sum for outputs with channels last.

A vector has neighbouring output channels of one position, as the output has, so sums are stored as they are. Inputs
are broadcast. With kernel and stride equal, all taps of a row are one product. The results have the bits of the form
with lanes over positions (`direct`), and the modules have the names of its modules: `schedule`, `tiling`,
`weight_packing`, `call_tables`, `input_packing`, `tile_loop`; `microkernel` computes and writes.
"""
