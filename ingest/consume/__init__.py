"""Assigned partitions become micro-batches that are handed over."""
