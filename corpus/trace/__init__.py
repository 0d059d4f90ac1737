"""A trace that continues: what references, the ledger and notices carry of it."""
