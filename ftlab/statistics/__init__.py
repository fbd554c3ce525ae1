"""Intervals, paired comparisons: numpy, scipy and statsmodels behind a few typed functions.

Everything is deterministic: what needs randomness takes a seed, and results do not depend on the order of the examples.
"""
