"""Kafka records become change events, staged in batches and handed to the source's entity workflow."""
