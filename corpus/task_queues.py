"""Task queues: a name, what it runs, what it scales with."""

# Workflows, light activities, delivery; scales with CPU.
WORKFLOWS = "freshet"
# Clean, split, compare; scales with CPU and memory.
PREPARE = "freshet-prepare"
# The model and nothing else; scales with GPUs, can be scaled to zero and back.
EMBED = "freshet-embed"
# Embedders whose model is not in full use take parts of large batches that others work on.
EMBED_HELP = "freshet-embed-help"
# Publish, expire; scales with database connections.
STORE = "freshet-store"
# Nexus handlers and queries of other teams; has a model for the queries.
NEXUS = "freshet-nexus"
