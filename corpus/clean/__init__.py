"""Received text becomes blocks: markup, HTML, normalised characters."""
