"""Commands on one source: decide about what it halted at."""
