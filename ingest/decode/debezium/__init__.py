"""A change of a row, as the connectors of Debezium write it, becomes an event."""
