"""Versions of documents: which of two counts, and which cannot be compared."""
