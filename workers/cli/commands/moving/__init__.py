"""Commands for moving in and going back: files, embeddings, records that are read again."""
