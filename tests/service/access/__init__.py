"""Who sees what, enforced by the database."""
