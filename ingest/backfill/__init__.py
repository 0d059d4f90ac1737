"""Backfills: ranges of a source's log are read again, beside the live stream → batches of the source's entity."""
