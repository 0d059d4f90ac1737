"""reStructuredText → text without its marks, and its blocks."""
