"""Measurements: ratios within one run, never timed assertions. `python -m tests.bench [name ...]`."""
