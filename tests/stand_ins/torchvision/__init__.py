"""Stand-in for torchvision: the names that spandrel imports, without their functions.

The torchvision of the package index is built for PyTorch with CUDA and does not load beside the CPU's. spandrel needs it
for two architectures that tconv refuses, and imports it for all.
"""
