"""Threshold guidance: what is tried, by SciPy, and what it is judged by."""
