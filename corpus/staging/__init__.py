"""Files between the steps: their names, their columns, their store."""
