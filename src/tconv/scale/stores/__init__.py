"""Images that are read and written region by region: arrays, .npy files, Zarr, OME-Zarr, TIFF."""
