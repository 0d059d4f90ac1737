"""Audit: records of the log, or an inventory → what differs in the corpus → what repairs it."""
