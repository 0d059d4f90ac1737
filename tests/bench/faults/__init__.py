"""`make faults`: parts are killed and frozen, and servers answer late or never, while the PEP stream flows."""
