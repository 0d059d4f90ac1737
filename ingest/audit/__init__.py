"""Audit: a page of the log → what each of its records is decoded to, as ingest decodes it."""
