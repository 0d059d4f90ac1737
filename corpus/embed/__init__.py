"""Chunks become vectors of one embedding space; each text once."""
