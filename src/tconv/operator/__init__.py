"""The operator as a function of arrays: it reads a call, chooses a method, and runs a kernel.

`functional` has `conv_transpose` and `conv`, `call_reading` reads their arguments, `method_choice` chooses and plans,
`prepared` is a layer whose weight is packed once, and `call_cache` caches calls that were checked.
"""
