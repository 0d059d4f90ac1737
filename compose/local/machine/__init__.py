"""What the local stack uses of the machine: files, ports, processes."""
