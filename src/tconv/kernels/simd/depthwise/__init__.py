"""The direct sum of depthwise layers, a pass of its own: one input channel for each output, read once and written once.

There is nothing to add up over channels, so the time is that of memory: x is read where it lies, without a panel. Its
terms and their order are those of the direct form, and so are the bits of the results. The modules, in the order of
their use: `schedule` (the rows of x of each row of the output, and the order of the weight), `weight_packing`,
`tiling`, `call_tables` (all of it as tables for the machine code), `tile_loop` (the machine code of one tile), and the
functions of a row: `row_pass` (what both layouts share), `channels_first` (lanes over positions) and `channels_last`
(lanes over channels).
"""
