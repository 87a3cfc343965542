"""Pictures and feature maps enlarged by transposed convolutions.

`tconv.upsample` (in functional.py) and the command `tconv upsample` are built from these modules.
"""
