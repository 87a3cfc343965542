"""Images of OME-Zarr."""
