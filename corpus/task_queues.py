"""Task queues: a name, what it runs, what it scales with."""

WORKFLOWS = "freshet"  # workflows, light activities, delivery; scales with CPU
PREPARE = "freshet-prepare"  # clean, split, compare; scales with CPU and memory
EMBED = (
    "freshet-embed"  # the model and nothing else; scales with GPUs, can be scaled to zero and back
)
STORE = "freshet-store"  # publish, expire; scales with database connections
NEXUS = "freshet-nexus"  # Nexus handlers and queries of other teams; has a model for the queries
