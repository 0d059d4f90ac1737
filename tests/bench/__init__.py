"""Measurements: ratios in one run against a limit of the machine, never timed assertions. `python -m tests.bench [name ...]`."""
