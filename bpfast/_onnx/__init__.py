"""ONNX models as networks.

`read` walks a model's nodes, which become `steps` (each tensor, and how it comes of others) by the
functions of `nodes`, `layers`, `windows` and `shapes`; `chains` makes layers of the steps.
"""
