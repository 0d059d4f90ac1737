"""What a source keeps no longer becomes room: rows beyond its retention are removed, page by page, and counted."""
