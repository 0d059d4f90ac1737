"""Documents by reference: the records hold addresses, not texts."""
