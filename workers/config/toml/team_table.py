"""[team.NAME] of `freshet.toml`: who may call over Nexus, and what it is granted."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from corpus.access.team import READING, Answers, Right, TeamSpec
from corpus.service import MAX_HITS
from workers.config.table import Table
from workers.config.values import Count, Endpoint, Namespace

_TEAM: Any = TeamSpec(team="team", endpoint="endpoint", namespace="namespace")
Group = Annotated[str, Field(min_length=1, max_length=500)]


class TeamTable(Table):
    """[team.NAME]: an application team that calls. Its keys are in the folder FRESHET_TEAM_KEYS."""

    endpoint: Endpoint = Field(
        description="Nexus endpoint that this team alone calls; `freshet apply` creates it."
    )
    namespace: Namespace = Field(
        description="The team's Temporal namespace: calls from another one are refused."
    )
    sources: list[str] = Field(
        default=[],
        description="Sources it may read; for this team, no other source exists.",
    )
    groups: list[Group] = Field(
        default=[],
        description="Groups of end users that the team may vouch for; without any, it sees what all readers may see.",
    )
    rights: list[Right] = Field(
        default=list(READING),
        description="search, as_of, await, subscribe, operate; default: all but operate.",
    )
    calls_per_minute: Count = Field(
        default=_TEAM.calls_per_minute,
        description="Further calls are refused; counted by each gateway process.",
    )
    max_k: Annotated[int, Field(ge=1, le=MAX_HITS, strict=True)] = Field(
        default=_TEAM.max_k, description="Hits of one search at most."
    )
    answers: Answers = Field(
        default=Answers.PLAIN,
        description="plain, or encrypted with the team's key, which its client has to open (`opened_answers`).",
    )

    @model_validator(mode="after")
    def _once(self) -> "TeamTable":
        for field in ("sources", "groups", "rights"):
            names: list[str] = getattr(self, field)
            if len(set(names)) < len(names):
                raise ValueError(f"{field} names something twice")
        return self

    def spec(self, name: str, subscribers: tuple[str, ...] = ()) -> TeamSpec:
        """As the workers read it, with the subscribers in its namespace."""
        return TeamSpec(
            team=name,
            endpoint=self.endpoint,
            namespace=self.namespace,
            sources=tuple(self.sources),
            groups=tuple(self.groups),
            rights=tuple(map(str, self.rights)),
            calls_per_minute=self.calls_per_minute,
            max_k=self.max_k,
            answers=str(self.answers),
            subscribers=subscribers,
        )
