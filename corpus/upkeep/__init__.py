"""Upkeep of tables and indexes: what they are, what a rule decides about each, and who carries it out."""
