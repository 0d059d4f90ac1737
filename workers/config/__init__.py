"""Settings of a process, and the configuration file of the sources."""
