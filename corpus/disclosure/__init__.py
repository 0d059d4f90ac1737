"""What leaves a process: errors become words without values, and secrets are shown to no one."""
