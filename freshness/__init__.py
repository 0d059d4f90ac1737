"""Age becomes a verdict, an expiry, and a report."""
