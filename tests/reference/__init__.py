"""What bpfast computes, written again in float64 NumPy, as plainly as possible."""
