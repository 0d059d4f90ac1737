"""A tree of HTML → which of it is seen, which is the document, and its blocks."""
