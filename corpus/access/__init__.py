"""Who may read what: identities, grants, and the rows that the database shows them."""
