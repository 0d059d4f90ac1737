"""For a team's workers: sign each call of `CorpusService`, by `Worker(..., interceptors=[SignedCalls(...)])`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from temporalio import worker, workflow

from corpus.access import token
from corpus.access.keys import read_keys

_SERVICE = "freshet.corpus.v1"  # the name of `CorpusService`
_SIGN = "freshet_sign_call"


class SignedCalls(worker.Interceptor):
    """Puts a token of the team into the headers of each call.

    A token is made when a call is scheduled, and is valid for `valid_seconds`: a call that waits longer for a gateway
    is refused, and the workflow calls again.

    Args:
        team: its name in Freshet's configuration.
        key_file: its keys; the first signs. Read at each call, so that a new key needs no restart.
        valid_seconds: of a token, at most `token.MAX_VALID_SECONDS`.
    """

    def __init__(
        self,
        team: str,
        key_file: str | Path,
        *,
        valid_seconds: int = token.VALID_SECONDS,
    ) -> None:
        self._team = team
        self._key_file = Path(key_file)
        self._valid_seconds = valid_seconds
        read_keys(self._key_file)  # a missing file is an error now, not at a call

    def workflow_interceptor_class(
        self, input: worker.WorkflowInterceptorClassInput
    ) -> type[worker.WorkflowInboundInterceptor]:
        """Runs beside the workflow; the key stays outside of its sandbox."""
        input.unsafe_extern_functions[_SIGN] = self._sign  # pyright: ignore[reportUnknownMemberType]
        return _Inbound

    def _sign(self, endpoint: str, operation: str, request: Any) -> str:
        keys = read_keys(self._key_file)
        key_id = next(iter(keys))
        call = token.Call(
            service=_SERVICE,
            operation=operation,
            endpoint=endpoint,
            digest=token.request_digest(request),
        )
        return token.sign(
            call,
            team=self._team,
            key_id=key_id,
            key=keys[key_id],
            now=int(time.time()),
            valid_seconds=self._valid_seconds,
        )


class _Inbound(worker.WorkflowInboundInterceptor):
    """Puts the signing before what goes out."""

    def init(self, outbound: worker.WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))


class _Outbound(worker.WorkflowOutboundInterceptor):
    """A replay signs nothing: its calls were sent."""

    async def start_nexus_operation(
        self, input: worker.StartNexusOperationInput[Any, Any]
    ) -> workflow.NexusOperationHandle[Any]:
        is_replaying = workflow.unsafe.is_replaying()
        if input.service == _SERVICE and not is_replaying:
            # Temporal's type of these functions says nothing of what they return.
            sdk = cast(Any, workflow)
            sign: Callable[..., str] = sdk.extern_functions()[_SIGN]
            signed = sign(input.endpoint, input.operation_name, input.input)
            input.headers = {**(input.headers or {}), token.HEADER: signed}
        return await super().start_nexus_operation(input)
