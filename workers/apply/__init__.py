"""A configuration file becomes rows, topics, schedules, endpoints and subscriptions."""
