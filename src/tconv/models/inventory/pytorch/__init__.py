"""Parts of the readers of PyTorch's files and modules: archives, tensors, pickles without code, and programs of calls.

`exported_program`, `torchscript` and `torch_module` turn their source into a `Program`; `layers_of` finds its layers.
"""
