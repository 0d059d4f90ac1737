"""Commands, an area a file."""
