"""The parts of the local stack: how each is installed and started, and when it is ready."""
