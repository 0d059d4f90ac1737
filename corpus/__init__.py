"""A batch of change events becomes chunks, vectors, a published batch, and notices; and answers searches."""
