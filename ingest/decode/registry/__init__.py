"""A value that names its schema becomes a plain object, by the schema that the registry has for it."""
