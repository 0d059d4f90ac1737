"""The local stack: its parts as processes of one machine."""
