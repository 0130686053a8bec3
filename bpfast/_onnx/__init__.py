"""ONNX models as networks.

`read` walks a model's nodes, which become `steps` (each tensor, and how it comes of others) by the
functions in `nodes`, `products`, `windows` and `shapes`; `chains` makes layers of the steps.
"""
