"""Imports: the files of a folder or a bucket, and what the corpus holds of them → events on the source's topic."""
