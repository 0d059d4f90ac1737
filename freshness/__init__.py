"""Age becomes a verdict, then revalidation or expiry, and a report."""
