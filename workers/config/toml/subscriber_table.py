"""[subscriber.NAME] of `freshet.toml`: who is notified of what is published."""

from typing import Annotated

from pydantic import Field, model_validator

from corpus.deliver.subscription import SubscriberSpec
from workers.config.table import Table
from workers.config.values import Endpoint, Namespace, TaskQueue


class SubscriberTable(Table):
    """[subscriber.NAME]: an application team that is notified of every published batch."""

    sources: Annotated[list[str], Field(min_length=1)] = Field(
        description="Sources it is notified of."
    )
    endpoint: Endpoint = Field(
        description="Nexus endpoint; `freshet apply` creates it."
    )
    namespace: Namespace = Field(description="The team's Temporal namespace.")
    task_queue: TaskQueue = Field(description="Where the team's Nexus handler polls.")
    from_start: bool = Field(
        default=True,
        description="The first notice is of the first batch; else of the next one.",
    )

    @model_validator(mode="after")
    def _once(self) -> "SubscriberTable":
        if len(set(self.sources)) < len(self.sources):
            raise ValueError("sources names a source twice")
        return self

    def spec(self, name: str) -> SubscriberSpec:
        """As the workers read it."""
        fields = self.model_dump(exclude={"sources"})
        return SubscriberSpec(subscriber=name, sources=tuple(self.sources), **fields)
