"""The parts of the local stack: how each is installed, started, and known to be ready."""
