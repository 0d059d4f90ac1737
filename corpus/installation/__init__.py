"""Which installation a database belongs to: its row and its id → marks in what two installations could meet in."""
