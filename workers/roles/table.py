"""The six roles: what each runs, and what it scales with. The command line, README and local stack read this."""

from dataclasses import dataclass

from corpus import task_queues


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a role is for. `workers.roles.NAME` runs it: `async def run(settings)`, until SIGTERM or SIGINT."""

    name: str
    queue: str | None  # Temporal task queue; None: it works on Kafka
    does: str
    install: str  # the extras of the package that it needs
    scales_with: str
    needs: tuple[str, ...]  # each is compared with its installation's at the start
    at_times: tuple[str, ...] = ()  # it starts and works without them
    helps_on: str | None = None  # task queue of work that it takes beside its own

    def uses(self, service: str) -> bool:
        """Whether it uses a service, at times or always."""
        return service in (*self.needs, *self.at_times)

    @property
    def queues(self) -> tuple[str, ...]:
        """All its task queues."""
        return tuple(queue for queue in (self.queue, self.helps_on) if queue)

    @property
    def module(self) -> str:
        """The module that runs it; its libraries are heavy, so it is imported in the role's own process only."""
        return f"workers.roles.{self.name}"


_TABLE = (
    Role(
        name="consumer",
        queue=None,
        does="Kafka to staged batches; dead letters to their topic",
        install="cli",
        scales_with="partitions: at most one process per partition",
        needs=("Kafka", "PostgreSQL", "staging", "Temporal"),
        at_times=("schema registry",),
    ),
    Role(
        name="orchestrator",
        queue=task_queues.WORKFLOWS,
        does="workflows, light activities, deliveries, freshness checks",
        install="cli",
        scales_with="number of sources, CPU",
        needs=("Temporal", "PostgreSQL"),
        at_times=("Kafka",),
    ),
    Role(
        name="preparer",
        queue=task_queues.PREPARE,
        does="fold, clean, split, compare; audits",
        install="cli",
        scales_with="CPU, memory",
        needs=("Temporal", "PostgreSQL", "staging", "model files"),
        at_times=("Kafka", "schema registry"),
    ),
    Role(
        name="embedder",
        queue=task_queues.EMBED,
        does="the model",
        install="cli,embed",
        scales_with="GPUs or cores; to zero and back",
        needs=("Temporal", "PostgreSQL", "staging", "model files"),
        helps_on=task_queues.EMBED_HELP,
    ),
    Role(
        name="storer",
        queue=task_queues.STORE,
        does="publish, expire, purge; the vector index of a new space; sweep of staged files",
        install="cli",
        scales_with="database connections; one batch per source at a time",
        needs=("Temporal", "PostgreSQL", "staging"),
    ),
    Role(
        name="gateway",
        queue=task_queues.NEXUS,
        does="other teams' searches, descriptions, waits",
        install="cli,embed",
        scales_with="calls; holds a model of its own",
        needs=("Temporal", "PostgreSQL", "model files"),
    ),
)
# By name, in the order in which the local stack starts them.
ROLES = {role.name: role for role in _TABLE}
