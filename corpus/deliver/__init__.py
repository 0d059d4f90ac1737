"""A published batch becomes a notice to every subscriber."""
