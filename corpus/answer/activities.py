"""Shell of the activity behind waits; the step is injected by workers."""

from collections.abc import Callable

from temporalio import activity

from corpus.errors import FreshetError, as_application_error
from corpus.service import AwaitFreshRequest, AwaitFreshResponse


class AnswerActivities:
    """Queue `freshet`: looks at the ledger for callers that wait."""

    def __init__(self, look: Callable[[AwaitFreshRequest], AwaitFreshResponse]) -> None:
        self._look = look

    @activity.defn(name="corpus.look")
    def look(self, request: AwaitFreshRequest) -> AwaitFreshResponse:
        """Look once whether the wait is over."""
        try:
            return self._look(request)
        except FreshetError as error:
            raise as_application_error(error) from error
