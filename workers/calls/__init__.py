"""Calls of teams, as the gateway takes them: queues, quotas, the log of answers."""
