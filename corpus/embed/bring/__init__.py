"""Embeddings that exist already → the embedding store, once a sample shows that they are of the space."""
