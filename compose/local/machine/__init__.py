"""What the local stack asks of the machine: files, ports, processes."""
