"""A namespace that was just registered is not known everywhere at once: what is made in it is refused for seconds."""

from temporalio.service import RPCError, RPCStatusCode
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from corpus.errors import DependencyError

_SETTLE_SECONDS = 30
_INTERVAL_SECONDS = 0.5
_UNSETTLED = (
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.FAILED_PRECONDITION,
    RPCStatusCode.ABORTED,
)


def _is_unsettled(error: BaseException) -> bool:
    answer = error
    if isinstance(error, DependencyError):
        answer = error.__cause__
    return isinstance(answer, RPCError) and answer.status in _UNSETTLED


# Decorates a coroutine function that is harmless when repeated.
until_settled = retry(
    retry=retry_if_exception(_is_unsettled),
    wait=wait_fixed(_INTERVAL_SECONDS),
    stop=stop_after_delay(_SETTLE_SECONDS),
    reraise=True,
)
