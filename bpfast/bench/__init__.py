"""bpfast beside its peers: workloads, how each does them, and processes that take turns.

``bpfast bench`` is the user's door; benchmarks/ in the source tree measures with the same files.
"""
