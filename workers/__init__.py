"""Running processes: command line, settings, wiring, logs. No rules of the domain; no other package imports it."""
