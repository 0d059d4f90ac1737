"""Shell of the activity behind waits; the step is injected by workers."""

from collections.abc import Callable

from temporalio import activity

from corpus.errors import FreshetError, as_application_error
from corpus.service import AwaitFreshRequest, AwaitFreshResponse


class AnswerActivities:
    """Queue `freshet`: decides by the ledger whether a wait is over."""

    def __init__(
        self, current_outcome: Callable[[AwaitFreshRequest], AwaitFreshResponse]
    ) -> None:
        self._current_outcome = current_outcome

    @activity.defn(name="corpus.look")
    def current_outcome(self, request: AwaitFreshRequest) -> AwaitFreshResponse:
        """Decide once; TIMEOUT means: not yet."""
        try:
            return self._current_outcome(request)
        except FreshetError as error:
            raise as_application_error(error) from error
