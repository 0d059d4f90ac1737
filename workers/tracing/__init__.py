"""OpenTelemetry: the context in a record's headers becomes spans, from its staging to the notice."""
