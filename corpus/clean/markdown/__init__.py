"""Markdown → text without what a reader does not see, and its blocks."""
