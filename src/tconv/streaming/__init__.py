"""Streams: layers and whole decoders that take their input in chunks and return the bits of the whole.

`tconv.stream`, `tconv.torch.stream` and `tconv.keras.stream` make them.
"""
