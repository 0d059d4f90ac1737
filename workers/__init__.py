"""Running processes: command line, settings, wiring, logs. No rules of the domain; nobody imports it."""
