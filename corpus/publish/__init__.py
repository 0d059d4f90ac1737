"""A prepared batch becomes visible, in one transaction."""
