"""Temporal's client, payload codec and workflow sandbox."""
