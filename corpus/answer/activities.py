"""Shell of the activity behind waits; the step is injected by workers."""

from collections.abc import Callable
from dataclasses import dataclass

from temporalio import activity

from corpus.errors import FreshetError, as_application_error
from corpus.service import AwaitFreshRequest, AwaitFreshResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamLook:
    """A look at the target of a team's wait. What the team is granted is read at each look."""

    request: AwaitFreshRequest
    team: str  # empty: of no team, which sees nothing
    on_replica: bool = False  # the gateway that took the call searches a replica


class AnswerActivities:
    """Queue `freshet`: decides by the ledger whether a wait is over."""

    def __init__(
        self, current_outcome: Callable[[TeamLook], AwaitFreshResponse]
    ) -> None:
        self._current_outcome = current_outcome

    @activity.defn(name="corpus.look")
    def current_outcome(self, request: AwaitFreshRequest) -> AwaitFreshResponse:
        """Look for a wait that began before waits had a team: for it, no source exists."""
        return self._look(TeamLook(request=request, team=""))

    @activity.defn(name="corpus.look_for_team")
    def outcome_for_team(self, look: TeamLook) -> AwaitFreshResponse:
        """Decide once; TIMEOUT means: not yet."""
        return self._look(look)

    def _look(self, look: TeamLook) -> AwaitFreshResponse:
        try:
            return self._current_outcome(look)
        except FreshetError as error:
            raise as_application_error(error) from error
