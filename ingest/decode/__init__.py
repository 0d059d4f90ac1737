"""A Kafka record becomes a change event, or the reason why not."""
