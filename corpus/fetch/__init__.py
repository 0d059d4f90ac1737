"""A document that a record points to → its bytes, or why they could not be fetched."""
