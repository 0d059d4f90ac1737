"""A folder of files as change events."""
