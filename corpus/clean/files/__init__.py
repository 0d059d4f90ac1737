"""Files (PDF, Office, books, e-mail) → blocks; each format is read by a library, in a process with limits."""
