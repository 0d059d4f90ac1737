"""A team that may call: where it calls, what it is granted, and the task queue that is its own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, cast

from corpus import task_queues
from corpus.disclosure.error_text import public_text
from corpus.errors import UnreadableSpecError
from corpus.service import MAX_HITS


class Right(StrEnum):
    """What a team may ask for."""

    SEARCH = "search"  # search now, and describe
    AS_OF = "as_of"  # search the past
    AWAIT = "await"  # wait for a target
    SUBSCRIBE = "subscribe"  # be notified of batches
    OPERATE = "operate"  # change a source; no operation over Nexus needs it yet


class Answers(StrEnum):
    """How the answers to a team lie in its workflows' histories."""

    PLAIN = "plain"  # unless Freshet's own payload keys encrypt it, which the team then needs
    ENCRYPTED = "encrypted"  # with the key that signed the call; never in plain


READING = (Right.SEARCH, Right.AS_OF, Right.AWAIT, Right.SUBSCRIBE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamSpec:
    """A team as configured. Its keys are in files, never here."""

    team: str
    endpoint: str  # Nexus endpoint that this team alone calls
    namespace: str  # the team's own Temporal namespace
    sources: tuple[str, ...] = ()  # granted; another one does not exist for it
    groups: tuple[str, ...] = ()  # that it may vouch for
    rights: tuple[str, ...] = READING
    calls_per_minute: int = 600  # of each gateway process
    max_k: int = MAX_HITS  # hits of one search
    answers: str = Answers.PLAIN
    # In its namespace: what they are notified of is what the team may read.
    subscribers: tuple[str, ...] = ()

    @property
    def task_queue(self) -> str:
        """Where its endpoint leads; the server decides by it who calls."""
        return team_queue(self.team)

    def to_json(self) -> dict[str, Any]:
        """The specification as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "TeamSpec":
        """The specification from what `to_json` returned; unknown keys are left out.

        Raises:
            UnreadableSpecError: a field is missing or of another type.
        """
        values: dict[str, Any] = {}
        for field in fields(cls):
            if field.name not in stored:
                continue
            value = stored[field.name]
            if isinstance(value, list):
                value = tuple(cast(list[Any], value))
            values[field.name] = value
        try:
            return cls(**values)
        except TypeError as error:
            raise UnreadableSpecError(
                f"the stored specification of a team cannot be read ({public_text(error)}); "
                "write it again with `freshet apply`"
            ) from error


def team_queue(team: str) -> str:
    """Task queue of a team's calls."""
    return f"{task_queues.NEXUS}.{team}"
