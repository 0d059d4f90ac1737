"""Blocks become chunks whose boundaries an edit elsewhere does not move."""
