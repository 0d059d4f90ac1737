"""How long a source keeps what its corpus no longer shows: settings, known wherever a source is."""
