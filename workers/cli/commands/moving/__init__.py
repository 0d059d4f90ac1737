"""Commands for moving in and going back: events, files, embeddings, records that are read again."""
