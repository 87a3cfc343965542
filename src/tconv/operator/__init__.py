"""The operator as a function: a call is read, a method is chosen, a kernel runs.

`functional` holds `conv_transpose` and `conv`, `call` reads their arguments, `method_choice` chooses and plans,
`prepared` is a layer whose weight is packed once, `call_cache` remembers calls that were checked.
"""
