"""A real Debezium in Kafka Connect reads a table that is edited live, and Freshet's corpus has to become that table."""
