"""Who may read: teams over Nexus, logins of SQL clients."""
